import csv
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from stored import load, make_face, store

from extraction.table import read_table
from utils.errors import DataError, PathError
from utils.scripts import get_faces_clean, make_table

UTKFACE_NAMES = (
    "part1/1_0_0_20161219140623097.jpg.chip.jpg",
    "part1/116_1_4_20170120134921760.jpg.chip.jpg",
    "part1/39_1_20170116174525125.jpg.chip.jpg",
    "part1/53__0_20170116184028385.jpg",
    "part2/61_3_1_20170109150557335.jpg.chip.jpg",
    "part2/55_0_0_20170116232725357jpg.chip.jpg",
    "part2/44_1_4_20170116235150272.pg.chip.jpg",
    "part2/24_0_1_20170116220224657 .jpg",
    "part2/holiday.jpg",
    "readme.txt",
)


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def listed(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_utkface_is_read_from_its_file_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_table("UTKFace", touch(tmp_path, *UTKFACE_NAMES))
    assert path == tmp_path / "utkface.csv"
    rows = [(row["path"][6:9], row["age"], row["gender"], row["race"]) for row in listed(path)]
    assert rows == [
        ("116", "116", "f", "Others"),
        ("1_0", "1", "m", "White"),
        ("39_", "39", "", ""),
        ("53_", "53", "", "White"),
        ("24_", "24", "m", "Black"),
        ("44_", "44", "f", "Others"),
        ("55_", "55", "m", "White"),
        ("61_", "61", "", "Black"),
    ]
    problems = listed(tmp_path / "utkface-problems.csv")
    assert {(Path(row["where"]).name[:5], row["cause"][:19]) for row in problems} == {
        ("39_1_", "gender or race is m"),
        ("53__0", "gender is neither 0"),
        ("61_3_", "gender is neither 0"),
        ("holid", "name is not [age]_["),
    }
    out = capsys.readouterr().out
    assert "1 of another form: name is not [age]_[gender]_[race]_[date].jpg: 'holiday.jpg'" in out
    assert "utkface does not tell who is shown" in out
    found = read_table(path)
    assert (found.problems, len(found.images)) == ([], 8)


def test_agedb_and_cacd_tell_the_subject(tmp_path: Path) -> None:
    agedb = touch(
        tmp_path / "AgeDB",
        "0_MariaCallas_35_f.jpg",
        "10000_GlennClose_62_F.jpg",
        "id/7_Jean_Paul_40_m.jpg",
        "agedb_30_pairs.txt",
        "5_Nobody_x_m.jpg",
    )
    images = read_table(make_table("agedb", agedb)).images
    assert [(one.image_path[:4], one.subject, one.age, one.gender) for one in images] == [
        ("0_Ma", "MariaCallas", 35, "f"),
        ("1000", "GlennClose", 62, "f"),
        ("id/7", "Jean_Paul", 40, "m"),
    ]
    cacd = touch(tmp_path / "CACD", "53_Robin_Williams_0001.jpg", "18_Zo\u00eb_Kravitz_0017.jpg")
    images = read_table(make_table("cacd", cacd)).images
    assert [(one.subject, one.age, one.gender) for one in images] == [
        ("Zo\u00eb_Kravitz", 18, None),
        ("Robin_Williams", 53, None),
    ]


def write_fairface(folder: Path, images: str) -> Path:
    header = "file,age,gender,race,service_test\n"
    train = "train/1.jpg,50-59,Male,East Asian,True\ntrain/2.jpg,3-9,Female,Latino_Hispanic,False\n"
    touch(folder, "fairface_label_train.csv", f"{images}train/2.jpg", f"{images}val/1.jpg")
    (folder / "fairface_label_train.csv").write_text(header + train)
    (folder / "fairface_label_val.csv").write_text(header + "val/1.jpg,more than 70,Male,White,1\n")
    return folder


@pytest.mark.parametrize("images", ["", "fairface-img-margin025-trainval/"])
def test_fairface_is_read_from_both_label_files(tmp_path: Path, images: str) -> None:
    found = read_table(make_table("fairface", write_fairface(tmp_path, images)))
    assert found.kept_columns == ("race", "service_test", "split")
    rows = [(one.image_path, one.age, one.gender, one.kept) for one in found.images]
    assert rows == [
        (f"{images}train/1.jpg", 54.5, "m", ("East Asian", "True", "train")),
        (f"{images}train/2.jpg", 6, "f", ("Latino_Hispanic", "False", "train")),
        (f"{images}val/1.jpg", 74.5, "m", ("White", "1", "val")),
    ]
    assert found.problems == []


LAGENDA = (
    "img_name,age,gender,face_x0,face_y0,face_x1,face_y1,person_x0,person_y0,person_x1,person_y1\n"
    "lag_benchmark/a.jpg,30,M,0,0,100,100,0,0,100,100\n"
    "lag_benchmark/a.jpg,28.4,F,100,0,200,100,-1,-1,-1,-1\n"
    "lag_benchmark/a.jpg,-1,-1,3,3,4,4,60,10,90,90\n"
    "lag_benchmark/a.jpg,20,F,-1,-1,-1,-1,1,1,9,9\n"
    "lag_benchmark/b.jpg,40,-1,5,5,50,50,1,1,99,99\n"
)


def write_lagenda(folder: Path) -> Path:
    (folder / "images" / "lag_benchmark").mkdir(parents=True)
    Image.new("RGB", (200, 100)).save(folder / "images" / "lag_benchmark" / "a.jpg")
    (folder / "lagenda_annotation.csv").write_text(LAGENDA)
    return folder


def test_lagenda_gives_a_row_for_each_labelled_face(tmp_path: Path) -> None:
    found = read_table(make_table("lagenda", write_lagenda(tmp_path)))
    assert [(one.image_path[21:], one.age, one.gender, one.box) for one in found.images] == [
        ("a.jpg", 30, "m", (0, 0, 100, 100)),
        ("a.jpg", pytest.approx(28.4), "f", (100, 0, 200, 100)),
        ("b.jpg", 40, None, (5, 5, 50, 50)),
    ]
    assert [tuple(row.values()) for row in listed(tmp_path / "lagenda-problems.csv")] == [
        ("lagenda_annotation.csv, line 4", "nobody said an age or a gender of this person"),
        ("lagenda_annotation.csv, line 5", "no face is marked of this person"),
    ]


def test_a_made_table_is_cleaned_as_any_other(tmp_path: Path) -> None:
    table = make_table("lagenda", write_lagenda(tmp_path / "set"), tmp_path / "mine.csv")
    image = "set/images/lag_benchmark/a.jpg"
    answers = [make_face(centre=(480, 320), seed=2), make_face(centre=(160, 320), seed=1)]
    store(tmp_path / "data" / "mine" / "answers" / "inside" / image, answers)
    faces = load(get_faces_clean(table, data_dir=tmp_path / "data"))
    assert faces["age"].tolist() == [np.float32(30), np.float32(28.4)]
    expected = [make_face(seed=seed)["normed_embedding"] for seed in (1, 2)]
    np.testing.assert_array_equal(faces["embedding"], expected)


def test_a_table_elsewhere_names_images_absolutely(tmp_path: Path) -> None:
    folder = touch(tmp_path / "AgeDB", "0_MariaCallas_35_f.jpg")
    path = make_table("agedb", folder, tmp_path / "tables" / "agedb.csv")
    assert [row["path"] for row in listed(path)] == [str(folder / "0_MariaCallas_35_f.jpg")]


def test_a_file_name_that_is_not_utf_8_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = touch(tmp_path / "CACD", "53_Robin_Williams_0001.jpg")
    try:
        Path(os.fsdecode(os.fsencode(folder) + b"/18_Zo\xeb_Kravitz_0017.jpg")).touch()
    except OSError:
        pytest.skip("this file system has UTF-8 names only")
    assert len(listed(make_table("cacd", folder))) == 1
    assert "1 of another form: file name is not UTF-8; rename it" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("layout", "error", "message"),
    [
        ("utk", DataError, "unknown layout 'utk', did you mean utkface"),
        ("x", DataError, "known are agedb, cacd, fairface, lagenda, utkface"),
        ("utkface", DataError, "holds no images named .*utkface.csv is not written"),
        ("fairface", DataError, "holds no fairface_label_train.csv or fairface_label_val.csv"),
        ("lagenda", DataError, "lagenda_annotation.csv: no such file"),
    ],
)
def test_what_is_no_such_data_set_is_refused(
    tmp_path: Path, layout: str, error: Any, message: str
) -> None:
    with pytest.raises(error, match=message):
        make_table(layout, tmp_path)
    assert not (tmp_path / f"{layout}.csv").exists()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder; expected images named"):
        make_table("cacd", tmp_path / "nowhere")
    with pytest.raises(PathError, match="out_path is empty"):
        make_table("cacd", tmp_path, "")


def test_label_files_of_another_form_are_refused(tmp_path: Path) -> None:
    folder = write_fairface(tmp_path, "")
    (folder / "fairface_label_val.csv").write_text("file,age\nval/1.jpg,3-9\n")
    with pytest.raises(DataError, match=r"val\.csv has no column 'gender', expected file, age"):
        make_table("fairface", folder)
    (folder / "fairface_label_val.csv").unlink()
    (folder / "train" / "2.jpg").unlink()
    with pytest.raises(DataError, match=r"none of the first 2 images .* such as train/1\.jpg"):
        make_table("fairface", folder)
    assert not (folder / "fairface.csv").exists()
