import base64
import json
from typing import Any

import numpy as np
import pytest

from faces.wire import encode_faces, encode_request

# What jsonpickle 2.0.0 writes under numpy 1.26 for make_faces(2).
REAL_JSONPICKLE_TEXT = (
    '{"face_detection_recognition": [{"bbox": {"py/reduce": [{"py/function": "numpy.core.multia'
    'rray._reconstruct"}, {"py/tuple": [{"py/type": "numpy.ndarray"}, {"py/tuple": [0]}, {"py/b'
    '64": "Yg=="}]}, {"py/tuple": [1, {"py/tuple": [4]}, {"py/reduce": [{"py/type": "numpy.dtyp'
    'e"}, {"py/tuple": ["f8", false, true]}, {"py/tuple": [3, "<", null, null, null, -1, -1, 0]'
    '}]}, false, {"py/b64": "AAAAAAAA8D8AAAAAAAAAQAAAAAAAAD5AAAAAAABAREA="}]}]}, "det_score": {'
    '"py/reduce": [{"py/function": "numpy.core.multiarray.scalar"}, {"py/tuple": [{"py/id": 4},'
    ' {"py/b64": "AAAAAAAA6D8="}]}]}, "landmark": {"py/reduce": [{"py/function": "numpy.core.mu'
    'ltiarray._reconstruct"}, {"py/tuple": [{"py/type": "numpy.ndarray"}, {"py/tuple": [0]}, {"'
    'py/b64": "Yg=="}]}, {"py/tuple": [1, {"py/tuple": [2, 2]}, {"py/id": 4}, false, {"py/b64":'
    ' "AAAAAAAAAAAAAAAAAADwPwAAAAAAAABAAAAAAAAACEA="}]}]}, "normed_embedding": {"py/reduce": [{'
    '"py/function": "numpy.core.multiarray._reconstruct"}, {"py/tuple": [{"py/type": "numpy.nda'
    'rray"}, {"py/tuple": [0]}, {"py/b64": "Yg=="}]}, {"py/tuple": [1, {"py/tuple": [2]}, {"py/'
    'reduce": [{"py/type": "numpy.dtype"}, {"py/tuple": ["f4", false, true]}, {"py/tuple": [3, '
    '"<", null, null, null, -1, -1, 0]}]}, false, {"py/b64": "mpkZP83MTL8="}]}]}}, {"bbox": {"p'
    'y/reduce": [{"py/function": "numpy.core.multiarray._reconstruct"}, {"py/tuple": [{"py/type'
    '": "numpy.ndarray"}, {"py/tuple": [0]}, {"py/b64": "Yg=="}]}, {"py/tuple": [1, {"py/tuple"'
    ': [4]}, {"py/id": 4}, false, {"py/b64": "AAAAAAAAAEAAAAAAAAAIQAAAAAAAAD9AAAAAAADAREA="}]}]'
    '}, "det_score": {"py/reduce": [{"py/function": "numpy.core.multiarray.scalar"}, {"py/tuple'
    '": [{"py/id": 4}, {"py/b64": "AAAAAAAA7D8="}]}]}, "landmark": {"py/reduce": [{"py/function'
    '": "numpy.core.multiarray._reconstruct"}, {"py/tuple": [{"py/type": "numpy.ndarray"}, {"py'
    '/tuple": [0]}, {"py/b64": "Yg=="}]}, {"py/tuple": [1, {"py/tuple": [2, 2]}, {"py/id": 4}, '
    'false, {"py/b64": "AAAAAAAA8L8AAAAAAAAAAAAAAAAAAPA/AAAAAAAAAEA="}]}]}, "normed_embedding":'
    ' {"py/reduce": [{"py/function": "numpy.core.multiarray._reconstruct"}, {"py/tuple": [{"py/'
    'type": "numpy.ndarray"}, {"py/tuple": [0]}, {"py/b64": "Yg=="}]}, {"py/tuple": [1, {"py/tu'
    'ple": [2]}, {"py/id": 8}, false, {"py/b64": "mpkZP83MTL8="}]}]}}]}'
)


def make_faces(num_faces: int) -> list[dict[str, Any]]:
    return [
        {
            "bbox": np.array([1, 2, 30, 40.5]) + number,
            "det_score": np.float64(0.75 + number / 8),
            "landmark": np.arange(4.0).reshape(2, 2) - number,
            "normed_embedding": np.array([0.6, -0.8], np.float32),
        }
        for number in range(num_faces)
    ]


def number_objects(text: str) -> dict[int, Any]:
    """Number the objects of an answer as jsonpickle's reader does, tuples and names aside."""
    objects: dict[int, Any] = {}

    def visit(node: Any) -> None:
        if isinstance(node, list) or (isinstance(node, dict) and "py/reduce" in node):
            objects[len(objects)] = node
            children = node if isinstance(node, list) else node["py/reduce"]
        elif isinstance(node, dict) and "py/tuple" in node:
            children = node["py/tuple"]
        elif isinstance(node, dict) and not any(key.startswith("py/") for key in node):
            objects[len(objects)] = node
            children = list(node.values())
        else:
            return
        for child in children:
            visit(child)

    visit(json.loads(text))
    return objects


def test_two_faces_are_written_as_jsonpickle_writes_them() -> None:
    assert encode_faces(make_faces(2)) == REAL_JSONPICKLE_TEXT


def test_every_reference_names_the_dtype_of_its_array() -> None:
    faces = make_faces(3)
    text = encode_faces([face | {"landmark": np.zeros((5, 2), np.float32)} for face in faces])
    objects = number_objects(text)
    dtype_names = [
        objects[int(piece.split("}")[0])]["py/reduce"][1]["py/tuple"][0]
        for piece in text.split('"py/id": ')[1:]
    ]
    assert dtype_names == ["f8", "f4", *(["f8", "f8", "f4", "f4"] * 2)]


def test_big_endian_and_strided_arrays_are_written_as_little_endian_in_row_order() -> None:
    (face,) = make_faces(1)
    landmark = np.asfortranarray(np.asarray(face["landmark"]).astype(">f8"))
    assert encode_faces([face | {"landmark": landmark}]) == encode_faces([face])


def test_a_picture_without_a_face_and_one_that_cannot_be_used_differ() -> None:
    assert json.loads(encode_faces([])) == {"face_detection_recognition": []}
    assert json.loads(encode_faces(None)) == {"face_detection_recognition": None}


def test_the_key_and_the_model_are_written() -> None:
    assert json.loads(encode_faces([], "fa_results", "tiny")) == {"fa_results": [], "model": "tiny"}


def test_whole_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="int64, expected floating-point"):
        encode_faces([make_faces(1)[0] | {"bbox": np.arange(4)}])


def test_a_request_is_a_json_string_that_holds_json() -> None:
    inner = json.loads(encode_request(b"\x00\xff"))
    assert isinstance(inner, str)
    assert base64.b64decode(json.loads(inner)["image"]["py/b64"]) == b"\x00\xff"
