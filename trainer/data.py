"""What trainings read: data sets and their loaders, and what many trainings can share."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from base.base_data_loader import BaseDataLoader
from base.device import free_bytes
from data_loader import data_loaders
from data_loader.dataset import FaceDataset
from data_loader.extractors import dataset_title
from data_loader.faces import LoadedFaces, read_source
from data_loader.folds import fold_numbers
from data_loader.selection import ALL_ROWS, Selection, is_labelled
from faces.out_of_distribution import draw_rows
from utils.checkpoint import Checkpoint, load_checkpoint
from utils.config import ConfigParser

SHARE_FOR_FACES = 0.5
"""Of a GPU's free memory, what a data set may take."""


@dataclass(frozen=True)
class SharedInputs:
    """What a training need not read itself; None where it does.

    Attributes:
        source: the data set.
        pretrained: the checkpoint to start from.
    """

    source: LoadedFaces | None = None
    pretrained: Checkpoint | None = None


NO_INPUTS = SharedInputs()


def read_inputs(config: ConfigParser, whole: bool) -> SharedInputs:
    """Read what trainings of this config read.

    Args:
        config: checked.
        whole: read all rows of the data set, in folds; False reads those that a training uses.

    Raises:
        UserError: data or checkpoint are unfit; the message says what to do.
    """
    arguments = config["data_loader"]["args"]
    selection = ALL_ROWS if whole else _training_rows(config)
    source = read_source(arguments["data_dir"], arguments["dataset"], selection, holds_out=whole)
    path = config["checkpoint"]
    return SharedInputs(source, None if path is None else load_checkpoint(path))


def folds_to_hold_out(
    config: ConfigParser, inputs: SharedInputs
) -> tuple[list[int], tuple[str, ...]]:
    """Find the folds of a data set that was read as a whole.

    Returns:
        their numbers, ascending, of faces that have the label; and what there is to know of them
        and of the others, line by line.
    """
    if inputs.source is None:
        raise ValueError("the data set was not read")
    label = getattr(data_loaders, config["data_loader"]["type"]).label
    faces, left_out = inputs.source.faces, inputs.source.left_out(Selection(label=label))
    numbers = fold_numbers(faces.fold[is_labelled(vars(faces), label)])
    return numbers, (*inputs.source.remarks, *([left_out] if left_out else []))


def _training_rows(config: ConfigParser) -> Selection:
    section = config["data_loader"]
    arguments = section["args"]
    return Selection(
        "train",
        arguments.get("test_cross_val"),
        getattr(data_loaders, section["type"]).label,
        arguments.get("limit_data"),
        config["seed"],
    )


def training_loader(config: ConfigParser, inputs: SharedInputs = NO_INPUTS) -> BaseDataLoader:
    """Read the data set and split it; the loader iterates the rows to train on."""
    loader: BaseDataLoader = config.init_obj(
        "data_loader", data_loaders, training=True, seed=config["seed"], source=inputs.source
    )
    return loader


def held_out_loader(config: ConfigParser, inputs: SharedInputs = NO_INPUTS) -> BaseDataLoader:
    """Read the rows to test on: the held-out fold, else those of the split "test".

    Raises:
        DataError: there is neither.
    """
    loader: BaseDataLoader = config.init_obj(
        "data_loader", data_loaders, training=False, seed=config["seed"], source=inputs.source
    )
    return loader


def every_row_loader(config: ConfigParser, inputs: SharedInputs = NO_INPUTS) -> BaseDataLoader:
    """Read all rows of the data set, whatever is set aside in training."""
    loader: BaseDataLoader = config.init_obj(
        "data_loader",
        data_loaders,
        training=False,
        seed=config["seed"],
        source=inputs.source,
        every_row=True,
    )
    return loader


def describe(config: ConfigParser, train: BaseDataLoader, valid: BaseDataLoader | None) -> str:
    """Describe data set and split in a line for the log."""
    arguments: dict[str, Any] = config["data_loader"]["args"]
    title = dataset_title(arguments["dataset"], getattr(train, "extractors", {}))
    num_valid = 0 if valid is None else valid.n_samples
    line = f"Data: {title}, {train.n_samples:,} to train on, {num_valid:,} to validate"
    if valid is not None:
        line += f" (split by {train.split.by})"
    if arguments.get("test_cross_val") is not None:
        line += f", fold {arguments['test_cross_val']} held out"
        line += "".join(f"; {remark}" for remark in getattr(train, "remarks", ()))
    left_out = getattr(train, "left_out", "")
    return f"{line}; {left_out}" if left_out else line


def draw_embeddings(loader: BaseDataLoader, seed: int) -> NDArray[np.float32]:
    """Copy embeddings (N, 512) of a loader's rows, in random order, not more than are needed."""
    dataset: Any = loader.dataset
    indices = dataset.face_indices(torch.from_numpy(loader.rows)).numpy()
    embeddings = draw_rows(dataset.embeddings.cpu().numpy(), indices, seed)
    return embeddings.astype(np.float32, copy=False)


def move_to_device(loader: BaseDataLoader, device: torch.device) -> None:
    """Move a loader's faces to the GPU, if they fit: batches are then gathered there.

    Loaders of other rows of the same data set, such as those to validate on, have them there too.
    """
    dataset = loader.dataset
    if device.type == "cpu" or loader.num_workers > 0 or not isinstance(dataset, FaceDataset):
        return
    embeddings, labels = dataset.embeddings, dataset.labels
    if embeddings.nbytes + labels.nbytes < SHARE_FOR_FACES * free_bytes(device):
        dataset.move(embeddings.to(device), labels.to(device))
