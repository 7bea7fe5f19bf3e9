"""Rows of text from a table of any kind: CSV in its dialects and encodings, TSV, Parquet."""

import codecs
import csv
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, TextIO

from utils.errors import DataError
from utils.log import get_logger

DELIMITERS = (",", ";", "\t", "|")
TAB_SUFFIXES = (".tsv", ".tab")
PARQUET_SUFFIXES = (".parquet", ".pq")
MAX_LINE = 1 << 20
"""Most letters of a line."""

CHUNK_BYTES = 1 << 20
BATCH_ROWS = 10_000
MAX_ROWS = 10_000_000

_SEPARATOR_LINE = "sep="
"""Excel writes such a line before the header, with the delimiter behind it."""

_MARKS = (  # that of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)
_OTHER_KINDS = {b"PK\x03\x04": "a spreadsheet or an archive", b"\x1f\x8b": "compressed"}
_PARQUET_KINDS = ("is_string", "is_large_string", "is_integer", "is_floating", "is_boolean")
"""What Parquet calls text, numbers, and true or false."""

Row = tuple[int, list[str]]
"""The number of a line (of a row in Parquet), counted from 1, and its cells."""

_logger = get_logger("table")


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the header of a table, then its rows; lines without anything are left out.

    Raises:
        DataError: the file is missing, of another kind, damaged, or too large.
    """
    if not path.is_file():
        kind = "is a folder or a device" if path.exists() else "no such file"
        raise DataError(
            f"{path}: {kind}; a CSV, TSV or Parquet file with a column path is expected"
        )
    try:
        is_parquet = path.suffix.lower() in PARQUET_SUFFIXES
        rows = _parquet_rows(path) if is_parquet else _text_rows(path)
        for number, row in enumerate(rows):
            if number > MAX_ROWS:
                raise DataError(f"{path} has more than {MAX_ROWS:,} rows; split it")
            yield row
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None


def _text_rows(path: Path) -> Iterator[Row]:
    line = 0
    try:
        with path.open(encoding=_encoding(path), newline="") as file:
            delimiter, line = _dialect(path, file)
            num_before, lines = line, _bounded_lines(path, file)
            cells = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
            for row in cells:
                line = num_before + cells.line_num
                if any(map(str.strip, row)):
                    yield line, row
    except csv.Error as error:
        where = f"{path}, after line {line}"
        raise DataError(f"{where}: {error}; is a quotation mark not closed?") from None
    except UnicodeError:
        raise DataError(f"{path}, after line {line}: damaged text; save it as UTF-8") from None


def _encoding(path: Path) -> str:
    """Find the encoding: that of a byte order mark, else UTF-8, else Latin-1, with a warning."""
    with path.open("rb") as file:
        start = file.read(CHUNK_BYTES)
        for mark, encoding in _MARKS:
            if start.startswith(mark):
                return encoding
        for beginning, kind in _OTHER_KINDS.items():
            if start.startswith(beginning):
                raise DataError(f"{path} is {kind}; save it as CSV (UTF-8)")
        if b"\0" in start:
            raise DataError(f"{path} is no text; save it as CSV (UTF-8)")
        file.seek(0)
        line = _line_that_is_not_utf_8(file)
    if line is None:
        return "utf-8"
    _logger.warning(
        f"{path} is not UTF-8 (line {line}) and is read as Latin-1; save it as UTF-8 if names "
        "come out wrong"
    )
    return "latin-1"


def _line_that_is_not_utf_8(file: IO[bytes]) -> int | None:
    """Return the number of the first line that is not UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    num_lines, chunk = 0, b"\n"
    while chunk:
        chunk = file.read(CHUNK_BYTES)
        try:
            decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            return num_lines + chunk[: error.start].count(b"\n") + 1
        num_lines += chunk.count(b"\n")
    return None


def _dialect(path: Path, file: TextIO) -> tuple[str, int]:
    """Return what separates the cells, and how many lines come before the header.

    It is the one that the first line has most of, a comma if it has none.
    """
    first = file.readline(MAX_LINE)
    if first.lower().startswith(_SEPARATOR_LINE) and len(first.rstrip("\r\n")) == 5:
        return first[4], 1
    file.seek(0)
    if path.suffix.lower() in TAB_SUFFIXES:
        return "\t", 0
    return max(DELIMITERS, key=first.count), 0


def _bounded_lines(path: Path, file: TextIO) -> Iterator[str]:
    while line := file.readline(MAX_LINE):
        if len(line) == MAX_LINE:
            raise DataError(f"{path} has a line of more than {MAX_LINE:,} letters; is it a table?")
        yield line


def _parquet_rows(path: Path) -> Iterator[Row]:
    """Yield names and rows of the columns that hold text, numbers, true or false."""
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise DataError(
            f"{path}: Parquet needs a package; pip install pyarrow, or save the table as CSV"
        ) from None
    try:
        with parquet.ParquetFile(path) as file:
            fields = [field.name for field in file.schema_arrow if _is_plain(field.type)]
            yield 0, fields
            numbers = itertools.count(1)
            for batch in file.iter_batches(BATCH_ROWS, columns=fields):
                columns = [batch.column(name).to_pylist() for name in fields]
                for cells in zip(*columns, strict=True):
                    yield next(numbers), list(map(_text, cells))
    except ArrowException as error:
        first_line = str(error).partition("\n")[0]
        raise DataError(f"{path} is damaged, or no Parquet file: {first_line:.200}") from None


def _is_plain(kind: Any) -> bool:
    """Return whether a column holds what a CSV can; it may number its values."""
    from pyarrow import types

    plain = kind.value_type if types.is_dictionary(kind) else kind
    return any(getattr(types, test)(plain) for test in _PARQUET_KINDS)


def _text(value: Any) -> str:
    """Write a value as a CSV would; a missing one is empty."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value)
