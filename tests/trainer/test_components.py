import contextlib
from typing import Any

import numpy as np
import pytest
import torch
from conftest import MakeConfig
from helpers import TINY, one_cycle, train

from trainer.check import check
from trainer.components import COMPONENTS
from trainer.fit import prepare
from utils.config import ConfigParser
from utils.errors import ConfigError

# --- rates ----------------------------------------------------------------------------------------


def curve(name: str, lr: float) -> list[float]:
    """Return the rate of every step of four epochs of five batches, by hand."""
    epochs = np.arange(4)
    if name == "OneCycleLR":
        return list(one_cycle(lr, 20))
    if name == "CyclicLR":  # three steps up from 0.0001, three down
        place = np.abs(np.arange(20) % 6 - 3) / 3
        return list(0.0001 + (lr - 0.0001) * (1 - place))
    per_epoch = {
        "ExponentialLR": lr * 0.3**epochs,
        "StepLR": lr * 0.1 ** (epochs // 2),
        "CosineAnnealingLR": lr * (1 + np.cos(np.pi * epochs / 4)) / 2,
        "ReduceLROnPlateau": lr * np.array([1, 1, 0.1, 0.01]),
        "none": lr * np.ones(4),
    }[name]
    return list(np.repeat(per_epoch, 5))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("OneCycleLR", {}),
        ("CyclicLR", {"base_lr": 0.0001, "step_size_up": 3}),
        ("ExponentialLR", {"gamma": 0.3}),
        ("StepLR", {"step_size": 2}),
        ("CosineAnnealingLR", {}),
        # only a loss below a tenth of the best would be better, so none ever is
        ("ReduceLROnPlateau", {"patience": 0, "threshold": 0.9}),
        ("none", {}),
    ],
)
def test_the_rate_follows_the_curve_computed_by_hand(
    name: str, arguments: dict[str, Any], small_config: MakeConfig, rates: list[float]
) -> None:
    schedule = None if name == "none" else {"type": name, "args": arguments}
    config = small_config(**{**TINY, "lr_scheduler": schedule, "trainer.epochs": 4})
    train(config)
    assert rates == pytest.approx(curve(name, config["optimizer"]["args"]["lr"]), rel=1e-9)


@pytest.mark.parametrize(("validation_split", "followed"), [(0.1, "val_loss"), (0, "loss")])
def test_a_plateau_is_one_of_the_validation_loss_or_without_rows_of_the_training_loss(
    validation_split: float,
    followed: str,
    small_config: MakeConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[float] = []
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau
    original = plateau.step

    def step(self: Any, metrics: float, *rest: Any) -> None:
        seen.append(metrics)
        original(self, metrics, *rest)

    monkeypatch.setattr(plateau, "step", step)
    config = small_config(
        **{
            **TINY,
            "data_loader.args.validation_split": validation_split,
            "lr_scheduler": {"type": "ReduceLROnPlateau", "args": {}},
        }
    )
    run = train(config)
    assert seen == [log[followed] for log in run.logs]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"max_lr": 0.01}, one_cycle(0.01, 10)),
        ({"pct_start": 0.5, "div_factor": 10}, one_cycle(0.001, 10, 0.5, 10)),
        ({"total_steps": 50}, one_cycle(0.001, 50)[:10]),
        ({"epochs": 5, "steps_per_epoch": 10}, one_cycle(0.001, 50)[:10]),
    ],
)
def test_lengths_and_peak_of_one_cycle_that_the_config_gives_are_taken(
    arguments: dict[str, Any], expected: Any, small_config: MakeConfig, rates: list[float]
) -> None:
    schedule = {"type": "OneCycleLR", "args": arguments}
    train(small_config(**{**TINY, "optimizer.args.lr": 0.001, "lr_scheduler": schedule}))
    assert rates == pytest.approx(expected)


def test_one_cycle_whose_peak_is_its_first_step_trains(small_config: MakeConfig) -> None:
    """Four steps in all, a quarter of them rising: no length may be divided by zero."""
    config = small_config(
        **{
            **TINY,
            "data_loader.args.batch_size": 512,
            "lr_scheduler": {"type": "OneCycleLR", "args": {"pct_start": 0.25}},
            "trainer.epochs": 4,
        }
    )
    with contextlib.suppress(ConfigError):  # refusing it is as good
        prepare(ConfigParser(config, check=check))


# --- every part that a config may name ------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(COMPONENTS["optimizer"]))
def test_every_optimizer_that_the_check_accepts_trains_and_resumes(
    name: str, small_config: MakeConfig
) -> None:
    config = small_config(**{**TINY, "optimizer": {"type": name, "args": {"lr": 0.01}}})
    config["lr_scheduler"] = None
    config["trainer"].update(save_period=1)
    problems = check(ConfigParser(config).config)
    if name == "Muon":  # for matrices only; the network has vectors too
        assert any("optimizer" in problem for problem in problems)
        return
    assert problems == []
    whole = train(config)
    resumed = train(config, whole.save_dir / "checkpoint-epoch1.pth")
    assert resumed.logs == whole.logs[1:]


@pytest.mark.parametrize("name", sorted(COMPONENTS["lr_scheduler"]))
def test_every_schedule_that_the_check_accepts_trains_and_resumes(
    name: str, small_config: MakeConfig
) -> None:
    arguments = {
        "CosineAnnealingWarmRestarts": {"T_0": 2},
        "CyclicLR": {"base_lr": 0.001},
        "ExponentialLR": {"gamma": 0.9},
        "MultiStepLR": {"milestones": [1, 3]},
        "StepLR": {"step_size": 1},
    }.get(name, {})
    config = small_config(**{**TINY, "lr_scheduler": {"type": name, "args": arguments}})
    config["trainer"].update(save_period=1)
    whole = train(config)
    resumed = train(config, whole.save_dir / "checkpoint-epoch1.pth")
    assert resumed.logs == whole.logs[1:]
