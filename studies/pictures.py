"""The pictures of a result as PNG, with their captions."""

import io
from dataclasses import dataclass
from typing import Any

from studies import drawings, wording
from utils.figures import new_figure, optional_picture

SIZE_INCHES = (5.4, 4.0)
DOTS_PER_INCH = 160

DRAWINGS = {
    "confusion": drawings.confusion,
    "reliability": drawings.reliability,
    "risk": drawings.risk,
    "age": drawings.error_by_age,
    "learning": drawings.learning,
    "runs": drawings.runs,
}
CAPTIONS = {
    "confusion": "Confusion matrix: of each true class, the share guessed as each class, in "
    "percent ({runs}, {split} split, pooled).",
    "reliability": "Reliability: accuracy against confidence in 15 equal bins ({runs}, {split} "
    "split, pooled); below, the share of all predictions in each bin. On the dashed line "
    "confidence is what it promises. Hollow: fewer than 0.5 % of the predictions.",
    "risk": "Error against uncertainty: the mean error of the faces that are left when the most "
    "uncertain, by entropy, are set aside ({runs}, {split} split; line: mean, band: one standard "
    "deviation over runs).",
    "age": "Mean absolute error by true age, and bias, the expected minus the true age ({runs}, "
    "{split} split, pooled; bars: one standard deviation over runs); below, how many faces.",
    "learning": "Learning curves ({runs}; line: mean, band: one standard deviation over runs).",
    "runs": "Test {metric} of each run ({runs}) by held-out fold and seed; grey bars: mean of the "
    "fold, dashed: of all.",
}
Entry = dict[str, Any]


@dataclass(frozen=True)
class Picture:
    """A drawn picture.

    Attributes:
        name: one of DRAWINGS.
        png: its bytes.
        caption: what it shows, of which rows and how many runs.
    """

    name: str
    png: bytes
    caption: str


def draw(entry: Entry) -> list[Picture]:
    """Draw all pictures that a result has the numbers for; one that fails is left out.

    Args:
        entry: of the summary's "results"; `is_run` is true.
    """
    words = {
        "runs": wording.runs(entry["num_runs"]),
        "split": wording.SPLIT_NAMES[entry["judged"]].lower(),
        "metric": wording.METRIC_NAMES[wording.MAIN[entry["task"]]].lower(),
    }
    drawn = []
    for name in _of(entry):
        with optional_picture(f"{name} of {entry['task']}-{entry['protocol']}"):
            drawn.append(Picture(name, _png(name, entry), CAPTIONS[name].format(**words)))
    return drawn


def _of(entry: Entry) -> list[str]:
    has_numbers = {
        "age": bool(entry["error_by_age"]),
        "learning": bool(entry["learning"]["curves"]),
        "runs": all(run["fold"] is not None for run in entry["runs"]),
    }
    return [name for name in DRAWINGS if has_numbers.get(name, True)]


def _png(name: str, entry: Entry) -> bytes:
    figure = new_figure(figsize=SIZE_INCHES, layout="constrained")
    DRAWINGS[name](figure, entry)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()
