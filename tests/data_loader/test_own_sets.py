"""Data sets of one's own: names, sums, missing labels, splits."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_sets import own_faces, save_own, with_own

from data_loader.data_loaders import AgeDataLoader, FaceDataLoader, GenderDataLoader
from data_loader.data_sets import parts_of
from data_loader.extractors import dataset_title
from data_loader.faces import read_faces
from utils.errors import DataError


def make_loader(kind: type[FaceDataLoader], data_dir: Path, **changes: Any) -> FaceDataLoader:
    arguments: dict[str, Any] = {
        "data_dir": str(data_dir),
        "batch_size": 32,
        "shuffle": False,
        "validation_split": 0,
        "num_workers": 0,
        "dataset": "mine",
        "num_classes": 2 if kind is GenderDataLoader else 8,
        "training": True,
        **changes,
    }
    return kind(**arguments)


# --- names ----------------------------------------------------------------------------------------


def test_a_set_of_ones_own_is_found_by_name_and_by_folder(tmp_path: Path) -> None:
    file = save_own(tmp_path / "data", "mine", own_faces())
    by_name = read_faces(tmp_path / "data", "mine")
    by_folder = read_faces("no such folder", str(tmp_path / "data" / "mine"))
    for faces in (by_name, by_folder):
        np.testing.assert_array_equal(faces.embedding, file["embedding"])
        np.testing.assert_array_equal(faces.subject, file["subject"])


def test_a_folder_is_relative_to_where_one_is_or_to_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_own(tmp_path, "mine", own_faces())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("./mine", "mine/", "~/mine"):
        assert len(read_faces("no such folder", name)) == 200


@pytest.mark.parametrize(
    ("dataset", "parts"),
    [
        ("imdb_wiki+mine", ["imdb", "wiki", "mine"]),
        ("Adience+mine+yours", ["Adience", "mine", "yours"]),
        ("mine+IMDB", ["mine", "imdb"]),
    ],
)
def test_a_sum_is_its_parts_one_after_the_other(
    dataset: str, parts: list[str], data_dir: Path, tmp_path: Path
) -> None:
    folder = with_own(data_dir, tmp_path / "data", "mine", "yours")
    faces = read_faces(folder, dataset)
    alone = [read_faces(folder, part).embedding for part in parts]
    np.testing.assert_array_equal(faces.embedding, np.concatenate(alone))


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("", "no name of a data set"),
        ("mine+", "no name of a data set"),
        ("..", "no name of a data set"),
        ("a\\b", "no name of a data set"),
        ("a\0b", "holds a NUL character"),
        ("mine+mine", "'mine' occurs twice"),
        ("imdb+IMDB_wiki", "'imdb' occurs twice"),
        ("nobody", r"unknown dataset 'nobody', known are adience, .* data mine, yours\. There"),
        ("mime", r"'mime', did you mean mine\? There is no 'data/mime/data.npy'; clean"),
        ("x" * 5000, "unknown dataset 'xxx"),
        ("/" + "x/" * 5000, "unknown dataset"),
        ("mine\n\x1b[2J", r"unknown dataset 'mine\\n\\x1b\[2J'"),
    ],
)
def test_a_name_that_is_none_is_told_in_one_line(
    dataset: str, message: str, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_own(data_dir, tmp_path / "data", "mine", "yours")
    monkeypatch.chdir(tmp_path)
    before = sorted(os.walk(tmp_path))
    with pytest.raises(DataError, match=message) as caught:
        read_faces("data", dataset)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 800
    assert sorted(os.walk(tmp_path)) == before


def test_one_file_under_two_names_is_refused(data_dir: Path, tmp_path: Path) -> None:
    folder = with_own(data_dir, tmp_path / "data", "mine")
    (folder / "link").symlink_to(folder / "mine")
    for dataset in (f"mine+{folder}/mine", "mine+link", f"wiki+{folder}/wiki_crop"):
        with pytest.raises(DataError, match="occurs twice"):
            parts_of(folder, dataset)


def test_a_name_in_output_cannot_steer_the_terminal() -> None:
    assert dataset_title("a\x1b[2J/b", {}) == r"a\x1b[2J/b"


# --- rows -----------------------------------------------------------------------------------------


def test_rows_that_lack_the_label_are_left_out_and_counted(tmp_path: Path) -> None:
    faces = own_faces()
    age = np.where(np.arange(200) < 30, np.nan, faces["age"])
    gender = np.where(np.arange(200) >= 190, "", faces["gender"])
    save_own(tmp_path, "mine", faces, age=age, gender=gender)
    by_age, by_gender = (make_loader(kind, tmp_path) for kind in (AgeDataLoader, GenderDataLoader))
    assert (by_age.n_samples, by_gender.n_samples) == (170, 190)
    assert by_age.left_out == "30 rows without an age are left out"
    assert by_gender.left_out == "10 rows without a gender are left out"
    np.testing.assert_array_equal(by_age.source.faces.embedding, faces["embedding"][30:])
    assert set(np.concatenate([labels for _, labels in by_gender]).tolist()) == {0, 1}


def test_a_limit_counts_the_rows_that_have_the_label(tmp_path: Path) -> None:
    faces = own_faces()
    save_own(tmp_path, "mine", faces, age=np.where(np.arange(200) < 100, np.nan, faces["age"]))
    assert make_loader(AgeDataLoader, tmp_path, limit_data=80).n_samples == 80


def test_a_set_without_the_label_is_refused(tmp_path: Path) -> None:
    save_own(tmp_path, "mine", own_faces(), gender="")
    with pytest.raises(DataError, match=r"no face of mine .* has a gender"):
        make_loader(GenderDataLoader, tmp_path)


def test_a_split_of_the_table_is_what_is_trained_validated_and_tested_on(tmp_path: Path) -> None:
    split = np.array(["train", "val", "test", ""])[np.arange(200) % 4]
    file = save_own(tmp_path, "mine", own_faces(), split=split)
    train = make_loader(AgeDataLoader, tmp_path, validation_split=0.3)
    test = make_loader(AgeDataLoader, tmp_path, training=False)
    faces = train.source.faces
    np.testing.assert_array_equal(faces.embedding, file["embedding"][split != "test"])
    assert set(faces.split[train.rows].tolist()) == {"train", ""}
    assert set(faces.split[train.validation_rows].tolist()) == {"val"}
    np.testing.assert_array_equal(test.source.faces.embedding, file["embedding"][split == "test"])
    assert make_loader(AgeDataLoader, tmp_path, every_row=True).n_samples == 200


def test_without_rows_to_validate_on_in_the_table_they_are_drawn(tmp_path: Path) -> None:
    save_own(tmp_path, "mine", own_faces(), split=["train", "test"] * 100)
    loader = make_loader(AgeDataLoader, tmp_path, validation_split=0.3, validation_by="subject")
    assert (loader.n_samples, len(loader.validation_rows)) == (70, 30)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"fold": 127}, "have a fold"),
        ({"fold": -2}, "have a fold"),
        ({"gender": "x"}, "a gender other than"),
        ({"age": -1}, "no age of 0 years"),
        ({"age": np.inf}, "no age of 0 years"),
        ({"split": "dev"}, "have a split of another name"),
    ],
)
def test_bad_cells_are_refused(columns: dict[str, Any], message: str, tmp_path: Path) -> None:
    save_own(tmp_path, "mine", own_faces(), **columns)
    with pytest.raises(DataError, match=message):
        read_faces(tmp_path, "mine")


def test_parts_of_two_networks_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rotation, _ = np.linalg.qr(rng.normal(size=(512, 512)))
    faces = own_faces(2000, 400)
    low = faces["embedding"] @ np.diag(np.r_[np.ones(200), np.full(312, 0.02)])
    for name, vectors in (("one", low), ("other", low @ rotation)):
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        save_own(tmp_path, name, faces, embedding=unit)
    with pytest.raises(DataError, match=r"one/data\.npy and .*other/data.npy cannot be joined"):
        read_faces(tmp_path, "one+other")
