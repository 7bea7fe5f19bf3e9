"""Going on with a training where a checkpoint was written."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau

from base.monitor import Monitor
from utils.checkpoint import Checkpoint, load_checkpoint, load_weights
from utils.errors import CheckpointError

if TYPE_CHECKING:
    from base.base_trainer import BaseTrainer

BEST_NAME = "model_best.pth"
INTERRUPTED_NAME = "checkpoint-interrupted.pth"


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
    position = Position(**state["position"])
    if position.batch > 0:
        _refuse_other_batches(checkpoint, trainer.config.config)
    load_weights(trainer.setup.model, checkpoint)
    _resume_schedule(trainer, checkpoint, position)
    _resume_optimizer(trainer, checkpoint)
    if state["scaler"]:  # empty where none was needed
        trainer.scaler.load_state_dict(state["scaler"])
    trainer.position, trainer.best_log = position, state["best_log"]
    _resume_monitor(trainer, Monitor(**state["monitor"]))
    _find_best(trainer, checkpoint)
    _set_random_state(state["random"], trainer.setup.device)


def _refuse_other_batches(checkpoint: Checkpoint, new: dict[str, Any]) -> None:
    """Refuse to end an epoch with other batches, or other sums over them, than it began with."""
    old = checkpoint.config
    changed = [key for key in ("seed", "metrics", "loss") if old[key] != new[key]]
    before, now = old["data_loader"]["args"], new["data_loader"]["args"]
    changed += [
        f"data_loader.args.{key}"
        for key in {**before, **now}
        if key not in ("data_dir", "num_workers") and before.get(key) != now.get(key)
    ]
    if changed:
        raise CheckpointError(
            f"{checkpoint.path} was written in the middle of an epoch, which cannot end with "
            f"another {', '.join(changed)}: keep it, or go on from the end of an epoch"
        )


def _resume_schedule(trainer: "BaseTrainer", checkpoint: Checkpoint, position: Position) -> None:
    """Step the new schedule to its place on its own curve, which the config may have changed.

    Steps that are repeated as they were taken give the same rates to the bit.
    """
    old, new = checkpoint.config["lr_scheduler"], trainer.config["lr_scheduler"]
    schedule = trainer.setup.lr_scheduler
    if (old or {}).get("type") != (new or {}).get("type"):
        trainer.logger.warning("The schedule's type changed: it starts anew")
    elif isinstance(schedule, ReduceLROnPlateau):
        _resume_plateau(trainer, checkpoint)
    elif schedule is not None:
        num_steps = position.epoch
        if trainer.steps_scheduler_per_batch:
            num_steps = position.epoch * len(trainer.setup.train_loader) + position.batch
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*lr_scheduler.step.*")
            for _ in range(num_steps):
                schedule.step()


def _resume_plateau(trainer: "BaseTrainer", checkpoint: Checkpoint) -> None:
    """Restore what ReduceLROnPlateau counted, and the share of the rate that it left."""
    schedule, optimizer = trainer.setup.lr_scheduler, trainer.setup.optimizer
    state = checkpoint.content["resume"]["lr_scheduler"]
    kept = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch")
    schedule.load_state_dict({key: state[key] for key in kept})
    old_args = checkpoint.config["optimizer"].get("args", {})
    for group, saved in zip(
        optimizer.param_groups, checkpoint.content["optimizer"]["param_groups"], strict=True
    ):
        is_same = old_args.get("lr") == trainer.config["optimizer"].get("args", {}).get("lr")
        group["lr"] = saved["lr"] if is_same else group["lr"] * saved["lr"] / old_args["lr"]


def _resume_optimizer(trainer: "BaseTrainer", checkpoint: Checkpoint) -> None:
    """Restore the moments; rates and other settings are the config's and the schedule's."""
    if checkpoint.config["optimizer"]["type"] != trainer.config["optimizer"]["type"]:
        trainer.logger.warning("The optimizer's type changed: it starts anew")
        return
    optimizer = trainer.setup.optimizer
    groups = optimizer.state_dict()["param_groups"]
    moments = checkpoint.content["optimizer"]["state"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})


def _resume_monitor(trainer: "BaseTrainer", saved: Monitor) -> None:
    current = trainer.monitor
    if (saved.mode, saved.metric) == (current.mode, current.metric):
        saved.patience = current.patience
        trainer.monitor = saved
    else:
        trainer.logger.warning(f"{current.metric} is monitored now, {saved.metric} was before")


def _find_best(trainer: "BaseTrainer", checkpoint: Checkpoint) -> None:
    """Find the file of the best epoch so far, or forget that there was one."""
    epoch = trainer.monitor.best_epoch
    if epoch == 0:
        return
    folder = checkpoint.path.parent
    for path in (checkpoint.path, folder / BEST_NAME, folder / f"checkpoint-epoch{epoch}.pth"):
        if _ends_epoch(path, epoch):
            trainer.earlier_best = path
            return
    trainer.logger.warning(
        f"The weights of epoch {epoch}, the best so far, are not in {folder} any more: the best "
        "is looked for among the epochs to come"
    )
    trainer.monitor.best_epoch = 0


def _ends_epoch(path: Path, epoch: int) -> bool:
    """Tell whether a file is the undamaged checkpoint of an epoch's end."""
    try:
        content = load_checkpoint(path).content
    except CheckpointError:
        return False
    position = content.get("resume", {}).get("position", {})
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
