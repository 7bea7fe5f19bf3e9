"""How far the probabilities can be trusted: reliability, and error against uncertainty."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from studies.metrics import NUM_BINS, Floats, Ints, Scores
from utils.labels import ages_to_classes

COVERAGES = np.linspace(0.05, 1, 39)
"""Shares of the faces, the surest first, at which the risk is told."""

BAND_YEARS = 5
"""Width of the bands of true age in which the error of 101 classes is told."""

MIN_BAND_FACES = 5
"""A band of fewer different faces is not shown."""


def reliability(runs: Sequence[Scores]) -> list[dict[str, Any]]:
    """Compare confidence with accuracy in 15 equal bins of the largest probability, runs pooled.

    Source: arXiv 1706.04599, section 2.

    Returns:
        one {"low", "high", "share" of all predictions, "confidence", "accuracy"} a bin that is
        not empty.
    """
    bins = np.concatenate([run.bins for run in runs])
    count = np.bincount(bins, minlength=NUM_BINS)
    confidence = np.bincount(bins, _joined(runs, "confidence"), NUM_BINS)
    hits = np.bincount(bins, np.concatenate([run.values["accuracy"] for run in runs]), NUM_BINS)
    return [
        {
            "low": place / NUM_BINS,
            "high": (place + 1) / NUM_BINS,
            "share": float(count[place] / count.sum()),
            "confidence": float(confidence[place] / count[place]),
            "accuracy": float(hits[place] / count[place]),
        }
        for place in np.flatnonzero(count).tolist()
    ]


def _joined(runs: Sequence[Scores], name: str) -> Floats:
    return np.concatenate([getattr(run, name) for run in runs])


def risk_curve(uncertainty: Floats, error: Floats) -> Floats:
    """Give the mean error of the surest faces at each of `COVERAGES`.

    Faces of the same uncertainty share their place in the order: each counts with the mean error of
    its equals. Source: Geifman and El-Yaniv, arXiv 1705.08500, section 2.

    >>> risk_curve(np.array([0.1, 0.2]), np.array([0.0, 1.0]))[[0, -1]].tolist()
    [0.0, 0.5]
    """
    ranks = rankdata(uncertainty, method="dense") - 1
    shared = (np.bincount(ranks, error) / np.bincount(ranks))[ranks]
    ordered = shared[np.argsort(uncertainty, kind="stable")]
    num_kept = np.maximum(np.ceil(COVERAGES * len(error) - 1e-9).astype(np.int64), 1)
    return np.asarray(np.cumsum(ordered)[num_kept - 1] / num_kept, np.float64)


def risk_coverage(runs: Sequence[Scores]) -> dict[str, Any]:
    """Tell how the error falls when the most uncertain faces (by entropy) are left out.

    Returns:
        {"unit", "coverage", "risk": mean over runs, "low", "high": mean -+ population std over
        runs}.
    """
    curves = np.stack([risk_curve(run.entropy, run.error) for run in runs])
    mean, spread = curves.mean(0), curves.std(0)
    return {
        "unit": "share of wrong guesses" if runs[0].task == "gender" else "years",
        "coverage": COVERAGES.tolist(),
        "risk": mean.tolist(),
        "low": (mean - spread).tolist(),
        "high": (mean + spread).tolist(),
    }


def error_by_age(runs: Sequence[Scores]) -> list[dict[str, Any]]:
    """Give the mean absolute error by true age: by the eight groups, or in bands of five years.

    Returns:
        one {"age": mean true age, "faces", "mae": mean over pooled runs, "bias": mean of the
        expected age minus the true class's years, "low", "high": mae -+ its population std over
        runs} a band; nothing for gender.
    """
    if runs[0].task == "gender":
        return []
    bands = [_bands(run) for run in runs]
    found = []
    for band in range(max(int(band.max()) for band in bands) + 1):
        chosen = [(run, of_run == band) for run, of_run in zip(runs, bands, strict=True)]
        chosen = [(run, is_in) for run, is_in in chosen if is_in.any()]
        rows = [run.faces.row[is_in] for run, is_in in chosen]
        faces = len(np.unique(np.concatenate(rows))) if rows else 0
        if faces >= MIN_BAND_FACES:
            found.append(_band(chosen) | {"faces": faces})
    return found


def _bands(run: Scores) -> Ints:
    if run.task == "age8":
        return ages_to_classes(run.faces.age, 8)
    return np.floor(run.faces.age / BAND_YEARS).astype(np.int64)


def _band(chosen: list[tuple[Scores, NDArray[np.bool_]]]) -> dict[str, Any]:
    errors = [run.values["mae"][is_in] for run, is_in in chosen]
    ages = [run.faces.age[is_in] for run, is_in in chosen]
    excess = [run.values["excess_years"][is_in] for run, is_in in chosen]
    of_runs = np.array([error.mean() for error in errors])
    mean, spread = float(np.concatenate(errors).mean()), float(of_runs.std())
    age = float(np.concatenate(ages).mean())
    return {
        "age": age,
        "mae": mean,
        "low": max(mean - spread, 0.0),
        "high": mean + spread,
        "bias": float(np.concatenate(excess).mean()),
    }
