"""A look through a MATLAB 5 file before scipy reads it, which trusts what the file promises.

Nesting without end overflows scipy's stack, a megabyte can inflate to gigabytes, sizes need no
bytes behind them, and data of an unknown type end the process. The walk takes the same steps as
scipy: it counts children by the sizes of cells and structs, not by bytes. Matrices of classes that
imdb.mat does not have (sparse ones, functions, objects) are refused.
"""

import struct
import zlib
from collections.abc import Container, Iterator
from math import prod
from pathlib import Path
from typing import IO

MAX_DEPTH = 8
"""Levels of matrices within matrices; imdb.mat has 3."""

MAX_BYTES = 512 << 20
"""Bytes of all variables, inflated and with room for texts and cells; imdb.mat needs 350 MiB."""

HEADER_BYTES, CHUNK_BYTES = 128, 1 << 16
BYTE_ORDERS = {b"\0\1IM": "<", b"\1\0MI": ">"}
MATRIX, COMPRESSED = 14, 15
CELL, STRUCT, CHARS = 1, 2, 4
IS_COMPLEX = 0x800
NUMBERS = range(6, 16)
NUMBER_TYPES = frozenset({1, 2, 3, 4, 5, 6, 7, 9, 12, 13})
"""Of the data of a matrix of numbers, whatever its class: MATLAB stores them as small as it can."""

TEXT_TYPES = frozenset({1, 2, 4, 16, 17, 18})
BYTES_PER_CELL = 8
"""Of what scipy makes before it reads what is inside: an address, or a letter."""


def check_mat(path: Path) -> None:
    """Check that a file is a MATLAB 5 file of sane depth and size, without keeping its content.

    Raises:
        ValueError: it is not.
        zlib.error: a part cannot be inflated.
    """
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES)
        order = BYTE_ORDERS.get(header[-4:])
        if order is None or 0 in header[:4]:
            raise ValueError("its header is another")
        num_bytes = 0
        while tag := file.read(8):
            kind, length = struct.unpack(f"{order}II", tag.ljust(8, b"\0"))
            start = file.tell()
            if kind == COMPRESSED:
                chunks = _inflated(_chunks(file, length))
            else:
                file.seek(start - len(tag))
                chunks = _chunks(file, length + len(tag))
            num_bytes = _Walk(chunks, order, num_bytes).whole_variable()
            file.seek(start + length)


def _chunks(file: IO[bytes], num_bytes: int) -> Iterator[bytes]:
    while num_bytes > 0 and (chunk := file.read(min(CHUNK_BYTES, num_bytes))):
        num_bytes -= len(chunk)
        yield chunk


def _inflated(chunks: Iterator[bytes]) -> Iterator[bytes]:
    inflate = zlib.decompressobj()
    for chunk in chunks:
        yield inflate.decompress(chunk, CHUNK_BYTES)
        while inflate.unconsumed_tail:
            yield inflate.decompress(inflate.unconsumed_tail, CHUNK_BYTES)
    yield inflate.flush()


class _Walk:
    """Walks one variable, whose bytes come in chunks."""

    def __init__(self, chunks: Iterator[bytes], order: str, num_bytes: int) -> None:
        self._chunks = chunks
        self._buffer, self._at = b"", 0
        self._num_bytes = num_bytes
        self._order = order
        self._tag = struct.Struct(f"{order}II")

    def whole_variable(self) -> int:
        """Walk to the end and return the number of bytes of this and earlier variables."""
        left = [1]
        while left:
            if left[-1] == 0:
                left.pop()
                continue
            left[-1] -= 1
            if num_children := self._matrix():
                if len(left) == MAX_DEPTH:
                    raise ValueError(f"it nests deeper than {MAX_DEPTH} levels")
                left.append(num_children)
        return self._num_bytes

    def _matrix(self) -> int:
        """Read a matrix up to its children, and return how many these are."""
        kind, length = self._tag.unpack(self._take(8))
        if kind != MATRIX:
            raise ValueError("it holds something else than matrices")
        if length == 0:
            return 0
        flags, _ = self._tag.unpack(self._take(16)[8:])
        class_, num_parts = flags & 0xFF, 1 + bool(flags & IS_COMPLEX)
        num_cells = prod(self._integers())
        self._skip_element(TEXT_TYPES)  # the name
        if class_ in NUMBERS:
            for _ in range(num_parts):
                self._skip_element(NUMBER_TYPES)
            return 0
        if class_ not in (CELL, STRUCT, CHARS):
            raise ValueError(f"it holds a matrix of the class {class_}, which is not read")
        self._count(BYTES_PER_CELL * num_cells)
        if class_ == CHARS:
            self._skip_element(TEXT_TYPES)
            return 0
        return num_cells if class_ == CELL else num_cells * self._num_fields()

    def _num_fields(self) -> int:
        (name_length,) = self._integers()
        _, size, padded = self._element()
        self._skip(padded)
        if name_length < 1:
            raise ValueError("it holds a struct whose fields have no names")
        return size // name_length

    def _integers(self) -> tuple[int, ...]:
        _, size, padded = self._element()
        if size > 128:
            raise ValueError("it holds a matrix of too many dimensions")
        numbers = struct.unpack(f"{self._order}{size // 4}i", self._take(padded)[: size // 4 * 4])
        if min(numbers, default=-1) < 0:
            raise ValueError("it holds a matrix of a negative size")
        return numbers

    def _skip_element(self, types: Container[int]) -> None:
        type_, _, padded = self._element()
        if type_ not in types:
            raise ValueError(f"it holds data of the type {type_} where that cannot be")
        self._skip(padded)

    def _element(self) -> tuple[int, int, int]:
        """Read the tag of an element: type, size, and what it takes up from where the walk is.

        A small element has its size in the upper half of the first word, its data in the second.
        """
        first, size = self._tag.unpack(self._take(8))
        if not first >> 16:
            return first, size, size + -size % 8
        self._at -= 4
        self._num_bytes -= 4
        return first & 0xFFFF, min(first >> 16, 4), 4

    def _take(self, size: int) -> bytes:
        while len(self._buffer) - self._at < size:
            self._more()
        self._count(size)
        start = self._at
        self._at += size
        return self._buffer[start : self._at]

    def _skip(self, size: int) -> None:
        self._count(size)
        while size > len(self._buffer) - self._at:
            size -= len(self._buffer) - self._at
            self._at = len(self._buffer)
            self._more()
        self._at += size

    def _more(self) -> None:
        chunk = next(self._chunks, None)
        if chunk is None:
            raise ValueError("it is cut off")
        self._buffer, self._at = self._buffer[self._at :] + chunk, 0

    def _count(self, size: int) -> None:
        self._num_bytes += size
        if self._num_bytes > MAX_BYTES:
            raise ValueError(f"it inflates to more than {MAX_BYTES >> 20} MiB")
