"""What face servers are sent: a square on black, resized, as JPEG, in memory."""

from io import BytesIO
from typing import Final

from PIL import Image

DEFAULT_RESIZE: Final = 640
JPEG_QUALITY: Final = 75


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
