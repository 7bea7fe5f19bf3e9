"""Which of the rows that a checkpoint is tested on it was trained on."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from base.base_data_loader import BaseDataLoader
from data_loader.data_sets import parts_of
from data_loader.faces import LoadedFaces, read_labels
from trainer.check import check
from trainer.data import SharedInputs, training_loader
from utils.checkpoint import Checkpoint, load_checkpoint
from utils.config import ConfigParser
from utils.errors import UserError

MAX_PRETRAININGS = 8
"""Checkpoints, each the start of the next one, that are looked at."""

RowsByFile = dict[Path, NDArray[np.int64]]
"""Rows of each data file, by its path."""


@dataclass(frozen=True)
class SeenRows:
    """How many of the tested rows a training knew.

    Attributes:
        trained: rows that were trained on.
        validated: rows that were validated on, by which the epoch was chosen.
        unknown: why more of them may have been, in words; empty if all is known.
    """

    trained: int = 0
    validated: int = 0
    unknown: str = ""

    def warnings(self, split: str, num_rows: int) -> Iterator[str]:
        """Say which of the tested rows the checkpoint knows, where the split does not say it.

        >>> list(SeenRows(5, 1).warnings("all", 6))[0][:60]
        'the checkpoint was trained on 5 of these 6 rows, and validat'
        """
        if self.trained and split != "train":
            validated = f", and validated on {self.validated:,}" if self.validated else ""
            yield (
                f"the checkpoint was trained on {self.trained:,} of these {num_rows:,} rows"
                f"{validated}: what it says of them is no test"
            )
        elif self.validated and split not in ("train", "val"):
            yield f"the best epoch was chosen on {self.validated:,} of these {num_rows:,} rows"
        if self.unknown:
            yield f"the checkpoint may have been trained on some of these rows: {self.unknown}"


def count_seen(
    checkpoint: Checkpoint, data_dir: str, source: LoadedFaces, rows: NDArray[np.int64]
) -> SeenRows:
    """Count the tested rows that a checkpoint, or one that it started from, was trained on.

    Args:
        checkpoint: that is tested.
        data_dir: where the data sets are now.
        source: the whole data set that is tested.
        rows: (N,) of it.
    """
    tested = _by_file(data_dir, source.dataset, source.num_rows, rows)
    trained = {path: np.zeros(len(numbers), np.bool_) for path, numbers in tested.items()}
    validated = {path: is_seen.copy() for path, is_seen in trained.items()}
    unknown = ""
    for run in _trainings(checkpoint, data_dir):
        if isinstance(run, str):
            unknown = run
        elif _has_part_of(run, tested):
            try:
                known, chosen_on = _rows_of_training(run)
            except UserError:
                unknown = "the files of all that it was trained on are not here, or unfit"
                continue
            for path, numbers in tested.items():
                trained[path] |= np.isin(numbers, known.get(path, ()))
                validated[path] |= np.isin(numbers, chosen_on.get(path, ()))
    return SeenRows(
        sum(int(is_seen.sum()) for is_seen in trained.values()),
        sum(int((validated[path] & ~trained[path]).sum()) for path in tested),
        unknown,
    )


def _trainings(checkpoint: Checkpoint, data_dir: str) -> Iterator[ConfigParser | str]:
    """Yield the config of a training, and of those whose weights it started from, or a problem."""
    config, change = checkpoint.config, {"data_loader.args.data_dir": data_dir}
    for _ in range(MAX_PRETRAININGS):
        try:
            run = ConfigParser(config, modification=change, check=check)
        except UserError:
            yield "its config is none of a training"
            return
        yield run
        path = run["checkpoint"]
        if path is None:
            return
        try:
            config = load_checkpoint(path).config
        except UserError:
            yield f"it started from {path}, which is not here, or unfit"
            return


def _has_part_of(run: ConfigParser, tested: RowsByFile) -> bool:
    arguments = run["data_loader"]["args"]
    try:
        parts = parts_of(arguments["data_dir"], arguments["dataset"])
    except UserError:
        return False
    return bool({part.path.resolve() for part in parts} & tested.keys())


def _rows_of_training(run: ConfigParser) -> tuple[RowsByFile, RowsByFile]:
    """Return the rows of each file that a training was on, and those that it validated on."""
    arguments = run["data_loader"]["args"]
    data_dir, holds_out = arguments["data_dir"], arguments.get("test_cross_val") is not None
    source = read_labels(data_dir, arguments["dataset"], holds_out)
    loader = training_loader(run, SharedInputs(source))
    trained, validated = (
        _by_file(data_dir, source.dataset, source.num_rows, rows_of_source(loader, rows))
        for rows in (loader.rows, loader.validation_rows)
    )
    return trained, validated


def rows_of_source(loader: BaseDataLoader, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return which faces of its source the rows (N,) of a loader's data set are."""
    dataset: Any = loader.dataset
    indices: NDArray[np.int64] = dataset.face_indices(torch.from_numpy(rows)).numpy()
    return indices


def _by_file(
    data_dir: str, dataset: str, num_rows: Mapping[str, int], rows: NDArray[np.int64]
) -> RowsByFile:
    by_file, first = {}, 0
    for part in parts_of(data_dir, dataset):
        end = first + num_rows[part.name]
        by_file[part.path.resolve()] = rows[(rows >= first) & (rows < end)] - first
        first = end
    return by_file
