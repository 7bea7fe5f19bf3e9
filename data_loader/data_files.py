"""The cleaned data files: where they are, opened as columns, and what their rows must hold."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_loader.checksum import refuse_changed
from data_loader.data_sets import DataPart, no_such_file
from data_loader.original_data import OriginalFace, read_original_faces
from utils.errors import DataError
from utils.labels import (
    EMBEDDING_SIZE,
    GENDERS,
    MAX_FOLD,
    NO_FOLD,
    NORM_BOUNDS,
    NUM_FOLDS,
    is_unit_length,
)
from utils.npy import read_npy_header

MAX_AGE_YEARS = 9999
"""Files of the original project hold ages such as 2014, where a year of birth is missing."""

MAX_LETTER = 0x10FFFF

DET_SCORE = "det_score"
SPLIT, SPLITS = "split", ("train", "val", "test")
NO_AGE, NO_GENDER = "no age of 0 years or more", "a gender other than 'm' or 'f'"

KINDS = {"embedding": "f", "age": "f", "gender": "U", "subject": "U", "fold": "i"}
"""The columns that must be there, and the kind of each one's dtype."""

OPTIONAL_KINDS = {SPLIT: "U", DET_SCORE: "f"}
"""Those that may be there."""

Columns = dict[str, NDArray[Any]]


def open_columns(data_dir: Path | str, part: DataPart) -> Columns:
    """Open the data file of a part of a data set, and check all but the embeddings.

    Returns:
        its columns of N rows, which are memory-mapped if the file is of our format.

    Raises:
        DataError: it is missing, damaged or foreign.
    """
    path = part.path
    if not part.exists:
        raise no_such_file(data_dir, part)
    refuse_changed(part)
    if holds_objects(path):
        return open_original(path, part.is_adience)[1]
    columns = _mapped_columns(path)
    _check_columns(path, columns)
    if part.is_known:
        _check_known(path, columns, part.is_adience)
    return columns


def open_original(path: Path, is_adience: bool) -> tuple[list[OriginalFace], Columns]:
    """Read a data file of the original project, and check it as one of ours.

    Raises:
        DataError: it is missing, damaged or foreign.
    """
    faces = read_original_faces(path)
    columns: Columns = {
        "age": np.array([face.age for face in faces], np.float32),
        "gender": np.array([face.gender for face in faces], np.str_),
        "subject": np.array([face.subject for face in faces], np.str_),
        "fold": np.array([face.fold for face in faces], np.int8),
        **_unknown(len(faces)),
        DET_SCORE: np.array([face.det_score for face in faces], np.float32),
        "embedding": np.empty((len(faces), EMBEDDING_SIZE), np.float32),
    }
    for row, face in enumerate(faces):
        columns["embedding"][row] = face.embedding
    _check_columns(path, columns)
    _check_known(path, columns, is_adience)
    return faces, columns


def holds_objects(path: Path) -> bool:
    """Read the header of a .npy file: is it the original project's pickled form?

    Raises:
        DataError: the header is damaged, or does not fit the file.
    """
    shape, dtype, num_header_bytes = read_npy_header(path)
    if dtype.hasobject:
        return True
    num_bytes = path.stat().st_size - num_header_bytes
    # A side may be true, negative, or more than the file has bytes, whatever the product is.
    if not all(type(side) is int and 0 <= side <= num_bytes for side in shape):
        raise DataError(
            f"{path} is damaged: its header gives the shape {shape!r:.100}, which {num_bytes:,} "
            "bytes of data cannot have; make it anew or copy it again"
        )
    expected = math.prod(shape) * dtype.itemsize
    if num_bytes != expected:
        raise DataError(
            f"{path} is damaged: {num_bytes:,} bytes of data where its header promises "
            f"{expected:,}; make it anew or copy it again"
        )
    return False


def _mapped_columns(path: Path) -> Columns:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if KINDS.keys() - set(array.dtype.names or ()) or array.ndim != 1:
        raise DataError(
            f"{path} is not a data file of faces: expected a 1-d structured array with the fields "
            f"{', '.join(sorted(KINDS))}, got {array.dtype} of shape {array.shape}"
        )
    columns = {name: array[name] for name in KINDS}
    there = {name: array[name] for name in OPTIONAL_KINDS if name in array.dtype.names}
    return columns | _unknown(len(array)) | there


