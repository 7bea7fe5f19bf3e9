"""The pictures of the synthetic sample: one or two grids, no face, or a file that is no picture."""

import numpy as np

from sample.grid_faces import (
    GRID_SIZE,
    SQUARE,
    GridFace,
    draw_picture,
    encode_picture,
    unit,
)
from sample.people import Photo
from utils.labels import EMBEDDING_SIZE

CAPTION_HEIGHT = 3 * SQUARE
NOT_AN_IMAGE = b"This file is not an image. It is a part of the synthetic sample.\n"


def picture_bytes(photo: Photo, rng: np.random.Generator) -> bytes | None:
    """Make the file of a photo; None when the file is to be missing."""
    if photo.kind == "missing":
        return None
    if photo.kind == "no image":
        return NOT_AN_IMAGE
    margin = SQUARE * (1 + int(rng.integers(0, 5)))
    size = (GRID_SIZE[0] + 2 * margin, GRID_SIZE[1] + SQUARE + CAPTION_HEIGHT)
    faces = [GridFace(photo.embedding, photo.det_score, (margin, SQUARE))]
    if photo.kind == "no face":
        faces = []
    if photo.kind == "two faces":
        faces, size = _two_faces(photo, rng)
    content = encode_picture(draw_picture(faces, size, photo.tint), photo.mode)
    return content[: len(content) // 2] if photo.kind == "cut off" else content


def _two_faces(photo: Photo, rng: np.random.Generator) -> tuple[list[GridFace], tuple[int, int]]:
    """Place a stranger beside the face, which stays nearer the middle; either may score higher."""
    stranger = rng.standard_normal(EMBEDDING_SIZE)
    gap, free = 2 * SQUARE, GRID_SIZE[0] // 2
    width = 2 * GRID_SIZE[0] + 2 * gap + free
    places = (gap, gap + GRID_SIZE[0] + gap)
    if rng.random() < 0.5:
        places = (width - gap - GRID_SIZE[0], width - 2 * gap - 2 * GRID_SIZE[0])
    faces = [
        GridFace(unit(stranger), float(rng.uniform(0.6, 0.99)), (places[0], SQUARE)),
        GridFace(photo.embedding, photo.det_score, (places[1], SQUARE)),
    ]
    return faces, (width, GRID_SIZE[1] + SQUARE + CAPTION_HEIGHT)
