import functools
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import MakeConfig
from helpers import (
    TINY,
    Config,
    assert_identical,
    nan_from,
    read,
    run_dirs,
    train,
)
from processors import AMX, AVX512_BF16, NEITHER, Processor
from torch import Tensor, nn
from torch.nn import functional

from base import device as device_module
from base.base_data_loader import BaseDataLoader
from model.model import ResMLP
from trainer.fit import prepare
from utils.config import ConfigParser
from utils.errors import DivergedError

TOO_HIGH = {"lr": 1e12, "weight_decay": 1e12}
NO_VALIDATION = {"data_loader.args.validation_split": 0}
NUM_BATCHES = 5
"""Batches an epoch with validation_split 0.1: 270 rows in fours of 64 and the rest."""


def batches_of(config: Config, epoch: int) -> list[tuple[Tensor, Tensor]]:
    """Return the batches that training sees in an epoch."""
    loader = prepare(ConfigParser(config)).train_loader
    loader.order.epoch = epoch
    return list(loader)


# --- what is learned ------------------------------------------------------------------------------


@pytest.mark.parametrize("num_residuals", [0, 1])
def test_32_samples_are_learned_by_heart(num_residuals: int, small_config: MakeConfig) -> None:
    config = small_config(
        **{
            **TINY,
            **NO_VALIDATION,
            "arch.args.num_residuals_per_block": num_residuals,
            "arch.args.dropout": 0.0,
            "data_loader.args.limit_data": 32,
            "data_loader.args.batch_size": 32,
            "optimizer.args.lr": 0.01,
            "trainer.epochs": 40,
            "trainer.save_period": 0,
            "trainer.monitor": "off",
        }
    )
    run = train(config)
    assert run.logs[0]["accuracy"] < 0.5
    assert run.logs[-1]["accuracy"] == 1.0
    model, (embeddings, labels) = run.fitted.setup.model.eval(), batches_of(config, 1)[0]
    assert len(labels) == 32
    assert torch.equal(model(embeddings).argmax(1), labels)


def plain_network(num_classes: int) -> nn.Sequential:
    return nn.Sequential(
        nn.BatchNorm1d(512), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, num_classes)
    )


def mean_absolute_error(logits: Tensor, labels: Tensor) -> float:
    scores = np.exp(logits.double().numpy() - logits.double().numpy().max(1, keepdims=True))
    expected_years = scores @ np.arange(101.0) / scores.sum(1)
    return float(np.abs(expected_years - labels.numpy()).mean())


