"""Draws faces into a photo: boxes, and labels that can be read on any ground and at any size."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from photo_client.face import FOREIGN, NOT_COVERED, SeenFace, percent

MIN_LONG_SIDE = 1024
"""Smaller photos are enlarged to this: a label needs some pixels."""

FONT_SHARES = (1 / 45, 1 / 55, 1 / 65, 1 / 75, 1 / 90)
"""Sizes of the font as shares of the longer side, from large to small."""

COLOURS = ("#ffd54a", "#5ad1e6", "#ff9e7a", "#a5d66f", "#d7a3ef", "#f7a1c4")
GROUND, INK, WARNING = (18, 18, 18), (255, 255, 255), "#ff6b5e"
DOUBTS = (FOREIGN, NOT_COVERED)
_COVERS_A_LABEL, _COVERS_A_FACE, _WORTH_A_MOVE = 10.0, 1.0, 0.2

PixelBox = tuple[int, int, int, int]
"""x1 y1 x2 y2 in pixels of the drawn picture."""

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
BoxArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Label:
    """Lines to write, and where: the box of their ground."""

    lines: tuple[str, ...]
    box: PixelBox


def annotated(photo: Image.Image, guesses: Sequence[SeenFace]) -> Image.Image:
    """Draw the guesses into a copy of an RGB photo; a small photo becomes larger."""
    scale, size = enlargement(photo.size)
    drawn = photo.copy() if scale == 1 else photo.resize(size, Image.Resampling.LANCZOS)
    faces = [pixel_box(guess.bbox, scale, size) for guess in guesses]
    font_size, labels = place_labels(guesses, faces, size)
    draw = ImageDraw.Draw(drawn)
    for number, (guess, face) in enumerate(zip(guesses, faces, strict=True)):
        draw_box(draw, face, colour_of(guess, number), max(2, max(size) // 400))
    for number, (guess, label) in enumerate(zip(guesses, labels, strict=True)):
        draw_label(draw, label, colour_of(guess, number), font_size)
    return drawn


def enlargement(size: tuple[int, int]) -> tuple[float, tuple[int, int]]:
    """Return how much larger a picture is drawn, at least 1, and its size then.

    >>> enlargement((512, 256)), enlargement((2000, 10))
    ((2.0, (1024, 512)), (1.0, (2000, 10)))
    """
    scale = max(1.0, MIN_LONG_SIDE / max(size))
    return scale, (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))


def words(guess: SeenFace, number: int | None = None) -> tuple[str, ...]:
    """Return a guess in lines: age, gender, ages it may be over, doubts; `number` goes first."""
    age = f"age {guess.age_words}"
    over = ", ".join(f"{years}+: {percent(share)}" for years, share in (guess.over or {}).items())
    lines = (age if number is None else f"{number}: {age}", guess.gender_words, over, guess.doubt)
    return tuple(line for line in lines if line)


def place_labels(
    guesses: Sequence[SeenFace], faces: Sequence[PixelBox], size: tuple[int, int]
) -> tuple[int, list[Label]]:
    """Find a size of font, in pixels, and where labels lie inside the picture.

    The largest font counts with which no label covers a face or another label; where there is
    none, the one with which they cover least.
    """
    numbers = range(1, len(guesses) + 1) if len(guesses) > 1 else (None,)
    texts = [words(guess, number) for guess, number in zip(guesses, numbers, strict=False)]
    tried: list[tuple[float, int, list[PixelBox]]] = []
    for share in FONT_SHARES:
        font_size = fitting_font_size(texts, max(1, round(max(size) * share)), size[0])
        cost, boxes, _ = place_boxes(
            [label_extent(lines, font_size) for lines in texts], faces, size
        )
        tried.append((round(cost, 1), font_size, boxes))
        if cost == 0:
            break
    _, font_size, boxes = min(tried, key=lambda entry: entry[0])  # the largest font of equals
    return font_size, [Label(lines, box) for lines, box in zip(texts, boxes, strict=True)]


def fitting_font_size(texts: Sequence[Sequence[str]], font_size: int, width: int) -> int:
    """Return a smaller size of font when the widest label is wider than the picture."""
    widest = max((label_extent(lines, font_size)[0] for lines in texts), default=1)
    return font_size if widest <= width else max(1, int(font_size * width / widest))


def place_boxes(
    extents: Sequence[tuple[int, int]],
    faces: Sequence[PixelBox],
    size: tuple[int, int],
    before: Sequence[int | None] = (),
) -> tuple[float, list[PixelBox], list[int]]:
    """Place labels of these extents, each where it covers least.

    Args:
        extents: width and height of each label.
        faces: as many boxes.
        size: of the picture.
        before: which of its places each label had on the last picture, and keeps if it covers
            little more there; None, or no entry, where it had none.

    Returns:
        what the labels cover, 0 for nothing; their boxes; which of its places each has.
    """
    all_faces = np.array(faces, np.float64).reshape(-1, 4)
    placed: list[PixelBox] = []
    places: list[int] = []
    total = 0.0
    for extent, face, kept in zip_longest(extents, faces, before):
        choices = [_inside(corner, extent, size) for corner in _corners(extent, face)]
        labels = np.array(placed, np.float64).reshape(-1, 4)
        costs = [
            _COVERS_A_LABEL * _covered(choice, labels)
            + _COVERS_A_FACE * _covered(choice, all_faces)
            for choice in choices
        ]
        best = int(np.argmin(costs))  # the first of equals
        if kept is not None and costs[kept] <= costs[best] + _WORTH_A_MOVE:
            best = kept
        total += costs[best]
        placed.append(choices[best])
        places.append(best)
    return total, placed, places


def _corners(extent: tuple[int, int], face: PixelBox) -> list[tuple[int, int]]:
    """List where the upper left corner of a label may lie, the best first."""
    (width, height), (left, top, right, bottom) = extent, face
    above, below = top - height, bottom
    middle = (left + right - width) // 2
    around = [
        *((left, above), (left, below), (right - width, above), (right - width, below)),
        *((middle, above), (middle, below)),
        *((right, top), (right, bottom - height), (left - width, top)),
        (left - width, bottom - height),
    ]
    within = [(left, bottom - height), (left, top), (right - width, bottom - height)]
    return [*around, *within]


def _inside(corner: tuple[int, int], extent: tuple[int, int], size: tuple[int, int]) -> PixelBox:
    """Move a box into the picture."""
    left, top = (
        max(0, min(start, length - width))
        for start, width, length in zip(corner, extent, size, strict=True)
    )
    return left, top, left + extent[0], top + extent[1]


def _covered(box: PixelBox, others: BoxArray) -> float:
    """Add up how much of a box lies on others, in areas of the box."""
    across = np.minimum(box[2], others[:, 2]) - np.maximum(box[0], others[:, 0])
    down = np.minimum(box[3], others[:, 3]) - np.maximum(box[1], others[:, 1])
    area = max(1, (box[2] - box[0]) * (box[3] - box[1]))
    return float((across.clip(0) * down.clip(0)).sum() / area)


def pixel_box(bbox: Sequence[float], scale: float, size: tuple[int, int]) -> PixelBox:
    """Map a box to whole pixels of the drawn picture, inside it and with its corners in order."""
    left, top, right, bottom = (
        min(max(round(value * scale), 0), limit - 1)
        for value, limit in zip(bbox, (*size, *size), strict=True)
    )
    return min(left, right), min(top, bottom), max(left, right), max(top, bottom)


def colour_of(guess: SeenFace, number: int) -> str:
    """Return the colour of a face and its label; that of a warning for a foreign network."""
    return WARNING if guess.in_distribution is False else COLOURS[number % len(COLOURS)]


@cache
def _font(size: int) -> Font:
    """Load the font that ships with Pillow."""
    return ImageFont.load_default(size)


def _line_height(font_size: int) -> int:
    return max(1, round(1.25 * font_size))


def _margin(font_size: int) -> int:
    return max(1, round(0.4 * font_size))


def label_extent(lines: Sequence[str], font_size: int) -> tuple[int, int]:
    """Return width and height of a label; its coloured edge is half a margin wide."""
    margin = _margin(font_size)
    width = max(_font(font_size).getlength(line) for line in lines)
    return int(width) + 3 * margin, _line_height(font_size) * len(lines) + margin


def draw_box(draw: ImageDraw.ImageDraw, box: PixelBox, colour: str, width: int) -> None:
    """Draw a frame with a dark one on either side, so that it is seen on any ground."""
    dark = max(1, width // 2)
    left, top, right, bottom = box
    outer = (left - dark, top - dark, right + dark, bottom + dark)
    draw.rectangle(outer, outline=GROUND, width=width + 2 * dark)
    draw.rectangle(box, outline=colour, width=width)


def draw_label(draw: ImageDraw.ImageDraw, label: Label, colour: str, font_size: int) -> None:
    """Write the lines on a dark ground with an edge in the colour of the box."""
    left, top, right, bottom = label.box
    margin = _margin(font_size)
    draw.rectangle((left, top, right - 1, bottom - 1), fill=GROUND)
    draw.rectangle((left, top, left + max(1, margin // 2) - 1, bottom - 1), fill=colour)
    for number, line in enumerate(label.lines):
        middle = top + margin // 2 + _line_height(font_size) * (number + 0.5)
        ink = WARNING if line in DOUBTS else INK
        where = (left + round(1.5 * margin), middle)
        draw.text(where, line, fill=ink, font=_font(font_size), anchor="lm")
