"""The check of a whole config before any work: every problem, one line each."""

import itertools
import os
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from data_loader.faces import DATASETS
from model.model import ResMLP
from trainer.parts import PARTS, build_lr_scheduler, build_optimizer
from utils.labels import EMBEDDING_SIZE, NUM_FOLDS
from utils.paths import path_problem, path_problems
from utils.schema import MOST, UNKNOWN_KEY, find_problems
from utils.text import shown

AGE_METRICS = ("one_off_accuracy", "mae", "cs5")
MAX_NAME_BYTES = 255
"""Of the name of a folder, on all usual file systems."""

Config = dict[str, Any]


def check(config: Config) -> list[str]:
    """List every problem of a config: keys, types, values, and what does not go together.

    What does not go together is looked for among the sections whose own values are right.
    """
    problems = find_problems(config, PARTS)
    places = [problem.split(":")[0] for problem in problems]
    broken = {
        place.split(".")[0]
        for place, problem in zip(places, problems, strict=True)
        if UNKNOWN_KEY not in problem or ".args." in place  # then nothing can be built of it
    }
    for sections, find in CHECKS:
        if not broken & set(sections):
            problems += find(config)
    return problems


def _loader_problems(config: Config) -> list[str]:
    loader, arguments = config["data_loader"]["type"], config["data_loader"]["args"]
    classes, dataset = arguments["num_classes"], arguments["dataset"].lower()
    problems = []
    expected = (2,) if loader == "GenderDataLoader" else (8, 101)
    if classes not in expected:
        wanted = " or ".join(map(str, expected))
        problems.append(f"data_loader.args.num_classes: {classes}, {loader} has {wanted}")
    if dataset not in DATASETS:
        problems.append(
            f"data_loader.args.dataset: unknown dataset {shown(arguments['dataset'])}, known "
            f"are {', '.join(DATASETS)}"
        )
    fold = arguments.get("test_cross_val")
    if fold is not None and dataset != "adience":
        problems.append(f"data_loader.args.test_cross_val: {fold}, but {dataset} has no folds")
    if fold is not None and fold not in range(NUM_FOLDS):
        problems.append(f"data_loader.args.test_cross_val: {fold}, expected 0 to 4 or null")
    return problems + _batch_problems(arguments)


def _class_problems(config: Config) -> list[str]:
    arch, arguments = config["arch"]["args"], config["data_loader"]["args"]
    problems = []
    if arch["num_classes"] != arguments["num_classes"]:
        problems.append(
            f"arch.args.num_classes: {arch['num_classes']}, but data_loader.args.num_classes is "
            f"{arguments['num_classes']}"
        )
    if arch["num_initial_features"] != EMBEDDING_SIZE:
        problems.append(
            f"arch.args.num_initial_features: {arch['num_initial_features']}, but embeddings are "
            f"{EMBEDDING_SIZE} wide"
        )
    if arguments["batch_size"] == 1 and arch.get("add_IC", True):
        problems.append("data_loader.args.batch_size: 1, but batch norm (add_IC) needs 2 or more")
    return problems


def _batch_problems(arguments: dict[str, Any]) -> list[str]:
    problems = []
    size, split = arguments["batch_size"], arguments["validation_split"]
    if size < 1:
        problems.append(f"data_loader.args.batch_size: {size}, expected 1 or more")
    if split < 0 or (isinstance(split, float) and split >= 1):
        problems.append(
            f"data_loader.args.validation_split: {split}, expected a fraction in [0, 1) or a count"
        )
    if arguments["num_workers"] < 0:
        problems.append("data_loader.args.num_workers: expected 0 or more")
    limit = arguments.get("limit_data")
    if limit is not None and limit < 1:
        problems.append("data_loader.args.limit_data: expected 1 or more, or null for all")
    if arguments.get("validation_by", "image") not in ("image", "subject"):
        problems.append(
            f"data_loader.args.validation_by: {shown(arguments['validation_by'])}, expected image "
            "or subject"
        )
    return problems


def _metric_problems(config: Config) -> list[str]:
    problems = []
    classes = config["data_loader"]["args"]["num_classes"]
    is_age = config["data_loader"]["type"] == "AgeDataLoader"
    for name in config["metrics"]:
        if name in AGE_METRICS and not is_age:
            problems.append(f"metrics: {name} is for ages, the loader gives genders")
        if name == "accuracy_relaxed" and classes != 101:
            problems.append(f"metrics: accuracy_relaxed needs 101 classes, not {classes}")
    return problems


