"""Runs of a cross-validation, on whatever machine Ray gives them."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from base.device import limited_threads
from base.epoch_files import Log
from cluster.code import code_version
from cluster.folders import Files, pack
from cross_val.runs import RunKey, RunResult, run_one
from cross_val.stacked_engine import train_stacks
from trainer.data import SharedInputs
from utils.config import ConfigParser
from utils.errors import ClusterError, UserError


@dataclass(frozen=True)
class TaskSettings:
    """What all tasks of a cross-validation have in common.

    Attributes:
        config: of the cross-validation, checked.
        threads: of torch.
        code: version that the worker must have.
        is_stacked: train the runs of a task together, as one network.
    """

    config: dict[str, Any]
    threads: int
    code: str
    is_stacked: bool = False


@dataclass(frozen=True)
class PackedRun:
    """A finished run and its files; the best checkpoint is `best_name` in `models`."""

    result: RunResult
    best_name: str
    models: Files
    log: Files


RunOutcome = PackedRun | Exception
"""What a run made, or the error that the user can mend."""


def run_remotely(
    settings: TaskSettings, runs: Sequence[RunKey], inputs: SharedInputs, progress: Any
) -> list[RunOutcome]:
    """Train and evaluate; return the errors that the user can mend instead of raising them.

    Args:
        settings: of all tasks.
        runs: seeds and folds; a single one unless they are stacked.
        inputs: what the driver read; its arrays are views of the object store.
        progress: the `ProgressActor`, which is told of epochs.

    Returns:
        The outcome of each run. What ends a stack is that of all its runs that were under way.
    """
    outcomes: dict[RunKey, RunOutcome] = {}
    try:
        for run, outcome in _train(settings, runs, inputs, progress):
            outcomes[run] = outcome
    except (UserError, OSError) as error:
        outcomes = dict.fromkeys(runs, error) | outcomes
    except torch.OutOfMemoryError as error:
        outcomes = dict.fromkeys(runs, _out_of_memory(error)) | outcomes
    return [outcomes[run] for run in runs]


def _out_of_memory(error: torch.OutOfMemoryError) -> ClusterError:
    reason = str(error).partition(". ")[0]
    return ClusterError(
        f"{reason}: take a smaller --stack_size, or a larger part of a GPU (--gpus)"
    )


def _train(
    settings: TaskSettings, runs: Sequence[RunKey], inputs: SharedInputs, progress: Any
) -> Iterator[tuple[RunKey, RunOutcome]]:
    if code_version() != settings.code:
        raise ClusterError(
            f"a node has another version of the code ({code_version()}; the driver {settings.code})"
        )

    def note(run: RunKey, epoch: int, _: int) -> None:
        progress.note.remote(run, epoch)

    train = train_stacks if settings.is_stacked else _train_single
    with limited_threads(settings.threads), tempfile.TemporaryDirectory() as folder:
        config = ConfigParser(settings.config, folder=Path(folder))
        for run, outcome in train(config, runs, inputs, note):
            yield run, _pack(outcome, Path(folder)) if isinstance(outcome, RunResult) else outcome


def _train_single(
    config: ConfigParser, runs: Sequence[RunKey], inputs: SharedInputs, on_epoch: Any
) -> Iterator[tuple[RunKey, RunResult]]:
    (run,) = runs

    def note(log: Log) -> None:
        on_epoch(run, int(log["epoch"]), 1)

    yield run, run_one(config, *run, on_epoch=note, inputs=inputs)


def _pack(result: RunResult, folder: Path) -> PackedRun:
    """Read a run's files below the temporary folder."""
    save_dir = result.best_path.parent
    log_dir = folder / "log" / save_dir.relative_to(folder / "models")
    return PackedRun(result, result.best_path.name, pack(save_dir), pack(log_dir))
