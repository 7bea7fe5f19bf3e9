import csv
import fcntl
import os
from collections import Counter
from collections.abc import Callable
from io import BytesIO
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from failing_disks import full_disk
from helpers import start_script
from PIL import Image
from stored import (
    AS_IT_WAS,
    RESIZED,
    Label,
    Opens,
    adience_path,
    cells,
    load,
    make_face,
    meta_data,
    serial,
    store,
    vector,
    write_adience,
    write_folds,
    write_wiki,
)

from data_loader.checksum import crc32_of
from data_loader.faces import read_faces
from extraction.adience import read_labels
from faces.pictures import read_file
from sample.grid_faces import find_faces
from sample.make import make_sample_data
from utils.errors import ConfigError, DataError
from utils.files import atomic_write, write_json
from utils.locks import this_boot
from utils.scripts import get_Adience_clean, get_imdb_wiki_clean

MAN = ("(25, 32)", "m")
FOLD_SIZES = (4484, 3730, 3894, 3446, 3816)
NUM_OF_CLASSES = (1400, 2157, 2285, 1790, 5240, 2783, 931, 866)
CENTRES = (1.0, 5.0, 10.0, 17.5, 28.5, 40.5, 50.5, 80.0)
FORMS = (
    ("(0, 2)", "2"),
    ("(4, 6)", "3"),
    ("(8, 12)", "13"),
    ("(15, 20)", "22", "(8, 23)"),
    ("(25, 32)", "(27, 32)", "(25, 23)", "23", "29", "34"),
    ("(38, 43)", "(38, 42)", "(38, 48)", "35", "36", "42", "45"),
    ("(48, 53)", "46", "55", "57", "58"),
    ("(60, 100)",),
)
"""How the published files write the ages of each class."""


def published_labels() -> list[Label]:
    """Make the labels of 19,370 images with the published totals, in a random order."""
    labels: list[Label] = []
    known = iter(["f"] * 9316 + ["m"] * 8136)
    for forms, count in zip(FORMS, NUM_OF_CLASSES, strict=True):
        labels += zip(islice(cycle(forms), count), known, strict=False)
    labels += islice(cycle([("None", "f"), ("", "m"), ("None", "u"), ("", "")]), 748)
    labels += islice(cycle([("(0, 2)", "u"), ("35", ""), ("(8, 23)", "u")]), 1170)
    order = np.random.default_rng(0).permutation(len(labels))
    return [labels[number] for number in order]


def write_published(folder: Path) -> Path:
    """Write fold files with the published totals; some rows are there twice, in any order."""
    labels, rng = published_labels(), np.random.default_rng(1)
    folds, start = [], 0
    for fold, size in enumerate(FOLD_SIZES):
        rows = [
            (f"{fold}{row % 400}@N01", f"{row}.jpg", str(row % 7), *labels[start + row])
            for row in range(size)
        ]
        repeated = [rows[row] for row in rng.choice(size, 50)]
        folds.append([*rows, *repeated])
        start += size
    return write_folds(folder, *folds)


def test_the_published_labels_give_the_published_counts(tmp_path: Path) -> None:
    records = read_labels(write_published(tmp_path))
    folds = Counter(record.fold for record in records)
    assert [folds[fold] for fold in range(5)] == list(FOLD_SIZES)
    with_age = [record for record in records if record.age is not None]
    assert (len(records), len(records) - len(with_age)) == (19_370, 748)
    labelled = [record for record in with_age if record.gender is not None]
    assert len(with_age) - len(labelled) == 1170
    ages = Counter(record.age for record in labelled)
    assert [ages[centre] for centre in CENTRES] == list(NUM_OF_CLASSES)
    assert Counter(record.gender for record in labelled) == {"f": 9316, "m": 8136}


def test_the_published_labels_are_counted_to_the_last_image(tmp_path: Path) -> None:
    folder = write_published(tmp_path / "Adience")
    labelled = [record for record in read_labels(folder) if record.age and record.gender]
    for record in labelled[::100]:
        store(folder / record.image_path, [make_face()])
    get_Adience_clean("aligned", data_dir=tmp_path)
    counts = meta_data(folder / "meta-data-aligned.json")
    assert (counts["total_num_images"], counts["folds"]) == (19_370, list(FOLD_SIZES))
    assert counts["removed"]["no_age_found"] == 748
    assert counts["removed"]["no_gender_found"] == 1170
    assert counts["num_images"] == len(labelled[::100])
    assert counts["num_images"] + sum(counts["removed"].values()) == 19_370
    first = read_labels(folder)[0]
    assert first.subject in first.image_path


