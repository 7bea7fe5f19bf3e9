"""How waitress reads requests for us: to their end, with errors that are JSON."""

from typing import Any

from waitress.parser import HTTPRequestParser, ParsingError
from waitress.receiver import ChunkedReceiver
from waitress.task import ErrorTask
from waitress.utilities import BadRequest, Error

from serving.answers import error_response

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
        message = f"{error.reason}: {error.body}"
        response = error_response(
            " ".join(message.split())[:500], STATUS.get(error.code, error.code)
        )
        self.status = response.status
        self.response_headers.append(("Content-Type", "application/json"))
        origin = self.request.headers.get("ORIGIN")
        self.response_headers += self.channel.server.cross_origin.headers(origin).items()
        self.set_close_on_finish()
        body = response.get_data()
        self.content_length = len(body)
        self.write(body)


class Parser(HTTPRequestParser):
    """Reads a request to its end even when its body is too large.

    A client that finds the connection closed while it sends does not look for an answer.
    """

    error: Any = None
    expect_continue: bool = False
    num_unread = 0

    def received(self, data: bytes) -> int:
        """Take bytes, and tell how many of them belonged to the request."""
        if self.num_unread:
            num_taken = min(len(data), self.num_unread)
            self.num_unread -= num_taken
            self.completed = self.num_unread == 0
            return num_taken
        is_start = self.body_rcv is None and not self.header_plus
        if is_start and data.startswith(TLS_HANDSHAKE):
            self.error = BadRequest("this port speaks no TLS: write http:// in place of https://")
            self.completed = True
            return len(data)
        consumed: int = super().received(data)
        body = self.body_rcv
        if isinstance(body, ChunkedReceiver):
            if len(body.control_line) + len(body.trailer) > MAX_CHUNK_LINE_BYTES:
                self.error = BadRequest("a chunk of the body has an endless header")
                self.completed = True
        elif self.error and body is not None and not self.expect_continue:
            self.num_unread = self.content_length
            self.completed = self.num_unread > MAX_UNREAD_BYTES
        self.expect_continue = self.expect_continue and not self.error
        return consumed

    def parse_header(self, header_plus: bytes) -> None:
        """Parse the header; waitress lets some errors of addresses and numbers through."""
        try:
            super().parse_header(header_plus)
        except ValueError:
            raise ParsingError("the address or a number in the header is not valid") from None
