"""Files of a study: read as they were written, refused by name when they are damaged."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from study_folders import make_columns, make_predictions, make_result

from studies.predictions import read_predictions
from studies.protocols import StudyPart
from studies.results import read_result, read_results
from utils.errors import DataError
from utils.files import read_json, write_json

GENDER_D = StudyPart("gender", "d")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "run.npz"
    make_predictions(make_columns(30, 10), "age8", 1.0, 0).write(path)
    return path


def test_predictions_are_read_as_they_were_written(file: Path) -> None:
    found = read_predictions(file, 8)
    assert found.probabilities.shape == (30, 8)
    np.testing.assert_array_equal(found.faces.subject[:3], ["0000", "0001", "0002"])


Columns = dict[str, NDArray[Any]]
NEGATIVE = np.tile(np.array([2, -1, 0, 0, 0, 0, 0, 0], np.float32), (30, 1))
DAMAGES: dict[str, Callable[[Columns], Columns]] = {
    "one field is missing": lambda columns: {k: v for k, v in columns.items() if k != "row"},
    "probabilities add up to 2": lambda columns: {"probabilities": columns["probabilities"] * 2},
    "not a number": lambda columns: {"probabilities": columns["probabilities"] * np.float32("nan")},
    "negative": lambda columns: {"probabilities": NEGATIVE},
    "another task": lambda columns: {"probabilities": np.full((30, 2), 0.5, np.float32)},
    "a label too high": lambda columns: {"label": columns["label"] + 8},
    "fewer ages": lambda columns: {"age": columns["age"][:-1]},
    "an endless age": lambda columns: {"age": columns["age"] + np.inf},
    "objects": lambda columns: {"gender": columns["gender"].astype(object)},
    "no face": lambda columns: {key: column[:0] for key, column in columns.items()},
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_predictions_are_refused_by_name(file: Path, name: str) -> None:
    with np.load(file) as content:
        columns = {key: content[key] for key in content}
    changes = DAMAGES[name](columns)
    np.savez(file, **(changes if name == "one field is missing" else columns | changes))
    with pytest.raises(DataError, match=r"run\.npz.*run its part of the study again"):
        read_predictions(file, 8)


def test_an_array_alone_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "run.npy", np.zeros(3))
    with pytest.raises(DataError, match="is no predictions file"):
        read_predictions(tmp_path / "run.npy", 8)


def test_a_file_that_is_cut_short_is_refused(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:300])
    with pytest.raises(DataError, match="is no predictions file"):
        read_predictions(file, 8)


def test_results_that_were_not_run_are_none(tmp_path: Path) -> None:
    make_result(tmp_path, "gender", "d", seeds=1)
    found = read_results(tmp_path)
    assert [key for key, result in found.items() if result] == [GENDER_D]
    assert len(found) == 12


@pytest.mark.parametrize("text", ["[]", "{}", '{"runs": [{"seed": 1}], "config": {}}', "null"])
def test_a_file_that_is_no_result_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "age8-d.json").write_text(text)
    with pytest.raises(DataError, match=r"age8-d\.json is no result of a study"):
        read_result(tmp_path, StudyPart("age8", "d"))


def test_an_infinite_loss_of_an_epoch_is_refused(tmp_path: Path) -> None:
    make_result(tmp_path, "gender", "d", seeds=1)
    path = tmp_path / "gender-d.json"
    content = json.loads(path.read_text())
    content["runs"][0]["epochs"][0]["loss"] = float("inf")
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"no result of a study .runs.0.epochs.0.loss: "):
        read_results(tmp_path)


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder of a study"):
        read_results(tmp_path / "none")


@pytest.mark.parametrize(
    ("kept", "told"), [([], "no split"), (["train"], "train"), (["val", "test"], "val, test")]
)
def test_runs_that_cannot_be_judged_are_refused(tmp_path: Path, kept: list[str], told: str) -> None:
    path = make_result(tmp_path, "gender", "d", seeds=1)
    content = read_json(path)
    for run in content["runs"]:
        run["predictions"] = {split: run["predictions"][split] for split in kept}
    write_json(content, path)
    with pytest.raises(DataError, match=f"predictions of {told}, expected train and val or test"):
        read_result(tmp_path, GENDER_D)


def test_a_result_without_runs_was_not_run(tmp_path: Path) -> None:
    make_result(tmp_path, "gender", "d", seeds=1, changes={"runs": []})
    assert read_result(tmp_path, GENDER_D) is None
