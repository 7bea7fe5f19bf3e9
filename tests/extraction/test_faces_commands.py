import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from face_helpers import QUICK, picture_file, vector
from stored import load, make_face, meta_data, store

from data_loader.data_files import KINDS
from sample.stand_in_server import StandInServer
from utils.errors import ConfigError, DataError, PathError, UserError
from utils.scripts import extract_faces, get_faces_clean

ROWS = (
    ("a/1.jpg", "25-32", "Female", "train", "x"),
    ("a/2.jpg", "40", "man", "val", "\u4e16"),
    ("b/3.jpg", "old", "m", "test", ""),
    ("b/gone.jpg", "7", "f", "", ""),
)
HEADER = "path,age,gender,split,r\u00f4le\n"


@pytest.fixture(scope="module")
def server() -> Iterator[StandInServer]:
    with StandInServer() as running:
        yield running


def write_faces(folder: Path, rows: Any = ROWS, header: str = HEADER) -> Path:
    """Write a table and the images that it names, each with a face, but those called gone."""
    for number, (path, *_) in enumerate(rows):
        if "gone" not in path:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(picture_file(number))
    text = header + "".join(",".join(row) + "\n" for row in rows)
    (folder / "faces.csv").write_text(text, encoding="utf-8")
    return folder / "faces.csv"


def extract_from(table: Path, data_dir: Path, server: StandInServer, **more: Any) -> Any:
    return extract_faces(
        table, docker_port=server.url, resize=None, data_dir=data_dir, **{**QUICK, **more}
    )


def answer_for(data_dir: Path, path: str, answer: object, name: str = "faces") -> None:
    store(data_dir / name / "answers" / "inside" / path, answer)


def seeds_of(faces: Any) -> list[int]:
    """Return which picture's face each row holds."""
    known = np.stack([vector(seed) for seed in range(10)])
    return [int(seed) for seed in np.argmax(faces["embedding"] @ known.T, axis=1)]


def names_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_table_is_extracted_and_cleaned_without_a_word_in_its_folder(
    tmp_path: Path, server: StandInServer
) -> None:
    table, data_dir = write_faces(tmp_path / "photos"), tmp_path / "data"
    before = names_in(table.parent)
    counts = extract_from(table, data_dir, server)
    assert (counts.num_total, counts.num_now, dict(counts.reasons)) == (4, 3, {"no such file": 1})
    path = get_faces_clean(table, resize=None, det_score=0.5, data_dir=data_dir)
    assert names_in(table.parent) == before
    assert path == data_dir / "faces" / "data.npy"
    faces = load(path)
    assert faces["image_path"].tolist() == ["a/1.jpg", "a/2.jpg", "b/3.jpg"]
    assert faces["age"].tolist() == pytest.approx([28.5, 40, np.nan], nan_ok=True)
    assert faces["gender"].tolist() == ["f", "m", "m"]
    assert faces["fold"].tolist() == [-1, -1, -1]
    assert faces["split"].tolist() == ["train", "val", "test"]
    assert faces["r\\xf4le"].tolist() == ["x", "\u4e16", ""]
    assert seeds_of(faces) == [0, 1, 2]
    assert set(KINDS) <= set(faces.dtype.names or ())
    meta = meta_data(path.with_name("meta-data.json"))
    assert meta["total_num_images"] == 4
    assert meta["num_images"] == 3
    assert meta["removed"]["failed_to_process_image"] == sum(meta["removed"].values()) == 1
    assert meta["without"] == {"age": 1, "gender": 0}
    assert meta["table"] == {
        "file": "faces.csv",
        "rows": 4,
        "problems": {"age is no number and no range": 1},
        "outside": 0,
        "splits": {"train": 1, "val": 1, "test": 1},
    }
    assert meta["extractor"]["server"] == server.url
    assert path.with_name("ages.png").is_file()


