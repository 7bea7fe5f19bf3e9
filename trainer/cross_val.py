"""Seeds x folds on Adience: every run seeds itself, and what is done is never done again.

The results file is written after every run. A call with the same config looks for the newest
results file that lacks runs and adds them; any one run reproduces alone, since it depends on its
seed and fold only.
"""

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from base.base_trainer import Log
from base.interrupt import StopRequest
from trainer.check import check
from trainer.evaluate import evaluate
from trainer.fit import Fitted, fit, held_out_loader
from utils.checkpoint import environment, load_checkpoint, load_weights
from utils.cli import Interrupted
from utils.config import ConfigParser, claim_path
from utils.errors import ConfigError, DivergedError
from utils.files import read_json, write_json
from utils.log import get_logger

SPLITS = ("train", "val", "test")
SUFFIX = "_cross-val-results.json"
Results = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """The runs of a cross-validation: every seed with every fold."""

    seeds: Sequence[int]
    folds: Sequence[int]

    def runs(self) -> list[tuple[int, int]]:
        """List (seed, fold), seed by seed."""
        return list(itertools.product(self.seeds, self.folds))

    def missing(self, results: Results) -> list[tuple[int, int]]:
        """List the runs that the results lack."""
        return [
            (seed, fold)
            for seed, fold in self.runs()
            if str(fold) not in results["stats"].get(str(seed), {}).get("test", {})
        ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that cross-validation alone has."""
    parser.add_argument("--seed", type=int, metavar="N", help="run this seed only")
    parser.add_argument("--fold", type=int, metavar="K", help="hold out this fold only")


def cross_validate(
    config: ConfigParser, seed: int | None = None, fold: int | None = None
) -> Results:
    """Run what is missing of seeds x folds; print and write the results.

    Args:
        config: checked, with num_cross_val and seeds, of Adience.
        seed: run this one only.
        fold: hold out this one only.

    Raises:
        ConfigError: the config is not one of a cross-validation.
        DivergedError: a run diverged; names seed and fold. What was done stays.
    """
    logger = get_logger("cross-val")
    plan = _plan(config, seed, fold)
    path, results = _open_results(config, plan)
    missing = plan.missing(results)
    logger.info(
        f"Results: {path}, {len(plan.runs()) - len(missing)} of {len(plan.runs())} runs done"
    )
    with StopRequest() as stop:
        for run_seed, run_fold in tqdm(missing, desc="runs", unit="run", disable=None):
            finished = run_one(config, run_seed, run_fold)
            _add(results, finished)
            if not plan.missing(results):
                results["stats"] |= summarise(results["stats"], plan)
            write_json(results, path)
            values = "  ".join(
                f"{name} {value:.4f}" for name, value in finished.stats["test"].items()
            )
            logger.info(f"seed {run_seed}, fold {run_fold}: test {values}")
            if stop.is_set and plan.missing(results):
                raise Interrupted("interrupted; the same call again goes on", stop.exit_code)
    logger.info(table(results, plan))
    logger.info(f"Written: {path}")
    return results


@dataclass(frozen=True)
class Finished:
    """One run: its values by split, the checkpoint they are from, and what they depend on."""

    seed: int
    fold: int
    stats: dict[str, Log]
    best_path: Path
    environment: dict[str, Any]


def run_one(config: ConfigParser, seed: int, fold: int) -> Finished:
    """Train with one seed and one fold held out; evaluate its best epoch on all three splits.

    Raises:
        DivergedError: names seed and fold.
        Interrupted: Ctrl-C or SIGTERM came; this run is lost, those before are not.
    """
    run = ConfigParser(
        config.config,
        modification={"seed": seed, "data_loader.args.test_cross_val": fold},
        check=check,
    )
    try:
        fitted = fit(run)
        stats = _evaluate_best(run, fitted)
    except DivergedError as error:
        raise DivergedError(f"seed {seed}, fold {fold}: {error}") from None
    except Interrupted as interrupted:
        raise Interrupted(
            f"interrupted in seed {seed}, fold {fold}; the same call again goes on with that run",
            interrupted.exit_code,
        ) from None
    return Finished(seed, fold, stats, fitted.best_path, environment(fitted.setup.precision))


def _evaluate_best(config: ConfigParser, fitted: Fitted) -> dict[str, Log]:
    setup = fitted.setup
    load_weights(setup.model, load_checkpoint(fitted.best_path))
    test = held_out_loader(config)
    loaders = {
        "train": setup.train_loader.unshuffled(setup.train_loader.rows),
        "val": setup.valid_loader,
        "test": test.unshuffled(test.rows),
    }
    return {
        split: evaluate(setup.model, loader, setup.criterion, setup.metrics, setup.precision)
        for split, loader in loaders.items()
        if loader is not None
    }


def summarise(stats: Results, plan: Plan) -> dict[str, float]:
    """Give mean and population standard deviation of every value over all runs."""
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
    summary = results["stats"]
    metrics = [key[len("test_") : -len("_mean")] for key in summary if key.startswith("test_")]
    metrics = [metric for metric in dict.fromkeys(metrics) if f"test_{metric}_mean" in summary]
    splits = [split for split in SPLITS if f"{split}_loss_mean" in summary]
    width = max(map(len, metrics)) + 2
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


def _plan(config: ConfigParser, seed: int | None, fold: int | None) -> Plan:
    content = config.config
    missing = [key for key in ("num_cross_val", "seeds") if key not in content]
    if missing:
        raise ConfigError(f"cross-validation needs {' and '.join(missing)} in its config")
    if content["data_loader"]["args"]["dataset"].lower() != "adience":
        raise ConfigError(
            "cross-validation needs the folds of Adience: set data_loader.args.dataset"
        )
    if config.resume is not None:
        raise ConfigError(
            "cross-val.py goes on by itself when it is called again; to start every run from "
            "weights, use -o checkpoint=PATH"
        )
    folds = range(content["num_cross_val"])
    if fold is not None and fold not in folds:
        raise ConfigError(f"--fold {fold}: expected one of {', '.join(map(str, folds))}")
    if seed is not None and seed < 0:
        raise ConfigError(f"--seed {seed}: expected 0 or more")
    return Plan(
        content["seeds"] if seed is None else [seed], list(folds) if fold is None else [fold]
    )


def _open_results(config: ConfigParser, plan: Plan) -> tuple[Path, Results]:
    """Find the newest unfinished results of the same config and runs, or name a new file."""
    save_dir = Path(config["trainer"]["save_dir"])
    fresh: Results = {
        "config": config.config,
        "seeds": list(plan.seeds),
        "folds": list(plan.folds),
        "environment": {},
        "checkpoints": {},
        "stats": {},
    }
    for path in sorted(save_dir.glob(f"*{SUFFIX}"), reverse=True):
        results = _read_results(path)
        same = all(results.get(key) == fresh[key] for key in ("config", "seeds", "folds"))
        if same and plan.missing(results):
            return path, results
    path = claim_path(save_dir, SUFFIX)
    write_json(fresh, path)
    return path, fresh


def _read_results(path: Path) -> Results:
    """Read a results file; a foreign one, or one that a kill left empty, holds nothing."""
    try:
        results = read_json(path)
    except ConfigError as error:
        get_logger("cross-val").warning(f"{error}: passed over")
        return {}
    return results if isinstance(results, dict) else {}


def _add(results: Results, finished: Finished) -> None:
    seed, fold = str(finished.seed), str(finished.fold)
    of_seed = results["stats"].setdefault(seed, {})
    for split, log in finished.stats.items():
        of_seed.setdefault(split, {})[fold] = log
    results["checkpoints"].setdefault(seed, {})[fold] = str(finished.best_path)
    if results["environment"] and results["environment"] != finished.environment:
        get_logger("cross-val").warning(
            f"seed {seed}, fold {fold} ran in another environment than the first run: "
            f"{finished.environment}, not {results['environment']}"
        )
    results["environment"] = results["environment"] or finished.environment
