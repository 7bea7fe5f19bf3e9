import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import MakeConfig, RunScript
from helpers import (
    Config,
    nan_from,
    read,
    run_dirs,
    save_config,
    start_script,
    wait_for_line,
)

from cross_val.cross_validate import cross_validate
from data_loader.data_loaders import AgeDataLoader
from trainer.check import check
from trainer.data import held_out_loader, training_loader
from utils.config import ConfigParser
from utils.errors import ConfigError, DataError, DivergedError

SPLITS = ("train", "val", "test")
VALUES = ("loss", "accuracy", "one_off_accuracy", "mae")


def study(config: Config, seed: int | None = None, fold: int | None = None) -> dict[str, Any]:
    return cross_validate(ConfigParser(config, check=check), seed, fold)


def results_of(config: Config) -> list[dict[str, Any]]:
    """Read all results files of a config's save_dir, oldest first."""
    paths = Path(config["trainer"]["save_dir"]).glob("*_cross-val-results.json")
    ordered = sorted(paths, key=lambda path: path.stat().st_mtime_ns)
    return [json.loads(path.read_text(encoding="utf-8")) for path in ordered]


def with_seeds(config: Config, *seeds: int) -> Config:
    return {**config, "seeds": list(seeds)}


# --- the results ----------------------------------------------------------------------------------


def test_the_results_file_has_every_value_of_every_run_and_their_mean_and_deviation(
    cross_val_config: Config,
) -> None:
    returned = study(cross_val_config)
    (results,) = results_of(cross_val_config)
    assert results == returned
    assert results["config"] == ConfigParser(cross_val_config).config
    summary = [
        f"{split}_{name}_{kind}" for split in SPLITS for name in VALUES for kind in ("mean", "std")
    ]
    stats = results["stats"]
    assert sorted(stats) == sorted(["0", "1", *summary])
    for seed in ("0", "1"):
        assert list(stats[seed]) == list(SPLITS)
        for split in SPLITS:
            assert list(stats[seed][split]) == ["0", "1"]
            for fold in ("0", "1"):
                assert list(stats[seed][split][fold]) == list(VALUES)
    for split in SPLITS:
        for name in VALUES:
            values = np.array(
                [stats[seed][split][fold][name] for seed in ("0", "1") for fold in ("0", "1")]
            )
            assert len(set(values)) > 1 or name.endswith("accuracy")
            assert stats[f"{split}_{name}_mean"] == pytest.approx(values.mean(), rel=1e-12)
            deviation = np.sqrt(((values - values.mean()) ** 2).sum() / 4)
            assert stats[f"{split}_{name}_std"] == pytest.approx(deviation, rel=1e-9)


def test_the_values_come_from_the_best_epoch_in_eval_mode(cross_val_config: Config) -> None:
    """The highest loss counts as the best here, so that the best epoch is not the last."""
    cross_val_config["trainer"].update(epochs=3, monitor="max val_loss")
    cross_val_config["optimizer"]["args"]["lr"] = 0.01
    results = study(cross_val_config, seed=0, fold=1)
    best = read(Path(results["checkpoints"]["0"]["1"]))
    last = read(run_dirs(cross_val_config)[0] / "checkpoint-epoch3.pth")
    assert best["epoch"] < 3
    logged = best["resume"]["best_log"]
    values = results["stats"]["0"]["val"]["1"]
    assert values == {name: logged[f"val_{name}"] for name in VALUES}
    assert last["resume"]["best_log"] == logged


def test_the_table_shows_mean_and_deviation_of_every_value(
    cross_val_config: Config, program_log: pytest.LogCaptureFixture
) -> None:
    stats = study(cross_val_config)["stats"]
    (table,) = [line for line in program_log.messages if "+-" in line]
    assert "4 runs: 2 seeds x 2 folds" in table
    for split in SPLITS:
        for name in VALUES:
            cell = f"{stats[f'{split}_{name}_mean']:.4f} +- {stats[f'{split}_{name}_std']:.4f}"
            (row,) = [row for row in table.splitlines() if row.startswith(f"{name} ")]
            assert cell in row


