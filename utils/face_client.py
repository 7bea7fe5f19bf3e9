"""The client of the face server: sends a picture, reads the faces.

On http.client, not on requests: one request costs it a third of the processor time, and that is
time in which no picture is decoded.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, IncompleteRead
from io import BytesIO
from urllib.parse import urlsplit

from PIL import Image

from utils.face_address import port_of, server_url, target_of
from utils.timed_socket import TimedSocket
from utils.wire import encode_request
from utils.wire_decode import MAX_ANSWER_BYTES, Answer, Face, WireError, decode_answer

__all__ = ["Answer", "AnswerError", "Face", "FaceServer", "ServerAwayError", "probe_body"]

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
        is_silent: something listens there, and the time was up.
        reason: in few words, the same for all of this sort.
        is_temporary: another server, or this one later, may well answer.
    """

    reason = "connection lost"
    is_temporary = True

    def __init__(self, reason: str, is_final: bool = False, is_silent: bool = False):
        super().__init__(reason)
        self.is_final, self.is_silent = is_final, is_silent


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
        self._in_use: set[TimedSocket] = set()
        self._keeps, self._is_aborted = True, False
        self._lock = threading.Lock()

    @property
    def port(self) -> int:
        """The port, also when the URL does not name it."""
        return port_of(self._parts)

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

    def abort(self) -> None:
        """Break off the requests under way, and close the connections."""
        self._is_aborted = True
        self.close()
        with self._lock:
            in_use = list(self._in_use)
        for timed in in_use:
            with suppress(OSError):
                timed.shut_down()

    def _drop_idle(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _exchange(self, body: bytes) -> tuple[int, bytes]:
        """Send and receive; over a new connection when the server has closed the kept one."""
        deadline = self._clock() + self.timeout_s
        try:
            if (kept := self._kept()) is not None:
                try:
                    return self._over(kept, body, deadline)
                except ConnectionError:
                    self._drop_idle()  # the others are as old
            return self._over(self._connect(deadline), body, deadline)
        except ConnectionRefusedError:
            raise ServerAwayError("nothing listens there", is_final=True) from None
        except TimeoutError:
            words = f"no answer within {self.timeout_s:g} s"
            raise ServerAwayError(words, is_final=True, is_silent=True) from None
        except OSError as error:
            raise ServerAwayError(error.strerror or str(error) or type(error).__name__) from None

    def _kept(self) -> HTTPConnection | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _connect(self, deadline: float) -> HTTPConnection:
        """Connect, to a socket that heeds a deadline."""
        kind = HTTPSConnection if self._parts.scheme == "https" else HTTPConnection
        connection = kind(self._parts.hostname or "", self._parts.port, timeout=self.timeout_s)
        try:
            connection.connect()
        except TimeoutError:
            words = f"no connection within {self.timeout_s:g} s"
            raise ServerAwayError(words, is_final=True) from None
        connection.sock = TimedSocket(connection.sock, deadline, self._clock)
        return connection

    def _over(self, connection: HTTPConnection, body: bytes, deadline: float) -> tuple[int, bytes]:
        """Send and receive over one connection, which is kept if the server keeps it."""
        is_reusable = False
        timed = _timed(connection)
        timed.deadline = deadline
        with self._lock:
            self._in_use.add(timed)
        try:
            if self._is_aborted:
                raise ServerAwayError("broken off")
            connection.request("POST", target_of(self._parts), body, HEADERS)
            response = connection.getresponse()
            content = self._read(response)
            is_reusable = self._keeps and not response.will_close
        except ConnectionError:
            raise
        except IncompleteRead:
            raise ServerAwayError(_BROKEN) from None
        except HTTPException as error:
            raise AnswerError("not HTTP", repr(error)[:200]) from None
        finally:
            with self._lock:
                self._in_use.discard(timed)
                if is_reusable:
                    self._idle.append(connection)
            if not is_reusable:
                connection.close()
        return response.status, content

    def _read(self, response: HTTPResponse) -> bytes:
        """Read the whole content, up to the limit of size."""
        content = bytearray()
        while chunk := response.read1(_CHUNK_BYTES):
            content += chunk
            if len(content) > MAX_ANSWER_BYTES:
                raise AnswerError("answer too long", f"more than {MAX_ANSWER_BYTES} bytes")
        if response.length:  # bytes that were announced and never came
            raise ServerAwayError(_BROKEN)
        response.close()  # frees the connection for the next request
        return bytes(content)


def _timed(connection: HTTPConnection) -> TimedSocket:
    """Give the socket of a connection that `FaceServer` made."""
    if not isinstance(connection.sock, TimedSocket):  # closed meanwhile
        raise ConnectionResetError("the connection was closed")
    return connection.sock