def test_the_next_call_sends_only_what_is_new(tmp_path: Path, server: StandInServer) -> None:
    table, data_dir = write_faces(tmp_path / "photos", ROWS[:2]), tmp_path / "data"
    extract_from(table, data_dir, server)
    write_faces(tmp_path / "photos")
    counts = extract_from(table, data_dir, server)
    assert (counts.num_before, counts.num_now) == (2, 1)


def test_images_anywhere_keep_their_answers_apart(tmp_path: Path, server: StandInServer) -> None:
    far = tmp_path / "far" / "1.jpg"
    far.parent.mkdir()
    far.write_bytes(picture_file(7))
    rows = [("1.jpg", "3", "f"), (str(far), "4", "m")]
    table = tmp_path / "photos" / "faces.csv"
    table.parent.mkdir()
    (table.parent / "1.jpg").write_bytes(picture_file(0))
    table.write_text("path,age,gender\n" + "".join(",".join(row) + "\n" for row in rows))
    extract_from(table, tmp_path / "data", server)
    faces = load(get_faces_clean(table, None, 0.5, tmp_path / "data"))
    assert faces["image_path"].tolist() == ["1.jpg", str(far)]
    assert seeds_of(faces) == [0, 7]
    assert not list(far.parent.glob("*.pkl"))


def test_the_folder_of_other_images_is_refused(tmp_path: Path, server: StandInServer) -> None:
    first, second = (write_faces(tmp_path / name, ROWS[:1]) for name in ("one", "two"))
    extract_from(first, tmp_path / "data", server)
    message = rf"faces is of the images in '{first.parent}', those of .* lie in {second.parent}"
    with pytest.raises(DataError, match=message):
        extract_from(second, tmp_path / "data", server)
    with pytest.raises(DataError, match=message):
        get_faces_clean(second, None, 0.5, tmp_path / "data")
    assert extract_from(second, tmp_path / "data", server, name="two").num_now == 1
    assert get_faces_clean(second, None, 0.5, tmp_path / "data", name="two").parent.name == "two"


@pytest.mark.parametrize("name", ["Adience", "IMDB_wiki", "imdb_crop"])
def test_the_names_of_known_data_sets_are_taken(tmp_path: Path, name: str) -> None:
    with pytest.raises(PathError, match="known data set; choose another with name="):
        extract_faces(tmp_path / f"{name}.csv", data_dir=tmp_path)


@pytest.mark.parametrize("name", ["..", "a/b", "a+b", ""])
def test_a_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(PathError, match="can be no name of a data set"):
        get_faces_clean(tmp_path / "faces.csv", data_dir=tmp_path, name=name)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"genders": {0: "male"}}, ConfigError, "arguments: genders.0: 'male', expected \"m\""),
        ({"name": 3}, ConfigError, "arguments: name: 3, expected a string"),
        ({"det_score": 2}, ConfigError, "det_score: 2, expected 1 or less"),
        ({}, DataError, "faces.csv: no such file"),
    ],
)
def test_wrong_arguments_are_named(
    tmp_path: Path, arguments: Any, error: type[UserError], message: str
) -> None:
    with pytest.raises(error, match=message):
        get_faces_clean(tmp_path / "faces.csv", data_dir=tmp_path, **arguments)


def test_cleaning_before_extracting_says_what_to_type(tmp_path: Path) -> None:
    table = write_faces(tmp_path / "photos")
    with pytest.raises(DataError) as caught:
        get_faces_clean(table, data_dir=tmp_path / "data", name="mine")
    assert (
        f"extract_faces('{table}', resize=640, name='mine', data_dir='{tmp_path / 'data'}')"
        in str(caught.value)
    )


def test_a_table_none_of_whose_images_is_there_says_where_they_were_looked_for(
    tmp_path: Path, server: StandInServer
) -> None:
    table = write_faces(tmp_path, [("gone.jpg", "3", "f")], "path,age,gender\n")
    with pytest.raises(DataError, match=f"{tmp_path} holds none of the 1 images.*column path"):
        extract_from(table, tmp_path / "data", server)


