"""A checkpoint on several data sets, and on those that it was trained on."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import MakeConfig, RunScript
from helpers import TINY, read, train
from own_sets import own_faces, save_own, with_own

from trainer.check import check
from trainer.evaluate_checkpoint import evaluate_checkpoint
from utils.config import ConfigParser


def results_of(path: Path, split: str | None = None, **changes: Any) -> dict[str, Any]:
    """Evaluate a checkpoint as test.py does."""
    config = read(path)["config"]
    return evaluate_checkpoint(ConfigParser(config, path, changes, check=check), split)


def test_a_checkpoint_is_tested_on_several_data_sets_in_one_table(
    small_config: MakeConfig, data_dir: Path, tmp_path: Path, run_script: RunScript
) -> None:
    folder = with_own(data_dir, tmp_path / "data", "mine")
    changes = {"data_loader.args.dataset": "wiki", "data_loader.args.data_dir": str(folder)}
    best = train(small_config(**{**TINY, **changes})).fitted.best_path
    outcome = run_script("test.py", "-r", best, "--dataset", "mine", "--dataset", "Adience")
    assert (outcome.code, outcome.err) == (0, "")
    header, mine, adience = outcome.out.splitlines()[-3:]
    assert header.split()[:6] == ["data", "set", "split", "rows", "people", "extractor"]
    assert mine.split()[:5] == ["mine", "all", "200", "40", "-"]
    assert adience.split()[:5] == ["Adience", "all", "300", "60", "-"]
    paths = (tmp_path / "saved").glob("*_test-results.json")
    results = {one["dataset"]: one for one in (json.loads(path.read_text()) for path in paths)}
    assert {name: one["num_samples"] for name, one in results.items()} == {
        "mine": 200,
        "Adience": 300,
    }
    assert f"{results['mine']['accuracy']:.4f}" in mine
    assert "was trained on" not in outcome.out


@pytest.mark.parametrize(
    ("trained_on", "split", "complaint"),
    [
        ("imdb_wiki+mine", "all", "mine: the checkpoint was trained on 1[78]. of these 200 rows"),
        ("mine", "all", "mine: the checkpoint was trained on 180 of .*, and validated on 20"),
        ("mine", "val", None),
        ("mine", "train", None),
        ("wiki", "all", None),
    ],
)
def test_rows_that_were_trained_on_are_told(
    trained_on: str,
    split: str,
    complaint: str | None,
    small_config: MakeConfig,
    data_dir: Path,
    tmp_path: Path,
    program_log: pytest.LogCaptureFixture,
) -> None:
    folder = with_own(data_dir, tmp_path / "data", "mine")
    changes = {"data_loader.args.dataset": trained_on, "data_loader.args.data_dir": str(folder)}
    best = train(small_config(**{**TINY, **changes})).fitted.best_path
    results_of(best, split, **{"data_loader.args.dataset": "mine"})
    told = [line for line in program_log.messages if "was trained on" in line]
    assert (complaint is None) == (told == [])
    assert complaint is None or re.match(complaint, told[0])


def test_weights_that_a_training_started_from_count_as_trained_on(
    small_config: MakeConfig, program_log: pytest.LogCaptureFixture
) -> None:
    changes = {**TINY, "data_loader.args.dataset": "wiki"}
    first = train(small_config(**changes)).fitted.best_path
    changes |= {"checkpoint": str(first), "data_loader.args.dataset": "imdb"}
    second = train(small_config(**changes)).fitted.best_path
    results = results_of(second, "all", **{"data_loader.args.dataset": "wiki"})
    assert results["seen"] == {"trained": 90, "validated": 10, "unknown": ""}
    assert results_of(second, "val")["seen"]["trained"] == 0
    first.unlink()
    unknown = results_of(second, "all", **{"data_loader.args.dataset": "wiki"})["seen"]["unknown"]
    assert "which is not here" in unknown
    assert any(
        "may have been trained on some of these rows: it started from" in line
        for line in program_log.messages
    )


def test_a_fold_of_a_table_is_tested_by_default_and_unseen(
    small_config: MakeConfig, data_dir: Path, tmp_path: Path
) -> None:
    folder = with_own(data_dir, tmp_path / "data", "mine")
    changes = {
        **TINY,
        "data_loader.args.data_dir": str(folder),
        "data_loader.args.dataset": "imdb_wiki+mine",
        "data_loader.args.test_cross_val": 3,
    }
    results = results_of(train(small_config(**changes)).fitted.best_path)
    assert (results["split"], results["num_samples"], results["num_people"]) == ("test", 40, 8)
    assert results["seen"] == {"trained": 0, "validated": 0, "unknown": ""}


def test_the_test_rows_of_a_table_are_tested_by_default(
    small_config: MakeConfig, tmp_path: Path
) -> None:
    split = np.array(["train", "val", "test", "train"])[np.arange(200) % 4]
    save_own(tmp_path / "data", "mine", own_faces(), split=split)
    changes = {
        "data_loader.args.data_dir": str(tmp_path / "data"),
        "data_loader.args.dataset": "mine",
    }
    best = train(small_config(**{**TINY, **changes})).fitted.best_path
    sizes = {name: results_of(best, name)["num_samples"] for name in (None, "train", "val", "all")}
    assert sizes == {None: 50, "train": 100, "val": 50, "all": 200}


def test_a_data_set_that_is_not_there_is_told_before_any_is_tested(
    small_config: MakeConfig, tmp_path: Path, run_script: RunScript
) -> None:
    best = train(small_config(**TINY)).fitted.best_path
    outcome = run_script("test.py", "-r", best, "--dataset", "wiki", "--dataset", "nobody")
    assert outcome.code == 2
    assert "unknown dataset 'nobody'" in outcome.err
    assert not list((tmp_path / "saved").glob("*_test-results.json"))


def test_faces_that_were_trained_on_are_known_in_another_file_and_order(
    small_config: MakeConfig, data_dir: Path, tmp_path: Path
) -> None:
    folder = with_own(data_dir, tmp_path / "data", "mine")
    changes = {"data_loader.args.dataset": "mine", "data_loader.args.data_dir": str(folder)}
    best = train(small_config(**{**TINY, **changes})).fitted.best_path
    copied = np.load(folder / "mine" / "data.npy")[::-2]
    save_own(folder, "copy", np.concatenate([own_faces(50, 50, 99).astype(copied.dtype), copied]))
    results = results_of(best, "all", **{"data_loader.args.dataset": "copy"})
    assert results["num_samples"] == 150
    assert results["seen"]["trained"] + results["seen"]["validated"] == 100


def test_a_checkpoint_whose_data_are_gone_may_have_been_trained_on_them(
    small_config: MakeConfig, data_dir: Path, tmp_path: Path
) -> None:
    folder = with_own(data_dir, tmp_path / "data", "mine", "yours")
    changes = {"data_loader.args.dataset": "yours+mine", "data_loader.args.data_dir": str(folder)}
    best = train(small_config(**{**TINY, **changes})).fitted.best_path
    (folder / "yours" / "data.npy").unlink()
    of_mine, of_wiki = (
        results_of(best, "all", **{"data_loader.args.dataset": name})["seen"]["unknown"]
        for name in ("mine", "wiki")
    )
    assert "not all here" in of_mine
    assert of_wiki == ""


@pytest.mark.parametrize("split", ["all", "train", "val"])
def test_rows_without_the_label_are_told(
    small_config: MakeConfig,
    tmp_path: Path,
    split: str,
    program_log: pytest.LogCaptureFixture,
) -> None:
    lacks = np.arange(200) < 30
    faces = own_faces()
    age, gender = np.where(lacks, np.nan, faces["age"]), np.where(lacks, "", faces["gender"])
    save_own(tmp_path / "data", "mine", faces, age=age, gender=gender)
    changes = {
        "data_loader.args.data_dir": str(tmp_path / "data"),
        "data_loader.args.dataset": "mine",
    }
    best = train(small_config(**{**TINY, **changes})).fitted.best_path
    program_log.clear()
    results_of(best, split)
    assert re.search("mine: 30 rows without an? (age|gender) are left out", program_log.text)


def test_a_training_that_went_on_with_other_data_may_know_any_rows(
    small_config: MakeConfig, program_log: pytest.LogCaptureFixture
) -> None:
    changes = {**TINY, "data_loader.args.dataset": "wiki", "trainer.save_period": 1}
    first = train(small_config(**changes))
    changes["data_loader.args.dataset"] = "imdb"
    path = first.save_dir / "checkpoint-epoch1.pth"
    second = train(small_config(**changes, **{"trainer.epochs": 3}), path).fitted.best_path
    results = results_of(second, "all", **{"data_loader.args.dataset": "wiki"})
    assert "other data than it began with" in results["seen"]["unknown"]
    assert any("may have been trained on some of these rows" in x for x in program_log.messages)
