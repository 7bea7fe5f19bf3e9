import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import RunScript
from helpers import start_script, wait_for_line
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from small_study import options, run_small, study_config, write_data

from base.epoch_files import Log
from data_loader.faces import read_faces
from studies.protocols import TASKS, StudyPart, select
from studies.runs import read_epochs
from utils.errors import ConfigError, DataError
from utils.labels import ages_to_classes

SPLITS = ("train", "val", "test")
DATASETS = {"a": "imdb_wiki", "b": "imdb_wiki_adience", "c": "adience", "d": "adience"}
Content = dict[str, Any]
Columns = dict[str, NDArray[Any]]


@pytest.fixture(scope="module")
def faces_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("faces"))


@pytest.fixture(scope="module")
def folder(faces_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a whole small study."""
    return run_small(study_config(faces_dir, tmp_path_factory.mktemp("saved")))


def part_file(folder: Path, part: StudyPart) -> Content:
    content: Content = json.loads((folder / f"{part.name}.json").read_text(encoding="utf-8"))
    return content


def columns_of(folder: Path, file: str) -> Columns:
    with np.load(folder / file, allow_pickle=False) as content:
        return dict(content)


def run_folders(save_dir: Path) -> list[Path]:
    return sorted((save_dir / "models" / "ResMLP").iterdir())


# --- what it leaves -------------------------------------------------------------------------------


@pytest.mark.parametrize("part", select([]), ids=lambda part: part.name)
def test_a_part_has_its_runs_their_predictions_and_those_of_the_baselines(
    part: StudyPart, folder: Path
) -> None:
    content = part_file(folder, part)
    assert (content["task"], content["protocol"]) == (part.task, part.protocol)
    assert content["seconds"] > 0
    planned = [(0, None)] if part.protocol in "ab" else [(s, f) for s in (0, 1) for f in (0, 1)]
    assert [(run["seed"], run["fold"]) for run in content["runs"]] == planned
    for run in content["runs"]:
        assert Path(run["checkpoint"]).is_file()
        assert [log["epoch"] for log in run["epochs"]] == [1, 2]
        has_test = part.protocol in "cd"
        assert list(run["log"]) == [split for split in SPLITS if has_test or split != "test"]
        assert [bool(run["predictions"][split]) for split in SPLITS] == [True, True, has_test]
    if not part.variant:
        for name in ("logistic_regression", "majority"):
            baseline = content["baselines"][name]
            assert [(run["seed"], run["fold"]) for run in baseline] == planned


@pytest.mark.parametrize("part", select([]), ids=lambda part: part.name)
def test_predictions_tell_of_each_row_what_the_data_files_say(
    part: StudyPart, folder: Path, faces_dir: Path
) -> None:
    whole = read_faces(faces_dir, DATASETS[part.protocol])
    names = {"a": ["imdb"] * 200 + ["wiki"] * 100, "c": ["Adience"] * 300}
    names |= {"b": names["a"] + names["c"], "d": names["c"]}
    for run in part_file(folder, part)["runs"]:
        rows_of_splits = []
        for split in filter(run["predictions"].get, SPLITS):
            columns = columns_of(folder, run["predictions"][split])
            rows = columns["row"]
            rows_of_splits += rows.tolist()
            assert columns["probabilities"].dtype == np.float32
            assert columns["probabilities"].shape == (len(rows), TASKS[part.task].num_classes)
            assert columns["probabilities"].sum(1) == pytest.approx(1, abs=1e-5)
            assert (columns["source"] == np.array(names[part.protocol])[rows]).all()
            for name in ("age", "gender", "subject"):
                assert (columns[name] == getattr(whole, name)[rows]).all()
            if part.task == "gender":
                assert (columns["label"] == (columns["gender"] == "f")).all()
            else:
                expected = ages_to_classes(columns["age"], TASKS[part.task].num_classes)
                assert (columns["label"] == expected).all()
            if run["fold"] is not None:
                assert ((whole.fold[rows] == run["fold"]) == (split == "test")).all()
        assert sorted(rows_of_splits) == list(range(len(whole)))


def test_nobody_is_on_both_sides_but_in_the_part_that_shows_what_that_hides(folder: Path) -> None:
    def shared(part: StudyPart) -> int:
        files = part_file(folder, part)["runs"][0]["predictions"]
        people = [set(columns_of(folder, files[split])["subject"]) for split in ("train", "val")]
        return len(people[0] & people[1])

    assert [shared(part) for part in select([]) if not part.variant] == [0] * 12
    assert shared(StudyPart("age8", "d", "by-image")) > 0


@pytest.mark.parametrize("name", ["gender-a", "age101-b", "age8-c", "age101-d"])
def test_predictions_give_the_very_numbers_of_test_py(
    name: str, folder: Path, run_script: RunScript, tmp_path: Path
) -> None:
    task, protocol = name.split("-")
    run = part_file(folder, StudyPart(task, protocol))["runs"][-1]
    for split, log in run["log"].items():
        saved = tmp_path / split
        outcome = run_script(
            "test.py", "-r", run["checkpoint"], "--split", split, "-o", f"trainer.save_dir={saved}"
        )
        assert (outcome.code, outcome.err) == (0, "")
        (path,) = saved.glob("*_test-results.json")
        tested = json.loads(path.read_text(encoding="utf-8"))
        assert {key: tested[key] for key in log} == log
        columns = columns_of(folder, run["predictions"][split])
        right = columns["probabilities"].argmax(1) == columns["label"]
        assert right.mean() == pytest.approx(tested["accuracy"], abs=1e-9)
        assert len(right) == tested["num_samples"]


def test_the_values_are_those_of_the_cross_validation_results(folder: Path) -> None:
    content = part_file(folder, StudyPart("gender", "d"))
    results = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in folder.parent.parent.glob("*_cross-val-results.json")
    ]
    (own,) = [result for result in results if result["config"] == content["config"]]
    for run in content["runs"]:
        for split in SPLITS:
            expected = own["stats"][str(run["seed"])][split][str(run["fold"])]
            assert run["log"][split] == expected


def test_fine_tuning_starts_from_the_training_on_imdb_and_wiki(folder: Path) -> None:
    for task in TASKS:
        (pretrained,) = part_file(folder, StudyPart(task, "a"))["runs"]
        assert (
            part_file(folder, StudyPart(task, "c"))["config"]["checkpoint"]
            == pretrained["checkpoint"]
        )
        assert part_file(folder, StudyPart(task, "d"))["config"]["checkpoint"] is None


# --- baselines ------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", [p for p in select([]) if not p.variant], ids=lambda p: p.name)
def test_baselines_are_fitted_and_judged_on_the_very_rows_of_each_run(
    part: StudyPart, folder: Path, faces_dir: Path
) -> None:
    content = part_file(folder, part)
    whole = read_faces(faces_dir, DATASETS[part.protocol])
    run = content["runs"][-1]
    ours = {s: columns_of(folder, f) for s, f in run["predictions"].items() if f}
    for name, records in content["baselines"].items():
        files = records[-1]["predictions"]
        theirs = {split: columns_of(folder, files[split]) for split in ours}
        for split, columns in ours.items():
            for column in ("row", "label", "subject"):
                assert (theirs[split][column] == columns[column]).all()
        train, last = ours["train"], list(ours)[-1]
        label, got = train["label"], theirs[last]["probabilities"]
        if name == "majority":
            shares = np.bincount(label, minlength=got.shape[1]) / len(label)
            assert got == pytest.approx(np.tile(shares, (len(got), 1)), abs=1e-6)
        else:
            strength = {"gender": 10.0, "age8": 1.0, "age101": 1.0}[part.task]
            model = LogisticRegression(C=strength, max_iter=1000)
            model.fit(whole.embedding[train["row"]], label)
            expected = np.zeros_like(got)
            rows = ours[last]["row"]
            expected[:, model.classes_] = model.predict_proba(whole.embedding[rows])
            assert got == pytest.approx(expected, abs=1e-4)


def test_protocols_with_the_same_rows_share_the_files_of_the_baselines(folder: Path) -> None:
    c, d = (part_file(folder, StudyPart("age8", protocol))["baselines"] for protocol in "cd")
    assert c == d


def test_a_single_class_among_the_training_rows_is_what_both_baselines_give(
    tmp_path: Path, faces_dir: Path
) -> None:
    data_dir = tmp_path / "data"
    shutil.copytree(faces_dir, data_dir)
    path = data_dir / "Adience" / "data-aligned.npy"
    faces = np.load(path)
    faces["gender"] = "f"
    np.save(path, faces)
    changes = {"seeds": [0], "num_cross_val": 1}
    folder = run_small(study_config(data_dir, tmp_path / "saved", "gender,d", **changes))
    for records in part_file(folder, StudyPart("gender", "d"))["baselines"].values():
        columns = columns_of(folder, records[0]["predictions"]["test"])
        assert (columns["probabilities"] == [0, 1]).all()


def test_a_baseline_that_does_not_converge_is_told(
    faces_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    program_log: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("studies.baselines.MAX_ITER", 1)
    changes = {"seeds": [0], "num_cross_val": 1}
    run_small(study_config(faces_dir, tmp_path, "gender,d", **changes))
    assert "logistic_regression: 1 steps were not enough to converge" in program_log.messages


# --- going on -------------------------------------------------------------------------------------


def states(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_what_is_done_is_not_done_again_whichever_parts_are_asked_for(
    faces_dir: Path, tmp_path: Path
) -> None:
    few = {"seeds": [0], "num_cross_val": 1, "trainer.epochs": 1}
    first = run_small(study_config(faces_dir, tmp_path, "gender,a", **few))
    before = states(tmp_path)
    assert run_small(study_config(faces_dir, tmp_path, "gender,a", **few)) == first
    assert states(tmp_path) == before
    assert run_small(study_config(faces_dir, tmp_path, "gender,c", **few)) == first
    assert before.items() <= states(tmp_path).items()
    assert len(run_folders(tmp_path)) == 2


@pytest.mark.parametrize("change", ["config", "data"])
def test_another_config_or_other_data_begin_another_study(
    change: str, faces_dir: Path, tmp_path: Path
) -> None:
    data_dir = tmp_path / "data"
    shutil.copytree(faces_dir, data_dir)
    few: dict[str, Any] = {"trainer.epochs": 1}
    first = run_small(study_config(data_dir, tmp_path / "saved", "gender,a", **few))
    if change == "config":
        few["optimizer.args.lr"] = 0.01
    else:
        os.utime(data_dir / "wiki_crop" / "data.npy", (1, 1))
    second = run_small(study_config(data_dir, tmp_path / "saved", "gender,a", **few))
    assert second != first
    assert (first / "gender-a.json").is_file()
    assert (second / "gender-a.json").is_file()


def test_a_lost_checkpoint_is_trained_again(faces_dir: Path, tmp_path: Path) -> None:
    config = study_config(faces_dir, tmp_path, "gender,a", pretraining_seeds=[3, 4])
    folder = run_small(config)
    first = part_file(folder, StudyPart("gender", "a"))
    lost = first["runs"][0]
    Path(lost["checkpoint"]).unlink()
    run_small(config)
    again = part_file(folder, StudyPart("gender", "a"))
    assert [run["seed"] for run in again["runs"]] == [3, 4]
    assert again["runs"][1]["checkpoint"] == first["runs"][1]["checkpoint"]
    assert again["runs"][0]["checkpoint"] != lost["checkpoint"]
    assert again["runs"][0]["log"] == lost["log"]


def without_places(content: Content) -> list[tuple[int, int | None, dict[str, Log], list[Log]]]:
    return [(run["seed"], run["fold"], run["log"], run["epochs"]) for run in content["runs"]]


@pytest.mark.parametrize("moment", ["gender-a, seed 0, epoch 1", "seed 0, fold 1"])
def test_a_killed_study_goes_on_and_ends_with_the_same_numbers(
    moment: str, faces_dir: Path, tmp_path: Path, folder: Path
) -> None:
    words = ["study.py", "--only", "gender,c", *options(faces_dir, tmp_path)]
    process = start_script(*words)
    wait_for_line(process, moment)
    process.kill()
    process.communicate()
    config = study_config(faces_dir, tmp_path, "gender,c")
    continued = run_small(config)
    assert [path.name for path in (tmp_path / "study").iterdir()] == [continued.name]
    for part in config.parts:
        whole, own = part_file(folder, part), part_file(continued, part)
        assert without_places(own) == without_places(whole)
    assert len(run_folders(tmp_path)) <= 5 + 1  # the one that was killed


@pytest.mark.parametrize("moment", ["gender-a, seed 0, epoch 1", "seed 0, fold 0"])
def test_a_signal_ends_a_study_with_one_line(moment: str, faces_dir: Path, tmp_path: Path) -> None:
    many = ["-o", "trainer.epochs=6", "-o", "data_loader.args.batch_size=4"]
    words = ["study.py", "--only", "gender,c", *options(faces_dir, tmp_path)]
    process = start_script(*words, *many)
    wait_for_line(process, moment)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate()
    part = "gender-a" if "gender" in moment else "gender-c"
    lines = [line for line in err.splitlines() if "it/s" not in line and "run" not in line]
    assert process.returncode == 128 + signal.SIGTERM
    assert lines[-1] == f"interrupted in {part}; the same call again goes on"


def test_two_studies_do_not_write_to_the_same_folder(
    faces_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = study_config(faces_dir, tmp_path, "gender,a")

    def train_while_another_starts(*_: object) -> None:
        run_small(config)

    monkeypatch.setattr("studies.runs.fit", train_while_another_starts)
    with pytest.raises(ConfigError, match="another process is running a study"):
        run_small(config)


def test_a_missing_data_set_is_told_before_any_work(faces_dir: Path, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    shutil.copytree(faces_dir, data_dir)
    shutil.rmtree(data_dir / "wiki_crop")
    with pytest.raises(DataError, match=r"wiki_crop.data\.npy: no such data file"):
        run_small(study_config(data_dir, tmp_path / "saved"))
    assert not (tmp_path / "saved").exists()
    folder = run_small(study_config(data_dir, tmp_path / "saved", "gender,d"))
    assert [path.name for path in folder.glob("*-d.json")] == ["gender-d.json"]


@pytest.mark.parametrize("content", ["[" * 100_000, '{"runs": 3}', "[]", '{"runs": [{"seed": 0}]}'])
def test_damaged_files_of_a_study_are_made_again(
    content: str, faces_dir: Path, tmp_path: Path, program_log: pytest.LogCaptureFixture
) -> None:
    config = study_config(faces_dir, tmp_path, "gender,a")
    folder = run_small(config)
    expected = part_file(folder, StudyPart("gender", "a"))
    other = folder.with_name("99990101_000000")
    other.mkdir()
    for path in (folder / "gender-a.json", folder / "trained" / "gender-a.json"):
        path.write_text(content)
    (other / "study.json").write_text(content)
    assert run_small(config) == folder
    assert without_places(part_file(folder, StudyPart("gender", "a"))) == without_places(expected)


@pytest.mark.parametrize(
    "line",
    [
        *('{"epoch": 1, "lo', "[" * 100_000, "9" * 5000, "3", '{"epoch": "one"}', '{"loss": NaN}'),
        '{"loss": {"train": 1}}',
    ],
)
def test_a_damaged_log_of_epochs_is_one_line(line: str, tmp_path: Path) -> None:
    (tmp_path / "epochs.jsonl").write_text(f'{{"epoch": 1}}\n{line}\n')
    with pytest.raises(ConfigError, match=r"epochs\.jsonl is damaged .*; train that run again"):
        read_epochs(tmp_path / "epochs.jsonl")
