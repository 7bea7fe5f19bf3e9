"""TIFF: the first directory of a file, or of EXIF, which is one; only the tags of pixels stay."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

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
        """A place in the file."""
        return struct.Struct(self.order + ("Q" if self.is_big else "I"))


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a directory; `place` is where it begins."""

    tag: int
    kind: int
    count: int
    value: bytes
    place: int


@dataclass(frozen=True, slots=True)
class Directory:
    """The first directory of a file; `place` is where its number of entries stands."""

    layout: _Layout
    place: int
    entries: list[Entry]

    def orientation(self) -> int | None:
        """Return the value of the orientation, whatever number it is; None without one."""
        found = None
        for entry in self.entries:
            letter = _WHOLE_NUMBERS.get(entry.kind)
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


def read_directory(content: bytes) -> Directory | None:
    """Read the first directory; None where there is none. Entries beyond the end are left out."""
    if len(content) < 8 or content[:2] not in (b"II", b"MM"):
        return None
    layout = _Layout("<" if content[:1] == b"I" else ">", _BIG in content[2:4])
    try:
        (place,) = layout.offset.unpack_from(content, 8 if layout.is_big else 4)
        (count,) = layout.count.unpack_from(content, place)
    except (struct.error, OverflowError):
        return None
    return Directory(layout, place, list(_entries(content, layout, place, count)))


def _entries(content: bytes, layout: _Layout, place: int, count: int) -> Iterator[Entry]:
    start, width = place + layout.count.size, layout.entry.size
    count = min(count, max(0, len(content) - start) // width)
    for position in range(start, start + count * width, width):
        tag, kind, number, value = layout.entry.unpack_from(content, position)
        yield Entry(tag, kind, number, value, position)


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


def _with_pixel_tags_only(content: bytes, directory: Directory) -> bytes:
    layout, kept = directory.layout, [e for e in directory.entries if e.tag in PIXEL_TAGS]
    changed = bytearray(content)
    layout.count.pack_into(changed, directory.place, len(kept))
    position, width = directory.place + layout.count.size, layout.entry.size
    for entry in kept:
        changed[position : position + width] = content[entry.place : entry.place + width]
        position += width
    changed[position : position + layout.offset.size] = bytes(layout.offset.size)
    return bytes(changed)
