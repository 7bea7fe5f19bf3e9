"""The files of the original age-gender project, read without running anything they name.

`load_pickle` takes `<image>.pkl` and pickled request bodies, `load_pickled_npy` and
`read_original_records` the data sets, `load_pth` the checkpoints. All of them go through the closed
machine of `utils.legacy_pickle`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from utils.errors import DataError
from utils.labels import EMBEDDING_SIZE, NORM_BOUNDS, NUM_FOLDS
from utils.legacy_guard import (
    RefusedError,
    check_plain,
    check_size,
    read_whole,
    refuse,
    refused_as,
)
from utils.legacy_machine import Machine
from utils.legacy_names import LEAVES, MAX_PATH_LENGTH, ObjectArray, data_names
from utils.legacy_pickle import run
from utils.legacy_pth import load_pth

__all__ = [
    "OriginalRecords",
    "load_pickle",
    "load_pickled_npy",
    "load_pth",
    "read_original_records",
]

DEFAULT_MAX_BYTES = 64 << 20
_CHUNK_BYTES = 1 << 20
_NPY_MAGIC = b"\x93NUMPY"
_NPY_HEADER = re.compile(
    rb"\{'descr': '\|O', 'fortran_order': False, 'shape': \((\d{1,12},)?\), \} *\n"
)
_NO_FOLD = -1
_KEYS = ("image_path", "age", "gender", "embedding")
_MAX_SUBJECT_LENGTH = 255
_MIN_EMBEDDING_BYTES = 2 * EMBEDDING_SIZE  # float16
_MAX_AGE_YEARS = 9999
_MAX_FLOAT32 = float(np.finfo(np.float32).max)


def load_pickle(
    source: Path | str | bytes | IO[bytes],
    max_bytes: int = DEFAULT_MAX_BYTES,
    max_opcodes: int | None = None,
) -> Any:
    """Read a pickle of plain values and numpy arrays, protocol 2 to 5.

    Args:
        source: a file's path, the pickle's bytes, or a binary file, which is read to its end.
        max_bytes: the longest pickle that is read.
        max_opcodes: the most opcodes that are carried out; None for any number.

    Returns:
        dicts, lists, tuples, str, int, float, bool, None, bytes, numpy scalars and arrays; a
        pathlib path is a str. The arrays own their memory and are writable.

    Raises:
        DataError: the file is missing, too long, damaged, or holds anything else.
    """
    if isinstance(source, Path | str):
        label: object = source
        content = read_whole(Path(source), DataError, max_bytes)
    elif isinstance(source, bytes | bytearray | memoryview):
        label, content = "the pickle", bytes(source)
    else:
        label = getattr(source, "name", "the pickle")
        content = _read_stream(source, label, max_bytes)
    check_size(len(content), label, DataError, max_bytes)
    with refused_as(DataError, label):
        value = run(Machine(content, data_names(writable=True)), max_opcodes=max_opcodes)
        check_plain(value, LEAVES, len(content))
    return value


def _read_stream(source: IO[bytes], label: object, max_bytes: int) -> bytes:
    """Read to the end or one byte beyond the limit; a stream may give less than asked for."""
    content = bytearray()
    try:
        while len(content) <= max_bytes and (
            chunk := source.read(min(_CHUNK_BYTES, max_bytes + 1 - len(content)))
        ):
            content += chunk
    except OSError as problem:
        raise DataError(f"{label} cannot be read: {problem.strerror}") from None
    return bytes(content)


def load_pickled_npy(path: Path | str) -> list[dict[str, Any]] | dict[int, list[dict[str, Any]]]:
    """Read the records of an `np.save`d object array.

    Returns:
        the dicts of a 1-d array (IMDB, WIKI), or the {fold: [dict, ...]} of a 0-d array (Adience),
        folds in 0..4. Arrays in the dicts are read-only. What a dict holds is not checked here,
        beyond being plain values and arrays.

    Raises:
        DataError: the file is missing, damaged, no object array, or holds anything else.
    """
    path = Path(path)
    content = read_whole(path, DataError)
    with refused_as(DataError, path):
        start, shape = _npy_header(content)
        root = run(Machine(content, data_names(writable=False, objects=True)), start)
        if type(root) is not ObjectArray or root.shape != shape:
            refuse(f"does not hold the array of objects of shape {shape} that its header announces")
        check_plain(root.items, LEAVES, len(content))
        return _records_of(root)


def _npy_header(content: bytes) -> tuple[int, tuple[int, ...]]:
    """Return where the pickle starts and the array's shape."""
    if not content.startswith(_NPY_MAGIC) or len(content) < 12:
        refuse("is no .npy file")
    start = 10 if content[6] == 1 else 12
    end = start + int.from_bytes(content[8:start], "little")
    header = content[start : min(end, start + MAX_PATH_LENGTH)]
    match = _NPY_HEADER.fullmatch(header)
    if match is None:
        refuse(f"is an .npy file, but not of pickled records: its header is {header[:100]!r}")
    return end, () if match[1] is None else (int(match[1][:-1]),)


