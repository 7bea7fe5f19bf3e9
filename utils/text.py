"""Text laid out for the console."""

from collections.abc import Callable, Sequence


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
