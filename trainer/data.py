"""What trainings read: data sets and their loaders, and what many trainings can share."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from base.base_data_loader import BaseDataLoader
from base.device import free_bytes
from data_loader import data_loaders
from data_loader.data_loaders import folds_to_read
from data_loader.dataset import FaceDataset
from data_loader.extractors import dataset_title
from data_loader.faces import ALL_ROWS, LoadedFaces, Selection, read_source
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
        whole: read all rows of the data set; False reads those that a training uses.

    Raises:
        UserError: data or checkpoint are unfit; the message says what to do.
    """
    arguments = config["data_loader"]["args"]
    dataset, selection = arguments["dataset"], ALL_ROWS
    if not whole:
        folds = folds_to_read(dataset, True, arguments.get("test_cross_val"))
        selection = Selection(folds, arguments.get("limit_data"), config["seed"])
    source = read_source(arguments["data_dir"], dataset, selection)
    path = config["checkpoint"]
    return SharedInputs(source, None if path is None else load_checkpoint(path))


def training_loader(config: ConfigParser, inputs: SharedInputs = NO_INPUTS) -> BaseDataLoader:
    """Read the data set and split it; the loader iterates the rows to train on."""
    loader: BaseDataLoader = config.init_obj(
        "data_loader", data_loaders, training=True, seed=config["seed"], source=inputs.source
    )
    return loader


def held_out_loader(config: ConfigParser, inputs: SharedInputs = NO_INPUTS) -> BaseDataLoader:
    """Read the held-out fold.

    Raises:
        DataError: the config holds none out.
    """
    loader: BaseDataLoader = config.init_obj(
        "data_loader", data_loaders, training=False, seed=config["seed"], source=inputs.source
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
    return line


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
