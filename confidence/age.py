"""From which age to which, and at least how old?"""

import itertools
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import AfterValidator, Field

from confidence.conformal import MIN_PEOPLE, NO_RADII, Radii, radii_of, radius_at
from confidence.error_rates import THRESHOLDS, ThresholdErrors, cross_fitted, measure_errors
from confidence.rows import Floats, Ints, JudgedRows
from confidence.stored import StoredConfidence
from confidence.thresholds import OverCalibration, over_by_class
from utils.labels import NUM_GENDERS
from utils.problems import JsonObject

GROUP_YEARS = (0.0, 13.0, 25.0, 38.0, 55.0, 1000.0)
"""Expected ages between which people are a group with radii of its own."""

MIN_PEOPLE_OF_GENDER = 500
"""That a group is divided by gender with: the two differ by a percent of coverage, which fewer
people cannot tell from chance."""

MAX_CLASSES = 1000

Years = Annotated[float, Field(ge=0, le=GROUP_YEARS[-1])]


def _ascending(bounds: list[list[float]]) -> list[list[float]]:
    years = [year for pair in bounds for year in pair]
    if years != sorted(years):
        raise ValueError("must ascend, from the first to the last year of each class and on")
    return bounds


class GroupRadii(JsonObject):
    """The radii of a group of people.

    Attributes:
        start: lowest expected age of the group, in years.
        end: the expected age that the next group starts with.
        gender: 0 male, 1 female, None for both.
        num_people: that they are from.
        radii: by level.
    """

    start: Years
    end: Years
    gender: Annotated[int, Field(ge=0, lt=NUM_GENDERS)] | None
    num_people: Annotated[int, Field(ge=1)]
    radii: Radii

    def holds(self, expected_ages: Floats, genders: Ints | None) -> NDArray[np.bool_]:
        """Return which faces (N,) are of the group; none is of a gender where that is unknown."""
        is_here: NDArray[np.bool_] = (expected_ages >= self.start) & (expected_ages < self.end)
        if self.gender is None:
            return is_here
        return is_here & (False if genders is None else genders == self.gender)


