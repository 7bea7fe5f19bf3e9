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
from http.client import BadStatusLine, HTTPException, HTTPResponse, IncompleteRead
from socket import SHUT_RDWR
from urllib.parse import urljoin, urlsplit

from http_client.connection import Connection, connect
from http_client.errors import AnswerError, ServerAwayError, server_away
from http_client.reply import Reply, Request
from http_client.tls import USE_HTTPS, client_context, speaks_tls, tls_error
from utils.addresses import port_of

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
        self._context = client_context() if self._parts.scheme == "https" else None
        self._idle: list[Connection] = []
        self._in_use: set[Connection] = set()
        self._is_closed, self._is_aborted, self._has_answered = False, False, False
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
            raise server_away(self._parts, "nothing listens there", is_final=True) from None
        except TimeoutError:
            reason = f"no answer within {self.timeout_s:g} s"
            raise ServerAwayError(reason, is_final=True, is_silent=True) from None
        except OSError as error:
            raise self._problem(error) from None
        if reply.status == HTTPStatus.BAD_REQUEST and b"HTTPS" in reply.content:
            raise _speaks_tls()  # as nginx and others say it to those who speak plain HTTP
        self._has_answered = True
        return reply

    def close(self) -> None:
        """Close the connections; one in use closes at the end of its request, and none is kept."""
        self._is_closed = True
        self._drop_idle()

    def abort(self) -> None:
        """Break off the requests under way, and close the connections."""
        self._is_aborted = True
        self.close()
        with self._lock:
            in_use = list(self._in_use)
        for connection in in_use:
            with suppress(OSError):
                connection.timed.shutdown(SHUT_RDWR)

    def _drop_idle(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.http.close()

    def _exchange(self, request: Request) -> Reply:
        """Send and receive; over a new connection when the server has closed the kept one."""
        deadline = self._clock() + self.timeout_s
        if (kept := self._kept()) is not None:
            try:
                return self._over(kept, request, deadline)
            except (ConnectionError, ssl.SSLError):
                self._drop_idle()  # the others are as old
        return self._over(connect(self._parts, self.timeout_s, self._context), request, deadline)

    def _kept(self) -> Connection | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _over(self, connection: Connection, request: Request, deadline: float) -> Reply:
        """Send and receive over one connection, which is kept if the server keeps it."""
        connection.timed.deadline, connection.timed.clock = deadline, self._clock
        is_reusable = False
        with self._lock:
            self._in_use.add(connection)
        try:
            if self._is_aborted:
                raise ServerAwayError("broken off")
            connection.http.request(request.method, request.target, request.body, request.headers)
            response = connection.http.getresponse()
            content = _read(response, request.max_bytes)
            is_reusable = not (response.will_close or self._is_closed)
        except ConnectionError:
            raise
        except IncompleteRead:
            raise ServerAwayError(_BROKEN) from None
        except HTTPException as error:
            raise _not_http(error) from None
        finally:
            with self._lock:
                self._in_use.discard(connection)
                if is_reusable:
                    self._idle.append(connection)
            if not is_reusable:
                connection.http.close()
        headers = {name.title(): value for name, value in response.headers.items()}
        return Reply(urljoin(self.url, request.target), response.status, headers, content)

    def _problem(self, error: OSError) -> ServerAwayError:
        """Return why there is no answer, and what to do where that is known."""
        if isinstance(error, ssl.SSLEOFError):
            return ServerAwayError("the connection broke before an answer")
        if isinstance(error, ssl.SSLError):
            return tls_error(error, self._parts.hostname or "")
        if isinstance(error, ConnectionError) and not (self._has_answered or self._is_aborted):
            address = self._parts.hostname or "", port_of(self._parts)
            if not self._context and speaks_tls(address, min(self.timeout_s, _LOOK_S)):
                return _speaks_tls()
        return server_away(self._parts, error.strerror or str(error) or type(error).__name__)


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
