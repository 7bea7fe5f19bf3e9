"""IMDB-WIKI: the published MATLAB files, read into one record an image.

Source: Rothe, Timofte, Van Gool: Deep expectation of real and apparent age from a single image
without facial landmarks (2016).
"""

import math
import struct
import zlib
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from data_loader.cleaned import Record
from utils.errors import DataError

MAX_AGE_YEARS = 100
FIRST_MONTH_OF_SECOND_HALF = 7
MATLAB_DAY_OF_YEAR_1 = 366
"""MATLAB counts days from year 0, which has 366; Python from year 1."""

_DAMAGED = (
    *(MatReadError, NotImplementedError, ValueError, TypeError, KeyError, IndexError),
    *(EOFError, OSError, OverflowError, MemoryError, struct.error, zlib.error),
)


def birth_date(dob: float) -> date | None:
    """Turn a MATLAB serial date number into a date; None when it is not in the years 1 to 9999.

    >>> birth_date(693726)
    datetime.date(1899, 5, 10)
    >>> birth_date(float("nan")) is None and birth_date(47) is None
    True
    """
    ordinal = math.floor(dob) - MATLAB_DAY_OF_YEAR_1 if math.isfinite(dob) else 0
    return date.fromordinal(ordinal) if 1 <= ordinal <= date.max.toordinal() else None


def age_when_taken(dob: float, photo_taken: float) -> int | None:
    """Tell the age in whole years on a photo from the middle of the year `photo_taken`.

    None when the dates are impossible or the age is outside 0 to 100.

    >>> age_when_taken(693726, 1968)
    69
    >>> age_when_taken(693726 + 60, 1968)
    68
    >>> age_when_taken(693726, 1868) is None
    True
    """
    birth = birth_date(dob)
    if birth is None or not math.isfinite(photo_taken):
        return None
    age = int(photo_taken) - birth.year - int(birth.month >= FIRST_MONTH_OF_SECOND_HALF)
    return age if 0 <= age <= MAX_AGE_YEARS else None


def parse_gender(number: float) -> str | None:
    """Read a gender: 0 is female, 1 is male, NaN unknown.

    >>> [parse_gender(number) for number in (0.0, 1.0, float("nan"))]
    ['f', 'm', None]
    """
    return {0.0: "f", 1.0: "m"}.get(number)


def read_records(dataset_dir: Path, name: str) -> list[Record]:
    """Read `imdb.mat` or `wiki.mat` (`name` is 'imdb' or 'wiki').

    The subject is the number of the celebrity where the file has one (imdb), else the name.

    Raises:
        DataError: the file is missing, is not a MATLAB 5 file, or lacks a field.
    """
    fields = _read_struct(dataset_dir / f"{name}.mat", name)
    subjects = [str(int(number)) for number in fields["celeb_id"]] if "celeb_id" in fields else None
    columns = (fields[key] for key in ("full_path", "dob", "photo_taken", "gender"))
    return [
        Record(
            image_path=_text(path),
            subject=subject if isinstance(subject, str) else _text(subject),
            age=age_when_taken(float(dob), float(photo_taken)),
            gender=parse_gender(float(gender)),
        )
        for path, dob, photo_taken, gender, subject in zip(
            *columns, subjects if subjects is not None else fields["name"], strict=True
        )
    ]


def _read_struct(path: Path, name: str) -> dict[str, npt.NDArray[Any]]:
    """Read the 1x1 struct called `name`: its fields, each as an array (N,)."""
    content = _load(path, name)
    struct_array = content.get(name)
    if not isinstance(struct_array, np.ndarray) or struct_array.dtype.names is None:
        raise DataError(
            f"{path} has no struct called {name!r}; is it the file of another data set?"
        )
    names = struct_array.dtype.names
    lacking = {"full_path", "dob", "photo_taken", "gender", "name"} - set(names)
    if lacking or struct_array.size != 1:
        raise DataError(f"{path}: the struct {name!r} is not 1x1 or lacks {sorted(lacking)}")
    fields = {key: np.ravel(struct_array[key].item()) for key in names}
    wanted = ("full_path", "dob", "photo_taken", "gender", "name", "celeb_id")
    columns = {key: fields[key] for key in wanted if key in fields}
    if len({len(column) for column in columns.values()}) != 1:
        lengths = ", ".join(f"{key} {len(column)}" for key, column in columns.items())
        raise DataError(f"{path}: the fields differ in length: {lengths}")
    return columns


def _load(path: Path, name: str) -> dict[str, Any]:
    if not path.is_file():
        raise DataError(
            f"{path}: no such file; expected the metadata of the {name} face crops there"
        )
    try:
        return dict(loadmat(path, variable_names=[name]))
    except _DAMAGED as error:
        raise DataError(f"{path} is damaged or is not a MATLAB 5 file: {error}") from None


def _text(cell: Any) -> str:
    """Take the text out of a cell: an array of one string, or an empty array."""
    return str(cell.item()) if isinstance(cell, np.ndarray) and cell.size else ""
