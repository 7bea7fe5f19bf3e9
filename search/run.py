"""A search with Ray Tune, from its config to what it found."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.session import num_at_once, ray_session, refuse_too_much, refuse_unfit_nodes
from search.outcome import TrialOutcome, in_order, outcome_of, report_of, table
from search.plot import plot
from search.recovery import recover, remove_killed_searches
from search.space import PARAMETERS, Search, searches_dir
from search.trial import SILENT
from search.tuner import TUNE_NAME, run_trials
from trainer.check import check
from trainer.data import SharedInputs, read_inputs
from trainer.fit import prepare
from utils.config import ConfigParser
from utils.errors import ConfigError, DataError, SearchError
from utils.figures import optional_picture
from utils.files import read_json_or_none, refuse_unwritable, write_json
from utils.locks import Held, hold
from utils.log import get_logger
from utils.options import Config
from utils.run_folders import claim_folder, lock_path

CONFIG_NAME = "config.json"
RESULTS_NAME = "results.json"
BEST_CONFIG_NAME = "best-config.json"
PLOT_NAME = "hp-tuning.png"


def search_parameters(search: Search, address: str | None, folder: Path | None = None) -> Path:
    """Search, or go on with a search; write and print what it found.

    Args:
        search: checked.
        address: of a running cluster; None starts Ray on this machine.
        folder: of an interrupted search of the same config; None begins a new one.

    Returns:
        The search's folder.

    Raises:
        UserError: something outside is unfit, or no trial finished; the message says what to do.
        Interrupted: Ctrl-C or SIGTERM came; the search can go on.
    """
    logger = get_logger("search")
    refuse_unwritable(folder or searches_dir(search.config))
    inputs = [_read_inputs(search)]  # handed over: see _run
    remove_killed_searches(searches_dir(search.config), TUNE_NAME)
    with _search_folder(search.config, folder) as folder:
        logger.info(f"Search: {folder}")
        outcomes = _run(search, address, folder.resolve(), inputs)
        try:
            _show(search, outcomes, folder)
        finally:  # last: a search without it goes on
            write_json(report_of(search, outcomes), folder / RESULTS_NAME)
    return folder


@contextmanager
def _search_folder(config: Config, folder: Path | None) -> Iterator[Path]:
    """Hold the folder of a search, of a new one if none is given.

    It is removed when not even the first trial could begin.

    Raises:
        ConfigError: another process holds it.
    """
    held: Held | None
    if folder is None:
        folder, held = claim_folder(searches_dir(config))
    else:
        held = hold(lock_path(folder))
    if held is None:
        raise ConfigError(f"{folder}: another process is running this search")
    with held:
        if not (folder / CONFIG_NAME).exists():
            write_json(config, folder / CONFIG_NAME)
        try:
            yield folder
        finally:
            if not (folder / TUNE_NAME).exists():
                shutil.rmtree(folder, ignore_errors=True)


def find_unfinished(config: Config) -> Path:
    """Find the newest search of this config that was interrupted.

    Raises:
        ConfigError: there is none.
    """
    parent = searches_dir(config)
    for folder in sorted(parent.glob("*/"), reverse=True):
        path = folder / CONFIG_NAME
        is_open = path.is_file() and not (folder / RESULTS_NAME).exists()
        if is_open and read_json_or_none(path) == config:
            return folder
    raise ConfigError(
        f"--resume: no interrupted search of this config in {parent}; leave --resume out to begin "
        "one, or name its folder"
    )


def _read_inputs(search: Search) -> SharedInputs:
    """Read the data, and let one training be prepared, before anything is started or written."""
    first = {name: search.config[name][0] for name in PARAMETERS}
    config = ConfigParser(search.training_config(first), modification=SILENT, check=check)
    inputs = read_inputs(config, whole=False)
    setup = prepare(config, inputs)
    if setup.valid_loader is None:
        raise DataError("the search compares trials on validation rows, and there are none")
    get_logger("search").info(
        f"{search.config['num_samples']} trials on {search.config['dataset']}: "
        f"{setup.train_loader.n_samples:,} to train on, {setup.valid_loader.n_samples:,} to "
        f"validate, {setup.precision}; searched: {', '.join(search.searched) or 'nothing'}"
    )
    return inputs


def _run(
    search: Search, address: str | None, folder: Path, inputs: list[SharedInputs]
) -> list[TrialOutcome]:
    """Run the trials on Ray; the inputs are handed over, so that its store alone holds the data."""
    source = inputs[0].source
    num_bytes = 0 if source is None else source.num_bytes()
    del source
    recover(folder, TUNE_NAME)
    with ray_session(folder / f".ray-{os.getpid()}", address, num_bytes, needs_tune=True) as ray:
        refuse_too_much(search.share, ("cpus", "gpus_per_trial"))
        if address is not None:
            refuse_unfit_nodes(ray, folder / CONFIG_NAME)
        num_trials = num_at_once(search.share.resources())
        get_logger("search").info(
            f"Ray: {num_trials} trials at once, cores each: {search.share.cpus}"
        )
        return [outcome_of(result) for result in run_trials(ray, search, folder, inputs.pop())]


def _show(search: Search, outcomes: list[TrialOutcome], folder: Path) -> None:
    """Print the best trials; write the config of the best one, and the plot.

    Raises:
        SearchError: no trial finished.
    """
    logger = get_logger("search")
    finished = in_order(outcomes)
    failed = [outcome for outcome in outcomes if not outcome.is_finished]
    if not finished:
        reason = f"; the first: {failed[0].failure}" if failed else ""
        raise SearchError(f"none of {len(outcomes)} trials finished{reason} (all: {folder})")
    logger.info(table(finished, search.config["max_num_epochs"]))
    if failed:
        logger.warning(f"{len(failed)} of {len(outcomes)} trials failed: {folder / RESULTS_NAME}")
    write_json(search.training_config(finished[0].values), folder / BEST_CONFIG_NAME)
    with optional_picture(folder / PLOT_NAME):
        plot(finished, search, folder / PLOT_NAME)
    logger.info(f"All trials: {folder / PLOT_NAME}, {folder / RESULTS_NAME}")
    logger.info(f"Train with the best: python train.py -c {folder / BEST_CONFIG_NAME}")
