"""A face of a photo: what the servers say of it, in numbers and in words."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serving.schemas import NatsAnswer
from utils.labels import NUM_GENDERS


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """How unsure the networks are: entropies in nats, and the shares of their largest values."""

    age: float
    gender: float
    age_share: float
    gender_share: float


@dataclass(frozen=True, slots=True)
class SeenFace:
    """A face of a photo; `bbox` is x1 y1 x2 y2 in pixels of the photo, upright.

    Attributes:
        male: probability.
        uncertainty: None when it was not asked for.
        in_distribution: False for a vector of a foreign network; None when nobody can tell.
    """

    bbox: Sequence[float]
    det_score: float
    age: float
    male: float
    uncertainty: Uncertainty | None
    in_distribution: bool | None

    @property
    def gender_words(self) -> str:
        """Return the likelier gender and its probability in words.

        >>> SeenFace((0, 0, 1, 1), 0.9, 31.4, 0.07, None, True).gender_words
        'female 93 %'
        """
        word, probability = ("male", self.male) if self.male >= 0.5 else ("female", 1 - self.male)
        return f"{word} {percent(probability)}"

    def as_json(self) -> dict[str, Any]:
        """Return what the server's POST /image says of a face."""
        known = self.uncertainty
        return {
            "bbox": [round(value, 2) for value in self.bbox],
            "det_score": self.det_score,
            "age": self.age,
            "gender": {"m": self.male, "f": 1 - self.male},
            "uncertainty": known and {"age": known.age, "gender": known.gender},
            "in_distribution": self.in_distribution,
        }


def max_uncertainty(num_ages: int) -> dict[str, float]:
    """Return the entropy of a uniform guess, in nats, of age and of gender."""
    return {"age": math.log(num_ages), "gender": math.log(NUM_GENDERS)}


def uncertainty_of(entropies: NatsAnswer, largest: Mapping[str, float]) -> Uncertainty:
    """Return entropies beside their shares of the largest, at most 1."""
    age_share = min(entropies.age / largest["age"], 1.0)
    gender_share = min(entropies.gender / largest["gender"], 1.0)
    return Uncertainty(entropies.age, entropies.gender, age_share, gender_share)


def percent(share: float) -> str:
    """Write a share in whole percent; only what is certain is 0 or 100.

    >>> percent(0.934), percent(0.9996), percent(1.0)
    ('93 %', '99 %', '100 %')
    """
    whole = round(100 * share)
    if 0 < share < 1:
        whole = min(max(whole, 1), 99)
    return f"{whole} %"
