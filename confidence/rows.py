"""The faces that confidence is fitted on or measured on."""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class JudgedRows:
    """What a model says of N faces, and what is true of them.

    Attributes:
        probabilities: (N, C), of people whom the model was not trained on.
        labels: (N,) class numbers.
        people: (N,) who is on each picture, numbers or names.
        genders: (N,) true genders, 0 male and 1 female; None where they are not known.
    """

    probabilities: NDArray[np.floating[Any]]
    labels: Ints
    people: NDArray[Any]
    genders: Ints | None = None

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

    def part(self, chosen: NDArray[np.bool_] | Ints) -> "JudgedRows":
        """Return some of the rows."""
        genders = None if self.genders is None else self.genders[chosen]
        people, labels = self.people[chosen], self.labels[chosen]
        return JudgedRows(self.probabilities[chosen], labels, people, genders)
