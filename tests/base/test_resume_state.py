from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import MakeConfig
from helpers import Config, read, run_dirs, train
from resuming import RECIPES, interrupt, resumable, with_epochs

from base.resume import resume
from trainer.check import check
from trainer.components import COMPONENTS
from trainer.fit import prepare
from trainer.trainer import Trainer
from utils.checkpoint import load_checkpoint, save_checkpoint
from utils.config import ConfigParser
from utils.errors import CheckpointError

Change = Callable[[Config], None]


def set_to(path: str, value: Any) -> Change:
    """Make what sets a field of a checkpoint, such as "resume.position.epoch"."""

    def change(content: Config) -> None:
        *parents, last = path.split("/")
        place: Any = content
        for key in parents:
            place = place[int(key) if key.isdigit() else key]
        place[last] = value

    return change


def both_epochs(value: Any) -> Change:
    def change(content: Config) -> None:
        content["epoch"] = content["resume"]["position"]["epoch"] = value

    return change


def longer(value: int) -> Change:
    """Say that so many epochs were planned, and done."""

    def change(content: Config) -> None:
        content["config"]["trainer"]["epochs"] = value
        both_epochs(value)(content)

    return change


MOMENT = "optimizer/state/0/exp_avg"


def moment(make: Callable[[torch.Tensor], torch.Tensor]) -> Change:
    """Make what changes the first moment of the first weight."""

    def change(content: Config) -> None:
        state = content["optimizer"]["state"][0]
        state["exp_avg"] = make(state["exp_avg"])

    return change


CHANGES: dict[str, tuple[str, Change]] = {
    "epoch text": ("resume.position.epoch: 'two'", set_to("resume/position/epoch", "two")),
    "both epochs text": ("epoch: 'two'", both_epochs("two")),
    "epoch 1e12": ("epoch: 1000000000000", both_epochs(10**12)),
    "epochs 1e12 of as many": ("epoch: 1000000000000", longer(10**12)),
    "epoch beyond the plan": ("resume.position.epoch: 9", both_epochs(9)),
    "epoch negative": ("epoch: -1", both_epochs(-1)),
    "epoch true": ("epoch: True", both_epochs(True)),
    "epoch a fraction": ("epoch: 1.5", both_epochs(1.5)),
    "two epochs": ("epoch: 1, expected 2", set_to("epoch", 1)),
    "no epoch": ("epoch: null", set_to("epoch", None)),
    "batch text": ("resume.position.batch", set_to("resume/position/batch", "3")),
    "batch negative": ("resume.position.batch", set_to("resume/position/batch", -1)),
    "sums at the end of an epoch": (
        "resume.position.scores",
        set_to("resume/position/scores", torch.zeros(2, 2)),
    ),
    "position a list": ("resume.position: [1], expected an object", set_to("resume/position", [1])),
    "mode": ("resume.monitor.mode: 'best'", set_to("resume/monitor/mode", "best")),
    "metric": ("resume.monitor.metric", set_to("resume/monitor/metric", 3)),
    "patience": ("resume.monitor.patience", set_to("resume/monitor/patience", -1)),
    "best text": ("resume.monitor.best: 'low'", set_to("resume/monitor/best", "low")),
    "best infinite": ("resume.monitor.best", set_to("resume/monitor/best", float("-inf"))),
    "best nan": ("resume.monitor.best: nan", set_to("resume/monitor/best", float("nan"))),
    "best epoch later": ("resume.monitor.best_epoch", set_to("resume/monitor/best_epoch", 7)),
    "not improved": ("num_not_improved", set_to("resume/monitor/num_not_improved", 10**9)),
    "best log text": ("resume.best_log.loss", set_to("resume/best_log/loss", "low")),
    "best log nan": ("resume.best_log.loss", set_to("resume/best_log/loss", float("nan"))),
    "best log of another epoch": ("resume.best_log.epoch", set_to("resume/best_log/epoch", 40)),
    "rate text": ("resume.base_lr", set_to("resume/base_lr", "fast")),
    "rate nan": ("resume.base_lr", set_to("resume/base_lr", float("nan"))),
    "rate negative": ("resume.base_lr", set_to("resume/base_lr", -0.1)),
    "schedule a list": ("resume.lr_scheduler", set_to("resume/lr_scheduler", [1])),
    "scaler": ("resume.scaler.scale", set_to("resume/scaler", {"scale": "x"})),
    "random short": ("resume.random.cpu", set_to("resume/random/cpu", torch.zeros(3).byte())),
    "random text": ("resume.random.cpu: 'x'", set_to("resume/random/cpu", "x")),
    "random of another kind": (
        "resume.random.cpu",
        set_to("resume/random/cpu", torch.zeros(5056, dtype=torch.int32)),
    ),
    "random that is none": (
        "resume.random.cpu",
        set_to("resume/random/cpu", torch.full((5056,), 255, dtype=torch.uint8)),
    ),
    "random of a GPU": ("resume.random.cuda", set_to("resume/random/cuda", [1])),
    "no groups": ("optimizer.param_groups", set_to("optimizer/param_groups", [])),
    "group's rate": ("param_groups.0.lr", set_to("optimizer/param_groups", [{"lr": "x"}])),
    "states a list": ("optimizer.state: [1], expected an object", set_to("optimizer/state", [1])),
    "states of other weights": (
        "optimizer.state",
        set_to("optimizer/state", {77: {"step": torch.tensor(1.0)}}),
    ),
    "a state that is text": (
        "optimizer.state.0: 'x'",
        lambda content: content["optimizer"]["state"].update({0: "x"}),
    ),
    "moment of another shape": (MOMENT, set_to(MOMENT, torch.zeros(3))),
    "moment of one number": (MOMENT, set_to(MOMENT, torch.zeros(()))),
    "moment complex": (MOMENT, moment(lambda m: m + 0j)),
    "moment of whole numbers": (MOMENT, moment(lambda m: m.int())),
    "moment nan": (MOMENT, moment(lambda m: m / 0)),
    "moment missing": (MOMENT, lambda content: content["optimizer"]["state"][0].pop("exp_avg")),
    "step negative": ("state.0.step", set_to("optimizer/state/0/step", torch.tensor(-1.0))),
    "step a fraction": ("state.0.step", set_to("optimizer/state/0/step", torch.tensor(1.5))),
    "step text": ("state.0.step", set_to("optimizer/state/0/step", "x")),
    "no random numbers": (
        "resume.random: missing",
        lambda content: content["resume"].pop("random"),
    ),
    "resume a list": ("resume: [1]", set_to("resume", [1])),
}
"""What is changed in a checkpoint of the end of epoch 2, and what the refusal says."""


