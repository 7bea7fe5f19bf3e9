"""The cleaned data files: memory-mapped, and only the rows asked for copied, once, to arrays."""

import math
import mmap
import tokenize
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_loader.joining import refuse_foreign
from utils.errors import DataError
from utils.files import read_json
from utils.labels import EMBEDDING_SIZE, NORM_BOUNDS, NUM_FOLDS
from utils.runtime import generator

CHUNK_ROWS = 8192
"""Rows copied at a time: 16 MiB of embeddings."""

MAX_AGE_YEARS = 9999
"""Files of the original project hold ages such as 2014, where a year of birth is missing."""

MAX_LETTER = 0x10FFFF

CLEAN_COMMANDS = {
    "Adience": "get_Adience_clean('aligned', resize=640, det_score=0.9)",
    "imdb": "get_imdb_wiki_clean('imdb', resize=640, det_score=0.9)",
    "wiki": "get_imdb_wiki_clean('wiki', resize=640, det_score=0.9)",
}
DATASETS = {
    "adience": ("Adience",),
    "imdb": ("imdb",),
    "wiki": ("wiki",),
    "imdb_wiki": ("imdb", "wiki"),
    "imdb_wiki_adience": ("imdb", "wiki", "Adience"),
}


HEADER_ERRORS = (
    *(ValueError, KeyError, TypeError, IndexError, SyntaxError, tokenize.TokenError),
    *(RecursionError, MemoryError),
)
"""What numpy raises on the header of a damaged .npy file, which it reads as Python source."""


@dataclass(frozen=True)
class Faces:
    """N faces as columns.

    Attributes:
        embedding: (N, 512) float32.
        age: (N,) float32, years.
        gender: (N,) 'm' or 'f'.
        subject: (N,) unicode, the person's (Adience: the album's) id; empty where it is not known.
        fold: (N,) int8, 0 to 4 in Adience, -1 elsewhere.
    """

    embedding: NDArray[np.float32]
    age: NDArray[np.float32]
    gender: NDArray[np.str_]
    subject: NDArray[np.str_]
    fold: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.embedding)


def data_path(data_dir: Path | str, source: str) -> Path:
    """Name the data file of 'Adience', 'imdb' or 'wiki'."""
    if source == "Adience":
        return Path(data_dir) / "Adience" / "data-aligned.npy"
    return Path(data_dir) / f"{source}_crop" / "data.npy"


def with_data_dir(command: str, data_dir: Path | str) -> str:
    """Add the data folder to a suggested command, if it is not the default.

    >>> with_data_dir("get_imdb_wiki_clean('wiki')", "/mnt/faces")
    "get_imdb_wiki_clean('wiki', data_dir='/mnt/faces')"
    """
    is_default = Path(data_dir) == Path("data")
    return command if is_default else f"{command[:-1]}, data_dir={str(data_dir)!r})"


def read_extractors(data_dir: Path | str, dataset: str) -> dict[str, Any]:
    """Read what made the embeddings of each part of a data set, from the counts beside its file.

    Returns:
        {"imdb": record, ...}, without the parts that have none.
    """
    records = {}
    for source in DATASETS[dataset.lower()]:
        path = data_path(data_dir, source)
        counts = path.with_name(path.name.replace("data", "meta-data", 1)).with_suffix(".json")
        if counts.is_file():
            content = read_json(counts)
            if isinstance(content, dict) and "extractor" in content:
                records[source] = content["extractor"]
    return records


@dataclass(frozen=True)
class Selection:
    """Which rows of a data set to read.

    Attributes:
        folds: the folds of Adience to take; None for all.
        limit: take this many of those rows at random; None for all.
        seed: of the random choice.
    """

    folds: Sequence[int] | None = None
    limit: int | None = None
    seed: int = 42

    def chooses_like(self, other: "Selection") -> bool:
        """Tell whether both choose the same rows; without a limit the seed does not matter."""
        is_alike = (self.folds, self.limit) == (other.folds, other.limit)
        return is_alike and (self.limit is None or self.seed == other.seed)


ALL_ROWS = Selection()


