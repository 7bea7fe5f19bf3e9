"""What the client knows about a face, and how it words it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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

    bbox: tuple[float, float, float, float]
    det_score: float
    age: float
    male: float
    uncertainty: Uncertainty | None
    in_distribution: bool | None

    @property
    def gender_words(self) -> str:
        """Name the likelier gender and its probability.

        >>> SeenFace((0, 0, 1, 1), 0.9, 31.4, 0.07, None, True).gender_words
        'female 93 %'
        """
        word, probability = ("male", self.male) if self.male >= 0.5 else ("female", 1 - self.male)
        return f"{word} {percent(probability)}"

    def as_json(self) -> dict[str, Any]:
        """Give what the server's POST /image says of a face."""
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
    """Give the entropy of a uniform guess, in nats, of age and of gender."""
    return {"age": math.log(num_ages), "gender": math.log(NUM_GENDERS)}


def uncertainty_of(nats: Mapping[str, float], largest: Mapping[str, float]) -> Uncertainty:
    """Put entropies beside their shares of the largest, at most 1."""
    age, gender = (min(nats[name] / largest[name], 1.0) for name in ("age", "gender"))
    return Uncertainty(nats["age"], nats["gender"], age, gender)


def percent(share: float) -> str:
    """Write a share in whole percent; only what is certain is 0 or 100.

    >>> percent(0.934), percent(0.9996), percent(1.0)
    ('93 %', '99 %', '100 %')
    """
    whole = round(100 * share)
    if 0 < share < 1:
        whole = min(max(whole, 1), 99)
    return f"{whole} %"
