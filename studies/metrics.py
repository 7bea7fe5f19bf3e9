"""What each face of a run's predictions scores: `studies.sums` makes metrics of it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.metric import RELAXED_BOUNDS_YEARS
from studies.results import Predictions
from utils.labels import ages_to_classes, class_years

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NUM_BINS = 15
"""Of the calibration error, as in arXiv 1706.04599."""

NEAR_YEARS = 5.0
"""Errors up to this count as near in the cumulative score."""

CHUNK_ROWS = 65536
"""Faces scored at a time: 101 probabilities of each are 53 MB of float64."""

MEANS = ("accuracy", "one_off_accuracy", "mae", "cs5", "accuracy_relaxed", "brier")
"""Metrics that are means over faces."""

METRICS = {
    "gender": ("accuracy", "balanced_accuracy", "brier", "ece"),
    "age8": (
        *("accuracy", "balanced_accuracy", "one_off_accuracy", "mae", "cs5"),
        *("brier", "ece"),
    ),
    "age101": (
        *("accuracy", "accuracy_relaxed", "balanced_accuracy", "one_off_accuracy", "mae", "cs5"),
        *("brier", "ece"),
    ),
}
"""What each task is measured by."""

LOWER_IS_BETTER = {"mae", "brier", "ece"}


@dataclass(frozen=True)
class Scores:
    """Per-face values of N predictions.

    Attributes:
        task: gender, age8 or age101.
        label: (N,) true class.
        predicted: (N,) class of the largest probability.
        confidence: (N,) the largest probability.
        entropy: (N,) of the probabilities, in nats.
        values: (N,) by metric, for those that are means over faces; for ages also
            `excess_years`, the expected age minus the true class's years.
        faces: who they are; without probabilities.
    """

    task: str
    label: Ints
    predicted: Ints
    confidence: Floats
    entropy: Floats
    values: dict[str, Floats]
    faces: "Identity"

    def __len__(self) -> int:
        return len(self.label)

    @property
    def bins(self) -> Ints:
        """The bin of each confidence, (N,); bin b is ((b) / 15, (b + 1) / 15]."""
        return confidence_bins(self.confidence)

    @property
    def error(self) -> Floats:
        """What a face costs, (N,): years, or 1 for a wrong gender."""
        return self.values["mae"] if self.task != "gender" else 1 - self.values["accuracy"]


@dataclass(frozen=True)
class Identity:
    """Who N faces are; see `Predictions` for the fields."""

    row: Ints
    subject: NDArray[np.str_]
    gender: NDArray[np.str_]
    age: NDArray[np.float32]
    source: NDArray[np.str_]


def confidence_bins(confidence: Floats) -> Ints:
    """Map top probabilities to 15 bins of equal width, closed on the right.

    >>> confidence_bins(np.array([0.0, 0.01, 1 / 15, 0.07, 1.0])).tolist()
    [0, 0, 0, 1, 14]
    """
    bins = np.ceil(confidence * NUM_BINS - 1e-9).astype(np.int64) - 1
    return np.clip(bins, 0, NUM_BINS - 1)


def score(predictions: Predictions, task: str) -> Scores:
    """Score the predictions of a run, face by face.

    One-off accuracy and the years are of the nearest centre, ties downward (`utils.labels`); errors
    in years are of the expectation over the classes against the true class's years. The Brier score
    is the squared distance of the probabilities from the true class, summed over the classes (0 to
    2). Source: Brier, Monthly Weather Review 78 (1950).
    """
    starts = range(0, len(predictions), CHUNK_ROWS)
    parts = [_score_chunk(predictions, slice(start, start + CHUNK_ROWS), task) for start in starts]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    values = {name: joined[name] for name in (*MEANS, "excess_years") if name in joined}
    return Scores(
        task=task,
        label=predictions.label,
        predicted=joined["predicted"].astype(np.int64),
        confidence=joined["confidence"],
        entropy=joined["entropy"],
        values=values,
        faces=Identity(
            predictions.row,
            predictions.subject,
            predictions.gender,
            predictions.age,
            predictions.source,
        ),
    )


def _score_chunk(predictions: Predictions, rows: slice, task: str) -> dict[str, Floats]:
    chances = predictions.probabilities[rows].astype(np.float64)
    label = predictions.label[rows]
    predicted = chances.argmax(1)
    confidence = np.minimum(chances.max(1), 1.0)
    of_truth = np.take_along_axis(chances, label[:, None], 1)[:, 0]
    logs = np.log(chances, where=chances > 0, out=np.zeros_like(chances))
    scores = {
        "predicted": predicted.astype(np.float64),
        "confidence": confidence,
        "entropy": -(chances * logs).sum(1),
        "accuracy": (predicted == label).astype(np.float64),
        "brier": np.einsum("nc,nc->n", chances, chances) - 2 * of_truth + 1,
    }
    return scores if task == "gender" else scores | _score_ages(chances, label, predicted)


def _score_ages(chances: Floats, label: Ints, predicted: NDArray[np.intp]) -> dict[str, Floats]:
    years = class_years(chances.shape[1]).astype(np.float64)
    groups = ages_to_classes(years, 8)
    relaxed = np.searchsorted(np.array(RELAXED_BOUNDS_YEARS), years, side="right")
    excess = chances @ years - years[label]
    error = np.abs(excess)
    return {
        "excess_years": excess,
        "mae": error,
        "cs5": (error <= NEAR_YEARS).astype(np.float64),
        "one_off_accuracy": (np.abs(groups[predicted] - groups[label]) <= 1).astype(np.float64),
        "accuracy_relaxed": (relaxed[predicted] == relaxed[label]).astype(np.float64),
    }
