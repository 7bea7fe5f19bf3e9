"""Going on with a training where a checkpoint was written."""

import contextlib
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau

from base.base_trainer import BaseTrainer
from base.device import environment
from base.epoch_files import BEST_NAME
from base.resume_state import (
    OptimizerState,
    PlateauState,
    Progress,
    ResumeState,
    read_resume_state,
    read_state,
    refuse_moments,
)
from utils.checkpoint import Checkpoint, load_checkpoint
from utils.errors import CheckpointError, UserError
from utils.weights import load_weights


def resume(trainer: BaseTrainer, checkpoint: Checkpoint) -> None:
    """Go on where a checkpoint was written: on the same CPU and threads, to the bit.

    Args:
        trainer: new; it takes over what the checkpoint holds.
        checkpoint: of the same network.

    Raises:
        CheckpointError: the original project wrote it, it was exported, or it does not fit.
    """
    if "resume" not in checkpoint.content:
        writer = "the original project" if checkpoint.is_original else "export_model"
        raise CheckpointError(
            f"{checkpoint.path} was written by {writer} and cannot be resumed: start from its "
            f"weights with -o checkpoint={checkpoint.path}"
        )
    try:
        _apply(trainer, checkpoint, read_resume_state(checkpoint))
    except UserError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise CheckpointError(
            f"{checkpoint.path} cannot be resumed, its state is not one that this program wrote "
            f"({type(error).__name__}: {error}); start from its weights with -o checkpoint="
        ) from None
    progress = trainer.progress
    place = f"epoch {progress.epoch} of {trainer.epochs}"
    batches = f" and {progress.batch} batches" if progress.batch else ""
    trainer.logger.info(f"Resumed {checkpoint.path} after {place}{batches}")
    if progress.epoch >= trainer.epochs:
        trainer.logger.warning(f"Nothing is left to train after {place}: raise -o trainer.epochs")


def _apply(trainer: BaseTrainer, checkpoint: Checkpoint, state: ResumeState) -> None:
    saved = read_state(OptimizerState, checkpoint, checkpoint.content["optimizer"], "optimizer.")
    changed = _changed_scores(checkpoint.config, trainer.config.config)
    if state.position.batch > 0:
        _refuse_other_batches(trainer, checkpoint, state.position, changed)
    _warn_of_environment(trainer, checkpoint)
    load_weights(trainer.setup.model, checkpoint)
    _resume_schedule(trainer, checkpoint, state, saved.param_groups[0].lr)
    _resume_optimizer(trainer, checkpoint, saved)
    if state.scaler:
        trainer.scaler.load_state_dict(state.scaler)
    trainer.progress = state.position
    _set_random_state(state.random, trainer.setup.device)
    trainer.has_changed_data = checkpoint.has_changed_data or bool(set(changed) - {"loss"})
    if trainer.has_changed_data and trainer.setup.fit_confidence is not None:
        trainer.setup.fit_confidence = None
        trainer.logger.info("No intervals: who is validated on may have been trained on before")
    if _is_judged_alike(trainer, state, changed):
        state.monitor.patience = trainer.monitor.patience
        trainer.monitor, trainer.best_log = state.monitor, state.best_log
        _find_best(trainer, checkpoint)


