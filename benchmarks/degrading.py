"""Pictures made worse: blurred, compressed, small, dark."""

import io
from collections.abc import Callable

from PIL import Image, ImageEnhance, ImageFilter

from faces.photo import Box

FULL_QUALITY = 95

Degrade = Callable[[Image.Image, Box], bytes]
"""Turns a picture with the box of its face into a JPEG."""


def jpeg(picture: Image.Image, quality: int = FULL_QUALITY) -> bytes:
    """Write a JPEG."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()


def blurred(share: float) -> Degrade:
    """Return what blurs a picture by a Gaussian, as wide as a share of the face."""
    return lambda picture, box: jpeg(
        picture.filter(ImageFilter.GaussianBlur(share * face_side(box)))
    )


def compressed(quality: int) -> Degrade:
    """Return what writes a JPEG of a low quality."""
    return lambda picture, _: jpeg(picture, quality)


def of_size(face_pixels: int) -> Degrade:
    """Return what scales a picture down until the face is so many pixels, and up again."""

    def scaled(picture: Image.Image, box: Box) -> bytes:
        scale = face_pixels / face_side(box)
        size = [max(1, round(length * scale)) for length in picture.size]
        small = picture.resize((size[0], size[1]), Image.Resampling.BICUBIC)
        return jpeg(small.resize(picture.size, Image.Resampling.BICUBIC))

    return scaled


def darkened(brightness: float) -> Degrade:
    """Return what leaves a share of the light."""
    return lambda picture, _: jpeg(ImageEnhance.Brightness(picture).enhance(brightness))


def face_side(box: Box) -> float:
    """Return the longer side of a box."""
    return max(box[2] - box[0], box[3] - box[1])


DEGRADED: dict[str, Degrade] = {
    "as they are": compressed(FULL_QUALITY),
    "blurred by 2 % of the face": blurred(0.02),
    "blurred by 3 %": blurred(0.03),
    "JPEG quality 10": compressed(10),
    "JPEG quality 5": compressed(5),
    "face of 32 pixels": of_size(32),
    "face of 20 pixels": of_size(20),
    "a tenth of the light": darkened(0.1),
}
"""By what the table says."""
