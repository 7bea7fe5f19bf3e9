"""The parts that a config may name, and the check of a whole config against them."""

import inspect
import itertools
import warnings
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer, lr_scheduler

from data_loader import data_loaders
from data_loader.data_loaders import NUM_FOLDS, AgeDataLoader, GenderDataLoader
from data_loader.faces import DATASETS
from model import loss, metric
from model import model as arch
from model.metric import Metric
from utils.schema import Part, Parts, find_problems

MODULES = {
    "arch": arch,
    "data_loader": data_loaders,
    "optimizer": torch.optim,
    "lr_scheduler": lr_scheduler,
    "loss": loss,
    "metrics": metric,
}
"""Where `init_obj` finds what a section names."""

NEED_FUNCTIONS = {"LambdaLR", "MultiplicativeLR", "ChainedScheduler", "SequentialLR", "SWALR"}
"""Schedules whose arguments JSON cannot hold."""

AGE_METRICS = ("one_off_accuracy", "mae", "cs5")


def known_metrics() -> dict[str, Metric]:
    """Give the metrics by name."""
    return {name: value for name, value in vars(metric).items() if isinstance(value, Metric)}


def _optimizers() -> Parts:
    return {
        name: Part(value, given=frozenset({"params"}))
        for name, value in vars(torch.optim).items()
        if inspect.isclass(value)
        and issubclass(value, Optimizer)
        and value is not Optimizer
        and name not in ("LBFGS", "SparseAdam")  # a closure; sparse gradients
    }


