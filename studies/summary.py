"""Every number of the report, as plain values."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_loader.faces import read_extractors
from studies.calibration import error_by_age, reliability, risk_coverage
from studies.comparing import adjust, compare
from studies.groups import GENDERS, age_group_names, class_table, confusion, fairness
from studies.intervals import bootstrap
from studies.leakage import Duplicates, compare_by_image, shared_between_splits, worst_of_runs
from studies.metrics import Scores, score
from studies.protocols import PROTOCOLS
from studies.published import FIGURES
from studies.results import Result, Run, read_results
from studies.sums import Layout, columns_of, evaluate, subject_codes
from trainer.components import COMPONENTS
from utils.errors import UserError
from utils.labels import ages_to_classes

Summary = dict[str, Any]
LOADER = COMPONENTS["data_loader"]["AgeDataLoader"]
Runs = list[Scores]

HEADLINE = {
    "gender": ("accuracy",),
    "age8": ("accuracy", "one_off_accuracy", "mae"),
    "age101": ("accuracy", "accuracy_relaxed", "mae"),
}
"""Metrics of each task in the table of all results."""


def summarise(folder: Path) -> Summary:
    """Compute all that the report shows from what the runs left.

    Args:
        folder: of the study; holds `<task>-<protocol>.json`.

    Returns:
        plain values without NaN: "study", "results" (one entry for each task and protocol, with
        "is_run" false where it was not run), "comparisons", "by_image", "duplicates".

    Raises:
        DataError: no such folder, or a file of it is damaged.
    """
    folder = Path(folder)
    found = read_results(folder)
    results: list[Summary] = []
    differences: list[Summary] = []
    by_image: list[Summary] = []
    duplicates = Duplicates()
    for (task, protocol), result in found.items():
        if result is None:
            results.append({"task": task, "protocol": protocol, "is_run": False})
            continue
        entry, judged = _summarise_result(result)
        duplicates.add(result, judged)
        results.append(entry)
        differences.extend(compare(entry))
        if protocol == "d":
            by_image.extend(compare_by_image(folder, task, entry["runs"]))
    summary: Summary = plain(
        {
            "study": folder.name,
            "protocols": PROTOCOLS,
            "results": results,
            "comparisons": adjust(differences),
            "by_image": by_image,
            "duplicates": duplicates.found,
        }
    )
    return summary


def plain(content: Any) -> Any:
    """Copy nested values as what JSON knows; NaN and infinite numbers become None.

    >>> plain({"a": (np.float64(1.5), float("nan")), 2: np.arange(2)})
    {'a': [1.5, None], '2': [0, 1]}
    """
    if isinstance(content, dict):
        return {str(key): plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [plain(value) for value in content]
    if isinstance(content, np.ndarray | np.generic):
        return plain(content.tolist())
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content


def _summarise_result(result: Result) -> tuple[Summary, Runs]:
    """Give the entry of a result, and the scores of the split that it is judged by."""
    scores = {
        split: [score(predictions, result.task) for predictions in result.read(split)]
        for split in result.splits
    }
    values = {split: [evaluate(run) for run in runs] for split, runs in scores.items()}
    judged = scores[result.judged]
    entry = {
        "task": result.task,
        "protocol": result.protocol,
        "is_run": True,
        "config": result.config,
        "engine": result.engine,
        "seconds": result.seconds,
        "num_runs": len(result.runs),
        "judged": result.judged,
        "headline": HEADLINE[result.task],
        "runs": _runs(result, values),
        "splits": {split: _split(runs, values[split]) for split, runs in scores.items()},
        "baselines": _baselines(result),
        "published": {
            metric: vars(figure)
            for (task, protocol, metric), figure in FIGURES.items()
            if (task, protocol) == (result.task, result.protocol)
        },
        "learning": learning_curves(result.runs),
        "shared": _shared(scores),
        "data": _data(result, [run for runs in scores.values() for run in runs]),
    }
    return entry | _details(judged), judged


def _runs(result: Result, values: dict[str, list[dict[str, float]]]) -> list[Summary]:
    return [
        {
            "seed": run.seed,
            "fold": run.fold,
            "epochs": len(run.epochs),
            "splits": {split: of_runs[place] for split, of_runs in values.items()},
        }
        for place, run in enumerate(result.runs)
    ]


def _shared(scores: dict[str, Runs]) -> list[Summary]:
    """Tell what the splits of a run share, of the run that shares most."""
    of_runs = zip(*scores.values(), strict=True)
    return worst_of_runs(
        [
            shared_between_splits(
                {split: run.faces for split, run in zip(scores, runs, strict=True)}
            )
            for runs in of_runs
        ]
    )


def _details(judged: Runs) -> Summary:
    return {
        "confusion": confusion(judged),
        "classes": class_table(judged),
        "fairness": fairness(judged),
        "reliability": reliability(judged),
        "risk_coverage": risk_coverage(judged),
        "error_by_age": error_by_age(judged),
    }


def _split(runs: Runs, values: Sequence[dict[str, float]]) -> Summary:
    """Give mean, population std over runs and bootstrap interval of every metric of a split."""
    codes, num_subjects = subject_codes([run.faces for run in runs])
    columns = [columns_of(run, code, num_subjects) for run, code in zip(runs, codes, strict=True)]
    intervals = bootstrap(columns, Layout(runs[0].task).metrics)
    faces = np.unique(np.concatenate([run.faces.row for run in runs]))
    return {
        "faces": len(faces),
        "faces_a_run": float(np.mean([len(run) for run in runs])),
        "subjects": num_subjects,
        "num_runs": len(runs),
        "metrics": {
            name: {
                "mean": found.value,
                "std": float(np.std([of_run[name] for of_run in values])),
                "low": found.low,
                "high": found.high,
            }
            for name, found in intervals.items()
        },
    }


def _baselines(result: Result) -> dict[str, Summary]:
    found = {}
    for name, runs in result.baselines.items():
        usable = [run for run in runs if result.judged in run.files]
        scores = [score(one, result.task) for one in result.read(result.judged, usable)]
        if scores:
            values = [evaluate(run) for run in scores]
            found[name] = _split(scores, values) | {
                "runs": [
                    {"seed": run.seed, "fold": run.fold, "values": of_run}
                    for run, of_run in zip(usable, values, strict=True)
                ]
            }
    return found


def learning_curves(runs: Sequence[Run]) -> Summary:
    """Average each logged value over the runs that came to an epoch.

    Returns:
        {"epochs": [1, ...], "curves": {name: {"mean", "low", "high"}}}; low and high are one
        population std away.
    """
    length = max(len(run.epochs) for run in runs)
    names = ("loss", "val_loss", "accuracy", "val_accuracy")
    curves = {}
    for name in names:
        table = np.full((len(runs), length), np.nan)
        for place, run in enumerate(runs):
            logged = [epoch.get(name) for epoch in run.epochs]
            table[place, : len(logged)] = [np.nan if one is None else one for one in logged]
        if length and not np.isnan(table).all(axis=0).any():
            mean, spread = np.nanmean(table, axis=0), np.nanstd(table, axis=0)
            curves[name] = {"mean": mean, "low": mean - spread, "high": mean + spread}
    return {"epochs": list(range(1, length + 1)), "curves": curves}


def _data(result: Result, runs: Runs) -> Summary:
    """Describe the faces that a result's runs were trained and judged on."""
    row = np.concatenate([run.faces.row for run in runs])
    _, first = np.unique(row, return_index=True)
    columns = {
        name: np.concatenate([getattr(run.faces, name) for run in runs])[first]
        for name in ("source", "subject", "gender", "age")
    }
    groups = ages_to_classes(columns["age"], 8)
    known = columns["subject"] != ""
    names = np.strings.add(columns["source"][known], columns["subject"][known])
    settings = result.config.get("data_loader", {}).get("args", {})
    dataset, data_dir = str(settings.get("dataset", "")), settings.get("data_dir")
    return {
        "dataset": dataset,
        "validation_by": settings.get("validation_by", LOADER.default("validation_by")),
        "faces": len(first),
        "subjects": len(np.unique(names)),
        "faces_of_unknown": int((~known).sum()),
        "sources": _counts(columns["source"]),
        "genders": {GENDERS[k]: n for k, n in _counts(columns["gender"]).items() if k in GENDERS},
        "ages": {name: int((groups == one).sum()) for one, name in enumerate(age_group_names())},
        "extractors": _extractors(data_dir, dataset),
    }


def _counts(column: NDArray[Any]) -> dict[str, int]:
    names, counts = np.unique(column, return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


def _extractors(data_dir: Any, dataset: str) -> dict[str, Any]:
    try:
        return read_extractors(str(data_dir), dataset)
    except (UserError, OSError, KeyError):
        return {}
