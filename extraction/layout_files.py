"""Data sets with label files: FairFace and LAGENDA."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from extraction.layout_rows import LayoutRow
from extraction.table_file import read_rows
from utils.errors import DataError

FAIRFACE_FILES = {"train": "fairface_label_train.csv", "val": "fairface_label_val.csv"}
FAIRFACE_COLUMNS = ("file", "age", "gender", "race", "service_test")
LAGENDA_FILE = "lagenda_annotation.csv"
LAGENDA_BOX = ("face_x0", "face_y0", "face_x1", "face_y1")
LAGENDA_COLUMNS = ("img_name", "age", "gender", *LAGENDA_BOX)
NOT_LABELLED = "nobody said an age or a gender of this person"
NO_FACE = "no face is marked of this person"
MISSING = ("", "-1", "-1.0")
NUM_TRIED = 100
"""Images that are looked for to find the folder that the paths are relative to."""


def fairface_rows(folder: Path) -> Iterator[LayoutRow]:
    """Yield the rows of FairFace's label files; ages are ranges, and people are not known.

    Source: Karkkainen, Joo: FairFace: Face Attribute Dataset for Balanced Race, Gender, and Age,
    WACV 2021, arXiv 1908.04913; https://github.com/joojs/fairface.

    Raises:
        DataError: there is no label file, or one is foreign.
    """
    there = {split: folder / name for split, name in FAIRFACE_FILES.items()}
    there = {split: path for split, path in there.items() if path.is_file()}
    if not there:
        names = " or ".join(FAIRFACE_FILES.values())
        raise DataError(f"{folder} holds no {names}; put the label files there")
    for split, path in there.items():
        image_dir = _image_dir(path, FAIRFACE_COLUMNS)
        for line, (file, *labels) in _rows(path, FAIRFACE_COLUMNS):
            row = dict(zip(FAIRFACE_COLUMNS[1:], labels, strict=True))
            where = f"{path.name}, line {line}"
            yield LayoutRow(where, {**row, "path": str(image_dir / file), "split": split})


def lagenda_rows(folder: Path) -> Iterator[LayoutRow]:
    """Yield the labelled faces of LAGENDA, each with its box; one image can show several.

    Its file also has a row for everybody else that was found, without age and gender (-1).

    Source: Kuprashevich, Tolstykh: MiVOLO: Multi-input Transformer for Age and Gender Estimation,
    arXiv 2307.04616; https://wildchlamydia.github.io/lagenda/.

    Raises:
        DataError: there is no annotation file, or it is foreign.
    """
    path = folder / LAGENDA_FILE
    image_dir = _image_dir(path, LAGENDA_COLUMNS)
    for line, cells in _rows(path, LAGENDA_COLUMNS):
        file, age, gender, *box = cells
        where = f"{path.name}, line {line}"
        if age in MISSING and gender in MISSING:
            yield LayoutRow(where, None, NOT_LABELLED)
        elif any(side in MISSING for side in box):
            yield LayoutRow(where, None, NO_FACE)
        else:
            known = [("" if text in MISSING else text) for text in (age, gender)]
            row = {"path": str(image_dir / file), "age": known[0], "gender": known[1]}
            sides = dict(zip(("x0", "y0", "x1", "y1"), box, strict=True))
            yield LayoutRow(where, row | sides)


def _rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the line and the cells of some columns, stripped; a cell that is not there is empty.

    Raises:
        DataError: the file is missing or damaged, or lacks a column.
    """
    rows = read_rows(path)
    header = [name.strip() for name in next(rows, (0, []))[1]]
    if lacking := [name for name in columns if name not in header]:
        raise DataError(f"{path} has no column {lacking[0]!r}, expected {', '.join(columns)}")
    places = [header.index(name) for name in columns]
    for line, cells in rows:
        yield line, [cells[at].strip() if at < len(cells) else "" for at in places]


def _image_dir(path: Path, columns: Sequence[str]) -> Path:
    """Find the folder that holds the first images: that of the label file, or one in it.

    Raises:
        DataError: none of the first images is there.
    """
    files = [cells[0] for _, cells in islice(_rows(path, columns), NUM_TRIED)]
    folder = path.parent
    for image_dir in (folder, *sorted(one for one in folder.iterdir() if one.is_dir())):
        if any(file and (image_dir / file).is_file() for file in files):
            return image_dir
    first = files[0] if files else "no image"
    raise DataError(
        f"{path}: none of the first {len(files)} images is in {folder} or a folder in it, such as "
        f"{first}; unpack the images there"
    )
