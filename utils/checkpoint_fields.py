"""What a checkpoint may hold beside its weights: types and ranges of its fields."""

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from utils.errors import CheckpointError

MAX_EPOCH = 10**6
"""More have passed in no training."""

MAX_EXTRACTOR_LETTERS = 1 << 18


def refuse_fields(path: Path, content: dict[str, Any]) -> None:
    """Check the fields that a checkpoint holds; all but the weights may be missing.

    Raises:
        CheckpointError: one is of another kind, or out of range; the message names it.
    """
    if not isinstance(content.get("state_dict"), dict):
        raise CheckpointError(f"{path} is not a checkpoint of this project: it has no state_dict")
    for name, (is_right, expected) in FIELDS.items():
        if name in content and not is_right(content[name]):
            raise CheckpointError(
                f"{path}: {name} is {shown(content[name])}, expected {expected}; get the file "
                "again from where it came, or take another checkpoint"
            )


def shown(value: Any) -> str:
    """Show a value of a file, in a line that is not long.

    >>> shown("five"), shown([1]), shown(10**700)
    ("'five'", 'a list', 'a number of more than 100 digits')
    """
    if isinstance(value, int) and abs(value) >= 10**100:
        return "a number of more than 100 digits"
    if value is None or isinstance(value, str | int | float):
        return f"{value!r:.60}"
    return f"a {type(value).__name__}"


def is_count(value: Any, most: float = math.inf) -> bool:
    """Tell whether a value is a whole number of 0 or more; true is none.

    >>> is_count(3), is_count(True), is_count(3.0), is_count(-1), is_count(4, most=3)
    (True, False, False, False, False)
    """
    return type(value) is int and 0 <= value <= most


def is_number(value: Any) -> bool:
    """Tell whether a value is a finite number; true is none.

    >>> is_number(0.5), is_number(3), is_number(True), is_number(math.nan), is_number("3")
    (True, True, False, False, False)
    """
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def _is_dict_or_none(value: Any) -> bool:
    return value is None or isinstance(value, dict)


def _is_epoch(value: Any) -> bool:
    return is_count(value, MAX_EPOCH)


def _is_temperature(value: Any) -> bool:
    return value is None or (is_number(value) and value > 0)


def _is_extractor(value: Any) -> bool:
    """Tell whether a value is what was read from JSON, and not long: the server shows it."""
    if not _is_dict_or_none(value):
        return False
    try:
        return len(json.dumps(value)) <= MAX_EXTRACTOR_LETTERS
    except (TypeError, ValueError, RecursionError):
        return False


FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "arch": (lambda value: isinstance(value, str), "the name of a network"),
    "epoch": (_is_epoch, f"a whole number from 0 to {MAX_EPOCH:,}"),
    "config": (_is_dict_or_none, "a dict of what it was trained with"),
    "optimizer": (_is_dict_or_none, "a dict of an optimizer's state"),
    "resume": (lambda value: isinstance(value, dict), "a dict of what it takes to go on"),
    "environment": (_is_dict_or_none, "a dict of what trained it"),
    "embeddings": (_is_dict_or_none, "statistics of embeddings, or none"),
    "extractor": (
        _is_extractor,
        f"what made the embeddings, by data set, in at most {MAX_EXTRACTOR_LETTERS:,} letters",
    ),
    "temperature": (_is_temperature, "a number above 0"),
}
"""Each field, what tells whether its value can be one, and how to say that."""
