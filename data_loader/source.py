"""A data set read once, for many trainings of one process or of several."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_loader.faces import ALL_ROWS, Faces, Selection, read_extractors, read_faces, select_rows


@dataclass(frozen=True)
class FaceSource:
    """Faces as read, which many loaders can draw from.

    Attributes:
        faces: the rows that `selection` chose; the arrays may be read-only.
        extractors: what made the embeddings; see `read_extractors`.
        selection: of the rows of the data set.
    """

    faces: Faces
    extractors: dict[str, Any]
    selection: Selection = ALL_ROWS

    def num_bytes(self) -> int:
        """Give the size of the arrays."""
        return sum(getattr(self.faces, field.name).nbytes for field in fields(self.faces))

    def rows(self, selection: Selection) -> NDArray[np.int64] | None:
        """Tell which of the faces another selection chooses; None for all of them.

        Raises:
            ValueError: these are not all rows of the data set, nor the ones asked for.
        """
        if selection.chooses_like(self.selection):
            return None
        if not self.selection.chooses_like(ALL_ROWS):
            raise ValueError(f"{selection} was asked of a source that holds {self.selection}")
        (rows,) = select_rows([self.faces.fold], selection)
        return rows


def read_source(data_dir: Path | str, dataset: str, selection: Selection = ALL_ROWS) -> FaceSource:
    """Read a data set, or a selection of it; raises what `read_faces` does."""
    faces = read_faces(data_dir, dataset, selection)
    return FaceSource(faces, read_extractors(data_dir, dataset), selection)
