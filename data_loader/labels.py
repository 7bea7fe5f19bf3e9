"""From what the data files hold to class numbers, whole arrays at a time."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from utils.labels import ages_to_classes

GENDERS = ("m", "f")
"""Class 0 is male, class 1 is female."""

__all__ = ["GENDERS", "ages_to_classes", "genders_to_classes"]


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
