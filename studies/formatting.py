"""How numbers are written, alike in the report, the model card and the console."""

import math

from studies.baselines import BASELINES
from studies.comparisons import MetricSummary, Spread
from studies.intervals import Interval
from studies.protocols import PublishedFigure

SPLIT_NAMES = {"train": "Training", "val": "Validation", "test": "Test"}
METRIC_NAMES = {
    "accuracy": "Accuracy",
    "accuracy_relaxed": "Relaxed accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "one_off_accuracy": "One-off accuracy",
    "mae": "MAE (years)",
    "cs5": "CS@5",
    "brier": "Brier score",
    "ece": "Calibration error (ECE)",
}

MINUS = "\N{MINUS SIGN}"
NOTHING = "n/a"
"""Stands where a value is not defined."""


def number(value: float | None, metric: str = "") -> str:
    """Write a value: years with two decimals, shares with four.

    >>> number(0.90861, "accuracy"), number(3.8712, "mae"), number(None), number(math.nan)
    ('0.9086', '3.87', 'n/a', 'n/a')
    """
    if value is None or not math.isfinite(value):
        return NOTHING
    return f"{value:.2f}" if metric == "mae" else f"{value:.4f}"


def mean_and_std(found: Spread, metric: str, num_runs: int) -> str:
    """Write a mean with its population std over runs; one run has no std."""
    mean = number(found.mean, metric)
    return mean if num_runs < 2 else f"{mean} ± {number(found.std, metric)}"


def percent(found: MetricSummary | Interval, digits: int = 1) -> str:
    """Write a share and its interval in percent.

    >>> percent(Interval(0.8977, 0.881, 0.9123)), percent(Interval(0.5, None, None))
    ('89.8 % [88.1, 91.2]', '50.0 %')
    """
    value = found.value if isinstance(found, Interval) else found.mean
    if not math.isfinite(value):
        return NOTHING
    written = f"{100 * value:.{digits}f} %"
    if found.low is None or found.high is None:
        return written
    return f"{written} [{100 * found.low:.{digits}f}, {100 * found.high:.{digits}f}]"


def size(found: MetricSummary | Interval, name: str) -> str:
    """Write the mean width of intervals in years, or the share of one-letter sets.

    >>> size(Interval(14.02, 13.1, 15.0), "width"), size(Interval(0.96, None, None), "one_letter")
    ('14.0 years [13.1, 15.0]', '96.0 %')
    """
    if name == "one_letter":
        return percent(found)
    value = found.value if isinstance(found, Interval) else found.mean
    if not math.isfinite(value):
        return NOTHING
    ends = "" if found.low is None else f" [{found.low:.1f}, {found.high:.1f}]"
    return f"{value:.1f} years{ends}"


def interval(found: MetricSummary | Interval, metric: str) -> str:
    """Write an interval such as [0.8800, 0.9200]."""
    if found.low is None or found.high is None:
        return f"[{NOTHING}]"
    return f"[{number(found.low, metric)}, {number(found.high, metric)}]"


def signed(value: float | None, metric: str = "") -> str:
    """Write a difference with its sign.

    >>> signed(0.0123), signed(-0.5, "mae")
    ('+0.0123', '\N{MINUS SIGN}0.50')
    """
    if value is None or not math.isfinite(value):
        return NOTHING
    written = f"{value:+.2f}" if metric == "mae" else f"{value:+.4f}"
    return written.replace("-", MINUS)


def p_value(value: float | None) -> str:
    """Write a p-value.

    >>> p_value(0.0321), p_value(0.00001)
    ('0.032', '< 0.001')
    """
    if value is None:
        return NOTHING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def count(value: int | None) -> str:
    """Write a count with separators of thousands.

    >>> count(17055)
    '17,055'
    """
    return NOTHING if value is None else f"{value:,}"


def runs(num_runs: int) -> str:
    """Write how many runs a number is of.

    >>> runs(1), runs(25)
    ('1 run', '25 runs')
    """
    return f"{num_runs} run{'' if num_runs == 1 else 's'}"


def baseline_name(name: str) -> str:
    """Return the name of a baseline for the reader, also of one that is not known here."""
    return BASELINES.get(name, name)


def published(figure: PublishedFigure | None) -> str:
    """Write a published figure.

    >>> published(PublishedFigure(0.9086, 0.0202)), published(None)
    ('0.9086 ± 0.0202', 'n/a')
    """
    if figure is None:
        return NOTHING
    value = number(figure.value)
    return value if figure.std is None else f"{value} ± {number(figure.std)}"
