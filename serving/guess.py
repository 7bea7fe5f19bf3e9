"""What the models say of faces, as arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Guess:
    """What one model says of N faces; an ensemble is one model.

    Attributes:
        probabilities: (N, C), the mean over members and over passes with dropout.
        disagreement: (N,) nats, of an ensemble: how much less sure the mean is than its members
            are, the mutual information of class and member (arXiv 1112.5745); else None.
    """

    probabilities: Floats
    disagreement: Floats | None = None

    @classmethod
    def of_members(cls, probabilities: Sequence[Floats]) -> "Guess":
        """Put together what each member says, (N, C).

        >>> sure_of_each = np.array([[1.0, 0.0]], np.float32), np.array([[0.0, 1.0]], np.float32)
        >>> Guess.of_members(sure_of_each).disagreement.round(4).tolist()  # log 2: all of it
        [0.6930999755859375]
        >>> Guess.of_members([np.array([[0.5, 0.5]], np.float32)] * 2).disagreement.tolist()
        [0.0]
        """
        if len(probabilities) == 1:
            return cls(probabilities[0])
        mean = np.mean(probabilities, axis=0)
        sureness = np.mean([_entropy(member) for member in probabilities], axis=0)
        return cls(mean, np.maximum(_entropy(mean) - sureness, 0))

    @property
    def entropy(self) -> Floats:
        """(N,) nats."""
        return _entropy(self.probabilities)

    def rows(self, start: int, end: int) -> "Guess":
        """Give some of the faces."""
        disagreement = None if self.disagreement is None else self.disagreement[start:end]
        return Guess(self.probabilities[start:end], disagreement)


@dataclass(frozen=True)
class Prediction:
    """What both models say of N faces.

    Attributes:
        age: of 8 or 101 classes.
        gender: of male and female.
        years: (C,) what the age classes stand for.
        is_familiar: (N,) bool, the vector is of the network that the models were trained on; None
            where no model can tell.
    """

    age: Guess
    gender: Guess
    years: Floats
    is_familiar: NDArray[np.bool_] | None

    @property
    def ages(self) -> Floats:
        """The expectation over the classes, (N,) years."""
        return self.age.probabilities @ self.years

    @property
    def is_of_ensemble(self) -> bool:
        """True if one of the models is an ensemble."""
        return self.age.disagreement is not None or self.gender.disagreement is not None

    def rows(self, start: int, end: int) -> "Prediction":
        """Give some of the faces."""
        familiar = None if self.is_familiar is None else self.is_familiar[start:end]
        age, gender = self.age.rows(start, end), self.gender.rows(start, end)
        return Prediction(age, gender, self.years, familiar)

    def genders(self) -> list[dict[str, float]]:
        """Give the probabilities of each face by letter."""
        return [{"m": male, "f": female} for male, female in self.gender.probabilities.tolist()]

    def uncertainty(self) -> list[dict[str, Any]]:
        """Give the entropies of each face in nats, and of ensembles the disagreement."""
        entropies = zip(self.age.entropy.tolist(), self.gender.entropy.tolist(), strict=True)
        faces: list[dict[str, Any]] = [{"age": age, "gender": gender} for age, gender in entropies]
        for name, guess in (("age", self.age), ("gender", self.gender)):
            if guess.disagreement is not None:
                for face, nats in zip(faces, guess.disagreement.tolist(), strict=True):
                    face.setdefault("mutual_information", {})[name] = nats
        return faces

    def verdicts(self) -> list[bool | None]:
        """Tell of each face whether its vector is of the models' network; None where unknown."""
        if self.is_familiar is None:
            return [None] * len(self.age.probabilities)
        verdict: list[bool | None] = self.is_familiar.tolist()
        return verdict


def _entropy(probabilities: Floats) -> Floats:
    tiny = np.finfo(np.float32).tiny  # 0 x log 0 is 0
    entropy: Floats = -(probabilities * np.log(np.maximum(probabilities, tiny))).sum(1)
    return entropy
