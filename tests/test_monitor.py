import math

import pytest
from conftest import MakeConfig
from helpers import TINY, read, run_dirs, train

from base.monitor import Monitor

NAN = math.nan


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
    monitor, patience, values, stops_after, best_epoch
):
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
def test_an_epoch_is_the_best_when_it_betters_all_before(monitor, values, expected):
    followed = Monitor.from_config(monitor, 0)
    found = [followed.update(epoch, {"loss": value}) for epoch, value in enumerate(values, 1)]
    assert found == expected


def test_the_monitored_value_is_named_by_its_key():
    followed = Monitor.from_config("max  val_accuracy", 1)
    assert (followed.mode, followed.metric, followed.patience) == ("max", "val_accuracy", 1)


def test_without_validation_rows_the_training_loss_is_monitored_and_one_line_says_so(
    small_config: MakeConfig, program_log
):
    config = small_config(
        **TINY, **{"data_loader.args.validation_split": 0, "trainer.verbosity": 1}
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
):
    config = small_config(
        **TINY,
        **{"data_loader.args.validation_split": 0, "trainer.monitor": "max val_accuracy"},
    )
    run = train(config)
    best = max(log["accuracy"] for log in run.logs)
    assert read(run.fitted.best_path)["monitor_best"] == best


@pytest.mark.parametrize("save_period", [0, 2, 100])
def test_with_the_monitor_off_the_last_epoch_is_the_best(small_config: MakeConfig, save_period):
    config = small_config(
        **TINY,
        **{
            "trainer.monitor": "off",
            "trainer.early_stop": 0,
            "trainer.save_period": save_period,
            "trainer.epochs": 3,
        },
    )
    run = train(config)
    assert read(run.fitted.best_path)["epoch"] == 3
    assert run.fitted.best_log == run.logs[-1]


def test_a_best_epoch_between_two_save_periods_is_kept(small_config: MakeConfig, monkeypatch):
    """The third of four epochs is the best; only the second and the fourth are saved in turn."""
    config = small_config(
        **TINY,
        **{"trainer.epochs": 4, "trainer.save_period": 2, "trainer.monitor": "min val_loss"},
    )
    values = iter([4.0, 3.0, 1.0, 2.0])

    def validate(self, epoch):
        return {"val_loss": next(values)}

    monkeypatch.setattr("base.base_trainer.BaseTrainer._validation_log", validate)
    run = train(config)
    names = sorted(path.name for path in run.save_dir.iterdir())
    assert names == ["checkpoint-epoch2.pth", "checkpoint-epoch4.pth", "config.json", run.fitted.best_path.name]
    best = read(run.save_dir / "model_best.pth")
    assert (best["epoch"], best["monitor_best"]) == (3, 1.0)
    assert run.fitted.best_log["val_loss"] == 1.0


def test_early_stop_ends_the_training_and_names_the_reason(small_config: MakeConfig, program_log):
    config = small_config(
        **TINY,
        **{
            "arch.args.add_IC": False,
            "optimizer.args.lr": 0.0,
            "lr_scheduler": None,
            "trainer.epochs": 9,
            "trainer.early_stop": 2,
            "trainer.verbosity": 1,
        },
    )
    run = train(config)
    assert [log["epoch"] for log in run.logs] == [1, 2, 3]
    assert read(run_dirs(config)[0] / "model_best.pth")["epoch"] == 1
    assert "Stopped early: val_loss did not improve for 2 epochs" in program_log.messages
