"""The stored answers of the face server, `<image>.RESIZED.pkl` and `<image>.pkl`.

They are pickles that every numpy from 1.26 on opens with a plain `pickle.load`; here they are read
without running code.
"""

import math
import os
import pickle
import pickletools
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from extraction.cleaning_rules import KeptFace
from extraction.image_labels import Box
from extraction.places import Places
from faces.client import Face
from faces.errors import ImageError
from faces.pictures import Limits, Picture, opened, read_file
from faces.squares import UNCHANGED, Placement
from utils.errors import DataError
from utils.files import atomic_write
from utils.labels import EMBEDDING_SIZE, is_unit_length
from utils.legacy.pickles import load_pickle

RESIZED_SUFFIX, AS_IT_WAS_SUFFIX = ".RESIZED.pkl", ".pkl"
MAX_BYTES = 16 << 20
"""The longest file that is read; one face takes 2.5 kB."""

_FIELDS = ("bbox", "det_score", "normed_embedding")
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class MissingError(Exception):
    """There is no stored answer for an image: it was never sent, or sending it failed."""


class UnusableError(Exception):
    """What is stored for an image cannot be used; `path` is the file at fault.

    `is_corrupt`: the file is there and holds something else than it should, so that nothing is
    lost with it.
    """

    def __init__(self, path: Path | str, reason: str, *, is_corrupt: bool) -> None:
        super().__init__(reason)
        self.path = Path(path)
        self.is_corrupt = is_corrupt


@dataclass(frozen=True, slots=True)
class StoredFace(KeptFace):
    """A face with the middle of its box, in pixels of the image that was sent."""

    centre: tuple[float, float]


