"""Pictures as the face server wants them: a square on black, resized, as JPEG, in memory."""

from pathlib import Path

from faces.pictures import Limits, opened, read_file
from faces.squares import JPEG_QUALITY, compressed, on_square, resized

LIMITS = Limits(side=10_000)
"""The widest square that is made: a picture of 1 x 60,000 would need 10 GB."""


def picture_to_send(path: Path, resize: int | None, quality: int = JPEG_QUALITY) -> bytes:
    """Read a picture and make the bytes to send.

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
    """Centre a picture on a black square, resize it (bicubic) to `side`, and compress it.

    Raises:
        ImageError: the bytes are no picture, or a damaged or a huge one.
    """
    with opened(content, LIMITS) as picture:
        return compressed(resized(on_square(picture.upright()), side), quality)
