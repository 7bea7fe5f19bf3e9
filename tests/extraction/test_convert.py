import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from failing_disks import full_disk
from numpy.typing import NDArray
from stored import Opens, load, make_face, store, vector, write_wiki

from data_loader.faces import read_faces
from extraction.convert import relative_path
from utils.errors import DataError
from utils.scripts import convert_original_data, get_imdb_wiki_clean


def record(path: str, age: float, gender: str, seed: int, **more: object) -> dict[str, Any]:
    return {
        "image_path": path,
        "age": age,
        "gender": gender,
        "embedding": vector(seed),
        **more,
    }


def write_imdb(data_dir: Path, records: list[Any], name: str = "imdb") -> Path:
    """Write what the original project saves: an object array of dicts."""
    path = data_dir / f"{name}_crop" / "data.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    array: NDArray[np.object_] = np.empty(len(records), object)
    array[:] = records
    np.save(path, array, allow_pickle=True)
    return path


def write_adience(data_dir: Path, image_type: str = "aligned") -> Path:
    folds = {
        fold: [
            record(
                f"./data/Adience/{image_type}/{fold}@N01/{name}.jpg",
                28.5,
                gender,
                seed=2 * fold + number,
                fold=fold,
            )
            for number, (name, gender) in enumerate((("a", "m"), ("b", "f")))
        ]
        for fold in range(5)
    }
    path = data_dir / "Adience" / f"data-{image_type}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.array(folds, dtype=object), allow_pickle=True)
    return path


def test_imdb_is_rewritten_and_the_old_file_kept(tmp_path: Path) -> None:
    path = write_imdb(
        tmp_path,
        [
            record("/home/x/data/imdb_crop/01/a.jpg", 31, "f", 0),
            record("02/b.jpg", 50, "m", 1, det_score=np.float64(0.75)),
        ],
    )
    old = path.read_bytes()
    assert convert_original_data("imdb", tmp_path) == [path]
    array = load(path)
    assert array["image_path"].tolist() == ["01/a.jpg", "02/b.jpg"]
    assert array["age"].tolist() == [31, 50]
    assert array["gender"].tolist() == ["f", "m"]
    assert array["fold"].tolist() == [-1, -1]
    assert np.isnan(array["det_score"][0])
    assert array["det_score"][1] == 0.75
    assert np.array_equal(array["embedding"], np.stack([vector(0), vector(1)]))
    assert (path.parent / "data.original.npy").read_bytes() == old
    assert {file.name for file in path.parent.iterdir()} == {"data.npy", "data.original.npy"}
    assert len(read_faces(tmp_path, "imdb")) == 2


