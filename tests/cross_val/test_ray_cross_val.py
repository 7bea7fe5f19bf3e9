"""Cross-validation on a Ray of its own on this machine, of single runs and of stacks."""

import os
import signal
from pathlib import Path

import pytest
from helpers import Config, read, run_dirs, save_config
from ray_helpers import Script, marked_processes, run, wait_until
from ray_studies import in_process, results_of

from cross_val.runs import Engine, sequential_engine
from cross_val.stacked_engine import stacked_engine

pytestmark = pytest.mark.slow

ENGINE = ("--engine", "ray")
STACKS = (*ENGINE, "--stack_size", 2)
BOTH = pytest.mark.parametrize(
    ("options", "engine"),
    [(ENGINE, sequential_engine()), (STACKS, stacked_engine(threads=1))],
    ids=["runs", "stacks"],
)
"""Options, and the engine that gives the same numbers in this process."""


def assert_tidy(config: Config) -> None:
    """No temporary files and no half-written runs are left."""
    save_dir = Path(config["trainer"]["save_dir"])
    hidden = [path.name for path in save_dir.glob(".*") if not path.name.endswith(".tmp")]
    assert hidden == []


@BOTH
def test_the_numbers_are_those_of_the_engine_in_this_process_to_the_last_bit(
    options: tuple[object, ...], engine: Engine, cross_val_config: Config, tmp_path: Path
) -> None:
    outcome = run("cross-val.py", "-c", save_config(cross_val_config, tmp_path), *options)
    assert (outcome.code, outcome.err) == (0, "")
    results, expected = results_of(cross_val_config), in_process(cross_val_config, tmp_path, engine)
    assert results["stats"] == expected["stats"]
    assert results["environment"] == expected["environment"]
    assert results["environment"]["num_threads"] == 1
    assert "other_environments" not in results
    for seed, folds in results["checkpoints"].items():
        for fold, path in folds.items():
            content, twin = read(Path(path)), read(Path(expected["checkpoints"][seed][fold]))
            assert content["monitor_best"] == twin["monitor_best"]
            for name, weight in content["state_dict"].items():
                assert weight.equal(twin["state_dict"][name])
    assert len(run_dirs(cross_val_config)) == 4
    assert_tidy(cross_val_config)


@BOTH
def test_a_study_killed_half_way_goes_on_without_repeating_a_run(
    options: tuple[object, ...], engine: Engine, cross_val_config: Config, tmp_path: Path
) -> None:
    path = save_config(cross_val_config, tmp_path)
    killed = Script("cross-val.py", "-c", path, *options)
    killed.wait_for("seed 0, fold")
    killed.process.send_signal(signal.SIGKILL)
    killed.process.communicate()
    before = results_of(cross_val_config)["checkpoints"]
    outcome = run("cross-val.py", "-c", path, *options)
    assert (outcome.code, outcome.err) == (0, "")
    results = results_of(cross_val_config)
    for seed, folds in before.items():
        for fold, checkpoint in folds.items():
            assert results["checkpoints"][seed][fold] == checkpoint
    assert results["stats"] == in_process(cross_val_config, tmp_path, engine)["stats"]


def test_a_stack_whose_process_dies_begins_again(cross_val_config: Config, tmp_path: Path) -> None:
    cross_val_config["trainer"] |= {"epochs": 60, "save_period": 60}
    save_dir = Path(cross_val_config["trainer"]["save_dir"])
    script = Script("cross-val.py", "-c", save_config(cross_val_config, tmp_path), *STACKS)
    assert wait_until(lambda: any(save_dir.glob(".ray-*/*/models/*/*/epochs.jsonl")))
    workers = [pid for pid, name in marked_processes(script.mark) if "ray::run_remotely" in name]
    os.kill(workers[0], signal.SIGKILL)
    outcome = script.end()
    assert (outcome.code, outcome.err) == (0, "")
    expected = in_process(cross_val_config, tmp_path, stacked_engine(threads=1))
    assert results_of(cross_val_config)["stats"] == expected["stats"]
    assert len(run_dirs(cross_val_config)) == 4
    assert script.left() == []
    assert_tidy(cross_val_config)


@pytest.mark.parametrize("options", [ENGINE, STACKS], ids=["runs", "stacks"])
def test_ctrl_c_stops_everything_with_one_line(
    options: tuple[object, ...], cross_val_config: Config, tmp_path: Path
) -> None:
    cross_val_config["trainer"]["epochs"] = 20_000
    script = Script("cross-val.py", "-c", save_config(cross_val_config, tmp_path), *options)
    script.wait_for("at once")
    script.press_ctrl_c()
    outcome = script.end()
    assert outcome.code == 130
    assert outcome.err == "interrupted; the same call again goes on\n"
    assert script.left() == []
    assert_tidy(cross_val_config)


def test_a_run_that_diverges_is_one_line_that_names_it(
    cross_val_config: Config, tmp_path: Path
) -> None:
    cross_val_config["optimizer"]["args"] |= {"lr": 1e12, "weight_decay": 1e12}
    outcome = run("cross-val.py", "-c", save_config(cross_val_config, tmp_path), *ENGINE)
    assert outcome.code == 2
    assert len(outcome.err.splitlines()) == 1
    assert outcome.err.startswith("error: seed 0, fold ")
    assert_tidy(cross_val_config)


def test_a_run_that_diverges_in_a_stack_does_not_take_the_others_along(
    cross_val_config: Config, tmp_path: Path
) -> None:
    path = save_config(cross_val_config, tmp_path)
    outcome = run("-m", "tests.cross_val.diverging", "-c", path, *ENGINE, "--stack_size", 4)
    assert outcome.code == 2
    assert len(outcome.err.splitlines()) == 1
    assert outcome.err.startswith("error: seed 0, fold 1: ")
    done = results_of(cross_val_config)["checkpoints"]
    assert {seed: list(folds) for seed, folds in done.items()} == {"0": ["0"], "1": ["0", "1"]}
    assert_tidy(cross_val_config)


def test_more_gpus_than_any_machine_has_is_one_line(
    cross_val_config: Config, tmp_path: Path
) -> None:
    options = ("-c", save_config(cross_val_config, tmp_path), *ENGINE, "--gpus", 1)
    outcome = run("cross-val.py", *options, CUDA_VISIBLE_DEVICES="")
    assert outcome.code == 2
    assert len(outcome.err.splitlines()) == 1
    assert "--gpus 1: no machine has more than 0 GPUs" in outcome.err
