"""TIFF: its first directory without the metadata, and the orientation in EXIF, which is a TIFF."""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

UPRIGHT = 1
ORIENTATIONS = range(1, 9)
_HEADERS = re.compile(rb"(?:Exif\0\0)*")
_XMP = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')
ORIENTATION_TAG = 0x0112
XMP_TAG = 700
PREFIXES = (b"II\x2a\0", b"MM\0\x2a", b"II\0\x2a", b"MM\x2a\0", b"II\x2b\0", b"MM\0\x2b")
PIXEL_TAGS = frozenset(
    (
        *(256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284),  # size, depth, strips
        *(292, 293, 317, 320, 322, 323, 324, 325),  # compression, palette, tiles
        *(332, 338, 339, 347, *range(512, 522)),  # samples, JPEG
        *(529, 530, 531, 532, *range(32995, 32999)),  # YCbCr, what libtiff once used
    )
)
"""What decoding needs. Any other tag may hold anything, and has no say in the pixels."""

_BIG = 43
_WHOLE_NUMBERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 16: "Q"}


@dataclass(frozen=True, slots=True)
class _Layout:
    """How numbers lie in a file: those of ordinary TIFF, or of BigTIFF."""

    order: str
    is_big: bool

    @property
    def count(self) -> struct.Struct:
        """The number of entries in a directory."""
        return struct.Struct(self.order + ("Q" if self.is_big else "H"))

    @property
    def entry(self) -> struct.Struct:
        """Tag, type and number of values; then the values, or where they lie."""
        return struct.Struct(self.order + ("HHQ8s" if self.is_big else "HHI4s"))

    @property
    def offset(self) -> struct.Struct:
        """A position in the file."""
        return struct.Struct(self.order + ("Q" if self.is_big else "I"))


@dataclass(frozen=True, slots=True)
class TiffEntry:
    """An entry of a directory; `start` is where it stands in the file."""

    tag: int
    type: int
    count: int
    value: bytes
    start: int


@dataclass(frozen=True, slots=True)
class TiffDirectory:
    """The first directory of a file; `start` is where its number of entries stands."""

    layout: _Layout
    start: int
    entries: list[TiffEntry]

    def orientation(self) -> int | None:
        """Return the value of the orientation, whatever number it is; None without one."""
        found = None
        for entry in self.entries:
            letter = _WHOLE_NUMBERS.get(entry.type)
            if entry.tag == ORIENTATION_TAG and entry.count == 1 and letter:
                form = struct.Struct(self.layout.order + letter)
                if form.size <= len(entry.value):
                    (found,) = form.unpack_from(entry.value)
        return found

    def values(self, content: bytes, tag: int) -> bytes:
        """Return what a tag of bytes holds, as far as the file goes; empty without one."""
        for entry in self.entries:
            if entry.tag == tag and entry.count > len(entry.value):
                (start,) = self.layout.offset.unpack(entry.value)
                return content[start : start + entry.count]
        return b""


def read_directory(content: bytes) -> TiffDirectory | None:
    """Read the first directory; None where there is none. Entries beyond the end are left out."""
    if len(content) < 8 or content[:2] not in (b"II", b"MM"):
        return None
    layout = _Layout("<" if content[:1] == b"I" else ">", _BIG in content[2:4])
    try:
        (start,) = layout.offset.unpack_from(content, 8 if layout.is_big else 4)
        (count,) = layout.count.unpack_from(content, start)
    except (struct.error, OverflowError):
        return None
    first = start + layout.count.size
    return TiffDirectory(layout, start, list(_entries(content, layout, first, count)))


def _entries(content: bytes, layout: _Layout, start: int, count: int) -> Iterator[TiffEntry]:
    width = layout.entry.size
    count = min(count, max(0, len(content) - start) // width)
    for position in range(start, start + count * width, width):
        tag, number_type, number, value = layout.entry.unpack_from(content, position)
        yield TiffEntry(tag, number_type, number, value, position)


def orientation_of(exif: bytes | None, xmp: bytes | None = None) -> int:
    r"""Return the orientation, 1 to 8; what does not exist, or cannot be read, is upright.

    Args:
        exif: with or without its header, which some programs write twice.
        xmp: where the EXIF holds no orientation.

    >>> orientation_of(b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0")
    6
    >>> orientation_of(None, b'<x tiff:Orientation="3"/>')
    3
    """
    found = None
    if exif:
        directory = read_directory(_HEADERS.sub(b"", exif, count=1))
        found = directory.orientation() if directory is not None else None
    if found is None and xmp and (match := _XMP.search(xmp)):
        found = int(match[1])
    return UPRIGHT if found is None or found not in ORIENTATIONS else found


def without_metadata(content: bytes) -> tuple[bytes, bytes, bytes]:
    """Take the tags that say nothing about the pixels out of the first directory of a file.

    Returns:
        the file without them and without its further pictures, the EXIF, which is the file itself,
        and the XMP, empty where there is none.
    """
    directory = read_directory(content)
    if directory is None:
        return content, b"", b""
    return _with_pixel_tags_only(content, directory), content, directory.values(content, XMP_TAG)


def _with_pixel_tags_only(content: bytes, directory: TiffDirectory) -> bytes:
    layout, kept = directory.layout, [e for e in directory.entries if e.tag in PIXEL_TAGS]
    changed = bytearray(content)
    layout.count.pack_into(changed, directory.start, len(kept))
    position, width = directory.start + layout.count.size, layout.entry.size
    for entry in kept:
        changed[position : position + width] = content[entry.start : entry.start + width]
        position += width
    changed[position : position + layout.offset.size] = bytes(layout.offset.size)
    return bytes(changed)
