"""The metrics of a study: what each face scores, and metrics as functions of totals over faces.

The scores of a run are added up by subject once (`subject_totals`). Their totals, weighted or not,
give every metric (`metrics_from_totals`), so that values and their bootstrap replicates come from
one and the same formula. What each face scores, `model.metric` says.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from model import metric
from model.metric import ScoredProbabilities
from studies.intervals import Floats
from studies.predictions import FaceInfo, Predictions
from studies.protocols import TASKS

Ints = NDArray[np.int64]

NUM_BINS = 15
"""Of the calibration error, as in arXiv 1706.04599."""

CHUNK_ROWS = 65536
"""Faces scored at a time: 101 probabilities of each are 53 MB of float64."""

MEANS = ("accuracy", "one_off_accuracy", "mae", "cs5", "accuracy_relaxed", "brier")
"""Metrics that are means over faces."""

AGE_METRICS = (metric.one_off_accuracy, metric.mae, metric.cs5)


# --- of each face ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class FaceScores:
    """What N predictions score; the columns are (N,).

    Attributes:
        task: gender, age8 or age101.
        label: true class.
        predicted: class of the largest probability.
        confidence: the largest probability.
        entropy: of the probabilities, in nats.
        values: by metric, for those that are means over faces; for ages also `excess_years`, the
            expected age minus the true class's years.
        faces: who they are.
    """

    task: str
    label: Ints
    predicted: Ints
    confidence: Floats
    entropy: Floats
    values: dict[str, Floats]
    faces: FaceInfo

    def __len__(self) -> int:
        return len(self.label)

    @property
    def error(self) -> Floats:
        """What a face costs, (N,): years, or 1 for a wrong gender."""
        return self.values["mae"] if self.task != "gender" else 1 - self.values["accuracy"]


def confidence_bins(confidence: Floats) -> Ints:
    """Map top probabilities to 15 bins of equal width, closed on the right.

    >>> confidence_bins(np.array([0.0, 0.01, 1 / 15, 0.07, 1.0])).tolist()
    [0, 0, 0, 1, 14]
    """
    bins = np.ceil(confidence * NUM_BINS - 1e-9).astype(np.int64) - 1
    return np.clip(bins, 0, NUM_BINS - 1)


def score(predictions: Predictions, task: str) -> FaceScores:
    """Score the predictions of a run, face by face."""
    starts = range(0, len(predictions.label), CHUNK_ROWS)
    chunks = [predictions[start : start + CHUNK_ROWS] for start in starts]
    return pool([_score_chunk(chunk, task) for chunk in chunks])


def _score_chunk(predictions: Predictions, task: str) -> FaceScores:
    """Score up to CHUNK_ROWS faces.

    The Brier score is the squared distance of the probabilities from the true class, summed over
    the classes (0 to 2). Source: Brier, Monthly Weather Review 78 (1950).
    """
    label, chances = predictions.label, predictions.probabilities.astype(np.float64)
    of_truth = np.take_along_axis(chances, label[:, None], 1)[:, 0]
    logs = np.log(chances, where=chances > 0, out=np.zeros_like(chances))
    scored = ScoredProbabilities(chances, label)
    means = {"gender": (), "age8": AGE_METRICS, "age101": (*AGE_METRICS, metric.accuracy_relaxed)}
    values = {one.name: one.values(scored).numpy() for one in (metric.accuracy, *means[task])}
    values["brier"] = np.einsum("nc,nc->n", chances, chances) - 2 * of_truth + 1
    if means[task]:
        values["excess_years"] = scored.excess_years.numpy()
    return FaceScores(
        task=task,
        label=label,
        predicted=scored.predicted.numpy(),
        confidence=np.minimum(chances.max(1), 1.0),
        entropy=-(chances * logs).sum(1),
        values=values,
        faces=predictions.faces,
    )


def pool(runs: Sequence[FaceScores]) -> FaceScores:
    """Join the faces of several runs of a result, in order."""

    def joined(columns: Iterable[NDArray[Any]]) -> NDArray[Any]:
        return np.concatenate(list(columns))

    return FaceScores(
        runs[0].task,
        joined(run.label for run in runs),
        joined(run.predicted for run in runs),
        joined(run.confidence for run in runs),
        joined(run.entropy for run in runs),
        {name: joined(run.values[name] for run in runs) for name in runs[0].values},
        FaceInfo.join([run.faces for run in runs]),
    )


# --- of many faces --------------------------------------------------------------------------------


def _means_of(task: str) -> list[str]:
    return [name for name in MEANS if name in TASKS[task].metrics]


def _column_starts(task: str) -> list[int]:
    """Return the first column of the means, faces and hits of each class, bins, and of nothing.

    Column 0 counts the faces.
    """
    num_classes = TASKS[task].num_classes
    widths = [1, len(_means_of(task)), num_classes, num_classes, NUM_BINS]
    return list(itertools.accumulate(widths))


def subject_totals(scores: FaceScores, codes: Ints, num_subjects: int) -> csr_array:
    """Add up what `metrics_from_totals` needs over the faces of each subject.

    Args:
        scores: of N faces.
        codes: (N,) subject numbers below `num_subjects`.
        num_subjects: of the result.

    Returns:
        (subjects, columns).
    """
    first_mean, first_class, first_hit, first_bin, width = _column_starts(scores.task)
    num_faces, hits = len(scores), scores.values["accuracy"]
    ones = np.ones(num_faces)
    entries = [(np.zeros(num_faces, np.int64), ones), (first_class + scores.label, ones)]
    entries += [
        (np.full(num_faces, first_mean + index), scores.values[name])
        for index, name in enumerate(_means_of(scores.task))
    ]
    entries.append((first_hit + scores.label, hits))
    entries.append((first_bin + confidence_bins(scores.confidence), scores.confidence - hits))
    return sum_by_subject(entries, codes, (num_subjects, width))


def sum_by_subject(
    entries: list[tuple[Ints, Floats]], codes: Ints, shape: tuple[int, int]
) -> csr_array:
    """Add up (column numbers (N,), values (N,)) pairs by the subject of each face."""
    columns = np.concatenate([column for column, _ in entries])
    values = np.concatenate([value for _, value in entries])
    rows = np.tile(codes, len(entries))
    return csr_array(coo_array((values, (rows, columns)), shape=shape))


def metrics_from_totals(task: str, totals: Floats) -> dict[str, Floats]:
    """Turn totals (..., columns) of `subject_totals` into metrics (...,); NaN where no face counts.

    Balanced accuracy is the mean of the accuracies of the classes that occur. The expected
    calibration error is the mean over the faces of |confidence - accuracy| of their bin. Source of
    the latter: arXiv 1706.04599, equation 3.
    """
    counts, means, faces, hits, gaps, _ = np.split(totals, _column_starts(task), axis=-1)
    count = counts[..., 0]
    found = {name: ratio(means[..., index], count) for index, name in enumerate(_means_of(task))}
    occurs = faces > 0
    recall = np.where(occurs, hits / np.where(occurs, faces, 1), 0)
    found["balanced_accuracy"] = ratio(recall.sum(-1), occurs.sum(-1).astype(np.float64))
    found["ece"] = ratio(np.abs(gaps).sum(-1), count)
    return {name: found[name] for name in TASKS[task].metrics}


def ratio(total: Floats, count: Floats) -> Floats:
    """Divide where there is something to divide by; NaN elsewhere."""
    blank = np.full(np.shape(total), np.nan)
    return np.asarray(np.divide(total, count, out=blank, where=count > 0))


def evaluate(scores: FaceScores) -> dict[str, float]:
    """Return the metrics of one run."""
    totals = subject_totals(scores, np.zeros(len(scores), np.int64), 1).toarray()[0]
    return {name: float(value) for name, value in metrics_from_totals(scores.task, totals).items()}


def subject_codes(faces: FaceInfo) -> tuple[Ints, int]:
    """Number the subjects of the pooled runs of a result; nobody known is one per row.

    Returns:
        the subject number of each face, and how many subjects there are.
    """
    rows, first, inverse = np.unique(faces.row, return_index=True, return_inverse=True)
    _, codes = np.unique(faces[first].subject_name, return_inverse=True)
    unknown = faces.subject[first] == ""
    codes[unknown] = len(rows) + np.arange(int(unknown.sum()))
    _, codes = np.unique(codes, return_inverse=True)
    return codes[inverse], int(codes.max()) + 1


def split_by_run(column: Ints, runs: Sequence[FaceScores]) -> list[Ints]:
    """Split a column of pooled runs into those of each run."""
    return np.split(column, np.cumsum([len(run) for run in runs])[:-1])
