"""Which of the faces that a checkpoint is tested on it was trained on."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from base.base_data_loader import BaseDataLoader
from data_loader.data_sets import part_names
from data_loader.faces import KEY_SIZE, read_labels
from trainer.check import check
from trainer.data import SharedInputs, training_loader
from utils.checkpoint import Checkpoint, load_checkpoint
from utils.config import ConfigParser
from utils.errors import UserError

MAX_PRETRAININGS = 8
"""Checkpoints, each the start of the next one, that are looked at."""

Keys = NDArray[np.uint64]
"""A number for each face that only the same embedding has."""


@dataclass(frozen=True)
class SeenRows:
    """How many of the tested rows a training knew.

    Attributes:
        trained: rows that were trained on.
        validated: other rows, on which the training was validated.
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
            yield f"the checkpoint was validated on {self.validated:,} of these {num_rows:,} rows"
        if self.unknown:
            yield f"the checkpoint may have been trained on some of these rows: {self.unknown}"


def count_seen(
    checkpoint: Checkpoint, config: ConfigParser, embeddings: NDArray[np.float32]
) -> SeenRows:
    """Count the tested rows that a checkpoint, or one that it started from, was trained on.

    They are known by their embeddings, whatever the data files are called, or hold beside them.

    Args:
        checkpoint: that is tested.
        config: of the test.
        embeddings: (N, 512) that are tested.
    """
    trainings, unknown = _trainings(checkpoint)
    tested = _keys_of(embeddings)
    is_trained, is_validated = np.zeros((2, len(tested)), np.bool_)
    for training in trainings:
        keys = _keys_of_training(training, config["data_loader"]["args"]["data_dir"])
        if keys is not None:
            is_trained |= np.isin(tested, keys[0])
            is_validated |= np.isin(tested, keys[1])
        elif _has_part_of(training, config):
            unknown = "the data files of its training are not all here"
    return SeenRows(int(is_trained.sum()), int((is_validated & ~is_trained).sum()), unknown)


def rows_of_source(loader: BaseDataLoader, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return which faces of its source the rows (N,) of a loader's data set are."""
    dataset: Any = loader.dataset
    indices: NDArray[np.int64] = dataset.face_indices(torch.from_numpy(rows)).numpy()
    return indices


def _trainings(checkpoint: Checkpoint) -> tuple[list[ConfigParser], str]:
    """Return the configs of a training, and of those whose weights it started from.

    Returns:
        The configs; and why there are not all of them, in words.
    """
    trainings: list[ConfigParser] = []
    while len(trainings) < MAX_PRETRAININGS:
        try:
            trainings.append(ConfigParser(checkpoint.config, check=check))
            if checkpoint.has_changed_data:
                return trainings, f"{checkpoint.path} went on with other data than it began with"
            path = trainings[-1]["checkpoint"]
            if path is None:
                break
            checkpoint = load_checkpoint(path)
        except UserError:
            start = trainings[-1]["checkpoint"] if trainings else checkpoint.path
            return trainings, f"it started from {start}, which is not here, or unfit"
    return trainings, ""


def _has_part_of(training: ConfigParser, config: ConfigParser) -> bool:
    trained, tested = (
        set(part_names(one["data_loader"]["args"]["dataset"])) for one in (training, config)
    )
    return bool(trained & tested)


def _keys_of_training(training: ConfigParser, data_dir: str) -> tuple[Keys, Keys] | None:
    """Return the keys of the rows that a training was on, and of those that it validated on.

    Its data files are looked for where it had them, and in `data_dir`; None if they are not there.
    """
    arguments = training["data_loader"]["args"]
    holds_out = arguments.get("test_cross_val") is not None
    for folder in (arguments["data_dir"], data_dir):
        try:
            source = read_labels(folder, arguments["dataset"], holds_out)
            loader = training_loader(training, SharedInputs(source))
        except UserError:
            continue
        keys = _keys_of(source.faces.embedding)
        rows = (loader.rows, loader.validation_rows)
        trained, validated = (keys[rows_of_source(loader, of_split)] for of_split in rows)
        return trained, validated
    return None


def _keys_of(embeddings: NDArray[np.float32]) -> Keys:
    """Return the keys of embeddings (N, D), which depend on their first numbers."""
    words = np.ascontiguousarray(embeddings[:, :KEY_SIZE], np.float32).view(np.uint64)
    keys: Keys = words[:, 0] * np.uint64(0x9E3779B97F4A7C15) ^ words[:, 1]
    return keys
