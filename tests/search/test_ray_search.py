"""A search on a Ray of its own on this machine."""

import json
import signal
from pathlib import Path

import pytest
from conftest import RunScript
from helpers import Config, Outcome, read, train
from ray_helpers import Script, run
from small_search import by_values, folder_of, save, small_search, trials_of

pytestmark = pytest.mark.slow


@pytest.fixture
def flat(data_dir: Path, tmp_path: Path) -> Config:
    return small_search(data_dir, tmp_path / "saved")


@pytest.fixture(scope="module")
def whole(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Outcome]:
    """Return a search that ran through, and what it printed."""
    folder = tmp_path_factory.mktemp("whole")
    config = small_search(data_dir, folder / "saved")
    return config, run("hp-tuning.py", "-c", save(config, folder))


def checkpoints_of(config: Config) -> dict[str, int]:
    """Return the time of writing of each trial's last checkpoint, by its path."""
    paths = folder_of(config).glob("tune/*/*/checkpoint-epoch3.pth")
    return {str(path): path.stat().st_mtime_ns for path in paths}


def test_a_search_ends_with_a_table_a_picture_and_all_trials_the_best_first(
    whole: tuple[Config, Outcome],
) -> None:
    config, outcome = whole
    assert (outcome.code, outcome.err) == (0, "")
    folder, trials = folder_of(config), trials_of(config)
    losses = [trial["best"]["val_loss"] for trial in trials]
    assert losses == sorted(losses)
    assert [trial["num_epochs"] for trial in trials] == [3] * 4
    assert "The best 4 of 4 trials:" in outcome.out
    assert f"{losses[0]:.4f}" in outcome.out
    assert (folder / "hp-tuning.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in folder.iterdir()) == [
        *("best-config.json", "config.json", "hp-tuning.png", "results.json", "tune")
    ]


def test_the_best_config_trains_as_it_is_to_the_very_numbers_of_its_trial(
    whole: tuple[Config, Outcome], run_script: RunScript
) -> None:
    config, _ = whole
    path = folder_of(config) / "best-config.json"
    assert run_script("train.py", "-c", path).code == 0
    (run_dir,) = (Path(config["save_dir"]) / "models" / "ResMLP").iterdir()
    best = read(run_dir / "model_best.pth")
    assert best["config"] == json.loads(path.read_text(encoding="utf-8"))
    assert best["resume"]["best_log"] == trials_of(config)[0]["best"]


def test_the_checkpoint_of_a_trial_goes_on_as_if_it_had_never_stopped(
    whole: tuple[Config, Outcome], tmp_path: Path
) -> None:
    newest = Path(trials_of(whole[0])[0]["checkpoint"]) / "checkpoint-epoch3.pth"
    config = read(newest)["config"]
    assert config["data_loader"]["args"]["test_cross_val"] == 0
    trainer = {**config["trainer"], "epochs": 4, "save_dir": str(tmp_path)}
    longer = {**config, "trainer": trainer}
    assert train(longer, newest).logs == train(longer).logs[3:]


def test_trials_fail_or_are_stopped_early_and_the_search_goes_on(
    flat: Config, tmp_path: Path
) -> None:
    flat |= {"scheduler": "asha", "lr": [1e-6, 1e12], "weight_decay": 1.0, "num_samples": 10}
    outcome = run("hp-tuning.py", "-c", save(flat, tmp_path), "--task", "gender")
    assert (outcome.code, outcome.err) == (0, "")
    trials = trials_of(flat)
    failed = [trial for trial in trials if trial["failure"]]
    assert 0 < len(failed) < 10
    assert all("DivergedError" in trial["failure"] for trial in failed)
    assert trials[-len(failed) :] == failed
    assert outcome.out.count("failed: DivergedError") == len(failed)
    assert f"{len(failed)} of 10 trials failed" in outcome.out
    assert f"of {10 - len(failed)} trials:" in outcome.out
    assert "stopped after" in outcome.out


def test_a_search_of_which_no_trial_finishes_is_an_error(flat: Config, tmp_path: Path) -> None:
    flat |= {"lr": 1e12, "weight_decay": 1e12, "num_samples": 1}
    outcome = run("hp-tuning.py", "-c", save(flat, tmp_path))
    assert outcome.code == 2
    assert len(outcome.err.splitlines()) == 1
    assert "none of 1 trials finished; the first: DivergedError" in outcome.err


def test_a_killed_search_goes_on_without_repeating_a_finished_trial(
    flat: Config, whole: tuple[Config, Outcome], tmp_path: Path
) -> None:
    path = save(flat, tmp_path)
    killed = Script("hp-tuning.py", "-c", path)
    told = killed.wait_for("1 of 4").splitlines()[-1]
    killed.wait_for("2 of 4")  # so that the first is surely saved
    killed.process.send_signal(signal.SIGKILL)
    killed.process.communicate()
    first = told.split(":")[1].strip()
    before = {path: time for path, time in checkpoints_of(flat).items() if first in path}
    resumed = run("hp-tuning.py", "-c", path, "--resume")
    assert (resumed.code, resumed.err) == (0, "")
    assert before
    assert before.items() <= checkpoints_of(flat).items()
    assert "The best 4 of 4 trials:" in resumed.out
    assert by_values(trials_of(flat)) == by_values(trials_of(whole[0]))


def test_a_request_to_stop_ends_everything_and_says_how_to_go_on(
    flat: Config, tmp_path: Path
) -> None:
    script = Script("hp-tuning.py", "-c", save(flat, tmp_path), "-o", "num_samples=100")
    script.wait_for("1 of 100")
    script.process.send_signal(signal.SIGTERM)
    outcome = script.end()
    assert outcome.code == 143
    folder = folder_of(flat)
    assert outcome.err == f"interrupted; go on with --resume {folder.resolve()}\n"
    assert script.left() == []
    assert not (folder / "results.json").exists()
    assert not list(folder.glob(".ray*"))
