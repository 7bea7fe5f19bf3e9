"""Folds of a table, and folds that are made."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from own_sets import own_faces, save_own, with_own

from data_loader.faces import LoadedFaces, read_source
from data_loader.folds import balance, fold_numbers
from data_loader.selection import Selection
from utils.errors import DataError


def read(data_dir: Path, dataset: str) -> LoadedFaces:
    return read_source(data_dir, dataset, holds_out=True)


def folds_of_people(source: LoadedFaces) -> dict[str, set[int]]:
    faces = source.faces
    return {
        name: set(faces.fold[faces.subject == name].tolist())
        for name in np.unique(faces.subject).tolist()
    }


def test_made_folds_are_five_balanced_and_nobody_is_in_two(tmp_path: Path) -> None:
    faces = own_faces(997, 150)
    save_own(tmp_path, "mine", faces)
    source = read(tmp_path, "mine")
    assert fold_numbers(source.faces.fold) == [0, 1, 2, 3, 4]
    assert all(len(folds) == 1 for folds in folds_of_people(source).values())
    sizes = np.bincount(source.faces.fold)
    assert sizes.max() - sizes.min() <= 7  # faces of a person
    assert source.remarks == ("mine: 5 folds made, no person in two of them",)


def test_made_folds_are_of_the_people_whatever_the_order_of_the_rows(tmp_path: Path) -> None:
    faces = own_faces()
    save_own(tmp_path, "mine", faces)
    save_own(tmp_path, "shuffled", np.random.default_rng(1).permutation(faces))
    assert folds_of_people(read(tmp_path, "mine")) == folds_of_people(read(tmp_path, "shuffled"))


@pytest.mark.parametrize("fold", range(5))
def test_a_training_by_itself_holds_out_what_a_cross_validation_does(
    fold: int, tmp_path: Path
) -> None:
    save_own(tmp_path, "mine", own_faces())
    whole = read(tmp_path, "mine").faces
    for seed in (0, 7):
        test = read_source(tmp_path, "mine", Selection("test", fold, "age", seed=seed)).faces
        np.testing.assert_array_equal(test.embedding, whole.embedding[whole.fold == fold])


def test_without_known_people_folds_are_made_by_image_and_say_so(tmp_path: Path) -> None:
    save_own(tmp_path, "mine", own_faces(), subject="")
    source = read(tmp_path, "mine")
    assert np.bincount(source.faces.fold).tolist() == [40] * 5
    assert "by image, since nobody is known" in source.remarks[0]


def test_unknown_people_count_for_one_each(tmp_path: Path) -> None:
    faces = own_faces()
    known = np.where(np.arange(200) < 50, "", faces["subject"])
    save_own(tmp_path, "mine", faces, subject=known)
    source = read(tmp_path, "mine")
    assert "50 faces of unknown people count for one" in source.remarks[0]
    assert np.ptp(np.bincount(source.faces.fold)) <= 5


@pytest.mark.parametrize("numbers", [[0, 1], [1, 2, 3], range(10)])
def test_folds_of_the_table_are_kept(numbers: Any, tmp_path: Path) -> None:
    folds = np.resize(numbers, 200)
    save_own(tmp_path, "mine", own_faces(200, 200), fold=folds)
    source = read(tmp_path, "mine")
    np.testing.assert_array_equal(source.faces.fold, folds)
    assert source.remarks[0].startswith(f"mine: folds {', '.join(map(str, numbers))} of the table")


def test_people_in_two_folds_of_a_table_and_faces_in_none_are_told(tmp_path: Path) -> None:
    folds = np.where(np.arange(200) < 20, -1, np.arange(200) // 100)
    save_own(tmp_path, "mine", own_faces(200, 40), fold=folds)
    (remark,) = read(tmp_path, "mine").remarks
    assert "20 faces in no fold are always trained on" in remark
    assert "40 people are in two of them" in remark
    train = read_source(tmp_path, "mine", Selection("train", 0)).faces
    assert set(train.fold.tolist()) == {-1, 1}


def test_a_set_has_the_same_folds_in_a_sum(data_dir: Path, tmp_path: Path) -> None:
    folder = with_own(data_dir, tmp_path / "data", "mine")
    alone = read(folder, "mine").faces.fold
    with_imdb = read(folder, "imdb_wiki+mine")
    with_adience = read(folder, "mine+adience")
    np.testing.assert_array_equal(with_imdb.faces.fold, np.r_[np.full(300, -1), alone])
    np.testing.assert_array_equal(with_adience.faces.fold[:200], alone)
    assert fold_numbers(with_adience.faces.fold[200:]) == [0, 1, 2, 3, 4]
    assert "imdb: trained on in every run, never held out" in with_imdb.remarks


def test_imdb_and_wiki_alone_are_folded_and_beside_adience_trained_on(data_dir: Path) -> None:
    assert fold_numbers(read(data_dir, "imdb_wiki").faces.fold) == [0, 1, 2, 3, 4]
    with_adience = read(data_dir, "imdb_wiki_adience").faces
    assert set(with_adience.fold[:300].tolist()) == {-1}


def test_people_of_two_tables_are_in_the_same_fold(tmp_path: Path) -> None:
    save_own(tmp_path, "mine", own_faces(), fold=np.arange(200) % 40 % 3)
    save_own(tmp_path, "yours", own_faces(300, 60, 6))
    for dataset in ("mine+yours", "yours+mine"):
        source = read(tmp_path, dataset)
        assert all(len(folds) == 1 for folds in folds_of_people(source).values())
        assert fold_numbers(source.faces.fold) == [0, 1, 2]


def test_folds_of_different_numbers_are_refused(data_dir: Path, tmp_path: Path) -> None:
    folder = with_own(data_dir, tmp_path / "data")
    save_own(folder, "mine", own_faces(), fold=np.arange(200) % 3)
    with pytest.raises(DataError, match=r"Adience has 0, 1, 2, 3, 4, mine has 0, 1, 2$"):
        read(folder, "adience+mine")
    assert len(read_source(folder, "adience+mine").faces) == 500


def test_too_few_people_are_refused(tmp_path: Path) -> None:
    save_own(tmp_path, "mine", own_faces(20, 4))
    with pytest.raises(DataError, match="4 people are too few for 5 folds"):
        read(tmp_path, "mine")


def test_a_split_that_folds_stand_in_for_is_told(tmp_path: Path) -> None:
    save_own(tmp_path, "mine", own_faces(), split="test")
    assert read(tmp_path, "mine").remarks[0].endswith("its column split is not used")


@pytest.mark.parametrize("counts", [[9, 1, 1, 1, 1, 1, 1, 1, 1, 1], [5, 5, 5, 2, 2, 2], [1] * 100])
def test_no_person_could_make_the_smallest_fold_larger_than_the_largest(counts: list[int]) -> None:
    of_people = balance(np.array(counts), 3)
    sizes: NDArray[Any] = np.bincount(of_people, counts)
    for fold in range(3):
        smallest_person = min(np.array(counts)[of_people == fold])
        assert sizes[fold] - smallest_person <= sizes.min()
