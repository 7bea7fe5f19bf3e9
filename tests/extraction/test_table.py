import random
from pathlib import Path

import pytest

from extraction.image_labels import ImageLabels
from extraction.table import FaceTable, read_table
from extraction.table_cells import MAX_AGE_YEARS, CellError, parse_age, parse_fold, parse_gender
from utils.errors import DataError


def table(folder: Path, text: str, name: str = "faces.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def read(folder: Path, text: str) -> FaceTable:
    return read_table(table(folder, text))


def labels(found: FaceTable) -> list[tuple[str, float | None, str | None]]:
    return [(image.image_path, image.age, image.gender) for image in found.images]


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("0", 0),
        ("25", 25),
        (" 25.0 ", 25),
        ("25 years", 25),
        ("0-2", 1),
        ("3 - 9", 6),
        ("10\u201319", 14.5),
        ("20 to 29", 24.5),
        ("(25, 32)", 28.5),
        ("[60;100]", 80),
        ("more than 70", 74.5),
        ("70+", 74.5),
        ("> 70", 74.5),
        ("NaN", None),
        ("None", None),
        ("", None),
    ],
)
def test_an_age_is_a_number_or_the_mean_of_a_range(text: str, years: float | None) -> None:
    assert parse_age(text) == years


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("old", "no number"),
        ("25,5", "no number"),
        ("03-Sep", "no number"),
        ("1e3", "no number"),
        ("inf", "no number"),
        ("\u0663", "no number"),
        ("-1", "below 0"),
        ("121", "above 120"),
        ("9" * 9, "above 120"),
        ("9" * 400, "no number"),
        ("32-25", "upside down"),
    ],
)
def test_what_is_no_age_says_why(text: str, cause: str) -> None:
    if text == "\u0663":  # a digit of another script counts as one
        assert parse_age(text) == 3
        return
    with pytest.raises(CellError, match=cause):
        parse_age(text)


def test_ages_of_any_text_are_none_or_in_bounds() -> None:
    rng = random.Random(0)  # noqa: S311
    for _ in range(3000):
        text = "".join(rng.choices("0123456789 -+.,()<>to\u2013\u0663ynage", k=rng.randrange(9)))
        try:
            age = parse_age(text)
        except CellError:
            continue
        assert age is None or 0 <= age <= MAX_AGE_YEARS


@pytest.mark.parametrize("text", ["m", "M", "male", " Male", "MAN"])
def test_men_are_m(text: str) -> None:
    assert parse_gender(text, {}) == "m"


@pytest.mark.parametrize("text", ["f", "F", "Female", "woman"])
def test_women_are_f(text: str) -> None:
    assert parse_gender(text, {}) == "f"


def test_numbers_are_genders_only_by_what_they_are_said_to_mean() -> None:
    meanings = {"0": "m", "1": "f", "homme": "m"}
    texts = ("0", "1.0", "Homme", "f")
    assert [parse_gender(text, meanings) for text in texts] == ["m", "f", "m", "f"]
    with pytest.raises(CellError, match=r"number; say which is which with genders=\{0: 'm'"):
        parse_gender("0", {})
    with pytest.raises(CellError, match="none of m, male, man, f, female, woman"):
        parse_gender("homme", {})


def test_folds_are_small_numbers() -> None:
    assert [parse_fold(text) for text in ("0", "fold 4", "2.0", "-1", "")] == [0, 4, 2, None, None]
    for text in ("127", "first", "1.5", "-2"):
        with pytest.raises(CellError, match="fold is no number from 0 to 126"):
            parse_fold(text)


def test_rows_become_labels_and_other_columns_are_kept(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "Path,Age,Gender,Subject,Fold,Split,Race\n"
        "a/1.jpg,25-32,Woman,anna,3,validation,Black\n"
        './a//2.jpg,,,"Ben, junior",,,\n',
    )
    assert found.images == [
        ImageLabels("a/1.jpg", "anna", 28.5, "f", 3, None, ("val", "Black")),
        ImageLabels("a/2.jpg", "Ben, junior", None, None, -1, None, ("", "")),
    ]
    assert (found.kept_columns, found.problems) == (("split", "Race"), [])


def test_age_and_gender_may_be_absent_and_an_index_is_not_kept(tmp_path: Path) -> None:
    found = read(tmp_path, ",path\n0,a.jpg\n1,b.jpg\n")
    assert labels(found) == [("a.jpg", None, None), ("b.jpg", None, None)]
    assert (found.kept_columns, found.report()) == ((), [])


