"""Pickles of faces that every numpy from 1.26 on opens with a plain `pickle.load`."""

import pickle
from collections.abc import Sequence

import numpy as np

from faces.client import Face

PROTOCOL = 3
"""Names modules in lines of their own, as `_OF_NUMPY_2` expects."""

_OF_NUMPY_2, _OF_EVERY_NUMPY = b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"


def pickle_faces(faces: Sequence[Face] | None) -> bytes:
    """Pickle a list of dicts (bbox, det_score, landmark, normed_embedding), or None.

    numpy 1.26.0 does not have the module's new name; numpy 2 still has the old one.

    >>> import pickle
    >>> pickle.loads(pickle_faces([])), pickle.loads(pickle_faces(None))
    ([], None)
    """
    content = None if faces is None else [_fields(face) for face in faces]
    return pickle.dumps(content, PROTOCOL).replace(_OF_NUMPY_2, _OF_EVERY_NUMPY)


def _fields(face: Face) -> dict[str, object]:
    return {
        "bbox": face.bbox.astype("<f8"),
        "det_score": np.float64(face.det_score),
        "landmark": face.landmark.astype("<f8"),
        "normed_embedding": face.embedding.astype("<f4"),
    }
