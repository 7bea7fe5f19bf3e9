"""Going on with a training where a checkpoint was written."""

import contextlib
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau

from base.monitor import Monitor
from base.resume_state import refuse_state
from utils.checkpoint import Checkpoint, environment, load_checkpoint
from utils.errors import CheckpointError, UserError
from utils.weights import load_weights

if TYPE_CHECKING:
    from base.base_trainer import BaseTrainer

BEST_NAME = "model_best.pth"
INTERRUPTED_NAME = "checkpoint-interrupted.pth"
EPOCHS_NAME = "epochs.jsonl"
"""One line an epoch: its losses and metrics."""


@dataclass
class Progress:
    """A place in the training: so many epochs done, and so many batches of the next one.

    Attributes:
        scores: (batches, 1 + metrics) sums of the next epoch's batches so far.
    """

    epoch: int = 0
    batch: int = 0
    scores: Tensor | None = None


def resume(trainer: "BaseTrainer", checkpoint: Checkpoint) -> None:
    """Bring a new trainer to where the checkpoint was written; see `BaseTrainer.resume`."""
    if "resume" not in checkpoint.content:
        writer = "the original project" if checkpoint.is_original else "export_model"
        raise CheckpointError(
            f"{checkpoint.path} was written by {writer} and cannot be resumed: start from its "
            f"weights with -o checkpoint={checkpoint.path}"
        )
    try:
        _restore(trainer, checkpoint)
    except UserError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise CheckpointError(
            f"{checkpoint.path} cannot be resumed, its state is not one that this program wrote "
            f"({type(error).__name__}: {error}); start from its weights with -o checkpoint="
        ) from None


def _restore(trainer: "BaseTrainer", checkpoint: Checkpoint) -> None:
    refuse_state(trainer, checkpoint)
    state = checkpoint.content["resume"]
    position = Progress(**state["position"])
    changed = _changed_scores(checkpoint.config, trainer.config.config)
    if position.batch > 0:
        _refuse_other_batches(trainer, checkpoint, changed)
        _refuse_no_batch(trainer, checkpoint, position)
    _tell_other_environment(trainer, checkpoint)
    load_weights(trainer.setup.model, checkpoint)
    _resume_schedule(trainer, checkpoint, position)
    _resume_optimizer(trainer, checkpoint)
    if state["scaler"]:  # empty where none was needed
        trainer.scaler.load_state_dict(state["scaler"])
    trainer.progress = position
    _set_random_state(state["random"], trainer.setup.device)
    if _is_judged_alike(trainer, Monitor(**state["monitor"]), changed):
        trainer.best_log = state["best_log"]
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
    trainer: "BaseTrainer", checkpoint: Checkpoint, changed: list[str]
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


def _refuse_no_batch(trainer: "BaseTrainer", checkpoint: Checkpoint, position: Progress) -> None:
    num_batches = len(trainer.setup.train_loader)
    if position.batch >= num_batches:
        raise CheckpointError(
            f"{checkpoint.path} cannot be resumed: resume.position.batch is {position.batch}, but "
            f"an epoch has {num_batches} batches; resume from another checkpoint"
        )


def _tell_other_environment(trainer: "BaseTrainer", checkpoint: Checkpoint) -> None:
    old, new = checkpoint.content.get("environment", {}), environment(trainer.setup.precision)
    for key in new:
        if old.get(key) != new[key]:
            trainer.logger.warning(
                f"{key} was {old.get(key)} and is {new[key]}: results will not repeat to the bit"
            )


def _resume_schedule(trainer: "BaseTrainer", checkpoint: Checkpoint, position: Progress) -> None:
    """Step the new schedule to its place on its own curve, which the config may have changed.

    Steps that are repeated as they were taken give the same rates to the bit.
    """
    old, new = checkpoint.config["lr_scheduler"], trainer.config["lr_scheduler"]
    schedule = trainer.setup.lr_scheduler
    if (old or {}).get("type") != (new or {}).get("type"):
        trainer.logger.warning("The schedule's type changed: it starts anew")
    elif isinstance(schedule, ReduceLROnPlateau):
        _resume_plateau(trainer, checkpoint)
    elif schedule is not None and position.epoch < trainer.epochs:
        num_steps = position.epoch
        if trainer.steps_scheduler_per_batch:
            num_steps = position.epoch * len(trainer.setup.train_loader) + position.batch
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*lr_scheduler.step.*")
            for _ in range(num_steps):
                schedule.step()


def _resume_plateau(trainer: "BaseTrainer", checkpoint: Checkpoint) -> None:
    """Restore what ReduceLROnPlateau counted, and the share of the rate that it left."""
    state = checkpoint.content["resume"]
    kept = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch")
    counted = {key: state["lr_scheduler"][key] for key in kept}
    trainer.setup.lr_scheduler.load_state_dict(counted)
    reduced_lr = checkpoint.content["optimizer"]["param_groups"][0]["lr"]
    if state["base_lr"] != trainer.base_lr:
        reduced_lr *= trainer.base_lr / state["base_lr"]
    for group in trainer.setup.optimizer.param_groups:
        group["lr"] = reduced_lr


def _resume_optimizer(trainer: "BaseTrainer", checkpoint: Checkpoint) -> None:
    """Restore the moments; rates and other settings are the config's and the schedule's."""
    if checkpoint.config["optimizer"]["type"] != trainer.config["optimizer"]["type"]:
        trainer.logger.warning("The optimizer's type changed: it starts anew")
        return
    optimizer = trainer.setup.optimizer
    groups = optimizer.state_dict()["param_groups"]
    moments = checkpoint.content["optimizer"]["state"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})


def _is_judged_alike(trainer: "BaseTrainer", saved: Monitor, changed: list[str]) -> bool:
    """Take over what was best so far, unless it was judged by another measure or on other rows."""
    current = trainer.monitor
    if (saved.mode, saved.metric) != (current.mode, current.metric):
        trainer.logger.warning(f"{current.metric} is monitored now, {saved.metric} was before")
        return False
    if changed:
        trainer.logger.warning(f"{', '.join(changed)} changed: the best is looked for anew")
        return False
    saved.patience = current.patience
    trainer.monitor = saved
    return True


def _find_best(trainer: "BaseTrainer", checkpoint: Checkpoint) -> None:
    """Find the file of the best epoch so far, or forget that there was one."""
    epoch, folder = trainer.monitor.best_epoch, checkpoint.path.parent
    if epoch == 0:
        return
    if _ends_epoch(checkpoint, epoch):
        trainer.earlier_best = checkpoint.path
        return
    for path in (folder / BEST_NAME, folder / f"checkpoint-epoch{epoch}.pth"):
        with contextlib.suppress(CheckpointError):
            if _ends_epoch(load_checkpoint(path), epoch):
                trainer.earlier_best = path
                return
    trainer.logger.warning(
        f"The weights of epoch {epoch}, the best so far, are not in {folder} any more: the best "
        "is looked for among the epochs to come"
    )
    trainer.monitor.best_epoch = 0


def _ends_epoch(checkpoint: Checkpoint, epoch: int) -> bool:
    position = checkpoint.content.get("resume", {}).get("position", {})
    return bool(position.get("epoch") == epoch and position.get("batch") == 0)


def random_state(device: torch.device) -> dict[str, Tensor]:
    """Give the states of torch's generators."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def _set_random_state(states: dict[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
