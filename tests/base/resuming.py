"""Interrupting and resuming, and the recipes it is tried with."""

import signal
from pathlib import Path
from typing import Any

import pytest
from conftest import MakeConfig
from helpers import TINY, Config, Run, assert_identical, read, run_dirs, signal_at, train

from utils.cli import Interrupted

NUM_BATCHES = 5
"""Batches an epoch: 270 rows to train on in fours of 64 and the rest."""

SGD: Config = {"type": "SGD", "args": {"lr": 0.05, "momentum": 0.9, "nesterov": True}}
RECIPES: dict[str, Config] = {
    "AdamW, ExponentialLR": {"lr_scheduler": {"type": "ExponentialLR", "args": {"gamma": 0.5}}},
    "AdamW, OneCycleLR": {"lr_scheduler": {"type": "OneCycleLR", "args": {}}},
    "AdamW, CosineAnnealingLR": {"lr_scheduler": {"type": "CosineAnnealingLR", "args": {}}},
    "AdamW, ReduceLROnPlateau": {
        "lr_scheduler": {"type": "ReduceLROnPlateau", "args": {"patience": 0, "threshold": 0.5}}
    },
    "SGD with momentum, OneCycleLR": {
        "optimizer": SGD,
        "lr_scheduler": {"type": "OneCycleLR", "args": {}},
    },
    "SGD with momentum, CyclicLR": {
        "optimizer": SGD,
        "lr_scheduler": {"type": "CyclicLR", "args": {"base_lr": 0.01, "step_size_up": 3}},
    },
    "SGD with momentum, MultiStepLR": {
        "optimizer": SGD,
        "lr_scheduler": {"type": "MultiStepLR", "args": {"milestones": [1, 3]}},
    },
    "AMSGrad, no schedule": {
        "optimizer": {"type": "Adam", "args": {"lr": 0.01, "amsgrad": True}},
        "lr_scheduler": None,
    },
}


def resumable(small_config: MakeConfig, **overrides: Any) -> Config:
    """Make a config of four epochs, all kept."""
    config: Config = small_config(
        **{**TINY, "trainer.epochs": 4, "trainer.save_period": 1, **overrides}
    )
    return config


def changed(config: Config, **sections: Any) -> Config:
    return {**config, **sections}


def with_epochs(config: Config, epochs: int) -> Config:
    return changed(config, trainer={**config["trainer"], "epochs": epochs})


def interrupt(
    config: Config,
    batch: int,
    resume: Path | None = None,
    number: int = signal.SIGINT,
) -> Path:
    """Train until a signal comes on this batch, counted from 1; return the checkpoint to go on."""
    with pytest.MonkeyPatch.context() as patch:
        signal_at(patch, batch, number)
        with pytest.raises(Interrupted):
            train(config, resume)
    return run_dirs(config)[-1] / "checkpoint-interrupted.pth"


def assert_same_end(resumed: Run, whole: Run) -> None:
    """Compare logs, the last checkpoint and the best one, each to the bit."""
    assert resumed.logs == whole.logs[-len(resumed.logs) :]
    for name in (f"checkpoint-epoch{int(whole.logs[-1]['epoch'])}.pth", "model_best.pth"):
        assert_identical(read(resumed.save_dir / name), read(whole.save_dir / name), name)
    assert_identical(
        resumed.fitted.setup.model.state_dict(), whole.fitted.setup.model.state_dict(), "model"
    )
    assert resumed.fitted.best_log == whole.fitted.best_log