def test_without_validation_rows_there_are_no_values_of_them(cross_val_config: Config) -> None:
    cross_val_config["data_loader"]["args"]["validation_split"] = 0
    stats = study(cross_val_config, seed=0)["stats"]
    assert list(stats["0"]) == ["train", "test"]
    assert "test_loss_mean" in stats
    assert not any(key.startswith("val_") for key in stats)


# --- runs that do not depend on each other --------------------------------------------------------


def test_a_single_run_gives_the_very_numbers_of_the_whole_study(cross_val_config: Config) -> None:
    whole = study(cross_val_config)["stats"]
    single = study(cross_val_config, seed=1, fold=0)["stats"]
    assert single["1"] == {split: {"0": whole["1"][split]["0"]} for split in SPLITS}


def test_the_order_of_the_runs_does_not_matter(cross_val_config: Config) -> None:
    forth = study(cross_val_config)["stats"]
    back = study(with_seeds(cross_val_config, 1, 0))["stats"]
    assert {seed: forth[seed] for seed in ("0", "1")} == {seed: back[seed] for seed in ("0", "1")}


def test_global_random_state_does_not_matter(cross_val_config: Config) -> None:
    first = study(cross_val_config, seed=0, fold=0)["stats"]
    np.random.seed(5)  # noqa: NPY002 - somebody else's global state
    torch.manual_seed(5)
    assert study(cross_val_config, seed=0, fold=0)["stats"] == first


def test_seeds_differ_in_weights_and_in_their_validation_rows(cross_val_config: Config) -> None:
    rows = []
    for seed in (0, 1):
        config = ConfigParser(
            cross_val_config, modification={"seed": seed, "data_loader.args.test_cross_val": 0}
        )
        rows.append(training_loader(config).validation_rows.tolist())
    assert rows[0] != rows[1]
    stats = study(cross_val_config)["stats"]
    assert stats["0"]["train"]["0"] != stats["1"]["train"]["0"]


@pytest.mark.parametrize("fold", range(5))
@pytest.mark.parametrize("seed", [0, 1])
def test_no_person_is_in_two_of_training_validation_and_test(
    seed: int, fold: int, small_config: MakeConfig
) -> None:
    config = ConfigParser(
        small_config("cross-val.json"),
        modification={"seed": seed, "data_loader.args.test_cross_val": fold},
        check=check,
    )
    loader, held_out = training_loader(config), held_out_loader(config)
    assert isinstance(loader, AgeDataLoader)
    assert isinstance(held_out, AgeDataLoader)
    sides = [
        set(loader.source.faces.subject[loader.rows]),
        set(loader.source.faces.subject[loader.validation_rows]),
        set(held_out.source.faces.subject),
    ]
    assert [len(side) > 0 for side in sides] == [True] * 3
    assert len(set.union(*sides)) == sum(map(len, sides)) == 60
    assert set(held_out.source.faces.fold) == {fold}
    assert fold not in set(loader.source.faces.fold)


# --- going on -------------------------------------------------------------------------------------


def test_a_study_killed_after_its_first_run_goes_on_without_repeating_it(
    cross_val_config: Config, tmp_path: Path, run_script: RunScript
) -> None:
    path = save_config(cross_val_config, tmp_path)
    process = start_script("cross-val.py", "-c", path)
    wait_for_line(process, "seed 0, fold 0: test")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (killed,) = results_of(cross_val_config)
    num_done = len(killed["stats"]["0"]["test"])
    assert "0" in killed["stats"]["0"]["test"]
    assert not any(key.endswith("_mean") for key in killed["stats"])
    num_runs = len(run_dirs(cross_val_config))
    outcome = run_script("cross-val.py", "-c", path)
    assert (outcome.code, outcome.err) == (0, "")
    assert f"{num_done} of 4 runs done" in outcome.out
    (results,) = results_of(cross_val_config)
    assert len(run_dirs(cross_val_config)) == num_runs + 4 - num_done
    assert results["stats"]["0"]["test"]["0"] == killed["stats"]["0"]["test"]["0"]
    assert results["checkpoints"]["0"]["0"] == killed["checkpoints"]["0"]["0"]
    fresh = {**cross_val_config["trainer"], "save_dir": str(tmp_path / "fresh")}
    assert results["stats"] == study({**cross_val_config, "trainer": fresh})["stats"]


