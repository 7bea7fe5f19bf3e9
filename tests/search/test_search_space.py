import argparse
import json
import math
from pathlib import Path
from typing import Any

import pytest
from conftest import RunScript
from helpers import ROOT, Config

from cluster import session
from search import run as search_run
from search.options import NEWEST, what_to_search
from search.outcome import TrialOutcome, in_order, outcome_of, report_of, table
from search.plot import plot
from search.recovery import TUNER, recover, remove_killed_searches
from search.run import find_unfinished
from search.space import PARAMETERS, Search, read_search
from trainer.check import check
from utils.errors import ConfigError
from utils.files import read_json
from utils.locks import this_boot
from utils.options import script_parser, task_settings
from utils.run_folders import claim_folder, lock_path


def shipped(**changes: Any) -> Config:
    """Return the shipped search, changed; None takes a key out."""
    config: Config = json.loads((ROOT / "hp-tuning.json").read_text(encoding="utf-8"))
    config |= changes
    return {key: value for key, value in config.items() if value != "left out"}


def original() -> Config:
    """Return a search of the original project, word for word but for its data_dir."""
    return {
        "criterion": "cse",
        "gender_or_age": "age",
        "dropout": [0, 0.1, 0.2],
        "num_residuals_per_block": [1, 2, 3],
        "num_blocks": [1, 2],
        "batch_size": [128, 256, 512],
        "lr": [1e-4, 1e-2],
        "weight_decay": [1e-7, 1e-5],
        "gamma": [1e-6, 1e-4],
        "data_dir": "data/",
        "cpus": 8,
        "dataset": "imdb_wiki",
        "num_samples": 10,
        "max_num_epochs": 10,
        "gpus_per_trial": 1,
        "limit_data": None,
        "amp": True,
        "num_classes": 101,
    }


def some_values(config: Config) -> dict[str, Any]:
    return {name: config[name][0] for name in PARAMETERS}


# --- the config of a search ----------------------------------------------------------------------


@pytest.mark.parametrize("config", [shipped(), original()])
def test_a_search_gives_complete_configs_that_train_py_takes(config: Config) -> None:
    search = read_search(config)
    trial = search.training_config(some_values(config))
    assert check(trial) == []
    assert trial["arch"]["args"]["dropout"] == config["dropout"][0]
    assert trial["optimizer"]["args"] == {
        "lr": config["lr"][0],
        "weight_decay": config["weight_decay"][0],
    }
    assert trial["lr_scheduler"] == {"type": "ExponentialLR", "args": {"gamma": config["gamma"][0]}}
    assert trial["trainer"]["epochs"] == 10
    assert trial["trainer"]["monitor"] == "min val_loss"


def test_every_key_of_the_original_counts() -> None:
    search = read_search({**original(), "limit_data": 500, "amp": False, "dataset": "WIKI"})
    trial = search.training_config(some_values(original()))
    arguments = trial["data_loader"]["args"]
    assert (arguments["limit_data"], arguments["dataset"]) == (500, "WIKI")
    assert trial["amp"] is False
    assert (search.share.cpus, search.share.gpus) == (8, 1)
    assert search.config["num_samples"] == 10


@pytest.mark.parametrize(
    ("dataset", "fold"),
    [("Adience", 0), ("adience+mine", 0), ("imdb_wiki", None), ("mine", None)],
)
def test_adience_holds_out_its_first_fold(dataset: str, fold: int | None) -> None:
    search = read_search(shipped(dataset=dataset))
    trial = search.training_config(some_values(search.config))
    assert trial["data_loader"]["args"].get("test_cross_val") == fold


def test_a_single_value_is_fixed() -> None:
    search = read_search(shipped(lr=0.001, dropout=[0.5]))
    assert search.config["lr"] == [0.001]
    assert not {"lr", "dropout"} & set(search.searched)
    assert len(search.searched) == 5


