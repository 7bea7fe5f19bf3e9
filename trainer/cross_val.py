"""Seeds x folds on Adience: every run seeds itself, and what is done is not done again.

The results file is written after every run. A call with the same config and the same input files
finds the newest such results and adds the runs that they lack. Any one run reproduces alone, since
it depends on its seed and fold only: --seed and --fold run it into a results file of its own.
"""

import argparse
import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from base.base_trainer import Log
from base.interrupt import StopRequest
from data_loader.faces import data_path, read_faces
from trainer.check import check
from trainer.evaluate import evaluate
from trainer.fit import Fitted, fit, held_out_loader
from utils.checkpoint import environment, load_checkpoint, load_weights
from utils.cli import Interrupted
from utils.config import ConfigParser, claim_path
from utils.errors import ConfigError, DivergedError
from utils.files import only_one, read_json, write_json
from utils.log import get_logger
from utils.runtime import choose_device, choose_precision

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
    parser.add_argument("--seed", type=int, metavar="N", help="run this seed only; any seed may be")
    parser.add_argument("--fold", type=int, metavar="K", help="hold out this fold only")
    parser.add_argument("--anew", action="store_true", help="run again what was run before")


def cross_validate(
    config: ConfigParser, seed: int | None = None, fold: int | None = None, anew: bool = False
) -> Results:
    """Run what is missing of seeds x folds; print and write the results.

    Args:
        config: checked, with num_cross_val and seeds, of Adience.
        seed: run this one only.
        fold: hold out this one only.
        anew: run again what was run before, into a new file; a single run always is.

    Raises:
        ConfigError: the config is not one of a cross-validation, or another process runs it.
        DivergedError: a run diverged; names seed and fold. What was done stays.
        Interrupted: Ctrl-C or SIGTERM came. What was done stays.
    """
    logger = get_logger("cross-val")
    plan = _plan(config, seed, fold)
    is_part = seed is not None or fold is not None
    device, line = choose_device(config["n_gpu"])
    logger.info(f"{line}, {choose_precision(config['amp'], device)}")
    _check_inputs(config)
    path, results = _open_results(config, plan, anew or is_part)
    num_missing, num_runs = len(plan.missing(results)), len(plan.runs())
    logger.info(f"Results: {path}, {num_runs - num_missing} of {num_runs} runs done")
    with _alone(path):
        results = _read_results(path)  # what another process wrote until it let go
        _run_missing(config, plan, results, path)
    logger.info(table(results, plan))
    logger.info(f"Written: {path}")
    return results


def _check_inputs(config: ConfigParser) -> None:
    """Read data and weights once, so that what is wrong with them shows before any file is made."""
    read_faces(config["data_loader"]["args"]["data_dir"], "Adience")
    if config["checkpoint"] is not None:
        load_checkpoint(config["checkpoint"])


def _run_missing(config: ConfigParser, plan: Plan, results: Results, path: Path) -> None:
    logger = get_logger("cross-val")
    with StopRequest() as stop:
        for seed, fold in tqdm(plan.missing(results), desc="runs", unit="run", disable=None):
            finished = run_one(config, seed, fold)
            _add(results, finished)
            if not plan.missing(results):
                results["stats"] |= summarise(results["stats"], plan)
            write_json(results, path)
            values = "  ".join(
                f"{name} {value:.4f}" for name, value in finished.stats["test"].items()
            )
            logger.info(f"seed {seed}, fold {fold}: test {values}")
            get_logger("checkpoint", verbosity=0)  # what it says of the weights was said once
            if stop.is_set and plan.missing(results):
                raise Interrupted("interrupted; the same call again goes on", stop.exit_code)


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
            f"interrupted in seed {seed}, fold {fold}; the same call again begins with that run",
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


def _plan(config: ConfigParser, seed: int | None, fold: int | None) -> Plan:
    if config.resume is not None:
        raise ConfigError(
            "cross-val.py goes on by itself when it is called again; to start every run from "
            "weights, use -o checkpoint=PATH"
        )
    content = config.config
    missing = [key for key in ("num_cross_val", "seeds") if key not in content]
    if missing:
        raise ConfigError(f"cross-validation needs {' and '.join(missing)} in its config")
    if content["data_loader"]["args"]["dataset"].lower() != "adience":
        raise ConfigError(
            "cross-validation needs the folds of Adience: set data_loader.args.dataset"
        )
    folds = range(content["num_cross_val"])
    if fold is not None and fold not in folds:
        raise ConfigError(f"--fold {fold}: expected one of {', '.join(map(str, folds))}")
    if seed is not None and seed < 0:
        raise ConfigError(f"--seed {seed}: expected 0 or more")
    return Plan(
        content["seeds"] if seed is None else [seed], list(folds) if fold is None else [fold]
    )


def _open_results(config: ConfigParser, plan: Plan, anew: bool) -> tuple[Path, Results]:
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
        results = _read_results(path)
        if all(results.get(key) == fresh[key] for key in same):
            return path, results
    path = claim_path(save_dir, SUFFIX)
    write_json(fresh, path)
    return path, fresh


def _inputs(config: ConfigParser) -> dict[str, list[int]]:
    """Tell the input files apart from later ones of the same name: size and time of change."""
    arguments = config["data_loader"]["args"]
    paths = [data_path(arguments["data_dir"], "Adience"), Path(config["checkpoint"] or "")]
    status = {str(path): path.stat() for path in paths if path.is_file()}
    return {path: [found.st_size, found.st_mtime_ns] for path, found in status.items()}


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other processes from adding to the same results.

    Raises:
        ConfigError: another one is at it.
    """
    lock = path.with_name(f".{path.name}.lock")
    lock.touch()
    busy = ConfigError(f"{path}: another process is running this cross-validation")
    with only_one(lock, busy):
        try:
            yield
        finally:
            lock.unlink()


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
