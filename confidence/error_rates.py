"""How often is the question whether somebody is at least of an age t answered wrongly?

Two mistakes: somebody under t is passed, and somebody of t or more is refused. What is demanded
decides between them, so both are kept for several demands: that the probability of being t or more
reaches a value, or that the expected age reaches a challenge age above t. The form is that of
NIST's Face Analysis Technology Evaluation: Age Estimation and Verification (NIST IR 8525, 2024).
"""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from confidence.rows import Floats, JudgedRows
from confidence.thresholds import OverCalibration, over_by_class
from utils.labels import ADIENCE_GROUPS, class_bounds
from utils.problems import JsonObject

THRESHOLDS = (13, 16, 18, 21, 25)
"""Ages, in years, that laws ask for."""

DEMANDED = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
"""Probabilities of being t or more."""

CHALLENGE_YEARS = (0, 1, 2, 3, 5, 7, 10)
"""By how much the expected age must exceed t; 7 beside 18 is the shops' "challenge 25"."""

NEAR_YEARS = ((-5, -3), (-2, -1), (0, 2), (3, 5))
"""First and last true age of a range, from t on: mistakes are most often made there."""

MIN_PEOPLE = 20
"""On each side of t: with fewer, even no mistake leaves a rate of 15 % possible."""

NUM_PARTS = 5

Flags = NDArray[np.bool_]
Share = Annotated[float, Field(ge=0, le=1)]
Shares = Annotated[list[Share], Field(max_length=100)]
Count = Annotated[int, Field(ge=0)]


class ErrorCurve(JsonObject):
    """Both mistakes by what is demanded; every person counts once.

    Attributes:
        demanded: probabilities of being t or more, or expected ages in years.
        passed_under: of those under t, the share who reach each of them.
        refused_over: of those of t or more, the share who do not.
    """

    demanded: Annotated[list[float], Field(max_length=100)]
    passed_under: Shares
    refused_over: Shares


class PassedAtAge(JsonObject):
    """How many of about an age are passed.

    Attributes:
        from_age: first true age, in years.
        to_age: last one.
        num_faces: of these ages.
        passed: the share who reach each of the demanded probabilities.
    """

    from_age: int
    to_age: int
    num_faces: Count
    passed: Shares


class ThresholdErrors(JsonObject):
    """The mistakes at one age t.

    Attributes:
        threshold: t in years.
        num_faces_under: faces of people under t.
        num_people_under: people on them.
        num_faces_over: faces of people of t or more.
        num_people_over: people on them.
        by_probability: mistakes by the probability that is demanded.
        by_expected_age: mistakes by the expected age that is demanded, the challenge age.
        by_true_age: who is passed near t, where there are faces.
    """

    threshold: Annotated[int, Field(ge=1, le=150)]
    num_faces_under: Count
    num_people_under: Count
    num_faces_over: Count
    num_people_over: Count
    by_probability: ErrorCurve
    by_expected_age: ErrorCurve
    by_true_age: Annotated[list[PassedAtAge], Field(max_length=100)]


def measure_errors(
    rows: JudgedRows, bounds: Floats, over: Floats, expected_ages: Floats
) -> list[ThresholdErrors]:
    """Count the mistakes at each of THRESHOLDS.

    Args:
        rows: faces whose ages are known.
        bounds: (C, 2) first and last year of each class.
        over: (N, T) the probability of each of THRESHOLDS, from what was not fitted on the row.
        expected_ages: (N,) in years.

    Returns:
        those ages that fall into no class, and into no group that ages are known by, so that
        everybody is on one side, and that have enough people on both sides. Where some ages are
        known better than by their group, only these faces count.
    """
    groups = bounds
    if rows.in_groups is not None and rows.in_groups.any():
        chosen = ~rows.in_groups
        if chosen.any():
            rows, over, expected_ages = rows.part(chosen), over[chosen], expected_ages[chosen]
        else:
            groups = np.vstack([bounds, class_bounds(len(ADIENCE_GROUPS))])
    found = []
    for column, threshold in enumerate(THRESHOLDS):
        (of_group,) = over_by_class(groups, [threshold]).T
        is_over = of_group[rows.labels] == 1
        few = min(rows.part(side).num_people for side in (is_over, ~is_over))
        if few >= MIN_PEOPLE and np.isin(of_group, (0, 1)).all():
            near = _by_true_age(rows, bounds, over[:, column], threshold)
            found.append(_errors(rows, is_over, (over[:, column], expected_ages), threshold, near))
    return found


def _errors(
    rows: JudgedRows,
    is_over: Flags,
    judged_by: tuple[Floats, Floats],
    threshold: int,
    near: list[PassedAtAge],
) -> ThresholdErrors:
    probability, expected_age = judged_by
    under, over = rows.part(~is_over), rows.part(is_over)
    challenge = [float(threshold + years) for years in CHALLENGE_YEARS]
    return ThresholdErrors(
        threshold=threshold,
        num_faces_under=len(under.labels),
        num_people_under=under.num_people,
        num_faces_over=len(over.labels),
        num_people_over=over.num_people,
        by_probability=_curve(rows, is_over, probability, list(DEMANDED)),
        by_expected_age=_curve(rows, is_over, expected_age, challenge),
        by_true_age=near,
    )


def _curve(rows: JudgedRows, is_over: Flags, values: Floats, demanded: list[float]) -> ErrorCurve:
    refused_over = [1 - share for share in _passed(rows, is_over, values, demanded)]
    passed_under = _passed(rows, ~is_over, values, demanded)
    return ErrorCurve(demanded=demanded, passed_under=passed_under, refused_over=refused_over)


def _passed(
    rows: JudgedRows, chosen: Flags, values: Floats, demanded: Sequence[float]
) -> list[float]:
    """Return the share of the chosen people whose values reach each of the demanded ones."""
    weights = rows.part(chosen).weights
    reaches = values[chosen, None] >= np.array(demanded)
    shares: list[float] = np.clip(weights @ reaches / weights.sum(), 0, 1).tolist()
    return shares


def _by_true_age(
    rows: JudgedRows, bounds: Floats, probability: Floats, threshold: int
) -> list[PassedAtAge]:
    first, last = bounds[rows.labels].T
    found = []
    for start, end in NEAR_YEARS:
        is_here = (first >= threshold + start) & (last <= threshold + end)
        if is_here.any():
            found.append(
                PassedAtAge(
                    from_age=threshold + start,
                    to_age=threshold + end,
                    num_faces=int(is_here.sum()),
                    passed=_passed(rows, is_here, probability, DEMANDED),
                )
            )
    return found


def cross_fitted(rows: JudgedRows, bounds: Floats) -> Floats | None:
    """Return the probabilities (N, T) of THRESHOLDS, each calibrated on other people.

    Returns:
        None where a part of the people does not suffice for a calibration.
    """
    part_of = rows.numbered_parts(NUM_PARTS)
    sums = rows.probabilities @ over_by_class(bounds, THRESHOLDS)
    over = np.empty(sums.shape)
    for part in range(NUM_PARTS):
        is_here = part_of == part
        calibration = OverCalibration.fit(rows.part(~is_here), bounds)
        if calibration is None:
            return None
        over[is_here] = calibration(sums[is_here])
    return over