def test_losses_metrics_and_final_weights_equal_those_of_a_plain_loop(
    small_config: MakeConfig,
) -> None:
    """Same batches, no dropout, float32: an optimizer and a schedule written out by hand."""
    config = small_config(
        **{
            **TINY,
            **NO_VALIDATION,
            "arch.args.dropout": 0.0,
            "metrics": ["accuracy", "mae"],
            "lr_scheduler": {"type": "ExponentialLR", "args": {"gamma": 0.5}},
            "trainer.epochs": 3,
        }
    )
    run = train(config)
    torch.manual_seed(config["seed"])
    initial = ResMLP(**config["arch"]["args"])
    network = plain_network(101)
    network.load_state_dict(
        dict(zip(network.state_dict(), initial.state_dict().values(), strict=True))
    )
    arguments = config["optimizer"]["args"]
    optimizer = torch.optim.AdamW(network.parameters(), **arguments, foreach=False)
    for epoch in range(1, 4):
        optimizer.param_groups[0]["lr"] = arguments["lr"] * 0.5 ** (epoch - 1)
        loss_sum, hits, error_sum, num_rows = 0.0, 0, 0.0, 0
        for embeddings, labels in batches_of(config, epoch):
            logits = network(embeddings)
            loss = functional.cross_entropy(logits, labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            loss_sum += loss.item() * len(labels)
            hits += int((logits.argmax(1) == labels).sum())
            error_sum += mean_absolute_error(logits.detach(), labels) * len(labels)
            num_rows += len(labels)
        assert num_rows == 300
        log = run.logs[epoch - 1]
        assert log["loss"] == pytest.approx(loss_sum / num_rows, rel=1e-5)
        assert log["accuracy"] == hits / num_rows
        assert log["mae"] == pytest.approx(error_sum / num_rows, rel=1e-4)
    for got, expected in zip(
        run.fitted.setup.model.state_dict().values(), network.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=2e-5)


def test_an_epoch_sees_every_row_once_and_the_last_batch_is_smaller(
    small_config: MakeConfig,
) -> None:
    config = small_config(**{**TINY, **NO_VALIDATION})
    batches = batches_of(config, 1)
    assert [len(labels) for _, labels in batches] == [64, 64, 64, 64, 44]
    rows = torch.cat([embeddings for embeddings, _ in batches])
    assert len(torch.unique(rows, dim=0)) == 300


def test_the_loss_of_an_epoch_is_the_sum_over_samples_divided_once(
    small_config: MakeConfig,
) -> None:
    """At a rate of nearly 0, without batch norm, it is the loss over all rows at once."""
    config = small_config(
        **{
            **TINY,
            **NO_VALIDATION,
            "arch.args.add_IC": False,
            "optimizer.args.lr": 1e-30,
            "lr_scheduler": None,
            "trainer.epochs": 1,
        }
    )
    run = train(config)
    batches = batches_of(config, 1)
    model = run.fitted.setup.model
    with torch.no_grad():
        whole = functional.cross_entropy(
            model(torch.cat([x for x, _ in batches])), torch.cat([y for _, y in batches])
        ).item()
        of_batches = [functional.cross_entropy(model(x), y).item() for x, y in batches]
    assert run.logs[0]["loss"] == pytest.approx(whole, rel=1e-6)
    assert abs(np.mean(of_batches) - whole) > 1e-5  # a mean of batch means would show


def test_validation_is_in_eval_mode_on_the_rows_set_aside(small_config: MakeConfig) -> None:
    config = small_config(**{**TINY, "arch.args.dropout": 0.5, "trainer.monitor": "off"})
    run = train(config)
    setup = run.fitted.setup
    assert isinstance(setup.valid_loader, BaseDataLoader)
    rows = torch.from_numpy(setup.valid_loader.rows)
    assert not set(rows.tolist()) & set(setup.train_loader.rows.tolist())
    embeddings, labels = setup.train_loader.dataset.__getitems__(rows)  # type: ignore[attr-defined]
    with torch.no_grad():
        logits = setup.model.eval()(embeddings)
    expected = functional.cross_entropy(logits, labels).item()
    assert run.logs[-1]["val_loss"] == pytest.approx(expected, rel=1e-6)
    assert run.logs[-1]["val_accuracy"] == pytest.approx(
        (logits.argmax(1) == labels).double().mean().item()
    )


def test_the_same_config_gives_the_same_bits_and_another_seed_others(
    small_config: MakeConfig,
) -> None:
    config = small_config(**TINY)
    first, second = train(config), train(config)
    assert first.logs == second.logs
    assert_identical(read(first.fitted.best_path), read(second.fitted.best_path))
    assert train({**config, "seed": 43}).logs != first.logs


@pytest.mark.parametrize(
    "arguments",
    [{"label_smoothing": 0.2}, {"soft_ordinal_years": 3.0}, {"expected_age_weight": 0.5}],
)
def test_the_arguments_of_the_loss_reach_training_and_validation(
    arguments: dict[str, float], small_config: MakeConfig
) -> None:
    """A rate of nearly 0 without batch norm leaves the network as it was made."""
    config = small_config(
        **{
            **TINY,
            "arch.args.add_IC": False,
            "optimizer.args.lr": 1e-30,
            "lr_scheduler": None,
            "trainer.epochs": 1,
            "loss": {"type": "cse", "args": arguments},
        }
    )
    run = train(config)
    years = np.arange(101.0)
    distance = years[:, None] - years[None, :]
    table = np.exp(-(distance**2) / 18) if "soft_ordinal_years" in arguments else np.eye(101)
    table /= table.sum(1, keepdims=True)
    smoothing = arguments.get("label_smoothing", 0)
    table = (1 - smoothing) * table + smoothing / 101
    setup = run.fitted.setup
    for name, loader in (("loss", setup.train_loader), ("val_loss", setup.valid_loader)):
        assert loader is not None
        embeddings, labels = map(torch.cat, zip(*loader, strict=True))
        with torch.no_grad():
            logs = functional.log_softmax(setup.model(embeddings).double(), 1).numpy()
        expected = -(table[labels.numpy()] * logs).sum(1).mean()
        errors = np.abs(np.exp(logs) @ years - labels.numpy())
        expected += arguments.get("expected_age_weight", 0) * errors.mean()
        assert run.logs[0][name] == pytest.approx(expected, rel=1e-5)


# --- numbers --------------------------------------------------------------------------------------


NUMBERS = {
    (AMX, 128): "float32 with bfloat16 products",
    (AMX, 257): "bfloat16",
    (AVX512_BF16, 127): "float32",
    (AVX512_BF16, 128): "bfloat16",
    (NEITHER, 128): "float32",
}


@pytest.mark.parametrize(("processor", "batch_size"), NUMBERS, ids=str)
def test_amp_trains_and_validates_in_the_numbers_that_it_names(
    processor: Processor,
    batch_size: int,
    small_config: MakeConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a stand-in cannot do is left out: the rounding where this processor does not round."""
    rounds_here = device_module.cpu_rounds_factors()
    processor.stand_in(monkeypatch)
    tiny = {**TINY, "trainer.monitor": "off", "data_loader.args.batch_size": batch_size}
    config = small_config(**{**tiny, "amp": True})
    run, plain = train(config), train({**config, "amp": False})
    setup, name = run.fitted.setup, NUMBERS[processor, batch_size]
    assert str(setup.precision) == name
    assert read(run.save_dir / "model_best.pth")["environment"]["precision"] == name
    assert {weight.dtype for weight in setup.model.parameters()} == {torch.float32}
    if name == "float32":
        assert run.logs == plain.logs
    elif name == "bfloat16" or rounds_here:
        assert_near_but_not_equal(run.logs[-1], plain.logs[-1])
    assert setup.valid_loader is not None
    embeddings, labels = next(iter(setup.valid_loader))
    with torch.no_grad(), setup.precision.autocast():
        logits = setup.model.eval()(embeddings)
        expected = functional.cross_entropy(logits, labels).item()
    assert logits.dtype == (torch.bfloat16 if name == "bfloat16" else torch.float32)
    assert run.logs[-1]["val_loss"] == pytest.approx(expected, rel=1e-6)


def assert_near_but_not_equal(log: dict[str, Any], plain: dict[str, Any]) -> None:
    for key, value in log.items():
        if key.endswith("loss"):
            assert value == pytest.approx(plain[key], rel=0.02)
            assert value != plain[key]


def test_a_gpu_that_is_wanted_and_absent_is_told(
    small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, program_log: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    config = small_config(**{**TINY, "n_gpu": 1, "trainer.epochs": 1, "trainer.verbosity": 1})
    train(config)
    lines = [line for line in program_log.messages if line.startswith("Device:")]
    assert len(lines) == 1
    assert "no GPU found" in lines[0]


@pytest.fixture
def float16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train as on a GPU without bfloat16, in float16 with a gradient scaler: a CPU can, too."""
    precision = device_module.Precision("cpu", torch.float16, needs_scaler=True)
    monkeypatch.setattr("trainer.fit.precision_of", lambda *_: precision)


@pytest.mark.usefixtures("float16")
@pytest.mark.parametrize("schedule", ["OneCycleLR", "CosineAnnealingLR"])
def test_float16_trains_with_a_gradient_scaler_and_resumes_bit_identical(
    schedule: str, small_config: MakeConfig
) -> None:
    config = small_config(**{**TINY, "lr_scheduler": {"type": schedule, "args": {}}})
    config["trainer"].update(epochs=3, save_period=1)
    whole = train(config)
    assert str(whole.fitted.setup.precision) == "float16 with a gradient scaler"
    assert whole.logs[-1]["loss"] < whole.logs[0]["loss"]
    resumed = train(config, whole.save_dir / "checkpoint-epoch1.pth")
    name = "checkpoint-epoch3.pth"
    assert_identical(read(resumed.save_dir / name), read(whole.save_dir / name))
    assert read(whole.save_dir / name)["resume"]["scaler"]["scale"] > 0


@pytest.mark.usefixtures("float16")
def test_a_step_that_the_scaler_leaves_out_is_no_trouble(
    small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first scale that is too large makes the first gradients infinite: the step is skipped."""
    scaler = functools.partial(torch.amp.GradScaler, init_scale=2.0**40)
    monkeypatch.setattr(torch.amp, "GradScaler", scaler)
    config = small_config(**{**TINY, "trainer.epochs": 20, "trainer.save_period": 20})
    run = train(config)
    assert read(run.save_dir / "checkpoint-epoch20.pth")["resume"]["scaler"]["scale"] < 2.0**40
    assert run.logs[-1]["loss"] < run.logs[0]["loss"]


def test_a_run_without_a_scaler_is_resumed_with_one(
    small_config: MakeConfig, request: pytest.FixtureRequest
) -> None:
    config = small_config(**{**TINY, "trainer.save_period": 1})
    checkpoint = train(config).save_dir / "checkpoint-epoch1.pth"
    request.getfixturevalue("float16")
    assert [log["epoch"] for log in train(config, checkpoint).logs] == [2]


# --- a loss that is no number ---------------------------------------------------------------------


def test_a_rate_that_is_far_too_high_is_an_error_that_names_epoch_and_batch(
    small_config: MakeConfig,
) -> None:
    config = small_config(**{**TINY, "optimizer.args": TOO_HIGH, "lr_scheduler": None})
    with pytest.raises(DivergedError, match=r"(nan|inf) at epoch 1, batch 2 of 5"):
        train(config)


@pytest.mark.parametrize(("batch", "epoch", "of_epoch"), [(1, 1, 1), (5, 1, 5), (8, 2, 3)])
def test_a_loss_that_becomes_nan_is_an_error_that_names_epoch_and_batch(
    batch: int,
    epoch: int,
    of_epoch: int,
    small_config: MakeConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nan_from(monkeypatch, batch)
    with pytest.raises(DivergedError, match=f"nan at epoch {epoch}, batch {of_epoch} of 5"):
        train(small_config(**TINY))


def test_a_validation_loss_that_becomes_nan_is_an_error_that_names_the_epoch(
    small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one batch of an epoch has a finite loss; what it did to the weights shows after it."""
    config = small_config(**{**TINY, "optimizer.args": TOO_HIGH, "lr_scheduler": None})
    config["data_loader"]["args"]["batch_size"] = 512
    with pytest.raises(DivergedError, match="validation after epoch 1"):
        train(config)
    assert [path.name for path in run_dirs(config)[0].iterdir()] == ["config.json"]


def test_the_best_epoch_before_a_divergence_survives(
    small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config(**{**TINY, "trainer.epochs": 3})
    with monkeypatch.context() as patch:
        nan_from(patch, 2 * NUM_BATCHES + 1)
        with pytest.raises(DivergedError, match="epoch 3"):
            train(config)
    whole = train(config)
    diverged = read(run_dirs(config)[0] / "model_best.pth")
    assert all(torch.isfinite(weight).all() for weight in diverged["state_dict"].values())
    assert diverged["epoch"] == min(whole.logs[:2], key=lambda log: log["val_loss"])["epoch"]


# --- what is written ------------------------------------------------------------------------------


def test_a_run_writes_what_really_ran_beside_its_checkpoints(
    small_config: MakeConfig, tmp_path: Path
) -> None:
    config = small_config(**{**TINY, "trainer.save_period": 1, "trainer.tensorboard": True})
    run = train(config)
    parsed = ConfigParser(config).config
    assert ConfigParser(_read_json(run.save_dir / "config.json")).config == parsed
    assert read(run.fitted.best_path)["config"] == parsed
    log_dir = tmp_path / "saved" / "log" / config["name"] / run.save_dir.name
    names = [path.name for path in log_dir.iterdir()]
    assert "info.log" in names
    assert sum(name.startswith("events.out.tfevents") for name in names) == 1


def test_the_curves_hold_the_logged_values_of_both_sides_and_the_rate(
    small_config: MakeConfig, tmp_path: Path
) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = train(small_config(**{**TINY, "trainer.tensorboard": True}))
    log_dir = tmp_path / "saved" / "log" / "ResMLP" / run.save_dir.name
    events = accumulator.EventAccumulator(str(log_dir)).Reload()
    found = {
        tag: [event.value for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]
    }
    for name in ("loss", "accuracy", "mae"):
        assert found[f"{name}/train"] == pytest.approx([log[name] for log in run.logs])
        assert found[f"{name}/valid"] == pytest.approx([log[f"val_{name}"] for log in run.logs])
    assert len(found["lr"]) == 2


def test_a_progress_bar_is_kept_off_what_is_no_terminal(
    small_config: MakeConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    train(small_config(**{**TINY, "trainer.verbosity": 2}))
    assert capsys.readouterr().err == ""


def test_verbosity_0_is_silent(
    small_config: MakeConfig, program_log: pytest.LogCaptureFixture
) -> None:
    train(small_config(**TINY))
    assert [line for line in program_log.records if line.levelno < logging.WARNING] == []


@pytest.mark.parametrize(("monitor", "kept"), [("off", "Last"), ("min val_loss", "Best")])
def test_the_log_says_whether_the_last_epoch_was_kept_or_the_best(
    small_config: MakeConfig, program_log: pytest.LogCaptureFixture, monitor: str, kept: str
) -> None:
    train(small_config(**TINY | {"trainer.monitor": monitor, "trainer.verbosity": 2}))
    assert f"{kept} epoch: " in program_log.text


@pytest.mark.parametrize(("epochs", "says"), [(2, True), (400, False)])
def test_the_log_says_how_many_epochs_few_faces_need(
    small_config: MakeConfig, program_log: pytest.LogCaptureFixture, epochs: int, says: bool
) -> None:
    prepare(ConfigParser(small_config(**{"trainer.epochs": epochs, "trainer.verbosity": 2})))
    assert ("Few batches: 2 epochs of 5" in program_log.text) == says
    assert ("-o trainer.epochs=80" in program_log.text) == says


def test_the_log_file_of_a_run_holds_every_line_whatever_the_verbosity(
    small_config: MakeConfig,
) -> None:
    run = train(small_config(**TINY))
    log_dir = Path(str(run.save_dir).replace("/models/", "/log/"))
    text = (log_dir / "info.log").read_text(encoding="utf-8")
    for part in ("Device: ", "Data: ", "parameters", "epoch 1/2", "epoch 2/2", "Best epoch: "):
        assert part in text


def _read_json(path: Path) -> Config:
    content: Config = json.loads(path.read_text(encoding="utf-8"))
    return content
