"""Members of a stack that step as one: the same bits as each alone, wherever they are alike."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers import Config, assert_identical
from stacking import ALIKE, THREE, Trained, changed, make, train_alone, train_stacked
from torch import Tensor

from base.device import Precision
from cross_val import stacked_steps
from cross_val.member import StackMember
from cross_val.stacked_steps import BY_NUMBER, step_alone

BATCH = "data_loader.args.batch_size"
ONE_CYCLE = {"type": "OneCycleLR", "args": {"cycle_momentum": False}}
RISING_MOMENTUM = {"type": "OneCycleLR", "args": {"base_momentum": 0.5, "max_momentum": 0.0}}
Widths = Counter[int]

UNLIKE: list[Config] = [
    {"seed": seed, "data_loader.args.test_cross_val": 0, "data_loader.args.limit_data": limit}
    for seed, limit in enumerate((100, 210, 215, 210, 40, 100))
]
"""Members of other numbers of rows, in no order."""


@pytest.fixture
def widths(monkeypatch: pytest.MonkeyPatch) -> Widths:
    """Count the steps of groups by their number of members."""
    seen: Widths = Counter()
    original = stacked_steps._Group.step

    def spied(self: Any, gradients: list[Tensor]) -> None:
        seen[len(gradients[0])] += 1
        original(self, gradients)

    monkeypatch.setattr(stacked_steps._Group, "step", spied)
    return seen


def optimizer(name: str, **arguments: Any) -> Config:
    return {"optimizer": {"type": name, "args": {"lr": 0.001, **arguments}}}


def everything(trained: list[Trained]) -> list[Any]:
    """Return weights, optimizer state, schedule and logs of trainings."""
    return [
        {
            "weights": one.weights,
            "optimizer": one.trainer.setup.optimizer.state_dict(),
            "schedule": one.trainer.setup.lr_scheduler.state_dict(),
            "logs": one.logs,
        }
        for one in trained
    ]


def apart(monkeypatch: pytest.MonkeyPatch, call: Callable[[], Any]) -> Any:
    """Call something while no two members count as alike."""
    with monkeypatch.context() as patch:
        patch.setattr(stacked_steps, "_kind", lambda member: (id(member),))
        return call()


@pytest.mark.parametrize(
    "changes",
    [
        *[optimizer(name) for name in sorted(BY_NUMBER)],
        optimizer("SGD", momentum=0.9, nesterov=True, weight_decay=0.01),
        optimizer("Adam", amsgrad=True),
        {"lr_scheduler": {"type": "OneCycleLR", "args": {"base_momentum": 0.5}}},
        optimizer("AdamW", foreach=True),
        optimizer("RMSprop", centered=True, momentum=0.5),
        {
            **optimizer("SGD", momentum=0.9),
            "lr_scheduler": {"type": "ExponentialLR", "args": {"gamma": 0.5}},
        },
        {**optimizer("SGD"), "lr_scheduler": RISING_MOMENTUM},
        {"lr_scheduler": {"type": "CyclicLR", "args": {"base_lr": 1e-4, "cycle_momentum": False}}},
    ],
    ids=str,
)
def test_members_that_step_as_one_take_the_same_bits_as_each_by_itself(
    changes: Config, cross_val_config: Config, widths: Widths, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = changed(cross_val_config, {"lr_scheduler": ONE_CYCLE, BATCH: 20, **changes})
    together, _ = train_stacked(config, ALIKE)
    assert widths[3] > 0
    widths.clear()
    alone, _ = apart(monkeypatch, lambda: train_stacked(config, ALIKE))
    assert not widths
    assert_identical(everything(together), everything(alone))


def test_the_losses_are_those_of_the_trainings_alone(
    cross_val_config: Config, widths: Widths
) -> None:
    config = changed(cross_val_config, {"arch.args.dropout": 0.0, BATCH: 20})
    alone = train_alone(config, ALIKE, is_double=True)
    stacked, _ = train_stacked(config, ALIKE, is_double=True)
    assert widths[3] > 0
    for got, expected in zip(stacked, alone, strict=True):
        losses = [log["val_loss"] for log in got.logs]
        assert losses == pytest.approx([log["val_loss"] for log in expected.logs], abs=1e-8, rel=0)


@pytest.mark.parametrize("batch_size", [19, 47, 63])
def test_members_with_other_numbers_of_batches_train_as_alone(
    batch_size: int, cross_val_config: Config, widths: Widths
) -> None:
    """From none to several whole batches, with and without an odd end."""
    changes = {
        BATCH: batch_size,
        "arch.args.dropout": 0.0,
        "lr_scheduler": None,
        "trainer.epochs": 3,
    }
    config = changed(cross_val_config, changes)
    alone = train_alone(config, UNLIKE, is_double=True)
    stacked, _ = train_stacked(config, UNLIKE, is_double=True)
    assert widths
    for got, expected in zip(stacked, alone, strict=True):
        for name, weight in expected.weights.items():
            torch.testing.assert_close(got.weights[name], weight, rtol=1e-6, atol=1e-7)


def test_members_of_equal_rates_and_other_schedules_step_alone(
    cross_val_config: Config, widths: Widths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an epoch both cycles are at an end, or both at their peak."""
    path = "lr_scheduler.args.step_size_up"
    cyclic = {"type": "CyclicLR", "args": {"base_lr": 1e-4, "cycle_momentum": False}}
    changes = {"lr_scheduler": cyclic, "trainer.epochs": 3, BATCH: 20}
    config = changed(cross_val_config, changes)
    num_batches = len(make(config, ALIKE[:1])[0].trainer.setup.train_loader)
    long = num_batches if num_batches % 2 else num_batches // 2
    members = [{**one, path: steps} for one, steps in zip(ALIKE, (1, long, long), strict=True)]
    together, _ = train_stacked(config, members)
    alone, _ = apart(monkeypatch, lambda: train_stacked(config, members))
    assert set(widths) == {2}
    assert_identical(everything(together), everything(alone))


