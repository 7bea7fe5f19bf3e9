"""Faces whose true age distributions are known, and a network that is too sure of itself."""

import functools

import numpy as np
from numpy.typing import NDArray

from confidence.age import AgeConfidence
from confidence.gender import GenderConfidence
from confidence.rows import JudgedRows
from utils.labels import class_bounds

BOUNDS = class_bounds(101).astype(np.float64)


def simulated_ages(
    num_people: int, seed: int, sharpness: float = 2.0, shift_years: float = 0.0
) -> JudgedRows:
    """Draw people of 1 to 4 pictures; what is odd about a person is odd in all their pictures.

    Args:
        num_people: to draw.
        seed: of the draw.
        sharpness: power of the true probabilities that the network says instead.
        shift_years: added to every true age, which the network does not know of.
    """
    rng = np.random.default_rng(seed)
    people = np.repeat(np.arange(num_people), rng.integers(1, 5, num_people))
    spread = rng.uniform(2, 8, num_people)
    centre = rng.uniform(5, 80, num_people)
    place = rng.random(num_people)
    truth = np.exp(-0.5 * ((np.arange(101) - centre[:, None]) / spread[:, None]) ** 2)
    truth /= truth.sum(1, keepdims=True)
    labels = (truth.cumsum(1) < place[:, None]).sum(1)
    said = truth**sharpness
    said /= said.sum(1, keepdims=True)
    labels = np.clip(labels + shift_years, 0, 100).astype(np.int64)
    genders = rng.integers(0, 2, num_people)
    return JudgedRows(said[people].astype(np.float32), labels[people], people, genders[people])


def simulated_genders(num_people: int, seed: int) -> JudgedRows:
    """Draw people of one picture; the network is less often right about class 1."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, num_people)
    margin = rng.normal(np.where(labels == 0, -3, 1.5), 2)
    female = 1 / (1 + np.exp(-margin))
    probabilities = np.stack([1 - female, female], 1).astype(np.float32)
    return JudgedRows(probabilities, labels, np.arange(num_people))


@functools.cache
def fitted_age(num_people: int = 800, seed: int = 0) -> AgeConfidence:
    return AgeConfidence.fit(simulated_ages(num_people, seed), BOUNDS)


@functools.cache
def fitted_gender(num_people: int = 800, seed: int = 0) -> GenderConfidence:
    return GenderConfidence.fit(simulated_genders(num_people, seed))


def is_covered(confidence: AgeConfidence, rows: JudgedRows, level: float) -> NDArray[np.bool_]:
    """Return whose interval holds the true age, (N,)."""
    low, high = confidence.intervals(rows.probabilities, rows.genders, level).T
    held: NDArray[np.bool_] = (low <= rows.labels) & (rows.labels <= high)
    return held


def share_of_people(held: NDArray[np.bool_], rows: JudgedRows) -> float:
    """Return the mean over people of what share of their pictures holds."""
    return float(np.average(held, weights=rows.weights))
