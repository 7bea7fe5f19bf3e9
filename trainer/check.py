"""The check of a whole config before any work: every problem, one line each."""

import itertools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from data_loader.data_sets import dataset_problem, has_known_name
from model.model import ResMLP
from trainer.components import COMPONENTS, build_lr_scheduler, build_optimizer
from utils.labels import AGE_CLASS_COUNTS, EMBEDDING_SIZE, NUM_FOLDS, NUM_GENDERS
from utils.options import Config
from utils.problems import UNKNOWN_KEY
from utils.schema import find_problems
from utils.text import shown

AGE_ARGUMENTS = ("soft_ordinal_years", "soft_ordinal_growth", "expected_age_weight")
AGE_METRIC_NAMES = ("one_off_accuracy", "mae", "cs5")
CLASSES = {"GenderDataLoader": (NUM_GENDERS,), "AgeDataLoader": AGE_CLASS_COUNTS}


def check(config: Config) -> list[str]:
    """List every problem of a config: keys, types, values, and what does not go together.

    What does not go together is looked for among the sections whose own values are right.
    """
    problems = find_problems(config, COMPONENTS)
    broken = {
        path.split(".")[0]
        for path, text in problems
        if ".args." in path or not text.startswith(UNKNOWN_KEY)  # then nothing can be built of it
    }
    lines = [str(problem) for problem in problems]
    for sections, rule in RULES:
        if not broken & set(sections):
            lines += rule(config)
    return lines


def _data_set(config: Config) -> Iterator[str]:
    loader, arguments = config["data_loader"]["type"], config["data_loader"]["args"]
    dataset = arguments["dataset"]
    yield from _classes(loader, arguments["num_classes"], arguments.get("classes"))
    if problem := dataset_problem(dataset):
        yield f"data_loader.args.dataset: {shown(dataset)}: {problem}"
    split = arguments["validation_split"]
    if isinstance(split, float) and split >= 1:
        path = "data_loader.args.validation_split"
        yield f"{path}: {split}, expected a fraction in [0, 1) or a count"


def _classes(loader: str, num_classes: int, groups: list[Any] | None) -> Iterator[str]:
    if loader == "GenderDataLoader" and groups is not None:
        yield "data_loader.args.classes: ages, but GenderDataLoader gives genders; leave them out"
    elif groups is None and num_classes not in CLASSES[loader]:
        expected = " or ".join(map(str, CLASSES[loader]))
        yield f"data_loader.args.num_classes: {num_classes}, {loader} has {expected}"
    elif groups is not None and num_classes != len(groups):
        path = "data_loader.args.num_classes"
        yield f"{path}: {num_classes}, but classes has {len(groups)}; leave it out"


def _folds(config: Config) -> Iterator[str]:
    """Refuse folds that the known data sets do not have; those of others are in their files."""
    arguments = config["data_loader"]["args"]
    if not has_known_name(arguments["dataset"]):
        return
    fold, num_folds = arguments.get("test_cross_val"), config.get("num_cross_val", 1)
    if fold is not None and fold >= NUM_FOLDS:
        yield f"data_loader.args.test_cross_val: {fold}, expected {NUM_FOLDS - 1} or less"
    if num_folds > NUM_FOLDS:
        yield f"num_cross_val: {num_folds}, {arguments['dataset']} has {NUM_FOLDS} folds"


def _network_and_data(config: Config) -> Iterator[str]:
    arch, arguments = config["arch"]["args"], config["data_loader"]["args"]
    classes, width = arch["num_classes"], arch["num_initial_features"]
    if classes != arguments["num_classes"]:
        other = f"data_loader.args.num_classes is {arguments['num_classes']}"
        yield f"arch.args.num_classes: {classes}, but {other}"
    if width != EMBEDDING_SIZE:
        yield f"arch.args.num_initial_features: {width}, but embeddings are {EMBEDDING_SIZE} wide"
    if arguments["batch_size"] == 1 and arch.get("add_IC", True):
        yield "data_loader.args.batch_size: 1, but batch norm (add_IC) needs 2 or more"


