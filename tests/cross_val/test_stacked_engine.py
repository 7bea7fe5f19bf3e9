"""A cross-validation whose runs are trained as stacks."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import RunScript
from diverging import diverging_run_config
from helpers import Config, read, run_dirs, save_config, signal_at

from cross_val import stacked_engine as engine_module
from cross_val.cross_validate import cross_validate
from cross_val.runs import RunKey, sequential_engine
from cross_val.stacked_engine import most_members, stacked_engine
from trainer.check import check
from trainer.data import NO_INPUTS, move_to_device, read_inputs, training_loader
from utils.cli import Interrupted
from utils.config import ConfigParser
from utils.errors import DivergedError

META = torch.device("meta")
"""Stands for a GPU: tensors there have a size and no values."""


def study(config: Config, stack_size: int | None = None, **options: Any) -> dict[str, Any]:
    parsed = ConfigParser(config, check=check)
    return cross_validate(parsed, engine=stacked_engine(stack_size=stack_size), **options)


def numbers(stats: Any) -> list[float]:
    """List all numbers of nested dicts, in the order of their keys."""
    if not isinstance(stats, dict):
        return [stats]
    return [number for key in sorted(stats) for number in numbers(stats[key])]


def test_without_dropout_all_numbers_are_those_of_the_sequential_engine(
    cross_val_config: Config,
) -> None:
    cross_val_config["arch"]["args"]["dropout"] = 0.0
    cross_val_config["trainer"]["epochs"] = 1
    stacked = study(cross_val_config)
    sequential = cross_validate(ConfigParser(cross_val_config, check=check), anew=True)
    assert stacked["environment"] == {**sequential["environment"], "engine": "stacked"}
    assert numbers(stacked["stats"]) == pytest.approx(numbers(sequential["stats"]), abs=1e-3)
    losses = [stats["stats"]["test_loss_mean"] for stats in (stacked, sequential)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_both_engines_score_groups_of_ages_by_their_own_centres(cross_val_config: Config) -> None:
    cross_val_config["arch"]["args"] |= {"dropout": 0.0, "num_classes": 3}
    of_groups = {"num_classes": 3, "classes": [[0, 12], [13, 39], [40, 90]]}
    cross_val_config["data_loader"]["args"] |= of_groups
    cross_val_config["trainer"]["epochs"] = 1
    cross_val_config["num_cross_val"] = 1
    logged: dict[str, list[float]] = {}
    for name, engine in (("stacked", stacked_engine()), ("sequential", sequential_engine())):
        config = ConfigParser(cross_val_config, check=check)
        found = cross_validate(config, engine=engine, anew=True)
        paths = [Path(found["checkpoints"][seed]["0"]) for seed in ("0", "1")]
        logged[name] = numbers(found["stats"]) + [read(path)["monitor_best"] for path in paths]
    assert logged["stacked"] == pytest.approx(logged["sequential"], abs=1e-3)


def test_a_run_gives_the_same_numbers_in_any_stack(cross_val_config: Config) -> None:
    whole = study(cross_val_config)["stats"]
    single = study(cross_val_config, seed=1, fold=0)["stats"]
    assert single["1"] == {split: {"0": whole["1"][split]["0"]} for split in single["1"]}
    parts = study(cross_val_config, stack_size=3, anew=True)["stats"]
    assert parts == whole


def test_runs_that_do_not_fit_one_stack_become_stacks_of_like_sizes(
    cross_val_config: Config, program_log: pytest.LogCaptureFixture
) -> None:
    study(cross_val_config, stack_size=3)
    assert any("runs at once: 2, stacks: 2" in line for line in program_log.messages)


def test_no_more_runs_are_stacked_than_fit_whatever_is_asked_for(
    cross_val_config: Config,
    program_log: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine_module, "most_members", lambda *_: 2)
    study(cross_val_config, stack_size=4)
    assert any("runs at once: 2, stacks: 2" in line for line in program_log.messages)


@pytest.mark.parametrize(("share", "expected"), [(0.5, 1), (1, 1), (2.5, 2), (100, 100)])
def test_as_many_runs_are_stacked_as_the_memory_takes(
    share: float, expected: int, cross_val_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In units of one run, from below one: a run is always trained."""
    config, cpu = ConfigParser(cross_val_config, check=check), torch.device("cpu")
    monkeypatch.setattr(engine_module, "CPU_BYTES", 2**40)
    num_bytes = 2**40 / most_members(config, cpu, NO_INPUTS)
    monkeypatch.setattr(engine_module, "CPU_BYTES", int(share * num_bytes) + 1)
    assert most_members(config, cpu, NO_INPUTS) == expected


def test_a_gpu_must_hold_data_and_activations_as_well(
    cross_val_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def most(num_bytes: int, batch_size: int, inputs: Any = NO_INPUTS) -> int:
        monkeypatch.setattr(engine_module, "free_bytes", lambda _: num_bytes)
        changes = {"data_loader.args.batch_size": batch_size}
        config = ConfigParser(cross_val_config, modification=changes, check=check)
        return most_members(config, META, inputs)

    data = read_inputs(ConfigParser(cross_val_config, check=check), whole=True)
    assert data.source is not None
    assert 1 < most(2**30, 10_000) < most(2**30, 64) < most(2**31, 64)
    extra = int(data.source.num_bytes() / engine_module.FREE_SHARE) + 1
    assert most(2**30 + extra, 64, data) == most(2**30, 64)


@pytest.fixture
def one_diverges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "run_config", diverging_run_config)


