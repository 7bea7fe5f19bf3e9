"""The loaders that configs name: gender, and age in 8 or 101 classes or in groups of years."""

from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from base.base_data_loader import BaseDataLoader, Split
from data_loader.dataset import FaceDataset
from data_loader.faces import Faces, LoadedFaces, read_source
from data_loader.people import number_subjects
from data_loader.selection import Label, Role, Selection, is_labelled
from utils.errors import DataError
from utils.labels import (
    AGE_CLASS_COUNTS,
    GENDERS,
    MAX_FOLD,
    NUM_GENDERS,
    AgeClasses,
    ages_to_classes,
    genders_to_classes,
    read_age_groups,
)
from utils.schema import AgeGroupList, PathText

MAX_WORKERS = 1024
"""Processes that fetch batches: each takes memory, and a place among the processes there may be."""


class FaceDataLoader(BaseDataLoader):
    """Reads a data set, maps its labels, and splits it. Faces without the label are left out.

    A config is checked against the annotations here.

    Args:
        data_dir: folder that holds `Adience/`, `imdb_crop/`, `wiki_crop/` and a folder for each set
            of one's own.
        batch_size: rows a training step.
        shuffle: draw a new order each epoch.
        validation_split: fraction in [0, 1) or number of rows set aside; see `split_validation`.
            Where no fold is held out, and there are rows of the split "val", they are set aside.
        num_workers: processes that fetch batches; 0 fetches in this process.
        dataset: Adience, imdb, wiki, imdb_wiki or imdb_wiki_adience, in any case; the name or
            folder of a set of one's own; or several of them with "+" in between.
        num_classes: 2 for gender; 8 or 101 for age, or the number of groups in `classes`.
        training: True for the rows to train on; False for those to test on, which are not split:
            the held-out fold, else the split "test" of the data set.
        test_cross_val: fold that is held out; None holds none out.
        limit_data: take this many rows at random; None for all.
        validation_by: "image", or "subject": then no subject is on both sides. Adience's subjects
            are albums: a person with two of them can be. "auto" is "subject" where the data set
            tells subjects, else "image".
        classes: groups of ages, [[first year, last year], ...], in place of 8 or 101 classes.
        seed: of the split, of the order, and of `limit_data`.
        source: the data set as read before, to share it; None reads it from `data_dir`.
        every_row: take all rows, whatever is held out, and set none aside.

    Attributes:
        source: the data set behind the rows; it may hold more of them where it was given.
        extractors: what made the embeddings of each part of the data set, where that is recorded.
        left_out: how many rows lack the label, in words; empty if none does.
        remarks: what there is to know of the folds, if one is held out.

    Raises:
        DataError: the data or the arguments are unfit; the message says how.
    """

    label: ClassVar[Label]

    def __init__(
        self,
        data_dir: PathText,
        batch_size: Annotated[int, Field(ge=1)],
        shuffle: bool,
        validation_split: Annotated[float, Field(ge=0)],
        num_workers: Annotated[int, Field(ge=0, le=MAX_WORKERS)],
        dataset: str,
        num_classes: int,
        training: bool,
        test_cross_val: Annotated[int, Field(ge=0, le=MAX_FOLD)] | None = None,
        limit_data: Annotated[int, Field(ge=1)] | None = None,
        validation_by: Literal["image", "subject", "auto"] = "image",
        classes: AgeGroupList | None = None,
        seed: int = 42,
        source: LoadedFaces | None = None,
        every_row: bool = False,
    ):
        role: Role = "all" if every_row else "train" if training else "test"
        selection = Selection(role, test_cross_val, self.label, limit_data, seed)
        self.source = source = source or read_source(data_dir, dataset, selection)
        faces, part = source.faces, source.rows(selection)
        self.left_out, self.remarks = source.left_out(selection), source.remarks
        self.extractors = source.extractors
        subjects = None
        if validation_by != "image":
            subjects = number_subjects(faces.subject if part is None else faces.subject[part])
        if validation_by == "auto":
            validation_by = "image" if subjects is None else "subject"
        split = Split(validation_split if role == "train" else 0, validation_by, seed)
        if role == "train" and test_cross_val is None:
            split = _with_marked(split, faces.split if part is None else faces.split[part])
        super().__init__(
            FaceDataset(faces.embedding, self._labels(faces, num_classes, classes), subjects, part),
            batch_size,
            shuffle,
            split,
            num_workers,
        )

    def _labels(
        self, faces: Faces, num_classes: int, groups: AgeGroupList | None
    ) -> NDArray[np.int64]:
        """Return the class numbers (N,), -1 for faces without a label, which nobody asks for."""
        is_known = is_labelled(vars(faces), self.label)
        if not is_known.all():
            any_label: Any = {"age": 0, "gender": GENDERS[0]}[self.label]
            column = np.where(is_known, getattr(faces, self.label), any_label)
            faces = replace(faces, **{self.label: column})
        return np.where(is_known, self.labels(faces, num_classes, groups), -1)

    @staticmethod
    def labels(faces: Faces, num_classes: int, groups: AgeGroupList | None) -> NDArray[np.int64]:
        """Map the faces to class numbers (N,)."""
        raise NotImplementedError


class GenderDataLoader(FaceDataLoader):
    """Gender: male is class 0, female is class 1. Arguments as in `FaceDataLoader`."""

    label = "gender"

    @staticmethod
    def labels(faces: Faces, num_classes: int, groups: AgeGroupList | None) -> NDArray[np.int64]:
        """Map genders to 0 and 1.

        Raises:
            DataError: `num_classes` is not 2, or there are groups of ages.
        """
        if num_classes != NUM_GENDERS or groups is not None:
            classes = f"num_classes is {num_classes}" if groups is None else "classes are ages"
            raise DataError(f"GenderDataLoader has 2 classes, {classes}")
        return genders_to_classes(faces.gender)


class AgeDataLoader(FaceDataLoader):
    """Age, in the 8 classes of Adience, in 101 whole years, or in groups of years.

    Arguments as in `FaceDataLoader`.
    """

    label = "age"

    @staticmethod
    def labels(faces: Faces, num_classes: int, groups: AgeGroupList | None) -> NDArray[np.int64]:
        """Map ages to the nearest class, ties downward.

        Raises:
            DataError: `num_classes` is neither 8 nor 101 nor the number of groups.
        """
        counts = AGE_CLASS_COUNTS if groups is None else (len(groups),)
        if num_classes not in counts:
            expected = " or ".join(map(str, counts))
            raise DataError(f"AgeDataLoader has {expected} classes, num_classes is {num_classes}")
        classes: AgeClasses = num_classes if groups is None else read_age_groups(groups)
        return ages_to_classes(faces.age, classes)


def _with_marked(split: Split, of_rows: NDArray[np.str_]) -> Split:
    """Set the rows aside that the data set names for validation, where there are any."""
    is_validation = of_rows == "val"
    return replace(split, by="table", marked=is_validation) if is_validation.any() else split
