"""Clips for tests: squares of a colour stand for people, and a fake finds them by it."""

import struct
from collections.abc import Callable, Iterable, Sequence
from io import BytesIO
from pathlib import Path
from threading import Lock

import numpy as np
from face_helpers import vector
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from faces.client import Face, FaceAnswer
from photo_client.answers import Estimates, Health, Wanted
from photo_client.clip_reader import load_opencv
from serving.schemas import GenderAnswer, UncertaintyAnswer

SIZE = (320, 240)
FPS = 25
RED, GREEN, BLUE = (230, 20, 20), (20, 230, 20), (20, 20, 230)
COLOURS = (RED, GREEN, BLUE)
MALE, FEMALE = GenderAnswer(m=0.9, f=0.1), GenderAnswer(m=0.2, f=0.8)
SIDE = 48
Squares = Sequence[tuple[int, tuple[int, int]]]
"""Which person, and the upper left corner."""


def frame(squares: Squares, size: tuple[int, int] = SIZE) -> Image.Image:
    """Draw people as squares; later ones cover earlier ones."""
    picture = Image.new("RGB", size, (90, 90, 90))
    draw = ImageDraw.Draw(picture)
    for person, (left, top) in squares:
        draw.rectangle((left, top, left + SIDE - 1, top + SIDE - 1), fill=COLOURS[person])
    return picture


def write_clip(
    path: Path,
    seconds: float,
    squares_at: Callable[[float], Squares],
    codec: str = "mp4v",
    size: tuple[int, int] = SIZE,
) -> Path:
    """Write a clip of people who move; `squares_at` says where they are at a time."""
    numbers = range(round(seconds * FPS))
    return write_pictures(path, (frame(squares_at(n / FPS), size) for n in numbers), codec)


def write_pictures(path: Path, pictures: Iterable[Image.Image], codec: str = "mp4v") -> Path:
    """Write a clip of pictures, RGB, of one size."""
    cv2 = load_opencv()
    writer = None
    for picture in pictures:
        if writer is None:
            fourcc = cv2.VideoWriter.fourcc(*codec)
            writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, fourcc, float(FPS), picture.size)
            assert writer.isOpened()
        writer.write(np.asarray(picture)[:, :, ::-1].copy())
    assert writer is not None
    writer.release()
    return path


def frames_of(path: Path) -> list[NDArray[np.uint8]]:
    """Read the frames of a clip, RGB."""
    cv2 = load_opencv()
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    frames = []
    while (read := capture.read())[0]:
        frames.append(np.asarray(read[1][:, :, ::-1], np.uint8))
    capture.release()
    return frames


class ColourFaces:
    """A face source that takes squares of the three colours for faces.

    The embedding of a person is that of the number; `asked` counts the pictures.
    """

    def __init__(self) -> None:
        self.asked = 0
        self._lock = Lock()

    def ask(self, image: bytes) -> FaceAnswer:
        with self._lock:
            self.asked += 1
        with Image.open(BytesIO(image)) as picture:
            pixels = np.asarray(picture.convert("RGB"), np.int16)
        faces = []
        for person, colour in enumerate(COLOURS):
            rows, columns = np.nonzero((abs(pixels - colour) < 60).all(axis=2))
            if len(rows) > 100:
                box = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1.0])
                faces.append(Face(box, 0.9, np.zeros((5, 2)), vector(person)))
        return FaceAnswer(faces, "colours")

    def close(self) -> None:
        pass


class FakeAges:
    """Estimates that person n is 20 + 10 n years old; even ones are male."""

    def health(self) -> Health:
        content = {"models": {"age": {"name": "a", "num_classes": 101}, "gender": {"name": "g"}}}
        return Health.model_validate(content)

    def estimate(self, embeddings: NDArray[np.float32], wanted: Wanted) -> Estimates:
        known = np.stack([vector(person) for person in range(len(COLOURS))])
        people = [int(np.argmax(known @ embedding)) for embedding in embeddings]
        uncertainty = [UncertaintyAnswer(age=1.0, gender=0.1)] * len(people)
        return Estimates(
            ages=[20.0 + 10 * person for person in people],
            genders=[MALE if person % 2 == 0 else FEMALE for person in people],
            uncertainty=uncertainty if wanted.mc_samples else None,
            in_distribution=[True] * len(people),
        )


def _find(content: bytes | bytearray, path: Sequence[bytes], start: int, end: int) -> list[int]:
    """Return where the boxes of an MP4 begin that lead to the last one of a path."""
    while start < end:
        size, name = struct.unpack_from(">I4s", content, start)
        if name == path[0]:
            if len(path) == 1:
                return [start]
            return [start, *_find(content, path[1:], start + 8, start + size)]
        start += size
    raise AssertionError(f"no {path[0]!r}")


def turned_clip(path: Path) -> Path:
    """Make a player turn an MP4 by 90 degrees, by the matrix in its header."""
    content = bytearray(path.read_bytes())
    header = _find(content, [b"moov", b"trak", b"tkhd"], 0, len(content))[-1]
    one = 1 << 16
    matrix = struct.pack(">9i", 0, one, 0, -one, 0, 0, 0, 0, 1 << 30)
    content[header + 8 + 40 : header + 8 + 76] = matrix
    path.write_bytes(content)
    return path


def slowed_clip(path: Path, num_first: int, factor: int) -> Path:
    """Let the frames of an MP4 behind the first ones last longer: a variable frame rate."""
    content = bytearray(path.read_bytes())
    edits = _find(content, [b"moov", b"trak", b"edts"], 0, len(content))[-1]
    content[edits + 4 : edits + 8] = b"free"  # it would cut the clip to the time it had
    names = [b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stts"]
    boxes = _find(content, names, 0, len(content))
    entries, count, delta = struct.unpack_from(">III", content, boxes[-1] + 12)
    assert entries == 1
    times = struct.pack(">IIIII", 2, num_first, delta, count - num_first, factor * delta)
    content[boxes[-1] + 12 : boxes[-1] + 24] = times
    for box in boxes:
        (size,) = struct.unpack_from(">I", content, box)
        struct.pack_into(">I", content, box, size + 8)
    path.write_bytes(content)
    return path
