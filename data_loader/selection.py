"""Which rows of a data set are wanted, by their folds, splits and labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from data_loader.data_files import SPLIT
from data_loader.folds import fold_numbers
from utils.errors import DataError
from utils.runtime import generator
from utils.text import cut

Role = Literal["all", "train", "test"]
Label = Literal["age", "gender"]


@dataclass(frozen=True)
class Selection:
    """Which rows of a data set to take.

    Attributes:
        role: "test" for the held-out fold or, if none is held out, the rows of the split "test";
            "train" for all others; "all" for both.
        fold: that is held out; None for none.
        label: leave out the rows that lack it.
        limit: take this many of the rows at random; None for all.
        seed: of the random choice.
    """

    role: Role = "all"
    fold: int | None = None
    label: Label | None = None
    limit: int | None = None
    seed: int = 42

    def chooses_like(self, other: "Selection") -> bool:
        """Return whether both choose the same rows; without a limit the seed does not matter."""
        one, another = vars(self).copy(), vars(other).copy()
        if self.limit is None:
            one["seed"] = another["seed"]
        return one == another

    def rows(self, columns: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
        """Choose rows, in order.

        Args:
            columns: fold, split, age and gender (N,) of all rows of the data set.
        """
        rows = np.flatnonzero(self._is_wanted(columns) & self._is_labelled(columns))
        if self.limit is not None and self.limit < len(rows):
            rng = generator(self.seed, "limit_data")
            rows = np.sort(rng.choice(rows, self.limit, replace=False))
        return rows

    def checked_rows(self, columns: Mapping[str, NDArray[Any]], dataset: str) -> NDArray[np.int64]:
        """Choose rows as `rows` does, at least one.

        Args:
            columns: as in `rows`.
            dataset: what messages call it.

        Raises:
            DataError: there is none, or no such fold; says what to do.
        """
        name, numbers = cut(repr(dataset)[1:-1], 1000), fold_numbers(columns["fold"])
        if self.fold is not None and self.fold not in numbers:
            raise DataError(
                f"test_cross_val is {self.fold}, expected one of the folds of {name}: "
                f"{', '.join(map(str, numbers)) or 'there is none'}"
            )
        rows = self.rows(columns)
        if len(rows):
            return rows
        if self.num_unlabelled(columns):
            raise DataError(
                f"no face of {name} has {self.missing}; choose another task or data set"
            )
        if self.role == "test":
            raise DataError(
                f"{name} has no test fold, and no rows of the split 'test'; hold a fold out with "
                "-o data_loader.args.test_cross_val=0, or choose another split"
            )
        raise DataError(f"no face of {name} is left to use")

    @property
    def missing(self) -> str:
        """What rows lack that are left out, for messages."""
        return "an age" if self.label == "age" else f"a {self.label}"

    def num_unlabelled(self, columns: Mapping[str, NDArray[Any]]) -> int:
        """Count the rows that would be taken if they had the label."""
        return int((self._is_wanted(columns) & ~self._is_labelled(columns)).sum())

    def _is_wanted(self, columns: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
        is_test: NDArray[np.bool_] = (
            columns[SPLIT] == "test" if self.fold is None else columns["fold"] == self.fold
        )
        if self.role == "test":
            return is_test
        return ~is_test if self.role == "train" else np.ones(len(is_test), np.bool_)

    def _is_labelled(self, columns: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
        return is_labelled(columns, self.label)


ALL_ROWS = Selection()


def is_labelled(columns: Mapping[str, NDArray[Any]], label: Label | None) -> NDArray[np.bool_]:
    """Find the rows (N,) that have a label.

    >>> columns = {"age": np.array([np.nan, 30]), "gender": np.array(["f", ""])}
    >>> is_labelled(columns, "age").tolist(), is_labelled(columns, "gender").tolist()
    ([False, True], [True, False])
    """
    is_known = np.ones(len(columns["age"]), np.bool_)
    if label == "age":
        is_known = ~np.isnan(columns["age"])
    if label == "gender":
        is_known = columns["gender"] != ""
    return is_known
