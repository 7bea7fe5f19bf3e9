"""A search with Ray Tune, from its config to what it found."""

import errno
import logging
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from base.interrupt import StopRequest
from cluster.code import code_version
from cluster.session import num_at_once, ray_session, refuse_too_much, refuse_unfit_nodes
from search.outcome import Outcome, in_order, outcome_of, report_of, table
from search.plot import plot
from search.recovery import recover, remove_killed_searches
from search.space import BOUNDS, PARAMETERS, Search, searches_dir
from search.trial import DISK_FULL, FAILURE, SILENT, train_trial
from trainer.check import check
from trainer.data import SharedInputs, read_inputs
from trainer.fit import prepare
from utils.cli import Interrupted
from utils.config import ConfigParser
from utils.errors import ConfigError, DataError, SearchError
from utils.figures import optional_picture
from utils.files import read_json_or_none, refuse_unwritable, write_json
from utils.locks import Held, hold, only_one
from utils.log import get_logger
from utils.run_folders import claim_folder, lock_path

CONFIG_NAME = "config.json"
RESULTS_NAME = "results.json"
BEST_CONFIG_NAME = "best-config.json"
PLOT_NAME = "hp-tuning.png"
TUNE_NAME = "tune"
MAX_FAILURES = 3
"""Times a trial goes on from its checkpoint when its process or machine dies."""

REDUCTION_FACTOR = 2
"""ASHA (arXiv 1810.05934) stops all but the best half at 1, 2, 4, ... epochs."""


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
    inputs = [_read_inputs(search)]  # to be handed over: the store alone must hold the data
    remove_killed_searches(searches_dir(search.config), TUNE_NAME)
    with _held(search.config, folder) as folder, _kept_if_begun(folder):
        logger.info(f"Search: {folder}")
        outcomes = _run(search, address, folder.resolve(), inputs)
        try:
            _show(search, outcomes, folder)
        finally:  # last: a search without it goes on
            write_json(report_of(search, outcomes), folder / RESULTS_NAME)
    return folder


@contextmanager
def _held(config: dict[str, Any], folder: Path | None) -> Iterator[Path]:
    """Hold the folder of a search, of a new one if none is given.

    Raises:
        ConfigError: another process holds it.
    """
    held: Held | None
    if folder is None:
        folder, held = claim_folder(searches_dir(config))
    else:
        held = hold(lock_path(folder))
    busy = ConfigError(f"{folder}: another process is running this search")
    if held is None:
        raise busy
    with held:
        if not (folder / CONFIG_NAME).exists():
            write_json(config, folder / CONFIG_NAME)
        with only_one(folder, busy):
            yield folder


@contextmanager
def _kept_if_begun(folder: Path) -> Iterator[None]:
    """Remove a search's folder when not even its first trial could begin."""
    try:
        yield
    finally:
        if not (folder / TUNE_NAME).exists():
            shutil.rmtree(folder, ignore_errors=True)


def find_unfinished(config: dict[str, Any]) -> Path:
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
) -> list[Outcome]:
    source = inputs[0].source
    num_bytes = 0 if source is None else source.num_bytes()
    del source
    recover(folder, TUNE_NAME)
    with ray_session(folder / f".ray-{os.getpid()}", address, num_bytes) as ray:
        refuse_too_much(search.share, ("cpus", "gpus_per_trial"))
        if address is not None:
            refuse_unfit_nodes(ray, folder / CONFIG_NAME)
        num_trials = num_at_once(search.share.resources())
        get_logger("search").info(
            f"Ray: {num_trials} trials at once, cores each: {search.share.cpus}"
        )
        trainable = _trainable(search, inputs.pop())
        return [outcome_of(result) for result in _fit(ray, search, folder, trainable)]


