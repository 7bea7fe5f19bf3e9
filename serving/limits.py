"""How much work is let in at once."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class BusyError(Exception):
    """As much as may be is under way already."""


class Gate:
    """Lets a number of users in at once, and turns the next ones away.

    >>> gate = Gate(1)
    >>> with gate.entered(), gate.entered():
    ...     pass
    Traceback (most recent call last):
    serving.limits.BusyError: 1 at once, as many as may be
    """

    def __init__(self, most: int):
        self._most = most
        self._places = threading.BoundedSemaphore(most)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Hold a place while the block lasts.

        Raises:
            BusyError: there is none.
        """
        if not self._places.acquire(blocking=False):
            raise BusyError(f"{self._most} at once, as many as may be")
        try:
            yield
        finally:
            self._places.release()
