"""AVIF and HEIC, which are files of boxes: which of them it is, and AVIF without its metadata.

Source: ISO/IEC 14496-12 (the boxes), 23008-12 (items).
"""

from collections.abc import Iterator
from dataclasses import dataclass

MAX_BOXES = 10_000
_METADATA = (b"Exif", b"mime")
_HIDDEN = b"skip"
_ITEM_TYPE_OFFSETS = {2: 8, 3: 10}
"""Where the type of an item stands, behind its number, by the version of its box."""

_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
_AVIF_BRANDS = (b"avif", b"avis")


@dataclass(frozen=True, slots=True)
class FileBox:
    """A box: its type, and where its content begins and ends."""

    type: bytes
    start: int
    end: int


def _boxes(content: bytes | bytearray, start: int, end: int) -> Iterator[FileBox]:
    """Read the boxes of a file, or of a box; one that is cut off ends with the file."""
    for _ in range(MAX_BOXES):
        if start + 8 > end:
            return
        size, header = int.from_bytes(content[start : start + 4], "big"), 8
        if size == 1:
            size, header = int.from_bytes(content[start + 8 : start + 16], "big"), 16
        stop = start + size if size else end
        if stop < start + header:
            return
        yield FileBox(bytes(content[start + 4 : start + 8]), start + header, min(stop, end))
        start = stop


def kind_of(content: bytes) -> str | None:
    r"""Return HEIC, AVIF or None by the brands that a file begins with.

    >>> kind_of(b"\0\0\0\x18ftypmif1\0\0\0\0heicmif1"), kind_of(b"GIF89a")
    ('HEIC', None)
    """
    if content[4:8] != b"ftyp":
        return None
    length = max(16, min(int.from_bytes(content[:4], "big"), 256))
    major, others = content[8:12], content[16:length]
    brands = [major, *(others[start : start + 4] for start in range(0, len(others), 4))]
    if any(brand in _AVIF_BRANDS for brand in brands):
        return "AVIF"
    return "HEIC" if any(brand in _HEIC_BRANDS for brand in brands) else None


def with_metadata_hidden(content: bytes) -> bytes:
    """Rename the items of an AVIF that hold EXIF and XMP, so that no decoder looks into them.

    What turns the picture is no metadata there, but properties of its own.
    """
    changed = bytearray(content)
    for box in _boxes(content, 0, len(content)):
        if box.type == b"meta":
            for inner in _boxes(content, box.start + 4, box.end):  # 4: version and flags
                if inner.type == b"iinf":
                    _hide_items(changed, inner)
    return bytes(changed)


def _hide_items(content: bytearray, items: FileBox) -> None:
    count_bytes = 2 if content[items.start] == 0 else 4
    for item in _boxes(content, items.start + 4 + count_bytes, items.end):
        start = item.start + _ITEM_TYPE_OFFSETS.get(content[item.start], len(content))
        if item.type == b"infe" and bytes(content[start : start + 4]) in _METADATA:
            content[start : start + 4] = _HIDDEN
