"""The faces of a data set: only the rows asked for, copied once to arrays."""

import mmap
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_loader.data_files import Columns, open_columns, refuse_lengths
from data_loader.data_sets import DataPart, parts_of
from data_loader.extractors import extractors_by_dataset, refuse_foreign
from data_loader.folds import OpenedPart, find_folds
from data_loader.selection import ALL_ROWS, Selection
from utils.labels import EMBEDDING_SIZE

KEY_SIZE = 4
"""Numbers at the beginning of an embedding that no other one has."""

CHUNK_ROWS = 8192
"""Rows copied at a time: 16 MiB of embeddings."""


@dataclass(frozen=True)
class Faces:
    """N faces as columns.

    Attributes:
        embedding: (N, 512) float32.
        age: (N,) float32, years; NaN where it is not known.
        gender: (N,) 'm' or 'f'; '' where it is not known.
        subject: (N,) unicode, the person's (Adience: the album's) id; empty where it is not known.
        fold: (N,) int8, -1 where there is none.
        split: (N,) 'train', 'val' or 'test'; '' where there is none.
        det_score: (N,) how sure the detector was of the face; NaN where it is not known.
        age_in_group: (N,) bool, the age is the middle of a group of Adience, not the person's.
    """

    embedding: NDArray[np.float32]
    age: NDArray[np.float32]
    gender: NDArray[np.str_]
    subject: NDArray[np.str_]
    fold: NDArray[np.int8]
    split: NDArray[np.str_]
    det_score: NDArray[np.float32]
    age_in_group: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.embedding)


@dataclass(frozen=True)
class LoadedFaces:
    """Faces read once, which many loaders can draw from, of one process or of several.

    Attributes:
        dataset: its name.
        faces: the rows that `selection` chose; the arrays may be read-only.
        num_rows: of the file of each part, by its name, in the order in which they are joined.
        extractors: what made the embeddings; see `extractors_by_dataset`.
        selection: of the rows of the data set.
        num_unlabelled: rows left out for the label that they lack.
        remarks: what there is to know of the folds, a line each.
    """

    dataset: str
    faces: Faces
    num_rows: dict[str, int]
    extractors: dict[str, Any]
    selection: Selection = ALL_ROWS
    num_unlabelled: int = 0
    remarks: tuple[str, ...] = ()

    def num_bytes(self) -> int:
        """Return the size of the arrays."""
        return sum(getattr(self.faces, field.name).nbytes for field in fields(self.faces))

    def rows(self, selection: Selection) -> NDArray[np.int64] | None:
        """Choose the faces of another selection; None for all of them.

        Raises:
            DataError: there is none, or no such fold.
            ValueError: these are not all rows of the data set, nor the ones asked for.
        """
        if selection.chooses_like(self.selection):
            return None
        if not self.selection.chooses_like(ALL_ROWS):
            raise ValueError(f"{selection} was asked of a source that holds {self.selection}")
        rows = selection.checked_rows(vars(self.faces), self.dataset)
        return None if len(rows) == len(self.faces) else rows

    def left_out(self, selection: Selection) -> str:
        """Return in words how many rows a selection leaves out for the label they lack, or ""."""
        is_same = selection.chooses_like(self.selection)
        num = self.num_unlabelled if is_same else selection.num_unlabelled(vars(self.faces))
        return f"{num:,} rows without {selection.missing} are left out" if num else ""


def read_source(
    data_dir: Path | str, dataset: str, selection: Selection = ALL_ROWS, holds_out: bool = False
) -> LoadedFaces:
    """Read a data set, or a selection of it; raises what `read_faces` does.

    Args:
        data_dir: see `parts_of`.
        dataset: see `parts_of`.
        selection: the rows to read.
        holds_out: make folds for the parts that have none, which a selection with a fold does too.
    """
    parts, columns, remarks = _open(data_dir, dataset, holds_out or selection.fold is not None)
    rows = selection.checked_rows(columns, f"{dataset} in {data_dir}")
    faces = Faces(
        **{name: column[rows] for name, column in columns.items()},
        embedding=_read_embeddings(parts, rows, selection.seed),
    )
    return LoadedFaces(
        dataset,
        faces,
        _num_rows(parts),
        extractors_by_dataset(data_dir, dataset),
        selection,
        selection.num_unlabelled(columns),
        remarks,
    )


def read_labels(data_dir: Path | str, dataset: str, holds_out: bool) -> LoadedFaces:
    """Read a whole data set as `read_source` does, but only `KEY_SIZE` numbers of an embedding."""
    parts, columns, remarks = _open(data_dir, dataset, holds_out)
    starts = [columns["embedding"][:, :KEY_SIZE].astype(np.float32) for _, columns in parts]
    faces = Faces(**columns, embedding=np.concatenate(starts))
    return LoadedFaces(dataset, faces, _num_rows(parts), {}, remarks=remarks)


def _num_rows(parts: Sequence[OpenedPart]) -> dict[str, int]:
    return {part.name: len(columns["fold"]) for part, columns in parts}


def read_faces(data_dir: Path | str, dataset: str, selection: Selection = ALL_ROWS) -> Faces:
    """Read the faces of a data set.

    Args:
        data_dir: see `parts_of`.
        dataset: see `parts_of`.
        selection: the rows to read.

    Raises:
        DataError: unknown data set; a file that is missing, damaged or foreign; NaN, zero or
            wrongly sized embeddings; no row left; parts that come from different networks.
    """
    return read_source(data_dir, dataset, selection).faces


def _open(
    data_dir: Path | str, dataset: str, holds_out: bool
) -> tuple[list[OpenedPart], Columns, tuple[str, ...]]:
    """Open the parts of a data set.

    Returns:
        The parts; their columns joined, without the embeddings; what there is to know of the folds.
    """
    parts = [(part, _columns_of(data_dir, part)) for part in parts_of(data_dir, dataset)]
    names = [field.name for field in fields(Faces) if field.name != "embedding"]
    joined = {name: np.concatenate([columns[name] for _, columns in parts]) for name in names}
    if not holds_out:
        return parts, joined, ()
    folds = find_folds(parts)
    return parts, joined | {"fold": folds.of_rows}, folds.remarks


def _columns_of(data_dir: Path | str, part: DataPart) -> Columns:
    columns = _copied(open_columns(data_dir, part))
    return columns | {"age_in_group": np.full(len(columns["fold"]), part.is_adience)}


def _copied(columns: Columns) -> Columns:
    """Copy all columns but the embeddings: reading them touches every page; let go of these."""
    copied = {name: np.array(column) for name, column in columns.items() if name != "embedding"}
    _release(columns["embedding"])
    return copied | {"embedding": columns["embedding"]}


def _read_embeddings(
    parts: Sequence[OpenedPart], rows: NDArray[np.int64], seed: int
) -> NDArray[np.float32]:
    """Read the embeddings of rows (N,), numbered over all parts, and compare those of the parts."""
    embedding = np.empty((len(rows), EMBEDDING_SIZE), np.float32)
    joined, first, start = {}, 0, 0
    for part, columns in parts:
        end = first + len(columns["fold"])
        of_part = rows[(rows >= first) & (rows < end)] - first
        joined[part.path] = embedding[start : start + len(of_part)]
        _copy_embeddings(part.path, columns["embedding"], of_part, joined[part.path])
        first, start = end, start + len(of_part)
    if len(joined) > 1:
        refuse_foreign(joined, seed)
    return embedding


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
