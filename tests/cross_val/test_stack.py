"""Trainings as one stack: the same as alone, independent of each other, and each its own."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import RunScript
from helpers import Config, assert_identical, read, signal_at, train
from stacking import THREE, Trained, changed, dataset_of, make, train_alone, train_stacked
from torch import Tensor, nn

from base.curves import Curves
from base.device import Precision
from cross_val.member import StackMember
from cross_val.stack import Stack
from model import loss, stacked
from model.dropout import (
    LANE,
    bit_source,
    fill_draws,
    keep_lanes,
    num_draws,
    rounded_keep_probability,
)
from model.stacked import Pass, StackedResMLP
from utils.cli import Interrupted

NO_DROPOUT: Config = {"arch.args.dropout": 0.0}
BATCH = "data_loader.args.batch_size"


def optimizer(name: str, **arguments: object) -> Config:
    return {"optimizer": {"type": name, "args": {"lr": 0.001, "weight_decay": 0.01, **arguments}}}


def schedule(name: str, **arguments: object) -> Config:
    return {"lr_scheduler": {"type": name, "args": arguments}}


@pytest.fixture
def stack_config(cross_val_config: Config) -> Callable[..., Config]:
    """Return a factory of configs as those of a cross-validation, with changes by dotted path."""

    return lambda **changes: changed(cross_val_config, changes)


# --- the same as alone ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"arch.args.num_residuals_per_block": 1},
        {"arch.args.num_residuals_per_block": 2, "arch.args.num_blocks": 2},
        {"arch.args.num_residuals_per_block": 1, "arch.args.add_residual": False},
        {"arch.args.num_residuals_per_block": 1, "arch.args.add_IC": False},
        {"arch.args.num_blocks": 0},
        {BATCH: 54},
        {BATCH: 43},
        {BATCH: 5000},
        {"data_loader.args.shuffle": False},
        {"data_loader.args.validation_split": 0},
        {"loss": {"type": "cse", "args": {"label_smoothing": 0.1, "soft_ordinal_years": 2.0}}},
        {"loss": {"type": "cse", "args": {"soft_ordinal_growth": 0.1, "expected_age_weight": 0.5}}},
        optimizer("SGD", momentum=0.9),
        optimizer("RMSprop"),
        optimizer("Adam", amsgrad=True),
        schedule("ExponentialLR", gamma=0.5),
        schedule("CosineAnnealingLR"),
        schedule("ReduceLROnPlateau", patience=0),
        {"lr_scheduler": None},
    ],
    ids=str,
)
def test_losses_metrics_and_weights_are_those_of_the_trainings_alone(
    changes: Config, stack_config: Callable[..., Config]
) -> None:
    """In float64, without dropout; the schedule is OneCycleLR, a step a batch, where not named."""
    config = stack_config(**{**NO_DROPOUT, "trainer.save_period": 0, **changes})
    alone = train_alone(config, THREE, is_double=True)
    stacked, _ = train_stacked(config, THREE, is_double=True)
    assert len({one.trainer.setup.train_loader.n_samples for one in alone}) > 1
    for got, expected in zip(stacked, alone, strict=True):
        assert len(got.logs) == 2
        for log, expected_log in zip(got.logs, expected.logs, strict=True):
            assert log == pytest.approx(expected_log, abs=1e-6)  # years are float32
            losses = {name: value for name, value in log.items() if name.endswith("loss")}
            assert losses == pytest.approx({n: expected_log[n] for n in losses}, abs=1e-8, rel=0)
        for name, weight in expected.weights.items():
            torch.testing.assert_close(got.weights[name], weight, rtol=1e-6, atol=1e-7)
        assert got.trainer.lr == expected.trainer.lr


def record_losses(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Record the loss of every training batch, in the order in which they come."""
    losses: list[Tensor] = []
    original = loss.cse

    def recorded(output: Tensor, target: Tensor, **arguments: Any) -> Tensor:
        value = original(output, target, **arguments)
        if value.requires_grad:
            losses.append(value.detach())
        return value

    monkeypatch.setattr(loss, "cse", recorded)
    return losses


