"""What a request asks for, and whether there is room for it."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, TooManyRequests

CHOICES = {"normalize": ("0", "1"), "strict": ("0", "1"), "answer": ("2021", "2022")}
"""Of two values each, the first of which holds if a query says nothing."""

QUERY = ("mc_samples", *CHOICES)
IMAGE_QUERY = ("mc_samples",)
MAX_DIGITS = 12
RETRY_AFTER_S = 1


@dataclass(frozen=True)
class Query:
    """How a request wants its answer.

    Attributes:
        mc_samples: passes with dropout; 0 for none.
        normalize: take vectors of any length.
        strict: refuse vectors of another network.
        is_of_2022: answer as the original project did in 2022.
    """

    mc_samples: int = 0
    normalize: bool = False
    strict: bool = False
    is_of_2022: bool = False


def read_query(
    given: Mapping[str, str],
    max_mc_samples: int,
    known: tuple[str, ...] = QUERY,
    default_mc_samples: int = 0,
) -> Query:
    """Read and check what follows the question mark.

    Args:
        given: names to values.
        max_mc_samples: more are refused.
        known: names that are allowed.
        default_mc_samples: what holds if the query does not say.

    Raises:
        HTTPException: an unknown name, or a value out of its range.
    """
    unknown = sorted(given.keys() - set(known))
    if unknown:
        raise BadRequest(f"unknown parameter {unknown[0][:50]!r}, known are {', '.join(known)}")
    is_second = {}
    for name, choices in CHOICES.items():
        text = given.get(name, choices[0])
        if text not in choices:
            raise BadRequest(f"{name} is {text[:50]!r}, expected {' or '.join(choices)}")
        is_second[name] = text == choices[1]
    mc_samples = _count(given.get("mc_samples", str(default_mc_samples)), max_mc_samples)
    return Query(mc_samples, is_second["normalize"], is_second["strict"], is_second["answer"])


def _count(text: str, most: int) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > MAX_DIGITS:
        raise BadRequest(f"mc_samples is {text[:50]!r}, expected a whole number from 0 to {most:,}")
    if int(text) > most:
        raise RequestEntityTooLarge(f"mc_samples is {int(text):,}, at most {most:,}")
    return int(text)


def check_passes(num_faces: int, mc_samples: int, most: int) -> None:
    """Refuse more passes with dropout over faces than a request may have.

    Raises:
        HTTPException: there are more.
    """
    if num_faces * mc_samples > most:
        raise RequestEntityTooLarge(
            f"{num_faces:,} faces x {mc_samples:,} passes, at most {most:,} in all"
        )


class Gate:
    """Lets a number of requests in at once, and turns the next ones away.

    Attributes:
        num_inside: how many are in.

    >>> gate = Gate(1)
    >>> with gate.entered(), gate.entered():  # doctest: +ELLIPSIS
    ...     pass
    Traceback (most recent call last):
    werkzeug.exceptions.TooManyRequests: 429 Too Many Requests: busy: 1 at once, ...
    """

    def __init__(self, most: int):
        self.num_inside = 0
        self._most = most
        self._lock = threading.Lock()

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Take a place while the block lasts.

        Raises:
            TooManyRequests: there is none.
        """
        with self._lock:
            if self.num_inside == self._most:
                problem = f"busy: {self._most} at once, as many as may be; try again"
                raise TooManyRequests(problem, retry_after=RETRY_AFTER_S)
            self.num_inside += 1
        try:
            yield
        finally:
            with self._lock:
                self.num_inside -= 1
