"""A table of one's own faces: its rows as labels, and what is wrong with them, line by line."""

import contextlib
import functools
import math
import os
import posixpath
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extraction.image_labels import MAX_NAME_LENGTH, MAX_PATH_LENGTH, Box, ImageLabels
from extraction.table_cells import (
    CellError,
    parse_age,
    parse_fold,
    parse_gender,
    parse_split,
    remembering,
)
from extraction.table_file import Row, read_rows
from extraction.table_header import BOX_COLUMNS, PATH, SPLIT, TableHeader
from utils.errors import DataError
from utils.labels import NO_FOLD
from utils.text import shown

MAX_LINES_NAMED = 5
OTHER_LENGTH = "row has more or fewer cells than the header"


@dataclass(frozen=True, slots=True)
class TableProblem:
    """What is wrong with some rows of a table.

    Attributes:
        cause: the same for all of them.
        example: what the first one holds.
        lines: of the rows, in order.
    """

    cause: str
    example: str
    lines: "array[int]"

    def __str__(self) -> str:
        first = ", ".join(map(str, self.lines[:MAX_LINES_NAMED]))
        more = ", ..." if len(self.lines) > MAX_LINES_NAMED else ""
        return f"{len(self.lines):,} rows: {self.cause}, such as {self.example}; line {first}{more}"


@dataclass(frozen=True, slots=True)
class FaceTable:
    """What a table says.

    Attributes:
        path: of its file.
        images: the labels of each image, or of each face where the table has boxes.
        kept_columns: names of the columns that are not labels, as in `ImageLabels.kept`.
        num_rows: rows of the table.
        problems: all that is wrong with them.
        unlike: columns that may be meant for others, as lines for the user.
    """

    path: Path
    images: list[ImageLabels]
    kept_columns: tuple[str, ...]
    num_rows: int
    problems: list[TableProblem]
    unlike: list[str]

    def causes(self) -> dict[str, int]:
        """Count the rows of each problem."""
        return {problem.cause: len(problem.lines) for problem in self.problems}

    def report(self) -> list[str]:
        """Write a line for each problem."""
        return self.unlike + [f"{self.path}: {problem}" for problem in self.problems]


def read_table(path: Path, genders: Mapping[str, str] | None = None) -> FaceTable:
    """Read a table of faces.

    A row without a usable path, or of another number of cells, is left out; another cell that
    cannot be used counts as empty. Both are problems.

    Args:
        path: CSV, TSV or Parquet.
        genders: what genders mean that are no words; see `parse_gender`.

    Raises:
        DataError: the file is missing or damaged, has no column `path` or no row, or its columns
            are ambiguous or too many.
    """
    rows = read_rows(path)
    header = TableHeader.of(path, next(rows, (0, []))[1])
    reader = _RowReader(header, _image_folder(path), genders or {})
    for row in rows:
        reader.add(row)
    if reader.num_rows == 0:
        raise DataError(f"{path} has no rows below its header")
    return FaceTable(
        path, reader.images, header.kept, reader.num_rows, reader.problems(), header.unlike
    )


def _image_folder(path: Path) -> str:
    return os.path.dirname(os.path.abspath(path))  # noqa: PTH100, PTH120 - links stay as written