def _unknown(num_rows: int) -> Columns:
    """Return what stands for optional columns that a file lacks."""
    return {SPLIT: np.zeros(num_rows, "U1"), DET_SCORE: np.full(num_rows, np.nan, np.float32)}


def _check_columns(path: Path, columns: Columns) -> None:
    width = columns["embedding"].shape[1:]
    if width != (EMBEDDING_SIZE,):
        raise DataError(f"{path}: embeddings of shape {width}, expected ({EMBEDDING_SIZE},)")
    for name, kind in {**KINDS, **OPTIONAL_KINDS}.items():
        column = columns[name]
        if column.dtype.kind != kind or column.ndim != (2 if name == "embedding" else 1):
            raise DataError(f"{path}: field {name} holds {column.dtype} of shape {column.shape}")
    age, gender, fold = columns["age"], columns["gender"], columns["fold"]
    _refuse_rows(path, np.isinf(age) | (age < 0), NO_AGE)
    _refuse_rows(path, age > MAX_AGE_YEARS, f"an age above {MAX_AGE_YEARS:,} years")
    _refuse_rows(path, _has_no_text(columns["subject"]), "a subject that is no text")
    _refuse_rows(path, ~np.isin(gender, (*GENDERS, "")), NO_GENDER)
    _refuse_rows(path, (fold < NO_FOLD) | (fold > MAX_FOLD), f"a fold above {MAX_FOLD}, or below 0")
    _refuse_rows(path, ~np.isin(columns[SPLIT], (*SPLITS, "")), "a split of another name")


def _check_known(path: Path, columns: Columns, is_adience: bool) -> None:
    """Check what holds for the known data sets only: every face has an age and a gender."""
    fold = columns["fold"]
    _refuse_rows(path, np.isnan(columns["age"]), NO_AGE)
    _refuse_rows(path, columns["gender"] == "", NO_GENDER)
    if is_adience:
        _refuse_rows(path, (fold < 0) | (fold >= NUM_FOLDS), "a fold other than 0 to 4")
    else:
        _refuse_rows(path, fold != NO_FOLD, "a fold of Adience")


def _has_no_text(column: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Find the (N,) texts that hold numbers that stand for no letter, which nobody can show."""
    width = column.dtype.itemsize // 4
    if width == 0 or len(column) == 0:
        return np.zeros(len(column), np.bool_)
    letters = np.ascontiguousarray(column.astype(column.dtype.newbyteorder("=")))
    numbers = letters.view(np.uint32).reshape(len(column), width)
    is_none: NDArray[np.bool_] = numbers.max(1) > MAX_LETTER
    return is_none


def _refuse_rows(path: Path, is_bad: NDArray[np.bool_], problem: str) -> None:
    if is_bad.any():
        raise DataError(
            f"{path}: {int(is_bad.sum()):,} of {len(is_bad):,} rows have {problem}, "
            f"the first is row {int(is_bad.argmax())}; make the file anew"
        )


def refuse_lengths(path: Path, rows: NDArray[np.int64], embeddings: NDArray[np.float32]) -> None:
    """Refuse embeddings (N, 512) that are not of unit length, as float16 numbers still are.

    Args:
        path: of the data file.
        rows: (N,), of the embeddings in it.
        embeddings: to check.

    Raises:
        DataError: one is zero, not finite, or of another length.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.sqrt(np.einsum("nd,nd->n", embeddings, embeddings))
    is_right = is_unit_length(lengths)
    if is_right.all():
        return
    first = int(is_right.argmin())
    where = f"{path}: the embedding of row {int(rows[first])}"
    if not np.isfinite(lengths[first]) or lengths[first] == 0:
        raise DataError(
            f"{where} is zero or not finite; extract that image again, or clean the file anew"
        )
    raise DataError(
        f"{where} has length {lengths[first]:.4g}, expected 1 ({NORM_BOUNDS[0]} to "
        f"{NORM_BOUNDS[1]}): clean the file anew, or divide every embedding by its length"
    )