def _metrics(config: Config) -> Iterator[str]:
    arguments = config["data_loader"]["args"]
    has_groups = arguments.get("classes") is not None
    classes = "groups" if has_groups else arguments["num_classes"]
    for name in config["metrics"]:
        if name in AGE_METRIC_NAMES and config["data_loader"]["type"] != "AgeDataLoader":
            yield f"metrics: {name} is for ages, the loader gives genders"
        if name == "accuracy_relaxed" and classes != 101:
            yield f"metrics: accuracy_relaxed needs 101 classes, not {classes}"


def _loss(config: Config) -> Iterator[str]:
    arguments = config["loss"].get("args", {}) if isinstance(config["loss"], dict) else {}
    is_age = config["data_loader"]["type"] == "AgeDataLoader"
    for name in AGE_ARGUMENTS:
        if arguments.get(name) and not is_age:
            yield f"loss.args.{name}: genders have no order"


def _plateau(config: Config) -> Iterator[str]:
    """Refuse a ReduceLROnPlateau that watches for the opposite of what is monitored."""
    schedule, monitor = config["lr_scheduler"] or {}, config["trainer"]["monitor"]
    mode = "min" if monitor == "off" else monitor.split(" ")[0]
    given = schedule.get("args", {}).get("mode", "min")
    if schedule.get("type") == "ReduceLROnPlateau" and given != mode:
        yield f"lr_scheduler.args.mode: {given}, but it follows trainer.monitor, {shown(monitor)}"


def _monitor(config: Config) -> Iterator[str]:
    text, patience = config["trainer"]["monitor"], config["trainer"]["early_stop"]
    names = ["loss", *config["metrics"]]
    known = [prefix + name for prefix, name in itertools.product(("", "val_"), names)]
    mode, _, name = text.partition(" ")
    if text == "off" and patience > 0:
        yield f"trainer.early_stop: {patience}, but trainer.monitor is off"
    if text != "off" and (mode not in ("min", "max") or name.strip() not in known):
        expected = f"off, or min or max and one of {', '.join(known)}"
        yield f"trainer.monitor: {shown(text)}, expected {expected}"


def _built_network(config: Config) -> Iterator[str]:
    """Build the network without memory, for what only it can check."""
    try:
        with torch.device("meta"):
            ResMLP(**config["arch"]["args"])
    except (ValueError, RuntimeError) as error:  # its sizes; more memory than there can be
        yield f"arch.args: {error}"


def _built_optimizer(config: Config) -> Iterator[str]:
    """Build optimizer and schedule for one weight, for what only they can check."""
    try:
        optimizer = build_optimizer(config, [nn.Parameter(torch.zeros(1))])
    except (ValueError, TypeError, RuntimeError) as error:
        yield f"optimizer.args: {error}"
        return
    if not optimizer.param_groups[0]["lr"] > 0:
        yield "optimizer.args.lr: 0, expected more than 0: nothing would be learned"
    try:
        schedule = build_lr_scheduler(config, optimizer, num_batches=2)
        if schedule is not None and not isinstance(schedule, ReduceLROnPlateau):
            with warnings.catch_warnings(action="ignore"):  # the optimizer takes no step here
                schedule.step()
    except (ValueError, TypeError, ArithmeticError, KeyError) as error:
        yield f"lr_scheduler.args: {error}"


RULES: tuple[tuple[tuple[str, ...], Callable[[Config], Iterator[str]]], ...] = (
    (("data_loader",), _data_set),
    (("data_loader", "num_cross_val"), _folds),
    (("data_loader", "arch"), _network_and_data),
    (("data_loader", "metrics"), _metrics),
    (("data_loader", "loss"), _loss),
    (("trainer", "metrics"), _monitor),
    (("trainer", "lr_scheduler"), _plateau),
    (("arch",), _built_network),
    (("optimizer", "lr_scheduler", "trainer"), _built_optimizer),
)
"""The sections that go together, and what is wrong between them."""