class AgeConfidence(StoredConfidence):
    """Intervals that hold the true age as often as the level says, and ages that are reached.

    A class is as unusual as its place in the network's own distribution is far from the median: let
    F be the sum of the probabilities of all younger classes and half of its own; then its score is
    |F - 1/2|. The interval is from the first to the last class whose score is within the radius of
    the level. Source: Chernozhukov, Wuethrich and Zhu, arXiv 1909.07889.

    Attributes:
        bounds: first and last year of each class.
        radii: of everybody.
        groups: of people of about an expected age, and of these by gender, where people suffice.
        over_calibration: of whether somebody is of an age at least; None where people are few.
        error_rates: the mistakes that this makes on people whom it was not fitted on.
    """

    kind: Literal["age"] = "age"
    bounds: Annotated[
        list[Annotated[list[Years], Field(min_length=2, max_length=2)]],
        Field(min_length=2, max_length=MAX_CLASSES),
        AfterValidator(_ascending),
    ]
    radii: Radii
    groups: Annotated[list[GroupRadii], Field(max_length=100)]
    over_calibration: OverCalibration | None
    error_rates: Annotated[list[ThresholdErrors], Field(max_length=100)]

    @classmethod
    def fit(cls, rows: JudgedRows, bounds: NDArray[np.floating[Any]]) -> "AgeConfidence":
        """Fit to people whom the model was not trained on.

        Args:
            rows: probabilities and labels of age classes.
            bounds: (C, 2) first and last year of each class (`utils.labels.class_bounds`).
        """
        years = bounds.astype(np.float64)
        rows = replace(rows, probabilities=rows.probabilities.astype(np.float64))
        expected = rows.probabilities @ years.mean(axis=1)
        scores = np.abs(_places(rows.probabilities)[np.arange(len(rows.labels)), rows.labels])
        over = cross_fitted(rows, years) if rows.num_people >= MIN_PEOPLE else None
        return cls(
            num_faces=len(rows.labels),
            num_people=rows.num_people,
            lowest_det_score=rows.lowest_det_score,
            bounds=years.tolist(),
            radii=radii_of(scores, rows),
            groups=_fit_groups(scores, rows, expected),
            over_calibration=None if over is None else OverCalibration.fit(rows, years),
            error_rates=[] if over is None else measure_errors(rows, years, over, expected),
        )

    def intervals(
        self,
        probabilities: NDArray[np.floating[Any]],
        genders: Ints | None = None,
        level: float = 0.9,
    ) -> Floats:
        """Return from which to which age each face is.

        Args:
            probabilities: (N, C).
            genders: (N,) 0 male, 1 female, as predicted; None where they are not known.
            level: share of new people whose interval is to hold the true age.

        Returns:
            (N, 2) whole years, both included; the class at the median is in every interval. NaN
            where too few people were known for the level.

        Raises:
            ValueError: the level is not between 0 and 1, or there are not C classes.
        """
        years = self._years(probabilities)
        expected = probabilities.astype(np.float64) @ years.mean(axis=1)
        radii = np.full(len(probabilities), radius_at(self.radii, level))
        for group in self.groups:
            radii[group.holds(expected, genders)] = radius_at(group.radii, level)
        places = _places(probabilities)
        median = np.abs(places).argmin(axis=1)
        first = np.minimum((places < -radii[:, None]).sum(axis=1), median)
        last = np.maximum((places <= radii[:, None]).sum(axis=1) - 1, median)
        intervals = np.stack([years[first, 0], years[last, 1]], axis=1)
        intervals[np.isnan(radii)] = np.nan
        return intervals

    def over(self, probabilities: NDArray[np.floating[Any]], thresholds: ArrayLike) -> Floats:
        """Return how probably each face is of somebody at least so old.

        Args:
            probabilities: (N, C).
            thresholds: (T,) ages in years. Within a class, all its years are equally probable.

        Returns:
            (N, T); never more for a higher age. NaN where too few people were known.

        Raises:
            ValueError: there are not C classes.
        """
        sums = probabilities.astype(np.float64) @ over_by_class(
            self._years(probabilities), thresholds
        )
        if self.over_calibration is None:
            return np.full(sums.shape, np.nan)
        return self.over_calibration(sums)

    def errors_of(self, rows: JudgedRows) -> list[ThresholdErrors]:
        """Count the mistakes about ages that this makes of faces whom it was not fitted to.

        Returns:
            those of `confidence.error_rates.measure_errors`; none where there is no probability.
        """
        if self.over_calibration is None:
            return []
        years = self._years(rows.probabilities)
        over = self.over(rows.probabilities, THRESHOLDS)
        return measure_errors(rows, years, over, rows.probabilities @ years.mean(axis=1))

    def _years(self, probabilities: NDArray[np.floating[Any]]) -> Floats:
        if probabilities.ndim != 2 or probabilities.shape[1] != len(self.bounds):
            raise ValueError(
                f"probabilities of shape {probabilities.shape}, expected one for each of "
                f"{len(self.bounds)} classes"
            )
        return np.array(self.bounds)


def _places(probabilities: NDArray[np.floating[Any]]) -> Floats:
    """Return where each class is in the distribution, (N, C): -1/2 lowest, 0 at the median."""
    places = np.cumsum(probabilities, axis=1, dtype=np.float64)
    places -= probabilities / 2
    places -= 0.5
    return places


def _fit_groups(scores: Floats, rows: JudgedRows, expected_ages: Floats) -> list[GroupRadii]:
    """Fit the groups that have enough people; those by gender come last, since they count first."""
    groups = []
    genders = (None,) if rows.genders is None else (None, *range(NUM_GENDERS))
    for gender, (start, end) in itertools.product(genders, itertools.pairwise(GROUP_YEARS)):
        group = GroupRadii(start=start, end=end, gender=gender, num_people=1, radii=NO_RADII)
        chosen = group.holds(expected_ages, rows.genders)
        part = rows.part(chosen)
        if part.num_people >= (MIN_PEOPLE if gender is None else MIN_PEOPLE_OF_GENDER):
            found = {"num_people": part.num_people, "radii": radii_of(scores[chosen], part)}
            groups.append(group.model_copy(update=found))
    return groups
