"""Batches in a seeded order, and the split into training and validation rows."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from utils.errors import DataError
from utils.runtime import generator, usable_cpus

EVALUATION_BATCH_SIZE = 1024
"""Rows a batch where nothing is learned: large, since only speed depends on it."""


class FetchesBatches(Protocol):
    """What a dataset must offer: its size, whole batches, and who is on each image."""

    subjects: NDArray[np.int64] | None

    def __len__(self) -> int: ...

    def __getitems__(self, indices: Tensor) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True)
class Split:
    """How to set validation rows aside.

    Attributes:
        validation: a fraction in [0, 1) or a number of rows.
        by: "image", or "subject": then no subject is on both sides; "table" with `marked`.
        seed: of the choice.
        marked: (N,) the rows that the data set sets aside itself; None draws them.
    """

    validation: float | int
    by: str
    seed: int = 42
    marked: NDArray[np.bool_] | None = None

    def rows(
        self, num_rows: int, subjects: NDArray[np.int64] | None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Split `num_rows` rows into training and validation rows, both in ascending order.

        Raises:
            DataError: the validation rows are none or all, or subjects are wanted and not known.
        """
        wanted = self.validation
        num_wanted = wanted if isinstance(wanted, int) else int(num_rows * wanted)
        if self.marked is not None:
            return self._of_marked(self.marked)
        if wanted == 0:
            return np.arange(num_rows), np.empty(0, np.int64)
        is_validation = np.zeros(num_rows, bool)
        rng = generator(self.seed, "split")
        if self.by == "image":
            is_validation[rng.permutation(num_rows)[:num_wanted]] = True
        else:
            is_validation[:] = self._of_chosen_subjects(rng, num_wanted, subjects)
        if is_validation.all() or not is_validation.any():
            raise DataError(
                f"validation_split {wanted} of {num_rows:,} images by {self.by} leaves "
                f"{int((~is_validation).sum()):,} to train on and {int(is_validation.sum()):,} to "
                "validate on; both must be at least 1"
            )
        return np.flatnonzero(~is_validation), np.flatnonzero(is_validation)

    @staticmethod
    def _of_marked(marked: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        if marked.all():
            raise DataError("all rows are of the split 'val', and none is left to train on")
        return np.flatnonzero(~marked), np.flatnonzero(marked)

    @staticmethod
    def _of_chosen_subjects(
        rng: np.random.Generator, num_wanted: int, subjects: NDArray[np.int64] | None
    ) -> NDArray[np.bool_]:
        """Take people in random order as long as that comes nearer to the number wanted."""
        if subjects is None:
            raise DataError(
                'validation_by "subject" needs to know who is on each image, and this data set '
                'does not tell; use "image"'
            )
        counts = np.bincount(subjects)
        order = rng.permutation(len(counts))
        num_taken = np.concatenate([[0], np.cumsum(counts[order])])
        num_people = int(np.abs(num_taken - num_wanted).argmin())
        chosen: NDArray[np.bool_] = np.isin(subjects, order[: max(num_people, 1)])
        return chosen


class BatchOrder(Sampler[Tensor]):
    """Yields the row numbers of one batch after the other.

    The order is a function of the seed and the epoch alone, so that any epoch, and any place in it,
    can be taken up again: set `epoch` and `first_batch` before iterating.
    """

    def __init__(self, rows: NDArray[np.int64], batch_size: int, shuffle: bool, seed: int):
        self.rows = rows
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.epoch = 1
        self.first_batch = 0

    def __len__(self) -> int:
        """Count the batches; a single row left over joins the last one, for batch norm's sake."""
        num_batches, num_left = divmod(len(self.rows), self.batch_size)
        return max(num_batches + (num_left > (1 if self.batch_size > 1 else 0)), 1)

    def __iter__(self) -> Iterator[Tensor]:
        rows = self.rows
        if self.shuffle:
            rows = rows[generator(self.seed, "order", self.epoch).permutation(len(rows))]
        order = torch.from_numpy(rows)
        for batch in range(self.first_batch, len(self)):
            start = batch * self.batch_size
            end = start + self.batch_size if batch < len(self) - 1 else len(rows)
            yield order[start:end]


class BaseDataLoader(DataLoader[Any]):
    """Iterates (embeddings, labels) batches of the training rows.

    Args:
        dataset: whole data set, before the split.
        batch_size: rows a training step.
        shuffle: draw a new order each epoch.
        split: which rows are for validation.
        num_workers: processes that fetch batches, at most one a CPU; 0, the fastest here, fetches
            in this process. The batches are the same.
        rows: iterate these rows instead of splitting (what `split_validation` passes).
    """

    def __init__(
        self,
        dataset: FetchesBatches,
        batch_size: int,
        shuffle: bool,
        split: Split,
        num_workers: int = 0,
        rows: NDArray[np.int64] | None = None,
    ):
        self.split = split
        training_rows, self.validation_rows = (
            split.rows(len(dataset), dataset.subjects) if rows is None else (rows, rows[:0])
        )
        self.order = BatchOrder(training_rows, batch_size, shuffle, split.seed)
        self.n_samples = len(training_rows)
        super().__init__(
            dataset,  # type: ignore[arg-type]  # torch's stubs do not know __getitems__
            batch_sampler=self.order,  # type: ignore[arg-type]  # tensors of indices, not lists
            collate_fn=_as_it_is,
            num_workers=min(num_workers, usable_cpus()),  # torch warns of more
            generator=torch.Generator(),
        )

    @property
    def rows(self) -> NDArray[np.int64]:
        """The rows of the data set that this loader iterates, ascending."""
        return self.order.rows

    def split_validation(self) -> "BaseDataLoader | None":
        """Make the loader of the validation rows; None when there are none."""
        if len(self.validation_rows) == 0:
            return None
        return self.unshuffled(self.validation_rows)

    def unshuffled(self, rows: NDArray[np.int64]) -> "BaseDataLoader":
        """Make a loader that goes once through `rows` of the same data set, to evaluate."""
        return BaseDataLoader(
            self.dataset,  # type: ignore[arg-type]
            EVALUATION_BATCH_SIZE,
            shuffle=False,
            split=self.split,
            num_workers=self.num_workers,
            rows=rows,
        )


def _as_it_is(batch: Any) -> Any:
    return batch
