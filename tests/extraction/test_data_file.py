import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from stored import load, meta_data, vector

from extraction.cleaning_rules import CleaningCounts, KeptFace, RemovalCause
from extraction.data_file import DataFiles, row_dtype, write_data_file, write_rows
from extraction.image_labels import ImageLabels
from utils.errors import DataError

MADE_WITH = {"det_score": 0.9, "resize": 640}
FACE = KeptFace(vector(), 0.95)


def make_images(num_images: int) -> list[ImageLabels]:
    return [
        ImageLabels(f"{number}.jpg", f"p{number % 3}", 28.5, "fm"[number % 2], number % 5)
        for number in range(num_images)
    ]


def written_at_once(images: Sequence[ImageLabels], embedding: NDArray[np.float32]) -> bytes:
    """Write the same array as numpy does."""
    array = np.zeros(len(images), row_dtype(images))
    array["embedding"], array["det_score"] = embedding, 0.5
    for name in ("image_path", "subject", "age", "gender", "fold"):
        array[name] = [getattr(image, name) for image in images]
    stream = BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.mark.parametrize("num_rows", [0, 1, 300])
def test_rows_that_come_one_by_one_make_the_file_that_numpy_makes(num_rows: int) -> None:
    images = make_images(num_rows)
    embedding = np.random.default_rng(0).random((num_rows, 512), np.float32)
    stream = BytesIO()
    faces = [KeptFace(row, 0.5) for row in embedding]
    write_rows(stream, row_dtype(images), zip(images, faces, strict=True))
    assert stream.getvalue() == written_at_once(images, embedding)


def test_texts_are_as_wide_as_those_of_the_labelled_images() -> None:
    images = [
        ImageLabels("a.jpg", "é" * 3, 1, "f"),
        ImageLabels("a" * 99, "b" * 99, None, "f"),
        ImageLabels("a" * 99, "b" * 99, 1, None),
    ]
    dtype = row_dtype(images)
    assert (dtype["image_path"], dtype["subject"]) == (np.dtype("<U5"), np.dtype("<U3"))
    assert row_dtype([])["image_path"] == np.dtype("<U1")


def test_array_and_counts_are_written(tmp_path: Path) -> None:
    images, files = make_images(6), DataFiles(tmp_path, "raw")
    outcomes: list[KeptFace | RemovalCause] = [
        FACE,
        RemovalCause.BAD_QUALITY,
        FACE,
        FACE,
        RemovalCause.NO_EMBEDDINGS,
        FACE,
    ]
    counts = write_data_file(files, images, outcomes, MADE_WITH)
    assert load(tmp_path / "data-raw.npy")["image_path"].tolist() == [
        *("0.jpg", "2.jpg", "3.jpg", "5.jpg")
    ]
    content = meta_data(tmp_path / "meta-data-raw.json")
    assert content["num_images"] == counts.num_kept == 4
    assert (content["genders"], content["folds"]) == ({"f": 2, "m": 2}, [2, 1, 1, 1, 1])
    assert (content["det_score"], "extractor" in content) == (0.9, False)


@pytest.mark.parametrize("num_outcomes", [2, 4])
def test_an_image_that_is_counted_twice_or_not_at_all_is_an_error(
    tmp_path: Path, num_outcomes: int
) -> None:
    with pytest.raises(ValueError, match="zip"):
        write_data_file(DataFiles(tmp_path), make_images(3), [FACE] * num_outcomes, MADE_WITH)
    assert list(tmp_path.iterdir()) == []


def test_sums_that_do_not_add_up_are_an_error() -> None:
    counts = CleaningCounts(is_adience=True)
    for image in make_images(3):
        counts.add(image, FACE)
    assert counts.as_json(3)["num_images"] == 3
    with pytest.raises(ValueError, match="3 images were counted, the data set has 4"):
        counts.as_json(4)


@pytest.mark.parametrize(
    ("image", "outcome", "message"),
    [
        (
            ImageLabels("a.jpg", "", 1, "f"),
            RemovalCause.SEVERAL_FACES,
            "more_than_one_face is no cause here",
        ),
        (ImageLabels("a.jpg", "", None, "f"), FACE, "kept without an age"),
        (ImageLabels("a.jpg", "", 1, None), FACE, "kept without an age or a gender"),
    ],
)
def test_an_impossible_outcome_is_an_error(
    image: ImageLabels, outcome: KeptFace | RemovalCause, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        CleaningCounts(is_adience=True).add(image, outcome)


def test_nothing_is_written_when_no_image_is_left(tmp_path: Path) -> None:
    outcomes = [RemovalCause.BAD_QUALITY] * 3
    with pytest.raises(DataError, match=r"no image is left: bad_quality 3; .* take det_score=0.7"):
        write_data_file(DataFiles(tmp_path), make_images(3), outcomes, MADE_WITH)
    assert list(tmp_path.iterdir()) == []


def test_old_counts_never_stand_beside_a_new_array(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = DataFiles(tmp_path)
    write_data_file(files, make_images(3), [FACE] * 3, MADE_WITH)

    def fail_for_counts(source: Path, target: Path) -> None:
        if Path(target) == files.meta_data:
            raise OSError(5, "Input/output error")
        source.rename(target)

    monkeypatch.setattr(Path, "replace", fail_for_counts)
    with pytest.raises(DataError, match="Input/output error"):
        write_data_file(files, make_images(2), [FACE] * 2, MADE_WITH)
    assert [path.name for path in tmp_path.iterdir()] == ["data.npy"]
    assert len(load(files.data)) == 2


def test_the_old_counts_come_back_when_the_old_array_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = DataFiles(tmp_path)
    write_data_file(files, make_images(3), [FACE] * 3, MADE_WITH)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail_for_data(source: Path, target: Path) -> None:
        if Path(target) == files.data:
            raise OSError(5, "Input/output error")
        source.rename(target)

    monkeypatch.setattr(Path, "replace", fail_for_data)
    with pytest.raises(DataError, match="Input/output error"):
        write_data_file(files, make_images(2), [FACE] * 2, MADE_WITH)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_counts_are_plain_json_with_whole_and_half_ages(tmp_path: Path) -> None:
    images = [ImageLabels(f"{age}.jpg", "", age, "f", 0) for age in (17.5, 28.5, 1.0, 80.0)]
    write_data_file(DataFiles(tmp_path), images, [FACE] * 4, MADE_WITH)
    content = json.loads((tmp_path / "meta-data.json").read_text())
    assert list(content["ages"].items()) == [("1", 1), ("17.5", 1), ("28.5", 1), ("80", 1)]