def test_genders_that_are_numbers_need_a_meaning(tmp_path: Path) -> None:
    rows = [("1.jpg", "3", "0"), ("2.jpg", "4", "1")]
    table = write_faces(tmp_path / "photos", rows, "path,age,gender\n")
    for row in rows:
        answer_for(tmp_path / "data", row[0], [make_face()])
    faces = load(get_faces_clean(table, data_dir=tmp_path / "data", genders={0: "m", "1": "f"}))
    assert faces["gender"].tolist() == ["m", "f"]


def test_an_image_stays_with_one_label_and_is_removed_with_neither(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [("1.jpg", "30", "f"), ("2.jpg", "", "m"), ("3.jpg", "41", ""), ("4.jpg", "", "?")]
    table = write_faces(tmp_path / "photos", rows, "path,age,gender\n")
    for row in rows:
        answer_for(tmp_path / "data", row[0], [make_face()])
    path = get_faces_clean(table, data_dir=tmp_path / "data")
    faces = load(path)
    assert faces["image_path"].tolist() == ["1.jpg", "2.jpg", "3.jpg"]
    assert faces["age"].tolist() == pytest.approx([30, np.nan, 41], nan_ok=True)
    assert faces["gender"].tolist() == ["f", "m", ""]
    meta = meta_data(path.with_name("meta-data.json"))
    assert (meta["total_num_images"], meta["num_images"]) == (4, 3)
    assert meta["removed"]["no_age_and_no_gender_found"] == sum(meta["removed"].values()) == 1
    assert not meta["removed"].keys() & {"no_age_found", "no_gender_found"}
    assert (meta["without"], meta["genders"]) == ({"age": 1, "gender": 1}, {"f": 1, "m": 1})
    assert meta["ages"] == {"30": 1, "41": 1}
    cells = {" ".join(line.split()) for line in capsys.readouterr().out.splitlines()}
    assert {
        "no age and no gender found 1 25.0 %",
        "age of the faces kept female male not known all share",
        "30 to 39 1 0 0 1 33.3 %",
        "not known 0 1 0 1 33.3 %",
        "all 1 1 1 3 100.0 %",
    } <= cells


@pytest.mark.parametrize("label", ["age", "gender"])
def test_a_table_may_have_one_kind_of_label_alone(tmp_path: Path, label: str) -> None:
    values = {"age": "30", "gender": "f"}
    header = f"path,{label}\n"
    rows = [("1.jpg", values[label]), ("2.jpg", "")]
    table = write_faces(tmp_path / "photos", rows, header)
    for row in rows:
        answer_for(tmp_path / "data", row[0], [make_face()])
    path = get_faces_clean(table, data_dir=tmp_path / "data")
    (face,) = load(path)
    meta = meta_data(path.with_name("meta-data.json"))
    assert meta["num_images"] == meta["removed"]["no_age_and_no_gender_found"] == 1
    if label == "age":
        assert (face["age"], face["gender"]) == (30, "")
    else:
        assert np.isnan(face["age"])
        assert face["gender"] == "f"
    assert path.with_name("ages.png").is_file() == (label == "age")


def test_without_any_label_there_is_nothing_to_clean(tmp_path: Path) -> None:
    table = write_faces(tmp_path, [("1.jpg",)], "path\n")
    with pytest.raises(DataError, match=r"none of the 1 images .* has an age or a gender"):
        get_faces_clean(table, data_dir=tmp_path / "data")


def test_each_box_takes_the_face_in_it(tmp_path: Path) -> None:
    """The picture is 200 x 100: in the square of 640, its top is at 160 and its scale 3.2."""
    rows = [
        ("1.jpg", "3", "f", "0", "0", "100", "100"),
        ("1.jpg", "40", "m", "100", "0", "200", "100"),
        ("1.jpg", "50", "m", "90", "90", "95", "95"),
    ]
    table = write_faces(tmp_path / "photos", rows, "path,age,gender,x0,y0,x1,y1\n")
    from PIL import Image

    Image.new("RGB", (200, 100)).save(tmp_path / "photos" / "1.jpg")
    faces = [make_face(centre=(480, 320), seed=2), make_face(centre=(160, 320), seed=1)]
    answer_for(tmp_path / "data", "1.jpg", [*faces, make_face(centre=(161, 200), seed=3)])
    path = get_faces_clean(table, data_dir=tmp_path / "data")
    found = load(path)
    assert found["age"].tolist() == [3, 40]
    assert (found["embedding"] == [vector_of(1), vector_of(2)]).all()
    assert meta_data(path.with_name("meta-data.json"))["removed"]["no_face_detected"] == 1


def vector_of(seed: int) -> Any:
    return make_face(seed=seed)["normed_embedding"]


def test_folds_are_those_of_the_table(tmp_path: Path) -> None:
    rows = [("1.jpg", "3", "f", "0"), ("2.jpg", "4", "m", "2"), ("3.jpg", "4", "m", "")]
    table = write_faces(tmp_path / "photos", rows, "path,age,gender,fold\n")
    for row in rows:
        answer_for(tmp_path / "data", row[0], [make_face()])
    path = get_faces_clean(table, data_dir=tmp_path / "data")
    assert load(path)["fold"].tolist() == [0, 2, -1]
    assert meta_data(path.with_name("meta-data.json"))["table"]["folds"] == [1, 0, 1]


def test_all_problems_are_listed_and_the_causes_told(
    tmp_path: Path, server: StandInServer, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write_faces(tmp_path / "photos")
    extract_from(table, tmp_path / "data", server)
    line = f"{table}: 1 rows: age is no number and no range, such as 'old'; line 4\n"
    assert capsys.readouterr().out.startswith(line)
    with (tmp_path / "data" / "faces" / "table-problems.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["line", "cause"],
            ["4", "age is no number and no range"],
        ]


def test_a_column_named_like_ours_does_not_replace_it(tmp_path: Path) -> None:
    rows = [("1.jpg", "3", "f", "mine", "0.1")]
    table = write_faces(tmp_path / "photos", rows, "path,age,gender,embedding,det_score\n")
    answer_for(tmp_path / "data", "1.jpg", [make_face()])
    (face,) = load(get_faces_clean(table, data_dir=tmp_path / "data"))
    assert face["embedding"].shape == (512,)
    assert (face["embedding_of_table"], face["det_score_of_table"]) == ("mine", "0.1")


def test_a_link_is_followed_and_a_broken_one_fails_alone(
    tmp_path: Path, server: StandInServer
) -> None:
    rows = [("1.jpg", "3", "f"), ("gone1.jpg", "3", "f"), ("gone2.jpg", "3", "f")]
    table = write_faces(tmp_path / "photos", rows, "path,age,gender\n")
    (table.parent / "gone1.jpg").symlink_to("1.jpg")
    (table.parent / "gone2.jpg").symlink_to("nowhere")
    counts = extract_from(table, tmp_path / "data", server)
    assert (counts.num_now, counts.failed) == (2, [("gone2.jpg", "no such file")])


def test_a_damaged_note_of_the_owner_is_refused(tmp_path: Path) -> None:
    table = write_faces(tmp_path / "photos")
    (tmp_path / "data" / "faces").mkdir(parents=True)
    (tmp_path / "data" / "faces" / "table.json").write_text(json.dumps(["a"]))
    with pytest.raises(DataError, match="is of the images in None"):
        get_faces_clean(table, data_dir=tmp_path / "data")


def test_many_columns_of_long_and_like_names_are_all_kept(tmp_path: Path) -> None:
    names = [50 * "\u4e16" + str(number) for number in range(61)]
    rows = [("1.jpg", "3", "f", *map(str, range(61)))]
    table = write_faces(tmp_path / "photos", rows, f"path,age,gender,{','.join(names)}\n")
    answer_for(tmp_path / "data", "1.jpg", [make_face()])
    (face,) = load(get_faces_clean(table, data_dir=tmp_path / "data"))
    assert [face[number] for number in range(7, 68)] == [str(number) for number in range(61)]
