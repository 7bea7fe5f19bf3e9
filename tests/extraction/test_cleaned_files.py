import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from stored import load, meta_data, vector

from extraction.cleaned import Face, Record, Removed, Tally
from extraction.cleaned_files import (
    CHUNK_ROWS,
    RowWriter,
    Settings,
    cleaned_paths,
    row_dtype,
    write_cleaned,
)
from utils.errors import DataError

SETTINGS = Settings(is_adience=True, det_score=0.9, resize=640, extractor=None)
FACE = Face(vector(), 0.95)


def make_records(num_records: int) -> list[Record]:
    return [
        Record(f"{number}.jpg", f"p{number % 3}", 28.5, "fm"[number % 2], number % 5)
        for number in range(num_records)
    ]


def written_at_once(records: Sequence[Record], embedding: NDArray[np.float32]) -> bytes:
    """Write the same array as numpy does."""
    array = np.zeros(len(records), row_dtype(records))
    array["embedding"], array["det_score"] = embedding, 0.5
    for name in ("image_path", "subject", "age", "gender", "fold"):
        array[name] = [getattr(record, name) for record in records]
    stream = BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.mark.parametrize("num_rows", [0, 1, CHUNK_ROWS, CHUNK_ROWS + 1, 2 * CHUNK_ROWS + 7])
def test_rows_that_come_one_by_one_make_the_file_that_numpy_makes(num_rows: int) -> None:
    records = make_records(num_rows)
    embedding = np.random.default_rng(0).random((num_rows, 512), np.float32)
    stream = BytesIO()
    writer = RowWriter(stream, row_dtype(records))
    for record, row in zip(records, embedding, strict=True):
        writer.add(record, Face(row, 0.5))
    writer.finish()
    assert stream.getvalue() == written_at_once(records, embedding)


def test_texts_are_as_wide_as_those_of_the_labelled_images() -> None:
    records = [
        Record("a.jpg", "é" * 3, 1, "f"),
        Record("a" * 99, "b" * 99, None, "f"),
        Record("a" * 99, "b" * 99, 1, None),
    ]
    dtype = row_dtype(records)
    assert (dtype["image_path"], dtype["subject"]) == (np.dtype("<U5"), np.dtype("<U3"))
    assert row_dtype([])["image_path"] == np.dtype("<U1")


def test_array_and_counts_are_written(tmp_path: Path) -> None:
    records, paths = make_records(6), cleaned_paths(tmp_path, "raw")
    outcomes: list[Face | Removed] = [
        FACE,
        Removed("bad_quality"),
        FACE,
        FACE,
        Removed("no_embeddings"),
        FACE,
    ]
    tally = write_cleaned(records, outcomes, SETTINGS, paths)
    assert load(tmp_path / "data-raw.npy")["image_path"].tolist() == [
        *("0.jpg", "2.jpg", "3.jpg", "5.jpg")
    ]
    counts = meta_data(tmp_path / "meta-data-raw.json")
    assert counts["num_images"] == tally.num_kept == 4
    assert (counts["genders"], counts["folds"]) == ({"f": 2, "m": 2}, [2, 1, 1, 1, 1])
    assert "extractor" not in counts


@pytest.mark.parametrize("num_outcomes", [2, 4])
def test_an_image_that_is_counted_twice_or_not_at_all_is_an_error(
    tmp_path: Path, num_outcomes: int
) -> None:
    with pytest.raises(ValueError, match="zip"):
        write_cleaned(make_records(3), [FACE] * num_outcomes, SETTINGS, cleaned_paths(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_sums_that_do_not_add_up_are_an_error() -> None:
    tally = Tally(is_adience=True)
    for record in make_records(3):
        tally.add(record, FACE)
    assert tally.counts(3)["num_images"] == 3
    with pytest.raises(ValueError, match="3 images were counted, the data set has 4"):
        tally.counts(4)


@pytest.mark.parametrize(
    ("record", "outcome", "message"),
    [
        (Record("a.jpg", "", 1, "f"), Removed("bad luck"), "'bad luck' is no cause"),
        (Record("a.jpg", "", 1, "f"), Removed("more_than_one_face"), "is no cause here"),
        (Record("a.jpg", "", None, "f"), FACE, "kept without an age"),
        (Record("a.jpg", "", 1, None), FACE, "kept without an age or a gender"),
    ],
)
def test_an_impossible_outcome_is_an_error(
    record: Record, outcome: Face | Removed, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Tally(is_adience=True).add(record, outcome)


def test_nothing_is_written_when_no_image_is_left(tmp_path: Path) -> None:
    outcomes = [Removed("bad_quality")] * 3
    with pytest.raises(DataError, match="no image is left: bad_quality 3"):
        write_cleaned(make_records(3), outcomes, SETTINGS, cleaned_paths(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_old_counts_never_stand_beside_a_new_array(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = cleaned_paths(tmp_path)
    write_cleaned(make_records(3), [FACE] * 3, SETTINGS, paths)

    def fail_for_counts(source: Path, target: Path) -> None:
        if Path(target) == paths.meta_data:
            raise OSError(5, "Input/output error")
        source.rename(target)

    monkeypatch.setattr(Path, "replace", fail_for_counts)
    with pytest.raises(DataError, match="Input/output error"):
        write_cleaned(make_records(2), [FACE] * 2, SETTINGS, paths)
    assert [path.name for path in tmp_path.iterdir()] == ["data.npy"]
    assert len(load(paths.data)) == 2


def test_the_old_counts_come_back_when_the_old_array_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = cleaned_paths(tmp_path)
    write_cleaned(make_records(3), [FACE] * 3, SETTINGS, paths)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail_for_data(source: Path, target: Path) -> None:
        if Path(target) == paths.data:
            raise OSError(5, "Input/output error")
        source.rename(target)

    monkeypatch.setattr(Path, "replace", fail_for_data)
    with pytest.raises(DataError, match="Input/output error"):
        write_cleaned(make_records(2), [FACE] * 2, SETTINGS, paths)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_counts_are_plain_json_with_whole_and_half_ages(tmp_path: Path) -> None:
    records = [Record(f"{age}.jpg", "", age, "f", 0) for age in (17.5, 28.5, 1.0, 80.0)]
    write_cleaned(records, [FACE] * 4, SETTINGS, cleaned_paths(tmp_path))
    content = json.loads((tmp_path / "meta-data.json").read_text())
    assert list(content["ages"].items()) == [("1", 1), ("17.5", 1), ("28.5", 1), ("80", 1)]
