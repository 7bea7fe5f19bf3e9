"""Adience: the labels of its images, read from the published fold files.

Source: Eidinger, Enbar, Hassner: Age and Gender Estimation of Unfiltered Faces (2014).
"""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from extraction.image_labels import MAX_NAME_LENGTH, ImageLabels, checked_path, unique_images
from utils.errors import DataError
from utils.labels import ADIENCE_CENTRES, NUM_FOLDS

COLUMNS = (
    *("user_id", "original_image", "face_id", "age", "gender", "x", "y", "dx", "dy"),
    *("tilt_ang", "fiducial_yaw_angle", "fiducial_score"),
)
CLASS_LABELS = (
    *("(0, 2)", "(4, 6)", "(8, 12)", "(15, 20)"),
    *("(25, 32)", "(38, 43)", "(48, 53)", "(60, 100)"),
)
"""What the label files call the classes whose centres are `ADIENCE_CENTRES`."""

IMAGE_PATHS = {
    "aligned": "aligned/{user_id}/landmark_aligned_face.{face_id}.{original_image}",
    "raw": "faces/{user_id}/coarse_tilt_aligned_face.{face_id}.{original_image}",
}


def nearest_centre(age_years: float) -> float:
    """Map an age to the nearest of the eight class centres; a tie goes to the older one.

    >>> [nearest_centre(age) for age in (2, 3, 23, 45, 100)]
    [1.0, 5.0, 28.5, 40.5, 80.0]
    """
    return min(ADIENCE_CENTRES, key=lambda centre: (abs(centre - age_years), -centre))


def parse_age(text: str) -> float | None:
    """Read an age label: the class centre nearest to the mean of the numbers in it, in years.

    The labels hold ranges, also ones outside the eight classes or upside down, and bare years.

    >>> [parse_age(text) for text in ("(25, 32)", "35", "(8, 23)", "(25, 23)", "(38, 48)")]
    [28.5, 40.5, 17.5, 28.5, 40.5]
    >>> [parse_age(text) for text in ("None", "")]
    [None, None]
    """
    numbers = [float(number) for number in re.findall(r"\d+(?:\.\d+)?", text)]
    return nearest_centre(sum(numbers) / len(numbers)) if numbers else None


def parse_gender(text: str) -> str | None:
    """Read a gender label; unsure ('u') counts as unknown.

    >>> [parse_gender(text) for text in ("f", "m", "u", "")]
    ['f', 'm', None, None]
    """
    return text if text in ("f", "m") else None


def read_labels(dataset_dir: Path, image_type: str = "aligned") -> list[ImageLabels]:
    """Read the five fold files; an image that several rows name counts once, by its first row.

    Raises:
        DataError: a fold file is missing or is not one, or `image_type` is unknown.
    """
    if image_type not in tuple(IMAGE_PATHS):
        raise DataError(f"image_type is {image_type!r}, expected one of {', '.join(IMAGE_PATHS)}")
    return unique_images(
        ImageLabels(
            image_path=checked_path(IMAGE_PATHS[image_type].format_map(row), str(path)),
            subject=row["user_id"][:MAX_NAME_LENGTH],
            age=parse_age(row["age"]),
            gender=parse_gender(row["gender"]),
            fold=fold,
        )
        for fold in range(NUM_FOLDS)
        for path in [dataset_dir / f"fold_{fold}_data.txt"]
        for row in _rows(path)
    )


def _rows(path: Path) -> Iterator[dict[str, str]]:
    """Read a fold file row by row, as column name to stripped text.

    Names that are not UTF-8 are read as Python reads those of files, so that they are the same.
    """
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            yield from _parsed_rows(file, path)
    except FileNotFoundError:
        raise DataError(
            f"{path}: no such file; expected the five files fold_0_data.txt to fold_4_data.txt "
            "of Adience there"
        ) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None


def _parsed_rows(file: TextIO, path: Path) -> Iterator[dict[str, str]]:
    lines = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
    try:
        header = tuple(name.strip() for name in next(lines, ()))
        if not "".join(header).isascii():
            raise DataError(f"{path} is not a text file, a fold file of Adience was expected")
        if header[: len(COLUMNS)] != COLUMNS:
            raise DataError(f"{path}: the first line has to name {', '.join(COLUMNS)}")
        for line in lines:
            if line:
                yield _row(line, path, lines.line_num)
    except csv.Error as error:
        raise DataError(f"{path}, line {lines.line_num}: {error}") from None


def _row(line: list[str], path: Path, number: int) -> dict[str, str]:
    if len(line) < len(COLUMNS):
        raise DataError(f"{path}, line {number}: {len(line)} columns, expected {len(COLUMNS)}")
    return {name: text.strip() for name, text in zip(COLUMNS, line, strict=False)}
