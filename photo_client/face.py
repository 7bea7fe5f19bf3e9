"""A face of a photo: what the servers say of it, in numbers and in words."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from utils.labels import NUM_GENDERS

GENDER_WORDS = {"m": "male", "f": "female"}
FOREIGN = "not to be trusted"
NOT_COVERED = "unclear: range may not hold"
NUM_YEAR_CLASSES = 101
"""Of an age model that has a class for each year."""


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """How unsure the networks are: entropies in nats; `num_ages` is that of the age classes."""

    age: float
    gender: float
    num_ages: int

    @property
    def spread_years(self) -> float | None:
        """The standard deviation of a bell curve that is as unsure; None unless classes are years.

        >>> round(Uncertainty(math.log(4 * math.sqrt(2 * math.pi * math.e)), 0.1, 101).spread_years)
        4
        """
        is_by_year = self.num_ages == NUM_YEAR_CLASSES
        return math.exp(self.age) / math.sqrt(2 * math.pi * math.e) if is_by_year else None


@dataclass(frozen=True, slots=True)
class SeenFace:
    """A face of a photo; `bbox` is x1 y1 x2 y2 in pixels of the photo, upright.

    Attributes:
        male: probability.
        uncertainty: None when it was not asked for.
        in_distribution: False for a vector of a foreign network; None when nobody can tell.
        age_interval: from which to which year; None of models that have no ranges.
        gender_set: the letters of the genders that it may be; None as above.
        over: how probably it is of each of the ages that were asked for, or older; None as above.
        covered: False where the ranges were not measured on such a face; None as above.
    """

    bbox: Sequence[float]
    det_score: float
    age: float
    male: float
    uncertainty: Uncertainty | None
    in_distribution: bool | None
    age_interval: Sequence[int] | None = None
    gender_set: Sequence[str] | None = None
    over: Mapping[str, float] | None = None
    covered: bool | None = None

    @property
    def age_words(self) -> str:
        """The age and its range in words.

        >>> SeenFace((0, 0, 1, 1), 0.9, 31.4, 0.07, None, True, (24, 39)).age_words
        '31, 24-39'
        """
        age = f"{self.age:.0f}"
        if self.age_interval is not None:
            low, high = self.age_interval
            return f"{age}, {low}-{high}"
        spread = None if self.uncertainty is None else self.uncertainty.spread_years
        return age if spread is None else f"{age} ± {max(1, round(spread))}"

    @property
    def gender_words(self) -> str:
        """The genders that it may be, or the likelier one and its probability, in words.

        >>> SeenFace((0, 0, 1, 1), 0.9, 31.4, 0.07, None, True).gender_words
        'female 93 %'
        """
        if self.gender_set is not None:
            return " or ".join(GENDER_WORDS[letter] for letter in self.gender_set)
        word, probability = ("male", self.male) if self.male >= 0.5 else ("female", 1 - self.male)
        return f"{word} {percent(probability)}"

    @property
    def doubt(self) -> str:
        """Why the numbers, or their ranges, are not to be relied on, in words; "" for no reason."""
        if self.in_distribution is False:
            return FOREIGN
        return NOT_COVERED if self.covered is False else ""

    def as_json(self) -> dict[str, Any]:
        """Return what the server's POST /image says of a face."""
        known, ages, genders = self.uncertainty, self.age_interval, self.gender_set
        return {
            "bbox": [round(value, 2) for value in self.bbox],
            "det_score": self.det_score,
            "age": self.age,
            "age_interval": ages and list(ages),
            "gender": {"m": self.male, "f": 1 - self.male},
            "gender_set": genders and list(genders),
            "uncertainty": known and {"age": known.age, "gender": known.gender},
            "in_distribution": self.in_distribution,
            "covered": self.covered,
            "over": self.over and dict(self.over),
        }


def max_uncertainty(num_ages: int) -> dict[str, float]:
    """Return the entropy of a uniform guess, in nats, of age and of gender."""
    return {"age": math.log(num_ages), "gender": math.log(NUM_GENDERS)}


def percent(share: float) -> str:
    """Write a share in whole percent; only what is certain is 0 or 100.

    >>> percent(0.934), percent(0.9996), percent(1.0)
    ('93 %', '99 %', '100 %')
    """
    whole = round(100 * share)
    if 0 < share < 1:
        whole = min(max(whole, 1), 99)
    return f"{whole} %"
