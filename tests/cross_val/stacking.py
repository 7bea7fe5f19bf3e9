"""What the tests of stacks share: trainers of one config with small changes, alone and stacked."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from conftest import set_dotted
from helpers import Config

from cross_val.member import StackMember
from cross_val.stack import Stack
from data_loader.dataset import FaceDataset
from trainer.check import check
from trainer.data import SharedInputs, read_inputs
from trainer.fit import prepare
from trainer.trainer import Trainer
from utils.config import ConfigParser

Log = dict[str, float]
THREE: list[Config] = [
    {"seed": 3, "data_loader.args.test_cross_val": 0},
    {"seed": 4, "data_loader.args.test_cross_val": 1, "optimizer.args.lr": 0.0003},
    {
        "seed": 5,
        "data_loader.args.test_cross_val": 2,
        "data_loader.args.limit_data": 210,
        "optimizer.args.weight_decay": 0.1,
    },
]
"""Members of other seeds, rows, rates and decays; their numbers of rows differ as well."""

ALIKE: list[Config] = [
    {"seed": seed, "data_loader.args.test_cross_val": 0, "data_loader.args.limit_data": 210}
    for seed in (3, 4, 5)
]
"""Members of equal settings and numbers of rows, as the runs of one fold are."""


def changed(config: Config, changes: Config) -> Config:
    """Copy a config with changes by dotted path."""
    config = copy.deepcopy(config)
    for path, value in changes.items():
        set_dotted(config, path, value)
    return config


@dataclass
class Trained:
    """A trainer and the logs of its epochs."""

    trainer: Trainer
    logs: list[Log] = field(default_factory=list)

    @property
    def save_dir(self) -> Path:
        return self.trainer.config.save_dir

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        weights: dict[str, torch.Tensor] = self.trainer.setup.model.state_dict()
        return weights


def make(config: Config, changes: Sequence[Config], is_double: bool = False) -> list[Trained]:
    """Make a trainer for each of the changes; all share their faces."""
    inputs = read_inputs(ConfigParser(config, check=check), whole=True)
    made = [_make(ConfigParser(config, modification=one, check=check), inputs) for one in changes]
    if is_double:
        faces = dataset_of(made[0])
        embeddings, labels = faces.embeddings.double(), faces.labels
        for one in made:
            one.trainer.setup.model.double()
            dataset_of(one).move(embeddings, labels)
    return made


def _make(config: ConfigParser, inputs: SharedInputs) -> Trained:
    setup = prepare(config, inputs)
    config.create_run()
    made = Trained(Trainer(setup, config))
    made.trainer.on_epoch = made.logs.append
    return made


def dataset_of(trained: Trained) -> FaceDataset:
    dataset: Any = trained.trainer.setup.train_loader.dataset
    assert isinstance(dataset, FaceDataset)
    return dataset


def train_alone(
    config: Config, changes: Sequence[Config], is_double: bool = False
) -> list[Trained]:
    """Train one after the other."""
    made = make(config, changes, is_double)
    for one in made:
        torch.manual_seed(one.trainer.config["seed"])
        one.trainer.train()
    return made


def train_stacked(
    config: Config, changes: Sequence[Config], is_double: bool = False
) -> tuple[list[Trained], list[StackMember]]:
    """Train as one; return the members in the order in which they left as well."""
    made = make(config, changes, is_double)
    return made, list(Stack([StackMember(one.trainer) for one in made]).train())