class _RowReader:
    """Turns rows into labels, and remembers what is wrong.

    Args:
        header: of the table.
        folder: of the table, which paths are relative to.
        genders: see `parse_gender`.
    """

    def __init__(self, header: TableHeader, folder: str, genders: Mapping[str, str]) -> None:
        self.images: list[ImageLabels] = []
        self._problems: dict[str, TableProblem] = {}
        self.num_rows = 0
        self._header, self._folder = header, folder
        self._parsers: dict[str, Callable[[str], tuple[Any, str | None]]] = {
            "age": remembering(parse_age),
            "gender": remembering(functools.partial(parse_gender, meanings=genders)),
            "fold": remembering(parse_fold),
            SPLIT: remembering(parse_split),
        }
        self._known: dict[object, int] = {}
        self._texts: dict[str, str] = {}

    def add(self, row: Row) -> None:
        """Read a row."""
        self.num_rows += 1
        line, cells = row
        num_cells = self._header.num_cells
        if len(cells) > num_cells and not "".join(cells[num_cells:]).strip():
            cells = cells[:num_cells]
        if len(cells) != num_cells:
            self._complain(line, OTHER_LENGTH, f"{len(cells)} cells")
            return
        try:
            path = self._path(cells[self._header.labels[PATH]].strip())
        except CellError as error:
            self._complain(line, str(error), cells[self._header.labels[PATH]])
            return
        fold = self._label("fold", line, cells)
        image = ImageLabels(
            image_path=path,
            subject=self._text("subject", line, self._cell("subject", cells)),
            age=self._label("age", line, cells),
            gender=self._label("gender", line, cells),
            fold=NO_FOLD if fold is None else fold,
            box=self._box(line, cells),
            kept=tuple(self._kept(line, cells)),
        )
        self._keep_first(line, image)

    def problems(self) -> list[TableProblem]:
        """List what is wrong with the rows so far."""
        return list(self._problems.values())

    def _complain(self, line: int, cause: str, value: str) -> None:
        problem = self._problems.get(cause)
        if problem is None:
            problem = self._problems[cause] = TableProblem(cause, shown(value), array("q"))
        problem.lines.append(line)

    def _cell(self, name: str, cells: Sequence[str]) -> str:
        at = self._header.labels.get(name)
        return "" if at is None else cells[at]

    def _label(self, name: str, line: int, cells: Sequence[str]) -> Any:
        text = self._cell(name, cells)
        value, cause = self._parsers[name](text)
        if cause is not None:
            self._complain(line, cause, text)
        return value

    def _text(self, name: str, line: int, cell: str) -> str:
        """Return the text of a cell; equal ones share their memory."""
        text = cell.strip()
        if len(text) > MAX_NAME_LENGTH:
            self._complain(line, f"column {shown(name)} is cut to {MAX_NAME_LENGTH} letters", text)
            text = text[:MAX_NAME_LENGTH]
        return self._texts.setdefault(text, text)

    def _kept(self, line: int, cells: Sequence[str]) -> Iterator[str]:
        for name, at in zip(self._header.kept, self._header.kept_at, strict=True):
            if name == SPLIT:
                yield self._label(SPLIT, line, cells) or ""
            else:
                yield self._text(name, line, cells[at])

    def _box(self, line: int, cells: Sequence[str]) -> Box | None:
        if BOX_COLUMNS[0] not in self._header.labels:
            return None
        texts = [self._cell(name, cells).strip() for name in BOX_COLUMNS]
        if not any(texts):
            return None
        with contextlib.suppress(ValueError):
            left, top, right, bottom = map(float, texts)
            if left < right < math.inf and top < bottom < math.inf and min(left, top) > -math.inf:
                return left, top, right, bottom
        self._complain(line, "x0, y0, x1, y1 are no box", ", ".join(texts))
        return None

    def _path(self, text: str) -> str:
        """Return a path relative to the table's folder, or an absolute one for a file outside.

        Raises:
            CellError: no file can have it.
        """
        if not text or "\0" in text:
            raise CellError("path is empty" if not text else "path holds a NUL character")
        if "://" in text:
            raise CellError("path is an address, a file was expected")
        if "\\" in text and not os.path.lexists(os.path.join(self._folder, text)):  # noqa: PTH118
            text = text.replace("\\", "/")  # as Windows writes it
        if ".." in text.split("/"):
            folder, name = posixpath.split(text)
            text = posixpath.join(_real_folder(posixpath.join(self._folder, folder)), name)
        path = posixpath.normpath(text)
        if path.startswith("/"):
            path = "/" + path.lstrip("/")
            path = path.removeprefix(f"{self._folder}/")
        if len(path) > MAX_PATH_LENGTH or max(map(len, path.split("/"))) > MAX_NAME_LENGTH:
            raise CellError("path is too long for a file")
        return path

    def _keep_first(self, line: int, image: ImageLabels) -> None:
        """Keep an image, or a face of it, if no row before named it."""
        key = image.image_path if image.box is None else (image.image_path, image.box)
        number = self._known.setdefault(key, len(self.images))
        if number == len(self.images):
            self.images.append(image)
            return
        is_same = image == self.images[number]
        with_labels = "" if is_same else " with other labels, which do not count"
        self._complain(line, f"path was named before{with_labels}", image.image_path)


@functools.lru_cache(2**12)
def _real_folder(path: str) -> str:
    """Return where a path with ".." leads, which depends on links."""
    return os.path.realpath(path)
