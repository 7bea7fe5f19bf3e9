"""What face servers get of a picture: a square on black, as JPEG; and the way back of boxes."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from faces.pictures import Limits, opened, read_file

DEFAULT_RESIZE: Final = 640
JPEG_QUALITY: Final = 75
DATASET_LIMITS: Final = Limits(side=10_000)
"""The widest square that is made: a picture of 1 x 60,000 would need 10 GB."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a picture lies in its square.

    Attributes:
        scale: pixels of the picture for one pixel of the square, along x and y.
        offset: black pixels left of the picture and above it, in pixels of the picture.
    """

    scale: tuple[float, float]
    offset: tuple[float, float]

    def to_picture(self, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Map points x y of the square, (N, 2), to the picture.

        >>> Placement((2, 2), (0, 50)).to_picture([[10, 40], [60, 90]]).tolist()
        [[20.0, 30.0], [120.0, 130.0]]
        """
        return np.asarray(points, np.float64) * self.scale - self.offset


UNCHANGED: Final = Placement((1.0, 1.0), (0.0, 0.0))
"""Of a picture that is sent as it is."""


def on_square(
    picture: Image.Image, side: int, size: tuple[int, int] | None = None
) -> tuple[Image.Image, Placement]:
    """Centre a picture on the smallest black square that holds it, and resize that (bicubic).

    Args:
        picture: RGB, or L, which becomes RGB only after the resize: the same, at a third the cost.
        side: of the square returned, in pixels.
        size: of the photo of which the picture is a smaller copy; None for the picture's own.

    Returns:
        The square, RGB, and where the photo lies in it.
    """
    longest = max(picture.size)
    margins = ((longest - picture.width) // 2, (longest - picture.height) // 2)
    square = picture
    if picture.size != (longest, longest):
        square = Image.new(picture.mode, (longest, longest))
        square.paste(picture, margins)
    if longest != side:
        square = square.resize((side, side), Image.Resampling.BICUBIC)
    width, height = size or picture.size
    enlarged = (width / picture.width, height / picture.height)
    placement = Placement(
        scale=(longest / side * enlarged[0], longest / side * enlarged[1]),
        offset=(margins[0] * enlarged[0], margins[1] * enlarged[1]),
    )
    return square if square.mode == "RGB" else square.convert("RGB"), placement


def compressed(picture: Image.Image, quality: int = JPEG_QUALITY) -> bytes:
    """Compress to JPEG, without metadata."""
    picture.info.clear()
    stream = BytesIO()
    picture.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def picture_to_send(path: Path, resize: int | None, quality: int = JPEG_QUALITY) -> bytes:
    """Read a picture of a data set and make the bytes to send.

    Args:
        path: of the file.
        resize: side of the square in pixels; None or 0 sends the file as it is.
        quality: of the JPEG, 1 to 95.

    Raises:
        ImageError: the file is missing, or is not a picture that can be read to its end.
    """
    content = read_file(path)
    return square_jpeg(content, resize, quality) if resize else content


def square_jpeg(content: bytes, side: int, quality: int = JPEG_QUALITY) -> bytes:
    """Make the square of a data set's picture, turned upright, and compress it.

    Raises:
        ImageError: the bytes are no picture, or a damaged or a huge one.
    """
    with opened(content, DATASET_LIMITS) as picture:
        square, _ = on_square(picture.upright(), side)
        return compressed(square, quality)
