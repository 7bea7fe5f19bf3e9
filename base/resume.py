"""Going on with a training where a checkpoint was written."""

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from base.monitor import Monitor
from utils.checkpoint import Checkpoint, load_checkpoint, load_weights
from utils.errors import CheckpointError

if TYPE_CHECKING:
    from base.base_trainer import BaseTrainer

BEST_NAME = "model_best.pth"
INTERRUPTED_NAME = "checkpoint-interrupted.pth"
LENGTHS = ("total_steps", "T_max", "_schedule_phases")
"""What a schedule takes from the config when training goes on, not from the checkpoint."""


@dataclass
class Position:
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
    state = checkpoint.content["resume"]
    load_weights(trainer.setup.model, checkpoint)
    _resume_optimizer(trainer, checkpoint)
    trainer.scaler.load_state_dict(state["scaler"])
    trainer.position = Position(**state["position"])
    trainer.best_log = state["best_log"]
    _resume_monitor(trainer, Monitor(**state["monitor"]))
    _carry_best(trainer, checkpoint)
    _set_random_state(state["random"], trainer.setup.device)


def _resume_optimizer(trainer: "BaseTrainer", checkpoint: Checkpoint) -> None:
    """Restore optimizer and schedule, where the config still names the same types."""
    old, new, setup = checkpoint.config, trainer.config.config, trainer.setup
    if old["optimizer"]["type"] != new["optimizer"]["type"]:
        trainer.logger.warning("The optimizer's type changed: it starts anew")
    else:
        setup.optimizer.load_state_dict(checkpoint.content["optimizer"])
        if old["optimizer"] != new["optimizer"]:
            for group in setup.optimizer.param_groups:
                group.update(new["optimizer"]["args"])
    schedule, state = setup.lr_scheduler, checkpoint.content["resume"]["lr_scheduler"]
    if _type_of(old["lr_scheduler"]) != _type_of(new["lr_scheduler"]):
        trainer.logger.warning("The schedule's type changed: it starts anew")
    elif schedule is not None:
        schedule.load_state_dict({k: v for k, v in state.items() if k not in LENGTHS})


def _type_of(section: dict[str, Any] | None) -> str | None:
    return None if section is None else section["type"]


def _resume_monitor(trainer: "BaseTrainer", saved: Monitor) -> None:
    current = trainer.monitor
    if (saved.mode, saved.metric) == (current.mode, current.metric):
        saved.patience = current.patience
        trainer.monitor = saved
    else:
        trainer.logger.warning(f"{current.metric} is monitored now, {saved.metric} was before")


def _carry_best(trainer: "BaseTrainer", checkpoint: Checkpoint) -> None:
    """Bring the best epoch so far into this run's folder, or forget that there was one."""
    epoch = trainer.monitor.best_epoch
    if epoch == 0:
        return
    folder = checkpoint.path.parent
    for path in (checkpoint.path, folder / BEST_NAME, folder / f"checkpoint-epoch{epoch}.pth"):
        if path.is_file() and _ends_epoch(load_checkpoint(path), epoch):
            shutil.copyfile(path, trainer.config.save_dir / BEST_NAME)
            return
    trainer.logger.warning(
        f"The weights of epoch {epoch}, the best so far, are not in {folder} any more: the best is "
        "looked for among the epochs to come"
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
