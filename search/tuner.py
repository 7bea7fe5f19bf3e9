"""Ray Tune on the trials of a search: what is drawn, how many at once, and how it ends."""

import errno
import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from base.interrupt import StopRequest
from cluster.code import code_version
from search.recovery import TUNER
from search.space import BOUNDS, PARAMETERS, Search
from search.trial import DISK_FULL, FAILURE, train_trial
from trainer.data import SharedInputs
from utils.cli import Interrupted
from utils.errors import ConfigError
from utils.options import Config
from utils.text import in_one_line

TUNE_NAME = "tune"
"""Ray's folder in that of a search."""

MAX_FAILURES = 3
"""Times a trial goes on from its checkpoint when its process or machine dies."""

REDUCTION_FACTOR = 2
"""ASHA (arXiv 1810.05934) stops all but the best half at 1, 2, 4, ... epochs."""


def run_trials(ray: Any, search: Search, folder: Path, inputs: SharedInputs) -> Any:
    """Run the search, and again the trials whose process died before Ray watched over it.

    Args:
        ray: connected.
        search: checked.
        folder: of the search; one that was interrupted goes on.
        inputs: what all trials read.

    Returns:
        Ray's results, one a trial.

    Raises:
        OSError: the disk is full.
        Interrupted: Ctrl-C or SIGTERM came; the search can go on.
    """
    from ray import tune

    shared = tune.with_parameters(train_trial, search=search, inputs=inputs, code=code_version())
    resources = {name.lower(): amount for name, amount in search.share.resources().items()}
    trainable = tune.with_resources(shared, resources)
    for _ in range(MAX_FAILURES):
        with _forwarded_signals() as stop:
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


def _tuner(search: Search, folder: Path, trainable: Any) -> Any:
    from ray import tune

    from search.display import Display, trial_name

    for name in ("ray", "ray.tune", "ray.train", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # the display tells what matters
    path = folder / TUNE_NAME
    if (path / TUNER).exists():
        return _restored(path, trainable)
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


def _restored(path: Path, trainable: Any) -> Any:
    from ray import tune

    try:
        return tune.Tuner.restore(str(path), trainable, resume_errored=True)
    except Exception as error:  # whatever a damaged pickle, or one of another version, makes
        raise ConfigError(
            f"{path}: the state of the search cannot be read ({in_one_line(error)}); begin a new "
            "one, without --resume"
        ) from error


def _domain(name: str, values: list[Any]) -> Any:
    from ray import tune

    if len(values) == 1:
        return values[0]
    return tune.loguniform(*values) if name in BOUNDS else tune.choice(values)


def _scheduler(config: Config) -> Any:
    from ray.tune.schedulers import ASHAScheduler, FIFOScheduler

    asha = ASHAScheduler(
        time_attr="epoch",
        max_t=config["max_num_epochs"],
        grace_period=1,
        reduction_factor=REDUCTION_FACTOR,
    )
    return {"asha": asha, "fifo": FIFOScheduler()}[config["scheduler"].lower()]


def _search_alg(config: Config) -> Any:
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
def _forwarded_signals() -> Iterator[StopRequest]:
    before = signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    try:
        with _Forwarded() as stop:
            yield stop
    finally:
        signal.signal(signal.SIGUSR1, before)
