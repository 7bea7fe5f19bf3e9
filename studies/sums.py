"""Metrics as functions of sums over faces.

The faces are turned into a sparse matrix of columns once (`columns_of`). Column totals, weighted or
not, give every metric (`Layout.metrics`), so that values and their bootstrap replicates come from
one and the same formula.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array, csr_array

from studies.metrics import MEANS, METRICS, NUM_BINS, Floats, Identity, Ints, Scores
from studies.results import NUM_CLASSES


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