def read_faces(
    data_dir: Path | str,
    dataset: str,
    selection: Selection = ALL_ROWS,
) -> Faces:
    """Read the faces of a data set.

    Args:
        data_dir: folder that holds `Adience/`, `imdb_crop/` and `wiki_crop/`.
        dataset: Adience, imdb, wiki, imdb_wiki or imdb_wiki_adience, in any case.
        selection: the rows to read.

    Raises:
        DataError: unknown data set; a file that is missing, damaged or foreign; NaN, zero or
            wrongly sized embeddings; no row left; parts that come from different networks.
    """
    if dataset.lower() not in DATASETS:
        raise DataError(
            f"unknown dataset {dataset!r}, expected one of {', '.join(DATASETS)} (in any case)"
        )
    parts = [_open(data_dir, source) for source in DATASETS[dataset.lower()]]
    rows_of_parts = select_rows([columns["fold"] for _, columns in parts], selection)
    num_faces = sum(map(len, rows_of_parts))
    if num_faces == 0:
        raise DataError(f"no face of {dataset} in {data_dir} is left to use ({selection})")
    # The small columns first: reading them touches every page, copying lets go of the pages.
    others = _gather(parts, rows_of_parts)
    embedding = np.empty((num_faces, EMBEDDING_SIZE), np.float32)
    joined, start = {}, 0
    for (path, columns), rows in zip(parts, rows_of_parts, strict=True):
        joined[path] = embedding[start : start + len(rows)]
        _copy_embeddings(path, columns["embedding"], rows, joined[path])
        start += len(rows)
    if len(joined) > 1:
        refuse_foreign(joined, selection.seed)
    return Faces(embedding=embedding, **others)


def count_faces(data_dir: Path | str, dataset: str) -> dict[str, int]:
    """Count the rows of each part of a data set, in the order in which they are joined.

    Raises:
        DataError: a part is missing, damaged or foreign.
    """
    return {source: len(_open(data_dir, source)[1]["fold"]) for source in DATASETS[dataset.lower()]}


Columns = dict[str, NDArray[Any]]


def _open(data_dir: Path | str, source: str) -> tuple[Path, Columns]:
    path = data_path(data_dir, source)
    if not path.is_file():
        raise DataError(
            f"{path}: no such data file. Make it with: python3 -c "
            f'"from utils.scripts import *; {with_data_dir(CLEAN_COMMANDS[source], data_dir)}", or '
            "take a sample with make_sample_data('data/sample') and --data_dir data/sample"
        )
    columns = _original_columns(path) if holds_objects(path) else _mapped_columns(path)
    _check_columns(path, columns, is_adience=source == "Adience")
    return path, columns


def holds_objects(path: Path) -> bool:
    """Read the header of a .npy file: is it the original project's pickled form?"""
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            shape, _, dtype = read(file)
            num_bytes = path.stat().st_size - file.tell()
    except HEADER_ERRORS as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path} is not a .npy data file ({reason}); make it anew") from None
    if dtype.hasobject:
        return True
    _refuse_shape(path, shape, num_bytes)
    expected = math.prod(shape) * dtype.itemsize
    if num_bytes != expected:
        raise DataError(
            f"{path} is damaged: {num_bytes:,} bytes of data where its header promises "
            f"{expected:,}; make it anew or copy it again"
        )
    return False


def _refuse_shape(path: Path, shape: tuple[object, ...], num_bytes: int) -> None:
    """Refuse sides that are true, negative, or more than the file has bytes, whatever they make."""
    if not all(type(side) is int and 0 <= side <= num_bytes for side in shape):
        raise DataError(
            f"{path} is damaged: its header gives the shape {shape!r:.100}, which {num_bytes:,} "
            "bytes of data cannot have; make it anew or copy it again"
        )


def _mapped_columns(path: Path) -> Columns:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    names = {field.name for field in fields(Faces)}
    missing = sorted(names - set(array.dtype.names or ()))
    if missing or array.ndim != 1:
        raise DataError(
            f"{path} is not a data file of faces: expected a 1-d structured array with the fields "
            f"{', '.join(sorted(names))}, got {array.dtype} of shape {array.shape}"
        )
    return {name: array[name] for name in names}


