"""The rules of cleaning: which images stay, and one count for every image.

The files that come of it are written by `extraction.cleaned_files`.
"""

import posixpath
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from utils.errors import DataError
from utils.labels import NUM_FOLDS

DET_SCORE = 0.9
MAX_PATH_LENGTH, MAX_NAME_LENGTH = 1024, 255
"""Letters in a path, and in a part of it or the name of a person; all rows are as wide as one."""

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


@dataclass(frozen=True, slots=True)
class Removed:
    """What becomes of an image that does not stay: `cause` is one of `CAUSES`."""

    cause: str


FaceT = TypeVar("FaceT", bound=Face)


def checked_path(image_path: str, where: str) -> str:
    """Return the path of an image that a metadata file names, in its shortest spelling.

    Raises:
        DataError: it leads out of the folder of the data set, or is too long for a file; the
            message begins with `where`.

    >>> checked_path("./01//a.jpg", "wiki.mat"), checked_path("", "wiki.mat")
    ('01/a.jpg', '')
    """
    if "\0" in image_path or image_path.startswith("/") or ".." in image_path.split("/"):
        raise DataError(
            f"{where}: the image path {image_path!r:.200} leads out of the folder of the data set"
        )
    path = posixpath.normpath(image_path) if image_path else ""
    if len(path) > MAX_PATH_LENGTH or max(map(len, path.split("/"))) > MAX_NAME_LENGTH:
        raise DataError(
            f"{where}: the image path {path!r:.60}... is too long, expected at most "
            f"{MAX_PATH_LENGTH} letters, and {MAX_NAME_LENGTH} between slashes"
        )
    return path


def missing_label(record: Record) -> Removed | None:
    """Name the label that `record` lacks.

    >>> missing_label(Record("a.jpg", "", None, None))
    Removed(cause='no_age_found')
    >>> missing_label(Record("a.jpg", "", 28.5, None))
    Removed(cause='no_gender_found')
    >>> missing_label(Record("a.jpg", "", 28.5, "f")) is None
    True
    """
    if record.age is None:
        return Removed("no_age_found")
    if record.gender is None:
        return Removed("no_gender_found")
    return None


def judge_faces(
    faces: Sequence[FaceT] | None,
    det_score: float,
    choose: Callable[[Sequence[FaceT]], FaceT] | None,
) -> FaceT | Removed:
    """Give the face that stands for an image, or why the image is removed.

    Args:
        faces: what the face server found; None when it answered null.
        det_score: the lowest score of the detector that is good enough.
        choose: takes one of several faces; without it several faces are a cause.

    >>> face = Face(np.zeros(512, np.float32), 0.85)
    >>> judge_faces(None, 0.9, None), judge_faces([], 0.9, None)
    (Removed(cause='no_embeddings'), Removed(cause='no_face_detected'))
    >>> judge_faces([face, face], 0.8, None), judge_faces([face, face], 0.9, lambda both: both[0])
    (Removed(cause='more_than_one_face'), Removed(cause='bad_quality'))
    >>> judge_faces([face], 0.85, None) is face
    True
    """
    if faces is None:
        return Removed("no_embeddings")
    if not faces:
        return Removed("no_face_detected")
    if len(faces) == 1:
        face = faces[0]
    elif choose is None:
        return Removed("more_than_one_face")
    else:
        face = choose(faces)
    return face if face.det_score >= det_score else Removed("bad_quality")


class Tally:
    """Counts every image of a data set once: kept, or removed for a cause.

    Attributes:
        is_adience: Adience has folds, and there several faces are no cause.
        removed: cause to number of images.
        kept: (gender, age in years) to number of images.
        folds: number of images of each fold, before any is removed.
    """

    def __init__(self, *, is_adience: bool) -> None:
        self.is_adience = is_adience
        self.removed: Counter[str] = Counter()
        self.kept: Counter[tuple[str, float]] = Counter()
        self.folds: Counter[int] = Counter()

    def add(self, record: Record, outcome: Face | Removed) -> None:
        """Count one image.

        Raises:
            ValueError: the outcome is impossible: a cause that is not one, a face without labels.
        """
        self.folds[record.fold] += 1
        if isinstance(outcome, Removed):
            if outcome.cause not in self.causes:
                raise ValueError(f"{record.image_path}: {outcome.cause!r} is no cause here")
            self.removed[outcome.cause] += 1
        elif record.age is None or record.gender is None:
            raise ValueError(f"{record.image_path} is kept without an age or a gender")
        else:
            self.kept[record.gender, record.age] += 1

    @property
    def causes(self) -> tuple[str, ...]:
        """The causes of this data set, in their order."""
        return tuple(
            cause for cause in CAUSES if not (self.is_adience and cause == "more_than_one_face")
        )

    @property
    def num_kept(self) -> int:
        """Number of images that stay."""
        return self.kept.total()

    def num_of(self, gender: str | None = None, age: float | None = None) -> int:
        """Count the images kept, of one gender or of one age if given."""
        return sum(
            count
            for (of_gender, of_age), count in self.kept.items()
            if gender in (None, of_gender) and age in (None, of_age)
        )

    def ages(self) -> list[float]:
        """List the ages of the images kept, in order."""
        return sorted({age for _, age in self.kept})

    def counts(self, num_images: int) -> dict[str, Any]:
        """Give the counts for the meta data of a data set of `num_images`.

        Raises:
            ValueError: an image was counted twice or not at all.
        """
        num_counted = self.num_kept + self.removed.total()
        if not num_images == num_counted == self.folds.total():
            raise ValueError(f"{num_counted} images were counted, the data set has {num_images}")
        content: dict[str, Any] = {
            "total_num_images": num_images,
            "removed": {cause: self.removed[cause] for cause in self.causes},
            "num_images": self.num_kept,
            "genders": {gender: self.num_of(gender) for gender in ("f", "m")},
            "ages": {f"{age:g}": self.num_of(age=age) for age in self.ages()},
        }
        if self.is_adience:
            content["folds"] = [self.folds[fold] for fold in range(NUM_FOLDS)]
        return content
