"""How far the probabilities can be trusted: reliability, and error against uncertainty."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from studies.intervals import Floats
from studies.metrics import NUM_BINS, FaceScores, Ints, confidence_bins, pool
from utils.labels import ages_to_classes

COVERAGES = np.linspace(0.05, 1, 39)
"""Shares of the faces, the surest first, at which the risk is measured."""

BAND_YEARS = 5
"""Width of the bands of true age in which the error of 101 classes is measured."""

MIN_BAND_FACES = 5
"""A band of fewer different faces is not shown."""


@dataclass(frozen=True)
class ReliabilityBin:
    """Predictions whose probability is above `low`, and `high` at most.

    Attributes:
        low: lower end.
        high: upper end.
        share: of all predictions.
        confidence: mean of the probabilities.
        accuracy: share of them that are right.
    """

    low: float
    high: float
    share: float
    confidence: float
    accuracy: float


def reliability(pooled: FaceScores) -> list[ReliabilityBin]:
    """Compare the largest probabilities with accuracy; see `compare_in_bins`."""
    ones = np.ones(len(pooled))
    return compare_in_bins(pooled.confidence, pooled.values["accuracy"], ones)


def compare_in_bins(
    probabilities: Floats, is_right: NDArray[Any], weights: Floats
) -> list[ReliabilityBin]:
    """Compare probabilities (N,) with how often they are right; empty bins are left out.

    Source: arXiv 1706.04599, section 2.

    Args:
        probabilities: that something is so.
        is_right: (N,) whether it is.
        weights: (N,) with which each counts.
    """
    bins = confidence_bins(probabilities)
    count = np.bincount(bins, weights, NUM_BINS)
    confidence = np.bincount(bins, weights * probabilities, NUM_BINS)
    hits = np.bincount(bins, weights * is_right, NUM_BINS)
    return [
        ReliabilityBin(
            low=index / NUM_BINS,
            high=(index + 1) / NUM_BINS,
            share=float(count[index] / count.sum()),
            confidence=float(confidence[index] / count[index]),
            accuracy=float(hits[index] / count[index]),
        )
        for index in np.flatnonzero(count).tolist()
    ]


@dataclass(frozen=True)
class RiskCoverage:
    """How the error falls when the most uncertain faces are left out.

    Attributes:
        unit: of the error.
        coverage: shares of the faces that are kept, `COVERAGES`.
        risk: their mean error, mean over runs.
        low: one population standard deviation over runs below it.
        high: one above it.
    """

    unit: str
    coverage: Floats
    risk: Floats
    low: Floats
    high: Floats


def risk_coverage(runs: Sequence[FaceScores]) -> RiskCoverage:
    """Measure the error of the surest faces, by entropy, at each of `COVERAGES`."""
    curves = np.stack([risk_curve(run.entropy, run.error) for run in runs])
    mean, spread = curves.mean(0), curves.std(0)
    unit = "share of wrong guesses" if runs[0].task == "gender" else "years"
    return RiskCoverage(unit, COVERAGES, mean, mean - spread, mean + spread)


def risk_curve(uncertainty: Floats, error: Floats) -> Floats:
    """Return the mean error of the surest faces at each of `COVERAGES`.

    Faces of the same uncertainty share their rank: each counts with the mean error of its equals.
    Source: Geifman and El-Yaniv, arXiv 1705.08500, section 2.

    >>> risk_curve(np.array([0.1, 0.2]), np.array([0.0, 1.0]))[[0, -1]].tolist()
    [0.0, 0.5]
    """
    ranks = rankdata(uncertainty, method="dense") - 1
    shared = (np.bincount(ranks, error) / np.bincount(ranks))[ranks]
    ordered = shared[np.argsort(uncertainty, kind="stable")]
    num_kept = np.maximum(np.ceil(COVERAGES * len(error) - 1e-9).astype(np.int64), 1)
    return np.asarray(np.cumsum(ordered)[num_kept - 1] / num_kept, np.float64)


@dataclass(frozen=True)
class AgeBand:
    """The error of faces of about the same true age.

    Attributes:
        age: mean true age in years.
        mae: mean absolute error in years, runs pooled.
        low: one population standard deviation over runs below it, 0 at least.
        high: one above it.
        bias: mean of the expected age minus the true class's years.
        faces: different faces.
    """

    age: float
    mae: float
    low: float
    high: float
    bias: float
    faces: int


def error_by_age(runs: Sequence[FaceScores]) -> list[AgeBand]:
    """Measure the error by true age: by the eight groups, or in bands of five years.

    Returns:
        the bands that have enough faces; none for gender.
    """
    if runs[0].task == "gender":
        return []
    pooled = pool(runs)
    bands = _bands(pooled)
    found = []
    for band in np.unique(bands):
        is_in = bands == band
        num_faces = len(np.unique(pooled.faces.row[is_in]))
        if num_faces < MIN_BAND_FACES:
            continue
        mae = float(pooled.values["mae"][is_in].mean())
        spread = _spread(run.values["mae"][_bands(run) == band] for run in runs)
        found.append(
            AgeBand(
                age=float(pooled.faces.age[is_in].mean()),
                mae=mae,
                low=max(mae - spread, 0.0),
                high=mae + spread,
                bias=float(pooled.values["excess_years"][is_in].mean()),
                faces=num_faces,
            )
        )
    return found


def _bands(scores: FaceScores) -> Ints:
    if scores.task == "age8":
        return ages_to_classes(scores.faces.age, 8)
    return np.floor(scores.faces.age / BAND_YEARS).astype(np.int64)


def _spread(errors_of_runs: Iterable[Floats]) -> float:
    """Return the population std over runs of their mean errors, of the runs that have any."""
    return float(np.std([errors.mean() for errors in errors_of_runs if len(errors)]))
