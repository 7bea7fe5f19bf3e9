"""Decodes a picture to what the networks see: pixels of a square of 640 x 640."""

import numpy as np
import numpy.typing as npt

from faces.modes import plain
from faces.pictures import MAX_JPEG_PIXELS, MAX_PIXELS, Limits, opened
from faces.squares import Placement, on_square

SIDE = 640
"""Side in pixels of what the detector sees, as in the container."""

LIMITS = Limits(side=8192, jpeg_pixels=MAX_JPEG_PIXELS, pixels=MAX_PIXELS)
"""The widest square takes 270 MB, that of 1 x 60,000 would take 15 GB."""

LARGE_PIXELS = 4 * SIDE**2
LARGE_FILE_BYTES = 2**20
"""A file of few pixels can be large in order to be slow: a JPEG of many thousand scans."""

Pixels = npt.NDArray[np.uint8]


def is_large(content: bytes) -> bool:
    """Return whether a picture may take long to decode, or much memory.

    Raises:
        ImageError: the bytes are no picture, or a huge one.
    """
    if len(content) > LARGE_FILE_BYTES:
        return True
    with opened(content, LIMITS) as picture:
        return max(picture.size) ** 2 > LARGE_PIXELS


def read_square(content: bytes) -> tuple[Pixels, Placement]:
    """Decode a picture of any mode; EXIF does not turn it, since boxes are of what was sent.

    Returns:
        Pixels uint8 (SIDE, SIDE, 3), red first, and where the picture lies in them.

    Raises:
        ImageError: the bytes are no picture, or a damaged or a huge one.
    """
    with opened(content, LIMITS) as picture:
        picture.stored.load()  # in this block, which knows the errors of damaged files
        square, placement = on_square(plain(picture.stored), SIDE)
    return np.asarray(square), placement
