"""One trial: the very `fit` of train.py, reporting to Ray Tune after each epoch."""

import errno
import os
import tempfile
from pathlib import Path
from typing import Any

import torch

from base.device import limited_threads
from base.epoch_files import Log
from cluster.code import code_version
from search.space import Search
from trainer.check import check
from trainer.data import SharedInputs
from trainer.fit import fit
from utils.checkpoint import load_checkpoint
from utils.config import ConfigParser
from utils.errors import UserError

SILENT = {"trainer.verbosity": 0, "trainer.tensorboard": False, "trainer.save_period": 1}
"""What a trial sets in its config, beside the searched values; no number depends on it."""

FAILURE = "failure"
"""Key of the report of a trial that failed, and would fail again."""


DISK_FULL = os.strerror(errno.ENOSPC)
"""Part of the report of a trial that found the disk full, as all others would."""

NODE = "node"
"""Key of the report's node of Ray."""


def train_trial(values: dict[str, Any], search: Search, inputs: SharedInputs, code: str) -> None:
    """Train with some values of the parameters; called by Ray Tune.

    Reports the log of each epoch and that of the best one so far, under best_<name>. A trial that
    cannot go on reports why and ends: another attempt would end the same way.

    Args:
        values: of all parameters.
        search: the same for all trials.
        inputs: what the driver read; its arrays are views of the object store.
        code: version that the worker must have.
    """
    from ray import tune

    try:
        if code_version() != code:
            raise UserError(f"its machine has another version of the code, {code_version()}")
        with limited_threads(search.share.cpus), tempfile.TemporaryDirectory() as folder:
            _train(search.training_config(values), Path(folder), inputs)
    except (UserError, MemoryError, torch.OutOfMemoryError, OSError) as error:
        tune.report({FAILURE: " ".join(f"{type(error).__name__}: {error}".split())[:300]})


def _train(config: dict[str, Any], folder: Path, inputs: SharedInputs) -> None:
    resume, best = _restored(folder / "restored")
    run = ConfigParser(config, resume, SILENT, check=check, folder=folder)

    def report(log: Log) -> None:
        nonlocal best
        if not best or log["val_loss"] < best["val_loss"]:
            best = log
        _report(run, log, best)

    fit(run, report, inputs)


def _restored(folder: Path) -> tuple[Path | None, Log]:
    """Copy the checkpoint to go on from; return its path, and the log of its best epoch so far."""
    from ray import tune

    checkpoint = tune.get_checkpoint()
    if checkpoint is None:
        return None, {}
    checkpoint.to_directory(str(folder))
    (path,) = folder.glob("checkpoint-epoch*.pth")
    return path, load_checkpoint(path).content["resume"]["best_log"]


def _report(run: ConfigParser, log: Log, best: Log) -> None:
    """Report an epoch with what it takes to go on from it: its checkpoint, and the best one."""
    import ray
    from ray import tune

    best_log = {f"best_{name}": value for name, value in best.items()}
    newest = f"checkpoint-epoch{int(log['epoch'])}.pth"
    for path in run.save_dir.glob("checkpoint-epoch*.pth"):
        if path.name != newest:
            path.unlink()
    tune.report(
        {**log, **best_log, NODE: ray.get_runtime_context().get_node_id()},
        checkpoint=tune.Checkpoint.from_directory(str(run.save_dir)),
    )