def results_of(config: Config) -> dict[str, Any]:
    (path,) = Path(config["trainer"]["save_dir"]).glob("*_cross-val-results.json")
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def done(results: dict[str, Any]) -> list[RunKey]:
    return [
        (int(seed), int(fold))
        for seed, stats in results["stats"].items()
        if seed.isdigit()
        for fold in stats["test"]
    ]


@pytest.mark.usefixtures("one_diverges")
@pytest.mark.parametrize("stack_size", [1, 4])
def test_a_run_that_diverges_is_reported_at_the_end_and_the_others_are_kept(
    stack_size: int, cross_val_config: Config, program_log: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(DivergedError, match=r"seed 0, fold 1: .* epoch 1"):
        study(cross_val_config, stack_size)
    left = results_of(cross_val_config)
    assert sorted(done(left)) == [(0, 0), (1, 0), (1, 1)]
    (line,) = [record for record in program_log.records if record.levelname == "WARNING"]
    assert "seed 0, fold 1" in line.getMessage()


def test_an_interrupted_study_keeps_the_stacks_that_ended_and_goes_on(
    cross_val_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        signal_at(patch, 2 * 5 + 3, signal.SIGINT)  # in the second stack
        with pytest.raises(Interrupted):
            study(cross_val_config, stack_size=2)
    left = results_of(cross_val_config)
    assert sorted(done(left)) == [(0, 0), (1, 0)]  # runs of one fold share a stack
    results = study(cross_val_config, stack_size=2)
    assert len(done(results)) == 4
    for seed in ("0", "1"):
        for split, by_fold in left["stats"][seed].items():
            assert results["stats"][seed][split]["0"] == by_fold["0"]


def test_every_run_has_a_folder_checkpoints_and_a_log_of_its_own(
    cross_val_config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    results = study(cross_val_config)
    folders = run_dirs(cross_val_config)
    assert len(folders) == 4
    for folder in folders:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        seed, fold = config["seed"], config["data_loader"]["args"]["test_cross_val"]
        best = folder / "model_best.pth"
        assert results["checkpoints"][str(seed)][str(fold)] == str(best)
        assert read(best)["config"] == config
        log_dir = Path(cross_val_config["trainer"]["save_dir"]) / "log" / "ResMLP" / folder.name
        text = (log_dir / "info.log").read_text(encoding="utf-8")
        assert [f"epoch {epoch}/2" in text for epoch in (1, 2, 3)] == [True, True, False]
        assert text.count("epoch 1/2") == 1
        assert text.count("Run: ") == 1
    assert capsys.readouterr().out == ""


def test_pretrained_weights_start_every_run(cross_val_config: Config) -> None:
    first = study(cross_val_config, seed=0, fold=0)
    path = first["checkpoints"]["0"]["0"]
    started = study({**cross_val_config, "checkpoint": path}, seed=0, fold=0)
    assert started["stats"]["0"]["train"]["0"]["loss"] < first["stats"]["0"]["train"]["0"]["loss"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), "runs at once: 4, stacks: 1"),
        (("--cpus", 1), "runs at once: 4, stacks: 1"),
        (("--stack_size", 3), "runs at once: 2, stacks: 2"),
    ],
)
def test_cross_val_py_takes_the_engine(
    options: tuple[object, ...],
    expected: str,
    cross_val_config: Config,
    tmp_path: Path,
    run_script: RunScript,
) -> None:
    path = save_config(cross_val_config, tmp_path)
    outcome = run_script("cross-val.py", "-c", path, "--engine", "stacked", *options)
    assert (outcome.code, outcome.err) == (0, "")
    assert expected in outcome.out
    assert results_of(cross_val_config)["environment"]["engine"] == "stacked"


def test_the_engine_that_was_chosen_is_told(
    cross_val_config: Config, tmp_path: Path, run_script: RunScript
) -> None:
    outcome = run_script("cross-val.py", "-c", save_config(cross_val_config, tmp_path))
    assert (outcome.code, outcome.err) == (0, "")
    assert "Engine: sequential" in outcome.out


def test_options_of_ray_are_refused(
    cross_val_config: Config, tmp_path: Path, run_script: RunScript
) -> None:
    path = save_config(cross_val_config, tmp_path)
    outcome = run_script("cross-val.py", "-c", path, "--engine", "stacked", "--gpus", 1)
    assert outcome.code == 2
    assert "--gpus is for --engine ray" in outcome.err


# --- the faces on the device ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("workers", "free", "expected"), [(0, 2**30, "meta"), (0, 100_000, "cpu"), (1, 2**30, "cpu")]
)
def test_faces_move_to_a_gpu_that_has_room_when_this_process_fetches_them(
    workers: int,
    free: int,
    expected: str,
    cross_val_config: Config,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("trainer.data.free_bytes", lambda _: free)
    cross_val_config["data_loader"]["args"]["num_workers"] = workers
    loader = training_loader(ConfigParser(cross_val_config, check=check))
    validation = loader.split_validation()
    move_to_device(loader, META)
    for one in (loader, validation):
        assert one is not None
        embeddings, labels = one.dataset[0]
        assert (embeddings.device.type, labels.device.type) == (expected, expected)


def test_faces_stay_as_they_are_on_a_cpu(cross_val_config: Config) -> None:
    loader = training_loader(ConfigParser(cross_val_config, check=check))
    before = loader.dataset[0][0].data_ptr()
    move_to_device(loader, torch.device("cpu"))
    assert loader.dataset[0][0].data_ptr() == before
