"""What a face is in this project: its embedding, its age and gender classes, its fold."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

EMBEDDING_SIZE = 512
"""Numbers of an ArcFace embedding."""

NORM_BOUNDS = (0.99, 1.01)
"""An embedding of a length within these counts as one of unit length."""

NUM_FOLDS = 5
"""Folds of Adience: 0 to 4."""

NO_FOLD = -1
"""The fold of a face of another data set."""

GENDERS = ("m", "f")
"""Class 0 is male, class 1 is female."""

NUM_GENDERS = len(GENDERS)

AgeClasses = int | Sequence[Sequence[int]]
"""The classes of an age model: 8 for Adience's, 101 for whole years from 0 to 100, or the first and
the last year of each class, as [[0, 2], [3, 9]]."""

ADIENCE_GROUPS = ((0, 2), (4, 6), (8, 12), (15, 20), (25, 32), (38, 43), (48, 53), (60, 100))
"""First and last year of Adience's classes."""

ADIENCE_CENTRES = tuple((first + last) / 2 for first, last in ADIENCE_GROUPS)
"""Years that stand for Adience's classes."""

AGE_CLASS_COUNTS = (8, 101)


def is_unit_length(length: Any) -> Any:
    """Return whether embeddings of these lengths, an array or one number, count as unit length.

    >>> is_unit_length(1.005), is_unit_length(float("nan")), is_unit_length(np.array([0.9, 1.0]))
    (True, False, array([False,  True]))
    """
    return (length >= NORM_BOUNDS[0]) & (length <= NORM_BOUNDS[1])


def class_bounds(classes: AgeClasses) -> NDArray[np.float32]:
    """Return the first and the last whole year of each class, both included, (C, 2) float32.

    Raises:
        ValueError: `classes` is a number, and neither 8 nor 101.

    >>> class_bounds(8)[:3].tolist()
    [[0.0, 2.0], [4.0, 6.0], [8.0, 12.0]]
    >>> class_bounds([[0, 2], [3, 9]]).tolist()
    [[0.0, 2.0], [3.0, 9.0]]
    """
    if not isinstance(classes, int):
        return np.array(classes, np.float32)
    if classes == len(ADIENCE_GROUPS):
        return np.array(ADIENCE_GROUPS, np.float32)
    if classes in AGE_CLASS_COUNTS:
        return np.arange(classes, dtype=np.float32)[:, None].repeat(2, axis=1)
    raise ValueError(f"{classes} age classes, expected 8 or 101")


def class_years(classes: AgeClasses) -> NDArray[np.float32]:
    """Return the years that each class stands for, its centre, (C,) float32.

    Raises:
        ValueError: `classes` is a number, and neither 8 nor 101.

    >>> class_years(8).tolist()
    [1.0, 5.0, 10.0, 17.5, 28.5, 40.5, 50.5, 80.0]
    """
    years: NDArray[np.float32] = class_bounds(classes).mean(axis=1)
    return years


def ages_to_classes(ages_years: ArrayLike, num_classes: int) -> NDArray[np.int64]:
    """Map ages to the class whose years are nearest, ties downward.

    Raises:
        ValueError: `num_classes` is neither 8 nor 101.

    >>> ages_to_classes([0, 3, 3.1, 23, 28.5, 100], 8).tolist()
    [0, 0, 1, 3, 4, 7]
    >>> ages_to_classes([0.5, 17.5, 17.6, 100], 101).tolist()
    [0, 17, 18, 100]
    """
    years = class_years(num_classes).astype(np.float64)
    midpoints = (years[1:] + years[:-1]) / 2
    return np.searchsorted(midpoints, np.asarray(ages_years, np.float64), side="left")


def genders_to_classes(genders: ArrayLike) -> NDArray[np.int64]:
    """Map 'm' to 0 and 'f' to 1.

    Raises:
        ValueError: another letter occurs.

    >>> genders_to_classes(["f", "m", "f"]).tolist()
    [1, 0, 1]
    """
    letters = np.asarray(genders)
    unknown = letters[~np.isin(letters, GENDERS)]
    if len(unknown):
        raise ValueError(f"gender {str(unknown[0])!r}, expected 'm' or 'f'")
    is_female: NDArray[np.bool_] = letters == GENDERS[1]
    return is_female.astype(np.int64)