ADIENCE_CASES: dict[str, tuple[Label, object, str]] = {
    "kept.jpg": (MAN, [make_face()], "kept"),
    "just.jpg": (MAN, [make_face(0.9)], "kept"),
    "two.jpg": (MAN, [make_face(0.5, (0, 0)), make_face(0.95)], "kept"),
    "no_age.jpg": (("None", "u"), "nothing", "no_age_found"),
    "no_age_but_corrupt.jpg": (("", "m"), b"corrupt", "no_age_found"),
    "no_gender.jpg": (("35", "u"), "nothing", "no_gender_found"),
    "no_gender_but_no_face.jpg": (("35", ""), [], "no_gender_found"),
    "missing.jpg": (MAN, "nothing", "failed_to_process_image"),
    "corrupt.jpg": (MAN, b"corrupt", "failed_to_process_image"),
    "null.jpg": (MAN, None, "no_embeddings"),
    "no_face.jpg": (MAN, [], "no_face_detected"),
    "poor.jpg": (MAN, [make_face(0.8999)], "bad_quality"),
    "poor_middle.jpg": (MAN, [make_face(0.99, (0, 0)), make_face(0.5)], "bad_quality"),
}


def store_case(image_path: Path, answer: object) -> None:
    if isinstance(answer, bytes):
        Path(f"{image_path}{RESIZED}").write_bytes(answer)
    elif answer != "nothing":
        store(image_path, answer)


def test_each_image_falls_to_the_first_cause(tmp_path: Path) -> None:
    folder = write_adience(tmp_path, {name: label for name, (label, _, _) in ADIENCE_CASES.items()})
    (folder / "aligned/7@N01").mkdir(parents=True)
    for name, (_, answer, _) in ADIENCE_CASES.items():
        store_case(folder / adience_path(name), answer)
    path = get_Adience_clean("aligned", data_dir=tmp_path)
    expected = Counter(outcome for _, _, outcome in ADIENCE_CASES.values())
    kept = [name for name, (_, _, outcome) in ADIENCE_CASES.items() if outcome == "kept"]
    counts = meta_data(folder / "meta-data-aligned.json")
    assert counts == {
        "total_num_images": len(ADIENCE_CASES),
        "removed": {cause: count for cause, count in expected.items() if cause != "kept"},
        "num_images": 3,
        "genders": {"f": 0, "m": 3},
        "ages": {"28.5": 3},
        "folds": [len(ADIENCE_CASES), 0, 0, 0, 0],
        "det_score": 0.9,
        "resize": 640,
        "crc32": crc32_of(path),
    }
    assert path == folder / "data-aligned.npy"
    array = load(path)
    assert array["image_path"].tolist() == [adience_path(name) for name in kept]
    assert array["det_score"].tolist() == pytest.approx([0.95, 0.9, 0.95])
    assert set(array["subject"]) == {"7@N01"}
    assert set(array["fold"]) == {0}


def test_the_causes_are_listed_in_their_order(tmp_path: Path) -> None:
    store(write_wiki(tmp_path, ["01/a.jpg"]) / "01/a.jpg", [make_face()])
    get_imdb_wiki_clean("wiki", data_dir=tmp_path)
    counts = meta_data(tmp_path / "wiki_crop/meta-data.json")
    assert list(counts["removed"]) == [
        *("no_age_found", "no_gender_found", "failed_to_process_image", "no_embeddings"),
        *("no_face_detected", "more_than_one_face", "bad_quality"),
    ]
    assert "folds" not in counts


def test_wiki_and_imdb_take_images_with_one_face_only(tmp_path: Path) -> None:
    paths = [f"0{number}/a.jpg" for number in range(6)]
    dob = np.full((1, 6), serial(1980, 1, 1), np.float64)
    dob[0, 4], dob[0, 5] = 47, np.nan
    folder = write_wiki(tmp_path, paths, dob=dob, gender=np.array([[0, 1, 1, np.nan, 0, 0]]))
    for number, path in enumerate(paths):
        store(folder / path, [make_face(seed=number)])
    store(folder / paths[1], [make_face(), make_face(0.1, (0, 0))])
    store(folder / paths[2], [make_face(0.5)])
    array = load(get_imdb_wiki_clean("wiki", data_dir=tmp_path))
    counts = meta_data(folder / "meta-data.json")
    assert {cause: count for cause, count in counts["removed"].items() if count} == {
        "no_age_found": 2,
        "no_gender_found": 1,
        "more_than_one_face": 1,
        "bad_quality": 1,
    }
    (row,) = array
    assert (row["image_path"], row["subject"], row["gender"]) == ("00/a.jpg", "Ann", "f")
    assert (row["age"], row["fold"]) == (20, -1)
    assert np.array_equal(row["embedding"], vector(0))