def _records_of(root: ObjectArray) -> list[dict[str, Any]] | dict[int, list[dict[str, Any]]]:
    if root.shape:
        return _dicts(root.items)
    by_fold = root.items[0]
    if type(by_fold) is not dict:
        refuse(f"holds one {type(by_fold).__name__}, a dict of folds was expected")
    for fold in by_fold:
        if type(fold) is not int or fold >= NUM_FOLDS:
            refuse(f"holds a fold {fold!r:.50}, 0 to {NUM_FOLDS - 1} were expected")
    return {fold: _dicts(by_fold[fold]) for fold in sorted(by_fold)}


def _dicts(records: Any) -> list[dict[str, Any]]:
    if type(records) is not list or not set(map(type, records)) <= {dict}:
        refuse("holds something else than a list of dicts, one a face")
    return records


@dataclass(slots=True, eq=False)
class OriginalRecords:
    """The faces of one data set as columns, N rows.

    Attributes:
        image_path: N paths as the original wrote them.
        subject: unicode (N,), Adience's user id (the image's folder), empty elsewhere.
        age: float32 (N,), years.
        gender: `<U1` (N,), `m` or `f`.
        fold: int8 (N,), 0..4 for Adience, -1 elsewhere.
        det_score: float32 (N,), NaN where the original has none.
        embedding: float32 (N, 512).
    """

    image_path: list[str]
    subject: NDArray[np.str_]
    age: NDArray[np.float32]
    gender: NDArray[np.str_]
    fold: NDArray[np.int8]
    det_score: NDArray[np.float32]
    embedding: NDArray[np.float32]


def read_original_records(path: Path | str) -> OriginalRecords:
    """Read an original `data.npy` (IMDB, WIKI) or `data-<image_type>.npy` (Adience) into columns.

    Adience's rows are in the order of their folds. Other keys of a record are ignored.

    Raises:
        DataError: as `load_pickled_npy`; or a record lacks a key, or its value is not a path, a
            finite age, `m` or `f`, a finite embedding of 512; the message names the record's index.
    """
    path = Path(path)
    content = load_pickled_npy(path)
    by_fold = content if isinstance(content, dict) else {_NO_FOLD: content}
    num_records = sum(map(len, by_fold.values()))
    with refused_as(DataError, path):
        # Records that share one embedding would make the columns far larger than the file.
        if num_records * _MIN_EMBEDDING_BYTES > path.stat().st_size:
            refuse(f"holds {num_records} records, more than its size has embeddings for")
        columns = _columns(num_records)
        with np.errstate(over="ignore"):  # becomes infinite, which is refused
            _fill(columns, by_fold)
        if isinstance(content, dict):
            columns.subject = _subjects(columns.image_path)
    return columns


