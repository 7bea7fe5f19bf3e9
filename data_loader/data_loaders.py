"""The loaders that configs name: gender, and age in 8 or 101 classes or in groups of years."""

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from base.base_data_loader import BaseDataLoader, Split
from data_loader.dataset import FaceDataset, number_subjects
from data_loader.faces import Faces, LoadedFaces, Selection, read_source
from utils.errors import DataError
from utils.labels import (
    AGE_CLASS_COUNTS,
    NUM_FOLDS,
    NUM_GENDERS,
    AgeClasses,
    ages_to_classes,
    genders_to_classes,
    read_age_groups,
)
from utils.schema import AgeGroupList, PathText

MAX_WORKERS = 1024
"""Processes that fetch batches: each takes memory, and a place among the processes there may be."""

MAX_WORKERS = 1024
"""Processes that fetch batches: each takes memory, and a place among the processes there may be."""


class FaceDataLoader(BaseDataLoader):
    """Reads a data set, maps its labels, and splits it.

    A config is checked against the annotations here.

    Args:
        data_dir: folder that holds `Adience/`, `imdb_crop/` and `wiki_crop/`.
        batch_size: rows a training step.
        shuffle: draw a new order each epoch.
        validation_split: fraction in [0, 1) or number of rows set aside; see `split_validation`.
        num_workers: processes that fetch batches; 0 fetches in this process.
        dataset: Adience, imdb, wiki, imdb_wiki or imdb_wiki_adience, in any case.
        num_classes: 2 for gender; 8 or 101 for age, or the number of groups in `classes`.
        training: True for the rows to train on; False for the held-out fold, which is not split.
        test_cross_val: fold of Adience held out, 0 to 4; None holds none out.
        limit_data: take this many rows at random; None for all.
        validation_by: "image", or "subject": then no subject is on both sides. Adience's subjects
            are albums: a person with two of them can be.
        classes: groups of ages, [[first year, last year], ...], in place of 8 or 101 classes.
        seed: of the split, of the order, and of `limit_data`.
        source: the data set as read before, to share it; None reads it from `data_dir`.

    Attributes:
        source: the data set behind the rows; it may hold more of them where it was given.
        extractors: what made the embeddings of each part of the data set, where that is recorded.

    Raises:
        DataError: the data or the arguments are unfit; the message says how.
    """

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
        test_cross_val: Annotated[int, Field(ge=0, le=NUM_FOLDS - 1)] | None = None,
        limit_data: Annotated[int, Field(ge=1)] | None = None,
        validation_by: Literal["image", "subject"] = "image",
        classes: AgeGroupList | None = None,
        seed: int = 42,
        source: LoadedFaces | None = None,
    ):
        selection = Selection(folds_to_read(dataset, training, test_cross_val), limit_data, seed)
        self.source = source = source or read_source(data_dir, dataset, selection)
        faces, part = source.faces, source.rows(selection)
        self.extractors = source.extractors
        subjects = None
        if validation_by == "subject":
            subjects = number_subjects(faces.subject if part is None else faces.subject[part])
        super().__init__(
            FaceDataset(faces.embedding, self.labels(faces, num_classes, classes), subjects, part),
            batch_size,
            shuffle,
            Split(validation_split if training else 0, validation_by, seed),
            num_workers,
        )

    @staticmethod
    def labels(faces: Faces, num_classes: int, groups: AgeGroupList | None) -> NDArray[np.int64]:
        """Map the faces to class numbers (N,)."""
        raise NotImplementedError


class GenderDataLoader(FaceDataLoader):
    """Gender: male is class 0, female is class 1. Arguments as in `FaceDataLoader`."""

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


def folds_to_read(dataset: str, training: bool, test_cross_val: int | None) -> list[int] | None:
    """Choose the folds of Adience to read; None where none is held out."""
    if test_cross_val is None:
        if not training:
            raise DataError(
                f"{dataset} has no test fold: only Adience has folds, and test_cross_val (0 to 4) "
                "names the one held out"
            )
        return None
    if dataset.lower() != "adience":
        raise DataError(f"test_cross_val is for Adience, which has folds; {dataset} has none")
    if test_cross_val not in range(NUM_FOLDS):
        raise DataError(f"test_cross_val is {test_cross_val}, expected 0 to 4 or null")
    if not training:
        return [test_cross_val]
    return [fold for fold in range(NUM_FOLDS) if fold != test_cross_val]
