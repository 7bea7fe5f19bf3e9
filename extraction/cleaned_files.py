"""The cleaned data files: one structured array of the kept images, and the counts beside it."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from extraction.cleaned import Face, Record, Removed, Tally
from extraction.originals import backup_of_original, keep
from utils.errors import DataError
from utils.files import atomic_write, json_bytes
from utils.labels import EMBEDDING_SIZE

CHUNK_ROWS = 2048
"""Rows that are gathered before they are written: about 5 MB."""

_LABELS = ("image_path", "subject", "age", "gender", "fold")


class NothingLeftError(DataError):
    """No image of the data set stays."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a data set was cleaned, for its meta data.

    Attributes:
        is_adience: Adience has folds, and there several faces are no cause.
        det_score: lowest score of the detector.
        resize: side of the square that was sent to the face server, in pixels; 0 as it was.
        extractor: what made the embeddings, if known.
    """

    is_adience: bool
    det_score: float
    resize: int
    extractor: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class CleanedPaths:
    """The files of a cleaned data set."""

    data: Path
    meta_data: Path


def cleaned_paths(dataset_dir: Path, image_type: str | None = None) -> CleanedPaths:
    """Name the files; `image_type` is that of Adience, None for the others.

    >>> cleaned_paths(Path("data/Adience"), "raw").meta_data.as_posix()
    'data/Adience/meta-data-raw.json'
    """
    ending = "" if image_type is None else f"-{image_type}"
    return CleanedPaths(dataset_dir / f"data{ending}.npy", dataset_dir / f"meta-data{ending}.json")


def write_cleaned(
    records: Sequence[Record],
    outcomes: Iterable[Face | Removed],
    settings: Settings,
    paths: CleanedPaths,
) -> Tally:
    """Write the array of the images that stay and the counts, both or none of them.

    A data file of the original project in that place is kept as `*.original.npy`.

    Args:
        records: of all images.
        outcomes: for every record, in order, the face that stands for it or why it is removed.
        settings: go into the meta data.
        paths: files to write.

    Returns:
        the counts.

    Raises:
        NothingLeftError: no image stays.
        DataError: the disk is full or cannot be written, or an original file
            cannot be kept because its place is taken.
        ValueError: an image was counted twice or not at all.
    """
    backup = backup_of_original(paths.data)
    with (
        writing(paths.data),
        atomic_write(paths.meta_data) as meta_file,
        _old_counts(paths.meta_data) as put_old_counts_aside,
        atomic_write(paths.data) as data_file,
    ):
        tally = _write_rows(records, outcomes, data_file, settings.is_adience)
        _refuse_nothing(tally, paths.data)
        meta_file.write(_meta_data(tally.counts(len(records)), settings))
        to_disk(data_file, meta_file)
        if backup is not None:
            keep(paths.data, backup)
        put_old_counts_aside()
    return tally


def _write_rows(
    records: Sequence[Record],
    outcomes: Iterable[Face | Removed],
    data_file: IO[bytes],
    is_adience: bool,
) -> Tally:
    tally = Tally(is_adience=is_adience)
    writer = RowWriter(data_file, row_dtype(records))
    for record, outcome in zip(records, outcomes, strict=True):
        tally.add(record, outcome)
        if isinstance(outcome, Face):
            writer.add(record, outcome)
    writer.finish()
    return tally


@contextmanager
def _old_counts(path: Path) -> Iterator[Callable[[], None]]:
    """Give what moves the old counts aside: a crash must not leave them beside a new array.

    They are put back when the block fails, which the new array's rename is the end of.
    """
    aside = path.with_name(f".{path.name}.old")
    aside.unlink(missing_ok=True)

    def put_aside() -> None:
        if path.exists():
            path.replace(aside)

    try:
        yield put_aside
    except BaseException:
        if aside.exists():
            aside.replace(path)
        raise
    aside.unlink(missing_ok=True)


def _refuse_nothing(tally: Tally, path: Path) -> None:
    if tally.num_kept == 0:
        counts = ", ".join(f"{cause} {count:,}" for cause, count in tally.removed.items())
        raise NothingLeftError(
            f"{path} is not written, no image is left: {counts or 'the data set has none'}"
        )


def _meta_data(counts: dict[str, Any], settings: Settings) -> bytes:
    content = counts | {"det_score": settings.det_score, "resize": settings.resize}
    if settings.extractor is not None:
        content["extractor"] = dict(settings.extractor)
    return json_bytes(content)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the operating system says against writing into one line that names the file.

    Raises:
        DataError: instead of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{path} was not written: {error.strerror or error}; what was there before is kept"
        ) from None


def to_disk(*files: IO[bytes]) -> None:
    """Bring what was written so far to the disk, so that a full one shows now."""
    for file in files:
        file.flush()
        os.fsync(file.fileno())


def row_dtype(records: Iterable[Record]) -> np.dtype[np.void]:
    """Give the dtype of a cleaned array, the texts as wide as the widest of the labelled records.

    >>> row_dtype([Record("a.jpg", "", 1, "m")])["image_path"]
    dtype('<U5')
    """
    labelled = [record for record in records if None not in (record.age, record.gender)]
    path_width = max((len(record.image_path) for record in labelled), default=1)
    subject_width = max((len(record.subject) for record in labelled), default=1)
    return np.dtype(
        [
            ("image_path", f"<U{max(path_width, 1)}"),
            ("subject", f"<U{max(subject_width, 1)}"),
            ("age", "<f4"),
            ("gender", "<U1"),
            ("fold", "i1"),
            ("det_score", "<f4"),
            ("embedding", "<f4", (EMBEDDING_SIZE,)),
        ]
    )


class RowWriter:
    """Writes a structured array as npy while its rows come in; their number need not be known."""

    def __init__(self, file: IO[bytes], dtype: np.dtype[np.void]) -> None:
        self._file = file
        self._chunk: npt.NDArray[np.void] = np.zeros(CHUNK_ROWS, dtype)
        self._records: list[Record] = []
        self._num_written = 0
        self._write_header()

    def add(self, record: Record, face: Face) -> None:
        """Add a row; the embedding is copied."""
        row = len(self._records)
        self._chunk["embedding"][row] = face.embedding
        self._chunk["det_score"][row] = face.det_score
        self._records.append(record)
        if len(self._records) == CHUNK_ROWS:
            self._flush()

    def finish(self) -> None:
        """Write the rows that are left, and how many there are."""
        self._flush()
        self._file.seek(0)
        self._write_header()
        self._file.seek(0, 2)

    def _flush(self) -> None:
        rows = self._chunk[: len(self._records)]
        for name in _LABELS:
            rows[name] = [getattr(record, name) for record in self._records]
        self._file.write(rows.tobytes())
        self._num_written += len(rows)
        self._records.clear()

    def _write_header(self) -> None:
        """Write the npy header, in which numpy leaves room for a number of rows of any length."""
        header = {
            "descr": np.lib.format.dtype_to_descr(self._chunk.dtype),
            "fortran_order": False,
            "shape": (self._num_written,),
        }
        np.lib.format.write_array_header_1_0(self._file, header)
