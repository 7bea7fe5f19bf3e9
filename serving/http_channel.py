"""What waitress lacks, as subclasses of the three classes by which it takes a request.

No setting of waitress makes its own errors JSON or bounds the time of a request in drops,
and a client that is still sending too much meets a reset connection in place of the error. Other
servers have no such settings either (measured: gunicorn's threads, cheroot, uvicorn, hypercorn,
granian): with each of them drops of a body keep a connection open for ever, and with most of them
slow clients take up the threads.
"""

import math
import time
from typing import Any

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.receiver import ChunkedReceiver
from waitress.task import ErrorTask
from waitress.utilities import BadRequest, Error

from serving.responses import error_response

MAX_CHUNK_LINE_BYTES = 2**10
MAX_UNREAD_BYTES = 2**28
STATUS = {500: 503, 501: 400}
"""What waitress calls an error of the server is one of the request, or passes."""

TLS_HANDSHAKE = b"\x16\x03"
"""How a client starts that takes the port for one of https; it sends no more before an answer."""


class RequestTimeout(Error):  # noqa: N818 - waitress names its errors so
    """A request did not arrive in time."""

    code = 408
    reason = "Request Timeout"


class JsonErrorTask(ErrorTask):
    """Answers what never reached the application, as the application answers its errors."""

    def execute(self) -> None:
        """Write the error."""
        error = self.request.error
        message = " ".join(f"{error.reason}: {error.body}".split())[:500]
        response = error_response(message, STATUS.get(error.code, error.code))
        self.channel.server.on_refusal(response.status_code)
        self.status = response.status
        self.response_headers.append(("Content-Type", response.mimetype))
        origin = self.request.headers.get("ORIGIN")
        self.response_headers += self.channel.server.cross_origin.headers(origin).items()
        self.set_close_on_finish()
        body = response.get_data()
        self.content_length = len(body)
        self.write(body)


class Parser(HTTPRequestParser):
    """Reads a request to its end even when its body is too large.

    A client that finds the connection closed while it sends does not look for an answer.

    Attributes:
        arriving_since: when the first byte came, by `time.monotonic`.
    """

    error: Any = None
    expect_continue: bool = False
    num_unread = 0

    def __init__(self, adjustments: Any) -> None:
        super().__init__(adjustments)
        self.arriving_since = time.monotonic()

    def received(self, data: bytes) -> int:
        """Take bytes; return how many of them belonged to the request."""
        if self.num_unread:
            num_taken = min(len(data), self.num_unread)
            self.num_unread -= num_taken
            self.completed = self.num_unread == 0
            return num_taken
        is_start = self.body_rcv is None and not self.header_plus
        if is_start and data.startswith(TLS_HANDSHAKE):
            self._refuse("this port speaks no TLS: write http:// in place of https://")
            return len(data)
        consumed: int = super().received(data)
        body = self.body_rcv
        if isinstance(body, ChunkedReceiver):
            if len(body.control_line) + len(body.trailer) > MAX_CHUNK_LINE_BYTES:
                self._refuse("a chunk of the body has an endless header")
        elif self.error and body is not None and not self.expect_continue:
            self.num_unread = self.content_length
            self.completed = self.num_unread > MAX_UNREAD_BYTES
        self.expect_continue = self.expect_continue and not self.error
        return consumed

    def _refuse(self, problem: str) -> None:
        self.error, self.completed = BadRequest(problem), True

    def parse_header(self, header_plus: bytes) -> None:
        """Parse the header; waitress lets some errors of addresses and numbers through."""
        try:
            super().parse_header(header_plus)
        except ValueError:
            raise ParsingError("the address or a number in the header is not valid") from None


class Channel(HTTPChannel):
    """A connection; it can give up a request that does not arrive."""

    parser_class = Parser
    error_task_class = JsonErrorTask
    request: Any = None

    @property
    def arriving_since(self) -> float:
        """When the first byte of the request came that is arriving; infinite for none."""
        return math.inf if self.request is None else self.request.arriving_since

    @property
    def is_idle(self) -> bool:
        """True if no request arrives or is worked on, and nothing waits to be sent."""
        return not (self.requests or self.request or self.total_outbufs_len)

    def give_up(self, timeout_s: float) -> None:
        """Answer a request that does not arrive, and close."""
        with self.requests_lock:
            if self.request is None or self.requests:
                return
            if not self.request.error:
                words = f"the request did not arrive in {timeout_s:g} s"
                self.request.error = RequestTimeout(words)
            self.request.completed = True
            self.requests.append(self.request)
            self.request = None
            self.server.add_task(self)
