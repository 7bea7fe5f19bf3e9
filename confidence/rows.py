"""The faces that confidence is fitted on or measured on."""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from utils.runtime import generator

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


LOW_SHARE = 0.01
"""Of the faces, whose detection may have been an accident."""


@dataclass(frozen=True)
class JudgedRows:
    """What a model says of N faces, and what is true of them.

    Attributes:
        probabilities: (N, C), of people whom the model was not trained on.
        labels: (N,) class numbers.
        people: (N,) who is on each picture, numbers or names.
        genders: (N,) true genders, 0 male and 1 female; None where they are not known.
        det_scores: (N,) how sure the detector was, 0 to 1; None, or NaN, where that is not known.
        in_groups: (N,) whether the age is known as a group of Adience alone, and the label is of
            its middle; None where all ages are known.
    """

    probabilities: NDArray[np.floating[Any]]
    labels: Ints
    people: NDArray[Any]
    genders: Ints | None = None
    det_scores: NDArray[np.floating[Any]] | None = None
    in_groups: NDArray[np.bool_] | None = None

    @functools.cached_property
    def num_people(self) -> int:
        """Different people."""
        return len(np.unique(self.people))

    @functools.cached_property
    def weights(self) -> Floats:
        """(N,) one over the number of pictures of the person: each person counts once."""
        _, index, counts = np.unique(self.people, return_inverse=True, return_counts=True)
        weights: Floats = 1 / counts[index]
        return weights

    @property
    def lowest_det_score(self) -> float | None:
        """The score that all but LOW_SHARE of the faces reach; None where one is not known."""
        scores = self.det_scores
        if scores is None or not ((scores >= 0) & (scores <= 1)).all():
            return None
        return float(np.quantile(scores, LOW_SHARE, method="lower"))

    def numbered_parts(self, num_parts: int) -> Ints:
        """Return which of some parts each row is in, (N,); people are shared out at random."""
        names, person = np.unique(self.people, return_inverse=True)
        parts: Ints = generator(0, "confidence").permutation(len(names))[person] % num_parts
        return parts

    def part(self, chosen: NDArray[np.bool_] | Ints) -> "JudgedRows":
        """Return some of the rows."""
        genders = None if self.genders is None else self.genders[chosen]
        people, labels = self.people[chosen], self.labels[chosen]
        det_scores = None if self.det_scores is None else self.det_scores[chosen]
        in_groups = None if self.in_groups is None else self.in_groups[chosen]
        probabilities = self.probabilities[chosen]
        return JudgedRows(probabilities, labels, people, genders, det_scores, in_groups)
