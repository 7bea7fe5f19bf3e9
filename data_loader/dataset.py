"""One dataset over arrays, for every label."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset


class FaceDataset(Dataset[tuple[Tensor, Tensor]]):
    """Embeddings and class numbers; a batch is one indexed slice.

    Several data sets can be parts of the same faces, which are then in memory once.

    Attributes:
        embeddings: (M, D) float32, of all faces.
        labels: (M,) int64.
        subjects: (N,) int64, equal numbers for the same person; None where nobody is known.
        part: (N,) which of the faces are this data set; None for all of them.
    """

    def __init__(
        self,
        embeddings: NDArray[np.float32],
        labels: NDArray[np.int64],
        subjects: NDArray[np.int64] | None = None,
        part: NDArray[np.int64] | None = None,
    ):
        self.embeddings = _as_tensor(embeddings)
        self.labels = _as_tensor(labels)
        self.subjects = subjects
        self.part = None if part is None else _as_tensor(part)

    def __len__(self) -> int:
        return len(self.labels if self.part is None else self.part)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        face = index if self.part is None else int(self.part[index])
        return self.embeddings[face], self.labels[face]

    def __getitems__(self, indices: Tensor | Sequence[int]) -> tuple[Tensor, Tensor]:
        """Fetch a batch: embeddings (B, D) and labels (B,), where `move` put them."""
        faces = self.face_indices(torch.as_tensor(indices)).to(
            self.labels.device, non_blocking=True
        )
        return self.embeddings.index_select(0, faces), self.labels.index_select(0, faces)

    def face_indices(self, rows: Tensor) -> Tensor:
        """Return the indices among all faces of rows (B,) of this data set."""
        return rows if self.part is None else self.part.index_select(0, rows)

    def move(self, embeddings: Tensor, labels: Tensor) -> None:
        """Fetch from these copies of the same faces from now on, on another device."""
        self.embeddings, self.labels = embeddings, labels


def _as_tensor(array: NDArray[Any]) -> Tensor:
    """Make a tensor over the same memory, which may be read-only: nobody here writes to it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(array)
