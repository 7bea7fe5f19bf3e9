"""The data files of the original project: pickled dicts, one a face."""

import math
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from utils.errors import DataError
from utils.labels import EMBEDDING_SIZE, GENDERS, NO_FOLD
from utils.legacy.pickles import load_pickled_npy
from utils.legacy.refusal import RefusedError, refuse, refused_as
from utils.text import shown

KEYS = ("image_path", "age", "gender", "embedding")
MAX_PATH_LENGTH = 4096
MAX_SUBJECT_LENGTH = 255
"""One long name would widen every row."""

MIN_EMBEDDING_BYTES = 2 * EMBEDDING_SIZE  # float16
MAX_NUMBER = float(np.finfo(np.float32).max)


class OriginalFace(NamedTuple):
    """A face of the original's data file.

    `subject` is Adience's user id (the image's folder), empty elsewhere; `fold` is 0 to 4 in
    Adience, -1 elsewhere; `det_score` is NaN where there is none; `embedding` is (512,) float32.
    """

    image_path: str
    subject: str
    age: float
    gender: str
    fold: int
    det_score: float
    embedding: NDArray[np.float32]


def read_original_faces(path: Path) -> list[OriginalFace]:
    """Read an original `data.npy` (IMDB, WIKI) or `data-<image_type>.npy` (Adience).

    Adience's faces are in the order of their folds. Other keys of a dict are ignored.

    Raises:
        DataError: no such file, or a damaged or foreign one; or a dict lacks a key or holds
            something else than a path, finite numbers, a gender and an embedding: the message names
            its index.
    """
    content = load_pickled_npy(path)
    by_fold = content if isinstance(content, dict) else {NO_FOLD: content}
    num_faces = sum(map(len, by_fold.values()))
    with refused_as(DataError, path):
        # Dicts that share one embedding would make the columns far larger than the file.
        if num_faces * MIN_EMBEDDING_BYTES > path.stat().st_size:
            refuse(f"holds {num_faces} records, more than its size has embeddings for")
        return [
            _numbered(index, fold, content)
            for fold, contents in by_fold.items()
            for index, content in enumerate(contents)
        ]


def _numbered(index: int, fold: int, content: dict[str, Any]) -> OriginalFace:
    try:
        return _face(content, fold)
    except RefusedError as refusal:
        of_fold = "" if fold == NO_FOLD else f" of fold {fold}"
        raise RefusedError(f"holds a record {index}{of_fold} that {refusal}") from None


def _face(content: dict[str, Any], fold: int) -> OriginalFace:
    for key in KEYS:
        if key not in content:
            refuse(f"lacks {key!r}")
    own_fold, gender = content.get("fold", fold), content["gender"]
    if fold != NO_FOLD and _number(own_fold, "fold") != fold:
        refuse(f"has the fold {own_fold}")
    if type(gender) is not str or gender not in GENDERS:
        refuse(f"has the gender {shown(gender)}, 'm' or 'f' was expected")
    image_path = _path(content["image_path"])
    return OriginalFace(
        image_path,
        "" if fold == NO_FOLD else _subject(image_path),
        _number(content["age"], "age"),
        gender,
        fold,
        _number(content["det_score"], "det_score") if "det_score" in content else math.nan,
        _embedding(content["embedding"]),
    )


def _path(value: Any) -> str:
    if type(value) is not str or not 0 < len(value) <= MAX_PATH_LENGTH:
        refuse("has an image_path that is no path")
    return value


def _subject(image_path: str) -> str:
    subject = PurePosixPath(image_path).parent.name
    if len(subject) > MAX_SUBJECT_LENGTH:
        refuse(f"is in a folder with a name of {len(subject)} letters")
    return subject


def _number(value: Any, what: str) -> float:
    is_number = isinstance(value, int | float | np.integer | np.floating)
    # Integers can be too large for a float; they compare with one nevertheless.
    if not is_number or type(value) is bool or not abs(value) <= MAX_NUMBER:
        refuse(f"has the {what} {shown(value)}, a finite number was expected")
    return float(value)


def _embedding(value: Any) -> NDArray[np.float32]:
    if type(value) is not np.ndarray or value.shape != (EMBEDDING_SIZE,) or value.dtype.kind != "f":
        refuse(f"has an embedding that is no array of {EMBEDDING_SIZE} floats")
    with np.errstate(over="ignore"):  # becomes infinite, and is refused for its length
        embedding: NDArray[np.float32] = value.astype(np.float32, copy=False)
    return embedding
