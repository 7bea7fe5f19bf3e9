"""Pictures of any mode, as RGB or grey levels of 8 bits, and turned upright."""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = frozenset((5, 6, 7, 8))
"""Orientations in which width and height are swapped."""


def turned(picture: Image.Image, orientation: int) -> Image.Image:
    """Turn a picture as its orientation says."""
    turn = _TURNS.get(orientation)
    return picture if turn is None else picture.transpose(turn)


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
    if picture.mode == "LAB":
        return _from_lab(picture)
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


def _from_lab(picture: Image.Image) -> Image.Image:
    profiles = (ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"))
    return ImageCms.buildTransform(*profiles, "LAB", "RGB").apply(picture)