def _columns(num_records: int) -> OriginalRecords:
    return OriginalRecords(
        image_path=[],
        subject=np.zeros(num_records, np.dtype("U1")),
        age=np.zeros(num_records, np.float32),
        gender=np.zeros(num_records, np.dtype("U1")),
        fold=np.full(num_records, _NO_FOLD, np.int8),
        det_score=np.full(num_records, np.nan, np.float32),
        embedding=np.empty((num_records, EMBEDDING_SIZE), np.float32),
    )


def _fill(columns: OriginalRecords, by_fold: dict[int, list[dict[str, Any]]]) -> None:
    row = 0
    for fold, records in by_fold.items():
        columns.fold[row : row + len(records)] = fold
        row = _fill_fold(columns, row, fold, records)


def _fill_fold(columns: OriginalRecords, row: int, fold: int, records: list[dict[str, Any]]) -> int:
    of_fold = "" if fold == _NO_FOLD else f" of fold {fold}"
    for index, record in enumerate(records):
        try:
            _fill_row(columns, row + index, record)
            _check_fold(record.get("fold", fold), fold)
        except RefusedError as refusal:
            raise RefusedError(f"holds a record {index}{of_fold} that {refusal}") from None
    return row + len(records)


def _check_fold(value: Any, fold: int) -> None:
    if fold != _NO_FOLD and (not isinstance(value, int | np.integer) or value != fold):
        refuse(f"has the fold {_show(value)}")


def _fill_row(columns: OriginalRecords, row: int, record: dict[str, Any]) -> None:
    for key in _KEYS:
        if key not in record:
            refuse(f"lacks {key!r}")
    columns.image_path.append(_image_path(record["image_path"]))
    columns.age[row] = _age(record["age"])
    columns.gender[row] = _gender(record["gender"])
    columns.embedding[row] = _embedding(record["embedding"])
    if "det_score" in record:
        columns.det_score[row] = _number(record["det_score"], "det_score")


def _image_path(value: Any) -> str:
    if type(value) is not str or not 0 < len(value) <= MAX_PATH_LENGTH:
        refuse("has an image_path that is no path")
    return value


def _gender(value: Any) -> str:
    if type(value) is not str or value not in ("m", "f"):
        refuse(f"has the gender {_show(value)}, 'm' or 'f' was expected")
    return value


def _number(value: Any, what: str) -> float:
    try:
        is_number = isinstance(value, int | float | np.integer | np.floating)
        number = float(value) if is_number and type(value) is not bool else math.nan
    except OverflowError:
        number = math.inf
    if not abs(number) <= _MAX_FLOAT32:
        refuse(f"has the {what} {_show(value)}, a finite number was expected")
    return number


def _age(value: Any) -> float:
    age = _number(value, "age")
    if not 0 <= age <= _MAX_AGE_YEARS:
        refuse(f"has the age {_show(value)}, 0 to {_MAX_AGE_YEARS} years were expected")
    return age


def _embedding(value: Any) -> NDArray[np.float32]:
    if type(value) is not np.ndarray or value.shape != (EMBEDDING_SIZE,) or value.dtype.kind != "f":
        refuse(f"has an embedding that is no array of {EMBEDDING_SIZE} floats")
    embedding: NDArray[np.float32] = value.astype(np.float32, copy=False)
    if not np.isfinite(embedding).all():
        refuse("has an embedding with a value that is not finite")
    length = math.sqrt(float(embedding @ embedding))
    if not NORM_BOUNDS[0] <= length <= NORM_BOUNDS[1]:
        refuse(f"has an embedding of length {length:.4g}, 1 was expected")
    return embedding


def _show(value: Any) -> str:
    if isinstance(value, str | int | float | np.number):
        return repr(value)[:50]
    return f"that is a {type(value).__name__}"


def _subjects(image_paths: list[str]) -> NDArray[np.str_]:
    subjects = [PurePosixPath(path).parent.name for path in image_paths]
    # One long name would widen every row.
    for subject in subjects:
        if len(subject) > _MAX_SUBJECT_LENGTH:
            refuse(f"holds an image in a folder with a name of {len(subject)} letters")
    return np.array(subjects, dtype=np.str_)
