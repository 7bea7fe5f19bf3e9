"""What the models say of faces: arrays between the engine and the routes, plain values in JSON."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.face_confidence import (
    DEFAULT_QUERY,
    UNKNOWN,
    ConfidenceQuery,
    FaceConfidence,
    PairConfidence,
    PlainProbabilities,
)

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class ClassProbabilities:
    """What one model says of N faces; an ensemble is one model.

    Attributes:
        probabilities: (N, C), the mean over members and over passes with dropout.
        mutual_information: (N,) nats, of class and member (arXiv 1112.5745): how much less sure
            the mean is than the members of an ensemble are; None for a single network.
    """

    probabilities: FloatArray
    mutual_information: FloatArray | None = None

    @classmethod
    def of_members(cls, probabilities: Sequence[FloatArray]) -> "ClassProbabilities":
        """Put together what each member says, (N, C).

        >>> sure_of_each = np.array([[1.0, 0.0]], np.float32), np.array([[0.0, 1.0]], np.float32)
        >>> joined = ClassProbabilities.of_members(sure_of_each)
        >>> joined.mutual_information.round(4).tolist()  # log 2: all of it
        [0.6930999755859375]
        >>> same = [np.array([[0.5, 0.5]], np.float32)] * 2
        >>> ClassProbabilities.of_members(same).mutual_information.tolist()
        [0.0]
        """
        if len(probabilities) == 1:
            return cls(probabilities[0])
        mean = np.mean(probabilities, axis=0)
        of_members = np.mean([_entropy(member) for member in probabilities], axis=0)
        return cls(mean, np.maximum(_entropy(mean) - of_members, 0))

    @property
    def entropy(self) -> FloatArray:
        """(N,) nats."""
        return _entropy(self.probabilities)

    def rows(self, rows: slice) -> "ClassProbabilities":
        """Return those of some of the faces."""
        return ClassProbabilities(self.probabilities[rows], _some(self.mutual_information, rows))


@dataclass(frozen=True)
class FacePredictions:
    """What both models say of N faces.

    Attributes:
        age: of 8 or 101 classes.
        gender: of male and female.
        years: (C,) what the age classes stand for.
        is_in_distribution: (N,) bool, the vector is of the network that the models were trained
            on; None where no model can tell.
        plain: what they say in one pass without dropout; None where nothing is said of confidence.
        pair_confidence: how sure the models are.
    """

    age: ClassProbabilities
    gender: ClassProbabilities
    years: FloatArray
    is_in_distribution: NDArray[np.bool_] | None
    plain: PlainProbabilities | None = None
    pair_confidence: PairConfidence = UNKNOWN

    @property
    def ages(self) -> list[float]:
        """The expectation over the classes, in years."""
        ages: list[float] = (self.age.probabilities @ self.years).tolist()
        return ages

    @property
    def genders(self) -> list[dict[str, float]]:
        """The probabilities by letter."""
        return [{"m": male, "f": female} for male, female in self.gender.probabilities.tolist()]

    @property
    def uncertainty(self) -> list[dict[str, Any]]:
        """The entropies in nats, and of ensembles the mutual information."""
        entropies = zip(self.age.entropy.tolist(), self.gender.entropy.tolist(), strict=True)
        faces: list[dict[str, Any]] = [{"age": age, "gender": gender} for age, gender in entropies]
        for name, model in (("age", self.age), ("gender", self.gender)):
            if model.mutual_information is not None:
                for face, nats in zip(faces, model.mutual_information.tolist(), strict=True):
                    face.setdefault("mutual_information", {})[name] = nats
        return faces

    @property
    def in_distribution(self) -> list[bool | None]:
        """Whether a vector is of the models' network; None where unknown."""
        if self.is_in_distribution is None:
            return [None] * len(self.age.probabilities)
        flags: list[bool | None] = self.is_in_distribution.tolist()
        return flags

    @property
    def is_of_ensemble(self) -> bool:
        """True if one of the models is an ensemble."""
        return any(model.mutual_information is not None for model in (self.age, self.gender))

    def rows(self, rows: slice) -> "FacePredictions":
        """Return those of some of the faces."""
        return replace(
            self,
            age=self.age.rows(rows),
            gender=self.gender.rows(rows),
            is_in_distribution=_some(self.is_in_distribution, rows),
            plain=None if self.plain is None else self.plain.rows(rows),
        )

    def confidence(
        self, query: ConfidenceQuery, det_scores: Sequence[float] | None = None
    ) -> FaceConfidence:
        """Return how sure the models are; `det_scores` are those of a detector, if there was one.

        The answer is that without dropout, whatever passes the others are means of.
        """
        if self.plain is None:
            nothing = [None] * len(self.age.probabilities)
            return FaceConfidence(query, nothing, nothing, nothing, nothing)
        found = self.is_in_distribution
        return self.pair_confidence.judge(self.plain, query, found, det_scores)

    def as_json(
        self, with_uncertainty: bool, query: ConfidenceQuery = DEFAULT_QUERY
    ) -> dict[str, Any]:
        """Return the answer to POST /: a list of each quantity, one entry a face."""
        content = {"ages": self.ages, "genders": self.genders}
        if with_uncertainty or self.is_of_ensemble:
            content["uncertainty"] = self.uncertainty
        content["in_distribution"] = self.in_distribution
        return {**content, **self.confidence(query).as_json()}

    def as_json_of_2022(self) -> dict[str, Any]:
        """Return what the original project's clients of 2022 read."""
        faces = list(zip(self.ages, self.genders, self.uncertainty, strict=True))
        return {
            "ages": [{"mean": age, "entropy": entropy["age"]} for age, _, entropy in faces],
            "genders": [{**gender, "entropy": entropy["gender"]} for _, gender, entropy in faces],
            "in_distribution": self.in_distribution,
        }


_NONE = ClassProbabilities(np.empty((0, 2), np.float32))
NO_FACES = FacePredictions(_NONE, _NONE, np.zeros(2, np.float32), None)


def _some(values: NDArray[Any] | None, rows: slice) -> NDArray[Any] | None:
    return None if values is None else values[rows]


def _entropy(probabilities: FloatArray) -> FloatArray:
    tiny = np.finfo(np.float32).tiny  # 0 x log 0 is 0
    entropy: FloatArray = -(probabilities * np.log(np.maximum(probabilities, tiny))).sum(1)
    return entropy
