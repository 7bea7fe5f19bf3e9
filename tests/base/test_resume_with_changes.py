import numpy as np
import pytest
from conftest import MakeConfig
from helpers import Config, one_cycle, read, train
from resuming import (
    NUM_BATCHES,
    RECIPES,
    SGD,
    assert_same_end,
    changed,
    interrupt,
    resumable,
    with_epochs,
)

from utils.errors import UserError

EXPONENTIAL = RECIPES["AdamW, ExponentialLR"]["lr_scheduler"]
ONE_CYCLE = RECIPES["AdamW, OneCycleLR"]["lr_scheduler"]
COSINE = RECIPES["AdamW, CosineAnnealingLR"]["lr_scheduler"]


@pytest.mark.parametrize(
    "recipe", ["AdamW, ExponentialLR", "AdamW, ReduceLROnPlateau", "SGD with momentum, CyclicLR"]
)
def test_a_finished_run_resumed_with_more_epochs_is_as_if_it_had_them_from_the_start(
    recipe: str, small_config: MakeConfig
) -> None:
    """These schedules have no length, so nothing of the first two epochs depends on it."""
    config = resumable(small_config, **RECIPES[recipe])
    whole = train(config)
    short = train(with_epochs(config, 2))
    resumed = train(config, short.save_dir / "checkpoint-epoch2.pth")
    assert_same_end(resumed, whole)


def test_one_cycle_of_a_finished_run_goes_on_along_the_longer_curve(
    small_config: MakeConfig, rates: list[float]
) -> None:
    config = resumable(small_config, **RECIPES["AdamW, OneCycleLR"])
    short = train(with_epochs(config, 2))
    rates.clear()
    train(config, short.save_dir / "checkpoint-epoch2.pth")
    expected = one_cycle(config["optimizer"]["args"]["lr"], 4 * NUM_BATCHES)[2 * NUM_BATCHES :]
    assert rates[1:] == pytest.approx(expected[1:], rel=1e-9)
    assert 0 <= rates[0] <= expected[0] * 1.01


def test_one_cycle_with_straight_lines_never_climbs_the_loss_when_it_is_prolonged(
    small_config: MakeConfig, rates: list[float]
) -> None:
    schedule = {"type": "OneCycleLR", "args": {"anneal_strategy": "linear"}}
    config = resumable(small_config, lr_scheduler=schedule)
    short = train(with_epochs(config, 2))
    train(config, short.save_dir / "checkpoint-epoch2.pth")
    assert min(rates) >= 0


def test_cosine_annealing_of_a_finished_run_goes_on_along_the_longer_curve(
    small_config: MakeConfig, rates: list[float]
) -> None:
    config = resumable(small_config, **RECIPES["AdamW, CosineAnnealingLR"])
    short = train(with_epochs(config, 2))
    rates.clear()
    train(config, short.save_dir / "checkpoint-epoch2.pth")
    curve = config["optimizer"]["args"]["lr"] * (1 + np.cos(np.pi * np.array([2, 3]) / 4)) / 2
    assert rates[::NUM_BATCHES] == pytest.approx(curve, rel=1e-9)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (EXPONENTIAL, COSINE),
        (EXPONENTIAL, ONE_CYCLE),
        (ONE_CYCLE, EXPONENTIAL),
        (ONE_CYCLE, None),
        (None, ONE_CYCLE),
        (None, EXPONENTIAL),
    ],
    ids=lambda section: section["type"] if section else "none",
)
def test_another_type_of_schedule_is_told_and_starts_anew(
    before: Config | None,
    after: Config | None,
    small_config: MakeConfig,
    program_log: pytest.LogCaptureFixture,
    rates: list[float],
) -> None:
    config = resumable(small_config, lr_scheduler=before)
    run = train(with_epochs(config, 2))
    rates.clear()
    resumed = train(changed(config, lr_scheduler=after), run.save_dir / "checkpoint-epoch2.pth")
    assert [log["epoch"] for log in resumed.logs] == [3, 4]
    warnings = [line for line in program_log.messages if "schedule" in line.lower()]
    assert len(warnings) == 1
    peak = config["optimizer"]["args"]["lr"]
    if after is None or after is EXPONENTIAL or after is COSINE:
        assert rates[0] == pytest.approx(peak)
    else:
        assert rates[:NUM_BATCHES] == pytest.approx(one_cycle(peak, 20)[:NUM_BATCHES])


def test_another_type_of_optimizer_is_told_and_starts_anew(
    small_config: MakeConfig, program_log: pytest.LogCaptureFixture, rates: list[float]
) -> None:
    config = resumable(small_config, lr_scheduler=EXPONENTIAL)
    run = train(config)
    rates.clear()
    resumed = train(changed(config, optimizer=SGD), run.save_dir / "checkpoint-epoch2.pth")
    assert [log["epoch"] for log in resumed.logs] == [3, 4]
    assert len([line for line in program_log.messages if "optimizer" in line.lower()]) == 1
    assert rates[0] <= SGD["args"]["lr"]
    assert "exp_avg" not in str(read(resumed.save_dir / "checkpoint-epoch4.pth")["optimizer"])


