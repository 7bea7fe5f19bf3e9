"""Compare recipes by paired runs: on validation rows, and ensembles on the folds held out.

    python cross-val.py --task age8 -o data_loader.args.validation_split=0.2
    python cross-val.py -c configs/original/age8.json -o data_loader.args.validation_split=0.2 \
        -o data_loader.args.validation_by=subject
    python benchmarks/bench_recipes.py saved/<first>_cross-val-results.json saved/<second>...

Every recipe is compared with the first. Each line is a mean over seeds x folds; behind it the
difference from the first, and t of the corrected resampled test over folds, seeds averaged. |t|
over 2.8 is beyond noise (5 %, five folds). "at T" divides the logits by a temperature that is
fitted on one half of the validation subjects and judged on the other.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from study.intervals import corrected_t_test  # noqa: E402
from study.metrics import confidence_bins  # noqa: E402
from study.predictions import StudyData, predict, split_rows  # noqa: E402
from utils.ages import ages_to_classes, class_years  # noqa: E402
from utils.config import ConfigParser  # noqa: E402
from utils.files import read_json  # noqa: E402

Floats = NDArray[np.float64]
Values = dict[str, float]
TEMPERATURES = np.exp(np.linspace(-1, 1, 81))


class Rows:
    """What a run says of the rows of a split: log-probabilities (N, C), labels, subjects."""

    def __init__(self, probabilities: NDArray[np.float32], columns: dict[str, NDArray[Any]]):
        self.logits = np.log(probabilities.astype(np.float64) + 1e-12)
        self.label, self.subject = columns["label"], columns["subject"]


Runs = dict[tuple[int, int], dict[str, Rows]]


def main() -> None:
    """Print a table for the recipes of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, nargs="+")
    first: list[dict[tuple[int, int], Values]] = []
    for path in parser.parse_args().results:
        runs, ratio = predictions_of(read_json(path))
        print(f"\n{path}: {len(runs)} runs")
        for name, change in (("as it is", plain), ("at T", at_temperature)):
            values = {run: measure(change(of["val"]), of["val"].label) for run, of in runs.items()}
            first = first or [values]
            print_line(f"val, {name}", values, first[0], ratio)
        show_ensembles(runs)


def predictions_of(results: dict[str, Any]) -> tuple[Runs, float]:
    """Evaluate the checkpoints of a cross-validation; give validation over training rows too."""
    arguments = results["config"]["data_loader"]["args"]
    data = StudyData.read(arguments["data_dir"], arguments["dataset"])
    runs: Runs = {}
    ratio = 0.0
    for seed in results["seeds"]:
        for fold in results["folds"]:
            changes = {"seed": seed, "data_loader.args.test_cross_val": fold}
            config = ConfigParser(results["config"], modification=changes)
            splits = split_rows(config, data)
            ratio = len(splits["val"].label) / len(splits["train"].label)
            checkpoint = results["checkpoints"][str(seed)][str(fold)]
            _, found = predict(config, checkpoint, splits)
            runs[seed, fold] = {split: Rows(found[split], splits[split].columns) for split in found}
    return runs, ratio


def plain(rows: Rows) -> Floats:
    """Give the probabilities."""
    chances: Floats = softmax(rows.logits, axis=1)
    return chances


def at_temperature(rows: Rows) -> Floats:
    """Give the probabilities at the temperature that fits the other half of the subjects."""
    subjects, place = np.unique(rows.subject, return_inverse=True)
    half = np.random.default_rng(1).permutation(len(subjects))[place] % 2
    logits = np.empty_like(rows.logits)
    for side in (0, 1):
        here, there = half == side, half != side
        logits[here] = rows.logits[here] / best_temperature(rows.logits[there], rows.label[there])
    chances: Floats = softmax(logits, axis=1)
    return chances


def best_temperature(logits: Floats, label: NDArray[np.int64]) -> float:
    """Find the temperature of the lowest cross entropy. Source: Guo et al., arXiv 1706.04599."""
    losses = [measure(softmax(logits / t, axis=1), label)["nll"] for t in TEMPERATURES]
    return float(TEMPERATURES[int(np.argmin(losses))])


def measure(chances: Floats, label: NDArray[np.int64]) -> Values:
    """Give accuracy, cross entropy, Brier score and calibration error; of ages, years as well."""
    num_classes, predicted = chances.shape[1], chances.argmax(1)
    is_right, confidence = predicted == label, chances.max(1)
    gaps = np.bincount(confidence_bins(confidence), weights=is_right - confidence)
    values = {
        "accuracy": is_right.mean(),
        "nll": -np.log(chances[np.arange(len(label)), label] + 1e-12).mean(),
        "brier": np.square(chances - np.eye(num_classes)[label]).sum(1).mean(),
        "ece": np.abs(gaps).sum() / len(label),
    }
    if num_classes > 2:
        years = class_years(num_classes).astype(np.float64)
        groups = ages_to_classes(years, 8)
        values["one_off"] = (np.abs(groups[predicted] - groups[label]) <= 1).mean()
        median = (chances.cumsum(1) >= 0.5).argmax(1)
        guesses = {"": chances @ years, "_argmax": years[predicted], "_median": years[median]}
        for name, guess in guesses.items():
            values[f"mae{name}"] = np.abs(guess - years[label]).mean()
            values[f"cs5{name}"] = (np.abs(guess - years[label]) <= 5).mean()
    return {name: float(value) for name, value in values.items()}


def show_ensembles(runs: Runs) -> None:
    """Print single runs on their held-out folds, and the mean of the seeds of each fold."""
    single = {run: measure(plain(of["test"]), of["test"].label) for run, of in runs.items()}
    print_line("test, single", single, single, 0)
    pooled: dict[tuple[int, int], Values] = {}
    for fold in sorted({fold for _, fold in runs}):
        members = [of["test"] for (_, other), of in runs.items() if other == fold]
        mean = np.mean([plain(rows) for rows in members], 0)
        values = measure(mean, members[0].label)
        pooled |= {run: values for run in runs if run[1] == fold}
    num_train, num_test = (len(next(iter(runs.values()))[s].label) for s in ("train", "test"))
    print_line("test, ensemble", pooled, single, num_test / num_train)


def print_line(
    name: str,
    values: dict[tuple[int, int], Values],
    base: dict[tuple[int, int], Values],
    ratio: float,
) -> None:
    """Print means, and differences from `base` with t, folds averaged over seeds."""
    cells = []
    for metric in next(iter(values.values())):
        cell = f"{metric} {np.mean([of[metric] for of in values.values()]):.4f}"
        if values is not base:
            differences = np.subtract(fold_means(values, metric), fold_means(base, metric))
            test = corrected_t_test(differences.tolist(), ratio)
            cell += f" ({differences.mean():+.4f}, t {test.t if test and test.t else 0:+.1f})"
        cells.append(cell)
    print(f"{name:14}", "  ".join(cells), flush=True)


def fold_means(values: dict[tuple[int, int], Values], metric: str) -> list[float]:
    """Average a metric over the seeds of each fold."""
    folds = sorted({fold for _, fold in values})
    return [
        float(np.mean([of[metric] for (_, other), of in values.items() if other == fold]))
        for fold in folds
    ]


if __name__ == "__main__":
    main()
