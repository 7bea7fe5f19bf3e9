"""The data file of a cleaned data set: an array of its faces, and the counts beside it."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from data_loader.checksum import KEY as CHECKSUM
from data_loader.checksum import crc32_of
from extraction.cleaning_rules import CleaningCounts, KeptFace, RemovalCause
from extraction.image_labels import ALL_LABELS, ImageLabels, LabelColumns
from extraction.originals import backup_of_original, keep
from utils.errors import DataError
from utils.files import atomic_write, json_bytes
from utils.labels import EMBEDDING_SIZE

_LABELS = ("image_path", "subject", "fold")
_OWN_FIELDS = (*_LABELS, "age", "gender", "det_score", "embedding")

MAX_FIELD_LENGTH = 60
"""Of the names of a table's columns: numpy opens no file whose header is long."""


class NothingLeftError(DataError):
    """No image of the data set stays."""


@dataclass(frozen=True, slots=True)
class DataFiles:
    """The files that a cleaning writes into the folder of a data set.

    Attributes:
        folder: of the data set.
        image_type: 'aligned' or 'raw' of Adience, None for the others.

    >>> DataFiles(Path("data/Adience"), "raw").meta_data.as_posix()
    'data/Adience/meta-data-raw.json'
    """

    folder: Path
    image_type: str | None = None

    @property
    def is_adience(self) -> bool:
        """Whether the faces have folds."""
        return self.image_type is not None

    @property
    def data(self) -> Path:
        """The array of the faces that training reads."""
        return self._named("data", "npy")

    @property
    def meta_data(self) -> Path:
        """The counts, and how the embeddings were made."""
        return self._named("meta-data", "json")

    @property
    def unusable_answers(self) -> Path:
        """The list of stored answers that could not be used."""
        return self._named("corrupt", "csv")

    @property
    def age_picture(self) -> Path:
        """The picture of the ages."""
        return self._named("ages", "png")

    def _named(self, name: str, suffix: str) -> Path:
        ending = "" if self.image_type is None else f"-{self.image_type}"
        return self.folder / f"{name}{ending}.{suffix}"


def write_data_file(
    files: DataFiles,
    images: Sequence[ImageLabels],
    outcomes: Iterable[KeptFace | RemovalCause],
    made_with: Mapping[str, Any],
    columns: LabelColumns = ALL_LABELS,
) -> CleaningCounts:
    """Write the array of the faces that stay and the counts, both or none of them.

    A data file of the original project in that place is kept as `*.original.npy`.

    Args:
        files: to write.
        images: all of the data set.
        outcomes: for every image, in order, the face that stands for it or why it is removed.
        made_with: how the data set was cleaned; goes into the meta data.
        columns: which labels the images need, and their other columns.

    Returns:
        the counts.

    Raises:
        NothingLeftError: no image stays.
        DataError: the disk is full or cannot be written, or an original file cannot be kept
            because its place is taken.
        ValueError: an image was counted twice or not at all.
    """
    backup = backup_of_original(files.data)
    with (
        writing(files.data),
        atomic_write(files.meta_data) as meta_file,
        _old_counts(files.meta_data) as put_old_counts_aside,
        atomic_write(files.data) as data_file,
    ):
        counts = CleaningCounts(is_adience=files.is_adience, columns=columns)
        write_rows(data_file, row_dtype(images, columns), _kept_faces(images, outcomes, counts))
        _refuse_nothing(counts, files.data)
        data_file.flush()
        checksum = {CHECKSUM: crc32_of(Path(data_file.name))}
        meta_file.write(json_bytes(counts.as_json(len(images)) | dict(made_with) | checksum))
        to_disk(data_file, meta_file)
        if backup is not None:
            keep(files.data, backup)
        put_old_counts_aside()
    return counts


def _kept_faces(
    images: Sequence[ImageLabels],
    outcomes: Iterable[KeptFace | RemovalCause],
    counts: CleaningCounts,
) -> Iterator[tuple[ImageLabels, KeptFace]]:
    """Count every image, and yield those that stay."""
    for image, outcome in zip(images, outcomes, strict=True):
        counts.add(image, outcome)
        if isinstance(outcome, KeptFace):
            yield image, outcome


@contextmanager
def _old_counts(path: Path) -> Iterator[Callable[[], None]]:
    """Yield what moves the old counts aside: a crash must not leave them beside a new array.

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


def _refuse_nothing(counts: CleaningCounts, path: Path) -> None:
    if counts.num_kept == 0:
        removed = ", ".join(f"{cause} {count:,}" for cause, count in counts.removed.items())
        problem = f"{path} is not written, no image is left: {removed or 'the data set has none'}"
        raise NothingLeftError(f"{problem}; {counts.remark}" if counts.remark else problem)


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


def row_dtype(
    images: Iterable[ImageLabels], columns: LabelColumns = ALL_LABELS
) -> np.dtype[np.void]:
    """Return the dtype of the array, the texts as wide as the widest of the labelled images.

    The other columns of a table come last, under their names.

    >>> row_dtype([ImageLabels("a.jpg", "", 1, "m")])["image_path"]
    dtype('<U5')
    """
    labelled = [image for image in images if columns.suffice(image)]
    path_width = max((len(image.image_path) for image in labelled), default=1)
    subject_width = max((len(image.subject) for image in labelled), default=1)
    return np.dtype(
        [
            ("image_path", f"<U{max(path_width, 1)}"),
            ("subject", f"<U{max(subject_width, 1)}"),
            ("age", "<f4"),
            ("gender", "<U1"),
            ("fold", "i1"),
            ("det_score", "<f4"),
            ("embedding", "<f4", (EMBEDDING_SIZE,)),
            *_kept_fields(labelled, columns),
        ]
    )


def _kept_fields(images: Sequence[ImageLabels], columns: LabelColumns) -> Iterator[tuple[str, str]]:
    """Yield name and type of the table's other columns; no name is taken, too long, or foreign."""
    taken = set(_OWN_FIELDS)
    for at, name in enumerate(columns.kept):
        field = name.encode("ascii", "backslashreplace").decode()[:MAX_FIELD_LENGTH]
        if field in _OWN_FIELDS:
            field += "_of_table"
        while field in taken:
            field += "_"
        taken.add(field)
        width = max((len(image.kept[at]) for image in images), default=1)
        yield field, f"<U{max(width, 1)}"


def write_rows(
    file: IO[bytes], dtype: np.dtype[np.void], faces: Iterable[tuple[ImageLabels, KeptFace]]
) -> None:
    """Write a structured array as npy while its rows come in; their number need not be known."""
    row: npt.NDArray[np.void] = np.zeros((), dtype)
    kept_names = [name for name in dtype.names or () if name not in _OWN_FIELDS]
    num_rows = 0
    _write_header(file, dtype, num_rows)
    for image, face in faces:
        for name in _LABELS:
            row[name] = getattr(image, name)
        row["age"], row["gender"] = image.age, image.gender or ""
        for name, text in zip(kept_names, image.kept, strict=True):
            row[name] = text
        row["det_score"], row["embedding"] = face.det_score, face.embedding
        file.write(row.tobytes())
        num_rows += 1
    file.seek(0)
    _write_header(file, dtype, num_rows)
    file.seek(0, os.SEEK_END)


def _write_header(file: IO[bytes], dtype: np.dtype[np.void], num_rows: int) -> None:
    """Write the npy header, in which numpy leaves room for a number of rows of any length."""
    descr = np.lib.format.dtype_to_descr(dtype)
    header = {"descr": descr, "fortran_order": False, "shape": (num_rows,)}
    np.lib.format.write_array_header_1_0(file, header)
