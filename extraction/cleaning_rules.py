"""The rules of cleaning: which images stay, why others are removed, and one count for each."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from extraction.image_labels import ALL_LABELS, ImageLabels, LabelColumns
from utils.labels import NUM_FOLDS

DET_SCORE = 0.9
LOW_SCORES = (
    "fewer faces reach det_score than fall below it; detectors score differently: good faces get "
    "0.75 to 0.9 from those of insightface's model packs, as face_server/ runs them, so take "
    "det_score=0.7 with these"
)


class RemovalCause(StrEnum):
    """Why an image is removed: the first one that holds, in this order."""

    NO_AGE = "no_age_found"
    NO_GENDER = "no_gender_found"
    NO_LABEL = "no_age_and_no_gender_found"
    FAILED = "failed_to_process_image"
    NO_EMBEDDINGS = "no_embeddings"
    NO_FACE = "no_face_detected"
    SEVERAL_FACES = "more_than_one_face"
    BAD_QUALITY = "bad_quality"


@dataclass(frozen=True, slots=True)
class KeptFace:
    """The face that stands for an image: unit embedding (512,) float32 and the detector's score."""

    embedding: npt.NDArray[np.float32]
    det_score: float


KeptFaceT = TypeVar("KeptFaceT", bound=KeptFace)


def missing_label(image: ImageLabels, columns: LabelColumns = ALL_LABELS) -> RemovalCause | None:
    """Return which label an image lacks, if it needs one.

    >>> missing_label(ImageLabels("a.jpg", "", None, None))
    <RemovalCause.NO_AGE: 'no_age_found'>
    >>> missing_label(ImageLabels("a.jpg", "", 28.5, None))
    <RemovalCause.NO_GENDER: 'no_gender_found'>
    >>> missing_label(ImageLabels("a.jpg", "", 28.5, "f")) is None
    True
    >>> missing_label(ImageLabels("a.jpg", "", None, None), LabelColumns(one_suffices=True))
    <RemovalCause.NO_LABEL: 'no_age_and_no_gender_found'>
    """
    if columns.suffice(image):
        return None
    if columns.one_suffices:
        return RemovalCause.NO_LABEL
    return RemovalCause.NO_AGE if image.age is None else RemovalCause.NO_GENDER


def choose_face(
    faces: Sequence[KeptFaceT] | None,
    det_score: float,
    choose: Callable[[Sequence[KeptFaceT]], KeptFaceT] | None,
) -> KeptFaceT | RemovalCause:
    """Return the face that stands for an image, or why the image is removed.

    Args:
        faces: what the face server found; None when it answered null.
        det_score: the lowest score of the detector that is good enough.
        choose: takes one of several faces; without it several faces are a cause.

    >>> face = KeptFace(np.zeros(512, np.float32), 0.85)
    >>> [str(choose_face(faces, 0.9, None)) for faces in (None, [], [face, face], [face])]
    ['no_embeddings', 'no_face_detected', 'more_than_one_face', 'bad_quality']
    >>> choose_face([face], 0.85, None) is face, str(choose_face([face, face], 0.9, lambda f: f[0]))
    (True, 'bad_quality')
    """
    if faces is None:
        return RemovalCause.NO_EMBEDDINGS
    if not faces:
        return RemovalCause.NO_FACE
    if len(faces) > 1 and choose is None:
        return RemovalCause.SEVERAL_FACES
    face = faces[0] if len(faces) == 1 or choose is None else choose(faces)
    return face if face.det_score >= det_score else RemovalCause.BAD_QUALITY


@dataclass(slots=True, kw_only=True)
class CleaningCounts:
    """Counts every image of a data set once: kept, or removed for a cause.

    Attributes:
        is_adience: Adience has folds, and there several faces are no cause.
        columns: which labels the images need.
        removed: number of images by cause.
        kept: number of images by (gender, age in years); '' and None where an image has none.
        folds: number of images by fold, before any is removed.
    """

    is_adience: bool
    columns: LabelColumns = ALL_LABELS
    removed: Counter[str] = field(default_factory=Counter)
    kept: Counter[tuple[str, float | None]] = field(default_factory=Counter)
    folds: Counter[int] = field(default_factory=Counter)

    def add(self, image: ImageLabels, outcome: KeptFace | RemovalCause) -> None:
        """Count one image.

        Raises:
            ValueError: the outcome is impossible: a cause that is none here, or a face without
                labels.
        """
        self.folds[image.fold] += 1
        if isinstance(outcome, RemovalCause):
            if outcome not in self.causes:
                raise ValueError(f"{image.image_path}: {outcome} is no cause here")
            self.removed[outcome] += 1
        elif missing_label(image, self.columns):
            raise ValueError(f"{image.image_path} is kept without an age or a gender")
        else:
            self.kept[image.gender or "", image.age] += 1

    @property
    def causes(self) -> list[RemovalCause]:
        """The causes of this data set, in their order."""
        impossible = {RemovalCause.SEVERAL_FACES} if self.is_adience else set()
        if self.columns.one_suffices:
            impossible |= {RemovalCause.NO_AGE, RemovalCause.NO_GENDER}
        else:
            impossible.add(RemovalCause.NO_LABEL)
        return [cause for cause in RemovalCause if cause not in impossible]

    @property
    def num_kept(self) -> int:
        """Number of images that stay."""
        return self.kept.total()

    @property
    def remark(self) -> str:
        """What to do when low scores remove more images than stay; "" otherwise."""
        return LOW_SCORES if self.removed[RemovalCause.BAD_QUALITY] > self.num_kept else ""

    def num_of(self, gender: str | None = None, age: float | None = None) -> int:
        """Count the images kept, of one gender or of one age if given."""
        return sum(
            count
            for (of_gender, of_age), count in self.kept.items()
            if gender in (None, of_gender) and age in (None, of_age)
        )

    def num_without_age(self) -> int:
        """Count the images kept whose age is not known."""
        return sum(count for (_, age), count in self.kept.items() if age is None)

    def ages(self) -> list[float]:
        """List the ages of the images kept, in order."""
        return sorted({age for _, age in self.kept if age is not None})

    def as_json(self, num_images: int) -> dict[str, Any]:
        """Return the counts for the meta data of a data set of `num_images`.

        Raises:
            ValueError: an image was counted twice or not at all.
        """
        num_counted = self.num_kept + self.removed.total()
        if not num_images == num_counted == self.folds.total():
            raise ValueError(f"{num_counted} images were counted, the data set has {num_images}")
        content: dict[str, Any] = {
            "total_num_images": num_images,
            "removed": {cause.value: self.removed[cause] for cause in self.causes},
            "num_images": self.num_kept,
            "genders": {gender: self.num_of(gender) for gender in ("f", "m")},
            "ages": {f"{age:g}": self.num_of(age=age) for age in self.ages()},
        }
        if self.columns.one_suffices:
            content["without"] = {"age": self.num_without_age(), "gender": self.num_of("")}
        if self.is_adience:
            content["folds"] = [self.folds[fold] for fold in range(NUM_FOLDS)]
        return content
