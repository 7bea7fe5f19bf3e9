import os
from pathlib import Path

import pytest
from stored import write_folds

from extraction.adience import COLUMNS, nearest_centre, parse_age, read_labels
from utils.errors import DataError


@pytest.mark.parametrize(
    ("label", "age"),
    [
        ("(0, 2)", 1),
        ("(4, 6)", 5),
        ("(8, 12)", 10),
        ("(15, 20)", 17.5),
        ("(25, 32)", 28.5),
        ("(38, 43)", 40.5),
        ("(48, 53)", 50.5),
        ("(60, 100)", 80),
        ("(27, 32)", 28.5),
        ("(38, 42)", 40.5),
        ("(38, 48)", 40.5),
        ("(8, 23)", 17.5),
        ("(25, 23)", 28.5),
        ("2", 1),
        ("3", 5),
        ("13", 10),
        ("22", 17.5),
        ("23", 28.5),
        ("34", 28.5),
        ("35", 40.5),
        ("45", 40.5),
        ("46", 50.5),
        ("58", 50.5),
        ("None", None),
        ("", None),
    ],
)
def test_an_age_label_means_the_nearest_class(label: str, age: float | None) -> None:
    assert parse_age(label) == age


@pytest.mark.parametrize(
    ("age", "older"),
    [(3, 5), (7.5, 10), (13.75, 17.5), (23, 28.5), (34.5, 40.5), (45.5, 50.5), (65.25, 80)],
)
def test_a_tie_goes_to_the_older_class(age: float, older: float) -> None:
    assert nearest_centre(age) == older
    assert nearest_centre(age - 0.01) < older


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_rows_become_records(tmp_path: Path, end: str) -> None:
    rows = [("7@N01", "a.jpg", "12", "(25, 32)", "f"), ("7@N01", "b.jpg", "12", "None", "u")]
    write_folds(tmp_path, [], rows, end=end)
    first, second = read_labels(tmp_path)
    assert first.image_path == "aligned/7@N01/landmark_aligned_face.12.a.jpg"
    assert (first.subject, first.age, first.gender, first.fold) == ("7@N01", 28.5, "f", 1)
    assert (second.age, second.gender) == (None, None)
    raw = read_labels(tmp_path, "raw")[0]
    assert raw.image_path == "faces/7@N01/coarse_tilt_aligned_face.12.a.jpg"


def test_a_repeated_row_counts_once_and_another_face_of_the_image_counts(tmp_path: Path) -> None:
    rows = [("7@N01", "a.jpg", face_id, "35", "m") for face_id in ("1", "1", "2")]
    write_folds(tmp_path, rows, rows[:1])
    assert [(record.image_path[-7:], record.fold) for record in read_labels(tmp_path)] == [
        ("1.a.jpg", 0),
        ("2.a.jpg", 0),
    ]


def test_a_missing_fold_file_is_named(tmp_path: Path) -> None:
    (write_folds(tmp_path) / "fold_3_data.txt").unlink()
    with pytest.raises(DataError, match=r"fold_3_data.txt: no such file"):
        read_labels(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "first line has to name user_id"),
        (b"user_id,age\n", "first line has to name user_id"),
        ("\t".join(COLUMNS).encode() + b"\n7@N01\ta.jpg\n", "line 2: 2 columns, expected 12"),
        (
            "\t".join(COLUMNS).encode() + b"\n7@N01\ta.jpg\t1\t35\tm" + b"\t0" * 6 + b"\n",
            "line 2: 11 columns, expected 12",
        ),
        (b"\xff\xfe\x00", "is not a text file"),
        ("\t".join(COLUMNS).encode() + b"\n" + b"a" * 200_000, "line 2: field larger than"),
        (
            "\t".join(COLUMNS).encode() + b"\n../x\ta.jpg\t1\t35\tm" + b"\t0" * 7 + b"\n",
            "the image path 'aligned/../x/landmark_aligned_face.1.a.jpg' leads out",
        ),
    ],
)
def test_a_foreign_fold_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (write_folds(tmp_path) / "fold_2_data.txt").write_bytes(content)
    with pytest.raises(DataError, match=f"fold_2_data.txt.*{message}"):
        read_labels(tmp_path)


def test_names_that_are_not_utf_8_are_those_of_the_files(tmp_path: Path) -> None:
    folder = write_folds(tmp_path, [("7@N01", "a.jpg", "1", "35", "m")])
    path = folder / "fold_0_data.txt"
    path.write_bytes(path.read_bytes().replace(b"7@N01", b"caf\xe9").replace(b"a.jpg", b"\xff.jpg"))
    (record,) = read_labels(folder)
    image = os.fsencode(tmp_path) + b"/aligned/caf\xe9/landmark_aligned_face.1.\xff.jpg"
    assert os.fsencode(folder / record.image_path) == image
    assert os.fsencode(record.subject) == b"caf\xe9"


def test_a_folder_in_place_of_a_fold_file_is_named(tmp_path: Path) -> None:
    (write_folds(tmp_path) / "fold_3_data.txt").unlink()
    (tmp_path / "fold_3_data.txt").mkdir()
    with pytest.raises(DataError, match=r"fold_3_data.txt cannot be read"):
        read_labels(tmp_path)


def test_blank_lines_and_a_byte_order_mark_do_not_matter(tmp_path: Path) -> None:
    path = write_folds(tmp_path, [("7@N01", "a.jpg", "1", "35", "m")]) / "fold_0_data.txt"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes() + b"\n\n")
    assert len(read_labels(tmp_path)) == 1


def test_empty_columns_at_the_end_are_columns(tmp_path: Path) -> None:
    path = write_folds(tmp_path) / "fold_0_data.txt"
    path.write_text(path.read_text() + "7@N01\ta.jpg\t1\t35\tm" + "\t" * 7 + "\n")
    assert len(read_labels(tmp_path)) == 1


def test_an_unknown_image_type_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected one of aligned, raw"):
        read_labels(write_folds(tmp_path), "faces")