@pytest.mark.parametrize(
    "changes",
    [{}, {"arch.args.num_residuals_per_block": 1, **optimizer("SGD", momentum=0.9)}],
    ids=["shipped network, AdamW", "residuals, SGD"],
)
def test_in_float32_the_losses_of_the_first_ten_steps_agree(
    changes: Config, stack_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not with residuals and AdamW: it blows noise of tiny gradients up, in any order of sums."""
    losses = record_losses(monkeypatch)
    changes = {BATCH: 16, **changes}
    config = stack_config(**{**NO_DROPOUT, **changes, "trainer.epochs": 1})
    alone = train_alone(config, THREE)
    num_batches = [len(one.trainer.setup.train_loader) for one in alone]
    expected = [part[:10] for part in torch.split(torch.stack(losses), num_batches)]
    losses.clear()
    train_stacked(config, THREE)
    got = torch.stack([batch.view(3, 16).mean(1) for batch in losses[:10]], dim=1)
    order = sorted(range(3), key=lambda place: -num_batches[place])
    torch.testing.assert_close(got, torch.stack([expected[i] for i in order]), rtol=0, atol=1e-4)


def test_rows_and_their_order_are_those_of_the_training_alone(
    stack_config: Callable[..., Config],
) -> None:
    config = stack_config()
    for one in make(config, THREE):
        faces, order = dataset_of(one), one.trainer.setup.train_loader.order
        order.epoch = 1
        expected = torch.cat([faces.__getitems__(rows)[0] for rows in order])
        assert torch.equal(faces.embeddings[StackMember(one.trainer).rows_of_epoch()], expected)


@pytest.mark.parametrize(
    "precision",
    [
        Precision("cpu", torch.bfloat16),
        Precision("cpu", torch.bfloat16, rounds_factors=True),
        Precision("cpu", torch.float16, needs_scaler=True),
    ],
    ids=str,
)
def test_half_precision_trains_as_alone(
    precision: Precision, stack_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.fit.precision_of", lambda *_: precision)
    config = stack_config(**{**NO_DROPOUT, "arch.args.num_residuals_per_block": 1})
    alone, (stacked, _) = train_alone(config, THREE), train_stacked(config, THREE)
    for got, expected in zip(stacked, alone, strict=True):
        assert got.logs[-1]["loss"] == pytest.approx(expected.logs[-1]["loss"], abs=0.03)
        assert got.logs[-1]["loss"] < got.logs[0]["loss"]
        assert got.trainer.scaler.state_dict() == expected.trainer.scaler.state_dict()


@pytest.mark.parametrize("trained", [train_alone, train_stacked])
def test_factors_are_rounded_forward_and_backward(
    trained: Callable[..., Any],
    stack_config: Callable[..., Config],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    precision = Precision("cpu", torch.bfloat16, rounds_factors=True)
    monkeypatch.setattr("trainer.fit.precision_of", lambda *_: precision)
    matmul: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before, seen, original = matmul.fp32_precision, [], loss.cse

    def watched(output: Tensor, target: Tensor, **arguments: Any) -> Tensor:
        seen.append(matmul.fp32_precision)
        if output.requires_grad:
            hook: Any = output.register_hook
            hook(lambda _: seen.append(matmul.fp32_precision))
        return original(output, target, **arguments)

    monkeypatch.setattr(loss, "cse", watched)
    trained(stack_config(), THREE)
    assert set(seen) == {"bf16"}
    assert matmul.fp32_precision == before


def test_dropout_zeroes_its_share_of_the_activations_and_keeps_their_mean(
    stack_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = stack_config(**{"arch.args.dropout": 0.25, "arch.args.num_blocks": 1})
    made = make(config, THREE)
    networks = StackedResMLP([one.trainer.setup.model for one in made])  # type: ignore[misc]
    seen: list[Tensor] = []
    linear = networks._linear

    def spied(layer: Any, x: Tensor, *others: Any) -> Tensor:
        seen.append(x.detach().clone())
        return linear(layer, x, *others)

    monkeypatch.setattr(networks, "_linear", spied)
    sources = [bit_source(seed, torch.device("cpu")) for seed in range(3)]
    x = torch.randn(3, 512, 512)
    networks.forward(x, slice(0, 3), sources)
    dropped = seen[0]
    is_zero = dropped == 0
    assert is_zero.float().mean().item() == pytest.approx(0.25, abs=0.005)
    kept = dropped[~is_zero]
    assert kept.std().item() == pytest.approx(1 / 0.75, abs=0.01)
    assert not torch.equal(is_zero[0], is_zero[1])


class SameBits:
    """Masks (B, F) for a network alone, of the bits that a stack of it takes for a batch."""

    def __init__(self, trained: Trained):
        modules = trained.trainer.setup.model.modules()
        norms = [one for one in modules if isinstance(one, nn.BatchNorm1d)]
        self.num_features = sum(norm.num_features for norm in norms)
        self.source = bit_source(trained.trainer.config["seed"], torch.device("cpu"))
        self.lanes = torch.empty(0, dtype=LANE)

    def keep_mask(self, shape: torch.Size, p: float, dtype: torch.dtype) -> Tensor:
        num_samples, num_features = shape
        if len(self.lanes) < shape.numel():
            draws = torch.empty(num_draws(num_samples * self.num_features), dtype=torch.int64)
            self.lanes = fill_draws(draws, self.source).view(LANE)
        lanes, self.lanes = self.lanes[: shape.numel()], self.lanes[shape.numel() :]
        mask = torch.empty(num_features, num_samples, dtype=dtype)
        return keep_lanes(lanes.view(mask.shape), p, mask).T / rounded_keep_probability(p)


@pytest.mark.parametrize("dropout", [0.05, 0.5])
def test_with_the_same_masks_dropout_is_that_of_the_training_alone(
    dropout: float, stack_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float64, members of different seeds, rows, rates and decays."""
    changes = {"arch.args.dropout": dropout, "arch.args.num_residuals_per_block": 1, BATCH: 32}
    config = stack_config(**changes)
    stacked, _ = train_stacked(config, THREE, is_double=True)
    for got, change in zip(stacked, THREE, strict=True):
        (alone,) = make(config, [change], is_double=True)
        with monkeypatch.context() as patch:
            patch.setattr("model.dropout.keep_mask", SameBits(alone).keep_mask)
            alone.trainer.train()
        for log, expected in zip(got.logs, alone.logs, strict=True):
            assert log["loss"] == pytest.approx(expected["loss"], abs=1e-8, rel=0)
            assert log["val_loss"] == pytest.approx(expected["val_loss"], abs=1e-8, rel=0)


def test_no_two_masks_share_their_bits(
    stack_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    masks: list[Tensor] = []
    original = stacked._Bits.mask

    def spied(self: Any, x: Tensor, p: float) -> Tensor:
        masks.append(original(self, x, p))
        return masks[-1]

    monkeypatch.setattr(stacked._Bits, "mask", spied)
    made = make(stack_config(**{"arch.args.num_residuals_per_block": 2}), THREE)
    networks = StackedResMLP([one.trainer.setup.model for one in made])  # type: ignore[misc]
    sources = [bit_source(seed, torch.device("cpu")) for seed in range(3)]
    for _ in range(2):
        networks.forward(torch.randn(3, 64, 512), slice(0, 3), sources)
    firsts = [tuple(member[0, :64].tolist()) for mask in masks for member in mask]
    assert len(set(firsts)) == len(firsts) > 12


# --- independent of each other --------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"optimizer.args.lr": 0.1},
        {"optimizer.args.lr": 1e12},
        {"seed": 77},
        {"data_loader.args.test_cross_val": 4},
        {"data_loader.args.limit_data": 70},
        {"trainer.epochs": 1},
    ],
    ids=str,
)
def test_changing_one_member_leaves_the_others_bit_identical(
    change: Config, stack_config: Callable[..., Config]
) -> None:
    config = stack_config(**{"arch.args.num_residuals_per_block": 1, "trainer.epochs": 3})
    before, _ = train_stacked(config, THREE)
    after, _ = train_stacked(config, [*THREE[:2], {**THREE[2], **change}])
    for one, other in zip(before[:2], after[:2], strict=True):
        assert one.logs == other.logs
        assert_identical(one.weights, other.weights)
        assert_identical(
            one.trainer.setup.optimizer.state_dict()["state"],
            other.trainer.setup.optimizer.state_dict()["state"],
        )
    assert before[2].logs != after[2].logs


