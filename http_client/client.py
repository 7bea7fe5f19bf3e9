"""A client of one HTTP server: whole answers within a time limit, over connections that are kept.

On http.client, not on requests: one request costs it a third of the processor time, and that is
time in which no picture is decoded. Redirects are told and not followed, and the proxies of the
shell are not asked: pictures and embeddings go to the server that was named, and to no other.
"""

import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.client import (
    BadStatusLine,
    HTTPConnection,
    HTTPException,
    HTTPResponse,
    HTTPSConnection,
    IncompleteRead,
)
from urllib.parse import urljoin, urlsplit

from http_client.proxies import unused_proxy
from http_client.reply import AnswerError, Reply, Request, ServerAwayError
from http_client.timed_socket import TimedSocket
from http_client.tls import USE_HTTP, USE_HTTPS, client_context, failure_of, speaks_tls
from utils.addresses import port_of

_HANDSHAKE_S = 10.0
"""Seconds for a TLS handshake; what speaks no TLS may well be silent."""

_LOOK_S = 2.0
"""Seconds to find out whether a server that breaks off speaks TLS."""

_CHUNK_BYTES = 2**16
_BROKEN = "the connection broke within an answer"
_TLS_ALERT = "\x15\x03"


class HttpServer:
    """One server; its connections stay open between requests. Threads may share it.

    Args:
        url: as `server_url` makes it.
        timeout_s: seconds that an answer may take, all of it.
        clock: gives seconds; another one for tests.

    Raises:
        DataError: https is asked for, and a variable names certificates that are none.
    """

    def __init__(
        self, url: str, timeout_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.url, self.timeout_s = url, timeout_s
        self._clock = clock
        self._parts = urlsplit(url)
        self._host = self._parts.hostname or ""
        self._context = client_context() if self._parts.scheme == "https" else None
        self._idle: list[HTTPConnection] = []
        self._in_use: set[TimedSocket] = set()
        self._keeps, self._is_aborted, self._has_answered = True, False, False
        self._lock = threading.Lock()

    def ask(self, request: Request) -> Reply:
        """Send a request and read the answer, whatever its status.

        Raises:
            ServerAwayError: no answer came.
            AnswerError: what came is not HTTP, or too long.
        """
        try:
            reply = self._exchange(request)
        except ConnectionRefusedError:
            raise self._away("nothing listens there", is_final=True) from None
        except TimeoutError:
            words = f"no answer within {self.timeout_s:g} s"
            raise ServerAwayError(words, is_final=True, is_silent=True) from None
        except OSError as error:
            raise self._problem(error) from None
        if reply.status == HTTPStatus.BAD_REQUEST and b"HTTPS" in reply.content:
            raise _speaks_tls()  # as nginx and others say it to those who speak plain HTTP
        self._has_answered = True
        return reply

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

    def _exchange(self, request: Request) -> Reply:
        """Send and receive; over a new connection when the server has closed the kept one."""
        deadline = self._clock() + self.timeout_s
        if (kept := self._kept()) is not None:
            try:
                return self._over(kept, request, deadline)
            except (ConnectionError, ssl.SSLError):
                self._drop_idle()  # the others are as old
        return self._over(self._connect(deadline), request, deadline)

    def _kept(self) -> HTTPConnection | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _connect(self, deadline: float) -> HTTPConnection:
        """Connect, to a socket that heeds a deadline."""
        kind = HTTPSConnection if self._context else HTTPConnection
        connection = kind(self._host, self._parts.port, timeout=self.timeout_s)
        try:
            HTTPConnection.connect(connection)  # without TLS, whose errors are others
        except TimeoutError:
            raise self._away(f"no connection within {self.timeout_s:g} s", True) from None
        if self._context:
            self._shake_hands(connection, self._context)
        connection.sock = TimedSocket(connection.sock, deadline, self._clock)
        return connection

    def _shake_hands(self, connection: HTTPConnection, context: ssl.SSLContext) -> None:
        """Start TLS on a connection, which closes if that fails."""
        limit_s = min(self.timeout_s, _HANDSHAKE_S)
        try:
            connection.sock.settimeout(limit_s)
            connection.sock = context.wrap_socket(connection.sock, server_hostname=self._host)
            return
        except TimeoutError:
            problem = ServerAwayError(f"no TLS within {limit_s:g} s", True, remedy=USE_HTTP)
        except (ConnectionError, ssl.SSLEOFError):
            problem = ServerAwayError("the connection broke within TLS", True, remedy=USE_HTTP)
        except ssl.SSLError as error:
            problem = self._problem(error)
        connection.close()
        raise problem

    def _over(self, connection: HTTPConnection, request: Request, deadline: float) -> Reply:
        """Send and receive over one connection, which is kept if the server keeps it."""
        is_reusable = False
        timed = _timed(connection)
        timed.deadline = deadline
        with self._lock:
            self._in_use.add(timed)
        try:
            if self._is_aborted:
                raise ServerAwayError("broken off")
            connection.request(request.method, request.target, request.body, request.headers)
            response = connection.getresponse()
            content = _read(response, request.max_bytes)
            is_reusable = self._keeps and not response.will_close
        except ConnectionError:
            raise
        except IncompleteRead:
            raise ServerAwayError(_BROKEN) from None
        except HTTPException as error:
            raise _not_http(error) from None
        finally:
            with self._lock:
                self._in_use.discard(timed)
                if is_reusable:
                    self._idle.append(connection)
            if not is_reusable:
                connection.close()
        headers = {name.title(): value for name, value in response.headers.items()}
        return Reply(urljoin(self.url, request.target), response.status, headers, content)

    def _problem(self, error: OSError) -> ServerAwayError:
        """Say why there is no answer, and what to do where that is known."""
        if isinstance(error, ssl.SSLEOFError):
            return ServerAwayError("the connection broke before an answer")
        if isinstance(error, ssl.SSLError):
            reason, remedy = failure_of(error, self._host)
            return ServerAwayError(reason, is_final=True, remedy=remedy)
        if isinstance(error, ConnectionError) and not (self._has_answered or self._is_aborted):
            address = self._host, port_of(self._parts)
            if not self._context and speaks_tls(address, min(self.timeout_s, _LOOK_S)):
                return _speaks_tls()
        return self._away(error.strerror or str(error) or type(error).__name__)

    def _away(self, reason: str, is_final: bool = False) -> ServerAwayError:
        proxy = unused_proxy(self._parts.scheme, self._host)
        remedy = f"{proxy} is set, and not used: servers are asked directly" if proxy else ""
        return ServerAwayError(reason, is_final, remedy=remedy)


def _timed(connection: HTTPConnection) -> TimedSocket:
    """Return the socket of a connection that `HttpServer` made."""
    if not isinstance(connection.sock, TimedSocket):  # closed meanwhile
        raise ConnectionResetError("the connection was closed")
    return connection.sock


def _read(response: HTTPResponse, max_bytes: int) -> bytes:
    """Read the whole content, up to the limit of size."""
    content = bytearray()
    while chunk := response.read1(_CHUNK_BYTES):
        content += chunk
        if len(content) > max_bytes:
            raise AnswerError("answer too long", f"more than {max_bytes} bytes")
    if response.length:  # bytes that were announced and never came
        raise ServerAwayError(_BROKEN)
    response.close()  # frees the connection for the next request
    return bytes(content)


def _not_http(error: HTTPException) -> Exception:
    if isinstance(error, BadStatusLine) and str(error).startswith(_TLS_ALERT):
        return _speaks_tls()
    return AnswerError("not HTTP", repr(error)[:200])


def _speaks_tls() -> ServerAwayError:
    return ServerAwayError("it speaks TLS", is_final=True, remedy=USE_HTTPS)
