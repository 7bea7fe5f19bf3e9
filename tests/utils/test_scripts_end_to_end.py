import json
from pathlib import Path

import pytest
from conftest import MakeConfig, RunScript
from helpers import (
    ROOT,
    TINY,
    assert_identical,
    original_config,
    read,
    run_dirs,
    save_config,
    start_script,
    train,
)

from sample.make import make_sample_data
from trainer.check import check
from utils.config import ConfigParser


def test_the_originals_config_trains_as_it_is(
    data_dir: Path, tmp_path: Path, run_script: RunScript
) -> None:
    """Only the folders are redirected, on the command line."""
    outcome = run_script(
        "train.py",
        *("-c", save_config(original_config(), tmp_path)),
        *("--data_dir", data_dir, "-o", f"trainer.save_dir={tmp_path / 'saved'}"),
    )
    assert (outcome.code, outcome.err) == (0, "")
    assert "600 to train on, 0 to validate" in outcome.out
    assert outcome.out.count("loss is monitored instead of val_loss") == 1
    (save_dir,) = (tmp_path / "saved" / "models" / "ResMLP").iterdir()
    assert sorted(path.name for path in save_dir.glob("*.pth")) == [
        *(f"checkpoint-epoch{epoch}.pth" for epoch in range(1, 6)),
        "model_best.pth",
    ]
    ran = json.loads((save_dir / "config.json").read_text(encoding="utf-8"))
    for section in ("arch", "optimizer", "lr_scheduler", "loss", "metrics"):
        assert ran[section] == original_config()[section]


@pytest.mark.parametrize("task", ["gender", "age8", "age101"])
def test_a_task_is_trained_resumed_evaluated_and_cross_validated(
    task: str, small_config: MakeConfig, tmp_path: Path, run_script: RunScript
) -> None:
    path = save_config(small_config(**{"trainer.save_period": 1}), tmp_path)
    small = ("-o", "arch.args.num_blocks=1", "-o", "trainer.epochs=2")
    trained = run_script("train.py", "-c", path, "--task", task, *small)
    assert (trained.code, trained.err) == (0, "")
    first = run_dirs(small_config())[0]
    resumed = run_script("train.py", "-r", first / "checkpoint-epoch1.pth")
    assert (resumed.code, resumed.err) == (0, "")
    second = run_dirs(small_config())[1]
    best = [read(folder / "model_best.pth") for folder in (first, second)]
    assert_identical(best[0]["state_dict"], best[1]["state_dict"])
    tested = run_script("test.py", "-r", second / "model_best.pth")
    assert (tested.code, tested.err) == (0, "")
    study = save_config(small_config("cross-val.json"), tmp_path)
    crossed = run_script(
        "cross-val.py", "-c", study, "--task", task, *small, "--seed", 0, "--fold", 1
    )
    assert (crossed.code, crossed.err) == (0, "")
    assert "1 run: seed " in crossed.out


def test_every_script_runs_on_the_sample_data(
    small_config: MakeConfig, tmp_path: Path, run_script: RunScript
) -> None:
    sample = make_sample_data(tmp_path / "sample", num_adience=300, num_imdb=100, num_wiki=60)
    options = ("--data_dir", sample)
    path = save_config(small_config(**TINY), tmp_path)
    assert run_script("train.py", "-c", path, *options).code == 0
    (save_dir,) = run_dirs(small_config())
    tested = run_script("test.py", "-r", save_dir / "model_best.pth", "--split", "all")
    assert (tested.code, tested.err) == (0, "")
    assert "128 of these 142 rows" in tested.out  # 18 of the 160 images are removed
    study = save_config(small_config("cross-val.json", **TINY), tmp_path)
    crossed = run_script("cross-val.py", "-c", study, *options, "--seed", 0, "--fold", 4)
    assert (crossed.code, crossed.err) == (0, "")


def test_train_py_in_a_process_of_its_own_is_quiet_on_standard_error(
    small_config: MakeConfig, tmp_path: Path
) -> None:
    config = small_config(**{**TINY, "trainer.verbosity": 2, "trainer.tensorboard": True})
    process = start_script("-W", "error", "train.py", "-c", save_config(config, tmp_path))
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert "epoch 2/2" in out
    assert "trainable parameters" in out


def test_a_config_is_fine_tuned_from_a_checkpoint_with_another_config_on_top(
    small_config: MakeConfig, tmp_path: Path, run_script: RunScript
) -> None:
    run = train(small_config(**{**TINY, "trainer.save_period": 1}))
    sections = {"optimizer": {"type": "AdamW", "args": {"lr": 0.0001}}}
    outcome = run_script(
        *("train.py", "-r", run.save_dir / "checkpoint-epoch2.pth"),
        *("-c", save_config(sections, tmp_path), "-o", "trainer.epochs=3"),
    )
    assert (outcome.code, outcome.err) == (0, "")
    last = run_dirs(small_config())[-1]
    content = read(last / "checkpoint-epoch3.pth")
    assert content["config"]["optimizer"] == sections["optimizer"]
    assert content["config"]["arch"] == ConfigParser(small_config(**TINY)).config["arch"]


@pytest.mark.parametrize("name", ["train.json", "cross-val.json"])
def test_a_shipped_config_names_only_what_its_script_accepts(name: str) -> None:
    content = json.loads((ROOT / name).read_text(encoding="utf-8"))
    assert check(ConfigParser(content).config) == []
