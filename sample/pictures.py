"""The pictures of the synthetic sample: one or two grids, no face, or a file that is no picture."""

import numpy as np

from sample.grid_faces import GRID_SIZE, SQUARE, GridFace, draw_picture, encode_picture, unit
from sample.people import SamplePhoto
from utils.labels import EMBEDDING_SIZE

HEIGHT = GRID_SIZE[1] + 4 * SQUARE  # a square above the grid, three with the caption below
NOT_AN_IMAGE = b"This file is not an image. It is a part of the synthetic sample.\n"


def picture_bytes(photo: SamplePhoto, rng: np.random.Generator) -> bytes | None:
    """Make the file of a photo; None when the file is to be missing."""
    if photo.kind == "missing":
        return None
    if photo.kind == "no image":
        return NOT_AN_IMAGE
    margin = SQUARE * int(rng.integers(1, 6))
    width = GRID_SIZE[0] + 2 * margin
    faces = [GridFace(photo.embedding, photo.det_score, (margin, SQUARE))]
    if photo.kind == "no face":
        faces = []
    if photo.kind == "two faces":
        faces, width = _beside_a_stranger(photo, rng)
    content = encode_picture(draw_picture(faces, (width, HEIGHT), photo.tint), photo.mode)
    return content[: len(content) // 2] if photo.kind == "cut off" else content


def _beside_a_stranger(photo: SamplePhoto, rng: np.random.Generator) -> tuple[list[GridFace], int]:
    """Place a stranger beside the face, which stays nearer the middle; either may score higher."""
    gap, grid = 2 * SQUARE, GRID_SIZE[0]
    width = 2 * grid + 2 * gap + grid // 2
    stranger, own = gap, gap + grid + gap
    if rng.random() < 0.5:
        stranger, own = width - grid - stranger, width - grid - own
    vector, score = unit(rng.standard_normal(EMBEDDING_SIZE)), float(rng.uniform(0.6, 0.99))
    faces = [
        GridFace(vector, score, (stranger, SQUARE)),
        GridFace(photo.embedding, photo.det_score, (own, SQUARE)),
    ]
    return faces, width
