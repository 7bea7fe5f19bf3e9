"""A row of a table that is made of a downloaded data set."""

from dataclasses import dataclass


class LayoutError(ValueError):
    """A file name, or a row of a label file, has another form than the data set's."""


@dataclass(frozen=True, slots=True)
class LayoutRow:
    """What a file name or a row of a label file says.

    Attributes:
        where: the file, or the line of the label file.
        cells: by name of the column, with an absolute `path`; None if it is left out.
        problem: why it is left out, or what it lacks; '' if it is whole.
    """

    where: str
    cells: dict[str, str] | None
    problem: str = ""