def ended(small_config: MakeConfig, **overrides: Any) -> tuple[Config, Path]:
    config = with_epochs(resumable(small_config, **overrides), 2)
    return config, train(config).save_dir / "checkpoint-epoch2.pth"


def test_no_field_of_a_resume_state_is_taken_that_training_cannot_have_written(
    small_config: MakeConfig, tmp_path: Path
) -> None:
    config, path = ended(small_config)
    before = run_dirs(config)
    for name, (expected, change) in CHANGES.items():
        content = read(path)
        change(content)
        damaged = tmp_path / "damaged.pth"
        save_checkpoint(content, damaged)
        with pytest.raises(CheckpointError) as caught:
            train(config, damaged)
        text = str(caught.value)
        assert expected.replace("/", ".") in text, (name, text)
        assert str(damaged) in text, name
        assert "\n" not in text, name
        assert "another checkpoint" in text, name
        assert run_dirs(config) == before, name


def test_a_batch_beyond_the_epoch_and_sums_of_another_shape_are_refused(
    small_config: MakeConfig, tmp_path: Path
) -> None:
    config = resumable(small_config)
    path = interrupt(config, batch=3)
    values: list[tuple[str, Any]] = [
        ("batch", 10**6),
        ("scores", torch.zeros(3, 1, dtype=torch.float64)),
        ("scores", None),
        ("scores", read(path)["resume"]["position"]["scores"] / 0),
    ]
    for field, value in values:
        content = read(path)
        content["resume"]["position"][field] = value
        if field == "batch":
            width = content["resume"]["position"]["scores"].shape[1]
            content["resume"]["position"]["scores"] = torch.zeros(value, width).double()
        save_checkpoint(content, tmp_path / "damaged.pth")
        with pytest.raises(CheckpointError, match=rf"resume\.position\.{field}: "):
            train(config, tmp_path / "damaged.pth")


def test_what_a_plateau_counts_is_checked(small_config: MakeConfig, tmp_path: Path) -> None:
    config, path = ended(small_config, **RECIPES["AdamW, ReduceLROnPlateau"])
    for field, value in (("best", "x"), ("num_bad_epochs", -1), ("last_epoch", True)):
        content = read(path)
        content["resume"]["lr_scheduler"][field] = value
        save_checkpoint(content, tmp_path / "damaged.pth")
        with pytest.raises(CheckpointError, match=rf"resume\.lr_scheduler\.{field}: "):
            train(config, tmp_path / "damaged.pth")


@pytest.mark.parametrize("name", sorted(COMPONENTS["optimizer"]))
def test_the_state_of_every_optimizer_is_taken(name: str, small_config: MakeConfig) -> None:
    optimizer = {"type": name, "args": {"lr": 0.001}}
    config, path = ended(small_config, optimizer=optimizer, lr_scheduler=None)
    trainer = Trainer(prepare(ConfigParser(config, path, check=check)), ConfigParser(config, path))
    resume(trainer, load_checkpoint(path))
    assert trainer.progress.epoch == 2


def test_a_momentum_that_is_new_or_off_now_does_not_hinder(small_config: MakeConfig) -> None:
    plain = {"type": "SGD", "args": {"lr": 0.01}}
    heavy = {"type": "SGD", "args": {"lr": 0.01, "momentum": 0.9}}
    for before, now in ((plain, heavy), (heavy, plain)):
        config, path = ended(small_config, optimizer=before, lr_scheduler=None)
        logs = train({**with_epochs(config, 3), "optimizer": now}, path).logs
        assert [log["epoch"] for log in logs] == [3]
