"""People and photos of the synthetic sample: embeddings that behave like those of real faces.

A vector is the sum of a direction of its own for every person, a direction of the gender, a point
on a smooth curve over the years, and noise. People look older or younger, and more or less like
their gender, than they are: that, not the noise, limits what can be learned, as with real faces.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sample.grid_faces import unit
from utils.labels import EMBEDDING_SIZE

IDENTITY_LENGTH, NOISE_LENGTH = 0.72, 0.66
GENDER_LENGTH, AGE_LENGTH = 0.22, 0.5
NUM_AGE_WAVES = 4
# How far looks are off: of a person, and beside that of a photo.
LOOKS_GENDER_SPREAD, PHOTO_GENDER_SPREAD = 0.15, 0.2
LOOKS_AGE_SPREAD, PHOTO_AGE_SPREAD = 0.02, 0.025
GROWN_UP_YEARS = 14

KINDS = {"face": 0.962, "two faces": 0.012, "no face": 0.014, "cut off": 0.005, "no image": 0.003}
KINDS["missing"] = 1 - sum(KINDS.values())
MODES = {"RGB": 0.965, "L": 0.018, "RGBA": 0.009, "P": 0.008}
BAD_QUALITY_SHARE = 0.02
GOOD_SCORES, BAD_SCORES = (0.93, 0.99), (0.55, 0.86)


@dataclass(frozen=True, slots=True)
class Person:
    """A made-up person.

    Attributes:
        gender: 'f' or 'm'.
        identity: direction of this person's vectors, (512,).
        looks_gender: how gendered the person looks, about -1 for f and 1 for m.
        looks_age_shift: how much older the person looks, in units of `growth`.
        tint: of the ground of the pictures, red, green, blue.
    """

    gender: str
    identity: npt.NDArray[np.float32]
    looks_gender: float
    looks_age_shift: float
    tint: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class SamplePhoto:
    """One picture to write, with what a face detector will find in it.

    `kind` is one of `KINDS`, `mode` one of `MODES` and Pillow's.
    """

    image_path: str
    embedding: npt.NDArray[np.float32]
    det_score: float
    tint: tuple[int, int, int]
    kind: str
    mode: str


class FaceSpace:
    """Draws the people of one data set.

    The directions are those of the seed, the same for all data sets of a sample: what imdb teaches
    helps on Adience.

    Attributes:
        rng: of this data set.
    """

    def __init__(self, seed: int, dataset_number: int) -> None:
        self.rng = np.random.default_rng([seed, 0])
        self._gender = self._direction()
        self._age_waves = np.stack([self._direction() for _ in range(NUM_AGE_WAVES)])
        self.rng = np.random.default_rng([seed, dataset_number])

    def person(self, gender: str) -> Person:
        """Draw a person."""
        sign = 1.0 if gender == "m" else -1.0
        red, green, blue = self.rng.integers(24, 72, size=3).tolist()
        return Person(
            gender=gender,
            identity=self._direction(),
            looks_gender=sign + LOOKS_GENDER_SPREAD * self.rng.standard_normal(),
            looks_age_shift=LOOKS_AGE_SPREAD * self.rng.standard_normal(),
            tint=(red, green, blue),
        )

    def photo(self, image_path: str, person: Person, age_years: float) -> SamplePhoto:
        """Draw a photo: mostly one good face, now and then something else."""
        scores = BAD_SCORES if self.rng.random() < BAD_QUALITY_SHARE else GOOD_SCORES
        return SamplePhoto(
            image_path=image_path,
            embedding=self._embedding(person, age_years),
            det_score=float(self.rng.uniform(*scores)),
            tint=person.tint,
            kind=self.pick(KINDS),
            mode=self.pick(MODES),
        )

    def pick(self, shares: Mapping[str, float]) -> str:
        """Draw one of the keys, each with a probability in proportion to its share."""
        weights = np.array(list(shares.values()))
        return list(shares)[int(self.rng.choice(len(weights), p=weights / weights.sum()))]

    def _embedding(self, person: Person, age_years: float) -> npt.NDArray[np.float32]:
        shift = person.looks_age_shift + PHOTO_AGE_SPREAD * self.rng.standard_normal()
        gendered = person.looks_gender * (0.6 if age_years < GROWN_UP_YEARS else 1.0)
        gendered += PHOTO_GENDER_SPREAD * self.rng.standard_normal()
        return unit(
            IDENTITY_LENGTH * person.identity
            + NOISE_LENGTH * self._direction()
            + GENDER_LENGTH * gendered * self._gender
            + AGE_LENGTH * self._age_point(growth(age_years) + shift)
        )

    def _age_point(self, share: float) -> npt.NDArray[np.float32]:
        waves = np.arange(1, NUM_AGE_WAVES + 1)
        weights = np.cos(math.pi * waves * share) / math.sqrt(NUM_AGE_WAVES / 2)
        return np.asarray(weights @ self._age_waves)

    def _direction(self) -> npt.NDArray[np.float32]:
        return unit(self.rng.standard_normal(EMBEDDING_SIZE))


def growth(age_years: float) -> float:
    """Map 0 to 100 years to 0 to 1: a year changes a child more than an adult.

    >>> [round(growth(age), 2) for age in (0, 10, 40, 100)]
    [0.0, 0.36, 0.72, 1.0]
    """
    return math.log1p(age_years / 5) / math.log(21)