def _original_columns(path: Path) -> Columns:
    from utils.legacy import read_original_records

    records = read_original_records(path)
    return {field.name: getattr(records, field.name) for field in fields(Faces)}


def _check_columns(path: Path, columns: Columns, is_adience: bool) -> None:
    width = columns["embedding"].shape[1:]
    if width != (EMBEDDING_SIZE,):
        raise DataError(f"{path}: embeddings of shape {width}, expected ({EMBEDDING_SIZE},)")
    kinds = {"embedding": "f", "age": "f", "gender": "U", "subject": "U", "fold": "i"}
    for name, kind in kinds.items():
        column = columns[name]
        if column.dtype.kind != kind or column.ndim != (2 if name == "embedding" else 1):
            raise DataError(f"{path}: field {name} holds {column.dtype} of shape {column.shape}")
    age, gender = columns["age"], columns["gender"]
    _refuse_rows(path, ~np.isfinite(age) | (age < 0), "no age of 0 years or more")
    _refuse_rows(path, age > MAX_AGE_YEARS, f"an age above {MAX_AGE_YEARS:,} years")
    _refuse_rows(path, _has_no_text(columns["subject"]), "a subject that is no text")
    _refuse_rows(path, (gender != "m") & (gender != "f"), "a gender other than 'm' or 'f'")
    fold = columns["fold"]
    if is_adience:
        _refuse_rows(path, (fold < 0) | (fold > 4), "a fold other than 0 to 4")
    else:
        _refuse_rows(path, fold != -1, "a fold of Adience")


def _has_no_text(column: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Tell which (N,) texts hold numbers that stand for no letter, which nobody can show."""
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


def _gather(
    parts: list[tuple[Path, Columns]], rows_of_parts: list[NDArray[np.int64]]
) -> dict[str, NDArray[Any]]:
    """Copy the wanted rows of all columns but the embeddings, and let go of the mapped pages."""
    names = [field.name for field in fields(Faces) if field.name != "embedding"]
    gathered: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
    for (_, columns), rows in zip(parts, rows_of_parts, strict=True):
        for name in names:
            gathered[name].append(columns[name][rows])
        _release(columns["embedding"])
    return {name: np.concatenate(columns) for name, columns in gathered.items()}


def select_rows(
    fold_columns: list[NDArray[np.int8]], selection: Selection
) -> list[NDArray[np.int64]]:
    """Give the wanted rows of each part, in order."""
    folds = list(range(NUM_FOLDS)) if selection.folds is None else list(selection.folds)
    fold = np.concatenate(fold_columns)
    rows = np.flatnonzero((fold < 0) | np.isin(fold, folds))
    if selection.limit is not None and selection.limit < len(rows):
        rng = generator(selection.seed, "limit_data")
        rows = np.sort(rng.choice(rows, selection.limit, replace=False))
    ends = np.cumsum([len(column) for column in fold_columns])
    starts = ends - [len(column) for column in fold_columns]
    return [
        rows[(rows >= start) & (rows < end)] - start
        for start, end in zip(starts, ends, strict=True)
    ]


def _copy_embeddings(
    path: Path, source: NDArray[Any], rows: NDArray[np.int64], target: NDArray[np.float32]
) -> None:
    """Copy rows a chunk at a time, checking them, and let go of the mapped pages behind."""
    for start in range(0, len(rows), CHUNK_ROWS):
        chunk = target[start : start + CHUNK_ROWS]
        chunk[:] = source[rows[start : start + CHUNK_ROWS]]
        _refuse_lengths(path, rows[start : start + CHUNK_ROWS], chunk)
        _release(source)


def _refuse_lengths(path: Path, rows: NDArray[np.int64], embeddings: NDArray[np.float32]) -> None:
    """Refuse embeddings (N, 512) that are not of unit length, as float16 numbers still are."""
    lengths = np.sqrt(np.einsum("nd,nd->n", embeddings, embeddings))
    is_right = (lengths >= NORM_BOUNDS[0]) & (lengths <= NORM_BOUNDS[1])
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


def _release(array: NDArray[Any]) -> None:
    """Drop the pages of a memory-mapped array from this process; the page cache keeps them."""
    base: Any = array
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)
