"""The header of a table of faces: which column holds what."""

import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from utils.errors import DataError
from utils.text import cut, nearest, shown

PATH, SPLIT = "path", "split"
BOX_COLUMNS = ("x0", "y0", "x1", "y1")
COLUMNS = (PATH, "age", "gender", "subject", "fold", SPLIT, *BOX_COLUMNS)
MAX_COLUMNS = 64

_LIKELY = {"file": PATH, "filename": PATH, "image": PATH, "img_name": PATH, "sex": "gender"}
"""Names that other tables give to columns, which the likeness of letters does not find."""


@dataclass(frozen=True, slots=True)
class TableHeader:
    """Where the columns of a table are.

    Attributes:
        num_cells: of a row.
        labels: place of each column of `COLUMNS` that there is.
        kept: names of the other columns, and of `split`.
        kept_at: their places.
        unlike: columns that may be meant for missing ones, as lines for the user.
    """

    num_cells: int
    labels: dict[str, int]
    kept: tuple[str, ...]
    kept_at: tuple[int, ...]
    unlike: list[str]

    @classmethod
    def of(cls, path: Path, cells: Sequence[str]) -> "TableHeader":
        """Find the columns.

        Raises:
            DataError: there is no column `path`, one occurs twice, or there are too many.
        """
        names = [name.strip() for name in cells]
        lower = [name.lower() for name in names]
        if PATH not in lower:
            raise DataError(f"{path} has no column {PATH!r}, {_meant(PATH, lower)}")
        twice = [name for name, count in Counter(filter(None, lower)).items() if count > 1]
        if twice or len(names) > MAX_COLUMNS:
            problem = f"column {shown(twice[0])} twice" if twice else f"{len(names):,} columns"
            raise DataError(f"{path} has {problem}, expected at most {MAX_COLUMNS} of other names")
        labels = {name: lower.index(name) for name in COLUMNS if name in lower}
        if not labels.keys() >= set(BOX_COLUMNS):
            labels = {name: at for name, at in labels.items() if name not in BOX_COLUMNS}
        at_kept = tuple(
            at for at, name in enumerate(lower) if name and (name not in labels or name == SPLIT)
        )
        missing = [name for name in ("age", "gender") if name not in labels]
        unlike = [
            f"{path} has no column {name!r}, {words}"
            for name in missing
            if (words := _meant(name, [lower[at] for at in at_kept])).startswith("did")
        ]
        kept = tuple(SPLIT if lower[at] == SPLIT else names[at] for at in at_kept)
        return cls(len(names), labels, kept, at_kept, unlike)


def _meant(name: str, names: Sequence[str]) -> str:
    """Suggest which column is meant for one that is missing, or list all."""
    likely = [other for other in names if _LIKELY.get(other) == name]
    likely += difflib.get_close_matches(name, names, n=1)
    known = [cut(shown(other)[1:-1], 40) for other in names[:20] if other]
    return f"did you mean {likely[0]!r}? Rename it" if likely else nearest(name, known)