def test_both_image_types_of_adience_are_rewritten(tmp_path: Path) -> None:
    paths = [write_adience(tmp_path, image_type) for image_type in ("aligned", "raw")]
    before = read_faces(tmp_path, "Adience")
    assert convert_original_data("Adience", tmp_path) == paths
    array = load(paths[0])
    assert array["fold"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert array["subject"][3] == "1@N01"
    assert array["image_path"][3] == "aligned/1@N01/b.jpg"
    after = read_faces(tmp_path, "Adience")
    for name in ("embedding", "age", "gender", "subject", "fold"):
        assert np.array_equal(getattr(before, name), getattr(after, name))


def test_a_file_of_ours_is_left_alone(
    tmp_path: Path, program_log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("utils.scripts.log_to_console", lambda: None)
    path = write_adience(tmp_path)
    convert_original_data("Adience", tmp_path)
    before = path.read_bytes()
    assert convert_original_data("Adience", tmp_path) == []
    assert "in this project's format already, nothing to convert" in program_log.text
    assert path.read_bytes() == before
    raw = write_adience(tmp_path, "raw")
    assert convert_original_data("Adience", tmp_path) == [raw]


def test_code_in_the_file_is_not_run(tmp_path: Path) -> None:
    made = tmp_path / "made"
    path = write_imdb(tmp_path, [record("a.jpg", 31, "f", 0, more=Opens(made))])
    before = path.read_bytes()
    with pytest.raises(DataError, match="not on the list of names"):
        convert_original_data("imdb", tmp_path)
    assert not made.exists()
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_an_earlier_backup_of_another_file_is_never_overwritten(tmp_path: Path) -> None:
    path = write_imdb(tmp_path, [record("a.jpg", 31, "f", 0)])
    backup = path.parent / "data.original.npy"
    backup.write_bytes(b"another file")
    with pytest.raises(DataError, match=r"another file of that name already"):
        convert_original_data("imdb", tmp_path)
    assert backup.read_bytes() == b"another file"


def test_cleaning_keeps_a_file_of_the_original_project_too(tmp_path: Path) -> None:
    folder = write_wiki(tmp_path, ["01/a.jpg"])
    store(folder / "01/a.jpg", [make_face()])
    path = write_imdb(tmp_path, [record("a.jpg", 31, "f", 0)], "wiki")
    old = path.read_bytes()
    for _ in range(2):
        get_imdb_wiki_clean("wiki", data_dir=tmp_path)
        assert load(path)["image_path"].tolist() == ["01/a.jpg"]
        assert (folder / "data.original.npy").read_bytes() == old


def test_cleaning_writes_over_a_damaged_file(tmp_path: Path) -> None:
    folder = write_wiki(tmp_path, ["01/a.jpg"])
    store(folder / "01/a.jpg", [make_face()])
    (folder / "data.npy").write_bytes(b"damaged")
    get_imdb_wiki_clean("wiki", data_dir=tmp_path)
    assert len(load(folder / "data.npy")) == 1
    assert not (folder / "data.original.npy").exists()


def test_an_interrupted_conversion_goes_on(tmp_path: Path) -> None:
    path = write_imdb(tmp_path, [record("a.jpg", 31, "f", 0)])
    os.link(path, path.parent / "data.original.npy")
    convert_original_data("imdb", tmp_path)
    assert len(load(path)) == 1


def test_a_file_system_without_links_gets_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    path = write_imdb(tmp_path, [record("a.jpg", 31, "f", 0)])
    old = path.read_bytes()
    monkeypatch.setattr(os, "link", no_links)
    convert_original_data("imdb", tmp_path)
    assert (path.parent / "data.original.npy").read_bytes() == old


def test_a_full_disk_leaves_the_original_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_imdb(tmp_path, [record("a.jpg", 31, "f", 0)])
    old = path.read_bytes()
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(DataError, match=r"data.npy was not written: No space left on device"):
        convert_original_data("imdb", tmp_path)
    assert path.read_bytes() == old
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "data.npy: no such file; nothing to convert"),
        (b"no npy", "is not a .npy data file"),
        (b"\x93NUMPY\x01\x00", "is not a .npy data file"),
    ],
)
def test_a_file_that_is_neither_is_refused(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "wiki_crop").mkdir()
        (tmp_path / "wiki_crop/data.npy").write_bytes(content)
    with pytest.raises(DataError, match=message):
        convert_original_data("wiki", tmp_path)


def test_an_unknown_data_set_lists_the_known_ones() -> None:
    with pytest.raises(DataError, match="dataset is 'adience', expected one of imdb, wiki, Adi"):
        convert_original_data("adience")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("data/imdb_crop/01/a.jpg", "01/a.jpg"),
        ("/mnt/imdb_crop/old/imdb_crop/01/a.jpg", "01/a.jpg"),
        ("./01/a.jpg", "01/a.jpg"),
        ("/01/a.jpg", "01/a.jpg"),
        ("01/imdb_crop", "01/imdb_crop"),
    ],
)
def test_paths_become_relative_to_the_folder_of_the_data_set(path: str, expected: str) -> None:
    assert relative_path(path, "imdb_crop") == expected
