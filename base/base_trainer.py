"""Epochs: train, validate, log, keep the best, stop early, and go on after an interruption."""

import copy
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from base.base_data_loader import BaseDataLoader
from base.curves import Curves
from base.device import Precision, environment
from base.epoch_files import Completion, EpochFiles, Log
from base.interrupt import StopRequest
from base.monitor import Monitor
from base.resume_state import Progress
from faces.out_of_distribution import OutOfDistributionDetector
from utils.checkpoint import own_storage
from utils.cli import Interrupted
from utils.config import ConfigParser
from utils.errors import DivergedError

PER_BATCH_SCHEDULERS = ("OneCycleLR", "CyclicLR")


@dataclass
class Setup:
    """What a trainer trains, on what, with what.

    `detector` recognises embeddings of other networks where the rows suffice for that; it goes into
    the checkpoints. `fit_confidence` takes a network, and returns how sure its answers are, which
    goes into the checkpoint of the best epoch; None where nothing can be said.
    """

    model: nn.Module
    criterion: Callable[[Tensor, Tensor], Tensor]
    metrics: list[Any]
    optimizer: Optimizer
    lr_scheduler: Any
    train_loader: BaseDataLoader
    valid_loader: BaseDataLoader | None
    device: torch.device
    precision: Precision
    detector: OutOfDistributionDetector | None = None
    fit_confidence: Callable[[nn.Module], dict[str, Any]] | None = None


