"""Which differences from the baselines are differences: decided by a test over paired runs."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from studies.intervals import corrected_t_test, holm
from studies.metrics import LOWER_IS_BETTER

COMPARED = {
    "gender": ("accuracy",),
    "age8": ("accuracy", "mae"),
    "age101": ("accuracy_relaxed", "mae"),
}
"""Metrics that each task is compared by."""

SIGNIFICANT = 0.05

Summary = dict[str, Any]


def compare(entry: Summary) -> list[Summary]:
    """Compare a result with its baselines on the split that it is judged by.

    Runs are paired by seed and fold. Where there are folds, the differences of the seeds of a fold
    are averaged first: seeds share all their data, so only the folds count as observations.

    Args:
        entry: of the summary.

    Returns:
        one {"task", "protocol", "baseline", "metric", "ours", "theirs", "difference", "num_runs",
        "num_pairs", "t", "degrees", "p"} a baseline and metric; t, degrees and p are None where
        there are fewer than two pairs. `adjust` adds the verdicts.
    """
    splits, judged = entry["splits"], entry["judged"]
    ratio = splits[judged]["faces_a_run"] / splits["train"]["faces_a_run"]
    ours = {(run["seed"], run["fold"]): run["splits"][judged] for run in entry["runs"]}
    found = []
    for name, baseline in entry["baselines"].items():
        theirs = {(run["seed"], run["fold"]): run["values"] for run in baseline["runs"]}
        common = [key for key in ours if key in theirs]
        for metric in COMPARED[entry["task"]] if common else ():
            differences = {key: ours[key][metric] - theirs[key][metric] for key in common}
            found.append(
                {
                    "task": entry["task"],
                    "protocol": entry["protocol"],
                    "split": judged,
                    "baseline": name,
                    "metric": metric,
                    "ours": float(np.mean([ours[key][metric] for key in common])),
                    "theirs": float(np.mean([theirs[key][metric] for key in common])),
                    "num_runs": len(common),
                }
                | _tested(differences, ratio)
            )
    return found


def _tested(differences: dict[tuple[int, int | None], float], ratio: float) -> Summary:
    observations = _averaged_over_seeds(differences)
    test = corrected_t_test(observations, ratio)
    return {
        "difference": float(np.mean(list(differences.values()))),
        "num_pairs": len(observations),
        "test_to_train": ratio,
        "t": test and test.t,
        "degrees": test and test.degrees,
        "p": test and test.p,
    }


def _averaged_over_seeds(differences: dict[tuple[int, int | None], float]) -> list[float]:
    """Give one difference a fold, or one a seed where there are no folds."""
    units: dict[int, list[float]] = {}
    for (seed, fold), difference in differences.items():
        units.setdefault(seed if fold is None else fold, []).append(difference)
    return [float(np.mean(values)) for _, values in sorted(units.items())]


def adjust(comparisons: Sequence[Summary]) -> list[Summary]:
    """Adjust the p-values for their number, and say what each difference is.

    Returns:
        copies with "adjusted_p" and "verdict": better, worse, no difference shown, or not tested.
    """
    tested = [one for one in comparisons if one["p"] is not None]
    adjusted = dict(zip(map(id, tested), holm([one["p"] for one in tested]), strict=True))
    return [
        dict(one)
        | {"adjusted_p": adjusted.get(id(one)), "verdict": _verdict(one, adjusted.get(id(one)))}
        for one in comparisons
    ]


def _verdict(comparison: Summary, p: float | None) -> str:
    if p is None:
        return "not tested"
    if p > SIGNIFICANT:
        return "no difference shown"
    is_lower = comparison["difference"] < 0
    return "better" if is_lower == (comparison["metric"] in LOWER_IS_BETTER) else "worse"
