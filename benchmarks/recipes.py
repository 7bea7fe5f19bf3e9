"""The recipes that are compared, as configs, and the rows that they train on."""

from typing import Any

from torch import Tensor

from base.base_data_loader import BaseDataLoader
from benchmarks.measuring import ROOT
from data_loader.dataset import FaceDataset
from trainer.check import check
from utils.config import ConfigParser
from utils.files import read_json
from utils.options import task_settings

Recipe = dict[str, Any]
"""A whole config."""


def shipped(task: str, file_name: str = "train.json", dataset: str = "imdb_wiki") -> Recipe:
    """Read a shipped config, set to a task as `--task` sets it for a data set."""
    changes = {**task_settings(task, dataset), "data_loader.args.dataset": dataset}
    return ConfigParser(read_json(ROOT / file_name), modification=changes).config


def original(task: str) -> Recipe:
    """Read the original project's published hyper-parameters."""
    recipe: Recipe = read_json(ROOT / "configs" / "original" / f"{task}.json")
    return recipe


def quiet_config(recipe: Recipe, changes: dict[str, Any]) -> ConfigParser:
    """Make a checked config of a recipe and some changes that prints and draws nothing."""
    quiet = {"trainer.verbosity": 0, "trainer.tensorboard": False}
    return ConfigParser(recipe, modification={**quiet, **changes}, check=check)


def rows_of(loader: BaseDataLoader, indices: Tensor) -> tuple[Tensor, Tensor]:
    """Return embeddings (N, 512) and labels (N,) of some rows of a loader's data set."""
    dataset = loader.dataset
    if not isinstance(dataset, FaceDataset):
        raise TypeError(f"expected a loader of a FaceDataset, got {type(dataset).__name__}")
    return dataset.__getitems__(indices)
