"""Predictions for every row of every split of a run: how they are made, written and read."""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from base.base_data_loader import BaseDataLoader
from base.device import choose_device, precision_of
from base.epoch_files import Log
from cross_val.results import SPLITS
from data_loader.faces import LoadedFaces, read_source
from model import model as arch
from trainer.components import criterion_of, metrics_of
from trainer.data import SharedInputs, held_out_loader, training_loader
from trainer.evaluate import evaluate
from utils.checkpoint import load_checkpoint
from utils.config import ConfigParser
from utils.errors import DataError
from utils.files import atomic_write
from utils.text import in_one_line
from utils.weights import load_weights

Probabilities = NDArray[np.float32]

PredictionFiles = dict[str, str | None]
"""Paths from the study's folder, by split; None for a split without rows."""

DTYPE_KINDS = {
    "probabilities": "f",
    "label": "i",
    "age": "f",
    "gender": "U",
    "subject": "U",
    "row": "i",
    "source": "U",
}
"""Fields of a predictions file, and the kind of numpy type that each holds."""

DAMAGE = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile)
"""What numpy raises on a file that is not, or no longer, one of arrays."""


# --- the files ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FaceInfo:
    """Who N faces are.

    Attributes:
        age: (N,) float32, true years.
        gender: (N,) 'm' or 'f'.
        subject: (N,) who is on the image; empty where it is not known.
        row: (N,) row of the face in the data set of the config.
        source: (N,) Adience, imdb or wiki.
    """

    age: NDArray[np.float32]
    gender: NDArray[np.str_]
    subject: NDArray[np.str_]
    row: NDArray[np.int64]
    source: NDArray[np.str_]

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> "FaceInfo":
        return FaceInfo(*(column[rows] for column in vars(self).values()))

    @classmethod
    def join(cls, parts: Sequence["FaceInfo"]) -> "FaceInfo":
        """Join faces of several parts, in order."""
        names = (one.name for one in fields(cls))
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    @property
    def first_of_rows(self) -> NDArray[np.int64]:
        """Where each row of the data set occurs first, in order of the rows."""
        return np.unique(self.row, return_index=True)[1]

    @property
    def subject_name(self) -> NDArray[np.str_]:
        """Write <source>/<subject>, (N,): the same name in two data sets is two people."""
        return np.strings.add(np.strings.add(self.source, "/"), self.subject)

    @property
    def known_subjects(self) -> NDArray[np.str_]:
        """The different subjects whose names are known."""
        return np.unique(self.subject_name[self.subject != ""])


@dataclass(frozen=True)
class Predictions:
    """What a network says of N faces, and what is true.

    Attributes:
        probabilities: (N, C) float32; every row adds up to 1.
        label: (N,) true class numbers.
        faces: who they are.
    """

    probabilities: NDArray[np.float32]
    label: NDArray[np.int64]
    faces: FaceInfo

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> "Predictions":
        return Predictions(self.probabilities[rows], self.label[rows], self.faces[rows])

    def write(self, path: Path) -> None:
        """Write an .npz file of plain arrays."""
        columns: dict[str, Any] = {"probabilities": self.probabilities, "label": self.label}
        with atomic_write(path) as file:
            np.savez(file, **columns, **vars(self.faces))


def read_predictions(path: Path, num_classes: int) -> Predictions:
    """Read a predictions file.

    Raises:
        DataError: the file is missing, damaged or foreign, or does not fit the task.
    """
    try:
        # Opened here, since numpy leaves a damaged file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            columns = {name: content[name] for name in DTYPE_KINDS}
    except DAMAGE as error:
        reason = in_one_line(error)
        raise DataError(
            f"{path} is no predictions file ({reason}); run its part of the study again"
        ) from None
    problem = _problem(columns, num_classes)
    if problem:
        raise DataError(f"{path}: {problem}; run its part of the study again")
    faces = FaceInfo(**{one.name: columns[one.name] for one in fields(FaceInfo)})
    return Predictions(columns["probabilities"], columns["label"], faces)


def _problem(columns: dict[str, NDArray[Any]], num_classes: int) -> str | None:
    probabilities, label = columns["probabilities"], columns["label"]
    num_faces = len(label) if label.ndim else 0
    for name, kind in DTYPE_KINDS.items():
        column = columns[name]
        shape = (num_faces, num_classes) if name == "probabilities" else (num_faces,)
        if column.dtype.kind != kind or column.shape != shape:
            return f"{name} is {column.dtype} {column.shape}, expected kind {kind!r} {shape}"
    if num_faces == 0:
        return "it holds no face"
    if not (np.abs(probabilities.sum(1, dtype=np.float64) - 1) < 1e-3).all():
        return "there are probabilities that do not add up to 1"
    if (probabilities < 0).any():
        return "there are negative probabilities"
    if label.min() < 0 or label.max() >= num_classes:
        return f"labels {label.min()} to {label.max()}, expected 0 to {num_classes - 1}"
    if not np.isfinite(columns["age"]).all():
        return "there are ages that are not finite"
    return None


# --- what is in them ------------------------------------------------------------------------------


@dataclass(frozen=True)
class StudyData:
    """A whole data set, read once.

    Attributes:
        source: its faces.
        names: (N,) unicode, the part that each row is of: Adience, imdb or wiki.
    """

    source: LoadedFaces
    names: NDArray[np.str_]


def read_data(data_dir: str, dataset: str) -> StudyData:
    """Read a whole data set; raises what `read_faces` does."""
    source = read_source(data_dir, dataset)
    names = np.repeat(list(source.num_rows), list(source.num_rows.values()))
    return StudyData(source, names)


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
    criterion, metrics = criterion_of(config), metrics_of(config)
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
