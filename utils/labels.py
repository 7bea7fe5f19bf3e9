"""What a face is in this project: its embedding, its age and gender classes, its fold."""

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from utils.text import shown

EMBEDDING_SIZE = 512
"""Numbers of an ArcFace embedding."""

NORM_BOUNDS = (0.99, 1.01)
"""An embedding of a length within these counts as one of unit length."""

NUM_FOLDS = 5
"""Folds of Adience: 0 to 4."""

NO_FOLD = -1
"""The fold of a face that is in none."""

MAX_FOLD = 126
"""Of a data set of one's own."""

GENDERS = ("m", "f")
"""Class 0 is male, class 1 is female."""

NUM_GENDERS = len(GENDERS)

AgeGroups = tuple[tuple[int, int], ...]
"""First and last whole year of each class, both included, as ((0, 2), (3, 9))."""

AgeClasses = int | AgeGroups
"""The classes of an age model: 8 for Adience's, 101 for whole years from 0 to 100, or groups."""

ADIENCE_GROUPS = ((0, 2), (4, 6), (8, 12), (15, 20), (25, 32), (38, 43), (48, 53), (60, 100))
"""Adience's classes."""

ADIENCE_CENTRES = tuple((first + last) / 2 for first, last in ADIENCE_GROUPS)
"""Years that stand for Adience's classes."""

AGE_CLASS_COUNTS = (8, 101)

MAX_AGE_YEARS = 120
"""Last year of the oldest group that there can be."""


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
    >>> class_bounds(((0, 2), (3, 9))).tolist()
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


def ages_to_classes(ages_years: ArrayLike, classes: AgeClasses) -> NDArray[np.int64]:
    """Map ages to the nearest class, ties downward.

    Of 8 and 101 classes that is the one with the nearest centre. Of groups it is the one that an
    age is in, or, in a gap, the one whose first or last year is nearest.

    Raises:
        ValueError: `classes` is a number, and neither 8 nor 101.

    >>> ages_to_classes([0, 3, 3.1, 23, 28.5, 100], 8).tolist()
    [0, 0, 1, 3, 4, 7]
    >>> ages_to_classes([0.5, 17.5, 17.6, 100], 101).tolist()
    [0, 17, 18, 100]
    >>> ages_to_classes([2, 3, 9, 12, 15, 99], ((0, 2), (3, 9), (18, 30))).tolist()
    [0, 1, 1, 1, 2, 2]
    """
    if isinstance(classes, int):
        last = first = class_years(classes).astype(np.float64)
    else:
        first, last = class_bounds(classes).astype(np.float64).T
    limits = (last[:-1] + first[1:]) / 2
    return np.searchsorted(limits, np.asarray(ages_years, np.float64), side="left")


def read_age_groups(value: Any) -> AgeGroups:
    """Check groups of ages from a config: two or more, ascending, without overlap.

    Raises:
        ValueError: they are not such; the message says what was expected.

    >>> read_age_groups([[0, 2], [3, 9]])
    ((0, 2), (3, 9))
    >>> read_age_groups([[0, 5], [5, 9]])
    Traceback (most recent call last):
    ValueError: [5, 9] does not begin after [0, 5] ends, groups ascend and do not overlap
    """
    if not isinstance(value, list | tuple) or len(value) < 2:
        raise ValueError(f"{shown(value)}, expected two or more groups, as [[0, 2], [3, 9]]")
    for group in value:
        if not _is_group(group):
            raise ValueError(
                f"{shown(group)} is no group, expected [first year, last year], two whole numbers "
                f"in order, from 0 to {MAX_AGE_YEARS}"
            )
    for younger, older in pairwise(value):
        if older[0] <= younger[1]:
            raise ValueError(
                f"{list(older)} does not begin after {list(younger)} ends, groups ascend and do "
                "not overlap"
            )
    return tuple((first, last) for first, last in value)


def _is_group(value: Any) -> bool:
    if not isinstance(value, list | tuple) or [type(year) for year in value] != [int, int]:
        return False
    first, last = value
    return bool(0 <= first <= last <= MAX_AGE_YEARS)


def age_classes_of(config: Any) -> AgeClasses | None:
    """Return the age classes of a config's task; None for genders.

    Args:
        config: of a training, or what a checkpoint holds of it; `arch` alone says 8, 101 or 2.

    Raises:
        ValueError: its groups are unfit, or not as many as its network has classes, or it has no
            network.

    >>> age_classes_of({"arch": {"args": {"num_classes": 101}}})
    101
    """
    match config:
        case {"arch": {"args": {"num_classes": int(num_classes)}}}:
            pass
        case _:
            raise ValueError("no arch.args.num_classes")
    match config:
        case {"data_loader": {"args": {"classes": value}}} if value is not None:
            groups = read_age_groups(value)
            if len(groups) != num_classes:
                raise ValueError(f"{len(groups)} groups of ages for {num_classes} classes")
            return groups
    return None if num_classes == NUM_GENDERS else num_classes


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
