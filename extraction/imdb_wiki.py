"""IMDB-WIKI: the labels of its images, read from the published MATLAB files.

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
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from extraction.image_labels import MAX_NAME_LENGTH, ImageLabels, checked_path, unique_images
from extraction.mat_guard import check_mat
from utils.errors import DataError
from utils.text import in_one_line

NAMES = ("imdb", "wiki")
NUMBERS = ("dob", "photo_taken", "gender")
COLUMNS = ("full_path", "subject", *NUMBERS)
MAX_AGE_YEARS = 100
FIRST_MONTH_OF_SECOND_HALF = 7
MATLAB_DAY_OF_YEAR_1 = 366
"""MATLAB counts days from year 0, which has 366; Python from year 1."""

_DAMAGED = (
    *(MatReadError, NotImplementedError, ValueError, TypeError, KeyError, IndexError),
    *(EOFError, OSError, ArithmeticError, MemoryError, struct.error, zlib.error),
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
    """Return the age in whole years on a photo from the middle of the year `photo_taken`.

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


def read_labels(dataset_dir: Path, name: str) -> list[ImageLabels]:
    """Read `imdb.mat` or `wiki.mat`; an image that several entries name counts once, by its first.

    The subject is the number of the celebrity where the file has one (imdb), else the name.

    Raises:
        DataError: the file is missing, is not a MATLAB 5 file, lacks a field or has a foreign one,
            or `name` is neither 'imdb' nor 'wiki'.
    """
    if name not in NAMES:
        raise DataError(f"dataset is {name!r}, expected one of {', '.join(NAMES)}")
    path = dataset_dir / f"{name}.mat"
    columns = _read_struct(path, name)
    return unique_images(
        ImageLabels(
            image_path=checked_path(image_path, f"{path}, entry {number}"),
            subject=subject[:MAX_NAME_LENGTH],
            age=age_when_taken(dob, photo_taken),
            gender=parse_gender(gender),
        )
        for number, (image_path, subject, dob, photo_taken, gender) in enumerate(
            zip(*(columns[key] for key in COLUMNS), strict=True), start=1
        )
    )


def _read_struct(path: Path, name: str) -> dict[str, list[Any]]:
    """Read the 1x1 struct called `name`: a list of N for each of `COLUMNS`."""
    struct_array = _load(path, name).get(name)
    if not isinstance(struct_array, np.ndarray) or struct_array.dtype.names is None:
        raise DataError(
            f"{path} has no struct called {name!r}; is it the file of another data set?"
        )
    names = struct_array.dtype.names
    lacking = {*NUMBERS, "full_path", "name"} - set(names)
    if lacking or struct_array.size != 1:
        raise DataError(f"{path}: the struct {name!r} is not 1x1 or lacks {sorted(lacking)}")
    columns: dict[str, list[Any]] = {
        key: _numbers(path, key, struct_array[key].item()) for key in NUMBERS
    }
    columns["full_path"] = _texts(path, "full_path", struct_array["full_path"].item())
    if "celeb_id" in names:
        numbers = _numbers(path, "celeb_id", struct_array["celeb_id"].item())
        columns["subject"] = [str(int(id_)) if math.isfinite(id_) else "" for id_ in numbers]
    else:
        columns["subject"] = _texts(path, "name", struct_array["name"].item())
    if len({len(column) for column in columns.values()}) != 1:
        lengths = ", ".join(f"{key} {len(column)}" for key, column in columns.items())
        raise DataError(f"{path}: the fields differ in length: {lengths}")
    return columns


def _numbers(path: Path, key: str, values: Any) -> list[float]:
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "iufb":
        raise DataError(f"{path}: the field {key!r} holds no numbers")
    return np.ravel(values).astype(np.float64).tolist()


def _texts(path: Path, key: str, cells: Any) -> list[str]:
    """Take the texts out of cells: each is an array of one text, or an empty array."""
    if not isinstance(cells, np.ndarray) or cells.dtype.kind != "O":
        raise DataError(f"{path}: the field {key!r} holds no cells of text")
    texts = []
    for number, cell in enumerate(np.ravel(cells)):
        is_text = isinstance(cell, np.ndarray) and cell.dtype.kind == "U" and cell.size == 1
        if not is_text and not (isinstance(cell, np.ndarray) and cell.size == 0):
            raise DataError(f"{path}, entry {number + 1}: the cell of {key!r} holds no text")
        texts.append(str(cell.item()) if is_text else "")
    return texts


def _load(path: Path, name: str) -> dict[str, Any]:
    if not path.is_file():
        raise DataError(
            f"{path}: no such file; expected the metadata of the {name} face crops there"
        )
    try:
        check_mat(path)
        return dict(loadmat(path, variable_names=[name]))
    except _DAMAGED as error:
        raise DataError(
            f"{path} is damaged or is not a MATLAB 5 file: {in_one_line(error)}"
        ) from None