def _fit(ray: Any, search: Search, folder: Path, trainable: Any) -> Any:
    """Run the search, and again the trials whose process died before Ray watched over it.

    Raises:
        OSError: the disk is full.
        Interrupted: as in `search_parameters`.
    """
    for _ in range(MAX_FAILURES):
        with _heeded_signals() as stop:
            results = _tuner(search, folder, trainable).fit()
        if stop.is_set:  # Ray counts the trials under way as done
            raise Interrupted(f"interrupted; go on with --resume {folder}", stop.exit_code)
        if any(DISK_FULL in str((result.metrics or {}).get(FAILURE)) for result in results):
            raise OSError(
                errno.ENOSPC, f"{DISK_FULL}; make room, and go on with --resume", str(folder)
            )
        if not any(isinstance(result.error, ray.exceptions.RayActorError) for result in results):
            break
    return results


def _trainable(search: Search, inputs: SharedInputs) -> Any:
    from ray import tune

    shared = tune.with_parameters(train_trial, search=search, inputs=inputs, code=code_version())
    resources = {name.lower(): amount for name, amount in search.share.resources().items()}
    return tune.with_resources(shared, resources)


def _tuner(search: Search, folder: Path, trainable: Any) -> Any:
    from ray import tune

    from search.display import Display, trial_name

    for name in ("ray", "ray.tune", "ray.train", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # the display tells what matters
    path = folder / TUNE_NAME
    if (path / "tuner.pkl").exists():
        return tune.Tuner.restore(str(path), trainable, resume_errored=True)
    config = search.config
    return tune.Tuner(
        trainable,
        param_space={name: _domain(name, config[name]) for name in PARAMETERS},
        tune_config=tune.TuneConfig(
            metric="val_loss",
            mode="min",
            num_samples=config["num_samples"],
            scheduler=_scheduler(config),
            search_alg=_search_alg(config),
            reuse_actors=True,
            trial_name_creator=trial_name,
            trial_dirname_creator=trial_name,
        ),
        run_config=tune.RunConfig(
            name=TUNE_NAME,
            storage_path=str(folder),
            failure_config=tune.FailureConfig(max_failures=MAX_FAILURES),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=1),
            callbacks=[Display(config["num_samples"], config["max_num_epochs"])],
            verbose=0,
        ),
    )


def _domain(name: str, values: list[Any]) -> Any:
    from ray import tune

    if len(values) == 1:
        return values[0]
    return tune.loguniform(*values) if name in BOUNDS else tune.choice(values)


def _scheduler(config: dict[str, Any]) -> Any:
    from ray.tune.schedulers import ASHAScheduler, FIFOScheduler

    if config["scheduler"].lower() == "fifo":
        return FIFOScheduler()
    return ASHAScheduler(
        time_attr="epoch",
        max_t=config["max_num_epochs"],
        grace_period=1,
        reduction_factor=REDUCTION_FACTOR,
    )


def _search_alg(config: dict[str, Any]) -> Any:
    from ray.tune.search.basic_variant import BasicVariantGenerator

    if config["search_alg"].lower() == "random":
        return BasicVariantGenerator(random_state=config["seed"])
    try:
        import optuna
        from ray.tune.search.optuna import OptunaSearch
    except ImportError:
        raise ConfigError("search_alg optuna is not installed: pip install optuna") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return OptunaSearch(seed=config["seed"])


class _Forwarded(StopRequest):
    """Passes a signal on to Ray Tune, which saves the search and ends it when SIGUSR1 comes."""

    def _note(self, number: int, frame: FrameType | None) -> None:
        super()._note(number, frame)
        if signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL:
            raise KeyboardInterrupt  # the search did not begin yet
        signal.raise_signal(signal.SIGUSR1)


@contextmanager
def _heeded_signals() -> Iterator[StopRequest]:
    before = signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    try:
        with _Forwarded() as stop:
            yield stop
    finally:
        signal.signal(signal.SIGUSR1, before)


def _show(search: Search, outcomes: list[Outcome], folder: Path) -> None:
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
