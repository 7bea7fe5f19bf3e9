"""The components that a config may name, and how optimizer and schedule are made of them."""

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer, lr_scheduler

from base.base_trainer import PER_BATCH_SCHEDULERS
from data_loader.data_loaders import AgeDataLoader, GenderDataLoader
from model import loss, metric
from model import model as arch
from model.metric import Metric
from utils.config import ConfigParser
from utils.labels import age_classes_of
from utils.schema import Component, Components

NEED_FUNCTIONS = {"LambdaLR", "MultiplicativeLR", "ChainedScheduler", "SequentialLR"}
"""Schedules whose arguments JSON cannot hold."""


def known_metrics() -> dict[str, Metric]:
    """Return the metrics by name."""
    return {name: value for name, value in vars(metric).items() if isinstance(value, Metric)}


def metrics_of(config: ConfigParser) -> list[Metric]:
    """Return the metrics that a config names, of its classes."""
    known, classes = known_metrics(), age_classes_of(config.config)
    return [known[name].of_classes(classes) for name in config["metrics"]]


def criterion_of(config: ConfigParser) -> Callable[..., Tensor]:
    """Return the loss that a config names, of its classes."""
    return config.init_ftn("loss", loss, classes=age_classes_of(config.config))


def _optimizers() -> Components:
    return {
        name: Component(value, given=frozenset({"params"}))
        for name, value in vars(torch.optim).items()
        if inspect.isclass(value)
        and issubclass(value, Optimizer)
        and value is not Optimizer
        and name not in ("LBFGS", "SparseAdam", "Muon")  # a closure; sparse gradients; matrices
    }


def _schedulers() -> Components:
    return {
        name: Component(
            value,
            given=frozenset({"optimizer"}),
            filled=frozenset({"max_lr", "T_max", "total_steps"}),
        )
        for name, value in vars(lr_scheduler).items()
        if inspect.isclass(value)
        and issubclass(value, lr_scheduler.LRScheduler)
        and value is not lr_scheduler.LRScheduler
        and not name.startswith("_")
        and name not in NEED_FUNCTIONS
    }


LOADERS = (GenderDataLoader, AgeDataLoader)
GIVEN_TO_LOADERS = frozenset({"training", "seed", "source", "every_row"})
COMPONENTS: dict[str, Components] = {
    "arch": {"ResMLP": Component(arch.ResMLP)},
    "data_loader": {
        loader.__name__: Component(loader, given=GIVEN_TO_LOADERS) for loader in LOADERS
    },
    "optimizer": _optimizers(),
    "lr_scheduler": _schedulers(),
    "loss": {
        "cse": Component(loss.cse, given=frozenset({"output", "target", "reduction", "classes"}))
    },
    "metrics": {name: Component(value) for name, value in known_metrics().items()},
}


def build_optimizer(config: Any, weights: list[nn.Parameter]) -> Optimizer:
    """Make the optimizer that the config names, in its fused form where torch has one."""
    section = config["optimizer"]
    make, arguments = getattr(torch.optim, section["type"]), dict(section.get("args", {}))
    if "fused" in inspect.signature(make).parameters and not arguments.keys() & {
        "fused",
        "foreach",
    }:
        arguments["fused"] = True
    optimizer: Optimizer = make(weights, **arguments)
    return optimizer


def build_lr_scheduler(config: Any, optimizer: Optimizer, num_batches: int) -> Any:
    """Make the schedule that the config names; lengths and peak rate come from the config.

    Schedules of PER_BATCH_SCHEDULERS are stepped after each batch, all others after each epoch.
    """
    section = config["lr_scheduler"]
    if section is None:
        return None
    name, arguments, epochs = section["type"], section.get("args", {}), config["trainer"]["epochs"]
    filled: dict[str, Any] = {}
    if name in PER_BATCH_SCHEDULERS:
        filled["max_lr"] = [group["lr"] for group in optimizer.param_groups]
    if name == "OneCycleLR" and not arguments.keys() & {"total_steps", "epochs", "steps_per_epoch"}:
        filled["total_steps"] = epochs * num_batches
    if name == "CosineAnnealingLR":
        filled["T_max"] = epochs
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*lr_scheduler.step.*")
        return getattr(lr_scheduler, name)(optimizer, **{**filled, **arguments})