def _changed_scores(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """List the keys that differ and that values of a loss or a metric depend on."""
    harmless = ("data_dir", "num_workers", "batch_size", "shuffle")
    before = {**old["data_loader"]["args"], "type": old["data_loader"]["type"]}
    now = {**new["data_loader"]["args"], "type": new["data_loader"]["type"]}
    return [key for key in ("seed", "loss") if old[key] != new[key]] + [
        f"data_loader.args.{key}"
        for key in {**before, **now}
        if key not in harmless and before.get(key) != now.get(key)
    ]


def _refuse_other_batches(
    trainer: BaseTrainer, checkpoint: Checkpoint, progress: Progress, changed: list[str]
) -> None:
    """Refuse to end an epoch with other batches, or other sums over them, than it began with."""
    old, new = checkpoint.config, trainer.config.config
    before, now = old["data_loader"]["args"], new["data_loader"]["args"]
    changed = changed + ["metrics"] * (old["metrics"] != new["metrics"])
    changed += [
        f"data_loader.args.{key}"
        for key in ("batch_size", "shuffle")
        if before.get(key) != now.get(key)
    ]
    if changed:
        raise CheckpointError(
            f"{checkpoint.path} was written in the middle of an epoch, which cannot end with "
            f"another {', '.join(changed)}: keep it, or go on from the end of an epoch"
        )
    num_batches = len(trainer.setup.train_loader)
    if progress.batch >= num_batches:
        raise CheckpointError(
            f"{checkpoint.path} cannot be resumed: resume.position.batch: {progress.batch}, but "
            f"an epoch has {num_batches} batches; resume from another checkpoint"
        )


def _warn_of_environment(trainer: BaseTrainer, checkpoint: Checkpoint) -> None:
    old, new = checkpoint.content.get("environment", {}), environment(trainer.setup.precision)
    for key in new:
        if old.get(key) != new[key]:
            trainer.logger.warning(
                f"{key} was {old.get(key)} and is {new[key]}: results will not repeat to the bit"
            )


def _resume_schedule(
    trainer: BaseTrainer, checkpoint: Checkpoint, state: ResumeState, lr: float
) -> None:
    """Step the new schedule to its place on its own curve, which the config may have changed.

    Steps that are repeated as they were taken give the same rates to the bit.
    """
    old, new = checkpoint.config["lr_scheduler"], trainer.config["lr_scheduler"]
    schedule, progress = trainer.setup.lr_scheduler, state.position
    if (old or {}).get("type") != (new or {}).get("type"):
        trainer.logger.warning("The schedule's type changed: it starts anew")
    elif isinstance(schedule, ReduceLROnPlateau):
        _resume_plateau(trainer, checkpoint, state, lr)
    elif schedule is not None and progress.epoch < trainer.epochs:
        num_steps = progress.epoch
        if trainer.steps_scheduler_per_batch:
            num_steps = progress.epoch * len(trainer.setup.train_loader) + progress.batch
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*lr_scheduler.step.*")
            for _ in range(num_steps):
                schedule.step()


def _resume_plateau(
    trainer: BaseTrainer, checkpoint: Checkpoint, state: ResumeState, lr: float
) -> None:
    """Restore what ReduceLROnPlateau counted, and the share of the rate that it left."""
    counted = read_state(PlateauState, checkpoint, state.lr_scheduler, "resume.lr_scheduler.")
    trainer.setup.lr_scheduler.load_state_dict(counted.model_dump())
    if state.base_lr != trainer.base_lr:
        lr *= trainer.base_lr / state.base_lr
    for group in trainer.setup.optimizer.param_groups:
        group["lr"] = lr


def _resume_optimizer(trainer: BaseTrainer, checkpoint: Checkpoint, saved: OptimizerState) -> None:
    """Restore the moments; rates and other settings are the config's and the schedule's."""
    if checkpoint.config["optimizer"]["type"] != trainer.config["optimizer"]["type"]:
        trainer.logger.warning("The optimizer's type changed: it starts anew")
        return
    optimizer = trainer.setup.optimizer
    refuse_moments(checkpoint, saved.state, optimizer)
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": saved.state, "param_groups": groups})


def _is_judged_alike(trainer: BaseTrainer, state: ResumeState, changed: list[str]) -> bool:
    """Return whether what was best so far was judged by the same measure, on the same rows."""
    current, saved = trainer.monitor, state.monitor
    if (saved.mode, saved.metric) != (current.mode, current.metric):
        trainer.logger.warning(f"{current.metric} is monitored now, {saved.metric} was before")
        return False
    if changed:
        trainer.logger.warning(f"{', '.join(changed)} changed: the best is looked for anew")
    return not changed


def _find_best(trainer: BaseTrainer, checkpoint: Checkpoint) -> None:
    """Find the file of the best epoch so far, or forget that there was one."""
    epoch, folder = trainer.monitor.best_epoch, checkpoint.path.parent
    if epoch == 0:
        return
    best_path = _path_of_epoch(checkpoint, epoch)
    if best_path is None:
        trainer.monitor.best_epoch = 0
        trainer.logger.warning(
            f"The weights of epoch {epoch}, the best so far, are not in {folder} any more: the "
            "best is looked for among the epochs to come"
        )
    trainer.files.earlier_best = best_path


def _path_of_epoch(checkpoint: Checkpoint, epoch: int) -> Path | None:
    """Return the checkpoint that was written at the end of an epoch: this one, or one beside it."""
    if _ends_epoch(checkpoint, epoch):
        return checkpoint.path
    folder = checkpoint.path.parent
    for path in (folder / BEST_NAME, folder / f"checkpoint-epoch{epoch}.pth"):
        with contextlib.suppress(CheckpointError):
            if _ends_epoch(load_checkpoint(path), epoch):
                return path
    return None


def _ends_epoch(checkpoint: Checkpoint, epoch: int) -> bool:
    position = checkpoint.content.get("resume", {}).get("position", {})
    return bool(position.get("epoch") == epoch and position.get("batch") == 0)


def _set_random_state(states: dict[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
