"""PNG: its chunks without the metadata, of which nothing is unpacked but an orientation.

Source: the PNG specification, third edition, W3C 2025.
"""

import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from faces.errors import DAMAGED, ImageError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_CHUNKS = 200_000
"""Most chunks; the pixels of a picture of 48 MB take 6,000 as programs write them."""

MAX_UNPACKED = 2**20
"""Most bytes that are unpacked of a text in which an orientation may stand."""

_TRANSPARENCY = b"tRNS"
_RAW_EXIF, _XMP = b"Raw profile type exif", b"XML:com.adobe.xmp"
_NAME = re.compile(rb"[A-Za-z]{4}")


@dataclass(frozen=True, slots=True)
class PngChunk:
    """A chunk that is whole; `end` is behind its checksum."""

    name: bytes
    start: int
    end: int

    @property
    def is_metadata(self) -> bool:
        """Whether a decoder may pass over it, and the pixels stay the same."""
        return self.name[:1].islower() and self.name != _TRANSPARENCY

    def body(self, content: bytes) -> bytes:
        """Return what it holds."""
        return content[self.start + 8 : self.end - 4]


def _chunks(content: bytes) -> Iterator[PngChunk]:
    """Read the chunks up to the end, or to the first that is cut off or none."""
    position = len(SIGNATURE)
    while position + 12 <= len(content):
        name = content[position + 4 : position + 8]
        end = position + 12 + int.from_bytes(content[position : position + 4], "big")
        if end > len(content) or not _NAME.fullmatch(name):
            return
        yield PngChunk(name, position, end)
        if name == b"IEND":
            return
        position = end


def without_metadata(content: bytes) -> tuple[bytes, bytes, bytes]:
    """Take the metadata out of a PNG, and the further pictures of an animated one.

    Returns:
        the file without it, the EXIF, and the XMP, both empty where there is none.

    Raises:
        ImageError: there are more than `MAX_CHUNKS`.
    """
    kept, begin, end = bytearray(SIGNATURE), len(SIGNATURE), len(SIGNATURE)
    found: dict[bytes, bytes] = {}
    for number, chunk in enumerate(_chunks(content)):
        if number == MAX_CHUNKS:
            raise ImageError(DAMAGED, f"more than {MAX_CHUNKS:,} chunks")
        end = chunk.end
        if chunk.is_metadata:
            kept += content[begin : chunk.start]
            begin = end
            _find(chunk, content, found)
    rest = content[end:]
    is_cut_metadata = rest[4:5].islower() and rest[4:8] != _TRANSPARENCY
    kept += content[begin:end] if is_cut_metadata else content[begin:]
    exif = found.get(b"eXIf") or _from_hex(found.get(_RAW_EXIF, b""))
    return bytes(kept), exif, found.get(_XMP, b"")


def _find(chunk: PngChunk, content: bytes, found: dict[bytes, bytes]) -> None:
    """Note what an orientation may stand in."""
    if chunk.name == b"eXIf":
        found[chunk.name] = chunk.body(content)
        return
    unpack = _TEXTS.get(chunk.name)
    if unpack is None:
        return
    start = content[chunk.start + 8 : chunk.start + 8 + len(_RAW_EXIF) + 1]
    for keyword in (_RAW_EXIF, _XMP):
        if start.startswith(keyword + b"\0"):
            found[keyword] = unpack(chunk.body(content)[len(keyword) + 1 :])


def _international(body: bytes) -> bytes:
    """Read what stands behind the keyword of an iTXt: two flags, two names, the text."""
    *_, text = body[2:].split(b"\0", 2)
    return _unpacked(text) if body[:1] == b"\1" else text


def _unpacked(body: bytes) -> bytes:
    """Unpack the beginning, up to `MAX_UNPACKED`."""
    try:
        return zlib.decompressobj().decompress(body, MAX_UNPACKED)
    except zlib.error:
        return b""


_TEXTS: dict[bytes, Callable[[bytes], bytes]] = {
    b"tEXt": bytes,
    b"zTXt": lambda body: _unpacked(body[1:]),
    b"iTXt": _international,
}


def _from_hex(text: bytes) -> bytes:
    """Read EXIF as ImageMagick writes it: a name, a length, and lines of hexadecimal digits."""
    try:
        return bytes.fromhex("".join(text.decode("latin-1").split("\n")[3:]))
    except ValueError:
        return b""