class BaseTrainer(ABC):
    """Runs the epochs of one training and writes its checkpoints.

    Args:
        setup: network, data, and the rest.
        config: of the run, whose folders exist.
        on_epoch: called after every epoch with its log, what it saves already written.

    Attributes:
        progress: how far the training is.
        monitor: the best so far.
        best_log: losses and metrics of the best epoch.
        files: what the epochs leave.
        has_changed_data: it went on with other rows than it began with, which nothing else records.
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
        self.monitor = self._monitor(trainer["monitor"], trainer["early_stop"])
        self.progress = Progress()
        self.best_log: Log = {}
        self.files = EpochFiles(config)
        self.has_changed_data = False
        self.base_lr = self.lr
        self.scaler = torch.amp.GradScaler(setup.device.type, enabled=setup.precision.needs_scaler)
        scheduler = type(setup.lr_scheduler).__name__
        self.steps_scheduler_per_batch = scheduler in PER_BATCH_SCHEDULERS

    @abstractmethod
    def train_epoch(self, epoch: int, stop: StopRequest) -> Log | None:
        """Train one epoch; return its mean loss and metrics, or None when `stop` cut it short."""

    @abstractmethod
    def evaluate(self, loader: BaseDataLoader) -> Log:
        """Return the loss and the metrics over a loader's rows, in eval mode."""

    def train(self) -> Log:
        """Run all epochs that are left; return the log of the best one.

        Raises:
            Interrupted: Ctrl-C or SIGTERM came; `checkpoint-interrupted.pth` is written.
            DivergedError: the loss became NaN or infinite.
            OSError: a checkpoint could not be written.
        """
        with ExitStack() as stack:
            stop = stack.enter_context(StopRequest())
            stack.enter_context(self.running())
            while not self.is_done:
                self._run_epoch(self.progress.epoch + 1, stop)
        return self.best_log

    @contextmanager
    def running(self) -> Iterator[None]:
        """Hold open what the epochs write to; in the end write and say what is left to."""
        self.files.begin()
        with closing(Curves(self.config.log_dir, self.config["trainer"]["tensorboard"])) as curves:
            self.curves = curves
            yield
        self.files.end(self._completion())
        if self.monitor.should_stop:
            self.logger.info(
                f"Stopped early: {self.monitor.metric} did not improve for "
                f"{self.monitor.patience} epochs"
            )

    @property
    def is_done(self) -> bool:
        """True after the last epoch, or when nothing became better for long enough."""
        return self.progress.epoch >= self.epochs or self.monitor.should_stop

    def _run_epoch(self, epoch: int, stop: StopRequest) -> None:
        num_before = self.progress.batch * self.setup.train_loader.order.batch_size
        lr, start = self.lr, time.perf_counter()
        training = self.train_epoch(epoch, stop)
        if training is None:
            self._leave(stop)
            return
        num_trained = self.setup.train_loader.n_samples - num_before
        self.finish_epoch(epoch, training, num_trained / (time.perf_counter() - start), lr)
        if stop.is_set and not self.is_done:
            self._leave(stop)

    @property
    def lr(self) -> float:
        """The learning rate now."""
        lr: float = self.setup.optimizer.param_groups[0]["lr"]
        return lr

    def finish_epoch(self, epoch: int, training: Log, rate: float, lr: float) -> None:
        """Do what follows the batches of an epoch: validate, judge, report, save.

        Args:
            epoch: from 1.
            training: mean loss and metrics of the epoch.
            rate: samples a second, for the report.
            lr: learning rate that the epoch began with.

        Raises:
            DivergedError: the weights or the validation loss became NaN or infinite.
        """
        self._refuse_nan_weights(epoch)
        log = {"epoch": epoch, **training, **self._validation_log(epoch)}
        self._step_scheduler_after_epoch(log)
        self.progress = Progress(epoch=epoch)
        is_best = self.monitor.update(epoch, log)
        self._report(log, rate, is_best)
        self.curves.add(log, lr)
        if is_best:
            self.best_log = log
        self.files.add(log, is_best, self._state)
        if self.on_epoch is not None:
            self.on_epoch(log)

    def _refuse_nan_weights(self, epoch: int) -> None:
        """Notice what the very last step of an epoch did, whose loss nobody looks at."""
        sums = torch.stack([weight.detach().sum() for weight in self.setup.model.parameters()])
        if not torch.isfinite(sums).all():
            raise DivergedError(f"the weights became NaN in the last step of epoch {epoch}")

    def _validation_log(self, epoch: int) -> Log:
        loader = self.setup.valid_loader
        if loader is None:
            return {}
        try:
            return {f"val_{name}": value for name, value in self.evaluate(loader).items()}
        except DivergedError as error:
            raise DivergedError(f"validation after epoch {epoch}: {error}") from None

    def _leave(self, stop: StopRequest) -> None:
        path = self.files.interrupt(self._state())
        raise Interrupted(f"interrupted; go on with -r {path}", stop.exit_code)

    def _completion(self) -> Completion | None:
        """Return what adds to the checkpoint of the best epoch how sure its answers are."""
        fit = self.setup.fit_confidence
        if fit is None:
            return None

        def complete(content: dict[str, Any]) -> None:
            model = copy.deepcopy(self.setup.model)
            model.load_state_dict(content["state_dict"])
            content["confidence"] = fit(model)

        return complete

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
            is_off = self.monitor.mode == "off"
            scheduler.step(log.get("val_loss", log["loss"]) if is_off else log[self.monitor.metric])
        elif scheduler is not None and not self.steps_scheduler_per_batch:
            scheduler.step()

    def _report(self, log: Log, rate: float, is_best: bool) -> None:
        values = "  ".join(f"{name} {value:.4f}" for name, value in log.items() if name != "epoch")
        mark = "  best" if is_best and self.monitor.mode != "off" else ""
        epoch = int(log["epoch"])
        self.logger.info(f"epoch {epoch}/{self.epochs}  {values}  ({rate:,.0f} samples/s){mark}")

    def _state(self) -> dict[str, Any]:
        scheduler, detector = self.setup.lr_scheduler, self.setup.detector
        return {
            "arch": type(self.setup.model).__name__,
            "epoch": self.progress.epoch,
            "state_dict": own_storage(self.setup.model.state_dict()),
            "optimizer": self.setup.optimizer.state_dict(),
            "monitor_best": self.monitor.best,
            "config": self.config.config,
            "has_changed_data": self.has_changed_data,
            "resume": {
                "position": self.progress.model_dump(),
                "monitor": self.monitor.model_dump(),
                "best_log": self.best_log,
                "base_lr": self.base_lr,
                "lr_scheduler": None if scheduler is None else scheduler.state_dict(),
                "scaler": self.scaler.state_dict(),
                "random": _random_state(self.setup.device),
            },
            "environment": environment(self.setup.precision),
            "embeddings": None if detector is None else detector.to_plain(),
            "extractor": getattr(self.setup.train_loader, "extractors", {}),
        }


def _random_state(device: torch.device) -> dict[str, Tensor]:
    """Return the states of torch's generators."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states
