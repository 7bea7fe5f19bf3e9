"""Male, female, or cannot tell at this level."""

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from confidence.conformal import MIN_PEOPLE, Radii, radii_of, radius_at
from confidence.rows import JudgedRows
from confidence.stored import StoredConfidence
from utils.labels import NUM_GENDERS


class GenderConfidence(StoredConfidence):
    """Sets of genders that hold the true one as often as the level says.

    A gender is in the set if one minus its probability is within its radius. Each gender has radii
    of its own where people suffice, so that the level holds for men and for women. Source: Sadinle,
    Lei and Wasserman, arXiv 1609.00451.

    Attributes:
        radii: of male and of female.
    """

    kind: Literal["gender"] = "gender"
    radii: Annotated[list[Radii], Field(min_length=NUM_GENDERS, max_length=NUM_GENDERS)]

    @classmethod
    def fit(cls, rows: JudgedRows) -> "GenderConfidence":
        """Fit to people whom the model was not trained on; `rows.labels` are their genders."""
        scores = 1 - rows.probabilities[np.arange(len(rows.labels)), rows.labels].astype(np.float64)
        radii = []
        for gender in range(NUM_GENDERS):
            chosen = rows.labels == gender
            if rows.part(chosen).num_people < MIN_PEOPLE:
                chosen[:] = True
            radii.append(radii_of(scores[chosen], rows.part(chosen)))
        return cls(
            num_faces=len(rows.labels),
            num_people=rows.num_people,
            lowest_det_score=rows.lowest_det_score,
            radii=radii,
        )

    def sets(
        self, probabilities: NDArray[np.floating[Any]], level: float = 0.9
    ) -> NDArray[np.bool_]:
        """Return which genders are in the set of each face.

        Args:
            probabilities: (N, 2) of male and female.
            level: share of new people whose set is to hold the true gender.

        Returns:
            (N, 2); the more probable gender is in every set. All False where too few people were
            known for the level.

        Raises:
            ValueError: the level is not between 0 and 1.
        """
        radii = np.array([radius_at(of_gender, level) for of_gender in self.radii])
        if np.isnan(radii).any():
            return np.zeros(probabilities.shape, bool)
        is_largest = probabilities == probabilities.max(axis=1, keepdims=True)
        inside: NDArray[np.bool_] = (1 - probabilities.astype(np.float64) <= radii) | is_largest
        return inside
