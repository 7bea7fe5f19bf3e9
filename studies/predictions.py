"""Probabilities for every row of every split of a run, from the evaluation that all share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from base.base_data_loader import BaseDataLoader
from base.device import choose_device, precision_of
from base.epoch_files import Log
from cross_val.results import SPLITS
from data_loader.data_files import count_faces
from data_loader.faces import FaceSource, read_source
from model import loss
from model import model as arch
from studies.results import FaceInfo, PredictionFiles, Predictions
from trainer.components import metrics_of
from trainer.data import SharedInputs, held_out_loader, training_loader
from trainer.evaluate import evaluate
from utils.checkpoint import load_checkpoint
from utils.config import ConfigParser
from utils.weights import load_weights

Probabilities = NDArray[np.float32]


@dataclass(frozen=True)
class StudyData:
    """A whole data set, read once.

    Attributes:
        source: its faces.
        names: (N,) unicode, the part that each row is of: Adience, imdb or wiki.
    """

    source: FaceSource
    names: NDArray[np.str_]

    @classmethod
    def read(cls, data_dir: str, dataset: str) -> "StudyData":
        """Read it; raises what `read_faces` does."""
        counts = count_faces(data_dir, dataset)
        names = np.repeat(list(counts), list(counts.values()))
        return cls(read_source(data_dir, dataset), names)


@dataclass(frozen=True)
class SplitRows:
    """Rows of one split of one run.

    Attributes:
        loader: goes once through them.
        embeddings: (N, 512) float32.
        label: (N,) int64.
        faces: who they are.
    """

    loader: BaseDataLoader
    embeddings: NDArray[np.float32] = field(repr=False)
    label: NDArray[np.int64] = field(repr=False)
    faces: FaceInfo = field(repr=False)


def split_rows(config: ConfigParser, data: StudyData) -> dict[str, SplitRows]:
    """Return the rows of each split that a run has, in the order of its loaders."""
    inputs = SharedInputs(data.source)
    training = training_loader(config, inputs)
    splits = {"train": (training, training.rows), "val": (training, training.validation_rows)}
    if config["data_loader"]["args"].get("test_cross_val") is not None:
        held_out = held_out_loader(config, inputs)
        splits["test"] = (held_out, held_out.rows)
    return {
        split: _rows_of(data, loader, rows) for split, (loader, rows) in splits.items() if len(rows)
    }


def _rows_of(data: StudyData, loader: BaseDataLoader, rows: NDArray[np.int64]) -> SplitRows:
    dataset: Any = loader.dataset
    faces = data.source.faces
    indices = dataset.face_indices(torch.from_numpy(rows)).numpy()
    info = FaceInfo(
        faces.age[indices],
        faces.gender[indices],
        faces.subject[indices],
        row=indices,
        source=data.names[indices],
    )
    labels = dataset.labels.numpy()[indices]
    return SplitRows(loader.unshuffled(rows), faces.embedding[indices], labels, info)


def predict(
    config: ConfigParser, checkpoint_path: Path | str, splits: Mapping[str, SplitRows]
) -> tuple[dict[str, Log], dict[str, Probabilities]]:
    """Evaluate a checkpoint on the splits of its run.

    Returns:
        Loss and metrics by split, and probabilities (N, C) by split.
    """
    device, _ = choose_device(config["n_gpu"])
    precision = precision_of(config, device)
    model = config.init_obj("arch", arch).to(device)
    load_weights(model, load_checkpoint(checkpoint_path))
    criterion, metrics = config.init_ftn("loss", loss), metrics_of(config)
    logs, probabilities = {}, {}
    for split, rows in splits.items():
        logits: list[torch.Tensor] = []
        logs[split] = evaluate(model, rows.loader, criterion, metrics, precision, logits)
        probabilities[split] = torch.cat(logits).softmax(1).numpy()
    return logs, probabilities


def prediction_files(stem: str, splits: Mapping[str, SplitRows]) -> PredictionFiles:
    """Return <stem>-<split>.npz for each split that has rows, None for the others."""
    return {split: f"{stem}-{split}.npz" if split in splits else None for split in SPLITS}


def write_predictions(
    probabilities: Mapping[str, Probabilities],
    splits: Mapping[str, SplitRows],
    folder: Path,
    stem: str,
) -> PredictionFiles:
    """Write the predictions file of each split, and return their paths from `folder`."""
    files = prediction_files(stem, splits)
    for split, values in probabilities.items():
        rows = splits[split]
        Predictions(values, rows.label, rows.faces).write(folder / str(files[split]))
    return files
