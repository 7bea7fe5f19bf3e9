"""Connections on which everything is over by a deadline, however little comes at a time."""

import socket
import ssl
import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPSConnection
from typing import Any, NamedTuple, cast
from urllib.parse import SplitResult

from http_client.errors import ServerAwayError, server_away
from http_client.tls import USE_HTTP, tls_error

_HANDSHAKE_S = 10.0
"""Seconds for a TLS handshake; what speaks no TLS may well be silent."""


class TimedSocket(socket.socket):
    """A socket whose reads and writes raise TimeoutError past a deadline.

    Attributes:
        deadline: a time of the clock, for all of them together.
        clock: gives seconds.
    """

    deadline = 0.0
    clock: Callable[[], float] = staticmethod(time.monotonic)

    def sendall(self, *args: Any) -> None:
        """Send everything."""
        self._limit()
        super().sendall(*args)

    def recv_into(self, *args: Any) -> int:
        """Receive what there is, at least a byte unless the other side has closed."""
        self._limit()
        return super().recv_into(*args)

    def _limit(self) -> None:
        left_s = self.deadline - self.clock()
        if left_s <= 0:
            raise TimeoutError
        self.settimeout(left_s)


class TimedTlsSocket(TimedSocket, ssl.SSLSocket):
    """The same over TLS."""


class Connection(NamedTuple):
    """A connection, and the socket that it reads and writes by."""

    http: HTTPConnection
    timed: TimedSocket


def connect(parts: SplitResult, timeout_s: float, context: ssl.SSLContext | None) -> Connection:
    """Connect to the server of a URL.

    Args:
        parts: of the URL.
        timeout_s: seconds that this may take.
        context: verifies the server of an https URL; None for http.

    Raises:
        ServerAwayError: nothing answers in time, or TLS fails.
        OSError: there is no connection.
    """
    host = parts.hostname or ""
    if context is None:
        connection = HTTPConnection(host, parts.port, timeout=timeout_s)
    else:
        connection = HTTPSConnection(host, parts.port, timeout=timeout_s, context=context)
    try:
        HTTPConnection.connect(connection)  # without TLS, whose errors are others
    except TimeoutError:
        raise server_away(parts, f"no connection within {timeout_s:g} s", True) from None
    if context is None:
        timed = TimedSocket(fileno=connection.sock.detach())
    else:
        timed = _over_tls(connection.sock, host, min(timeout_s, _HANDSHAKE_S), context)
    connection.sock = timed
    return Connection(connection, timed)


def _over_tls(
    plain: socket.socket, host: str, limit_s: float, context: ssl.SSLContext
) -> TimedSocket:
    """Start TLS on a connection, which closes if that fails."""
    plain.settimeout(limit_s)
    context.sslsocket_class = TimedTlsSocket
    try:
        return cast(TimedTlsSocket, context.wrap_socket(plain, server_hostname=host))
    except TimeoutError:
        problem = ServerAwayError(f"no TLS within {limit_s:g} s", True, remedy=USE_HTTP)
    except (ConnectionError, ssl.SSLEOFError):
        problem = ServerAwayError("the connection broke within TLS", True, remedy=USE_HTTP)
    except ssl.SSLError as error:
        problem = tls_error(error, host)
    plain.close()
    raise problem
