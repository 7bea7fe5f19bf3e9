"""Photos of people who may mean harm: opened with bounds, sent as a square, boxes mapped back."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

from PIL import Image

from extraction.images import (
    JPEG_QUALITY,
    ORIENTATION_TAG,
    TOO_LARGE,
    UPRIGHT,
    ImageError,
    compressed,
    on_square,
    opened,
    plain,
    resized,
    upright,
)

MAX_JPEG_PIXELS = 2**26
"""Most pixels of a JPEG: 67 million, more than the photos of most telephones have."""

MAX_PIXELS = 25_000_000
"""Most pixels in the other formats, which cannot be made smaller while they are decoded: so many
take up to 600 MB (JPEG 2000), of a file of some hundred bytes."""

BIG_SIDE = 4096
"""Pictures up to this side become exactly the square that extraction sends. Larger ones are made
smaller first, one at a time, so that neither picture nor square takes much memory."""

MAX_SEND_SIDE = 2048
FULL_QUALITY = 95
_JPEGS = ("JPEG", "MPO")
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
        content: a file in one of `extraction.images.FORMATS`.
        side: of the square in pixels, up to `MAX_SEND_SIDE`; 0 sends the file as it is, unless
            its EXIF turns it.

    Raises:
        ImageError: the bytes are no picture, or a damaged one, or (`TOO_LARGE`) one of more than
            `MAX_JPEG_PIXELS` or `MAX_PIXELS`.
    """
    with within_limits(content) as picture:
        is_upright = picture.getexif().get(ORIENTATION_TAG, UPRIGHT) == UPRIGHT
        if not side and is_upright:
            return Prepared(content, *picture.size)
        if not side:
            turned = plain(upright(picture)).convert("RGB")
            return Prepared(compressed(turned, FULL_QUALITY), *turned.size)
        size = picture.size
        is_big = max(size) > BIG_SIDE
        with _turn_of_the_big if is_big else nullcontext():
            small = plain(upright(_smaller(picture, 2 * side) if is_big else picture))
            return _on_square(small, side, _as_it_lies(size, small))


def picture_of(content: bytes) -> Image.Image:
    """Decode a photo whole: upright, RGB.

    Raises:
        ImageError: as of `prepare`.
    """
    with within_limits(content) as picture:
        return plain(upright(picture)).convert("RGB")


@contextmanager
def within_limits(content: bytes) -> Iterator[Image.Image]:
    """Open a picture as `opened` does, if it has not too many pixels.

    Raises:
        ImageError: as of `prepare`.
    """
    with opened(content) as picture:
        limit = MAX_JPEG_PIXELS if picture.format in _JPEGS else MAX_PIXELS
        if picture.width * picture.height > limit:
            size = f"{picture.width} x {picture.height} pixels"
            raise ImageError(TOO_LARGE, f"{size}, expected at most {limit:,}")
        yield picture


def _as_it_lies(size: tuple[int, int], turned: Image.Image) -> tuple[int, int]:
    """Give the size of a photo that may have been turned, as `turned` was."""
    was_wide, is_wide = size[0] > size[1], turned.width > turned.height
    return size if was_wide == is_wide else (size[1], size[0])


def _smaller(picture: Image.Image, side: int) -> Image.Image:
    """Decode a picture and make it smaller by a whole factor, at least `side` wide or high."""
    share = min(1.0, side / max(picture.size))
    width, height = (max(1, round(length * share)) for length in picture.size)
    picture.draft(None, (width, height))  # heeded by JPEGs alone
    even = picture if picture.mode in _AVERAGEABLE else plain(picture)
    small = even.reduce(max(1, max(picture.size) // side))
    # Not before: decoding turns a TIFF. And not left to Pillow: a 16-bit copy has no metadata.
    small.getexif()[ORIENTATION_TAG] = picture.getexif().get(ORIENTATION_TAG, UPRIGHT)
    return small


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
