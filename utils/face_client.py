"""The client of the face server: sends a picture, reads the faces.

On http.client, not on requests: one request costs it a third of the processor time, and that is
time in which no picture is decoded.
"""

import threading
import time
from collections.abc import Callable
from functools import cache
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, IncompleteRead
from io import BytesIO
from urllib.parse import urlsplit

from PIL import Image

from utils.errors import DataError
from utils.wire import encode_request
from utils.wire_decode import MAX_ANSWER_BYTES, Answer, Face, WireError, decode_answer

__all__ = ["Answer", "AnswerError", "Face", "FaceServer", "ServerAwayError", "server_url"]

DEFAULT_TIMEOUT_S = 60.0
HEADERS = {"Content-Type": "application/json"}
OK = 200
WORTH_ANOTHER_TRY = {429, 500, 502, 503, 504}
_CHUNK_BYTES = 2**16
_PROBE_SIZE = 64
_BROKEN = "the connection broke within an answer"


class ServerAwayError(Exception):
    """No answer came: no connection, one that broke, or silence for too long.

    Attributes:
        is_final: asking again at once would be of no use.
        reason: in few words, the same for all of this sort.
        is_temporary: another server, or this one later, may well answer.
    """

    reason = "connection lost"
    is_temporary = True

    def __init__(self, reason: str, is_final: bool = False):
        super().__init__(reason)
        self.is_final = is_final


class AnswerError(Exception):
    """An answer came, and it holds no faces.

    Attributes:
        reason: in few words, the same for all answers of this sort.
        is_temporary: the same request may well be answered later.
    """

    def __init__(self, reason: str, detail: str = "", is_temporary: bool = True):
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.is_temporary = is_temporary


def server_url(address: int | str) -> str:
    """Make the URL of a port on this machine, or check a URL.

    Raises:
        DataError: it is neither a port nor a URL that starts with http:// or https://.

    >>> server_url(10002), server_url("http://gpu-box:10002")
    ('http://127.0.0.1:10002/', 'http://gpu-box:10002/')
    """
    is_port = isinstance(address, int) and not isinstance(address, bool)
    try:
        parts = urlsplit(f"http://127.0.0.1:{address}/" if is_port else str(address))
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return parts._replace(path=parts.path or "/").geturl()
    except ValueError:
        pass
    raise DataError(
        f"{address!r} is no address of a face server; expected a port from 1 to 65535, such as "
        "10002, or a URL, such as 'http://127.0.0.1:10002/'"
    )


@cache
def probe_body() -> bytes:
    """Make the request for a small picture without a face."""
    stream = BytesIO()
    Image.new("RGB", (_PROBE_SIZE, _PROBE_SIZE), (90, 110, 130)).save(stream, "JPEG")
    return encode_request(stream.getvalue())


class FaceServer:
    """One face server; its connections stay open between requests. Threads may share it.

    Attributes:
        url: the address, as a URL.
        is_port: the address was given as a port of this machine.

    Args:
        address: a port on this machine, or a URL.
        timeout_s: seconds that an answer may take, all of it.
        clock: gives seconds; another one for tests.
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
        self._clock = clock
        self._parts = urlsplit(self.url)
        self._idle: list[HTTPConnection] = []
        self._keeps = True
        self._lock = threading.Lock()

    @property
    def port(self) -> int:
        """The port, also when the URL does not name it."""
        return self._parts.port or (443 if self._parts.scheme == "https" else 80)

    def __repr__(self) -> str:
        return f"FaceServer({self.url!r})"

    def ask(self, image: bytes) -> Answer:
        """Send an encoded picture; see `ask_body`."""
        return self.ask_body(encode_request(image))

    def probe(self) -> Answer:
        """Send a small picture; see `ask_body`."""
        return self.ask_body(probe_body())

    def ask_body(self, body: bytes) -> Answer:
        """Send a request that `encode_request` made, and read its answer.

        Raises:
            ServerAwayError: no answer came.
            AnswerError: an answer came that holds no faces.
        """
        status, content = self._exchange(body)
        if status != OK:
            raise AnswerError(f"HTTP {status}", is_temporary=status in WORTH_ANOTHER_TRY)
        try:
            return decode_answer(content)
        except WireError as error:
            raise AnswerError("answer not understood", f"it {error}") from None

    def close(self) -> None:
        """Close the connections; one in use closes at the end of its request, and none is kept."""
        self._keeps = False
        self._drop_idle()

    def _drop_idle(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _exchange(self, body: bytes) -> tuple[int, bytes]:
        """Send and receive; over a new connection when the server has closed the kept one."""
        try:
            if (kept := self._kept()) is not None:
                try:
                    return self._over(kept, body)
                except ConnectionError:
                    self._drop_idle()  # the others are as old
            return self._over(self._connect(), body)
        except ConnectionRefusedError:
            raise ServerAwayError("nothing listens there", is_final=True) from None
        except TimeoutError:
            raise self._too_late() from None
        except OSError as error:
            raise ServerAwayError(error.strerror or str(error) or type(error).__name__) from None

    def _kept(self) -> HTTPConnection | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _too_late(self) -> ServerAwayError:
        return ServerAwayError(f"no answer within {self.timeout_s:g} s", is_final=True)

    def _connect(self) -> HTTPConnection:
        kind = HTTPSConnection if self._parts.scheme == "https" else HTTPConnection
        return kind(self._parts.hostname or "", self._parts.port, timeout=self.timeout_s)

    def _over(self, connection: HTTPConnection, body: bytes) -> tuple[int, bytes]:
        """Send and receive over one connection, which is kept if the server keeps it."""
        is_reusable = False
        start = self._clock()
        try:
            connection.request("POST", self._target, body, HEADERS)
            response = connection.getresponse()
            content = self._read(response, start + self.timeout_s)
            is_reusable = self._keeps and not response.will_close
        except ConnectionError:
            raise
        except IncompleteRead:
            raise ServerAwayError(_BROKEN) from None
        except HTTPException as error:
            raise AnswerError("not HTTP", repr(error)[:200]) from None
        finally:
            if is_reusable:
                with self._lock:
                    self._idle.append(connection)
            else:
                connection.close()
        return response.status, content

    @property
    def _target(self) -> str:
        return self._parts.path + (f"?{self._parts.query}" if self._parts.query else "")

    def _read(self, response: HTTPResponse, deadline: float) -> bytes:
        """Read the whole content, up to the limits of size and time."""
        content = bytearray()
        while chunk := response.read1(_CHUNK_BYTES):
            content += chunk
            if len(content) > MAX_ANSWER_BYTES:
                raise AnswerError("answer too long", f"more than {MAX_ANSWER_BYTES} bytes")
            if self._clock() > deadline:
                raise self._too_late()
        if response.length:  # bytes that were announced and never came
            raise ServerAwayError(_BROKEN)
        response.close()  # frees the connection for the next request
        return bytes(content)
