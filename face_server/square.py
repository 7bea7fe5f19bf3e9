"""Pictures as the networks get them: the square that extraction sends, and the way back from it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from faces.modes import plain
from faces.pictures import MAX_JPEG_PIXELS, MAX_PIXELS, Limits, opened
from faces.squares import on_square, resized

SIDE = 640
"""Side in pixels of what the detector sees, as in the container."""

LIMITS = Limits(side=8192, jpeg_pixels=MAX_JPEG_PIXELS, pixels=MAX_PIXELS)
"""The widest square takes 270 MB, that of 1 x 60,000 would take 15 GB."""


@dataclass(frozen=True, slots=True, eq=False)
class Square:
    """A picture centred on black, and where it lies there.

    Attributes:
        pixels: uint8 (SIDE, SIDE, 3), red first.
        scale: pixels of the picture for one pixel of the square.
        offset: float64 (2,), x y: black pixels left of the picture and above it, in pixels of the
            picture.
    """

    pixels: npt.NDArray[np.uint8]
    scale: float
    offset: npt.NDArray[np.float64]

    def to_picture(self, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Map points x y of the square, (N, 2), to the picture that was sent."""
        return np.asarray(points, np.float64) * self.scale - self.offset


def square_of(content: bytes) -> Square:
    """Decode a picture of any mode; EXIF does not turn it, since boxes are of what was sent.

    Raises:
        ImageError: the bytes are no picture, or a damaged or a huge one.
    """
    with opened(content, LIMITS) as picture:
        width, height = picture.stored.size
        picture.stored.load()  # in this block, which knows the errors of damaged files
        square = resized(on_square(plain(picture.stored)), SIDE)
    longest = max(width, height)
    offset = np.array([(longest - width) // 2, (longest - height) // 2], np.float64)
    return Square(np.asarray(square), longest / SIDE, offset)