def test_a_changed_weight_decay_is_used_and_leaves_the_decayed_rate_alone(
    small_config: MakeConfig, rates: list[float]
) -> None:
    config = resumable(small_config, lr_scheduler=EXPONENTIAL)
    run = train(config)
    expected = rates[2 * NUM_BATCHES :]
    rates.clear()
    arguments = {**config["optimizer"]["args"], "weight_decay": 0.5}
    config = changed(config, optimizer={"type": "AdamW", "args": arguments})
    resumed = train(config, run.save_dir / "checkpoint-epoch2.pth")
    assert resumed.fitted.setup.optimizer.param_groups[0]["weight_decay"] == 0.5
    assert rates == pytest.approx(expected)


def test_a_changed_learning_rate_is_used_by_one_cycle(
    small_config: MakeConfig, rates: list[float]
) -> None:
    config = resumable(small_config, lr_scheduler=ONE_CYCLE)
    run = train(config)
    rates.clear()
    arguments = {**config["optimizer"]["args"], "lr": 0.01}
    config = changed(config, optimizer={"type": "AdamW", "args": arguments})
    train(config, run.save_dir / "checkpoint-epoch2.pth")
    expected = one_cycle(0.01, 4 * NUM_BATCHES)[2 * NUM_BATCHES :]
    assert rates[1:] == pytest.approx(expected[1:])


def test_a_changed_argument_of_the_schedule_is_used(
    small_config: MakeConfig, rates: list[float]
) -> None:
    config = resumable(small_config, lr_scheduler=EXPONENTIAL)
    run = train(config)
    rates.clear()
    config = changed(config, lr_scheduler={"type": "ExponentialLR", "args": {"gamma": 0.125}})
    train(config, run.save_dir / "checkpoint-epoch2.pth")
    assert rates[NUM_BATCHES] / rates[0] == pytest.approx(0.125)


def test_an_optimizer_without_arguments_can_be_resumed_with(small_config: MakeConfig) -> None:
    config = resumable(small_config, lr_scheduler=EXPONENTIAL)
    run = train(with_epochs(config, 1))
    bare = changed(config, optimizer={"type": "AdamW"})
    assert len(train(bare, run.save_dir / "checkpoint-epoch1.pth").logs) == 3


def with_batch_size(config: Config, batch_size: int) -> Config:
    arguments = {**config["data_loader"]["args"], "batch_size": batch_size}
    return changed(config, data_loader={**config["data_loader"], "args": arguments})


@pytest.mark.parametrize("batch_size", [16, 135])
def test_another_batch_size_after_whole_epochs_goes_on_along_the_same_curve(
    batch_size: int, small_config: MakeConfig, rates: list[float]
) -> None:
    config = resumable(small_config, lr_scheduler=ONE_CYCLE)
    run = train(config)
    rates.clear()
    config = with_batch_size(config, batch_size)
    resumed = train(config, run.save_dir / "checkpoint-epoch2.pth")
    assert [log["epoch"] for log in resumed.logs] == [3, 4]
    num_batches = len(resumed.fitted.setup.train_loader)
    expected = one_cycle(config["optimizer"]["args"]["lr"], 4 * num_batches)[2 * num_batches :]
    assert rates[1:] == pytest.approx(expected[1:])


@pytest.mark.parametrize("batch_size", [16, 135, 270])
def test_another_batch_size_in_mid_epoch_is_refused_since_batches_would_be_lost_or_repeated(
    batch_size: int, small_config: MakeConfig
) -> None:
    config = resumable(small_config)
    checkpoint = interrupt(config, batch=3)
    with pytest.raises(UserError, match="batch_size"):
        train(with_batch_size(config, batch_size), checkpoint)


def test_other_metrics_in_mid_epoch_are_refused_since_their_sums_are_not_known(
    small_config: MakeConfig,
) -> None:
    config = resumable(small_config)
    checkpoint = interrupt(config, batch=3)
    with pytest.raises(UserError, match="metrics"):
        train(changed(config, metrics=["accuracy"]), checkpoint)


def test_other_metrics_after_whole_epochs_are_taken(small_config: MakeConfig) -> None:
    config = resumable(small_config)
    run = train(config)
    resumed = train(changed(config, metrics=["cs5"]), run.save_dir / "checkpoint-epoch3.pth")
    assert list(resumed.logs[0]) == ["epoch", "loss", "cs5", "val_loss", "val_cs5"]


def test_another_monitored_value_is_told_and_followed_from_now_on(
    small_config: MakeConfig, program_log: pytest.LogCaptureFixture
) -> None:
    config = resumable(small_config)
    run = train(config)
    config = changed(config, trainer={**config["trainer"], "monitor": "max val_accuracy"})
    resumed = train(config, run.save_dir / "checkpoint-epoch3.pth")
    assert "val_accuracy" in program_log.text
    best = read(resumed.save_dir / "model_best.pth")
    assert (best["epoch"], best["monitor_best"]) == (4, resumed.logs[0]["val_accuracy"])
