"""Is the promise kept? What is found on faces whose ages or genders are known."""

import math

import numpy as np
from numpy.typing import NDArray

from confidence.age import AgeConfidence
from confidence.error_rates import Share, ThresholdErrors
from confidence.gender import GenderConfidence
from confidence.rows import JudgedRows
from utils.problems import JsonObject

TWO_SIDED, ONE_SIDED = 1.959964, 2.326348
"""Normal quantiles: of the 95 % interval, and of what chance exceeds once in a hundred times."""


class MeasuredCoverage(JsonObject):
    """How often the true answer is held; every person counts once.

    Attributes:
        level: share that was promised.
        num_people: different people; a face of nobody known counts as a person.
        coverage: share that was found.
        low: lower end of its 95 % interval.
        high: upper end.
        is_too_low: it is below the level by more than chance explains, that of these people and
            that of the people whom the promise was fitted to.
    """

    level: Share
    num_people: int
    coverage: Share
    low: Share
    high: Share
    is_too_low: bool

    @classmethod
    def of(
        cls, held: NDArray[np.bool_], rows: JudgedRows, level: float, num_fitted: int
    ) -> "MeasuredCoverage":
        """Measure what share of people is held.

        The interval is Wilson's, with people for trials: what a person adds is a mean over
        pictures, which varies less than a trial does, so that it is rather too wide. Source:
        Wilson, Probable Inference (1927).

        Args:
            held: (N,) whose true answer is held.
            rows: of at least one face.
            level: that was promised.
            num_fitted: people whom the promise was fitted to.
        """
        coverage, num = float(np.average(held, weights=rows.weights)), rows.num_people
        low, high = _wilson(coverage, num)
        chance = math.sqrt(level * (1 - level) * (1 / num + 1 / num_fitted))
        return cls(
            level=level,
            num_people=num,
            coverage=coverage,
            low=low,
            high=high,
            is_too_low=coverage < level - ONE_SIDED * chance,
        )


class MeasuredAges(JsonObject):
    """What is found of an age model.

    Attributes:
        intervals: how often they hold the true age; None where there are none.
        mean_years: mean width in years, both ends included.
        error_rates: of the question whether somebody is at least so old.
    """

    intervals: MeasuredCoverage | None
    mean_years: float | None
    error_rates: list[ThresholdErrors]


class MeasuredGenders(JsonObject):
    """What is found of a gender model.

    Attributes:
        sets: how often they hold the true gender; None where there are none.
        single_share: share of people with one gender in the set.
        single_coverage: share of these for whom it is the true one; None where there is nobody.
    """

    sets: MeasuredCoverage | None
    single_share: Share | None
    single_coverage: Share | None


def measure_ages(confidence: AgeConfidence, rows: JudgedRows, level: float = 0.9) -> MeasuredAges:
    """Measure intervals and thresholds on at least one face whom nothing was fitted to."""
    intervals = confidence.intervals(rows.probabilities, rows.genders, level)
    error_rates = confidence.errors_of(rows)
    if np.isnan(intervals).any():
        return MeasuredAges(intervals=None, mean_years=None, error_rates=error_rates)
    low, high = intervals.T
    first, last = np.array(confidence.bounds)[rows.labels].T
    held = (low <= first) & (last <= high)
    return MeasuredAges(
        intervals=MeasuredCoverage.of(held, rows, level, confidence.num_people),
        mean_years=float(np.average(high - low + 1, weights=rows.weights)),
        error_rates=error_rates,
    )


def measure_genders(
    confidence: GenderConfidence, rows: JudgedRows, level: float = 0.9
) -> MeasuredGenders:
    """Measure sets on at least one face whom nothing was fitted to."""
    sets = confidence.sets(rows.probabilities, level)
    if not sets.any():
        return MeasuredGenders(sets=None, single_share=None, single_coverage=None)
    held = sets[np.arange(len(sets)), rows.labels]
    is_single = sets.sum(axis=1) == 1
    singles = rows.part(is_single)
    return MeasuredGenders(
        sets=MeasuredCoverage.of(held, rows, level, confidence.num_people),
        single_share=float(np.average(is_single, weights=rows.weights)),
        single_coverage=float(np.average(held[is_single], weights=singles.weights))
        if is_single.any()
        else None,
    )


def _wilson(share: float, num: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of `num` trials.

    >>> [round(end, 3) for end in _wilson(0.9, 100)]
    [0.826, 0.945]
    """
    z = TWO_SIDED**2 / num
    centre, half = share + z / 2, math.sqrt(z * (share * (1 - share) + z / 4))
    return max((centre - half) / (1 + z), 0.0), min((centre + half) / (1 + z), 1.0)
