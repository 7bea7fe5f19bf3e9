"""Pictures of the synthetic sample: a face is a framed grid of grey squares that holds its vector.

A grid has 22 rows of 24 squares. Eight known squares come first, then the 512 numbers of the
embedding, then the detector's score four times, then four known squares. A white frame makes the
grid easy to find after the picture was padded with black, resized and compressed: the squares are
as wide as a JPEG block, so that hardly anything is lost. No picture shows a person.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from utils.labels import EMBEDDING_SIZE

NUM_COLUMNS, NUM_ROWS = 24, 22
SQUARE = 8
"""Width of a square and of the frame, in pixels of the stored picture."""

GRID_SIZE = ((NUM_COLUMNS + 2) * SQUARE, (NUM_ROWS + 2) * SQUARE)
JPEG_QUALITY = 75

DARK, LIGHT, FRAME, CAPTION = 28, 208, 255, 150
FRAME_THRESHOLD = 238
KNOWN_BEFORE = np.tile((DARK, LIGHT), 4)
KNOWN_AFTER = np.tile((LIGHT, DARK), 2)
NUM_SCORES = 4
LOWEST_SCORE = 0.4
MIN_GRID_PIXELS = 52
ASPECT_TOLERANCE = 0.15
# Eyes, nose and mouth corners, as shares of the box, where ArcFace's alignment puts them.
LANDMARKS = np.array([[0.34, 0.46], [0.66, 0.46], [0.5, 0.64], [0.37, 0.82], [0.63, 0.82]])


@dataclass(frozen=True, slots=True)
class GridFace:
    """A face to draw: unit embedding (512,), score in 0.4..1, upper left corner in pixels."""

    embedding: npt.NDArray[np.float32]
    det_score: float
    corner: tuple[int, int]


def draw_picture(
    faces: Sequence[GridFace], size: tuple[int, int], tint: tuple[int, int, int]
) -> Image.Image:
    """Draw the faces on a plain ground of the dark colour `tint`, with a caption at the bottom."""
    picture = Image.new("RGB", size, tint)
    for face in faces:
        picture.paste(Image.fromarray(_grid(face)).convert("RGB"), face.corner)
    label = "synthetic sample" if faces else "synthetic sample: no face"
    middle = (size[0] // 2, size[1] - SQUARE - 2)
    ImageDraw.Draw(picture).text(middle, label, fill=(CAPTION,) * 3, anchor="mm")
    return picture


def encode_picture(picture: Image.Image, mode: str = "RGB") -> bytes:
    """Compress a picture: JPEG for the modes RGB and L, PNG for RGBA and P."""
    stream = BytesIO()
    if mode in ("RGB", "L"):
        picture.convert(mode).save(stream, "JPEG", quality=JPEG_QUALITY, optimize=True)
    elif mode == "P":
        picture.quantize(256).save(stream, "PNG", optimize=True)
    else:
        picture.convert(mode).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def find_faces(picture: Image.Image) -> list[dict[str, npt.NDArray[Any]]]:
    """Read every grid of a picture, the best score first, as face detectors list them.

    Returns:
        The fields of `faces.wire.FACE_FIELDS`; boxes and landmarks in pixels of the picture.
    """
    grey = picture.convert("L")
    found = [_read_grid(grey, box) for box in _boxes(np.asarray(grey) >= FRAME_THRESHOLD)]
    faces = [face for face in found if face is not None]
    return sorted(faces, key=lambda face: -float(face["det_score"]))


def unit(vector: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Scale a vector to length 1, as float32."""
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def _grid(face: GridFace) -> npt.NDArray[np.uint8]:
    """Draw one grid with its frame, in shades of grey."""
    middle, half = (DARK + LIGHT) / 2, (LIGHT - DARK) / 2
    numbers = middle + half * face.embedding / np.abs(face.embedding).max()
    score = DARK + (LIGHT - DARK) * (face.det_score - LOWEST_SCORE) / (1 - LOWEST_SCORE)
    squares = np.concatenate([KNOWN_BEFORE, numbers, np.full(NUM_SCORES, score), KNOWN_AFTER])
    levels = np.rint(squares).astype(np.uint8).reshape(NUM_ROWS, NUM_COLUMNS)
    framed = np.pad(levels, 1, constant_values=FRAME)
    return framed.repeat(SQUARE, axis=0).repeat(SQUARE, axis=1)


def _boxes(bright: npt.NDArray[np.bool_]) -> list[tuple[int, int, int, int]]:
    """Find the boxes (x1, y1, x2, y2) of bright areas that share no column, or else no row."""
    return [
        (left, top, right, bottom)
        for left, right in _runs(np.any(bright, axis=0))
        for top, bottom in _runs(np.any(bright[:, left:right], axis=1))
    ]


def _runs(flags: npt.ArrayLike) -> list[tuple[int, int]]:
    """Find the runs of true values: (first, one past the last)."""
    edges = np.flatnonzero(np.diff(np.pad(np.asarray(flags, np.int8), 1)))
    return [(int(first), int(last)) for first, last in edges.reshape(-1, 2)]


def _read_grid(
    grey: Image.Image, box: tuple[int, int, int, int]
) -> dict[str, npt.NDArray[Any]] | None:
    """Read the grid inside a frame; None when the box holds something else."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    aspect = width * GRID_SIZE[1] / (height * GRID_SIZE[0])
    if min(width, height) < MIN_GRID_PIXELS or abs(aspect - 1) > ASPECT_TOLERANCE:
        return None
    squares = _squares(grey.crop(box))
    before, after = len(KNOWN_BEFORE), len(KNOWN_AFTER)
    known = np.concatenate([squares[:before], squares[-after:]])
    is_light = np.concatenate([KNOWN_BEFORE, KNOWN_AFTER]) == LIGHT
    light, dark = known[is_light], known[~is_light]
    if light.min() - dark.max() < (LIGHT - DARK) / 2:
        return None
    shares = (squares - dark.mean()) / (light.mean() - dark.mean())
    score = shares[before + EMBEDDING_SIZE : -after].mean() * (1 - LOWEST_SCORE) + LOWEST_SCORE
    return {
        "bbox": np.array(box, np.float64),
        "det_score": np.array(np.clip(score, 0, 1), np.float64),
        "landmark": np.array([left, top]) + LANDMARKS * (width, height),
        "normed_embedding": unit(shares[before : before + EMBEDDING_SIZE] - 0.5),
    }


def _squares(grid: Image.Image) -> npt.NDArray[np.float64]:
    """Average the middle half of every square inside the frame, row by row."""
    size = (4 * (NUM_COLUMNS + 2), 4 * (NUM_ROWS + 2))
    quarters = np.asarray(grid.resize(size, Image.Resampling.BOX), np.float64)
    parts = quarters.reshape(NUM_ROWS + 2, 4, NUM_COLUMNS + 2, 4)
    return np.asarray(parts[1:-1, 1:3, 1:-1, 1:3].mean(axis=(1, 3)).ravel())
