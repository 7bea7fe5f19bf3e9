"""What a request asks for, and whether there is room for it."""

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, TooManyRequests

from serving.face_confidence import (
    DEFAULT_QUERY,
    EXPECTED_LEVEL,
    EXPECTED_THRESHOLDS,
    LEVEL,
    ConfidenceQuery,
)
from utils.errors import UserError

CHOICES = {"normalize": ("0", "1"), "strict": ("0", "1"), "answer": ("2021", "2022")}
"""Of two values each, the first of which holds if a query says nothing."""

OF_CONFIDENCE = ("level", "over")
QUERY = ("mc_samples", *CHOICES, *OF_CONFIDENCE)
IMAGE_QUERY = ("mc_samples", *OF_CONFIDENCE)
MAX_DIGITS = 12
_DECIMAL = re.compile(r"[0-9]?\.[0-9]{1,12}")
_WHOLE_NUMBERS = re.compile(r"[0-9]{1,3}(,[0-9]{1,3})*")
RETRY_AFTER_S = 1


@dataclass(frozen=True)
class Query:
    """How a request wants its answer.

    Attributes:
        mc_samples: passes with dropout; 0 for none.
        normalize: take vectors of any length.
        strict: refuse vectors of another network.
        is_of_2022: answer as the original project did in 2022.
        confidence: what is to be said of how sure the answer is.
    """

    mc_samples: int = 0
    normalize: bool = False
    strict: bool = False
    is_of_2022: bool = False
    confidence: ConfidenceQuery = DEFAULT_QUERY


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
    is_of_2022, confidence = is_second["answer"], _confidence(given)
    if is_of_2022 and confidence != DEFAULT_QUERY:
        raise BadRequest("answer=2022 has no place for level and over; leave them or it out")
    return Query(mc_samples, is_second["normalize"], is_second["strict"], is_of_2022, confidence)


def _confidence(given: Mapping[str, str]) -> ConfidenceQuery:
    level, over = (given.get(name) for name in OF_CONFIDENCE)
    if level is not None and not _DECIMAL.fullmatch(level):
        raise BadRequest(f"level is {level[:50]!r}, {EXPECTED_LEVEL}")
    if over is not None and not _WHOLE_NUMBERS.fullmatch(over):
        raise BadRequest(f"over is {over[:50]!r}, {EXPECTED_THRESHOLDS}")
    ages = () if over is None else tuple(map(int, over.split(",")))
    try:
        return ConfidenceQuery(LEVEL if level is None else float(level), ages)
    except UserError as error:
        raise BadRequest(str(error)) from None


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
