"""Split conformal prediction: how unusual an answer may be at each level.

Of every face that is judged, one number says how unusual its true answer is in the eyes of the
model; the larger, the more. A radius is what a share of new people stay within. An answer that is
no more unusual than the radius is among those given.

The faces of one person are alike, so rows cannot be exchanged with each other; people can. Each
person therefore has the same mass, which their pictures share, and one more person, who is yet to
come, has the rest at infinity. The promise is about a new person, and a picture of them at random.

Source: Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World (2005); for people with
several pictures Lee, Barber and Willett, arXiv 2306.06342, section 3.
"""

import bisect
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field

from confidence.rows import Floats, JudgedRows

LEVELS = tuple(percent / 100 for percent in range(50, 100))
"""Levels that radii are kept for. One between two of them is answered as the higher one."""

MIN_PEOPLE = 100
"""That a group has radii of its own with: of fewer, chance moves the coverage by more than groups
differ, and the highest level has none."""

ROUNDING = 1e-9
"""By which a sum of masses may miss the level that it reaches."""


def _ascending(values: list[float | None]) -> list[float | None]:
    known = [value for value in values if value is not None]
    if known != sorted(known) or values[: len(known)] != known:
        raise ValueError("must ascend, with null at the end only")
    return values


Radii = Annotated[
    list[Annotated[float, Field(ge=0, le=1)] | None],
    Field(min_length=len(LEVELS), max_length=len(LEVELS)),
    AfterValidator(_ascending),
]
"""The radius of each of LEVELS; null where there are too few people for the level."""

NO_RADII: list[float | None] = [None] * len(LEVELS)


def radii_of(scores: Floats, rows: JudgedRows) -> list[float | None]:
    """Return what each of LEVELS of new people stay within.

    Args:
        scores: (N,) how unusual the true answer of each row is.
        rows: the same rows.

    Returns:
        None where fewer people are known than the level needs: n < level (n + 1).
    """
    order = np.argsort(scores, kind="stable")
    reached = np.cumsum(rows.weights[order]) / (rows.num_people + 1)
    places = np.searchsorted(reached, np.array(LEVELS) - ROUNDING)
    return [float(scores[order[place]]) if place < len(order) else None for place in places]


def radius_at(radii: list[float | None], level: float) -> float:
    """Return the radius of a level, or of the next higher one; NaN where there is none.

    Raises:
        ValueError: the level is not between 0 and 1.

    >>> radius_at([number / 50 for number in range(50)], 0.9)
    0.8
    """
    if not 0 < level < 1:
        raise ValueError(f"level {level}, expected a number between 0 and 1, such as 0.9")
    place = bisect.bisect_left(LEVELS, level - ROUNDING)
    found = radii[place] if place < len(radii) else None
    return float("nan") if found is None else found
