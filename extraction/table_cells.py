"""What the cells of a table of faces say: ages, genders, folds, splits in their usual spellings."""

import functools
import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from utils.labels import GENDERS, MAX_FOLD
from utils.text import shown

T = TypeVar("T")

MAX_AGE_YEARS = 120
OPEN_RANGE_YEARS = 9
"""An age such as "70+" is taken for a range of ten years, 70 to 79, as long as others are."""

UNKNOWN = frozenset(("", "none", "nan", "na", "n/a", "null", "unknown", "u", "?", "-"))
GENDER_WORDS = {
    **dict.fromkeys(("m", "male", "man"), "m"),
    **dict.fromkeys(("f", "female", "woman"), "f"),
}
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_NUMBER = r"(\d{1,9}(?:\.\d{1,9})?)"
_SINGLE = re.compile(rf"(-?){_NUMBER}(?: ?(?:years?|yrs?|y))?")
_RANGES = (
    re.compile(rf"{_NUMBER}(?: ?[-\u2013\u2014] ?| to ){_NUMBER}"),
    re.compile(rf"[(\[] ?{_NUMBER} ?[,;-] ?{_NUMBER} ?[)\]]"),
)
_OPEN_RANGES = (
    re.compile(rf"{_NUMBER} ?(?:\+|and over|and older|or more|or older)"),
    re.compile(rf"(?:more than |over |above |>=? ?|\u2265 ?){_NUMBER}"),
)
_WHOLE = re.compile(r"([+-]?\d{1,9})(?:\.0*)?")
_FOLD = re.compile(r"(?:fold[ _-]?)?(\d{1,9})(?:\.0*)?")


class CellError(ValueError):
    """A cell holds something else than it should; the message is the cause, without the value."""


def parse_age(text: str) -> float | None:
    """Read an age in years: a number, or a range, which its mean stands for; None if not known.

    Raises:
        CellError: it is neither.

    >>> [parse_age(text) for text in ("25", "25.5", "3-9", "(25, 32)", "more than 70", "70+", "")]
    [25.0, 25.5, 6.0, 28.5, 74.5, 74.5, None]
    """
    text = " ".join(text.split()).lower()
    if text in UNKNOWN:
        return None
    if single := _SINGLE.fullmatch(text):
        return _in_bounds(float(single[1] + single[2]))
    for form in _RANGES:
        if found := form.fullmatch(text):
            first, last = float(found[1]), float(found[2])
            if first > last:
                raise CellError("age is a range upside down")
            return _in_bounds((first + last) / 2)
    for form in _OPEN_RANGES:
        if found := form.fullmatch(text):
            return _in_bounds(float(found[1]) + OPEN_RANGE_YEARS / 2)
    raise CellError("age is no number and no range")


def _in_bounds(age: float) -> float:
    if age < 0:
        raise CellError("age is below 0")
    if age > MAX_AGE_YEARS:
        raise CellError(f"age is above {MAX_AGE_YEARS} years")
    return age


def parse_gender(text: str, meanings: Mapping[str, str]) -> str | None:
    """Read a gender, in any case: 'm' or 'f', None if not known.

    Args:
        text: of the cell.
        meanings: 'm' or 'f' for what else occurs, whole numbers without a decimal point.

    Raises:
        CellError: it is none.

    >>> [parse_gender(text, {"0": "m"}) for text in ("F", "Woman", "male", "0.0", "")]
    ['f', 'f', 'm', 'm', None]
    """
    text = text.strip().lower()
    number = _WHOLE.fullmatch(text)
    key = str(int(number[1])) if number else text
    if key in meanings:
        return meanings[key]
    if text in UNKNOWN:
        return None
    if key in GENDER_WORDS:
        return GENDER_WORDS[key]
    if number:
        raise CellError("gender is a number; say which is which with genders={0: 'm', 1: 'f'}")
    raise CellError(f"gender is none of {', '.join(GENDER_WORDS)}")


def parse_fold(text: str) -> int | None:
    """Read the number of a fold; None if there is none.

    Raises:
        CellError: it is no number from 0 to 126.

    >>> parse_fold("3"), parse_fold("fold_0"), parse_fold("")
    (3, 0, None)
    """
    text = text.strip().lower()
    if text in UNKNOWN or text in ("-1", "-1.0"):
        return None
    found = _FOLD.fullmatch(text)
    if found is None or int(found[1]) > MAX_FOLD:
        raise CellError(f"fold is no number from 0 to {MAX_FOLD}")
    return int(found[1])


def parse_split(text: str) -> str:
    """Read a split: 'train', 'val', 'test', or '' if there is none.

    Raises:
        CellError: it is none of them.

    >>> parse_split("Training"), parse_split("valid")
    ('train', 'val')
    """
    text = text.strip().lower()
    if text in UNKNOWN:
        return ""
    if text not in SPLITS:
        raise CellError("split is none of train, val, test")
    return SPLITS[text]


def remembering(parse: Callable[[str], T]) -> Callable[[str], tuple[T | None, str | None]]:
    """Return a reader of cells that gives the value and no cause, or a cause; it reads a text once.

    >>> remembering(parse_age)("old")
    (None, 'age is no number and no range')
    """

    @functools.lru_cache(2**16)
    def read(text: str) -> tuple[T | None, str | None]:
        try:
            return parse(text), None
        except CellError as error:
            return None, str(error)

    return read


def gender_meanings(genders: Mapping[int | str, str]) -> dict[str, str]:
    """Return what cells mean, by text in lower case.

    Raises:
        ValueError: a meaning is neither 'm' nor 'f'.

    >>> gender_meanings({0: "m", "Femme": "f"})
    {'0': 'm', 'femme': 'f'}
    """
    for key, meaning in genders.items():
        if meaning not in GENDERS:
            raise ValueError(f"{shown(key)} is {shown(meaning)}, expected 'm' or 'f'")
    return {str(key).strip().lower(): meaning for key, meaning in genders.items()}
