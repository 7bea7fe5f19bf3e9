"""How numbers and names are written, alike in the report, the model card and the console."""

from typing import Any

TASK_NAMES = {"gender": "Gender", "age8": "Age in 8 classes", "age101": "Age in 101 classes"}
SPLIT_NAMES = {"train": "Training", "val": "Validation", "test": "Test"}
BASELINE_NAMES = {
    "logistic_regression": "Logistic regression",
    "majority": "Majority class",
}
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
MAIN = {"gender": "accuracy", "age8": "accuracy", "age101": "accuracy_relaxed"}
"""The metric that the original publishes for each task."""

MINUS = "\N{MINUS SIGN}"
NOTHING = "n/a"
"""Stands where a value is not defined."""


def number(value: float | None, metric: str = "") -> str:
    """Write a value: years with two decimals, shares with four.

    >>> number(0.90861, "accuracy"), number(3.8712, "mae"), number(None)
    ('0.9086', '3.87', 'n/a')
    """
    if value is None:
        return NOTHING
    return f"{value:.2f}" if metric == "mae" else f"{value:.4f}"


def spread(found: dict[str, Any], metric: str, num_runs: int) -> str:
    """Write a mean with its population std over runs; one run has no std.

    >>> spread({"mean": 0.9, "std": 0.02}, "accuracy", 25)
    '0.9000 ± 0.0200'
    >>> spread({"mean": 0.9, "std": 0.0}, "accuracy", 1)
    '0.9000'
    """
    mean = number(found["mean"], metric)
    return mean if num_runs < 2 else f"{mean} ± {number(found['std'], metric)}"


def reach(found: dict[str, Any], metric: str) -> str:
    """Write an interval.

    >>> reach({"low": 0.88, "high": 0.92}, "accuracy")
    '[0.8800, 0.9200]'
    """
    if found["low"] is None or found["high"] is None:
        return "[n/a]"
    return f"[{number(found['low'], metric)}, {number(found['high'], metric)}]"


def signed(value: float | None, metric: str = "") -> str:
    """Write a difference with its sign.

    >>> signed(0.0123), signed(-0.5, "mae")
    ('+0.0123', '\N{MINUS SIGN}0.50')
    """
    if value is None:
        return NOTHING
    written = f"{value:+.2f}" if metric == "mae" else f"{value:+.4f}"
    return written.replace("-", MINUS)


def chance(value: float | None) -> str:
    """Write a p-value.

    >>> chance(0.0321), chance(0.00001)
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


def runs(number_of_runs: int) -> str:
    """Write how many runs a number is of.

    >>> runs(1), runs(25)
    ('1 run', '25 runs')
    """
    return f"{number_of_runs} run{'' if number_of_runs == 1 else 's'}"


def baseline_name(name: str) -> str:
    """Name a baseline, also one that is not known here."""
    return BASELINE_NAMES.get(name, name)


def published(figure: dict[str, Any] | None) -> str:
    """Write a published figure.

    >>> published({"value": 0.9086, "std": 0.0202}), published(None)
    ('0.9086 ± 0.0202', 'n/a')
    """
    if figure is None:
        return NOTHING
    value = number(figure["value"])
    return value if figure["std"] is None else f"{value} ± {number(figure['std'])}"