def _schedulers() -> Parts:
    return {
        name: Part(
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
PARTS: dict[str, Parts] = {
    "arch": {"ResMLP": Part(arch.ResMLP)},
    "data_loader": {
        loader.__name__: Part(loader, given=frozenset({"training", "seed"})) for loader in LOADERS
    },
    "optimizer": _optimizers(),
    "lr_scheduler": _schedulers(),
    "loss": {"cse": Part(loss.cse, given=frozenset({"output", "target"}))},
    "metrics": {name: Part(value) for name, value in known_metrics().items()},
}


def check(config: dict[str, Any]) -> list[str]:
    """List every problem of a config, before any work."""
    problems = find_problems(config, PARTS)
    if problems:
        return problems
    problems = _loader_problems(config) + _value_problems(config) + _monitor_problems(config)
    return problems or _dry_build(config)


def _loader_problems(config: dict[str, Any]) -> list[str]:
    loader, arguments = config["data_loader"]["type"], config["data_loader"]["args"]
    classes, dataset = arguments["num_classes"], arguments["dataset"].lower()
    problems = []
    expected = (2,) if loader == "GenderDataLoader" else (8, 101)
    if classes not in expected:
        wanted = " or ".join(map(str, expected))
        problems.append(f"data_loader.args.num_classes: {classes}, {loader} has {wanted}")
    if config["arch"]["args"]["num_classes"] != classes:
        problems.append(
            f"arch.args.num_classes: {config['arch']['args']['num_classes']}, but "
            f"data_loader.args.num_classes is {classes}"
        )
    if dataset not in DATASETS:
        problems.append(
            f"data_loader.args.dataset: unknown dataset {arguments['dataset']!r}, known are "
            f"{', '.join(DATASETS)}"
        )
    fold = arguments.get("test_cross_val")
    if fold is not None and dataset != "adience":
        problems.append(f"data_loader.args.test_cross_val: {fold}, but {dataset} has no folds")
    if fold is not None and fold not in range(NUM_FOLDS):
        problems.append(f"data_loader.args.test_cross_val: {fold}, expected 0 to 4 or null")
    return problems + _batch_problems(config, arguments)


def _batch_problems(config: dict[str, Any], arguments: dict[str, Any]) -> list[str]:
    problems = []
    size, split = arguments["batch_size"], arguments["validation_split"]
    if size < 1:
        problems.append(f"data_loader.args.batch_size: {size}, expected 1 or more")
    elif size == 1 and config["arch"]["args"].get("add_IC", True):
        problems.append("data_loader.args.batch_size: 1, but batch norm (add_IC) needs 2 or more")
    if split < 0 or (isinstance(split, float) and split >= 1):
        problems.append(
            f"data_loader.args.validation_split: {split}, expected a fraction in [0, 1) or a count"
        )
    if arguments["num_workers"] < 0:
        problems.append("data_loader.args.num_workers: expected 0 or more")
    if (arguments.get("limit_data") or 1) < 1:
        problems.append("data_loader.args.limit_data: expected 1 or more, or null for all")
    if arguments.get("validation_by", "image") not in ("image", "subject"):
        problems.append(
            f"data_loader.args.validation_by: {arguments['validation_by']!r}, expected image or "
            "subject"
        )
    return problems


def _value_problems(config: dict[str, Any]) -> list[str]:
    problems = []
    classes = config["data_loader"]["args"]["num_classes"]
    is_age = config["data_loader"]["type"] == "AgeDataLoader"
    for name in config["metrics"]:
        if name in AGE_METRICS and not is_age:
            problems.append(f"metrics: {name} is for ages, the loader gives genders")
        if name == "accuracy_relaxed" and classes != 101:
            problems.append(f"metrics: accuracy_relaxed needs 101 classes, not {classes}")
    return problems + _loss_problems(config, is_age) + _name_problems(config)


def _loss_problems(config: dict[str, Any], is_age: bool) -> list[str]:
    problems = []
    loss_args = config["loss"].get("args", {}) if isinstance(config["loss"], dict) else {}
    if loss_args.get("soft_ordinal_years", 0) < 0:
        problems.append("loss.args.soft_ordinal_years: expected 0 years or more")
    if loss_args.get("soft_ordinal_years") and not is_age:
        problems.append("loss.args.soft_ordinal_years: genders have no order")
    if not 0 <= loss_args.get("label_smoothing", 0) < 1:
        problems.append("loss.args.label_smoothing: expected a share in [0, 1)")
    return problems


def _name_problems(config: dict[str, Any]) -> list[str]:
    problems = []
    if config["trainer"]["verbosity"] not in (0, 1, 2):
        problems.append("trainer.verbosity: expected 0, 1 or 2")
    if (
        not config["name"].strip()
        or set(config["name"]) & set("/\\")
        or config["name"] in (".", "..")
    ):
        problems.append(f"name: {config['name']!r} names folders, so it must be a plain name")
    return problems + _plan_problems(config)


def _plan_problems(config: dict[str, Any]) -> list[str]:
    problems = []
    seeds, folds = config.get("seeds", [0]), config.get("num_cross_val", 1)
    if not seeds or not all(type(seed) is int and seed >= 0 for seed in seeds):
        problems.append("seeds: expected a list of whole numbers, 0 or more")
    if len(set(map(str, seeds))) < len(seeds):
        problems.append("seeds: a seed occurs twice")
    if folds > NUM_FOLDS:
        problems.append(f"num_cross_val: {folds}, Adience has {NUM_FOLDS} folds")
    return problems


def _monitor_problems(config: dict[str, Any]) -> list[str]:
    text, patience = config["trainer"]["monitor"], config["trainer"]["early_stop"]
    if text == "off":
        if patience > 0:
            return [f"trainer.early_stop: {patience}, but trainer.monitor is off"]
        return []
    names = ["loss", *config["metrics"]]
    known = [prefix + name for prefix, name in itertools.product(("", "val_"), names)]
    mode, _, name = text.partition(" ")
    if mode not in ("min", "max") or name.strip() not in known:
        return [
            f"trainer.monitor: {text!r}, expected off, or min or max and one of {', '.join(known)}"
        ]
    return []


def _dry_build(config: dict[str, Any]) -> list[str]:
    """Build network, optimizer and schedule at no cost, for what only they can check."""
    try:
        with torch.device("meta"):
            arch.ResMLP(**config["arch"]["args"])
    except ValueError as error:
        return [f"arch.args: {error}"]
    weight = nn.Parameter(torch.zeros(1))
    try:
        optimizer = build_optimizer(config, [weight])
    except (ValueError, TypeError, RuntimeError) as error:
        return [f"optimizer.args: {error}"]
    try:
        build_lr_scheduler(config, optimizer, num_batches=2)
    except (ValueError, TypeError, ZeroDivisionError, KeyError) as error:
        return [f"lr_scheduler.args: {error}"]
    return []


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
    if name == "OneCycleLR":
        filled = {"max_lr": [group["lr"] for group in optimizer.param_groups]}
        if not arguments.keys() & {"total_steps", "epochs", "steps_per_epoch"}:
            filled["total_steps"] = epochs * num_batches
    elif name == "CosineAnnealingLR":
        filled = {"T_max": epochs}
    elif name == "CyclicLR":
        filled = {"max_lr": [group["lr"] for group in optimizer.param_groups]}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*lr_scheduler.step.*")
        return getattr(lr_scheduler, name)(optimizer, **{**filled, **arguments})
