"""Pictures as the face server wants them: a square on black, resized, as JPEG, in memory."""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

DEFAULT_RESIZE = 640
JPEG_QUALITY: Final = 75
MAX_SIDE = 10_000
"""Widest square that is made, in pixels: a picture of 1 x 60,000 would need 10 GB."""

MAX_FILE_BYTES = 48 * 2**20
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "JPEG2000", "PPM")
"""What is read (an MPO as a JPEG); Pillow knows others, of which some start programs."""

Image.init()  # here, because two threads that read their first picture at once do it wrongly

TOO_LARGE = "image too large"
ORIENTATION_TAG = 0x0112
UPRIGHT = 1

DAMAGED = (
    *(OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError),
    *(struct.error, zlib.error, OverflowError),
)
"""What Pillow raises for a damaged file."""


class ImageError(Exception):
    """A picture cannot be sent.

    Attributes:
        reason: in few words, the same for all pictures of this sort.
    """

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(reason, detail)  # both, so that it can be pickled
        self.reason, self.detail = reason, detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


def picture_to_send(path: Path, resize: int | None, quality: int = JPEG_QUALITY) -> bytes:
    """Read a picture and make the bytes to send.

    Args:
        path: of the file.
        resize: side of the square in pixels; None or 0 sends the file as it is.
        quality: of the JPEG, 1 to 95.

    Raises:
        ImageError: the file is missing, or is not a picture that can be read to its end.
    """
    content = _read(path)
    return square_jpeg(content, resize, quality) if resize else content


def _read(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise ImageError("no such file")
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ImageError("cannot be read", error.strerror or "") from None
    if not content:
        raise ImageError("empty file")
    if len(content) > MAX_FILE_BYTES:
        raise ImageError("file too large", f"more than {MAX_FILE_BYTES} bytes")
    return content


def square_jpeg(content: bytes, side: int, quality: int = JPEG_QUALITY) -> bytes:
    """Centre a picture on a black square, resize it (bicubic) to `side`, and compress it.

    Raises:
        ImageError: the bytes are no picture, or a damaged or a huge one.
    """
    with opened(content) as picture:
        if max(picture.size) > MAX_SIDE:
            raise ImageError(TOO_LARGE, f"{picture.width} x {picture.height}")
        picture.load()
        square = on_square(plain(upright(picture)))
    return compressed(resized(square, side), quality)


@contextmanager
def opened(content: bytes) -> Iterator[Image.Image]:
    """Open a picture without decoding it; what goes wrong in the block becomes an ImageError.

    Raises:
        ImageError: the bytes are no picture, or a damaged or a huge one.
    """
    try:
        with Image.open(BytesIO(content), formats=FORMATS) as picture:
            yield picture
    except UnidentifiedImageError:
        raise ImageError("not an image") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError):
        raise ImageError(TOO_LARGE) from None
    except DAMAGED as error:
        raise ImageError("truncated or damaged image", str(error)[:200]) from None


def upright(picture: Image.Image) -> Image.Image:
    """Turn a picture as its EXIF orientation says."""
    if picture.getexif().get(ORIENTATION_TAG, UPRIGHT) == UPRIGHT:
        return picture
    return ImageOps.exif_transpose(picture)


def plain(picture: Image.Image) -> Image.Image:
    """Bring a picture of any mode to RGB, or to L when it is grey; what is transparent is black.

    16-bit greys keep their upper 8 bits, unless they hold 8-bit levels only; floating-point greys
    are levels up to 255, or up to 1.
    """
    if picture.mode in ("RGB", "L") and "transparency" not in picture.info:
        return picture
    if picture.mode.startswith("I"):
        return Image.fromarray(_upper_bits(np.asarray(picture)))
    if picture.mode == "F":
        return Image.fromarray(_levels(np.asarray(picture)))
    if picture.mode == "1":
        return picture.convert("L")
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        black = Image.new("RGB", picture.size)
        black.paste(layer, mask=layer.getchannel("A"))
        return black
    return picture.convert("RGB")


def _upper_bits(levels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Map 16-bit levels to 8 bits; levels that are 8-bit already stay."""
    if levels.size and int(levels.max()) < 256:
        return levels.clip(0, 255).astype(np.uint8)
    return (levels.clip(0, 2**16 - 1) >> 8).astype(np.uint8)


def _levels(numbers: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Map numbers from 0 to 255, or from 0 to 1, to 8 bits; what is no number is black."""
    numbers = np.nan_to_num(numbers)
    if numbers.size and numbers.max() <= 1:
        numbers = numbers * 255
    return numbers.clip(0, 255).astype(np.uint8)


def on_square(picture: Image.Image) -> Image.Image:
    """Centre a picture on the smallest black square that holds it."""
    side = max(picture.size)
    if picture.size == (side, side):
        return picture
    canvas = Image.new(picture.mode, (side, side))
    canvas.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return canvas


def resized(square: Image.Image, side: int) -> Image.Image:
    """Resize a square; grey becomes RGB only afterwards, which is the same and costs a third."""
    if square.size != (side, side):
        square = square.resize((side, side), Image.Resampling.BICUBIC)
    return square if square.mode == "RGB" else square.convert("RGB")


def compressed(picture: Image.Image, quality: int) -> bytes:
    """Compress to JPEG, without metadata."""
    picture.info.clear()
    stream = BytesIO()
    picture.save(stream, "JPEG", quality=quality)
    return stream.getvalue()