@dataclass(slots=True)
class StoredAnswers:
    """The stored answers of one data set.

    Attributes:
        places: where images and answers lie.
        resize: side of the square that was sent, in pixels; 0 for images sent as they are.
        falls_back: take `<image>.pkl` for an answer of a resized image where there is no
            `<image>.RESIZED.pkl`: the original project writes both kinds under that name.
        num_fallbacks: answers that were read so.
    """

    places: Places
    resize: int
    falls_back: bool = True
    num_fallbacks: int = 0

    @property
    def suffixes(self) -> tuple[str, ...]:
        """The endings of the files to look for, the first that exists counts."""
        if not self.resize:
            return (AS_IT_WAS_SUFFIX,)
        return (RESIZED_SUFFIX, AS_IT_WAS_SUFFIX) if self.falls_back else (RESIZED_SUFFIX,)

    def read(self, image_path: str) -> list[StoredFace] | None:
        """Read the faces of an image; None when the face server could not use it.

        Raises:
            MissingError: nothing is stored for it.
            UnusableError: what is stored is damaged, foreign, or cannot be read.
        """
        for number, path in enumerate(self._paths(image_path)):
            try:
                content = _read(path)
                self.num_fallbacks += number
                return _faces(path, content)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                reason = f"cannot be read: {error.strerror}"
                raise UnusableError(path, reason, is_corrupt=False) from None
        raise MissingError(image_path)

    def has(self, image_path: str) -> bool:
        """Return whether something is stored for an image."""
        return any(map(os.path.exists, self._paths(image_path)))

    def nearest_to_centre(self, image_path: str, faces: Sequence[StoredFace]) -> StoredFace:
        """Return the face whose box is nearest to the middle of the image that was sent.

        The image is opened, for its size only, when it was sent as it is.

        Raises:
            UnusableError: the image cannot be opened.
        """
        middle = (self.resize / 2,) * 2 if self.resize else _middle(self.places.image(image_path))
        return min(faces, key=lambda face: math.dist(face.centre, middle))

    def in_box(self, image_path: str, faces: Sequence[StoredFace], box: Box) -> list[StoredFace]:
        """Return the face whose middle is in a box, the nearest one to its middle; or none.

        The image is opened, for its size only, when it was resized.

        Raises:
            UnusableError: the image cannot be opened.
        """
        left, top, right, bottom = box
        middle = ((left + right) / 2, (top + bottom) / 2)
        placement = self._placement(image_path)
        inside = [
            (math.dist((x, y), middle), number)
            for number, (x, y) in enumerate(placement.to_picture([one.centre for one in faces]))
            if left <= x <= right and top <= y <= bottom
        ]
        return [faces[min(inside)[1]]] if inside else []

    def _placement(self, image_path: str) -> Placement:
        """Return where an image lies in the square that was sent."""
        if not self.resize:
            return UNCHANGED
        width, height = _opened_size(self.places.image(image_path), lambda picture: picture.size)
        longest = max(width, height)
        offset = ((longest - width) // 2, (longest - height) // 2)
        return Placement((longest / self.resize, longest / self.resize), offset)

    def _paths(self, image_path: str) -> Iterator[str]:
        beside = self.places.beside_answer(image_path)
        return (f"{beside}{suffix}" for suffix in self.suffixes)


def answer_path(image_path: Path, resize: int | None) -> Path:
    """Return the file of an image's answer, which lies beside the image.

    >>> answer_path(Path("a.jpg"), 640).name, answer_path(Path("a.jpg"), None).name
    ('a.jpg.RESIZED.pkl', 'a.jpg.pkl')
    """
    return image_path.with_name(image_path.name + answer_suffix(resize))


def answer_suffix(resize: int | None) -> str:
    """Return what the name of an image's answer ends in."""
    return RESIZED_SUFFIX if resize else AS_IT_WAS_SUFFIX


def write_answer(path: Path, faces: Sequence[Face] | None) -> None:
    """Write the faces, or that the server could not use the image (None), whole or not at all."""
    with atomic_write(path) as file:
        file.write(pickle_faces(faces))


def pickle_faces(faces: Sequence[Face] | None) -> bytes:
    """Pickle a list of dicts (bbox, det_score, landmark, normed_embedding), or None.

    >>> import pickle
    >>> pickle.loads(pickle_faces([])), pickle.loads(pickle_faces(None))
    ([], None)
    """
    dicts = None if faces is None else [face.arrays() for face in faces]
    content = pickle.dumps(dicts, protocol=3)
    names = [at for one, _, at in pickletools.genops(content) if one.name == "GLOBAL"]
    for start in reversed(names):  # numpy 1.26.0 does not have the new name, numpy 2 has both
        end = content.index(b"\n", start)
        module = content[start:end].replace(b"numpy._core.", b"numpy.core.")
        content = content[:start] + module + content[end:]
    return content


def _read(path: str) -> bytes:
    """Read a regular file, without waiting for the writer of a pipe."""
    handle = os.open(path, _OPEN_FLAGS)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise UnusableError(path, "is no regular file", is_corrupt=False)
        if status.st_size > MAX_BYTES:
            reason = f"is larger than {MAX_BYTES} bytes, the most that is read"
            raise UnusableError(path, reason, is_corrupt=True)
        return os.read(handle, status.st_size)
    finally:
        os.close(handle)


def _faces(path: str, content: bytes) -> list[StoredFace] | None:
    try:
        answer = load_pickle(content)
    except DataError as error:
        reason = str(error).removeprefix("the pickle ")
        raise UnusableError(path, reason, is_corrupt=True) from None
    if answer is None:
        return None
    if type(answer) is not list or not all(type(face) is dict for face in answer):
        reason = "holds something else than a list of faces"
        raise UnusableError(path, reason, is_corrupt=True)
    try:
        return [_face(face) for face in answer]
    except ValueError as error:
        raise UnusableError(path, str(error), is_corrupt=True) from None


def _face(face: dict[Any, Any]) -> StoredFace:
    """Check one face.

    Raises:
        ValueError: a field is missing or has the wrong kind, shape or length, or is not finite.
    """
    bbox, det_score, embedding = (_floats(face, name) for name in _FIELDS)
    if bbox.shape != (4,) or det_score.shape != () or embedding.shape != (EMBEDDING_SIZE,):
        raise ValueError("holds a face whose box, score or embedding has the wrong shape")
    x1, y1, x2, y2 = bbox.tolist()
    centre, score = ((x1 + x2) / 2, (y1 + y2) / 2), det_score.item()
    if not all(map(math.isfinite, (*centre, score))):
        raise ValueError("holds a face whose box or score is not finite")
    with np.errstate(over="ignore", invalid="ignore"):
        embedding = embedding.astype(np.float32, copy=False)
        length = math.sqrt(float(embedding @ embedding))
    if not is_unit_length(length):
        raise ValueError(f"holds an embedding of length {length:.4g}, 1 was expected")
    return StoredFace(embedding=embedding, det_score=score, centre=centre)


def _floats(face: dict[Any, Any], name: str) -> np.ndarray[Any, np.dtype[Any]]:
    values = face.get(name)
    if isinstance(values, float):
        return np.array(values)
    if not isinstance(values, np.ndarray | np.floating) or values.dtype.kind != "f":
        raise ValueError(f"holds a face without floating-point numbers as its {name!r}")
    return np.asarray(values)


def _middle(image_path: Path) -> tuple[float, float]:
    """Return the middle of an image, in its own pixels."""
    width, height = _opened_size(image_path, lambda picture: picture.stored.size)
    return width / 2, height / 2


def _opened_size(image_path: Path, size: Callable[[Picture], tuple[int, int]]) -> tuple[int, int]:
    """Open an image, of which only the header is looked at, and return a size of it."""
    try:
        with opened(read_file(image_path), Limits()) as picture:
            return size(picture)
    except ImageError as error:
        reason = f"shows several faces, and its size cannot be read: {error}"
        raise UnusableError(image_path, reason, is_corrupt=False) from None
