"""The flat config of a search, checked whole before any work."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.session import TaskResources
from trainer.check import check
from utils.config import ConfigParser
from utils.errors import ConfigError, UserError
from utils.files import read_json
from utils.options import TASKS_PATH, task_settings
from utils.paths import expand_paths, path_problems
from utils.schema import MOST, fits, nearest, type_name
from utils.text import cut, shown

Config = dict[str, Any]

CHOICES: dict[str, str] = {
    "dropout": "arch.args.dropout",
    "num_residuals_per_block": "arch.args.num_residuals_per_block",
    "num_blocks": "arch.args.num_blocks",
    "batch_size": "data_loader.args.batch_size",
}
BOUNDS: dict[str, str] = {
    "lr": "optimizer.args.lr",
    "weight_decay": "optimizer.args.weight_decay",
    "gamma": "lr_scheduler.args.gamma",
}
PARAMETERS = {**CHOICES, **BOUNDS}
"""What is searched: its key in a search, and its place in the config of a training."""

SETTINGS: dict[str, tuple[Any, Any]] = {
    "gender_or_age": (str, "age"),
    "num_classes": (int, 101),
    "criterion": (str | dict, "cse"),
    "dataset": (str, "imdb_wiki"),
    "data_dir": (str, "data/"),
    "validation_split": (float, 0.1),
    "validation_by": (str, "image"),
    "limit_data": (int | None, None),
    "amp": (bool, True),
    "add_residual": (bool, True),
    "add_IC": (bool, True),
    "num_samples": (int, 10),
    "max_num_epochs": (int, 10),
    "cpus": (int, 1),
    "gpus_per_trial": (float | None, None),
    "scheduler": (str, "asha"),
    "search_alg": (str, "random"),
    "seed": (int, 42),
    "name": (str, "ResMLP"),
    "save_dir": (str, "saved/"),
}
"""Every other key: its type, and its value where a config has none."""

PATH_KEYS = ("data_dir", "save_dir")
SCHEDULERS = ("asha", "fifo")
SEARCH_ALGS = ("random", "optuna")
HELD_OUT_FOLD = 0
"""Of Adience: no search sees it."""

LOADERS = {"gender": "GenderDataLoader", "age": "AgeDataLoader"}
TRAIN_CONFIG = TASKS_PATH.parent.parent / "train.json"


@dataclass(frozen=True)
class Search:
    """A checked search.

    Attributes:
        config: the flat config, complete.
        base: config of a training, to which the searched values are added.
    """

    config: Config
    base: Config

    @property
    def share(self) -> TaskResources:
        """What a trial takes of a machine."""
        return TaskResources(self.config["cpus"], self.config["gpus_per_trial"])

    @property
    def searched(self) -> list[str]:
        """The parameters that are not fixed to one value."""
        return [name for name in PARAMETERS if len(self.config[name]) > 1]

    def training_config(self, values: dict[str, Any]) -> Config:
        """Give the complete config of one trial, as train.py takes it.

        Args:
            values: of all parameters.
        """
        places = {place: values[name] for name, place in PARAMETERS.items()}
        return ConfigParser(self.base, modification=places).config


def read_search(config: Config) -> Search:
    """Complete and check the flat config of a search; in its paths `~` becomes the home folder.

    Raises:
        ConfigError: names every problem.
    """
    completed = {key: default for key, (_, default) in SETTINGS.items()} | copy.deepcopy(config)
    expand_paths(completed, PATH_KEYS)
    for name in PARAMETERS:
        if name in completed and not isinstance(completed[name], list):
            completed[name] = [completed[name]]  # a single value is a fixed one
    problems = _flat_problems(completed)
    if not problems:
        search = Search(completed, _base(completed))
        problems = _training_problems(search)
    if problems:
        head = f"config of the search: {len(problems)} problems"
        one_line = f"config of the search: {problems[0]}"
        raise ConfigError(one_line if len(problems) == 1 else "\n  ".join([head, *problems]))
    return search


def _flat_problems(config: Config) -> list[str]:
    known = {**PARAMETERS, **SETTINGS}
    problems = [
        f"{cut(key)}: unknown key, {nearest(key, known)}" for key in config if key not in known
    ]
    problems += [f"{name}: missing" for name in PARAMETERS if name not in config]
    problems += [
        f"{key}: {shown(config[key])}, expected {type_name(kind)}"
        for key, (kind, _) in SETTINGS.items()
        if not fits(config[key], kind)
    ]
    problems += [
        f"{key}: {shown(value)}, expected {MOST} or less"
        for key, value in config.items()
        if type(value) is int and value > MOST
    ]
    problems += path_problems(config, PATH_KEYS)
    problems += [
        problem
        for name in PARAMETERS
        if name in config
        for problem in _values_problems(name, config[name])
    ]
    return problems or _value_problems(config)


def _values_problems(name: str, values: list[Any]) -> Iterator[str]:
    if not values:
        yield f"{name}: an empty list, expected at least one value"
    elif name in BOUNDS and len(values) > 1:
        if len(values) != 2 or not all(fits(value, float) for value in values):
            yield f"{name}: {shown(values)}, expected two numbers, the lower and the upper bound"
        elif not 0 < values[0] < values[1]:
            yield f"{name}: {shown(values)}, expected a lower bound above 0 and then a higher one"
    elif len(set(map(str, values))) < len(values):
        yield f"{name}: {shown(values)}, a value occurs twice"


def _value_problems(config: Config) -> list[str]:
    problems = [
        f"{key}: {shown(config[key])}, expected 1 or more"
        for key in ("num_samples", "max_num_epochs")
        if config[key] < 1
    ]
    for key, known in (
        ("gender_or_age", tuple(LOADERS)),
        ("scheduler", SCHEDULERS),
        ("search_alg", SEARCH_ALGS),
    ):
        if config[key].lower() not in known:
            problems.append(f"{key}: {shown(config[key])}, expected {' or '.join(known)}")
    if not config["validation_split"]:
        problems.append("validation_split: 0, but trials are compared on validation rows")
    try:
        TaskResources(config["cpus"], config["gpus_per_trial"])
    except UserError as error:
        problems.append(str(error).replace("gpus ", "gpus_per_trial "))
    return problems


def _base(config: Config) -> Config:
    """Lay a search's settings over train.json."""
    loader = LOADERS[config["gender_or_age"].lower()]
    num_classes = config["num_classes"]
    is_adience = config["dataset"].lower() == "adience"
    task = "gender" if loader == LOADERS["gender"] else f"age{num_classes}"
    metrics = task_settings(task)["metrics"] if task in ("gender", "age8", "age101") else []
    same = ("dataset", "data_dir", "validation_split", "validation_by", "limit_data", "num_classes")
    changes = {
        "name": config["name"],
        "amp": config["amp"],
        "seed": config["seed"],
        "arch.args.add_residual": config["add_residual"],
        "arch.args.add_IC": config["add_IC"],
        "arch.args.num_classes": num_classes,
        "data_loader.type": loader,
        **{f"data_loader.args.{key}": config[key] for key in same},
        "data_loader.args.test_cross_val": HELD_OUT_FOLD if is_adience else None,
        "optimizer": {"type": "AdamW", "args": {}},
        "lr_scheduler": {"type": "ExponentialLR", "args": {}},
        "loss": config["criterion"],
        "metrics": metrics,
        "trainer.epochs": config["max_num_epochs"],
        "trainer.monitor": "min val_loss",
        "trainer.early_stop": 0,
        "trainer.save_dir": config["save_dir"],
    }
    return ConfigParser(read_json(TRAIN_CONFIG), modification=changes).config


def _training_problems(search: Search) -> list[str]:
    """Check every value that a trial can draw, each with the first ones of the others."""
    first = {name: values[0] for name, values in search.config.items() if name in PARAMETERS}
    found = [
        problem
        for name in PARAMETERS
        for value in search.config[name]
        for problem in check(search.training_config({**first, name: value}))
    ]
    return list(dict.fromkeys(found))


def task_changes(task: str) -> Config:
    """Give what `--task` sets in the flat config of a search.

    Raises:
        ConfigError: unknown task.
    """
    settings = task_settings(task)
    is_gender = settings["data_loader.type"] == LOADERS["gender"]
    return {
        "gender_or_age": "gender" if is_gender else "age",
        "num_classes": settings["data_loader.args.num_classes"],
        "criterion": settings["loss"],
    }


def searches_dir(config: Config) -> Path:
    """Name the folder of the searches below a search's save_dir."""
    return Path(config["save_dir"]) / "hp-tuning"
