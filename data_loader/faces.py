"""The faces of a data set: only the rows asked for, copied once to arrays."""

import mmap
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_loader.data_files import DATASETS, Columns, open_columns, refuse_lengths
from data_loader.extractors import extractors_by_dataset, refuse_foreign
from utils.errors import DataError
from utils.labels import EMBEDDING_SIZE, NUM_FOLDS
from utils.runtime import generator

CHUNK_ROWS = 8192
"""Rows copied at a time: 16 MiB of embeddings."""


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
        """Return whether both choose the same rows; without a limit the seed does not matter."""
        is_alike = (self.folds, self.limit) == (other.folds, other.limit)
        return is_alike and (self.limit is None or self.seed == other.seed)

    def rows(self, fold: NDArray[np.int8]) -> NDArray[np.int64]:
        """Choose rows, in order, from the folds (N,) that they are of."""
        folds = range(NUM_FOLDS) if self.folds is None else self.folds
        rows = np.flatnonzero((fold < 0) | np.isin(fold, list(folds)))
        if self.limit is not None and self.limit < len(rows):
            rng = generator(self.seed, "limit_data")
            rows = np.sort(rng.choice(rows, self.limit, replace=False))
        return rows


ALL_ROWS = Selection()


@dataclass(frozen=True)
class LoadedFaces:
    """Faces read once, which many loaders can draw from, of one process or of several.

    Attributes:
        faces: the rows that `selection` chose; the arrays may be read-only.
        extractors: what made the embeddings; see `extractors_by_dataset`.
        selection: of the rows of the data set.
    """

    faces: Faces
    extractors: dict[str, Any]
    selection: Selection = ALL_ROWS

    def num_bytes(self) -> int:
        """Return the size of the arrays."""
        return sum(getattr(self.faces, field.name).nbytes for field in fields(self.faces))

    def rows(self, selection: Selection) -> NDArray[np.int64] | None:
        """Choose the faces of another selection; None for all of them.

        Raises:
            ValueError: these are not all rows of the data set, nor the ones asked for.
        """
        if selection.chooses_like(self.selection):
            return None
        if not self.selection.chooses_like(ALL_ROWS):
            raise ValueError(f"{selection} was asked of a source that holds {self.selection}")
        return selection.rows(self.faces.fold)


def read_source(data_dir: Path | str, dataset: str, selection: Selection = ALL_ROWS) -> LoadedFaces:
    """Read a data set, or a selection of it; raises what `read_faces` does."""
    faces = read_faces(data_dir, dataset, selection)
    return LoadedFaces(faces, extractors_by_dataset(data_dir, dataset), selection)


def read_faces(data_dir: Path | str, dataset: str, selection: Selection = ALL_ROWS) -> Faces:
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
    parts = [open_columns(data_dir, source) for source in DATASETS[dataset.lower()]]
    rows_of_parts = _rows_of_parts([columns["fold"] for _, columns in parts], selection)
    num_faces = sum(map(len, rows_of_parts))
    if num_faces == 0:
        raise DataError(f"no face of {dataset} in {data_dir} is left to use ({selection})")
    # The small columns first: reading them touches every page, copying lets go of the pages.
    others = _gather([columns for _, columns in parts], rows_of_parts)
    embedding = np.empty((num_faces, EMBEDDING_SIZE), np.float32)
    joined, start = {}, 0
    for (path, columns), rows in zip(parts, rows_of_parts, strict=True):
        joined[path] = embedding[start : start + len(rows)]
        _copy_embeddings(path, columns["embedding"], rows, joined[path])
        start += len(rows)
    if len(joined) > 1:
        refuse_foreign(joined, selection.seed)
    return Faces(embedding=embedding, **others)


def _rows_of_parts(folds: list[NDArray[np.int8]], selection: Selection) -> list[NDArray[np.int64]]:
    """Choose rows of all parts together, and number them within each part."""
    rows = selection.rows(np.concatenate(folds))
    ends = np.cumsum([len(fold) for fold in folds])
    return [
        rows[(rows >= end - len(fold)) & (rows < end)] - (end - len(fold))
        for fold, end in zip(folds, ends, strict=True)
    ]


def _gather(
    parts: list[Columns], rows_of_parts: list[NDArray[np.int64]]
) -> dict[str, NDArray[Any]]:
    """Copy the wanted rows of all columns but the embeddings, and let go of the mapped pages."""
    names = [field.name for field in fields(Faces) if field.name != "embedding"]
    gathered: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
    for columns, rows in zip(parts, rows_of_parts, strict=True):
        for name in names:
            gathered[name].append(columns[name][rows])
        _release(columns["embedding"])
    return {name: np.concatenate(columns) for name, columns in gathered.items()}


def _copy_embeddings(
    path: Path, source: NDArray[Any], rows: NDArray[np.int64], target: NDArray[np.float32]
) -> None:
    """Copy rows a chunk at a time, checking them, and let go of the mapped pages behind."""
    for start in range(0, len(rows), CHUNK_ROWS):
        chunk, chunk_rows = target[start : start + CHUNK_ROWS], rows[start : start + CHUNK_ROWS]
        chunk[:] = source[chunk_rows]
        refuse_lengths(path, chunk_rows, chunk)
        _release(source)


def _release(array: NDArray[Any]) -> None:
    """Drop the pages of a memory-mapped array from this process; the page cache keeps them."""
    base: Any = array
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)