def test_with_a_gradient_scaler_every_member_steps_alone(
    cross_val_config: Config, widths: Widths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scaler leaves the step of that member out whose gradients overflow."""
    precision = Precision("cpu", torch.float16, needs_scaler=True)
    monkeypatch.setattr("trainer.fit.precision_of", lambda *_: precision)
    train_stacked(changed(cross_val_config, {BATCH: 20}), ALIKE)
    assert not widths


def test_no_gradients_are_held_after_a_step(cross_val_config: Config) -> None:
    (member,) = [StackMember(one.trainer) for one in make(cross_val_config, ALIKE[:1])]
    weights = list(member.trainer.setup.model.parameters())
    step_alone(member, [torch.ones_like(weight) for weight in weights])
    assert [weight.grad for weight in weights] == [None] * len(weights)


def test_only_members_that_are_alike_step_as_one(cross_val_config: Config, widths: Widths) -> None:
    """By rate, by decay, by rows; those in between keep the others apart."""
    config = changed(cross_val_config, {BATCH: 20})
    train_stacked(config, THREE)
    assert not widths
    train_stacked(config, [*ALIKE, {**ALIKE[0], "seed": 6, "optimizer.args.lr": 0.1}])
    assert set(widths) == {3}


def test_members_whose_rates_part_step_alone_from_then_on(
    cross_val_config: Config, monkeypatch: pytest.MonkeyPatch, widths: Widths
) -> None:
    """The first is made to plateau after the first epoch, which halves its rate."""
    plateau = {"type": "ReduceLROnPlateau", "args": {"patience": 0, "factor": 0.5}}
    config = changed(cross_val_config, {"lr_scheduler": plateau, BATCH: 20, "trainer.epochs": 3})
    original = torch.optim.lr_scheduler.ReduceLROnPlateau.step
    made: list[Any] = []

    def step(self: Any, metrics: float, epoch: int | None = None) -> None:
        made.append(self)
        original(self, len(made) if self is made[0] else -len(made), epoch)

    monkeypatch.setattr(torch.optim.lr_scheduler.ReduceLROnPlateau, "step", step)
    stacked, _ = train_stacked(config, ALIKE)
    assert len({one.trainer.lr for one in stacked}) == 2
    assert widths[3] > 0
    assert widths[2] > 0


def test_an_optimizer_that_looks_at_whole_matrices_steps_each_member_alone(
    cross_val_config: Config, widths: Widths
) -> None:
    config = changed(
        cross_val_config,
        {**optimizer("Adafactor"), "arch.args.dropout": 0.0, "lr_scheduler": ONE_CYCLE},
    )
    alone = train_alone(config, ALIKE, is_double=True)
    stacked, _ = train_stacked(config, ALIKE, is_double=True)
    assert not widths
    for got, expected in zip(stacked, alone, strict=True):
        assert got.logs[-1]["loss"] == pytest.approx(expected.logs[-1]["loss"], abs=1e-8, rel=0)
