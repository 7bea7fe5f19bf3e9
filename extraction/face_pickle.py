"""Pickles of faces that every numpy from 1.x to 2.x opens with a plain `pickle.load`.

`pickle.dump` under numpy 2 names modules that numpy 1.26.0 does not have. The names of numpy 1 work
in both, so the few instructions that make a face are written out here.
"""

import struct
from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from faces.client import Face

PROTOCOL = b"\x80\x03"
STOP = b"."
NONE = b"N"
RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"
SCALAR = b"cnumpy.core.multiarray\nscalar\n"
ARRAY_TYPE = b"cnumpy\nndarray\n"
DTYPE_TYPE = b"cnumpy\ndtype\n"
MARK, TUPLE, TUPLE_OF_1, TUPLE_OF_2, TUPLE_OF_3 = b"(", b"t", b"\x85", b"\x86", b"\x87"
CALL, SET_STATE = b"R", b"b"
EMPTY_LIST, APPENDS = b"]", b"e"
EMPTY_DICT, SET_ITEMS = b"}", b"u"
FALSE, TRUE = b"\x89", b"\x88"


def _int(number: int) -> bytes:
    return b"J" + struct.pack("<i", number)


def _text(text: str) -> bytes:
    content = text.encode()
    return b"X" + struct.pack("<I", len(content)) + content


def _bytes(content: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(content)) + content


def _dtype(name: str) -> bytes:
    """Write the little-endian dtype `name`."""
    made = DTYPE_TYPE + _text(name) + FALSE + TRUE + TUPLE_OF_3 + CALL
    state = _int(3) + _text("<") + NONE * 3 + _int(-1) + _int(-1) + _int(0)
    return made + MARK + state + TUPLE + SET_STATE


_DTYPES = {name: _dtype(name) for name in ("f4", "f8")}
_EMPTY_ARRAY = RECONSTRUCT + ARRAY_TYPE + _int(0) + TUPLE_OF_1 + _bytes(b"b") + TUPLE_OF_3 + CALL


def _array(array: npt.NDArray[Any], dtype: str) -> bytes:
    shape = MARK + b"".join(map(_int, array.shape)) + TUPLE
    content = _bytes(array.astype(f"<{dtype}").tobytes())
    state = MARK + _int(1) + shape + _DTYPES[dtype] + FALSE + content + TUPLE
    return _EMPTY_ARRAY + state + SET_STATE


def _scalar(number: float) -> bytes:
    return SCALAR + _DTYPES["f8"] + _bytes(struct.pack("<d", number)) + TUPLE_OF_2 + CALL


def _face(face: Face) -> bytes:
    fields = {
        "bbox": _array(face.bbox, "f8"),
        "det_score": _scalar(face.det_score),
        "landmark": _array(face.landmark, "f8"),
        "normed_embedding": _array(face.embedding, "f4"),
    }
    items = b"".join(_text(name) + content for name, content in fields.items())
    return EMPTY_DICT + MARK + items + SET_ITEMS


def pickle_faces(faces: Sequence[Face] | None) -> bytes:
    """Pickle a list of dicts (bbox, det_score, landmark, normed_embedding), or None.

    >>> import pickle
    >>> pickle.loads(pickle_faces([])), pickle.loads(pickle_faces(None))
    ([], None)
    """
    if faces is None:
        return PROTOCOL + NONE + STOP
    return PROTOCOL + EMPTY_LIST + MARK + b"".join(map(_face, faces)) + APPENDS + STOP
