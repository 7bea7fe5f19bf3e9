"""Works on some things at a time, and yields what comes of them in the order of the things."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

IN_FLIGHT = 4
"""Pictures that are prepared, or asked about, at a time."""


def in_order(
    work: Callable[[Item], Outcome], items: Iterable[Item]
) -> Generator[tuple[Item, "Future[Outcome]"], None, None]:
    """Work on the items in threads, `IN_FLIGHT` at a time; close it to begin no more.

    Yields:
        each item and what came of it, in the order of the items, which are taken as needed.
    """
    waiting: deque[tuple[Item, Future[Outcome]]] = deque()
    pool = ThreadPoolExecutor(IN_FLIGHT, "pictures")
    try:
        for item in items:
            waiting.append((item, pool.submit(work, item)))
            if len(waiting) == IN_FLIGHT:
                yield waiting.popleft()
        yield from waiting
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