def test_a_finished_study_is_run_anew_into_a_file_of_its_own(cross_val_config: Config) -> None:
    first = study(cross_val_config, seed=0)
    second = study(cross_val_config, seed=0)
    assert len(results_of(cross_val_config)) == 2
    assert first["stats"] == second["stats"]
    assert first["checkpoints"] != second["checkpoints"]


def diverge_after(monkeypatch: pytest.MonkeyPatch, cross_val_config: Config, num_runs: int) -> None:
    """Let so many runs pass before the loss turns NaN."""
    loader = training_loader(
        ConfigParser(cross_val_config, modification={"data_loader.args.test_cross_val": 0})
    )
    num_batches = len(loader) * cross_val_config["trainer"]["epochs"]
    nan_from(monkeypatch, num_runs * num_batches + 1)


def test_a_run_that_diverges_is_an_error_that_names_it_and_leaves_the_earlier_results(
    cross_val_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        diverge_after(patch, cross_val_config, 1)
        with pytest.raises(DivergedError, match=r"seed 0, fold 1: .*epoch 1, batch 1 of"):
            study(cross_val_config)
    (left,) = results_of(cross_val_config)
    assert list(left["stats"]) == ["0"]
    assert list(left["stats"]["0"]["test"]) == ["0"]
    results = study(cross_val_config)
    assert len(results_of(cross_val_config)) == 1
    assert results["stats"]["0"]["test"]["0"] == left["stats"]["0"]["test"]["0"]
    assert np.isfinite([results["stats"][f"test_{name}_mean"] for name in VALUES]).all()


def test_a_diverged_run_ends_the_script_with_code_2_and_one_line(
    cross_val_config: Config,
    tmp_path: Path,
    run_script: RunScript,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    diverge_after(monkeypatch, cross_val_config, 0)
    outcome = run_script("cross-val.py", "-c", save_config(cross_val_config, tmp_path))
    assert outcome.code == 2
    assert outcome.err.startswith("error: seed 0, fold 0: ")
    assert len(outcome.err.splitlines()) == 1


def test_results_of_another_config_or_of_other_runs_are_not_gone_on_with(
    cross_val_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        diverge_after(patch, cross_val_config, 1)
        with pytest.raises(DivergedError):
            study(cross_val_config)
    other = json.loads(json.dumps(cross_val_config))
    other["optimizer"]["args"]["lr"] = 0.01
    study(other, seed=0)
    study(cross_val_config, seed=0)
    unfinished, *others = results_of(cross_val_config)
    assert list(unfinished["stats"]) == ["0"]
    assert len(others) == 2


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"stats": 3}', '{"config": {}}', "[" * 100_000, "9" * 5000]
)
def test_a_results_file_that_is_empty_or_foreign_does_not_stand_in_the_way(
    content: str, cross_val_config: Config, program_log: pytest.LogCaptureFixture
) -> None:
    """A kill between naming the file and writing it leaves it empty."""
    save_dir = Path(cross_val_config["trainer"]["save_dir"])
    save_dir.mkdir(parents=True)
    left = save_dir / "20210101_000000_cross-val-results.json"
    left.write_text(content)
    results = study(cross_val_config, seed=0, fold=0)
    assert "test_loss_mean" in results["stats"]
    assert left.read_text() == content


def test_a_run_in_another_environment_than_the_first_is_told(
    cross_val_config: Config,
    monkeypatch: pytest.MonkeyPatch,
    program_log: pytest.LogCaptureFixture,
) -> None:
    with monkeypatch.context() as patch:
        diverge_after(patch, cross_val_config, 1)
        with pytest.raises(DivergedError):
            study(cross_val_config)
    monkeypatch.setattr("base.device.platform.python_version", lambda: "2.7")
    study(cross_val_config)
    warnings = [line for line in program_log.messages if "another environment" in line]
    assert len(warnings) == 3


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "options", "complaint"),
    [
        ({}, {"fold": 2}, "--fold 2"),
        ({}, {"fold": -1}, "--fold -1"),
        ({}, {"seed": -1}, "--seed -1"),
    ],
)
def test_a_study_that_cannot_be_is_refused_before_any_work(
    changes: Config,
    options: dict[str, int],
    complaint: str,
    small_config: MakeConfig,
    tmp_path: Path,
) -> None:
    config = small_config("cross-val.json", **{"num_cross_val": 2, **changes})
    with pytest.raises(ConfigError, match=complaint):
        study(config, **options)
    assert not (tmp_path / "saved").exists()


