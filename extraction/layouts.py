"""Tables of faces, made from the layouts in which data sets are downloaded."""

import csv
import functools
import io
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from extraction.extraction_report import write_reasons
from extraction.layout_files import fairface_rows, lagenda_rows
from extraction.layout_names import (
    AGEDB_FORM,
    CACD_FORM,
    UTKFACE_FORM,
    agedb_cells,
    cacd_cells,
    rows_of_names,
    utkface_cells,
)
from extraction.layout_rows import LayoutRow
from utils.errors import DataError
from utils.files import atomic_write, refuse_unwritable_file
from utils.log import get_logger
from utils.text import nearest, shown

MAX_NAMED = 5
NOT_UTF_8 = "file name is not UTF-8; rename it"

_logger = get_logger("table")


@dataclass(frozen=True, slots=True)
class Layout:
    """How a data set is laid out.

    Attributes:
        rows: yields what it says.
        columns: of the table, behind `path`.
        form: what it looks like, for messages.
        lacks: what it does not say; '' if nothing.
    """

    rows: Callable[[Path], Iterator[LayoutRow]]
    columns: tuple[str, ...]
    form: str
    lacks: str = ""


LAYOUTS = {
    "utkface": Layout(
        functools.partial(rows_of_names, read_name=utkface_cells),
        ("age", "gender", "race"),
        f"images named {UTKFACE_FORM}",
        "who is shown",
    ),
    "fairface": Layout(
        fairface_rows,
        ("age", "gender", "race", "service_test", "split"),
        "images that its label files name",
        "ages in years, only ranges, and who is shown",
    ),
    "agedb": Layout(
        functools.partial(rows_of_names, read_name=agedb_cells),
        ("age", "gender", "subject"),
        f"images named {AGEDB_FORM}",
    ),
    "cacd": Layout(
        functools.partial(rows_of_names, read_name=cacd_cells),
        ("age", "subject"),
        f"images named {CACD_FORM}",
        "genders",
    ),
    "lagenda": Layout(
        lagenda_rows,
        ("age", "gender", "x0", "y0", "x1", "y1"),
        "labelled faces in its annotation file",
        "who is shown",
    ),
}


@dataclass(slots=True)
class _TableWriter:
    """Writes rows, and remembers what is wrong with them."""

    folder: str
    columns: tuple[str, ...]
    text: io.TextIOWrapper
    num_rows: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)

    def write(self, rows: Iterable[LayoutRow]) -> None:
        """Write those rows that are not left out."""
        lines = csv.writer(self.text, lineterminator="\n")
        lines.writerow(("path", *self.columns))
        for row in rows:
            if row.problem:
                self.problems.append((row.where, row.problem))
            if row.cells is None:
                continue
            path = row.cells["path"].removeprefix(f"{self.folder}/")
            if not _is_utf_8(path):
                self.problems.append((row.where, NOT_UTF_8))
                continue
            lines.writerow((path, *(row.cells[name] for name in self.columns)))
            self.num_rows += 1


def make_table(layout: str, folder: Path, out_path: Path | None = None) -> Path:
    """Write the table of a data set as it was downloaded, and log what it lacks.

    What is wrong is counted by cause and listed in `<table>-problems.csv`.

    Args:
        layout: one of `LAYOUTS`, in any case.
        folder: that the data set was unpacked to.
        out_path: of the table; None for `<layout>.csv` in the folder.

    Returns:
        the path of the table.

    Raises:
        DataError: the layout is unknown, or the folder holds something else.
        PathError: the table cannot be written.
    """
    name = layout.lower()
    if name not in LAYOUTS:
        raise DataError(f"unknown layout {layout!r}, {nearest(name, LAYOUTS)}")
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected {LAYOUTS[name].form} there")
    chosen, path = LAYOUTS[name], out_path or folder / f"{name}.csv"
    refuse_unwritable_file(path)
    table_dir = os.path.dirname(os.path.abspath(path))  # noqa: PTH100, PTH120 - links stay
    with atomic_write(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        writer = _TableWriter(table_dir, chosen.columns, text)
        writer.write(chosen.rows(folder.absolute()))
        text.flush()
        text.detach()
        _report(path, writer.problems)
        if writer.num_rows == 0:
            raise DataError(f"{folder} holds no {chosen.form}; {path} is not written")
    _logger.info(f"{path}: {writer.num_rows:,} rows")
    if chosen.lacks:
        _logger.info(f"{name} does not tell {chosen.lacks}")
    return path


def _report(path: Path, problems: list[tuple[str, str]]) -> None:
    """Log one line for each cause, and list all."""
    listed = path.with_name(f"{path.stem}-problems.csv")
    for cause, count in Counter(cause for _, cause in problems).items():
        named = [shown(Path(where).name) for where, its_cause in problems if its_cause == cause]
        more = ", ..." if count > MAX_NAMED else ""
        _logger.warning(f"{count:,} of another form: {cause}: {', '.join(named[:MAX_NAMED])}{more}")
    if problems:
        write_reasons(problems, listed, ("where", "cause"))
        _logger.warning(f"{listed} lists all of them")
    else:
        listed.unlink(missing_ok=True)


def _is_utf_8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