def test_the_config_given_is_not_changed() -> None:
    config = shipped(lr=0.001)
    before = json.dumps(config)
    read_search(config)
    assert json.dumps(config) == before


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"dropout": []}, r"dropout: \[\], expected at least 1"),
        ({"lr": []}, r"lr: \[\], expected at least 1"),
        ({"dropout": "left out"}, "dropout: missing"),
        ({"dropout": [0.1, 0.1]}, "dropout: .*occurs twice"),
        ({"dropout": [0.1, 1.5]}, "dropout: 1.5, expected less than 1"),
        ({"dropout": ["a"]}, "arch.args.dropout: 'a'"),
        ({"num_blocks": [1, 12]}, "num_blocks is 12"),
        ({"batch_size": [0]}, "batch_size: 0"),
        ({"lr": [0.1, 0.01]}, "lr: .*lower bound above 0 and then a higher one"),
        ({"lr": [0.1, 0.1]}, "lr: .*higher one"),
        ({"gamma": [0, 0.1]}, "gamma: .*lower bound above 0"),
        ({"weight_decay": [-1, 0.1]}, "weight_decay: .*lower bound above 0"),
        ({"lr": [0.1, 0.2, 0.3]}, "lr: .*expected two numbers"),
        ({"lr": [0.1, "b"]}, "lr.1: 'b', expected a number"),
        ({"num_samples": 0}, "num_samples: 0, expected 1 or more"),
        ({"num_samples": -1}, "num_samples: -1, expected 1 or more"),
        ({"num_samples": 1.5}, "num_samples: 1.5, expected a whole number"),
        ({"max_num_epochs": 0}, "max_num_epochs: 0"),
        ({"cpus": 0}, "cpus: 0, expected 1 or more"),
        ({"gpus_per_trial": -0.5}, "gpus_per_trial: gpus -0.5: expected 0 or more"),
        ({"gpus_per_trial": 2}, "gpus_per_trial: gpus 2.0: one training uses one GPU"),
        ({"gender_or_age": "x"}, 'gender_or_age: \'x\', expected "gender" or "age"'),
        ({"gender_or_age": "gender"}, "num_classes: 101, GenderDataLoader has 2"),
        ({"num_classes": 7}, "num_classes: 7"),
        ({"criterion": "mse"}, "mse does not fit"),
        ({"scheduler": "pbt"}, 'scheduler: \'pbt\', expected "asha" or "fifo"'),
        ({"search_alg": "grid"}, 'search_alg: \'grid\', expected "random" or "optuna"'),
        ({"dataset": ".."}, "'..' is no name of a data set"),
        ({"limit_data": 0}, "limit_data: 0, expected 1 or more"),
        ({"validation_split": 0}, "validation_split: 0"),
        ({"name": "a/b"}, "a plain name"),
        ({"dropout": [n / 1000 for n in range(101)]}, "dropout: .*expected at most 100"),
        ({"lr": 1e30}, "lr: 1e[+]30, expected 1000000000000 or less"),
        ({"lr": 0}, "lr: 0, expected more than 0"),
        ({"dropot": [1]}, "dropot: unknown key, did you mean dropout"),
    ],
)
def test_a_config_that_cannot_be_searched_is_refused_and_says_why(
    changes: Config, complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        read_search(shipped(**changes))


def test_all_problems_come_at_once() -> None:
    with pytest.raises(ConfigError, match=r"2 problems\n.*dropout.*\n.*lr"):
        read_search(shipped(dropout=[], lr=[2, 1]))


# --- the command line ----------------------------------------------------------------------------


def parse(*options: str) -> argparse.Namespace:
    parser = script_parser("", "hp-tuning.json", resume_options={"nargs": "?", "const": NEWEST})
    parser.add_argument("--address")
    return parser.parse_args(options)


def test_options_overrule_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    options = ("--task", "gender", "--lr", "0.01", "--bs", "64", "--data_dir", "d", "-o", "cpus=2")
    search, address, folder = what_to_search(parse(*options))
    values = {"num_classes": 2, "lr": [0.01], "batch_size": [64], "data_dir": "d", "cpus": 2}
    assert search.config["gender_or_age"] == "gender"
    assert values.items() <= search.config.items()
    assert (address, folder) == (None, None)


def test_a_task_brings_its_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    search, _, _ = what_to_search(parse("--task", "age101"))
    assert search.config["criterion"] == task_settings("age101")["loss"]


@pytest.mark.parametrize(
    ("options", "num_classes"),
    [
        (("--task", "age9"), 9),
        (("-o", "classes=[[0,17],[18,64],[65,100]]"), 3),
        (("--task", "age9", "-o", "classes=[[0,17],[18,100]]"), 2),
    ],
)
def test_groups_of_ages_bring_their_number_and_metrics_without_101_classes(
    options: tuple[str, ...], num_classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    search, _, _ = what_to_search(parse(*options))
    trial = search.training_config({name: search.config[name][0] for name in PARAMETERS})
    assert search.config["num_classes"] == num_classes
    assert trial["data_loader"]["args"]["classes"] == search.config["classes"]
    assert trial["data_loader"]["args"]["num_classes"] == num_classes
    assert trial["arch"]["args"]["num_classes"] == num_classes == len(search.config["classes"])
    assert trial["metrics"] == ["accuracy", "one_off_accuracy", "mae"]


def test_groups_of_ages_of_another_number_than_the_config_says_are_refused() -> None:
    with pytest.raises(ConfigError, match="101, but classes has 2"):
        read_search(shipped(classes=[[0, 17], [18, 100]]))
    with pytest.raises(ConfigError, match=r"classes: \[9, 3\] is no group"):
        read_search(shipped(classes=[[0, 2], [9, 3]], num_classes=2))
    with pytest.raises(ConfigError, match="GenderDataLoader gives genders"):
        read_search(shipped(gender_or_age="gender", classes=[[0, 17], [18, 100]], num_classes=2))


def test_a_task_without_groups_forgets_those_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    path = tmp_path / "search.json"
    path.write_text(json.dumps(shipped(classes=[[0, 17], [18, 100]], num_classes=2)))
    search, _, _ = what_to_search(parse("-c", str(path), "--task", "age101"))
    assert "classes" not in search.config
    assert search.config["num_classes"] == 101


@pytest.mark.parametrize("address", ["10.0.0.1:6379", None])
def test_the_address_comes_from_the_environment_unless_it_is_given(
    address: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.2:6379")
    options = () if address is None else ("--address", address)
    assert what_to_search(parse(*options))[1] == (address or "10.0.0.2:6379")


def begun(tmp_path: Path, **changes: Any) -> Path:
    """Make the folder of a search that was interrupted."""
    folder = tmp_path / "hp-tuning" / "20260101_000000"
    folder.mkdir(parents=True)
    search = read_search(shipped(save_dir=str(tmp_path), **changes))
    (folder / "config.json").write_text(json.dumps(search.config))
    return folder


def test_resume_finds_the_interrupted_search_of_the_same_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    folder = begun(tmp_path, num_samples=7)
    same = ("-o", f"save_dir={tmp_path}", "-o", "num_samples=7")
    assert what_to_search(parse(*same, "--resume"))[2] == folder
    assert what_to_search(parse("--resume", str(folder)))[2] == folder
    assert what_to_search(parse("--resume", str(folder)))[0].config["num_samples"] == 7
    with pytest.raises(ConfigError, match="no interrupted search of this config"):
        what_to_search(parse("-o", f"save_dir={tmp_path}", "--resume"))
    (folder / "results.json").touch()
    with pytest.raises(ConfigError, match="no interrupted search of this config"):
        what_to_search(parse(*same, "--resume"))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [(("-o", "cpus=2"), "leave -o cpus=2 out"), (("--lr", "1"), "leave --lr out")],
)
def test_a_search_goes_on_with_its_own_config_only(
    options: tuple[str, ...], complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        what_to_search(parse("--resume", str(begun(tmp_path)), *options))


def test_a_folder_without_a_search_cannot_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no search"):
        what_to_search(parse("--resume", str(tmp_path)))


def test_data_that_are_not_there_are_told_before_anything_is_made(
    tmp_path: Path, run_script: RunScript
) -> None:
    options = ("-o", f"save_dir={tmp_path}/saved", "--data_dir", tmp_path)
    outcome = run_script("hp-tuning.py", *options)
    assert outcome.code == 2
    assert "no such data file" in outcome.err
    assert not (tmp_path / "saved").exists()


def test_a_damaged_search_does_not_hide_the_one_to_go_on_with(
    tmp_path: Path, program_log: pytest.LogCaptureFixture
) -> None:
    folder = begun(tmp_path)
    other = folder.with_name("99990101_000000")
    other.mkdir()
    (other / "config.json").write_text("[" * 100_000)
    assert find_unfinished(json.loads((folder / "config.json").read_text())) == folder
    assert "passed over" in program_log.text


def test_a_search_with_numbers_that_cannot_be_is_refused_in_short_lines() -> None:
    for changes in ({"num_samples": 10**4000}, {"lr": [math.inf, math.nan]}, {"seed": math.inf}):
        with pytest.raises(ConfigError) as refusal:
            read_search(shipped(**changes))
        assert len(str(refusal.value)) < 200


# --- what it found -------------------------------------------------------------------------------


def outcome(number: int, loss: float | None, failure: str = "") -> TrialOutcome:
    best = {} if loss is None else {"epoch": 2.0, "val_loss": loss, "val_accuracy": 1 - loss}
    values = {
        "dropout": [0.1, 0.3, 0.5, 0.7][number % 4],
        "num_residuals_per_block": number % 3,
        "num_blocks": 1 + number % 3,
        "batch_size": [128, 256, 512][number % 3],
        "lr": 1e-4 * (number + 1),
        "weight_decay": 1e-4 * (number + 1),
        "gamma": 0.3 + 0.01 * number,
    }
    return TrialOutcome(f"trial-{number}", values, best, 3, failure, None, "")


def test_the_table_holds_the_ten_best_of_the_finished_trials() -> None:
    outcomes = [outcome(number, 0.9 - number / 20) for number in range(12)]
    outcomes += [outcome(12, 0.0001, failure="NaN"), outcome(13, None)]
    text = table(in_order(outcomes), num_epochs=5)
    head, columns, *rows = text.splitlines()
    assert head == "The best 10 of 12 trials:"
    assert columns.split()[:2] == ["val_loss", "val_accuracy"]
    losses = [float(row.split()[1]) for row in rows]
    assert losses == [round(0.9 - number / 20, 4) for number in range(11, 1, -1)]
    assert "3 of 5" in rows[0]


def test_failures_come_last_in_the_report() -> None:
    outcomes = [outcome(0, None, "out of memory"), outcome(1, 0.5), outcome(2, 0.4)]
    report = report_of(read_search(shipped()), outcomes)
    assert [trial["trial"] for trial in report["trials"]] == ["trial-2", "trial-1", "trial-0"]
    assert report["trials"][2]["failure"] == "out of memory"


class Result:
    """What Ray tells of a trial."""

    def __init__(self, metrics: Config | None, error: Exception | None = None):
        self.metrics = metrics
        self.error = error
        self.checkpoint = None
        self.path = "/somewhere/trial-1"
        self.config = dict.fromkeys(PARAMETERS, 1)


def test_an_outcome_holds_the_best_epoch_or_the_reason_of_a_failure() -> None:
    fine = outcome_of(Result({"epoch": 3, "val_loss": 2.0, "best_val_loss": 1.0, "best_epoch": 2}))
    assert (fine.best, fine.num_epochs, fine.failure) == ({"val_loss": 1.0, "epoch": 2}, 3, "")
    failed = outcome_of(Result({"failure": "DivergedError: NaN"}))
    assert (failed.failure, failed.is_finished) == ("DivergedError: NaN", False)
    died = outcome_of(Result(None, RuntimeError("first\n  the actor died\n")))
    assert died.failure == "the actor died"


@pytest.mark.parametrize("num_trials", [1, 2, 30])
@pytest.mark.parametrize("changes", [{}, {"dropout": [0.1, 0.3, 0.5, 0.7], "lr": [1e-5, 1.0]}])
def test_the_picture_is_drawn_whatever_was_found(
    num_trials: int, changes: Config, tmp_path: Path
) -> None:
    outcomes = [outcome(number, 0.1 + number / 50) for number in range(num_trials)]
    plot(outcomes, read_search(shipped(**changes)), tmp_path / "hp-tuning.png")
    assert (tmp_path / "hp-tuning.png").read_bytes().startswith(b"\x89PNG")


def test_the_picture_of_a_search_with_everything_fixed_is_drawn(tmp_path: Path) -> None:
    one = outcome(0, 0.5)
    plot([one], read_search(shipped(**one.values)), tmp_path / "hp-tuning.png")
    assert (tmp_path / "hp-tuning.png").is_file()


# --- what a kill leaves --------------------------------------------------------------------------


WHOLE_STATE = '{"trial_data": [], "runner_data": {}}'


def killed_search(tmp_path: Path, copied: str, staged: str) -> Path:
    """Make the files of a search that was killed while Ray copied its state."""
    name = "experiment_state-2026-01-01_00-00-00.json"
    staging = tmp_path / ".ray-1" / "session_1" / "artifacts" / "1" / "tune" / "driver_artifacts"
    for folder, text in ((tmp_path / "tune", copied), (staging, staged)):
        folder.mkdir(parents=True)
        (folder / name).write_text(text)
    (tmp_path / "tune" / TUNER).write_bytes(b"\x80\x05}.")
    return tmp_path / "tune" / name


@pytest.mark.parametrize("copied", ["", '{"trial', '{"trial_data": []}'])
def test_a_state_cut_short_is_taken_from_where_it_was_copied_from(
    copied: str, tmp_path: Path
) -> None:
    state = killed_search(tmp_path, copied, WHOLE_STATE)
    recover(tmp_path, "tune")
    assert state.read_text() == WHOLE_STATE
    assert not (tmp_path / ".ray-1").exists()


@pytest.mark.parametrize(
    "name", ["basic-variant-state-2026.json", "callback-states-2026.pkl", "searcher-state-2026.pkl"]
)
def test_the_pickled_states_of_a_killed_search_are_made_whole_too(
    name: str, tmp_path: Path
) -> None:
    state = killed_search(tmp_path, WHOLE_STATE, WHOLE_STATE)
    (staged,) = tmp_path.glob(".ray-1/session_*/artifacts/*/*/driver_artifacts")
    (staged / name).write_bytes(b"\x80\x05}.")
    (staged / f".0-tmp-{name}").write_bytes(b"\x80")
    copied = state.with_name(name)
    copied.touch()
    recover(tmp_path, "tune")
    assert copied.read_bytes() == b"\x80\x05}."
    assert sorted(path.name for path in state.parent.iterdir()) == sorted([state.name, name, TUNER])


@pytest.mark.parametrize("state", ['{"tri', "[" * 100_000, "9" * 5000])
def test_a_state_of_which_no_whole_copy_is_left_is_refused(state: str, tmp_path: Path) -> None:
    killed_search(tmp_path, "", state)
    with pytest.raises(ConfigError, match="cut short"):
        recover(tmp_path, "tune")


def test_a_search_that_has_no_state_yet_needs_no_recovery(tmp_path: Path) -> None:
    recover(tmp_path, "tune")
    assert list(tmp_path.iterdir()) == []


def left_search(parent: Path, name: str) -> Path:
    """Make the folder of a search that was killed, as far as every one gets."""
    folder = parent / name
    (folder / ".ray-1").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    lock_path(folder).write_text(this_boot())
    return folder


def test_a_search_that_was_killed_before_its_first_trial_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "LINKS", tmp_path)
    folder = left_search(tmp_path / "searches", "1")
    for name, target in (("ray-a", folder / ".ray-1"), ("ray-b", tmp_path)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "r").symlink_to(target)
    remove_killed_searches(folder.parent, "tune")
    assert list(folder.parent.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ray-b", "searches"]


def test_a_killed_search_with_trials_stays_and_its_state_is_made_whole(tmp_path: Path) -> None:
    folder = left_search(tmp_path, "1")
    state = killed_search(folder, "", WHOLE_STATE)
    remove_killed_searches(tmp_path, "tune")
    assert state.read_text() == WHOLE_STATE
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "tune"]
    assert list(tmp_path.iterdir()) == [folder]


def test_a_search_that_goes_on_or_holds_a_foreign_file_stays(tmp_path: Path) -> None:
    foreign = left_search(tmp_path, "1")
    (foreign / "notes.txt").touch()
    folder, held = claim_folder(tmp_path)
    (folder / ".ray-2").mkdir()
    remove_killed_searches(tmp_path, "tune")
    assert (foreign / "notes.txt").exists()
    assert (folder / ".ray-2").exists()
    held.let_go()


def search_of_one_trial(save_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Search:
    """Make a search whose only trial is done without data or training."""
    monkeypatch.setattr(search_run, "_read_inputs", lambda _: None)

    def run(search: Search, address: str | None, folder: Path, inputs: list[Any]) -> Any:
        (folder / "tune").mkdir()
        return [outcome(0, 0.5)]

    monkeypatch.setattr(search_run, "_run", run)
    return read_search(shipped(save_dir=str(save_dir), num_samples=1))


def test_the_mark_of_a_finished_search_is_written_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has no results goes on; so nothing may be missing that a later call does not make."""
    search = search_of_one_trial(tmp_path, monkeypatch)
    written: list[str] = []
    monkeypatch.setattr(search_run, "write_json", lambda _, path: written.append(path.name))
    monkeypatch.setattr(search_run, "plot", lambda *_: written.append("hp-tuning.png"))
    search_run.search_parameters(search, None)
    assert written == ["config.json", "best-config.json", "hp-tuning.png", "results.json"]


def test_a_picture_that_ends_a_search_leaves_its_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = search_of_one_trial(tmp_path, monkeypatch)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(search_run, "plot", interrupt)
    with pytest.raises(KeyboardInterrupt):
        search_run.search_parameters(search, None)
    (folder,) = (tmp_path / "hp-tuning").iterdir()
    assert len(read_json(folder / "results.json")["trials"]) == 1
