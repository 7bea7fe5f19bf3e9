import pytest
from conftest import MakeConfig
from helpers import TINY, read, train

from base.monitor import Monitor


@pytest.mark.parametrize(
    ("monitor", "patience", "values", "stops_after", "best_epoch"),
    [
        ("min loss", 0, [1, 2, 2, 2, 2, 2], None, 1),
        ("min loss", 1, [1, 2], 2, 1),
        ("min loss", 2, [3, 4, 4], 3, 1),
        ("min loss", 2, [3, 4, 2, 4, 4], 5, 3),
        ("min loss", 2, [3, 3, 3], 3, 1),  # equal is no improvement
        ("min loss", 3, [3, 3, 3], None, 1),
        ("max loss", 2, [3, 4, 3, 4], 4, 2),
        ("max loss", 2, [3, 4, 5, 6], None, 4),
        ("max loss", 1, [-3, -4], 2, 1),
        ("off", 0, [3, 2, 1], None, 3),
    ],
)
def test_training_stops_after_so_many_epochs_in_a_row_without_improvement(
    monitor: str, patience: int, values: list[float], stops_after: int | None, best_epoch: int
) -> None:
    followed = Monitor.from_config(monitor, patience)
    stopped = None
    for epoch, value in enumerate(values, 1):
        followed.update(epoch, {"loss": value, "val_loss": -value})
        if followed.should_stop:
            stopped = epoch
            break
    assert (stopped, followed.best_epoch) == (stops_after, best_epoch)


@pytest.mark.parametrize(
    ("monitor", "values", "expected"),
    [
        ("min loss", [3, 1, 2, 1, 0], [True, True, False, False, True]),
        ("max loss", [0, 0, 1, -1, 2], [True, False, True, False, True]),
        ("min loss", [0.0, -1.0], [True, True]),
        ("off", [1, 2, 3], [True, True, True]),
    ],
)
def test_an_epoch_is_the_best_when_it_betters_all_before(
    monitor: str, values: list[float], expected: list[bool]
) -> None:
    followed = Monitor.from_config(monitor, 0)
    found = [followed.update(epoch, {"loss": value}) for epoch, value in enumerate(values, 1)]
    assert found == expected


def test_the_monitored_value_is_named_by_its_key() -> None:
    followed = Monitor.from_config("max  val_accuracy", 1)
    assert (followed.mode, followed.metric, followed.patience) == ("max", "val_accuracy", 1)


def test_without_validation_rows_the_training_loss_is_monitored_and_one_line_says_so(
    small_config: MakeConfig, program_log: pytest.LogCaptureFixture
) -> None:
    config = small_config(
        **{**TINY, "data_loader.args.validation_split": 0, "trainer.verbosity": 1}
    )
    run = train(config)
    lines = [line for line in program_log.messages if "is monitored instead" in line]
    assert lines == ["No validation rows: loss is monitored instead of val_loss"]
    best = min(run.logs, key=lambda log: log["loss"])
    content = read(run.fitted.best_path)
    assert (content["epoch"], content["monitor_best"]) == (best["epoch"], best["loss"])
    assert not any(name.startswith("val_") for name in run.logs[0])


def test_without_validation_rows_a_monitored_metric_falls_back_to_its_training_value(
    small_config: MakeConfig,
) -> None:
    config = small_config(
        **{
            **TINY,
            "data_loader.args.validation_split": 0,
            "trainer.monitor": "max val_accuracy",
        }
    )
    run = train(config)
    best = max(log["accuracy"] for log in run.logs)
    assert read(run.fitted.best_path)["monitor_best"] == best


@pytest.mark.parametrize("save_period", [0, 2, 100])
@pytest.mark.parametrize("validation_split", [0, 0.1])
def test_with_the_monitor_off_the_last_epoch_is_the_best(
    save_period: int, validation_split: float, small_config: MakeConfig
) -> None:
    config = small_config(
        **{
            **TINY,
            "data_loader.args.validation_split": validation_split,
            "trainer.monitor": "off",
            "trainer.save_period": save_period,
            "trainer.epochs": 3,
        }
    )
    run = train(config)
    assert read(run.fitted.best_path)["epoch"] == 3
    assert run.fitted.best_log == run.logs[-1]


def test_a_best_epoch_between_two_save_periods_is_kept(
    small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config(
        **{
            **TINY,
            "trainer.epochs": 4,
            "trainer.save_period": 2,
            "trainer.monitor": "min val_loss",
        }
    )
    values = iter([4.0, 3.0, 1.0, 2.0])
    monkeypatch.setattr("trainer.trainer.Trainer.evaluate", lambda *_: {"loss": next(values)})
    run = train(config)
    assert sorted(path.name for path in run.save_dir.iterdir()) == [
        "checkpoint-epoch2.pth",
        "checkpoint-epoch4.pth",
        "config.json",
        "epochs.jsonl",
        "model_best.pth",
    ]
    best = read(run.save_dir / "model_best.pth")
    assert (best["epoch"], best["monitor_best"]) == (3, 1.0)
    assert run.fitted.best_log["val_loss"] == 1.0


def test_without_a_save_period_only_the_best_is_kept(small_config: MakeConfig) -> None:
    run = train(small_config(**{**TINY, "trainer.save_period": 0}))
    names = sorted(path.name for path in run.save_dir.iterdir())
    assert names == ["config.json", "epochs.jsonl", "model_best.pth"]


def test_early_stop_ends_the_training_and_names_the_reason(
    small_config: MakeConfig, program_log: pytest.LogCaptureFixture
) -> None:
    """A rate of 0 without batch norm leaves the network, and so the loss, as it is."""
    config = small_config(
        **{
            **TINY,
            "arch.args.add_IC": False,
            "optimizer.args.lr": 1e-300,
            "lr_scheduler": None,
            "trainer.epochs": 9,
            "trainer.early_stop": 2,
            "trainer.verbosity": 1,
        }
    )
    run = train(config)
    assert [log["epoch"] for log in run.logs] == [1, 2, 3]
    assert read(run.fitted.best_path)["epoch"] == 1
    assert "Stopped early: val_loss did not improve for 2 epochs" in program_log.messages
