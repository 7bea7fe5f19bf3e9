"""Probabilities of every row of every split, as files, from the one evaluation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from base.base_data_loader import BaseDataLoader
from base.base_trainer import Log
from cross_val.results import SPLITS
from data_loader.faces import count_faces
from data_loader.source import FaceSource, read_source
from model import loss
from model import model as arch
from trainer.evaluate import evaluate
from trainer.fit import held_out_loader, metrics_of, training_loader
from trainer.inputs import SharedInputs
from utils.checkpoint import load_checkpoint
from utils.config import ConfigParser
from utils.files import atomic_write
from utils.runtime import choose_device, precision_of
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
        columns: what a predictions file says of each row beside its probabilities.
    """

    loader: BaseDataLoader
    embeddings: NDArray[np.float32] = field(repr=False)
    label: NDArray[np.int64] = field(repr=False)
    columns: dict[str, NDArray[Any]] = field(repr=False)


def split_rows(config: ConfigParser, data: StudyData) -> dict[str, SplitRows]:
    """Give the rows of each split that a run has, in the order of its loaders."""
    inputs = SharedInputs(data.source)
    training = training_loader(config, inputs)
    parts = {"train": (training, training.rows), "val": (training, training.validation_rows)}
    if config["data_loader"]["args"].get("test_cross_val") is not None:
        held_out = held_out_loader(config, inputs)
        parts["test"] = (held_out, held_out.rows)
    return {
        split: _rows(data, loader, rows) for split, (loader, rows) in parts.items() if len(rows)
    }


def _rows(data: StudyData, loader: BaseDataLoader, rows: NDArray[np.int64]) -> SplitRows:
    dataset, faces = _dataset_of(loader), data.source.faces
    places = dataset.face_indices(torch.from_numpy(rows)).numpy()
    label = dataset.labels.numpy()[places]
    columns = {
        "label": label,
        "age": faces.age[places],
        "gender": faces.gender[places],
        "subject": faces.subject[places],
        "row": places,
        "source": data.names[places],
    }
    return SplitRows(loader.unshuffled(rows), faces.embedding[places], label, columns)


def _dataset_of(loader: BaseDataLoader) -> Any:
    return loader.dataset


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


def write_predictions(
    probabilities: Mapping[str, Probabilities],
    splits: Mapping[str, SplitRows],
    folder: Path,
    stem: str,
) -> dict[str, str | None]:
    """Write <stem>-<split>.npz for each split; give the paths from `folder`, None without rows."""
    files: dict[str, str | None] = dict.fromkeys(SPLITS)
    for split, values in probabilities.items():
        files[split] = f"{stem}-{split}.npz"
        with atomic_write(folder / f"{stem}-{split}.npz") as file:
            columns: dict[str, Any] = {"probabilities": values, **splits[split].columns}
            np.savez(file, **columns)
    return files
