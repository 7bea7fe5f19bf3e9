"""Metrics of predictions, all of them functions of sums over faces.

The faces are turned into a sparse matrix of columns once (`columns_of`). Column totals, weighted or
not, give every metric (`Layout.metrics`), so that values and their bootstrap replicates come from
one and the same formula.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from model.metric import RELAXED_BOUNDS_YEARS
from study.results import NUM_CLASSES, Predictions
from utils.ages import ages_to_classes, class_years

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

    One-off accuracy and the years are of the nearest centre, ties downward (`utils.ages`); errors
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


@dataclass(frozen=True)
class Layout:
    """Where the columns of a task are: count, means, faces and hits of each class, gaps of bins."""

    task: str

    @property
    def means(self) -> list[str]:
        """Name the metrics that are means over faces, in the order of their columns."""
        return [name for name in MEANS if name in METRICS[self.task]]

    @property
    def first_class(self) -> int:
        """Give the column of the first class."""
        return 1 + len(self.means)

    @property
    def first_bin(self) -> int:
        """Give the column of the first bin."""
        return self.first_class + 2 * NUM_CLASSES[self.task]

    @property
    def width(self) -> int:
        """Count the columns."""
        return self.first_bin + NUM_BINS

    def metrics(self, totals: Floats) -> dict[str, Floats]:
        """Turn column totals (..., columns) into metrics (...,); NaN where no face counts.

        Balanced accuracy is the mean of the accuracies of the classes that occur. The expected
        calibration error is the mean over the faces of |confidence - accuracy| of their bin.
        Source of the latter: arXiv 1706.04599, equation 3.
        """
        count = totals[..., 0]
        found = {
            name: ratio(totals[..., 1 + place], count) for place, name in enumerate(self.means)
        }
        num_classes = NUM_CLASSES[self.task]
        faces = totals[..., self.first_class : self.first_class + num_classes]
        hits = totals[..., self.first_class + num_classes : self.first_bin]
        occurs = faces > 0
        recall = np.where(occurs, hits / np.where(occurs, faces, 1), 0)
        found["balanced_accuracy"] = ratio(recall.sum(-1), occurs.sum(-1).astype(np.float64))
        found["ece"] = ratio(np.abs(totals[..., self.first_bin :]).sum(-1), count)
        return {name: found[name] for name in METRICS[self.task]}


def ratio(total: Floats, count: Floats) -> Floats:
    """Divide where there is something to divide by; NaN elsewhere."""
    blank = np.full(np.shape(total), np.nan)
    return np.asarray(np.divide(total, count, out=blank, where=count > 0))


def columns_of(scores: Scores, codes: Ints, num_codes: int) -> csr_array:
    """Add up the columns of each subject.

    Args:
        scores: of N faces.
        codes: (N,) subject numbers below `num_codes`.
        num_codes: subjects of the result.

    Returns:
        (subjects, columns of the layout).
    """
    layout = Layout(scores.task)
    num_classes = NUM_CLASSES[scores.task]
    ones = np.ones(len(scores))
    label_column = layout.first_class + scores.label
    entries = [(np.zeros(len(scores), np.int64), ones), (label_column, ones)]
    entries += [
        (np.full(len(scores), 1 + place), scores.values[name])
        for place, name in enumerate(layout.means)
    ]
    entries.append((label_column + num_classes, scores.values["accuracy"]))
    gap = scores.confidence - scores.values["accuracy"]
    entries.append((layout.first_bin + scores.bins, gap))
    return sum_by_subject(entries, codes, (num_codes, layout.width))


def sum_by_subject(
    entries: list[tuple[Ints, Floats]], codes: Ints, shape: tuple[int, int]
) -> csr_array:
    """Add up (column numbers (N,), values (N,)) pairs by the subject of each face."""
    columns = np.concatenate([column for column, _ in entries])
    values = np.concatenate([value for _, value in entries])
    rows = np.tile(codes, len(entries))
    return csr_array(coo_array((values, (rows, columns)), shape=shape))


def evaluate(scores: Scores) -> dict[str, float]:
    """Give the metrics of one run."""
    totals = columns_of(scores, np.zeros(len(scores), np.int64), 1).toarray()[0]
    return {name: float(value) for name, value in Layout(scores.task).metrics(totals).items()}


def subject_codes(runs: list[Identity]) -> tuple[list[Ints], int]:
    """Number the subjects of several runs over the same data set; nobody known is one per face.

    Returns:
        the subject number of each face for each run, and how many subjects there are.
    """
    row = np.concatenate([run.row for run in runs])
    rows, first, place = np.unique(row, return_index=True, return_inverse=True)
    source = np.concatenate([run.source for run in runs])[first]
    subject = np.concatenate([run.subject for run in runs])[first]
    names = np.strings.add(np.strings.add(source, "/"), subject)
    _, codes = np.unique(names, return_inverse=True)
    unknown = subject == ""
    codes[unknown] = len(rows) + np.arange(int(unknown.sum()))
    _, codes = np.unique(codes, return_inverse=True)
    ends = np.cumsum([len(run.row) for run in runs])[:-1]
    return np.split(codes[place], ends), int(codes.max()) + 1
