"""Seeds x folds of a data set: every run seeds itself, and what is done is not done again.

The results file is written after every run. A call with the same config and the same input files
finds the newest such results and adds the runs that they lack. Any one run reproduces alone, since
it depends on its seed and fold only: --seed and --fold run it into a results file of its own.

An engine decides where the runs are trained, and in which order they end.
"""

import argparse
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tqdm import tqdm

from base.interrupt import StopRequest
from cross_val.results import (
    Plan,
    Results,
    add,
    alone,
    open_results,
    read_results,
    summarise,
    table,
)
from cross_val.runs import Engine, sequential_engine
from trainer.data import SharedInputs, folds_to_hold_out, read_inputs
from utils.cli import Interrupted
from utils.config import ConfigParser
from utils.errors import ConfigError
from utils.files import write_json
from utils.log import get_logger
from utils.text import shown


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that cross-validation alone has."""
    parser.add_argument("--seed", type=int, metavar="N", help="run this seed only; any seed may be")
    parser.add_argument("--fold", type=int, metavar="K", help="hold out this fold only")
    parser.add_argument("--anew", action="store_true", help="run again what was run before")


def cross_validate(
    config: ConfigParser,
    seed: int | None = None,
    fold: int | None = None,
    anew: bool = False,
    engine: Engine | None = None,
) -> Results:
    """Run what is missing of seeds x folds; print and write the results.

    Args:
        config: checked, with num_cross_val and seeds.
        seed: run this one only.
        fold: hold out this one only.
        anew: run again what was run before, into a new file; a single run always is.
        engine: trains the runs; by default one after the other.

    Raises:
        ConfigError: the config is not one of a cross-validation, or another process runs it.
        DataError: the data set is unfit.
        PathError: its save_dir cannot be written.
        DivergedError: a run diverged; names seed and fold. What was done stays.
        Interrupted: Ctrl-C or SIGTERM came. What was done stays.
    """
    logger = get_logger("cross-val")
    _refuse_unfit(config, seed)
    config.refuse_unwritable()
    is_part = seed is not None or fold is not None
    inputs = read_inputs(config, whole=True)  # what is wrong with it shows before files are made
    plan = _plan(config, _folds(config, inputs), seed, fold)
    config.remove_killed_runs()
    path, results = open_results(config, plan, anew or is_part)
    num_missing, num_runs = len(plan.missing(results)), len(plan.runs())
    logger.info(f"Results: {path}, {num_runs - num_missing} of {num_runs} runs done")
    with alone(path):
        results = read_results(path) or results  # what another process wrote until it let go
        if plan.missing(results):
            with _telling_what_stays():
                _run_missing(config, plan, results, path, engine or sequential_engine(), inputs)
    logger.info(table(results, plan))
    logger.info(f"Written: {path}")
    return results


@contextmanager
def _telling_what_stays() -> Iterator[None]:
    try:
        yield
    except OSError:
        get_logger("cross-val").warning("The runs that are done stay; the same call goes on")
        raise


def _run_missing(
    config: ConfigParser,
    plan: Plan,
    results: Results,
    path: Path,
    engine: Engine,
    inputs: SharedInputs,
) -> None:
    logger = get_logger("cross-val")
    missing = plan.missing(results)
    with (
        StopRequest() as stop,
        tqdm(total=len(missing), desc="runs", unit="run", disable=None) as bar,
        closing(engine(config, missing, bar, inputs)) as finished_runs,
    ):
        for finished in finished_runs:
            add(results, finished)
            if not plan.missing(results):
                results["stats"] |= summarise(results["stats"], plan)
            write_json(results, path)
            bar.update()
            values = "  ".join(
                f"{name} {value:.4f}" for name, value in finished.stats["test"].items()
            )
            logger.info(f"seed {finished.seed}, fold {finished.fold}: test {values}")
            if stop.is_set and plan.missing(results):
                raise Interrupted("interrupted; the same call again goes on", stop.exit_code)


def _refuse_unfit(config: ConfigParser, seed: int | None) -> None:
    if config.resume is not None:
        raise ConfigError(
            "cross-val.py goes on by itself when it is called again; to start every run from "
            "weights, use -o checkpoint=PATH"
        )
    missing = [key for key in ("num_cross_val", "seeds") if key not in config.config]
    if missing:
        raise ConfigError(f"cross-validation needs {' and '.join(missing)} in its config")
    if seed is not None and seed < 0:
        raise ConfigError(f"--seed {seed}: expected 0 or more")


def _folds(config: ConfigParser, inputs: SharedInputs) -> list[int]:
    """Return the numbers of the folds to hold out, the lowest of those that there are."""
    logger, dataset = get_logger("cross-val"), config["data_loader"]["args"]["dataset"]
    folds, remarks = folds_to_hold_out(config, inputs)
    for remark in remarks:
        logger.info(remark)
    wanted, name = config["num_cross_val"], shown(dataset)[1:-1]
    if wanted > len(folds) or len(folds) < 2:
        numbers = ", ".join(map(str, folds)) or "none"
        raise ConfigError(
            f"num_cross_val: {wanted}, but {name} has {len(folds)} folds to hold out ({numbers}); "
            + (f"set -o num_cross_val={len(folds)}" if len(folds) > 1 else "two are the least")
        )
    if wanted < len(folds):
        logger.info(f"{wanted} of the {len(folds)} folds of {name} are held out: num_cross_val")
    return folds[:wanted]


def _plan(config: ConfigParser, folds: list[int], seed: int | None, fold: int | None) -> Plan:
    if fold is not None and fold not in folds:
        raise ConfigError(f"--fold {fold}: expected one of {', '.join(map(str, folds))}")
    return Plan(config["seeds"] if seed is None else [seed], folds if fold is None else [fold])
