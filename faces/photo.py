"""Photos of people who may mean harm: opened with bounds, sent as a square, boxes mapped back."""

import threading
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from PIL import Image

from faces.modes import plain
from faces.pictures import MAX_JPEG_PIXELS, MAX_PIXELS, Limits, Picture, opened
from faces.squares import JPEG_QUALITY, compressed, on_square, resized

LIMITS = Limits(jpeg_pixels=MAX_JPEG_PIXELS, pixels=MAX_PIXELS)
BIG_SIDE = 4096
"""Pictures up to this side become exactly the square that extraction sends. Larger ones are made
smaller first, one at a time, so that neither picture nor square takes much memory."""

MAX_SEND_SIDE = 2048
FULL_QUALITY = 95
_AVERAGEABLE = ("L", "LA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
_turn_of_the_big = threading.Lock()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A photo as it is sent, and the way back from what is sent to the photo.

    Attributes:
        jpeg: the bytes to send.
        width: of the photo, upright, in pixels; so are all boxes that `to_picture` gives.
        height: of the photo.
        scale: pixels of the photo for one pixel sent, along x and y.
        offset: black pixels left of the photo and above it, in pixels of the photo.
    """

    jpeg: bytes
    width: int
    height: int
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)

    def to_picture(self, bbox: Sequence[float]) -> list[float]:
        """Map a box x1 y1 x2 y2 from what was sent to the photo, cut to the photo.

        >>> Prepared(b"", 200, 100, (2.0, 2.0), (0.0, 50.0)).to_picture([10, 40, 60, 110])
        [20.0, 30.0, 120.0, 100.0]
        """
        limits = (self.width, self.height)
        return [
            min(max(float(value) * self.scale[axis] - self.offset[axis], 0.0), float(limits[axis]))
            for axis, value in zip((0, 1, 0, 1), bbox, strict=True)
        ]


def prepare(content: bytes, side: int) -> Prepared:
    """Make what is sent of the bytes of a photo: a square as extraction makes it, turned upright.

    Args:
        content: a file in one of `faces.pictures.FORMATS`.
        side: of the square in pixels, up to `MAX_SEND_SIDE`; 0 sends the file as it is, unless
            its EXIF turns it.

    Raises:
        ImageError: the bytes are no picture, or a damaged one, or (`TOO_LARGE`) one of more
            pixels than `LIMITS` allow.
    """
    with opened(content, LIMITS) as picture:
        if not side and picture.is_upright:
            return Prepared(content, *picture.size)
        if not side:
            return Prepared(compressed(_coloured(picture), FULL_QUALITY), *picture.size)
        is_big = max(picture.size) > BIG_SIDE
        with _turn_of_the_big if is_big else nullcontext():
            size = picture.size  # before it is decoded, and smaller
            small = picture.upright(_smaller(picture.stored, 2 * side) if is_big else None)
            return _on_square(small, side, size)


def picture_of(content: bytes) -> Image.Image:
    """Decode a photo whole: upright, RGB.

    Raises:
        ImageError: as of `prepare`.
    """
    with opened(content, LIMITS) as picture:
        return _coloured(picture)


def _coloured(picture: Picture) -> Image.Image:
    return picture.upright().convert("RGB")


def _smaller(picture: Image.Image, side: int) -> Image.Image:
    """Decode a picture and make it smaller by a whole factor, at least `side` wide or high."""
    share = min(1.0, side / max(picture.size))
    width, height = (max(1, round(length * share)) for length in picture.size)
    picture.draft(None, (width, height))  # heeded by JPEGs alone
    even = picture if picture.mode in _AVERAGEABLE else plain(picture)
    return even.reduce(max(1, max(picture.size) // side))


def _on_square(small: Image.Image, side: int, size: tuple[int, int]) -> Prepared:
    """Make the square of a photo of `size`, of which `small` is a smaller copy or itself."""
    longest = max(small.size)
    enlarged = (size[0] / small.width, size[1] / small.height)
    free = ((longest - small.width) // 2, (longest - small.height) // 2)
    return Prepared(
        jpeg=compressed(resized(on_square(small), side), JPEG_QUALITY),
        width=size[0],
        height=size[1],
        scale=(longest / side * enlarged[0], longest / side * enlarged[1]),
        offset=(free[0] * enlarged[0], free[1] * enlarged[1]),
    )
