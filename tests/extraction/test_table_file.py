import builtins
import contextlib
import gzip
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_table import table

from extraction import table_file
from extraction.table import read_table
from extraction.table_file import read_rows
from utils.errors import DataError

ROWS = [["path", "age"], ["a.jpg", "3"], ["caf\u00e9, b.jpg", "4-5"]]


def cells(path: Path) -> list[list[str]]:
    return [row for _, row in read_rows(path)]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('path,age\na.jpg,3\n"caf\u00e9, b.jpg",4-5\n', "faces.csv"),
        ("path;age\r\na.jpg;3\r\ncaf\u00e9, b.jpg;4-5", "faces.csv"),
        ("path\tage\na.jpg\t3\ncaf\u00e9, b.jpg\t4-5\n", "faces.tsv"),
        ("path\tage\na.jpg\t3\n\n \t \ncaf\u00e9, b.jpg\t4-5\n", "faces.txt"),
        ("sep=|\npath|age\na.jpg| 3\ncaf\u00e9, b.jpg|4-5\n", "faces.csv"),
        ("path|age\ra.jpg|3\rcaf\u00e9, b.jpg|4-5\r", "faces.csv"),
    ],
)
def test_any_usual_dialect_is_read(tmp_path: Path, text: str, name: str) -> None:
    assert cells(table(tmp_path, text, name)) == ROWS


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_byte_order_marks_tell_the_encoding(
    tmp_path: Path, encoding: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = table(tmp_path, "path;age\na.jpg;3\ncaf\u00e9, b.jpg;4-5\n", encoding=encoding)
    assert cells(path) == ROWS
    assert caplog.messages == []


def test_other_bytes_are_latin_1_and_say_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = table(tmp_path, "path;age\na.jpg;3\ncaf\u00e9, b.jpg;4-5\n", encoding="latin-1")
    assert cells(path) == ROWS
    assert "is not UTF-8 (line 3) and is read as Latin-1" in caplog.text


def test_lines_are_counted_as_an_editor_does(tmp_path: Path) -> None:
    path = table(tmp_path, 'sep=;\npath;note\n\na.jpg;"two\nlines"\nb.jpg;\n')
    assert [number for number, _ in read_rows(path)] == [2, 5, 6]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'path,age\na.jpg,3\nb.jpg,"4\nc.jpg,5\n', "line 2: unexpected end of data; is a quot"),
        (b"path\n" + b"a" * 200_000, "line 1: field larger than"),
        (b"path," + b"a," * 600_000, "a line of more than 1,048,576 letters"),
        (b"PK\x03\x04 xlsx", "is a spreadsheet or an archive; save it as CSV"),
        (gzip.compress(b"path", mtime=0), "is compressed"),
        (b"path\0", "is no text"),
        ("path\na.jpg\n".encode("utf-16") + b"\x00", "damaged text"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "faces.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"faces.csv.*{message}"):
        cells(path)


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    for name, message in (("no.csv", "no such file"), (".", "folder"), ("pipe.csv", "device")):
        with pytest.raises(DataError, match=message):
            cells(tmp_path / name)


def test_too_many_rows_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_file, "MAX_ROWS", 3)
    assert len(cells(table(tmp_path, "path\na\nb\nc\n"))) == 4
    with pytest.raises(DataError, match="more than 3 rows"):
        cells(table(tmp_path, "path\na\nb\nc\nd\n"))


def write_parquet(file: Path, **columns: list[Any]) -> Path:
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table(columns), file)
    return file


def test_parquet_is_read_as_the_same_text(tmp_path: Path) -> None:
    path = write_parquet(
        tmp_path / "faces.parquet",
        path=["a.jpg", "b.jpg"],
        age=[25.0, None],
        count=[1, 2],
        image=[{"bytes": b"\0"}, None],
        score=[0.5, 0.25],
    )
    assert list(read_rows(path)) == [
        (0, ["path", "age", "count", "score"]),
        (1, ["a.jpg", "25", "1", "0.5"]),
        (2, ["b.jpg", "", "2", "0.25"]),
    ]


def test_a_damaged_parquet_file_is_refused(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "faces.parquet", path=["a.jpg"] * 1000)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match="damaged, or no Parquet file"):
        cells(path)


def test_without_pyarrow_the_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *args)

    path = tmp_path / "faces.parquet"
    path.touch()
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DataError, match="pip install pyarrow"):
        cells(path)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(content=st.binary(max_size=200), start=st.sampled_from([b"", b"path,age\n", b"sep=;\npath"]))
def test_any_bytes_are_a_table_or_are_refused(
    content: bytes, start: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.csv"
    path.write_bytes(start + content)
    with contextlib.suppress(DataError):
        found = read_table(path)
        assert len(found.images) <= found.num_rows
