import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from conftest import MakeConfig
from helpers import TINY, Config, assert_identical, nan_from, read, run_dirs, signal_at, train
from processors import AMX, AVX512_BF16, Processor
from resuming import (
    NUM_BATCHES,
    RECIPES,
    assert_same_end,
    changed,
    interrupt,
    resumable,
    with_epochs,
)

from base import device as device_module
from utils.errors import CheckpointError, DivergedError
from utils.scripts import export_model


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_run_resumed_from_a_periodic_checkpoint_ends_bit_identical(
    recipe: str, small_config: MakeConfig
) -> None:
    config = resumable(small_config, **RECIPES[recipe])
    whole = train(config)
    resumed = train(config, whole.save_dir / "checkpoint-epoch2.pth")
    assert len(resumed.logs) == 2
    assert resumed.save_dir != whole.save_dir
    assert_same_end(resumed, whole)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_run_interrupted_in_mid_epoch_and_resumed_ends_bit_identical(
    recipe: str, small_config: MakeConfig
) -> None:
    config = resumable(small_config, **RECIPES[recipe])
    whole = train(config)
    checkpoint = interrupt(config, batch=NUM_BATCHES + 3)
    assert read(checkpoint)["resume"]["position"]["batch"] == 3
    resumed = train(config, checkpoint)
    assert [log["epoch"] for log in resumed.logs] == [2, 3, 4]
    assert_same_end(resumed, whole)


