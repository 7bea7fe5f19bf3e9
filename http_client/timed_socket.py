"""A socket on which everything has to be over by a deadline, however little comes at a time."""

import io
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer


class TimedSocket:
    """What http.client needs of a socket, with a deadline for all of it together.

    Every call raises TimeoutError past the deadline.

    Attributes:
        deadline: the time of the clock at which reads and writes end; may be moved.
    """

    def __init__(
        self, connected: socket.socket, deadline: float, clock: Callable[[], float]
    ) -> None:
        self._socket, self._clock = connected, clock
        self._num_readers, self._is_closed = 0, False
        self.deadline = deadline

    def sendall(self, content: "ReadableBuffer") -> None:
        """Send everything."""
        self._limit()
        self._socket.sendall(content)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Make the file that an answer is read from; closing it leaves the socket open."""
        self._num_readers += 1
        return io.BufferedReader(_Reader(self))

    def receive_into(self, buffer: "WriteableBuffer") -> int:
        """Receive what there is, at least a byte unless the other side has closed."""
        self._limit()
        return self._socket.recv_into(buffer)

    def shut_down(self) -> None:
        """End every read and write, also those in other threads."""
        self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket, as soon as no answer is read from it any more."""
        self._is_closed = True
        if self._num_readers == 0:
            self._socket.close()

    def reader_closes(self) -> None:
        """Note that a file of `makefile` is closed."""
        self._num_readers -= 1
        if self._is_closed:
            self.close()

    def _limit(self) -> None:
        left_s = self.deadline - self._clock()
        if left_s <= 0:
            raise TimeoutError
        self._socket.settimeout(left_s)


class _Reader(io.RawIOBase):
    def __init__(self, timed: TimedSocket) -> None:
        self._timed = timed

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        return self._timed.receive_into(buffer)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._timed.reader_closes()
