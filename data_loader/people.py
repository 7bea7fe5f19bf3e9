"""Who is on which image, in numbers."""

import numpy as np
from numpy.typing import NDArray


def number_subjects(subjects: NDArray[np.str_]) -> NDArray[np.int64] | None:
    """Number people from 0; a face whose person is unknown counts as a person of its own.

    >>> number_subjects(np.array(["b", "", "a", "b", ""])).tolist()
    [1, 2, 0, 1, 3]
    >>> number_subjects(np.array(["", ""])) is None
    True
    """
    is_known = subjects != ""
    if not is_known.any():
        return None
    numbers = np.empty(len(subjects), np.int64)
    names, numbers[is_known] = np.unique(subjects[is_known], return_inverse=True)
    numbers[~is_known] = len(names) + np.arange(int((~is_known).sum()))
    return numbers
