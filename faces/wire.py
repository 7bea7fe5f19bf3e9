"""Writes what a face server is sent and answers: jsonpickle's text for numpy arrays, as plain JSON.

jsonpickle spells an array as the call that rebuilds it and an object that it met before as a
number. `faces.wire_grammar` reads the same, without anything that could name code to run.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

ANSWER_KEY = "face_detection_recognition"
OLD_ANSWER_KEY = "fa_results"
"""The key of the answers of server images built before July 2021."""

MODEL_KEY = "model"
IMAGE_KEY = "image"
FACE_FIELDS = ("bbox", "det_score", "landmark", "normed_embedding")

BYTES = "py/b64"

# Base64 has nothing that JSON escapes, so that a request is two fixed ends around it.
_REQUEST_START, _REQUEST_END = (
    json.dumps(json.dumps({IMAGE_KEY: {BYTES: "|"}})).encode().split(b"|")
)

FaceArrays = Mapping[str, npt.ArrayLike]
"""A face: the fields of `FACE_FIELDS`, floating-point arrays or scalars."""


def encode_request(image: bytes) -> bytes:
    r"""Make the body of a request: a JSON string that holds JSON.

    >>> encode_request(b"abc")
    b'"{\\"image\\": {\\"py/b64\\": \\"YWJj\\"}}"'
    """
    return _REQUEST_START + base64.b64encode(image) + _REQUEST_END


def encode_faces(
    faces: Sequence[FaceArrays] | None, key: str = ANSWER_KEY, model: str | None = None
) -> str:
    """Write an answer as the face server does.

    Args:
        faces: none for a picture without a face, None for a picture that could not be used.
        key: the key that the faces stand under.
        model: name of the network, written beside the faces when given.

    >>> encode_faces([]), encode_faces(None)
    ('{"face_detection_recognition": []}', '{"face_detection_recognition": null}')
    """
    encoder = _Encoder()
    answer: dict[str, Any] = {key: None if faces is None else encoder.faces(faces)}
    if model is not None:
        answer[MODEL_KEY] = model
    return json.dumps(answer)


class _Encoder:
    """Writes one answer, counting objects as jsonpickle does.

    Dicts, lists and py/reduce objects are numbered from 0 in the order in which they begin; tuples,
    types, functions and bytes are not. A dtype is one object, so that all but its first use are a
    reference. Faces and arrays count as different objects, even when they are the same.
    """

    def __init__(self) -> None:
        self._num_objects = 1  # the answer itself
        self._dtype_numbers: dict[str, int] = {}

    def faces(self, faces: Sequence[FaceArrays]) -> list[dict[str, Any]]:
        self._num_objects += 1
        return [self._face(face) for face in faces]

    def _face(self, face: FaceArrays) -> dict[str, Any]:
        self._num_objects += 1
        return {name: self._array(np.asarray(face[name])) for name in FACE_FIELDS}

    def _array(self, array: npt.NDArray[Any]) -> dict[str, Any]:
        """Write an array, or a scalar when it has no dimension."""
        self._num_objects += 1
        if array.dtype.kind != "f":
            raise ValueError(f"a face holds {array.dtype}, expected floating-point numbers")
        name = f"f{array.dtype.itemsize}"
        dtype = self._dtype(name)
        content = {BYTES: base64.b64encode(array.astype(f"<{name}").tobytes()).decode()}
        if array.ndim == 0:
            return _reduced(_SCALAR, _tuple(dtype, content))
        state = _tuple(1, _tuple(*array.shape), dtype, False, content)
        return _reduced(_RECONSTRUCT, _EMPTY_ARRAY, state)

    def _dtype(self, name: str) -> dict[str, Any]:
        if name in self._dtype_numbers:
            return {"py/id": self._dtype_numbers[name]}
        self._dtype_numbers[name] = self._num_objects
        self._num_objects += 1
        state = _tuple(3, "<", None, None, None, -1, -1, 0)
        return _reduced({"py/type": "numpy.dtype"}, _tuple(name, False, True), state)


def _reduced(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"py/reduce": list(parts)}


def _tuple(*items: Any) -> dict[str, Any]:
    return {"py/tuple": list(items)}


_RECONSTRUCT = {"py/function": "numpy.core.multiarray._reconstruct"}
_SCALAR = {"py/function": "numpy.core.multiarray.scalar"}
_EMPTY_ARRAY = _tuple({"py/type": "numpy.ndarray"}, _tuple(0), {BYTES: "Yg=="})
"""What an array is rebuilt from: its type, shape (0,) and the type code b"b"."""