@pytest.mark.parametrize("key", ["num_cross_val", "seeds"])
def test_a_config_of_a_training_is_refused_and_what_it_lacks_is_named(
    key: str, small_config: MakeConfig
) -> None:
    config = small_config("cross-val.json")
    del config[key]
    with pytest.raises(ConfigError, match=key):
        study(config)


def test_pretrained_weights_start_every_run(
    cross_val_config: Config, tmp_path: Path, program_log: pytest.LogCaptureFixture
) -> None:
    first = study(cross_val_config, seed=0, fold=0)
    path = first["checkpoints"]["0"]["0"]
    started = study({**cross_val_config, "checkpoint": path}, seed=0, fold=0)
    assert started["stats"]["0"]["train"]["0"]["loss"] < first["stats"]["0"]["train"]["0"]["loss"]


@pytest.mark.parametrize("content", [{"type": "cse", "args": {"label_smoothing": 0.1}}, "cse"])
def test_loss_arguments_count_in_all_three_splits(
    content: object, cross_val_config: Config
) -> None:
    stats = study({**cross_val_config, "loss": content}, seed=0, fold=0)["stats"]
    best = read(Path(results_of(cross_val_config)[0]["checkpoints"]["0"]["0"]))
    assert stats["val_loss_mean"] == best["monitor_best"]


def test_a_call_without_data_leaves_no_results_file(
    cross_val_config: Config, tmp_path: Path
) -> None:
    config = cross_val_config
    config["data_loader"]["args"]["data_dir"] = str(tmp_path / "nothing")
    with pytest.raises(DataError, match="no such data file"):
        cross_validate(ConfigParser(config, check=check))
    assert list(Path(config["trainer"]["save_dir"]).glob("*results.json")) == []


def test_a_finished_study_is_shown_again_and_run_anew_only_when_asked(
    cross_val_config: Config,
) -> None:
    config = ConfigParser(with_seeds(cross_val_config, 0), check=check)
    first = cross_validate(config)
    assert cross_validate(config)["checkpoints"] == first["checkpoints"]
    again = cross_validate(config, anew=True)
    assert again["checkpoints"] != first["checkpoints"]
    assert again["stats"] == first["stats"]


def test_changed_data_begin_a_new_study(cross_val_config: Config, tmp_path: Path) -> None:
    content = with_seeds(cross_val_config, 0)
    copied = tmp_path / "copied"
    shutil.copytree(content["data_loader"]["args"]["data_dir"], copied)
    content["data_loader"]["args"]["data_dir"] = str(copied)
    config = ConfigParser(content, check=check)
    first = cross_validate(config)
    os.utime(copied / "Adience" / "data-aligned.npy", (1, 1))
    assert cross_validate(config)["checkpoints"] != first["checkpoints"]


def test_two_processes_do_not_add_to_the_same_results(
    cross_val_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ConfigParser(with_seeds(cross_val_config, 0), check=check)

    def run_while_another_starts(*_: object, **__: object) -> None:
        cross_validate(config)

    monkeypatch.setattr("cross_val.runs.run_one", run_while_another_starts)
    with pytest.raises(ConfigError, match="another process"):
        cross_validate(config)
