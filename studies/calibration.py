"""How far the probabilities can be trusted: reliability, and error against uncertainty."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from studies.intervals import Floats
from studies.metrics import NUM_BINS, FaceScores, Ints
from utils.labels import ages_to_classes

COVERAGES = np.linspace(0.05, 1, 39)
"""Shares of the faces, the surest first, at which the risk is measured."""

BAND_YEARS = 5
"""Width of the bands of true age in which the error of 101 classes is measured."""

MIN_BAND_FACES = 5
"""A band of fewer different faces is not shown."""


@dataclass(frozen=True)
class ReliabilityBin:
    """Predictions whose largest probability is above `low`, and `high` at most.

    Attributes:
        low: lower end.
        high: upper end.
        share: of all predictions.
        confidence: mean of the largest probabilities.
        accuracy: share of right guesses.
    """

    low: float
    high: float
    share: float
    confidence: float
    accuracy: float


def reliability(runs: Sequence[FaceScores]) -> list[ReliabilityBin]:
    """Compare confidence with accuracy in 15 equal bins, runs pooled; empty bins are left out.

    Source: arXiv 1706.04599, section 2.
    """
    bins = np.concatenate([run.bins for run in runs])
    confidence = np.concatenate([run.confidence for run in runs])
    is_right = np.concatenate([run.values["accuracy"] for run in runs])
    count = np.bincount(bins, minlength=NUM_BINS)
    total_confidence = np.bincount(bins, confidence, NUM_BINS)
    hits = np.bincount(bins, is_right, NUM_BINS)
    return [
        ReliabilityBin(
            low=index / NUM_BINS,
            high=(index + 1) / NUM_BINS,
            share=float(count[index] / count.sum()),
            confidence=float(total_confidence[index] / count[index]),
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
    bands = [_bands(run) for run in runs]
    found = []
    for band in range(max(int(of_run.max()) for of_run in bands) + 1):
        masks = [of_run == band for of_run in bands]
        chosen = [(run, is_in) for run, is_in in zip(runs, masks, strict=True) if is_in.any()]
        rows = [run.faces.row[is_in] for run, is_in in chosen]
        num_faces = len(np.unique(np.concatenate(rows))) if rows else 0
        if num_faces >= MIN_BAND_FACES:
            found.append(_summarise_band(chosen, num_faces))
    return found


def _bands(run: FaceScores) -> Ints:
    if run.task == "age8":
        return ages_to_classes(run.faces.age, 8)
    return np.floor(run.faces.age / BAND_YEARS).astype(np.int64)


def _summarise_band(
    chosen: Sequence[tuple[FaceScores, NDArray[np.bool_]]], num_faces: int
) -> AgeBand:
    errors = [run.values["mae"][is_in] for run, is_in in chosen]
    ages = [run.faces.age[is_in] for run, is_in in chosen]
    excess = [run.values["excess_years"][is_in] for run, is_in in chosen]
    mean = float(np.concatenate(errors).mean())
    spread = float(np.array([error.mean() for error in errors]).std())
    return AgeBand(
        age=float(np.concatenate(ages).mean()),
        mae=mean,
        low=max(mean - spread, 0.0),
        high=mean + spread,
        bias=float(np.concatenate(excess).mean()),
        faces=num_faces,
    )
