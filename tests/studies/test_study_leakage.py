"""What splits share, near-duplicates across folds, and what they do to the accuracy."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from study_folders import (
    face_info,
    hand_made,
    make_columns,
    make_result,
    make_study,
    read_columns,
)

from data_loader.data_sets import data_path
from studies.leakage import (
    NUM_NAMED,
    DuplicateCheck,
    FoundDuplicates,
    SharedRows,
    compare_by_image,
    near_duplicates,
    shared_between_splits,
    without_rows,
    worst_of_runs,
)
from studies.metrics import FaceScores, score
from studies.protocols import StudyPart
from studies.results import read_result
from studies.summary import summarise


def test_subjects_on_both_sides_are_counted_and_named() -> None:
    splits = {
        "train": face_info([0, 1, 2], ["ann", "bob", "cid"]),
        "val": face_info([3, 4], ["bob", "dan"]),
        "test": face_info([5, 6], ["eve", "eve"]),
    }
    found = {one.splits: one for one in shared_between_splits(splits)}
    assert found["train", "val"].subjects == 1
    assert found["train", "val"].names == ["Adience/bob"]
    assert found["train", "test"].subjects == 0
    assert found["val", "test"].subjects == 0


def test_the_same_name_in_two_data_sets_is_two_subjects() -> None:
    splits = {"train": face_info([0], ["7"], "imdb"), "test": face_info([1], ["7"], "wiki")}
    assert shared_between_splits(splits)[0].subjects == 0


def test_rows_on_both_sides_and_unknown_subjects_are_counted() -> None:
    splits = {"train": face_info([0, 1], ["", ""]), "val": face_info([1, 2], ["", "x"])}
    (found,) = shared_between_splits(splits)
    assert (found.subjects, found.rows, found.unknown) == (0, 1, 3)


def test_the_run_that_shares_most_is_kept() -> None:
    clean = [SharedRows(("train", "val"), subjects=0, names=[], rows=0, unknown=0)]
    bad = [SharedRows(("train", "val"), subjects=3, names=["a", "b", "c"], rows=0, unknown=0)]
    (found,) = worst_of_runs([clean, bad, clean])
    assert (found.subjects, found.runs, found.of_runs) == (3, 1, 3)


# --- near-duplicates ------------------------------------------------------------------------------


def embeddings_with_copies() -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    found = rng.normal(size=(40, 64)).astype(np.float32)
    found[30] = found[3] * 2.5  # length does not matter
    found[31] = found[4] + 0.1 * rng.normal(size=64)
    found[6] = found[5]  # in the same fold
    return found


FOLD = np.repeat(np.arange(4, dtype=np.int8), 10)


def test_near_duplicates_are_found_across_folds_alone() -> None:
    pairs, cosines = near_duplicates(embeddings_with_copies(), FOLD)
    assert pairs.tolist() == [[3, 30], [4, 31]]
    assert cosines[0] == pytest.approx(1, abs=1e-6)
    assert 0.9 < cosines[1] < 1


@pytest.mark.parametrize("block", [1, 7, 40, 1000])
@pytest.mark.parametrize("threshold", [0.1, 0.9])
def test_blocks_find_what_all_pairs_at_once_find(
    block: int, threshold: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studies.leakage.BLOCK_ROWS", block)
    embeddings = embeddings_with_copies()
    pairs, cosines = near_duplicates(embeddings, FOLD, threshold)
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    table = unit @ unit.T
    expected = {
        (one, other)
        for one in range(40)
        for other in range(one + 1, 40)
        if FOLD[one] != FOLD[other] and table[one, other] >= threshold
    }
    assert {tuple(pair) for pair in pairs.tolist()} == expected
    np.testing.assert_allclose(cosines, table[pairs[:, 0], pairs[:, 1]], rtol=1e-4)
    assert (np.diff(cosines) <= 0).all()


def test_without_duplicates_there_are_no_pairs() -> None:
    pairs, cosines = near_duplicates(np.eye(5, dtype=np.float32), np.arange(5, dtype=np.int8))
    assert (pairs.shape, cosines.shape) == ((0, 2), (0,))


def scored(row: list[int], is_right: list[bool]) -> FaceScores:
    chances = np.eye(2)[[0 if right else 1 for right in is_right]]
    return hand_made("gender", chances, [0] * len(row), row=row)


def test_the_effect_of_removed_rows_by_hand() -> None:
    runs = [scored([0, 1, 2, 3], [True, True, False, False]), scored([4, 5], [True, False])]
    found = without_rows(runs, np.array([0, 5, 99]))
    assert found == {
        "faces": 2,
        "accuracy": 0.5,
        "without": pytest.approx((1 / 3 + 1) / 2),
        "difference": pytest.approx((1 / 3 + 1) / 2 - 0.5),
    }


def test_where_nothing_is_left_there_is_no_effect() -> None:
    found = without_rows([scored([0, 1], [True, True])], np.array([0, 1]))
    assert found == {"faces": 2, "accuracy": 1.0}


# --- of a study -----------------------------------------------------------------------------------


def with_data_dir(data_dir: Path) -> dict[str, Any]:
    settings = {"dataset": "Adience", "data_dir": str(data_dir)}
    return {"config": {"data_loader": {"args": settings}}}


def duplicates_of(study: Path) -> FoundDuplicates:
    found: DuplicateCheck = summarise(study).duplicates
    assert isinstance(found, FoundDuplicates)
    return found


def with_a_copy(data_dir: Path, target: Path) -> tuple[int, int]:
    """Copy the data file, one face of it into another fold; return both rows."""
    array = np.load(data_path(data_dir, "Adience"))
    one = int(np.flatnonzero(array["fold"] == 0)[0])
    other = int(np.flatnonzero(array["fold"] == 1)[0])
    array["embedding"][other] = array["embedding"][one]
    path = data_path(target, "Adience")
    path.parent.mkdir(parents=True)
    np.save(path, array)
    return one, other


def test_duplicates_of_the_data_file_are_listed_with_their_effect(
    data_dir: Path, tmp_path: Path
) -> None:
    one, other = with_a_copy(data_dir, tmp_path / "data")
    columns = read_columns(tmp_path / "data")
    changes = with_data_dir(tmp_path / "data")
    study = tmp_path / "study"
    make_result(study, "gender", "d", columns=columns, seeds=1, changes=changes)
    found = duplicates_of(study)
    assert (found.status, found.pairs, found.faces) == ("checked", 1, 2)
    assert found.examples[0].rows == sorted([one, other])
    assert found.examples[0].folds == columns["fold"][sorted([one, other])].tolist()
    (effect,) = found.effects
    assert effect.faces == 2
    assert effect.without is not None
    assert effect.accuracy is not None
    assert effect.difference == pytest.approx(effect.without - effect.accuracy)


def test_rows_of_another_data_file_are_not_judged(data_dir: Path, tmp_path: Path) -> None:
    with_a_copy(data_dir, tmp_path / "data")
    changes = with_data_dir(tmp_path / "data")
    study = tmp_path / "study"
    make_result(study, "gender", "d", columns=make_columns(), seeds=1, changes=changes)
    (effect,) = duplicates_of(study).effects
    assert (effect.faces, effect.accuracy) == (None, None)


def test_without_the_data_file_the_check_says_why(tmp_path: Path) -> None:
    found = summarise(make_study(tmp_path, ("gender-d",), seeds=1)).duplicates
    assert found.status.startswith("not checked: nowhere/Adience/data-aligned.npy: no such")


def test_validation_by_image_is_set_beside_that_by_subject(tmp_path: Path) -> None:
    make_study(tmp_path, ("age8-d", "age8-d-by-image"), seeds=1)
    summary = summarise(tmp_path)
    (found,) = summary.by_image
    result = read_result(tmp_path, StudyPart("age8", "d", "by-image"))
    assert result is not None
    accuracy = {
        split: [
            score(run, "age8").values["accuracy"].mean()
            for run in result.read_predictions(tmp_path, split)
        ]
        for split in ("val", "test")
    }
    optimism = np.array(accuracy["val"]) - np.array(accuracy["test"])
    assert found.image.optimism.mean == pytest.approx(optimism.mean())
    assert found.image.optimism.std == pytest.approx(optimism.std())
    assert found.image.num_runs == found.subject.num_runs == 5


def test_without_the_variant_nothing_is_compared(tmp_path: Path) -> None:
    make_study(tmp_path, ("age8-d",), seeds=1)
    assert compare_by_image(tmp_path, "age8", {}) == []


def test_a_subject_in_test_and_training_is_found_in_a_study(tmp_path: Path) -> None:
    columns = make_columns()
    columns["fold"] = (np.arange(300) % 5).astype(np.int8)
    columns["subject"] = np.array([f"{n % 7}" for n in range(300)])  # in every fold
    study = make_study(tmp_path, ("gender-d",), columns=columns, seeds=1)
    (result,) = summarise(study).done
    shared = {one.splits: one for one in result.shared}
    assert shared["train", "test"].subjects > 0
    assert shared["train", "test"].runs == 5
    assert len(shared["train", "test"].names) <= NUM_NAMED
