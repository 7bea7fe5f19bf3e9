"""How sure the models are of each face: ranges of ages, sets of genders, and ages that are reached.

All of it is of the answer without dropout, which is what it was fitted to.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from confidence.age import AgeConfidence
from confidence.conformal import LEVELS
from confidence.gender import GenderConfidence
from confidence.reading import Confidence
from utils.errors import UserError

LEVEL = 0.9
"""Where nothing else is asked for."""

MAX_THRESHOLD = 100
MAX_NUM_THRESHOLDS = 20
EXPECTED_LEVEL = f"expected a number from {LEVELS[0]} to {LEVELS[-1]}, such as {LEVEL}"
EXPECTED_THRESHOLDS = (
    f"expected at most {MAX_NUM_THRESHOLDS} whole years from 1 to {MAX_THRESHOLD}, such as 18,25"
)

AgeInterval = tuple[int, int]
GenderSet = tuple[str, ...]
Over = dict[str, float]
"""Ages to the probability that somebody is at least so old."""

_GENDER_SETS: tuple[GenderSet | None, ...] = (None, ("m",), ("f",), ("m", "f"))
"""By 1 for male and 2 for female, added."""


@dataclass(frozen=True)
class ConfidenceQuery:
    """What is to be said of each face.

    Attributes:
        level: share of new people whose interval, and whose set, is to hold the truth.
        over: ages in years, of which to say how probably they are reached.

    Raises:
        UserError: a number is out of its range.
    """

    level: float = LEVEL
    over: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        is_number = isinstance(self.level, float | np.floating)
        if not is_number or not LEVELS[0] <= self.level <= LEVELS[-1]:
            raise UserError(f"level is {self.level!r}, {EXPECTED_LEVEL}")
        is_fit = all(type(age) is int and 1 <= age <= MAX_THRESHOLD for age in self.over)
        if not is_fit or len(self.over) > MAX_NUM_THRESHOLDS:
            raise UserError(f"over is {_shown(self.over)}, {EXPECTED_THRESHOLDS}")


DEFAULT_QUERY = ConfidenceQuery()


def _shown(ages: Sequence[Any]) -> str:
    return ",".join(map(str, ages))[:50]


@dataclass(frozen=True)
class FaceConfidence:
    """How sure the models are of N faces, in plain values, one entry a face.

    Attributes:
        query: what was asked for.
        age_intervals: first and last year; None where the models cannot tell.
        gender_sets: "m", "f" or both; None as before.
        over: the probability of each age asked for; None as before, and where none was.
        covered: whether the face is of the kind that the level was fitted on; None where nobody can
            tell, or where nothing is promised.
    """

    query: ConfidenceQuery
    age_intervals: Sequence[AgeInterval | None]
    gender_sets: Sequence[GenderSet | None]
    over: Sequence[Over | None]
    covered: Sequence[bool | None]

    def as_json(self) -> dict[str, Any]:
        """Return what POST / says of it."""
        content = {
            "level": self.query.level,
            "age_intervals": self.age_intervals,
            "gender_sets": self.gender_sets,
            "covered": self.covered,
        }
        return {**content, "over": self.over} if self.query.over else content


@dataclass(frozen=True, eq=False)
class PlainProbabilities:
    """What both models say of N faces in one pass without dropout: age (N, C), gender (N, 2)."""

    age: NDArray[np.float32]
    gender: NDArray[np.float32]

    def rows(self, rows: slice) -> "PlainProbabilities":
        """Return those of some of the faces."""
        return PlainProbabilities(self.age[rows], self.gender[rows])


@dataclass(frozen=True)
class PairConfidence:
    """How sure an age and a gender model are; None for one of which that is not known."""

    age: AgeConfidence | None = None
    gender: GenderConfidence | None = None

    @classmethod
    def of(cls, age: Confidence | None, gender: Confidence | None) -> "PairConfidence":
        """Take that of both models."""
        return cls(
            age if isinstance(age, AgeConfidence) else None,
            gender if isinstance(gender, GenderConfidence) else None,
        )

    @property
    def is_known(self) -> bool:
        """True if there is something to say of one of the models."""
        return self.age is not None or self.gender is not None

    @property
    def lowest_det_score(self) -> float | None:
        """The score of the detector below which a face is not covered; None where unknown."""
        known = [one.lowest_det_score for one in (self.age, self.gender) if one is not None]
        return max((score for score in known if score is not None), default=None)

    def judge(
        self,
        faces: PlainProbabilities,
        query: ConfidenceQuery,
        is_in_distribution: NDArray[np.bool_] | None,
        det_scores: Sequence[float] | None,
    ) -> FaceConfidence:
        """Return how sure the models are of N faces.

        Args:
            faces: N.
            query: what is to be said of each.
            is_in_distribution: (N,); None where no model can tell.
            det_scores: N, how sure the detector is; None where there was none.
        """
        age_intervals = self._age_intervals(faces, query.level)
        gender_sets = self._gender_sets(faces, query.level)
        alike = self._are_alike(len(faces.age), is_in_distribution, det_scores)
        covered = [
            None if interval is None and genders is None else is_alike
            for interval, genders, is_alike in zip(age_intervals, gender_sets, alike, strict=True)
        ]
        over = self._over(faces, query.over)
        return FaceConfidence(query, age_intervals, gender_sets, over, covered)

    def _age_intervals(self, faces: PlainProbabilities, level: float) -> list[AgeInterval | None]:
        if self.age is None:
            return [None] * len(faces.age)
        years = self.age.intervals(faces.age, faces.gender.argmax(axis=1), level)
        known = ~np.isnan(years[:, 0])
        pairs = map(tuple, np.where(known[:, None], years, 0).astype(np.int64).tolist())
        return [pair if is_known else None for pair, is_known in zip(pairs, known, strict=True)]

    def _gender_sets(self, faces: PlainProbabilities, level: float) -> list[GenderSet | None]:
        if self.gender is None:
            return [None] * len(faces.gender)
        sets = self.gender.sets(faces.gender, level)
        return [_GENDER_SETS[number] for number in (sets @ (1, 2)).tolist()]

    def _over(self, faces: PlainProbabilities, ages: tuple[int, ...]) -> list[Over | None]:
        if self.age is None or self.age.over_calibration is None or not ages:
            return [None] * len(faces.age)
        names = [str(age) for age in ages]
        rows = self.age.over(faces.age, ages).tolist()
        return [dict(zip(names, row, strict=True)) for row in rows]

    def _are_alike(
        self,
        num_faces: int,
        is_in_distribution: NDArray[np.bool_] | None,
        det_scores: Sequence[float] | None,
    ) -> list[bool | None]:
        """Return whether faces are of the kind that was fitted to; None where nobody can tell."""
        lowest = self.lowest_det_score
        is_clear = np.ones(num_faces, bool)
        if det_scores is not None and lowest is not None:
            is_clear = np.asarray(det_scores) >= lowest
        if is_in_distribution is None:
            return [None if clear else False for clear in is_clear.tolist()]
        alike: list[bool | None] = (is_in_distribution & is_clear).tolist()
        return alike


UNKNOWN = PairConfidence()
