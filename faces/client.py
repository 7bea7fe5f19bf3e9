"""The client of the face server: sends a picture, reads the faces."""

import time
from collections.abc import Callable
from functools import cache
from http import HTTPStatus
from io import BytesIO
from typing import Protocol
from urllib.parse import urlsplit

from PIL import Image

from faces.wire import encode_request
from faces.wire_decode import MAX_ANSWER_BYTES, Face, FaceAnswer, WireError, decode_answer
from http_client.client import HttpServer
from http_client.errors import AnswerError, ServerAwayError
from http_client.reply import BUSY, Request
from utils.addresses import port_of, server_url, target_of

__all__ = [
    "AnswerError",
    "Face",
    "FaceAnswer",
    "FaceServer",
    "FaceSource",
    "ServerAwayError",
    "probe_body",
]

DEFAULT_TIMEOUT_S = 60.0
HEADERS = {"Content-Type": "application/json"}
WORTH_ANOTHER_TRY = {*BUSY, HTTPStatus.INTERNAL_SERVER_ERROR}
_PROBE_SIZE = 64


@cache
def probe_body() -> bytes:
    """Make the request for a small picture without a face."""
    stream = BytesIO()
    Image.new("RGB", (_PROBE_SIZE, _PROBE_SIZE), (90, 110, 130)).save(stream, "JPEG")
    return encode_request(stream.getvalue())


class FaceSource(Protocol):
    """Finds and embeds the faces of pictures: a face server, or networks in this process."""

    def ask(self, image: bytes) -> FaceAnswer:
        """Find the faces of an encoded picture; threads may ask at once.

        Raises:
            ServerAwayError, AnswerError: a server gives no faces.
        """

    def close(self) -> None:
        """Release what is held."""


class FaceServer:
    """One face server; its connections stay open between requests. Threads may share it.

    Attributes:
        url: the address, as a URL.
        is_port: the address was given as a port of this machine.

    Args:
        address: a port on this machine, or a URL.
        timeout_s: seconds that an answer may take, all of it.
        clock: gives seconds; another one for tests.

    Raises:
        DataError: the address is none, or a variable of the environment names certificates, which
            https needs, that are none.
    """

    def __init__(
        self,
        address: int | str,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = server_url(address)
        self.is_port = isinstance(address, int)
        self.timeout_s = timeout_s
        self._parts = urlsplit(self.url)
        self._http = HttpServer(self.url, timeout_s, clock)

    @property
    def port(self) -> int:
        """The port, also when the URL does not name it."""
        return port_of(self._parts)

    def __repr__(self) -> str:
        return f"FaceServer({self.url!r})"

    def ask(self, image: bytes) -> FaceAnswer:
        """Send an encoded picture; see `ask_body`."""
        return self.ask_body(encode_request(image))

    def probe(self) -> FaceAnswer:
        """Send a small picture; see `ask_body`."""
        return self.ask_body(probe_body())

    def ask_body(self, body: bytes) -> FaceAnswer:
        """Send a request that `encode_request` made, and read its answer.

        Raises:
            ServerAwayError: no answer came.
            AnswerError: an answer came that holds no faces.
        """
        target = target_of(self._parts)
        reply = self._http.ask(Request("POST", target, MAX_ANSWER_BYTES, body, HEADERS))
        if reply.status != HTTPStatus.OK:
            raise AnswerError(
                f"HTTP {reply.status}",
                reply.phrase,
                is_temporary=reply.status in WORTH_ANOTHER_TRY,
                wait_s=reply.retry_after_s or 0.0,
                is_busy=reply.status in BUSY,
            )
        try:
            return decode_answer(reply.content)
        except WireError as error:
            raise AnswerError("answer not understood", f"it {error}") from None

    def close(self) -> None:
        """Close the connections; one in use closes at the end of its request, and none is kept."""
        self._http.close()

    def abort(self) -> None:
        """Break off the requests under way, and close the connections."""
        self._http.abort()
