"""The cleaned data files: one structured array of the kept images, and counts of the others."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from utils.files import atomic_write

EMBEDDING_SIZE = 512
DET_SCORE = 0.9

CAUSES = (
    "no_age_found",
    "no_gender_found",
    "failed_to_process_image",
    "no_embeddings",
    "no_face_detected",
    "more_than_one_face",
    "bad_quality",
)
"""Why an image is removed; an image falls to the first cause that holds, in this order."""


@dataclass(frozen=True, slots=True)
class Record:
    """What the metadata of a data set say about one image.

    `image_path` is relative to the folder of the data set, with forward slashes; `age` is in years;
    `gender` is 'm' or 'f'; None where the metadata do not tell. `fold` is -1 outside Adience.
    """

    image_path: str
    subject: str
    age: float | None
    gender: str | None
    fold: int = -1


@dataclass(frozen=True, slots=True)
class Face:
    """The face that stands for an image: unit embedding (512,) float32 and the detector's score."""

    embedding: npt.NDArray[np.float32]
    det_score: float


def missing_label(record: Record) -> str | None:
    """Name the label that `record` lacks.

    >>> missing_label(Record("a.jpg", "", None, "m"))
    'no_age_found'
    >>> missing_label(Record("a.jpg", "", 28.5, None))
    'no_gender_found'
    >>> missing_label(Record("a.jpg", "", 28.5, "f")) is None
    True
    """
    if record.age is None:
        return "no_age_found"
    if record.gender is None:
        return "no_gender_found"
    return None


def cleaned_array(kept: Sequence[tuple[Record, Face]]) -> npt.NDArray[np.void]:
    """Put the kept images into one structured array (N,), the strings as wide as the widest."""
    path_width = max((len(record.image_path) for record, _ in kept), default=1)
    subject_width = max((len(record.subject) for record, _ in kept), default=1)
    dtype = np.dtype(
        [
            ("image_path", f"<U{max(path_width, 1)}"),
            ("subject", f"<U{max(subject_width, 1)}"),
            ("age", "<f4"),
            ("gender", "<U1"),
            ("fold", "i1"),
            ("det_score", "<f4"),
            ("embedding", "<f4", (EMBEDDING_SIZE,)),
        ]
    )
    array = np.zeros(len(kept), dtype)
    for name in ("image_path", "subject", "age", "gender", "fold"):
        array[name] = [getattr(record, name) for record, _ in kept]
    for name in ("det_score", "embedding"):
        array[name] = np.array([getattr(face, name) for _, face in kept]).reshape(array[name].shape)
    return array


def count_kept(array: npt.NDArray[np.void]) -> dict[str, Any]:
    """Count what the cleaned array holds: the part of the meta data that follows from it.

    >>> face = Face(np.zeros(512, np.float32), 0.95)
    >>> count_kept(cleaned_array([(Record("a.jpg", "", 28.5, "f", 0), face)]))
    {'num_images': 1, 'genders': {'f': 1, 'm': 0}, 'ages': {'28.5': 1}}
    """
    genders = Counter(array["gender"].tolist())
    ages = Counter(array["age"].tolist())
    return {
        "num_images": len(array),
        "genders": {"f": genders["f"], "m": genders["m"]},
        "ages": {f"{age:g}": ages[age] for age in sorted(ages)},
    }


def count_removed(causes: Mapping[str, int], *, several_faces: bool) -> dict[str, int]:
    """List the causes with their counts; `several_faces`: two faces are a cause."""
    names = (cause for cause in CAUSES if several_faces or cause != "more_than_one_face")
    return {cause: causes.get(cause, 0) for cause in names}


def save_array(array: npt.NDArray[np.void], path: Path) -> None:
    """Write the array as npy, whole or not at all."""
    with atomic_write(path) as file:
        np.save(file, array, allow_pickle=False)
