"""Reads the answers of the face server, each number checked, into faces; writes them back."""

import reprlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from faces.wire import ANSWER_KEY, MODEL_KEY, OLD_ANSWER_KEY, encode_faces
from faces.wire_grammar import WireError, read_objects
from utils.labels import EMBEDDING_SIZE, is_unit_length

__all__ = ["Face", "FaceAnswer", "WireError", "decode_answer"]

MAX_ANSWER_BYTES = 4 * 2**20
MAX_FACES = 1024
MAX_MODEL_LENGTH = 200


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """A face of an answer; boxes and landmarks in pixels of the picture that was sent.

    Attributes:
        bbox: float64 (4,), x1 y1 x2 y2.
        det_score: how sure the detector is.
        landmark: float64 (5, 2), eyes, nose, mouth corners, each x y.
        embedding: float32 (512,), unit length.
    """

    bbox: npt.NDArray[np.float64]
    det_score: float
    landmark: npt.NDArray[np.float64]
    embedding: npt.NDArray[np.float32]

    def arrays(self) -> dict[str, npt.ArrayLike]:
        """Return the fields as a face server names and types them."""
        return {
            "bbox": self.bbox.astype("<f8"),
            "det_score": np.float64(self.det_score),
            "landmark": self.landmark.astype("<f8"),
            "normed_embedding": self.embedding.astype("<f4"),
        }


@dataclass(frozen=True, slots=True)
class FaceAnswer:
    """What a face server said about a picture.

    Attributes:
        faces: None when the server could not use the picture, empty when it saw no face.
        model: name of the network, when the server tells.
    """

    faces: list[Face] | None
    model: str | None = None

    def encoded(self) -> str:
        """Write the answer as a face server does."""
        faces = None if self.faces is None else [face.arrays() for face in self.faces]
        return encode_faces(faces, model=self.model)


def decode_answer(text: bytes | str) -> FaceAnswer:
    """Read an answer.

    Raises:
        WireError: the text is anything else than the encoding of faces, or a number in it is not
            finite, or an embedding is not of unit length.

    >>> decode_answer('{"face_detection_recognition": []}')
    FaceAnswer(faces=[], model=None)
    >>> decode_answer('{"fa_results": null, "model": "tiny"}')
    FaceAnswer(faces=None, model='tiny')
    """
    if len(text) > MAX_ANSWER_BYTES:
        raise WireError(f"is longer than {MAX_ANSWER_BYTES} bytes")
    content = read_objects(text)
    if not isinstance(content, dict):
        raise WireError(f"is a {_kind(content)}, a dict was expected")
    keys = [key for key in (ANSWER_KEY, OLD_ANSWER_KEY) if key in content]
    if len(keys) != 1:
        raise WireError(f"has {len(keys)} of the keys {ANSWER_KEY!r} and {OLD_ANSWER_KEY!r}")
    return FaceAnswer(_faces(content[keys[0]]), _model(content.get(MODEL_KEY)))


def _faces(content: Any) -> list[Face] | None:
    if content is None:
        return None
    if not isinstance(content, list):
        raise WireError(f"has a {_kind(content)} in place of the list of faces")
    if len(content) > MAX_FACES:
        raise WireError(f"has {len(content)} faces, at most {MAX_FACES} are read")
    return [_face(face) for face in content]


def _face(content: Any) -> Face:
    if not isinstance(content, dict):
        raise WireError(f"has a {_kind(content)} in place of a face")
    vector = _numbers(content, "normed_embedding", (EMBEDDING_SIZE,))
    with np.errstate(over="ignore"):  # becomes infinite, which is refused
        norm = float(np.linalg.norm(vector))
    if not is_unit_length(norm):
        raise WireError(f"has an embedding of length {norm:.4g}, 1 was expected")
    return Face(
        bbox=_numbers(content, "bbox", (4,)),
        det_score=float(_numbers(content, "det_score", ())),
        landmark=_numbers(content, "landmark", (5, 2)),
        embedding=vector.astype(np.float32),
    )


def _numbers(face: dict[str, Any], name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Take the finite numbers of one field, as an array of their own."""
    value = face.get(name)
    if not isinstance(value, np.ndarray):
        raise WireError(f"has a face whose {name} is a {_kind(value)}, an array was expected")
    if value.shape != shape or value.dtype.kind == "b":
        raise WireError(f"has a face whose {name} is {value.dtype} {value.shape}, expected {shape}")
    numbers = np.array(value, np.float64, order="C")
    if not np.isfinite(numbers).all():
        raise WireError(f"has a face whose {name} is not finite")
    return numbers


def _model(name: Any) -> str | None:
    if name is None:
        return None
    if not isinstance(name, str) or len(name) > MAX_MODEL_LENGTH or not name.isprintable():
        raise WireError(f"has the name of a model that is none: {reprlib.repr(name)}")
    return name


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__
