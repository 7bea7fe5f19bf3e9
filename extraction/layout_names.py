"""Data sets whose file names say age and gender: UTKFace, AgeDB and CACD."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from extraction.layout_rows import LayoutError, LayoutRow
from faces.pictures import SUFFIXES

UTKFACE_FORM = "[age]_[gender]_[race]_[date].jpg"
AGEDB_FORM = "[number]_[name]_[age]_[m or f].jpg"
CACD_FORM = "[age]_[name]_[number].jpg"
UTKFACE_GENDERS = {"0": "m", "1": "f"}
UTKFACE_RACES = ("White", "Black", "Asian", "Indian", "Others")
NO_GENDER_OR_RACE = "gender or race is missing, so that neither counts"
NO_UTKFACE_GENDER = "gender is neither 0 nor 1, and left empty"

_AGEDB = re.compile(r"\d+_(.+)_(\d+)_([mfMF])\.[^.]+")
_CACD = re.compile(r"(\d+)_(.+)_\d+\.[^.]+")


def utkface_cells(name: str) -> tuple[dict[str, str], str]:
    """Read the name of an image of UTKFace, in which 0 is male, and some fields can be missing.

    Source: Zhang, Song, Qi: Age Progression/Regression by Conditional Adversarial Autoencoder,
    arXiv 1702.08423; the names as at https://susanqq.github.io/UTKFace/.

    Returns:
        the cells, and what is wrong with the name, '' if nothing.

    Raises:
        LayoutError: the name has another form.

    >>> utkface_cells("26_1_2_20170116174525125.jpg.chip.jpg")
    ({'age': '26', 'gender': 'f', 'race': 'Asian'}, '')
    >>> utkface_cells("39_1_20170116174525125.jpg.chip.jpg")[0]
    {'age': '39', 'gender': '', 'race': ''}
    """
    age, *fields = name.split("_")
    if len(fields) not in (2, 3) or not age.isdecimal() or not fields[-1][:8].isdecimal():
        raise LayoutError(f"name is not {UTKFACE_FORM}")
    if len(fields) == 2:
        return {"age": age, "gender": "", "race": ""}, NO_GENDER_OR_RACE
    gender = UTKFACE_GENDERS.get(fields[0], "")
    races = dict(enumerate(UTKFACE_RACES))
    race = races.get(int(fields[1]), "") if fields[1].isdecimal() else ""
    cells = {"age": age, "gender": gender, "race": race}
    return cells, "" if gender else NO_UTKFACE_GENDER


def agedb_cells(name: str) -> tuple[dict[str, str], str]:
    """Read the name of an image of AgeDB.

    Source: Moschoglou et al.: AgeDB: the first manually collected, in-the-wild age database,
    CVPR workshops 2017.

    Raises:
        LayoutError: the name has another form.

    >>> agedb_cells("0_MariaCallas_35_f.jpg")[0]
    {'age': '35', 'gender': 'f', 'subject': 'MariaCallas'}
    """
    found = _AGEDB.fullmatch(name)
    if found is None:
        raise LayoutError(f"name is not {AGEDB_FORM}")
    return {"age": found[2], "gender": found[3].lower(), "subject": found[1]}, ""


def cacd_cells(name: str) -> tuple[dict[str, str], str]:
    """Read the name of an image of CACD, which has no genders.

    Source: Chen, Chen, Hsu: Cross-Age Reference Coding for Age-Invariant Face Recognition and
    Retrieval, ECCV 2014; https://bcsiriuschen.github.io/CARC/.

    Raises:
        LayoutError: the name has another form.

    >>> cacd_cells("53_Robin_Williams_0001.jpg")[0]
    {'age': '53', 'subject': 'Robin_Williams'}
    """
    found = _CACD.fullmatch(name)
    if found is None:
        raise LayoutError(f"name is not {CACD_FORM}")
    return {"age": found[1], "subject": found[2]}, ""


def rows_of_names(
    folder: Path, read_name: Callable[[str], tuple[dict[str, str], str]]
) -> Iterator[LayoutRow]:
    """Yield a row for every image below a folder, in order; links to folders are not followed."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if Path(name).suffix.lower() not in SUFFIXES:
                continue
            path = os.path.join(parent, name)  # noqa: PTH118 - hundreds of thousands
            try:
                cells, problem = read_name(name)
            except LayoutError as error:
                yield LayoutRow(path, None, str(error))
                continue
            yield LayoutRow(path, {"path": path, **cells}, problem)
