"""One run of a cross-validation: a seed, with a fold held out."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from base.base_trainer import Setup
from base.device import choose_device, environment, limited_threads, precision_of
from base.epoch_files import Log
from trainer.check import check
from trainer.data import NO_INPUTS, SharedInputs, held_out_loader
from trainer.evaluate import evaluate
from trainer.fit import fit
from utils.checkpoint import load_checkpoint
from utils.cli import Interrupted
from utils.config import ConfigParser
from utils.errors import DivergedError
from utils.log import get_logger
from utils.weights import load_weights

RunKey = tuple[int, int]
"""Seed, and the fold held out."""


@dataclass(frozen=True)
class RunResult:
    """One run: its values by split, the checkpoint they are from, and what they depend on."""

    seed: int
    fold: int
    stats: dict[str, Log]
    best_path: Path
    environment: dict[str, Any]


Engine = Callable[
    [ConfigParser, Sequence[RunKey], Any, SharedInputs], Generator[RunResult, None, None]
]
"""Trains runs and yields each when it is done, in any order.

Takes the config, the runs (seed, fold) to do, a tqdm bar whose postfix may tell of runs under way,
and the data as read. Raises what `run_one` does, once the runs that were done before have been
yielded.
"""


def sequential_engine(threads: int | None = None) -> Engine:
    """Make the engine that trains one run after the other in this process.

    Args:
        threads: of torch; None leaves their number as it is.
    """

    def run(
        config: ConfigParser, runs: Sequence[RunKey], bar: Any, inputs: SharedInputs
    ) -> Generator[RunResult, None, None]:
        with limited_threads(threads):
            device, line = choose_device(config["n_gpu"])
            precision = precision_of(config, device)
            get_logger("cross-val").info(f"{line}, {precision}")
            for seed, fold in runs:
                yield run_one(config, seed, fold, inputs=inputs)
                get_logger("checkpoint", verbosity=0)  # what it says of the weights was said once

    return run


def run_one(
    config: ConfigParser,
    seed: int,
    fold: int,
    on_epoch: Callable[[Log], None] | None = None,
    inputs: SharedInputs = NO_INPUTS,
) -> RunResult:
    """Train with one seed and one fold held out; evaluate its best epoch on all three splits.

    Args:
        config: of the cross-validation.
        seed: of everything random.
        fold: of Adience, held out.
        on_epoch: called after every epoch with its log.
        inputs: what was read before.

    Raises:
        DivergedError: names seed and fold.
        Interrupted: Ctrl-C or SIGTERM came; this run is lost, those before are not.
    """
    run = run_config(config, seed, fold)
    try:
        fitted = fit(run, on_epoch, inputs)
        stats = evaluate_best(run, fitted.setup, fitted.best_path, inputs)
    except DivergedError as error:
        raise DivergedError(f"seed {seed}, fold {fold}: {error}") from None
    except Interrupted as interrupted:
        raise Interrupted(
            f"interrupted in seed {seed}, fold {fold}; the same call again begins with that run",
            interrupted.exit_code,
        ) from None
    return RunResult(seed, fold, stats, fitted.best_path, environment(fitted.setup.precision))


def run_config(config: ConfigParser, seed: int, fold: int) -> ConfigParser:
    """Return the config of one run."""
    return ConfigParser(
        config.config,
        modification={"seed": seed, "data_loader.args.test_cross_val": fold},
        check=check,
        folder=config.folder,
    )


def evaluate_best(
    config: ConfigParser, setup: Setup, best_path: Path, inputs: SharedInputs
) -> dict[str, Log]:
    """Evaluate the best epoch of a run on its three splits."""
    load_weights(setup.model, load_checkpoint(best_path))
    test = held_out_loader(config, inputs)
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
