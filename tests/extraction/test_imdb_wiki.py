from datetime import date
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from stored import cells, serial

from extraction.imdb_wiki import age_when_taken, birth_date, read_labels
from utils.errors import DataError


def fields(**changes: object) -> dict[str, object]:
    content: dict[str, object] = {
        "dob": np.array([[serial(1950, 7, 1), 47, serial(1980, 2, 3)]], np.int32),
        "photo_taken": np.array([[2000, 2001, 1975]], np.uint16),
        "full_path": cells("01/a.jpg", "02/b.jpg", "03/c.jpg"),
        "gender": np.array([[0.0, 1.0, np.nan]]),
        "name": cells("Ann", "", "Cy"),
    }
    return {key: value for key, value in (content | changes).items() if value is not None}


@pytest.mark.parametrize(
    ("dob", "photo_taken", "age"),
    [
        (serial(1950, 6, 30), 2000, 50),
        (serial(1950, 7, 1), 2000, 49),
        (serial(1950, 12, 31), 2000, 49),
        (serial(2000, 1, 1), 2000, 0),
        (serial(2000, 7, 1), 2000, None),
        (serial(1900, 1, 1), 2000, 100),
        (serial(1899, 6, 1), 2000, None),
        (serial(2006, 3, 1), 1975, None),
        (serial(1, 1, 1), 2014, None),
        (0, 2014, None),
        (47, 2014, None),
        (366, 2014, None),
        (10**9, 2014, None),
        (float("nan"), 2014, None),
        (float("inf"), 2014, None),
        (serial(1950, 6, 30) + 0.75, 2000, 50),
        (serial(1950, 6, 30), float("nan"), None),
    ],
)
def test_the_age_is_that_of_the_middle_of_the_year(
    dob: float, photo_taken: float, age: int | None
) -> None:
    assert age_when_taken(dob, photo_taken) == age


def test_matlab_days_are_read_as_dates() -> None:
    assert birth_date(719529) == date(1970, 1, 1)
    assert birth_date(367) == date(1, 1, 1)


def test_columns_become_records(tmp_path: Path) -> None:
    savemat(tmp_path / "wiki.mat", {"wiki": fields()})
    records = read_labels(tmp_path, "wiki")
    assert [record.image_path for record in records] == ["01/a.jpg", "02/b.jpg", "03/c.jpg"]
    assert [record.subject for record in records] == ["Ann", "", "Cy"]
    assert [record.age for record in records] == [49, None, None]
    assert [record.gender for record in records] == ["f", "m", None]
    assert {record.fold for record in records} == {-1}


def test_the_number_of_the_celebrity_is_the_subject(tmp_path: Path) -> None:
    celebrities = {"celeb_names": cells("Ann", "Cy"), "celeb_id": np.array([[1.0, 1.0, 2.0]])}
    savemat(tmp_path / "imdb.mat", {"imdb": fields(**celebrities)})
    assert [record.subject for record in read_labels(tmp_path, "imdb")] == ["1", "1", "2"]


def test_a_celebrity_without_a_number_is_nobody(tmp_path: Path) -> None:
    savemat(tmp_path / "imdb.mat", {"imdb": fields(celeb_id=np.array([[1.0, np.nan, np.inf]]))})
    assert [record.subject for record in read_labels(tmp_path, "imdb")] == ["1", "", ""]


def test_an_image_with_several_entries_counts_once(tmp_path: Path) -> None:
    savemat(tmp_path / "wiki.mat", {"wiki": fields(full_path=cells("a.jpg", "b.jpg", "a.jpg"))})
    first, second = read_labels(tmp_path, "wiki")
    assert (first.image_path, first.subject, second.image_path) == ("a.jpg", "Ann", "b.jpg")


def test_spellings_of_one_path_are_one_image(tmp_path: Path) -> None:
    paths = cells("01//a.jpg", "./01/a.jpg", "01/./a.jpg")
    savemat(tmp_path / "wiki.mat", {"wiki": fields(full_path=paths)})
    assert [record.image_path for record in read_labels(tmp_path, "wiki")] == ["01/a.jpg"]


def test_a_long_name_is_cut(tmp_path: Path) -> None:
    savemat(tmp_path / "wiki.mat", {"wiki": fields(name=cells("n" * 100_000, "b", "c"))})
    assert read_labels(tmp_path, "wiki")[0].subject == "n" * 255


@pytest.mark.parametrize("path", ["p" * 256 + "/a.jpg", "01/" + "p" * 256, "pp/" * 341 + "ppp"])
def test_a_path_too_long_for_a_file_is_refused(tmp_path: Path, path: str) -> None:
    savemat(tmp_path / "wiki.mat", {"wiki": fields(full_path=cells("a", path, "c"))})
    with pytest.raises(DataError, match=r"wiki.mat, entry 2: the image path '.*is too long"):
        read_labels(tmp_path, "wiki")


def test_entries_without_a_path_are_all_kept(tmp_path: Path) -> None:
    savemat(tmp_path / "wiki.mat", {"wiki": fields(full_path=cells("", "b.jpg", ""))})
    assert [record.image_path for record in read_labels(tmp_path, "wiki")] == ["", "b.jpg", ""]


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="dataset is 'imdb_wiki', expected one of imdb, wiki"):
        read_labels(tmp_path, "imdb_wiki")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"wiki.mat: no such file"):
        read_labels(tmp_path, "wiki")


@pytest.mark.parametrize("content", [b"", b"not MATLAB" * 40, b"\x89HDF\r\n\x1a\n" + bytes(600)])
def test_a_file_that_is_not_matlab_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "wiki.mat").write_bytes(content)
    with pytest.raises(DataError, match=r"wiki.mat is damaged or is not a MATLAB 5 file"):
        read_labels(tmp_path, "wiki")


def test_a_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    savemat(tmp_path / "wiki.mat", {"wiki": fields()})
    content = (tmp_path / "wiki.mat").read_bytes()
    (tmp_path / "wiki.mat").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"wiki.mat"):
        read_labels(tmp_path, "wiki")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"imdb": fields()}, "no struct called 'wiki'"),
        ({"wiki": np.zeros(3)}, "no struct called 'wiki'"),
        ({"wiki": fields(gender=None)}, "lacks \\['gender'\\]"),
        ({"wiki": fields(gender=np.zeros((1, 2)))}, "differ in length: .*gender 2"),
        ({"wiki": fields(dob=cells("a", "b", "c"))}, "field 'dob' holds no numbers"),
        ({"wiki": fields(full_path=np.zeros((1, 3)))}, "'full_path' holds no cells of text"),
        (
            {"wiki": fields(full_path=cells("a", np.array([["b"], ["c"]]), "d"))},
            "entry 2: the cell of 'full_path' holds no text",
        ),
        ({"wiki": fields(full_path=cells("a", 7.0, "d"))}, "entry 2: the cell of 'full_path'"),
        ({"wiki": fields(full_path=cells("a", "b", "/etc/c"))}, "entry 3: .*'/etc/c' leads out"),
    ],
)
def test_a_foreign_struct_is_refused(
    tmp_path: Path, content: dict[str, object], message: str
) -> None:
    savemat(tmp_path / "wiki.mat", content)
    with pytest.raises(DataError, match=message):
        read_labels(tmp_path, "wiki")
