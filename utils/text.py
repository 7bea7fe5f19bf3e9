"""Text laid out for the console."""

import difflib
import re
import reprlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

MAX_SHOWN = 80
"""Characters of a value that a message repeats."""

_BRIEF = reprlib.Repr()
_BRIEF.maxlist = _BRIEF.maxtuple = _BRIEF.maxdict = _BRIEF.maxset = 20
_BRIEF.maxstring = _BRIEF.maxlong = _BRIEF.maxother = 2 * MAX_SHOWN


def cut(text: str, most: int = MAX_SHOWN) -> str:
    """Shorten a text for a message.

    >>> cut("a" * 100, 10)
    'aaaaaaa...'
    """
    return text if len(text) <= most else f"{text[: most - 3]}..."


def cut_words(text: str, most: int) -> str:
    """Shorten every word of a text that is longer than any path.

    >>> cut_words("a: " + "b" * 20 + ": c", 10)
    'a: bbbbbbb... c'
    """
    return re.sub(rf"\S{{{most + 1},}}", lambda word: cut(word[0], most), text)


def in_one_line(error: Exception, most: int = 200) -> str:
    r"""Write why something failed in one line, shortened; of the system's errors without the path.

    >>> in_one_line(ValueError("this\n  and that")), in_one_line(OSError(28, "disk full", "a.txt"))
    ('this and that', 'disk full')
    """
    text = getattr(error, "strerror", None) or str(error)
    return cut(" ".join(text.split()), most)


def shown(value: Any) -> str:
    """Write a value as Python does, shortened, for a message; it may be of any size.

    >>> shown("x"), len(shown("x" * 5000)), shown(10**5000), len(shown([{}] * 10**6))
    ("'x'", 80, 'a number of thousands of digits', 80)
    """
    if isinstance(value, str):
        return cut(repr(value[: MAX_SHOWN + 1]))
    try:
        return cut(_BRIEF.repr(value))
    except ValueError:  # Python writes no number that long
        return "a number of thousands of digits"


def nearest(word: str, known: Iterable[str]) -> str:
    """Suggest the known word that looks most like `word`, or list all.

    >>> nearest("epoch", ["epochs", "monitor"])
    'did you mean epochs?'
    >>> nearest("x", ["b", "a"])
    'known are a, b'
    """
    known = sorted(known)
    matches = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {matches[0]}?" if matches else f"known are {', '.join(known)}"


def in_columns(
    rows: Sequence[Sequence[str]], justify: Callable[[str, int], str] = str.ljust
) -> list[str]:
    """Lay out rows of equally many cells, two spaces between the columns.

    Args:
        rows: at least one.
        justify: brings a cell to the width of its column.

    >>> in_columns([("age", "years"), ("a", "7")])
    ['age  years', 'a    7']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(justify, row, widths)).rstrip() for row in rows]


def encodable(text: str, stream: Any) -> str:
    r"""Replace what a stream's encoding has no bytes for by its number.

    >>> import io
    >>> encodable("3 ± 1", io.TextIOWrapper(io.BytesIO(), "ascii"))
    '3 \\xb1 1'
    """
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