@pytest.mark.parametrize("processor", [AMX, AVX512_BF16], ids=str)
def test_a_run_in_bfloat16_interrupted_and_resumed_ends_bit_identical(
    processor: Processor, small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor.stand_in(monkeypatch)
    monkeypatch.setattr(device_module, "BFLOAT16_FROM", 1)
    config = resumable(small_config, amp=True)
    whole = train(config)
    assert_same_end(train(config, interrupt(config, batch=8)), whole)


def test_the_runs_compared_do_train_with_dropout_and_in_a_new_order_each_epoch(
    small_config: MakeConfig,
) -> None:
    config = resumable(small_config)
    assert config["arch"]["args"]["dropout"] > 0
    assert config["data_loader"]["args"]["shuffle"] is True
    loader = train(config).fitted.setup.train_loader
    assert len(loader) == NUM_BATCHES
    orders = []
    for epoch in (1, 2, 1):
        loader.order.epoch, loader.order.first_batch = epoch, 0
        orders.append(np.concatenate([rows.numpy() for rows in loader.order]).tolist())
    assert orders[0] == orders[2] != orders[1]


@pytest.mark.parametrize("recipe", ["AdamW, OneCycleLR", "AdamW, ReduceLROnPlateau"])
def test_a_run_interrupted_twice_in_one_epoch_and_once_in_a_later_one_ends_bit_identical(
    recipe: str, small_config: MakeConfig
) -> None:
    config = resumable(small_config, **RECIPES[recipe])
    whole = train(config)
    first = interrupt(config, batch=2)
    second = interrupt(config, batch=2, resume=first, number=signal.SIGTERM)
    assert read(second)["resume"]["position"]["batch"] == 4
    third = interrupt(config, batch=1 + NUM_BATCHES + 1, resume=second)
    assert read(third)["epoch"] == 2
    assert_same_end(train(config, third), whole)


def test_a_run_interrupted_on_the_last_batch_of_an_epoch_ends_that_epoch_first(
    small_config: MakeConfig,
) -> None:
    config = resumable(small_config)
    whole = train(config)
    checkpoint = interrupt(config, batch=2 * NUM_BATCHES)
    position = read(checkpoint)["resume"]["position"]
    assert (position["epoch"], position["batch"]) == (2, 0)
    assert (checkpoint.parent / "checkpoint-epoch2.pth").is_file()
    assert_same_end(train(config, checkpoint), whole)


def test_a_run_interrupted_on_its_very_last_batch_is_finished(
    small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = resumable(small_config)
    signal_at(monkeypatch, 4 * NUM_BATCHES)
    run = train(config)
    assert len(run.logs) == 4
    assert not (run.save_dir / "checkpoint-interrupted.pth").exists()


def test_workers_that_fetch_batches_do_not_change_a_resumed_run(small_config: MakeConfig) -> None:
    config = resumable(small_config, **{"trainer.epochs": 2})
    whole = train(config)
    workers = {**config["data_loader"]["args"], "num_workers": 1}
    config = changed(config, data_loader={**config["data_loader"], "args": workers})
    resumed = train(config, interrupt(config, batch=NUM_BATCHES + 2))
    assert resumed.logs == whole.logs[1:]
    assert_identical(resumed.fitted.setup.model.state_dict(), whole.fitted.setup.model.state_dict())


def never_better(small_config: MakeConfig) -> Config:
    """Make a config whose loss stays what it is: no batch norm, a rate that is 0 in float32."""
    return resumable(
        small_config,
        **{
            "arch.args.add_IC": False,
            "optimizer.args.lr": 1e-300,
            "lr_scheduler": None,
            "trainer.epochs": 9,
            "trainer.early_stop": 3,
        },
    )


def test_the_early_stop_counter_and_the_best_value_are_carried_on(
    small_config: MakeConfig,
) -> None:
    config = never_better(small_config)
    whole = train(config)
    assert [log["epoch"] for log in whole.logs] == [1, 2, 3, 4]
    resumed = train(config, whole.save_dir / "checkpoint-epoch3.pth")
    assert [log["epoch"] for log in resumed.logs] == [4]
    assert_same_end(resumed, whole)
    assert read(resumed.save_dir / "model_best.pth")["epoch"] == 1
    assert resumed.fitted.best_log == whole.logs[0]


def test_a_run_that_stopped_early_stays_stopped_until_it_may_wait_longer(
    small_config: MakeConfig,
) -> None:
    config = never_better(small_config)
    last = train(config).save_dir / "checkpoint-epoch4.pth"
    assert train(config, last).logs == []
    patient = changed(config, trainer={**config["trainer"], "early_stop": 5})
    assert [log["epoch"] for log in train(patient, last).logs] == [5, 6]


def test_the_best_checkpoint_comes_along_from_a_folder_that_has_only_that_one(
    small_config: MakeConfig,
) -> None:
    config = changed(never_better(small_config))
    config["trainer"]["save_period"] = 3
    whole = train(config)
    resumed = train(config, whole.save_dir / "checkpoint-epoch3.pth")
    assert not (resumed.save_dir / "checkpoint-epoch1.pth").exists()
    assert_identical(
        read(resumed.save_dir / "model_best.pth"), read(whole.save_dir / "model_best.pth")
    )


def test_a_place_in_mid_epoch_does_not_pass_for_the_best_epoch_before_it(
    small_config: MakeConfig,
) -> None:
    config = never_better(small_config)
    whole = train(config)
    checkpoint = interrupt(config, batch=NUM_BATCHES + 2)
    assert read(checkpoint)["epoch"] == 1
    assert_same_end(train(config, checkpoint), whole)


def test_a_later_best_of_the_same_folder_does_not_pass_for_the_best_of_an_earlier_epoch(
    small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, program_log: pytest.LogCaptureFixture
) -> None:
    config = resumable(small_config)
    values = iter([3.0, 4.0, 5.0, 1.0, 2.0])
    monkeypatch.setattr("trainer.trainer.Trainer.evaluate", lambda *_: {"loss": next(values)})
    whole = train(config)
    (whole.save_dir / "checkpoint-epoch1.pth").unlink()
    resumed = train(with_epochs(config, 3), whole.save_dir / "checkpoint-epoch2.pth")
    assert "epoch 1" in program_log.text
    assert read(resumed.save_dir / "model_best.pth")["epoch"] == 3


def moved_alone(checkpoint: Path, tmp_path: Path) -> Path:
    """Copy a checkpoint to a folder where nothing else is."""
    (tmp_path / "elsewhere").mkdir()
    return Path(shutil.copy(checkpoint, tmp_path / "elsewhere"))


def test_a_best_checkpoint_that_is_gone_is_told_and_the_next_epoch_becomes_the_best(
    small_config: MakeConfig, tmp_path: Path, program_log: pytest.LogCaptureFixture
) -> None:
    config = never_better(small_config)
    alone = moved_alone(train(config).save_dir / "checkpoint-epoch2.pth", tmp_path)
    resumed = train(config, alone)
    warnings = [
        record.getMessage() for record in program_log.records if record.levelname == "WARNING"
    ]
    assert len(warnings) == 1
    assert "epoch 1" in warnings[0]
    assert str(alone.parent) in warnings[0]
    assert (
        read(resumed.save_dir / "model_best.pth")["epoch"] == resumed.fitted.best_log["epoch"] == 3
    )


def test_a_damaged_best_checkpoint_counts_as_gone(
    small_config: MakeConfig, program_log: pytest.LogCaptureFixture
) -> None:
    config = never_better(small_config)
    run = train(config)
    run.fitted.best_path.write_bytes(b"damaged")
    (run.save_dir / "checkpoint-epoch1.pth").unlink()
    resumed = train(config, run.save_dir / "checkpoint-epoch2.pth")
    assert "epoch 1" in program_log.text
    assert read(resumed.fitted.best_path)["epoch"] == 3


def test_a_finished_run_whose_best_is_gone_does_not_claim_to_have_saved_it(
    small_config: MakeConfig, tmp_path: Path, program_log: pytest.LogCaptureFixture
) -> None:
    config = never_better(small_config)
    config["trainer"].update(epochs=2, verbosity=1)
    alone = moved_alone(train(config).save_dir / "checkpoint-epoch2.pth", tmp_path)
    program_log.clear()
    resumed = train(config, alone)
    assert resumed.logs == []
    assert not resumed.fitted.best_path.exists()
    assert not [
        line for line in program_log.messages if f"saved as {resumed.fitted.best_path}" in line
    ]


def test_a_finished_run_says_that_nothing_is_left(
    small_config: MakeConfig, program_log: pytest.LogCaptureFixture
) -> None:
    config = with_epochs(resumable(small_config), 2)
    whole = train(config)
    resumed = train(config, whole.save_dir / "checkpoint-epoch2.pth")
    assert resumed.logs == []
    assert "trainer.epochs" in program_log.text
    assert_identical(read(resumed.fitted.best_path), read(whole.fitted.best_path))


def test_a_checkpoint_of_the_best_epoch_can_be_resumed(small_config: MakeConfig) -> None:
    config = with_epochs(resumable(small_config), 2)
    run = train(config)
    best = read(run.fitted.best_path)["epoch"]
    resumed = train(with_epochs(config, 3), run.fitted.best_path)
    assert [log["epoch"] for log in resumed.logs] == list(range(best + 1, 4))


def test_an_exported_checkpoint_is_refused_and_the_key_to_use_is_named(
    small_config: MakeConfig, tmp_path: Path
) -> None:
    config = with_epochs(resumable(small_config), 1)
    export_model(train(config).fitted.best_path, tmp_path / "age.pth")
    with pytest.raises(CheckpointError, match=r"-o checkpoint=.*age\.pth"):
        train(config, tmp_path / "age.pth")


def test_a_checkpoint_that_is_refused_leaves_no_run_folder(
    small_config: MakeConfig, tmp_path: Path
) -> None:
    config = with_epochs(resumable(small_config), 1)
    export_model(train(config).fitted.best_path, tmp_path / "age.pth")
    before = run_dirs(config)
    with pytest.raises(CheckpointError):
        train(config, tmp_path / "age.pth")
    assert run_dirs(config) == before


def test_a_checkpoint_of_another_network_is_refused(small_config: MakeConfig) -> None:
    config = with_epochs(resumable(small_config), 1)
    run = train(config)
    other = small_config(**{**TINY, "arch.args.num_blocks": 2})
    with pytest.raises(CheckpointError, match="num_blocks"):
        train(other, run.save_dir / "checkpoint-epoch1.pth")


def test_a_run_that_diverged_can_be_resumed_from_before(
    small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = resumable(small_config)
    whole = train(config)
    with monkeypatch.context() as patch:
        nan_from(patch, batch=2 * NUM_BATCHES + 1)
        with pytest.raises(DivergedError):
            train(config)
    resumed = train(config, run_dirs(config)[-1] / "checkpoint-epoch2.pth")
    assert_same_end(resumed, whole)


def test_the_state_of_the_random_numbers_does_not_depend_on_what_ran_before_the_resumed_run(
    small_config: MakeConfig,
) -> None:
    config = resumable(small_config)
    whole = train(config)
    train(small_config(**{**TINY, "seed": 7, "trainer.epochs": 1}))
    np.random.seed(3)  # noqa: NPY002 - somebody else's global state
    resumed = train(config, whole.save_dir / "checkpoint-epoch2.pth")
    assert_same_end(resumed, whole)
