"""The results file of a cross-validation: every value of every run, and what they depend on."""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, ConfigDict, Field

from cross_val.runs import RunKey, RunResult
from data_loader.data_sets import parts_of
from utils.config import ConfigParser
from utils.errors import ConfigError
from utils.files import file_stamps, read_json_or_none
from utils.locks import hold
from utils.log import get_logger
from utils.problems import JsonObject, problems_in
from utils.run_folders import lock_path, write_claimed_json

SPLITS = ("train", "val", "test")
SUFFIX = "_cross-val-results.json"
Results = dict[str, Any]

Value = Annotated[float, Field(ge=-1e100, le=1e100)]
"""A loss or a metric, whose square is a number as well."""

Split = Literal["train", "val", "test"]
Number = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,18})$")]
"""A seed or a fold, as a key of JSON."""


def _seeds_or_summary(stats: dict[str, Any]) -> dict[str, Any]:
    if any(isinstance(value, dict) is not key.isdecimal() for key, value in stats.items()):
        raise ValueError("holds something else than values by seed and their summary")
    return stats


class ResultsFile(JsonObject):
    """What a file holds to which the runs that it lacks can be added."""

    model_config = ConfigDict(extra="ignore")

    config: dict[str, Any]
    stats: Annotated[
        dict[str, dict[Split, dict[Number, dict[str, Value]]] | float],
        AfterValidator(_seeds_or_summary),
    ]
    checkpoints: dict[Number, dict[Number, str]]
    environment: dict[str, Any]
    other_environments: dict[Number, dict[Number, dict[str, Any]]] = Field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """The runs of a cross-validation: every seed with every fold."""

    seeds: Sequence[int]
    folds: Sequence[int]

    def runs(self) -> list[RunKey]:
        """List (seed, fold), seed by seed."""
        return list(itertools.product(self.seeds, self.folds))

    def missing(self, results: Results) -> list[RunKey]:
        """List the runs that the results lack, or of which they lack a split or a value."""
        stats = {seed: of for seed, of in results["stats"].items() if isinstance(of, dict)}
        splits = {"train", "test"}.union(*stats.values())
        names = {"loss", *results["config"]["metrics"]}

        def is_whole(seed: str, fold: str) -> bool:
            of_seed = stats.get(seed, {})
            logs = (of_seed.get(split, {}).get(fold, {}) for split in splits)
            has_checkpoint = fold in results["checkpoints"].get(seed, {})
            return has_checkpoint and all(log.keys() == names for log in logs)

        return [run for run in self.runs() if not is_whole(*map(str, run))]


def open_results(config: ConfigParser, plan: Plan, anew: bool) -> tuple[Path, Results]:
    """Find the newest results of the same config, runs and input files, or make a new file."""
    save_dir = Path(config["trainer"]["save_dir"])
    fresh: Results = {
        "config": config.config,
        "seeds": list(plan.seeds),
        "folds": list(plan.folds),
        "inputs": _inputs(config),
        "environment": {},
        "checkpoints": {},
        "stats": {},
    }
    same = ("config", "seeds", "folds", "inputs")
    for path in [] if anew else sorted(save_dir.glob(f"*{SUFFIX}"), reverse=True):
        results = read_results(path)
        if all(results.get(key) == fresh[key] for key in same):
            return path, results
    return write_claimed_json(fresh, save_dir, SUFFIX), fresh


def _inputs(config: ConfigParser) -> dict[str, list[int]]:
    """Return size and time of change of the input files, which tell them from later ones."""
    arguments = config["data_loader"]["args"]
    parts = parts_of(arguments["data_dir"], arguments["dataset"])
    return file_stamps([*(part.path for part in parts), Path(config["checkpoint"] or "")])


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Keep other processes from adding to the same results.

    Raises:
        ConfigError: another one is at it.
    """
    held = hold(lock_path(path))
    if held is None:
        raise ConfigError(f"{path}: another process is running this cross-validation")
    with held:
        yield


def read_results(path: Path) -> Results:
    """Read a results file; a foreign one, or one that a kill left empty, holds nothing."""
    results: Results | None = read_json_or_none(path)
    if results is None:
        return {}
    if problems := problems_in(ResultsFile, results):
        get_logger("files").warning(f"{path}: {problems[0]}: passed over")
        return {}
    return results


def add(results: Results, finished: RunResult) -> None:
    """Add a run; one that another environment trained is told, and recorded."""
    seed, fold = str(finished.seed), str(finished.fold)
    of_seed = results["stats"].setdefault(seed, {})
    for split, log in finished.stats.items():
        of_fold = {**of_seed.get(split, {}), fold: log}
        of_seed[split] = {name: of_fold[name] for name in sorted(of_fold, key=int)}
    results["checkpoints"].setdefault(seed, {})[fold] = str(finished.best_path)
    if results["environment"] and results["environment"] != finished.environment:
        get_logger("cross-val").warning(
            f"seed {seed}, fold {fold} ran in another environment than the first run: "
            f"{finished.environment}, not {results['environment']}"
        )
        results.setdefault("other_environments", {}).setdefault(seed, {})[fold] = (
            finished.environment
        )
    results["environment"] = results["environment"] or finished.environment


def summarise(stats: Results, plan: Plan) -> dict[str, float]:
    """Return mean and population standard deviation of every value over all runs."""
    summary = {}
    first = stats[str(plan.seeds[0])]
    for split in (split for split in SPLITS if first.get(split)):
        for metric in first[split][str(plan.folds[0])]:
            values = _values(stats, plan, split, metric)
            summary[f"{split}_{metric}_mean"] = float(values.mean())
            summary[f"{split}_{metric}_std"] = float(values.std())
    return summary


def table(results: Results, plan: Plan) -> str:
    """Lay out mean +- std of every value as text."""
    summary = summarise(results["stats"], plan)
    metrics = [
        key.removeprefix("test_").removesuffix("_mean")
        for key in summary
        if key.startswith("test_") and key.endswith("_mean")
    ]
    splits = [split for split in SPLITS if f"{split}_loss_mean" in summary]
    width = max(map(len, metrics)) + 2
    if len(plan.runs()) == 1:
        lines = [f"1 run: seed {plan.seeds[0]}, fold {plan.folds[0]} held out"]
    else:
        lines = [f"{len(plan.runs())} runs: {len(plan.seeds)} seeds x {len(plan.folds)} folds"]
    lines.append(" " * width + "".join(f"{split:>20}" for split in splits))
    for metric in metrics:
        cells = (
            f"{summary[f'{split}_{metric}_mean']:.4f} +- {summary[f'{split}_{metric}_std']:.4f}"
            for split in splits
        )
        lines.append(f"{metric:<{width}}" + "".join(f"{cell:>20}" for cell in cells))
    return "\n".join(lines)


def _values(stats: Results, plan: Plan, split: str, metric: str) -> NDArray[np.float64]:
    return np.array([stats[str(seed)][split][str(fold)][metric] for seed, fold in plan.runs()])
