"""The flat config of a search, checked whole before any work."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from cluster.session import TaskResources
from data_loader.data_sets import PLUS
from trainer.check import check
from trainer.components import COMPONENTS
from utils.config import ConfigParser
from utils.files import read_json
from utils.options import AGE_GROUPS, TASKS_PATH, Config, task_names, task_settings
from utils.paths import expand_paths
from utils.problems import JsonObject, read_object, refusal
from utils.schema import EACH_ONCE, AgeGroupList, PathText, PositiveNumber, WholeNumber
from utils.text import shown

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
"""What is searched: its key in a search, and its path in the config of a training."""

PATH_KEYS = ("data_dir", "save_dir")
MAX_CHOICES = 100
"""Values of a parameter; each is checked within a config of its own."""

HELD_OUT_FOLD = 0
"""Of Adience: no search sees it."""

LOADERS = {"gender": "GenderDataLoader", "age": "AgeDataLoader"}
TRAIN_CONFIG = TASKS_PATH.parent.parent / "train.json"


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _bounds(values: list[float]) -> list[float]:
    if len(values) > 2:
        raise ValueError(f"{shown(values)}, expected two numbers, the lower and the upper bound")
    if len(values) > 1 and not 0 < values[0] < values[1]:
        raise ValueError(f"{shown(values)}, expected a lower bound above 0 and then a higher one")
    return values


def _share_of_gpu(gpus: float) -> float:
    TaskResources(gpus=gpus)
    return gpus


def _not_zero(split: float) -> float:
    if split == 0:
        raise ValueError("0, but trials are compared on validation rows")
    return split


Choices = Annotated[list[Any], Field(min_length=1, max_length=MAX_CHOICES), EACH_ONCE]
Bounds = Annotated[list[float], Field(min_length=1), AfterValidator(_bounds)]


class SearchConfig(JsonObject):
    """The flat config of a search, with a list of values for each parameter."""

    dropout: Choices
    num_residuals_per_block: Choices
    num_blocks: Choices
    batch_size: Choices
    lr: Bounds
    weight_decay: Bounds
    gamma: Bounds
    gender_or_age: Annotated[Literal["gender", "age"], BeforeValidator(_lower)] = "age"
    num_classes: WholeNumber = 101
    classes: AgeGroupList | None = None
    criterion: str | dict[str, Any] = "cse"
    dataset: str = "imdb_wiki"
    data_dir: PathText = "data/"
    validation_split: Annotated[float, AfterValidator(_not_zero)] = 0.1
    validation_by: str = COMPONENTS["data_loader"]["AgeDataLoader"].default("validation_by")
    limit_data: WholeNumber | None = None
    amp: bool = True
    add_residual: bool = True
    add_IC: bool = True
    num_samples: PositiveNumber = 10
    max_num_epochs: PositiveNumber = 10
    cpus: PositiveNumber = 1
    gpus_per_trial: Annotated[float, AfterValidator(_share_of_gpu)] | None = None
    scheduler: Annotated[Literal["asha", "fifo"], BeforeValidator(_lower)] = "asha"
    search_alg: Annotated[Literal["random", "optuna"], BeforeValidator(_lower)] = "random"
    seed: WholeNumber = 42
    name: str = "ResMLP"
    save_dir: PathText = "saved/"


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
        """Return the complete config of one trial, as train.py takes it.

        Args:
            values: of all parameters.
        """
        changes = {path: values[name] for name, path in PARAMETERS.items()}
        return ConfigParser(self.base, modification=changes).config


def read_search(config: Config) -> Search:
    """Complete and check the flat config of a search; in its paths `~` becomes the home folder.

    Raises:
        ConfigError: names every problem.
    """
    fields = SearchConfig.model_fields
    defaults = {key: field.default for key, field in fields.items() if key not in PARAMETERS}
    if isinstance(groups := config.get("classes"), list):
        defaults["num_classes"] = len(groups)
    else:
        del defaults["classes"]  # searches of before have no such key, and can be gone on with
    completed = {**defaults, **copy.deepcopy(config)}
    expand_paths(completed, PATH_KEYS)
    for name in PARAMETERS:
        if name in completed and not isinstance(completed[name], list):
            completed[name] = [completed[name]]  # a single value is a fixed one
    read_object(SearchConfig, completed, "config of the search")
    search = Search(completed, _base(completed))
    if problems := _training_problems(search):
        raise refusal("config of the search", problems)
    return search


def _base(config: Config) -> Config:
    """Lay a search's settings over train.json."""
    loader = LOADERS[config["gender_or_age"].lower()]
    num_classes = config["num_classes"]
    holds_out = holds_out_adience(config["dataset"])
    task = "gender" if loader == LOADERS["gender"] else f"age{num_classes}"
    if config.get("classes") is not None:
        task = "age9"  # any groups have the metrics of these
    metrics = task_settings(task)["metrics"] if task in task_names() else []
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
        AGE_GROUPS: config.get("classes"),
        "data_loader.args.test_cross_val": HELD_OUT_FOLD if holds_out else None,
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


def holds_out_adience(dataset: str) -> bool:
    """Return whether a search holds a fold out: of Adience, alone or in a sum of one's own.

    >>> holds_out_adience("adience+mine"), holds_out_adience("imdb_wiki_adience")
    (True, False)
    """
    return "adience" in dataset.lower().split(PLUS)


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
    """Return what `--task` sets in the flat config of a search.

    Raises:
        ConfigError: unknown task.
    """
    settings = task_settings(task)
    is_gender = settings["data_loader.type"] == LOADERS["gender"]
    groups = {"classes": settings[AGE_GROUPS]} if AGE_GROUPS in settings else {}
    return {
        **groups,
        "gender_or_age": "gender" if is_gender else "age",
        "num_classes": settings["data_loader.args.num_classes"],
        "criterion": settings["loss"],
    }


def searches_dir(config: Config) -> Path:
    """Return the folder of the searches below a search's save_dir."""
    return Path(config["save_dir"]) / "hp-tuning"