def _loss_problems(config: Config) -> list[str]:
    problems = []
    is_age = config["data_loader"]["type"] == "AgeDataLoader"
    loss_args = config["loss"].get("args", {}) if isinstance(config["loss"], dict) else {}
    if loss_args.get("soft_ordinal_years", 0) < 0:
        problems.append("loss.args.soft_ordinal_years: expected 0 years or more")
    if loss_args.get("soft_ordinal_years") and not is_age:
        problems.append("loss.args.soft_ordinal_years: genders have no order")
    if not 0 <= loss_args.get("label_smoothing", 0) < 1:
        problems.append("loss.args.label_smoothing: expected a share in [0, 1)")
    return problems


def _plateau_problems(config: Config) -> list[str]:
    """Refuse a ReduceLROnPlateau that watches for the opposite of what is monitored."""
    schedule, monitor = config["lr_scheduler"] or {}, config["trainer"]["monitor"]
    mode = "min" if monitor == "off" else monitor.split(" ")[0]
    given = schedule.get("args", {}).get("mode", "min")
    if schedule.get("type") == "ReduceLROnPlateau" and given != mode:
        return [
            f"lr_scheduler.args.mode: {given}, but it follows trainer.monitor, {shown(monitor)}"
        ]
    return []


def _verbosity_problems(config: Config) -> list[str]:
    verbosity = config["trainer"]["verbosity"]
    return [] if verbosity in (0, 1, 2) else [f"trainer.verbosity: {verbosity}, expected 0, 1 or 2"]


def _name_problems(config: Config) -> list[str]:
    name = config["name"]
    problem = path_problem(f"./{name}") if name.strip() else "is empty"
    is_plain = not set(name) & set("/\\") and name not in (".", "..")
    if problem is None and is_plain and len(os.fsencode(name)) <= MAX_NAME_BYTES:
        return []
    reason = f"; it {problem}" if problem else ""
    return [f"name: {shown(name)} names folders, so it must be a plain name{reason}"]


def _plan_problems(config: Config) -> list[str]:
    problems = []
    seeds, folds = config.get("seeds", [0]), config.get("num_cross_val", 1)
    if not seeds or not all(type(seed) is int and 0 <= seed <= MOST for seed in seeds):
        problems.append("seeds: expected a list of whole numbers, 0 or more")
    if len(set(map(str, seeds))) < len(seeds):
        problems.append("seeds: a seed occurs twice")
    if folds > NUM_FOLDS:
        problems.append(f"num_cross_val: {folds}, Adience has {NUM_FOLDS} folds")
    return problems


def _monitor_problems(config: Config) -> list[str]:
    text, patience = config["trainer"]["monitor"], config["trainer"]["early_stop"]
    if text == "off":
        if patience > 0:
            return [f"trainer.early_stop: {patience}, but trainer.monitor is off"]
        return []
    names = ["loss", *config["metrics"]]
    known = [prefix + name for prefix, name in itertools.product(("", "val_"), names)]
    choices = ", ".join(known)
    mode, _, name = text.partition(" ")
    if mode not in ("min", "max") or name.strip() not in known:
        return [f"trainer.monitor: {shown(text)}, expected off, or min or max and one of {choices}"]
    return []


def _arch_problems(config: Config) -> list[str]:
    """Build the network without memory, for what only it can check."""
    try:
        with torch.device("meta"):
            ResMLP(**config["arch"]["args"])
    except (ValueError, RuntimeError) as error:  # its sizes; more memory than there can be
        return [f"arch.args: {error}"]
    return []


def _optimizer_problems(config: Config) -> list[str]:
    """Build optimizer and schedule for one weight, for what only they can check."""
    try:
        optimizer = build_optimizer(config, [nn.Parameter(torch.zeros(1))])
    except (ValueError, TypeError, RuntimeError) as error:
        return [f"optimizer.args: {error}"]
    try:
        schedule = build_lr_scheduler(config, optimizer, num_batches=2)
        if schedule is not None and not isinstance(schedule, ReduceLROnPlateau):
            with warnings.catch_warnings(action="ignore"):  # the optimizer takes no step here
                schedule.step()
    except (ValueError, TypeError, ArithmeticError, KeyError) as error:
        return [f"lr_scheduler.args: {error}"]
    return []


CHECKS: tuple[tuple[tuple[str, ...], Callable[[Config], list[str]]], ...] = (
    (("data_loader",), _loader_problems),
    (("data_loader", "arch"), _class_problems),
    (("data_loader", "metrics"), _metric_problems),
    (("data_loader", "loss"), _loss_problems),
    (("trainer", "metrics"), _monitor_problems),
    (("trainer",), _verbosity_problems),
    (("trainer", "lr_scheduler"), _plateau_problems),
    (("name",), _name_problems),
    ((), path_problems),
    (("seeds", "num_cross_val"), _plan_problems),
    (("arch",), _arch_problems),
    (("optimizer", "lr_scheduler", "trainer"), _optimizer_problems),
)
"""What each check looks at, and the check."""
