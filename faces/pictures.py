"""The one decoder: files of pictures, opened with bounds, of whose metadata only what turns counts.

Metadata is taken out of a file before the decoder sees it, so that nothing odd or huge in it can
keep the pixels from being read.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

from PIL import Image, UnidentifiedImageError, features

from faces import isobmff, jpeg, png, tiff
from faces.errors import NO_IMAGE, TOO_LARGE, ImageError, one_picture
from faces.modes import SIDEWAYS, plain, turned
from faces.tiff import UPRIGHT, orientation_of
from utils.text import in_one_line

MAX_FILE_BYTES = 48 * 2**20
MAX_JPEG_PIXELS = 2**26
"""Most pixels of a JPEG of strangers: 67 million, more than the photos of most telephones have."""

MAX_PIXELS = 25_000_000
"""Most pixels in the other formats, which cannot be made smaller while they are decoded: so many
take up to 600 MB (JPEG 2000), of a file of some hundred bytes."""

_ALL_FORMATS = (
    *("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"),
    *("JPEG2000", "PPM", "AVIF", "DIB"),
)
_JPEGS = ("JPEG", "MPO")
_FEATURES = {"WEBP": "webp", "JPEG2000": "jpg_2000", "AVIF": "avif"}
_BEGINNINGS: dict[str, bytes | tuple[bytes, ...]] = {
    "JPEG": jpeg.START,
    "PNG": png.SIGNATURE,
    "TIFF": tiff.PREFIXES,
    "JPEG XL": (b"\xff\x0a", b"\0\0\0\x0cJXL "),
}
_OTHER_SUFFIXES = (".pjpeg", ".pjp")

Image.init()  # here, because two threads that read their first picture at once do it wrongly


def _is_readable(name: str) -> bool:
    return name in Image.OPEN and (name not in _FEATURES or bool(features.check(_FEATURES[name])))


FORMATS: Final = tuple(name for name in _ALL_FORMATS if _is_readable(name))
"""What is read (an MPO as a JPEG); Pillow knows others, of which some start programs."""

SUFFIXES: Final = frozenset(_OTHER_SUFFIXES) | {
    suffix for suffix, name in Image.EXTENSION.items() if name in (*FORMATS, "MPO")
}
"""What names of files end in that hold a picture of these formats, in lower case."""

HEIC_SUFFIXES: Final = frozenset((".heic", ".heif", ".hif"))
HEIC_REMEDY: Final = "convert it to JPEG"
_REMEDIES = {"AVIF": f"update Pillow to 11.3 or later, or {HEIC_REMEDY}"}


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest pictures to read; None for no limit.

    Attributes:
        side: of the longer side, in pixels.
        jpeg_pixels: of a JPEG, which can be made smaller while it is decoded.
        pixels: in the other formats.
    """

    side: int | None = None
    jpeg_pixels: int | None = None
    pixels: int | None = None

    def check(self, picture: Image.Image) -> None:
        """Refuse a picture that is larger.

        Raises:
            ImageError: it is.
        """
        size = f"{picture.width} x {picture.height} pixels"
        if self.side is not None and max(picture.size) > self.side:
            expected = f"expected at most {self.side:,} wide or high"
            raise ImageError(TOO_LARGE, f"{size}, {expected}")
        most = self.jpeg_pixels if picture.format in _JPEGS else self.pixels
        if most is not None and picture.width * picture.height > most:
            raise ImageError(TOO_LARGE, f"{size}, expected at most {most:,}")


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that is open; it is decoded when its pixels are first needed.

    Attributes:
        stored: as it lies in the file.
        orientation: how it is to be turned, 1 to 8 as in EXIF.
    """

    stored: Image.Image
    orientation: int

    @property
    def is_upright(self) -> bool:
        """Whether it lies in the file as it is to be seen."""
        return self.orientation == UPRIGHT

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, upright."""
        width, height = self.stored.size
        return (height, width) if self.orientation in SIDEWAYS else (width, height)

    def upright(self, copy: Image.Image | None = None) -> Image.Image:
        """Return the picture, or a copy of another size, upright: RGB, or L when it is grey."""
        return plain(turned(copy or self.stored, self.orientation))


@contextmanager
def opened(content: bytes, limits: Limits) -> Iterator[Picture]:
    """Open a picture without decoding it; what goes wrong in the block becomes an ImageError.

    Raises:
        ImageError: the bytes are no picture, or a damaged or a huge one.
    """
    with one_picture():
        pixels, exif, xmp = _without_metadata(content)
        picture = _identified(pixels)
        limits.check(picture)
        if picture.format in _JPEGS:
            jpeg.check_scans(pixels)
        if picture.format == "JPEG":
            whole = jpeg.with_end(pixels)
            picture = picture if whole is pixels else _identified(whole)
        exif, xmp = exif or picture.info.get("exif", b""), xmp or picture.info.get("xmp", b"")
        with picture:
            yield Picture(picture, orientation_of(exif, xmp))


def _without_metadata(content: bytes) -> tuple[bytes, bytes, bytes]:
    """Take out the metadata that the decoder would look into; return it with EXIF and XMP."""
    if content.startswith(jpeg.START):
        return jpeg.without_metadata(content)
    if content.startswith(png.SIGNATURE):
        return png.without_metadata(content)
    if content.startswith(tiff.PREFIXES):
        return tiff.without_metadata(content)
    if isobmff.kind_of(content) == "AVIF":
        return isobmff.with_metadata_hidden(content), b"", b""
    return content, b"", b""


def _identified(content: bytes) -> Image.Image:
    try:
        return Image.open(BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError:
        kind = _kind_of(content)
        if kind is None:
            raise ImageError(NO_IMAGE) from None
        if kind in FORMATS:
            detail = f"it begins as {kind}, but {_complaint(kind, content)}"
            raise ImageError(NO_IMAGE, detail) from None
        detail = f"this format cannot be read here; {_REMEDIES.get(kind, HEIC_REMEDY)}"
        raise ImageError(f"{kind} image", detail) from None


def _kind_of(content: bytes) -> str | None:
    """Return the format by how a file begins, of those that users bring often."""
    for name, prefixes in _BEGINNINGS.items():
        if content.startswith(prefixes):
            return name
    return isobmff.kind_of(content)


def _complaint(name: str, content: bytes) -> str:
    """Return what the decoder of a format says of a file that it does not take for its own."""
    try:
        with one_picture(), Image.OPEN[name][0](BytesIO(content), ""):
            return "its kind is not known"
    except ImageError as error:
        said = error.detail or error.reason
    return "it has no pixels of a known kind" if "not identified" in said else said


def read_file(path: Path) -> bytes:
    """Read the file of a picture, which is not looked at.

    Raises:
        ImageError: it is missing, empty or too large, or cannot be read.
    """
    try:
        if not path.is_file():
            raise ImageError("no such file")
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise ImageError("cannot be read", in_one_line(error)) from None
    if not content:
        raise ImageError("empty file")
    if len(content) > MAX_FILE_BYTES:
        raise ImageError("file too large", f"more than {MAX_FILE_BYTES} bytes")
    return content