def test_the_same_call_gives_the_same_bits(stack_config: Callable[..., Config]) -> None:
    config = stack_config()
    (first, _), (second, _) = train_stacked(config, THREE), train_stacked(config, THREE)
    for one, other in zip(first, second, strict=True):
        assert_identical(one.weights, other.weights)


# --- leaving --------------------------------------------------------------------------------------


def widths(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record how many members each forward pass has."""
    seen: list[int] = []
    original = StackedResMLP.forward

    def spied(self: StackedResMLP, x: Tensor, *arguments: Any) -> Pass:
        seen.append(len(x))
        return original(self, x, *arguments)

    monkeypatch.setattr(StackedResMLP, "forward", spied)
    return seen


def test_a_member_that_stops_early_leaves_the_stack_when_it_would_stop_alone(
    stack_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {**NO_DROPOUT, "trainer.epochs": 8, "trainer.early_stop": 1, BATCH: 72}
    config = stack_config(**changes, **schedule("ExponentialLR", gamma=1.0))
    rates = [{**one, "optimizer.args.lr": lr} for one, lr in zip(THREE, (1e-6, 0.1, 1e-3))]  # noqa: B905
    alone = train_alone(config, rates)
    seen = widths(monkeypatch)
    stacked, left = train_stacked(config, rates)
    num_epochs = [len(one.logs) for one in alone]
    assert [len(one.logs) for one in stacked] == num_epochs
    assert len(set(num_epochs)) > 1
    order = [len(next(t for t in stacked if t.trainer is one.trainer).logs) for one in left]
    assert order == sorted(num_epochs)
    assert seen[0] == 3
    assert seen[-1] < 3
    for one, other in zip(stacked, alone, strict=True):
        assert one.trainer.monitor.best_epoch == other.trainer.monitor.best_epoch


def test_the_best_weights_of_each_member_are_kept(stack_config: Callable[..., Config]) -> None:
    """The highest loss counts as the best here, so that the best epoch is not the last."""
    config = stack_config(**{"trainer.epochs": 3, "trainer.monitor": "max val_loss"})
    stacked, _ = train_stacked(config, THREE)
    for one in stacked:
        best = read(one.save_dir / "model_best.pth")
        losses = [log["val_loss"] for log in one.logs]
        assert best["epoch"] == losses.index(max(losses)) + 1 < 3
        at_its_end = read(one.save_dir / f"checkpoint-epoch{best['epoch']}.pth")
        assert best.pop("confidence")["num_people"] > 0
        assert_identical(best, at_its_end)
        one.trainer.setup.model.load_state_dict(best["state_dict"])
        loader = one.trainer.setup.valid_loader
        assert loader is not None
        assert one.trainer.evaluate(loader)["loss"] == max(losses)


def test_the_best_epoch_is_written_once_when_its_member_leaves(
    stack_config: Callable[..., Config],
) -> None:
    config = stack_config(**{"trainer.epochs": 3, "trainer.save_period": 0})
    made = make(config, [*THREE[:2], {**THREE[2], "trainer.epochs": 1}])
    paths = [one.save_dir / "model_best.pth" for one in made]
    seen: list[list[bool]] = []
    made[0].trainer.on_epoch = lambda _: seen.append([path.exists() for path in paths])
    for member in Stack([StackMember(one.trainer) for one in made]).train():
        assert (member.trainer.config.save_dir / "model_best.pth").exists()
    assert seen == [[False, False, False], [False, False, True], [False, False, True]]


def test_a_member_that_diverges_says_so_and_leaves(stack_config: Callable[..., Config]) -> None:
    config = stack_config()
    made, left = train_stacked(config, [*THREE[:2], {**THREE[2], "optimizer.args.lr": 1e12}])
    assert left[0].trainer is made[2].trainer
    assert "epoch 1" in str(left[0].error)
    assert [one.error for one in left[1:]] == [None, None]
    assert [len(one.logs) for one in made] == [2, 2, 0]


def test_a_validation_that_diverges_is_the_end_of_its_member_alone(
    stack_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make(stack_config(), THREE)
    with torch.no_grad():
        for name, buffer in made[1].trainer.setup.model.named_buffers():
            if name.endswith("running_mean"):
                buffer.fill_(float("nan"))
    left = list(Stack([StackMember(one.trainer) for one in made]).train())
    assert str(left[0].error).startswith("validation after epoch 1")
    assert [len(one.logs) for one in made] == [2, 0, 2]


def test_an_interrupt_ends_the_stack_between_two_batches(
    stack_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    signal_at(monkeypatch, 2, signal.SIGTERM)
    made = make(stack_config(), THREE)
    with pytest.raises(Interrupted) as caught:
        list(Stack([StackMember(one.trainer) for one in made]).train())
    assert caught.value.exit_code == 128 + signal.SIGTERM
    assert [one.logs for one in made] == [[], [], []]


# --- each its own ---------------------------------------------------------------------------------


@pytest.fixture
def pair(stack_config: Callable[..., Config]) -> tuple[Config, list[Trained], list[Trained]]:
    config = stack_config(**NO_DROPOUT)
    return config, train_alone(config, THREE), train_stacked(config, THREE)[0]


def test_checkpoints_are_as_those_of_a_training_alone(
    pair: tuple[Config, list[Trained], list[Trained]],
) -> None:
    def shape(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: shape(inner) for key, inner in value.items()}
        return (value.shape, value.dtype) if isinstance(value, Tensor) else type(value)

    _, alone, stacked = pair
    for one, other in zip(stacked, alone, strict=True):
        got, expected = (item.save_dir / "checkpoint-epoch2.pth" for item in (one, other))
        assert got.stat().st_size == pytest.approx(expected.stat().st_size, rel=0.01)
        assert shape(read(got)) == shape(read(expected))


def test_a_checkpoint_of_a_stack_is_gone_on_with_alone(
    pair: tuple[Config, list[Trained], list[Trained]],
) -> None:
    _, _, stacked = pair
    for one in stacked:
        config = one.trainer.config.config
        resumed = train(config, one.save_dir / "checkpoint-epoch1.pth")
        assert [log["epoch"] for log in resumed.logs] == [2]
        assert resumed.logs[0] == pytest.approx(one.logs[1], abs=1e-4)


def test_test_py_takes_a_checkpoint_of_a_stack(
    pair: tuple[Config, list[Trained], list[Trained]], run_script: RunScript
) -> None:
    one = pair[2][1]
    outcome = run_script("test.py", "-r", one.save_dir / "model_best.pth")
    assert (outcome.code, outcome.err) == (0, "")


def test_networks_that_left_share_no_memory(stack_config: Callable[..., Config]) -> None:
    made, _ = train_stacked(stack_config(), THREE)
    storages = [
        weight.untyped_storage().data_ptr() for one in made for weight in one.weights.values()
    ]
    assert len(set(storages)) == len(storages)


def test_curves_have_the_rate_that_the_epoch_began_with(
    stack_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []
    monkeypatch.setattr(Curves, "add", lambda _, log, lr: seen.append(lr))
    train_stacked(stack_config(**schedule("ExponentialLR", gamma=0.5)), THREE[:1])
    assert seen == pytest.approx([0.001, 0.0005])


def test_curves_are_written_where_wanted(stack_config: Callable[..., Config]) -> None:
    made, _ = train_stacked(stack_config(**{"trainer.tensorboard": True}), THREE)
    for one in made:
        assert len(list(Path(one.trainer.config.log_dir).glob("events*"))) == 1


# --- what is refused ------------------------------------------------------------------------------


def test_members_of_other_faces_labels_or_networks_are_refused(
    stack_config: Callable[..., Config],
) -> None:
    config = stack_config()
    first, second = make(config, THREE[:1])[0], make(config, THREE[:1])[0]
    with pytest.raises(ValueError, match="parts of the same faces"):
        Stack([StackMember(first.trainer), StackMember(second.trainer)])
    first, second = make(config, THREE[:2])
    dataset_of(second).labels = dataset_of(second).labels + 1
    with pytest.raises(ValueError, match="parts of the same faces"):
        Stack([StackMember(first.trainer), StackMember(second.trainer)])
    made = make(config, [THREE[0], {**THREE[1], "arch.args.num_blocks": 2}])
    with pytest.raises(ValueError, match="different architectures"):
        Stack([StackMember(one.trainer) for one in made])
