"""Headers of .npy files."""

import tokenize
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from utils.errors import DataError
from utils.text import in_one_line

PROBLEMS = (
    *(ValueError, KeyError, TypeError, IndexError, SyntaxError, tokenize.TokenError),
    *(RecursionError, MemoryError),
)
"""What numpy raises on the header of a damaged file, which it reads as Python source."""


class NpyHeader(NamedTuple):
    """What the header of a .npy file says, and how long it is."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    num_bytes: int


def read_npy_header(path: Path) -> NpyHeader:
    """Read the header of a .npy file.

    Raises:
        DataError: it has none, or a damaged one.
    """
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote
            version = np.lib.format.read_magic(file)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            shape, _, dtype = read(file)
            return NpyHeader(shape, dtype, file.tell())
    except PROBLEMS as error:
        raise DataError(
            f"{path} is not a .npy data file ({in_one_line(error)}); get it again, or make it anew"
        ) from None