def test_problems_are_counted_by_cause_with_their_lines(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "path,age,gender,split\n"
        "a.jpg,old,m,train\n"
        "b.jpg,30,1,train\n"
        "\n"
        "c.jpg,31,x,holdout\n"
        ",32,f,\n"
        "a.jpg,33,m,\n"
        "d.jpg,34\n"
        "https://e.org/a.jpg,3,f,\n"
        + "".join(f"e{number}.jpg,ancient,f,\n" for number in range(9)),
    )
    assert found.num_rows == 16
    assert len(found.images) == 12
    assert found.causes() == {
        "age is no number and no range": 10,
        "gender is a number; say which is which with genders={0: 'm', 1: 'f'}": 1,
        "gender is none of m, male, man, f, female, woman": 1,
        "split is none of train, val, test": 1,
        "path is empty": 1,
        "path was named before with other labels, which do not count": 1,
        "row has more or fewer cells than the header": 1,
        "path is an address, a file was expected": 1,
    }
    lines = found.report()
    assert len(lines) == len(found.causes())
    name = tmp_path / "faces.csv"
    cause = "age is no number and no range, such as 'old'"
    assert lines[0] == f"{name}: 10 rows: {cause}; line 2, 10, 11, 12, 13, ..."
    assert found.images[0].age is None
    assert [list(one.lines) for one in found.problems if "before" in one.cause] == [[7]]


def test_the_same_row_twice_is_told_from_one_with_other_labels(tmp_path: Path) -> None:
    found = read(tmp_path, "path,age\na.jpg,3\n./a.jpg,3\n")
    assert found.causes() == {"path was named before": 1}


def test_paths_outside_are_absolute_and_those_inside_relative(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    (folder / "a").mkdir(parents=True)
    found = read_table(
        table(
            folder,
            f"path\n{folder}/a/1.jpg\n/mnt//b.jpg\n../c.jpg\na/../2.jpg\na\\3.jpg\n//d.jpg\n",
        )
    )
    paths = [image.image_path for image in found.images]
    outside = f"{tmp_path.resolve()}/c.jpg"
    assert paths == ["a/1.jpg", "/mnt/b.jpg", outside, "2.jpg", "a/3.jpg", "/d.jpg"]


def test_dots_behind_a_link_lead_where_the_system_says(tmp_path: Path) -> None:
    (tmp_path / "far" / "inner").mkdir(parents=True)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "link").symlink_to(tmp_path / "far" / "inner")
    (image,) = read_table(table(tmp_path / "set", "path\nlink/../a.jpg\n")).images
    assert image.image_path == f"{tmp_path.resolve()}/far/a.jpg"


@pytest.mark.parametrize(
    ("text", "cause"),
    [("a\0b.jpg", "NUL"), (f"{'x' * 256}.jpg", "too long"), ("x/" * 600, "too long")],
)
def test_what_no_file_can_be_called_is_a_problem(tmp_path: Path, text: str, cause: str) -> None:
    found = read_table(table(tmp_path, f"path\n{text}\na.jpg\n", encoding="utf-16"))
    assert len(found.images) == 1
    assert cause in str(found.problems[0])
    assert list(found.problems[0].lines) == [2]


def test_a_long_cell_is_cut_and_says_so(tmp_path: Path) -> None:
    found = read(tmp_path, f"path,note\na.jpg,{'n' * 300}\n")
    assert found.images[0].kept == ("n" * 255,)
    assert found.causes() == {"column 'note' is cut to 255 letters": 1}


def test_faces_of_one_image_are_told_apart_by_their_boxes(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "path,age,x0,y0,x1,y1\n"
        "a.jpg,3,0,0,10,10\na.jpg,30,20,0,30,10\na.jpg,30,20,0,30,10\n"
        "b.jpg,4,,,,\nc.jpg,5,9,9,1,1\nd.jpg,6,nan,0,1,1\ne.jpg,7,0,0,inf,1\n",
    )
    assert [image.box for image in found.images] == [
        (0, 0, 10, 10),
        (20, 0, 30, 10),
        *[None] * 4,
    ]
    assert found.causes() == {"path was named before": 1, "x0, y0, x1, y1 are no box": 3}


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("paths,age", "no column 'path', did you mean 'paths'"),
        ("file,age", "no column 'path', did you mean 'file'"),
        ("x,y", "no column 'path', known are x, y"),
        ("\x1b[2Jx,y", r"no column 'path', known are \\x1b\[2jx, y"),
        ("path,age,Age", "column 'age' twice"),
        ("path," + ",".join(map(str, range(64))), "65 columns"),
        ("path", "no rows below its header"),
        ("", "no column 'path'"),
    ],
)
def test_a_header_that_cannot_be_used_is_refused(tmp_path: Path, header: str, message: str) -> None:
    with pytest.raises(DataError, match=f"faces.csv has {message}"):
        read(tmp_path, f"{header}\n")


def test_a_column_that_may_be_meant_is_named(tmp_path: Path) -> None:
    found = read(tmp_path, "path,ages,sex\na.jpg,3,m\n")
    assert [line.split(" has ")[1] for line in found.report()] == [
        "no column 'age', did you mean 'ages'? Rename it",
        "no column 'gender', did you mean 'sex'? Rename it",
    ]
