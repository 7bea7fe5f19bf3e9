"""Epochs: train, validate, log, keep the best, stop early, and go on after an interruption."""

import logging
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from base.base_data_loader import BaseDataLoader
from base.interrupt import StopRequest
from base.monitor import Monitor
from utils.checkpoint import (
    Checkpoint,
    environment,
    load_checkpoint,
    load_weights,
    save_checkpoint,
)
from utils.cli import Interrupted
from utils.config import ConfigParser
from utils.errors import CheckpointError, DivergedError
from utils.log import log_to_file
from utils.runtime import Precision

BEST_NAME = "model_best.pth"
INTERRUPTED_NAME = "checkpoint-interrupted.pth"
PER_BATCH_SCHEDULERS = ("OneCycleLR", "CyclicLR")
LENGTHS = ("total_steps", "T_max", "_schedule_phases")
"""What a schedule takes from the config when training goes on, not from the checkpoint."""

Log = dict[str, float]


@dataclass
class Setup:
    """What a trainer trains, on what, with what."""

    model: nn.Module
    criterion: Callable[[Tensor, Tensor], Tensor]
    metrics: list[Any]
    optimizer: Optimizer
    lr_scheduler: Any
    train_loader: BaseDataLoader
    valid_loader: BaseDataLoader | None
    device: torch.device
    precision: Precision


@dataclass
class Position:
    """A place in the training: so many epochs done, and so many batches of the next one.

    Attributes:
        scores: (batches, 1 + metrics) sums of the next epoch's batches so far.
    """

    epoch: int = 0
    batch: int = 0
    scores: Tensor | None = None


