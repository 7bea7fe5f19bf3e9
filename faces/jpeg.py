"""JPEG: its segments without the metadata, and whether all pixels are there without an end marker.

Source: ITU-T T.81, annex B.
"""

import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

from PIL import Image

from faces.errors import DAMAGED, ImageError

START = b"\xff\xd8"
END = b"\xff\xd9"
MAX_SEGMENTS = 10_000
"""Most segments before the pixels; a profile of 48 MB takes 750."""

MAX_SCANS = 100
"""Most scans, each of which goes over all pixels: 600 kB of them keep a decoder busy for minutes.
Pictures have about ten; libtiff draws the line here too."""

_MARKER = re.compile(rb"\xff([\xc0-\xcf\xd9-\xfe])")  # not those that stand within the pixels
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SCAN, _COMMENT = 0xDA, 0xFE
_APPLICATIONS = range(0xE0, 0xF0)
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_FILLINGS = (b"\x55" * 8192, b"\xaa" * 8192, b"\x1b\xe4\x72" * 2731)
"""What is taken for pixels, once behind the last bit and once behind the next restart marker: more
than a unit of ten blocks may take, since the decoder drops what breaks off within one."""

_NUM_COEFFICIENTS = 64
_BYTES_A_STRIP = 2**22
_one_at_a_time = threading.Lock()


@dataclass(frozen=True, slots=True)
class JpegSegment:
    """A marker and what belongs to it, without the compressed pixels behind a scan's header."""

    marker: int
    start: int
    end: int
    body: bytes

    @property
    def tells_colours(self) -> bool:
        """Whether the decoder needs it to know what the colours mean."""
        is_jfif = self.marker == 0xE0 and self.body[:5] == b"JFIF\0" and len(self.body) >= 14
        return is_jfif or (
            self.marker == 0xEE and self.body[:5] == b"Adobe" and len(self.body) >= 12
        )

    @property
    def is_metadata(self) -> bool:
        """Whether it has no say in the pixels."""
        is_other = self.marker == _COMMENT or self.marker in _APPLICATIONS
        return is_other and not self.tells_colours


def _segments(content: bytes) -> Iterator[JpegSegment]:
    """Read the segments that are whole, up to the end of the picture or to what is none."""
    position = len(START)
    while (found := _MARKER.search(content, position)) is not None:
        position = found.end()
        length = max(2, int.from_bytes(content[position : position + 2], "big"))
        if found[0] == END or position + length > len(content):
            return  # a length of less than 2 the decoder takes for 2, and goes on
        body = content[position + 2 : position + length]
        position += length
        yield JpegSegment(found[1][0], found.start(), position, body)


def without_metadata(content: bytes) -> tuple[bytes, bytes, bytes]:
    """Take the metadata out of a JPEG.

    Returns:
        the file without what stands before the pixels and says nothing about them, the EXIF, and
        the XMP, both empty where there is none.

    Raises:
        ImageError: there are more than `MAX_SEGMENTS`.
    """
    kept, exif, xmp = [START], b"", b""
    for number, segment in enumerate(_segments(content)):
        if number == MAX_SEGMENTS:
            raise ImageError(DAMAGED, f"more than {MAX_SEGMENTS:,} segments before the pixels")
        if segment.marker == _SCAN:
            return b"".join([*kept, content[segment.start :]]), exif, xmp
        if segment.marker == 0xE1 and segment.body.startswith(_EXIF):
            exif += segment.body.removeprefix(_EXIF)
        elif segment.marker == 0xE1 and segment.body.startswith(_XMP):
            xmp = segment.body.removeprefix(_XMP)
        if not segment.is_metadata:
            kept.append(content[segment.start : segment.end])
    return content, exif, xmp


def check_scans(content: bytes) -> None:
    """Refuse a JPEG that takes long to decode.

    Raises:
        ImageError: it has more than `MAX_SCANS`.
    """
    num_scans = sum(segment.marker == _SCAN for segment in _segments(content))
    if num_scans > MAX_SCANS:
        raise ImageError(DAMAGED, f"{num_scans:,} scans, expected at most {MAX_SCANS}")


def with_end(content: bytes) -> bytes:
    """Add the end marker to a JPEG, without metadata, that lacks nothing else.

    Whether pixels are missing is told by what the decoder makes of them: it ignores what stands
    behind the last pixel, but takes it for pixels if some are missing. So all pixels are there if
    they are the same whatever is added, and if the scans give every coefficient to its last bit.

    Returns:
        the file itself if it has an end marker, or pixels are missing.
    """
    scans = [segment.end for segment in _segments(content) if segment.marker == _SCAN]
    if not scans or content.rfind(END, scans[0]) >= 0 or not _is_refined(content):
        return content
    cut = content.rstrip(b"\xff")
    restart = b"\xff" + bytes([0xD0 + len(_RESTART.findall(cut, scans[-1])) % 8])
    tails = [b"", *(filling + restart + filling for filling in _FILLINGS)]
    with _one_at_a_time:  # a decoded picture of the largest size takes 270 MB
        pixels = {_digest(cut + tail + END) for tail in tails}
    return cut + END if len(pixels) == 1 else content


def _digest(content: bytes) -> bytes:
    digest = hashlib.sha256()
    with Image.open(BytesIO(content), formats=("JPEG",)) as picture:
        picture.load()
        rows = max(1, _BYTES_A_STRIP // picture.width)
        for top in range(0, picture.height, rows):
            bottom = min(top + rows, picture.height)
            digest.update(picture.crop((0, top, picture.width, bottom)).tobytes())
    return digest.digest()


def _is_refined(content: bytes) -> bool:
    """Check that the scans that have begun give all coefficients of all colours in full."""
    missing: dict[int, set[int]] = {}
    for segment in _segments(content):
        body = segment.body
        if segment.marker in _FRAMES:
            missing = {number: set(range(_NUM_COEFFICIENTS)) for number in body[6::3]}
        elif segment.marker == _SCAN and len(body) == 2 * body[0] + 4:
            first, last, approximation = body[-3:]
            is_last_bit = not approximation & 15
            for number in body[1:-3:2]:
                given = set(range(first, last + 1))
                known = missing.get(number, set())
                missing[number] = known - given if is_last_bit else known | given
    return bool(missing) and not any(missing.values())
