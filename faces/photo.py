"""Photos of strangers: opened within bounds, sent as a square, boxes mapped back to the photo."""

import threading
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from faces.errors import NO_IMAGE, ImageError, one_picture
from faces.modes import plain
from faces.pictures import MAX_JPEG_PIXELS, MAX_PIXELS, Limits, Picture, opened
from faces.squares import DEFAULT_RESIZE, UNCHANGED, Placement, compressed, on_square
from faces.tiff import orientation_of

LIMITS = Limits(jpeg_pixels=MAX_JPEG_PIXELS, pixels=MAX_PIXELS)
BIG_SIDE = 4096
"""Pictures up to this side become exactly the square that extraction sends. Larger ones are made
smaller first, one at a time, so that neither picture nor square takes much memory."""

MAX_SEND_SIDE = 2048
FULL_QUALITY = 95
Box = tuple[float, float, float, float]
"""x1 y1 x2 y2 in pixels of a photo, upright."""

_AVERAGEABLE = ("L", "LA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
_turn_of_the_big = threading.Lock()


@dataclass(frozen=True, slots=True)
class SentPhoto:
    """A photo as it is sent, and the way back from what is sent to the photo.

    Attributes:
        jpeg: the bytes to send.
        width: of the photo, upright, in pixels; so are all boxes that `to_photo` returns.
        height: of the photo.
        placement: of the photo in what is sent.
    """

    jpeg: bytes
    width: int
    height: int
    placement: Placement = UNCHANGED

    def to_photo(self, bbox: npt.ArrayLike) -> Box:
        """Map a box from what was sent to the photo, cut to the photo.

        >>> placement = Placement(scale=(2, 2), offset=(0, 50))
        >>> SentPhoto(b"", 200, 100, placement).to_photo([10, 40, 60, 110])
        (20.0, 30.0, 120.0, 100.0)
        """
        corners = self.placement.to_picture(np.reshape(bbox, (2, 2)))
        x1, y1, x2, y2 = corners.clip(0, (self.width, self.height)).ravel().tolist()
        return x1, y1, x2, y2


def prepare(content: bytes, side: int) -> SentPhoto:
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
            return SentPhoto(content, *picture.size)
        if not side:
            return SentPhoto(compressed(_coloured(picture), FULL_QUALITY), *picture.size)
        return _on_square(picture, side)


def prepare_picture(picture: Image.Image, side: int) -> SentPhoto:
    """Make the same of a picture of Pillow, which stays as it is; `side` is not 0.

    Raises:
        ImageError: its file is damaged, or it has no pixels.
    """
    if not all(picture.size):
        raise ImageError(NO_IMAGE, f"{picture.width} x {picture.height} pixels")
    with one_picture():
        copy = picture.copy()  # decoded: nothing of the original changes
        orientation = orientation_of(copy.info.get("exif", b""), copy.info.get("xmp", b""))
        return _on_square(Picture(copy, orientation), side)


def _on_square(picture: Picture, side: int) -> SentPhoto:
    is_big = max(picture.size) > BIG_SIDE
    with _turn_of_the_big if is_big else nullcontext():
        size = picture.size  # before it is decoded, and smaller
        small = picture.upright(_smaller(picture.stored, 2 * side) if is_big else None)
        square, placement = on_square(small, side, size)
        return SentPhoto(compressed(square), *size, placement)


def is_readable(content: bytes) -> bool:
    """Return whether a photo can be prepared."""
    try:
        prepare(content, DEFAULT_RESIZE)
    except ImageError:
        return False
    return True


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