class BaseTrainer(ABC):
    """Runs the epochs of one training and writes its checkpoints.

    Args:
        setup: network, data, and the rest.
        config: of the run, whose folders exist.
        on_epoch: called after every epoch with its log, checkpoint already written.
    """

    def __init__(
        self, setup: Setup, config: ConfigParser, on_epoch: Callable[[Log], None] | None = None
    ):
        self.setup = setup
        self.config = config
        self.on_epoch = on_epoch
        self.logger: logging.Logger = config.get_logger("trainer")
        trainer = config["trainer"]
        self.epochs: int = trainer["epochs"]
        self.save_period: int = trainer["save_period"]
        self.monitor = self._monitor(trainer["monitor"], trainer["early_stop"])
        self.position = Position()
        self.best_log: Log = {}
        self.scaler = torch.amp.GradScaler(setup.device.type, enabled=setup.precision.needs_scaler)
        scheduler = type(setup.lr_scheduler).__name__
        self.steps_scheduler_per_batch = scheduler in PER_BATCH_SCHEDULERS
        self._writer: Any = None

    @abstractmethod
    def train_epoch(self, epoch: int, stop: StopRequest) -> Log | None:
        """Train one epoch; give its mean loss and metrics, or None when `stop` cut it short."""

    @abstractmethod
    def evaluate(self, loader: BaseDataLoader) -> Log:
        """Give the loss and the metrics over a loader's rows, in eval mode."""

    def train(self) -> Log:
        """Run all epochs that are left; give the log of the best one.

        Raises:
            Interrupted: Ctrl-C or SIGTERM came; `checkpoint-interrupted.pth` is written.
            DivergedError: the loss became NaN or infinite.
            OSError: a checkpoint could not be written.
        """
        with ExitStack() as stack:
            stop = stack.enter_context(StopRequest())
            stack.enter_context(log_to_file(self.config.log_dir / "info.log"))
            stack.callback(self._close_writer)
            self._open_writer()
            while self.position.epoch < self.epochs and not self.monitor.should_stop:
                self._run_epoch(self.position.epoch + 1, stop)
        if self.monitor.should_stop:
            self.logger.info(
                f"Stopped early: {self.monitor.metric} did not improve for "
                f"{self.monitor.patience} epochs"
            )
        return self.best_log

    def _run_epoch(self, epoch: int, stop: StopRequest) -> None:
        start = time.perf_counter()
        training = self.train_epoch(epoch, stop)
        if training is None:
            self._leave(stop)
            return
        log = {"epoch": epoch, **training, **self._validation_log(epoch)}
        self._step_scheduler_after_epoch(log)
        self.position = Position(epoch)
        is_best = self.monitor.update(epoch, log)
        self._report(log, time.perf_counter() - start, is_best)
        self._save_epoch(epoch, log, is_best)
        if self.on_epoch is not None:
            self.on_epoch(log)
        if stop.is_set and epoch < self.epochs:
            self._leave(stop)

    def _validation_log(self, epoch: int) -> Log:
        loader = self.setup.valid_loader
        if loader is None:
            return {}
        try:
            return {f"val_{name}": value for name, value in self.evaluate(loader).items()}
        except DivergedError as error:
            raise DivergedError(f"validation after epoch {epoch}: {error}") from None

    def _leave(self, stop: StopRequest) -> None:
        path = self.config.save_dir / INTERRUPTED_NAME
        save_checkpoint(self._state(), path)
        raise Interrupted(f"interrupted; go on with -r {path}", stop.exit_code)

    def _monitor(self, text: str, patience: int) -> Monitor:
        monitor = Monitor.from_config(text, patience)
        if monitor.metric.startswith("val_") and self.setup.valid_loader is None:
            trained = monitor.metric.removeprefix("val_")
            self.logger.info(
                f"No validation rows: {trained} is monitored instead of {monitor.metric}"
            )
            monitor.metric = trained
        return monitor

    def _step_scheduler_after_epoch(self, log: Log) -> None:
        scheduler = self.setup.lr_scheduler
        if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            scheduler.step(log.get("val_loss", log["loss"]))
        elif scheduler is not None and not self.steps_scheduler_per_batch:
            scheduler.step()

    def _report(self, log: Log, seconds: float, is_best: bool) -> None:
        rate = self.setup.train_loader.n_samples / seconds
        values = "  ".join(f"{name} {value:.4f}" for name, value in log.items() if name != "epoch")
        mark = "  best" if is_best and self.monitor.mode != "off" else ""
        epoch = int(log["epoch"])
        self.logger.info(f"epoch {epoch}/{self.epochs}  {values}  ({rate:,.0f} samples/s){mark}")
        if self._writer is not None:
            for name, value in log.items():
                split, _, metric = name.rpartition("val_")
                self._writer.add_scalar(
                    f"{metric}/{'valid' if split or name != metric else 'train'}", value, epoch
                )
            self._writer.add_scalar("lr", self.setup.optimizer.param_groups[0]["lr"], epoch)

    def _save_epoch(self, epoch: int, log: Log, is_best: bool) -> None:
        is_period = self.save_period > 0 and epoch % self.save_period == 0
        if not is_best and not is_period:
            return
        if is_best:
            self.best_log = log
        state = self._state()
        if is_period:
            save_checkpoint(state, self.config.save_dir / f"checkpoint-epoch{epoch}.pth")
        if is_best:
            save_checkpoint(state, self.config.save_dir / BEST_NAME)

    def _state(self) -> dict[str, Any]:
        scheduler = self.setup.lr_scheduler
        return {
            "arch": type(self.setup.model).__name__,
            "epoch": self.position.epoch,
            "state_dict": self.setup.model.state_dict(),
            "optimizer": self.setup.optimizer.state_dict(),
            "monitor_best": self.monitor.best,
            "config": self.config.config,
            "resume": {
                "position": asdict(self.position),
                "monitor": asdict(self.monitor),
                "best_log": self.best_log,
                "lr_scheduler": None if scheduler is None else scheduler.state_dict(),
                "scaler": self.scaler.state_dict(),
                "random": _random_state(self.setup.device),
            },
            "environment": environment(self.setup.precision),
        }

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on where a checkpoint was written; on the same CPU and threads, to the bit.

        Raises:
            CheckpointError: the checkpoint is the original project's, was exported, or does not
            fit.
        """
        if "resume" not in checkpoint.content:
            writer = "the original project" if checkpoint.is_original else "export_model"
            raise CheckpointError(
                f"{checkpoint.path} was written by {writer} and cannot be resumed: start from its "
                f"weights with -o checkpoint={checkpoint.path}"
            )
        state = checkpoint.content["resume"]
        load_weights(self.setup.model, checkpoint)
        self._resume_optimizer(checkpoint)
        self.scaler.load_state_dict(state["scaler"])
        self.position = Position(**state["position"])
        self._resume_monitor(Monitor(**state["monitor"]))
        self.best_log = state["best_log"]
        self._carry_best(checkpoint)
        _set_random_state(state["random"], self.setup.device)
        left = f"epoch {self.position.epoch} of {self.epochs}"
        self.logger.info(f"Resumed {checkpoint.path} after {left}, {self.position.batch} batches")
        if self.position.epoch >= self.epochs:
            self.logger.warning(
                f"Nothing is left to train: raise it with -o trainer.epochs=N ({left})"
            )

    def _resume_optimizer(self, checkpoint: Checkpoint) -> None:
        """Restore optimizer and schedule, where the config still names the same types."""
        old = checkpoint.config
        if old["optimizer"]["type"] != self.config["optimizer"]["type"]:
            self.logger.warning("The optimizer's type changed: it starts anew")
            return
        self.setup.optimizer.load_state_dict(checkpoint.content["optimizer"])
        if old["optimizer"] != self.config["optimizer"]:
            for group in self.setup.optimizer.param_groups:
                group.update(self.config["optimizer"]["args"])
        schedule, state = self.setup.lr_scheduler, checkpoint.content["resume"]["lr_scheduler"]
        if (old.get("lr_scheduler") or {}).get("type") != (self.config["lr_scheduler"] or {}).get(
            "type"
        ):
            self.logger.warning("The schedule's type changed: it starts anew")
        elif schedule is not None:
            schedule.load_state_dict({k: v for k, v in state.items() if k not in LENGTHS})

    def _resume_monitor(self, saved: Monitor) -> None:
        if (saved.mode, saved.metric) == (self.monitor.mode, self.monitor.metric):
            saved.patience = self.monitor.patience
            self.monitor = saved
        else:
            self.logger.warning(
                f"{self.monitor.metric} is monitored now, {saved.metric} was before"
            )

    def _carry_best(self, checkpoint: Checkpoint) -> None:
        """Bring the best epoch so far into this run's folder, or forget that there was one."""
        epoch = self.monitor.best_epoch
        if epoch == 0:
            return
        folder = checkpoint.path.parent
        for path in (checkpoint.path, folder / BEST_NAME, folder / f"checkpoint-epoch{epoch}.pth"):
            if path.is_file() and _ends_epoch(load_checkpoint(path), epoch):
                shutil.copyfile(path, self.config.save_dir / BEST_NAME)
                return
        self.logger.warning(
            f"The weights of epoch {epoch}, the best so far, are not in {folder} any more: the best "
            "is looked for among the epochs to come"
        )
        self.monitor.best_epoch = 0

    def _open_writer(self) -> None:
        if not self.config["trainer"]["tensorboard"]:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self.logger.warning("tensorboard is not installed: pip install tensorboard")
            return
        self._writer = SummaryWriter(str(self.config.log_dir))

    def _close_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _ends_epoch(checkpoint: Checkpoint, epoch: int) -> bool:
    position = checkpoint.content.get("resume", {}).get("position", {})
    return bool(position.get("epoch") == epoch and position.get("batch") == 0)


def _random_state(device: torch.device) -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def _set_random_state(states: dict[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