def test_raw_images_of_adience_have_files_of_their_own(tmp_path: Path) -> None:
    folder = write_adience(tmp_path, {"a.jpg": MAN})
    store(folder / "faces/7@N01/coarse_tilt_aligned_face.1.a.jpg", [make_face()])
    assert get_Adience_clean("raw", data_dir=tmp_path) == folder / "data-raw.npy"
    assert meta_data(folder / "meta-data-raw.json")["num_images"] == 1
    assert [path.name for path in folder.glob("*.png")] == ["ages-raw.png"]


@pytest.mark.parametrize("resize", [0, None])
def test_images_sent_as_they_were_are_opened_only_for_several_faces(
    tmp_path: Path, resize: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_adience(tmp_path, {"one.jpg": MAN, "two.jpg": MAN, "gone.jpg": MAN})
    one, two, gone = (folder / adience_path(name) for name in ("one.jpg", "two.jpg", "gone.jpg"))
    store(one, [make_face()], AS_IT_WAS)
    for path in (two, gone):
        store(path, [make_face(0.9, (320, 320)), make_face(0.99, (800, 90))], AS_IT_WAS)
    Image.new("RGB", (1600, 200)).save(two)
    opened: list[Path] = []

    def noted(path: Path) -> bytes:
        opened.append(path)
        return read_file(path)

    monkeypatch.setattr("extraction.stored_answers.read_file", noted)
    array = load(get_Adience_clean("aligned", resize=resize, data_dir=tmp_path))
    assert array["det_score"].tolist() == pytest.approx([0.95, 0.99])
    assert opened == [two, gone]
    counts = meta_data(folder / "meta-data-aligned.json")
    assert (counts["removed"]["failed_to_process_image"], counts["resize"]) == (1, 0)
    assert "gone.jpg" in (folder / "corrupt-aligned.csv").read_text()


def answers_of(image_path: Path) -> list[dict[str, Any]] | None:
    """Do what the extraction and the stand-in face server do with a picture of the sample."""
    try:
        with Image.open(image_path) as picture:
            original = picture.convert("RGB")
    except OSError:
        return None
    side = max(original.size)
    canvas, stream = Image.new("RGB", (side, side)), BytesIO()
    canvas.paste(original, ((side - original.width) // 2, (side - original.height) // 2))
    canvas.resize((640, 640), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=75)
    return [face | {"det_score": face["det_score"][()]} for face in find_faces(Image.open(stream))]


def test_the_sample_cleans_to_what_its_maker_wrote(tmp_path: Path) -> None:
    sample = make_sample_data(tmp_path / "sample", num_adience=150, num_imdb=60, num_wiki=1)
    for name, data, counts in (
        ("Adience", "data-aligned.npy", "meta-data-aligned.json"),
        ("imdb_crop", "data.npy", "meta-data.json"),
    ):
        expected, expected_counts = load(sample / name / data), meta_data(sample / name / counts)
        for path in list((sample / name).rglob("*.jpg")):
            answer = answers_of(path)
            if answer is not None:
                store(path, answer)
        if name == "Adience":
            get_Adience_clean("aligned", data_dir=sample)
        else:
            get_imdb_wiki_clean("imdb", data_dir=sample)
        array = load(sample / name / data)
        for field in ("image_path", "subject", "age", "gender", "fold"):
            assert array[field].tolist() == expected[field].tolist()
        cosine = np.einsum("nd,nd->n", array["embedding"], expected["embedding"])
        assert cosine.min() > 0.98
        expected_counts |= {"crc32": crc32_of(sample / name / data)}
        del expected_counts["extractor"]
        assert meta_data(sample / name / counts) == expected_counts


def wiki_with(tmp_path: Path, num_images: int = 3) -> Path:
    """Make a wiki folder whose first image is good."""
    folder = write_wiki(tmp_path, [f"01/{number}.jpg" for number in range(num_images)])
    store(folder / "01/0.jpg", [make_face()])
    return folder


def test_the_result_can_be_trained_on(tmp_path: Path) -> None:
    wiki_with(tmp_path)
    get_imdb_wiki_clean("wiki", data_dir=tmp_path)
    faces = read_faces(tmp_path, "wiki")
    assert (len(faces), faces.age.tolist(), faces.gender.tolist()) == (1, [20], ["m"])


def test_corrupt_files_are_listed_and_removed_on_request(
    tmp_path: Path, program_log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("utils.scripts.log_to_console", lambda: None)
    folder, made = wiki_with(tmp_path, 4), tmp_path / "made"
    corrupt = store(folder / "01/1.jpg", {"code": Opens(made)})
    is_folder = folder / "01/2.jpg.RESIZED.pkl"
    is_folder.mkdir()
    for remove in (False, True):
        get_imdb_wiki_clean("wiki", data_dir=tmp_path, remove_corrupt=remove)
        with (folder / "corrupt.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert [row["path"] for row in rows] == [str(corrupt), str(is_folder)]
        assert "not on the list of names" in rows[0]["reason"]
        assert meta_data(folder / "meta-data.json")["removed"]["failed_to_process_image"] == 3
        assert corrupt.exists() != remove
    assert is_folder.exists()
    assert not made.exists()
    assert f"{corrupt} names 'posix.mkdir'" in program_log.text
    assert "1 corrupt files were deleted" in program_log.text
    assert "1 images have no file of embeddings, not counting those without" in program_log.text
    is_folder.rmdir()
    get_imdb_wiki_clean("wiki", data_dir=tmp_path)
    assert not (folder / "corrupt.csv").exists()


def test_corrupt_files_are_removed_even_when_no_image_is_left(tmp_path: Path) -> None:
    folder = wiki_with(tmp_path, 1)
    corrupt = store(folder / "01/0.jpg", "corrupt")
    for remove in (False, True):
        with pytest.raises(DataError, match="no image is left: failed_to_process_image 1"):
            clean_wiki(tmp_path, remove_corrupt=remove)
        assert "something else than a list of faces" in (folder / "corrupt.csv").read_text()
        assert corrupt.exists() != remove


def test_the_record_of_the_extraction_goes_into_the_counts(tmp_path: Path) -> None:
    folder = wiki_with(tmp_path)
    record = {"server": "http://127.0.0.1:10002", "model": "é", "resize": 640}
    write_json(record, folder / "extractor.json")
    get_imdb_wiki_clean("wiki", data_dir=tmp_path)
    assert meta_data(folder / "meta-data.json")["extractor"] == record


@pytest.mark.parametrize("record", [{"resize": 640}, {"resize": None, "others": [{"resize": 640}]}])
def test_another_resize_than_that_of_the_extraction_is_refused(
    tmp_path: Path, record: dict[str, Any]
) -> None:
    folder = wiki_with(tmp_path)
    get_imdb_wiki_clean("wiki", resize=320, data_dir=tmp_path)
    write_json(record, folder / "extractor.json")
    get_imdb_wiki_clean("wiki", data_dir=tmp_path)
    with pytest.raises(DataError, match="extracted with resize=640: clean with resize=640"):
        get_imdb_wiki_clean("wiki", resize=320, data_dir=tmp_path)


def test_answers_for_images_sent_as_they_were_do_not_stand_for_resized_ones(
    tmp_path: Path,
) -> None:
    folder = wiki_with(tmp_path)
    store(folder / "01/1.jpg", [make_face()], AS_IT_WAS)
    record = {"resize": 640, "others": [{"resize": None}]}
    write_json(record, folder / "extractor.json")
    assert len(load(get_imdb_wiki_clean("wiki", data_dir=tmp_path))) == 1
    (folder / "01/0.jpg.RESIZED.pkl").unlink()
    with pytest.raises(DataError, match=r"sent as they are only.*clean with resize=0"):
        get_imdb_wiki_clean("wiki", data_dir=tmp_path)


def test_the_record_of_resized_images_is_not_that_of_the_original_files(tmp_path: Path) -> None:
    folder = wiki_with(tmp_path)
    store(folder / "01/0.jpg", [make_face()], AS_IT_WAS)
    write_json({"resize": 640}, folder / "extractor.json")
    get_imdb_wiki_clean("wiki", resize=0, data_dir=tmp_path)
    assert "extractor" not in meta_data(folder / "meta-data.json")


def test_answers_under_the_name_of_the_original_project_are_told(
    tmp_path: Path, program_log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("utils.scripts.log_to_console", lambda: None)
    folder = wiki_with(tmp_path)
    get_imdb_wiki_clean("wiki", data_dir=tmp_path)
    assert "as the original project writes it" not in program_log.text
    store(folder / "01/1.jpg", [make_face()], AS_IT_WAS)
    assert len(load(get_imdb_wiki_clean("wiki", data_dir=tmp_path))) == 2
    assert "1 images have no .RESIZED.pkl file" in program_log.text


def test_two_cleanings_at_once_are_refused(tmp_path: Path) -> None:
    folder = wiki_with(tmp_path)
    with (folder / "wiki.mat").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(DataError, match="another cleaning is at work there"):
            get_imdb_wiki_clean("wiki", data_dir=tmp_path)
    get_imdb_wiki_clean("wiki", data_dir=tmp_path)


def test_a_cleaning_deletes_what_killed_ones_left(tmp_path: Path) -> None:
    folder = wiki_with(tmp_path)
    names = ("data.npy", "meta-data.json", "corrupt.csv", "ages.png")
    left = [folder / f".{name}.{this_boot()}{'0f' * 12}.tmp" for name in names]
    for path in left:
        path.touch()
    with atomic_write(folder / "other.npy") as file:
        file.write(b"of somebody at work")
        get_imdb_wiki_clean("wiki", data_dir=tmp_path)
    assert [path.exists() for path in left] == [False] * 4
    assert (folder / "other.npy").read_bytes() == b"of somebody at work"


def test_a_command_to_extract_names_the_data_folder_unless_it_is_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_wiki(tmp_path / "data", ["01/a.jpg"])
    (folder / "01").mkdir()
    (folder / "01/a.jpg").touch()
    monkeypatch.chdir(tmp_path)
    for data_dir, end in (("data", '640)"'), ("./data", '640)"'), (tmp_path / "data", "/data')")):
        with pytest.raises(DataError, match="no embeddings yet") as caught:
            get_imdb_wiki_clean("wiki", data_dir=data_dir)
        assert end in str(caught.value)


@pytest.mark.parametrize(("resize", "server"), [(640, "a"), (0, "b"), (None, "b")])
def test_of_two_extractions_the_record_of_the_right_one_is_taken(
    tmp_path: Path, resize: int | None, server: str
) -> None:
    folder = wiki_with(tmp_path)
    store(folder / "01/0.jpg", [make_face()], AS_IT_WAS)
    other = {"server": "b", "resize": None}
    write_json({"server": "a", "resize": 640, "others": [other]}, folder / "extractor.json")
    get_imdb_wiki_clean("wiki", resize=resize, data_dir=tmp_path)
    extractor = meta_data(folder / "meta-data.json")["extractor"]
    assert (extractor["server"], "others" in extractor) == (server, False)


@pytest.mark.parametrize(
    ("content", "error"), [("[]", DataError), ("{", ConfigError), ('"a"', DataError)]
)
def test_a_foreign_record_of_the_extraction_is_refused(
    tmp_path: Path, content: str, error: type[Exception]
) -> None:
    (wiki_with(tmp_path) / "extractor.json").write_text(content)
    with pytest.raises(error, match=r"extractor\.json"):
        get_imdb_wiki_clean("wiki", data_dir=tmp_path)


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_full_disk_leaves_the_old_files_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = wiki_with(tmp_path)
    get_imdb_wiki_clean("wiki", data_dir=tmp_path)
    before = files_of(folder)
    assert set(before) == {"wiki.mat", "data.npy", "meta-data.json", "ages.png"}
    store(folder / "01/1.jpg", [make_face()])
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(DataError, match=r"data.npy was not written: No space left on device"):
        get_imdb_wiki_clean("wiki", data_dir=tmp_path)
    assert files_of(folder) == before


def test_an_interruption_leaves_the_old_files_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = wiki_with(tmp_path)
    corrupt = store(folder / "01/1.jpg", "corrupt")
    get_imdb_wiki_clean("wiki", data_dir=tmp_path)
    before = files_of(folder)
    assert "corrupt.csv" in before

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("extraction.cleaning.choose_face", interrupt)
    with pytest.raises(KeyboardInterrupt):
        get_imdb_wiki_clean("wiki", data_dir=tmp_path, remove_corrupt=True)
    assert files_of(folder) == before
    assert corrupt.exists()


def clean_wiki(data_dir: Path, **arguments: Any) -> Path:
    return get_imdb_wiki_clean("wiki", data_dir=data_dir, **arguments)


def clean_adience(data_dir: Path, **arguments: Any) -> Path:
    return get_Adience_clean("aligned", data_dir=data_dir, **arguments)


def resized_only(data_dir: Path) -> None:
    wiki_with(data_dir)
    clean_wiki(data_dir, resize=0)


def no_embeddings(data_dir: Path) -> None:
    folder = write_wiki(data_dir, ["01/a.jpg", "01/b.jpg"])
    (folder / "01").mkdir()
    (folder / "01/b.jpg").write_bytes(b"an image")
    clean_wiki(data_dir)


def no_images(data_dir: Path) -> None:
    write_wiki(data_dir, ["01/a.jpg"])
    clean_wiki(data_dir)


def no_labels(data_dir: Path) -> None:
    write_wiki(data_dir, ["01/a.jpg"], gender=np.array([[np.nan]]))
    clean_wiki(data_dir)


def nothing_good(data_dir: Path) -> None:
    store(write_wiki(data_dir, ["01/a.jpg"]) / "01/a.jpg", [make_face(0.8)])
    clean_wiki(data_dir)


def missing_fold(data_dir: Path) -> None:
    (write_adience(data_dir, {"a.jpg": MAN}) / "fold_3_data.txt").unlink()
    clean_adience(data_dir)


def short_line(data_dir: Path) -> None:
    path = write_adience(data_dir, {"a.jpg": MAN}) / "fold_0_data.txt"
    path.write_text(path.read_text() + "7@N01\tb.jpg\n")
    clean_adience(data_dir)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("resize", "640", "resize: '640', expected a whole number or null"),
        ("resize", -1, "resize: -1, expected 0 or more"),
        ("det_score", 2, "det_score: 2, expected 1 or less"),
        ("det_score", float("nan"), "det_score: nan is not finite, expected a number"),
        ("det_score", True, "det_score: True, expected a number"),
    ],
)
def test_a_bad_argument_is_named(tmp_path: Path, name: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^arguments: {message}$"):
        clean_wiki(tmp_path, **{name: value})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda _: get_imdb_wiki_clean("Wiki"), "dataset is 'Wiki', expected one of imdb, wiki"),
        (lambda _: get_Adience_clean("faces"), "image_type is 'faces', expected one of aligned, r"),
        (clean_wiki, "wiki.mat: no such file"),
        (clean_adience, "fold_0_data.txt: no such file"),
        (missing_fold, "fold_3_data.txt: no such file"),
        (short_line, "fold_0_data.txt, line 3: 2 columns, expected 12"),
        (resized_only, "embeddings of resized images only .*such as resize=640"),
        (
            no_embeddings,
            r"no embeddings yet; .*extract_imdb_wiki_arcface\('wiki', resize=640, data_dir='/",
        ),
        (no_images, "holds none of the images that its label files name, such as 01/a.jpg"),
        (no_labels, "none of the 1 images in the label files has an age and a gender"),
        (nothing_good, "data.npy is not written, no image is left: bad_quality 1"),
    ],
)
def test_bad_input_is_told_in_one_line(
    tmp_path: Path, call: Callable[[Path], object], message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        call(tmp_path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*.npy"))


def test_a_path_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    write_wiki(tmp_path, ["01/a.jpg", "../../secret.jpg"])
    with pytest.raises(DataError, match=r"wiki.mat, entry 2: the image path '../../secret.jpg'"):
        clean_wiki(tmp_path)


def test_an_entry_without_a_path_counts_as_failed(tmp_path: Path) -> None:
    folder = wiki_with(tmp_path)
    write_wiki(tmp_path, ["01/0.jpg", "", ""], name=cells("Ann", "", "Cy"))
    clean_wiki(tmp_path)
    assert meta_data(folder / "meta-data.json")["removed"]["failed_to_process_image"] == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("get_imdb_wiki_clean('wiki', data_dir={!r})", "wiki.mat: no such file; expected the"),
        ("convert_original_data('celebs', {!r})", "dataset is 'celebs', expected one of imdb"),
    ],
)
def test_a_command_ends_with_one_error_line(tmp_path: Path, call: str, message: str) -> None:
    code = f"from utils.scripts import *; {call.format(str(tmp_path))}"
    process = start_script("-c", code)
    out, err = process.communicate()
    assert (process.returncode, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    assert message in line
