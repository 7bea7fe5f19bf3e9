"""From a config to a trained network: the one descent that every program shares."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.optim import Optimizer

from base.base_data_loader import BaseDataLoader
from base.base_trainer import Setup
from base.device import choose_device, free_bytes, precision_of, seed_everything
from base.epoch_files import BEST_NAME, Log
from base.resume import resume
from data_loader import data_loaders
from data_loader.dataset import FaceDataset
from data_loader.extractors import dataset_title
from faces.out_of_distribution import MIN_ROWS, OutOfDistributionDetector, draw_rows
from model import loss
from model import model as arch
from model.metric import Metric
from model.shapes import expected_weights
from trainer.components import build_lr_scheduler, build_optimizer, known_metrics
from trainer.inputs import NO_INPUTS, SharedInputs
from trainer.trainer import Trainer
from utils.checkpoint import load_checkpoint
from utils.config import ConfigParser
from utils.errors import ConfigError, DataError
from utils.log import RunLog, run_log
from utils.weights import check_fit, load_pretrained

SHARE_FOR_FACES = 0.5
"""Of a GPU's free memory, what a data set may take."""


@dataclass(frozen=True)
class FitResult:
    """What a training leaves.

    Attributes:
        best_path: checkpoint of the best epoch.
        best_log: that epoch's losses and metrics.
        setup: network (as of the last epoch), loaders, and the rest.
    """

    best_path: Path
    best_log: Log
    setup: Setup


def fit(
    config: ConfigParser,
    on_epoch: Callable[[Log], None] | None = None,
    inputs: SharedInputs = NO_INPUTS,
) -> FitResult:
    """Train what the config says, in folders of its own.

    Args:
        config: checked.
        on_epoch: called after every epoch with its log.
        inputs: what was read before.

    Raises:
        UserError: data, checkpoints or numbers are unfit; the message says what to do.
        Interrupted: Ctrl-C or SIGTERM came; the work is saved.
    """
    logger = config.get_logger("train")
    config.remove_killed_runs()
    with config.running(), run_log() as log:
        trainer = begin(config, log, inputs)
        trainer.on_epoch = on_epoch
        move_to_device(trainer.setup.train_loader, trainer.setup.device)
        try:
            best_log = trainer.train()
        except OSError:
            logger.warning(f"What was written before stays in {config.save_dir}")
            raise
        best_path = config.save_dir / BEST_NAME
        if best_path.is_file():
            logger.info(f"Best epoch: {int(best_log['epoch'])}, saved as {best_path}")
        return FitResult(best_path, best_log, trainer.setup)


def begin(config: ConfigParser, log: RunLog, inputs: SharedInputs = NO_INPUTS) -> Trainer:
    """Prepare a training, or one to go on with, and make its folders and its log file."""
    config.refuse_unwritable()
    resumed = None if config.resume is None else load_checkpoint(config.resume)
    if resumed is not None:
        check_fit(resumed, expected_weights(config["arch"]["args"]))
    trainer = Trainer(prepare(config, inputs), config)
    if resumed is not None:
        resume(trainer, resumed)
    config.create_run()
    log.write_to(config.log_dir / "info.log")
    config.get_logger("train").info(f"Run: {config.save_dir}")
    return trainer


def prepare(config: ConfigParser, inputs: SharedInputs = NO_INPUTS) -> Setup:
    """Seed, choose the device, read the data, and build everything that a training needs."""
    logger = config.get_logger("train")
    seed_everything(config["seed"])
    device, line = choose_device(config["n_gpu"])
    precision = precision_of(config, device)
    logger.info(f"{line}, {precision}")
    is_fresh = config.resume is None and config["checkpoint"] is not None
    pretrained = inputs.pretrained
    if is_fresh and pretrained is None:
        pretrained = load_checkpoint(config["checkpoint"])
    train_loader = training_loader(config, inputs)
    if train_loader.n_samples == 1 and config["arch"]["args"].get("add_IC", True):
        raise DataError("one row is left to train on, but batch norm (add_IC) needs 2 or more")
    valid_loader = train_loader.split_validation()
    logger.info(_describe(config, train_loader, valid_loader))
    model = config.init_obj("arch", arch)
    logger.info(f"{config['arch']['type']}: {model.num_parameters():,} trainable parameters")
    logger.debug(f"Layers:\n{model.blocks}")
    if is_fresh and pretrained is not None:
        load_pretrained(model, pretrained)
        logger.info(f"Weights from {pretrained.path}")
    model = model.to(device)
    optimizer = build_optimizer(config, list(model.parameters()))
    lr_scheduler = _schedule(config, optimizer, len(train_loader))
    return Setup(
        model=model,
        criterion=config.init_ftn("loss", loss),
        metrics=metrics_of(config),
        optimizer=optimizer,
        lr_scheduler=lr_scheduler,
        train_loader=train_loader,
        valid_loader=valid_loader,
        device=device,
        precision=precision,
        network_check=_network_check(config, train_loader, valid_loader),
    )


def _network_check(
    config: ConfigParser, train: BaseDataLoader, valid: BaseDataLoader | None
) -> OutOfDistributionDetector | None:
    """Learn to recognise embeddings of other networks, from a sample of the rows."""
    logger = config.get_logger("train")
    seed = config["seed"]
    valid_rows = None if valid is None else draw_embeddings(valid, seed)
    check = OutOfDistributionDetector.fit(draw_embeddings(train, seed), valid_rows)
    if check is None:
        reason = "the rows" if train.n_samples >= MIN_ROWS else f"fewer than {MIN_ROWS:,} rows"
        logger.info(f"Embeddings of other networks cannot be recognised from {reason}")
    else:
        logger.debug(f"Embeddings of other networks are recognised: {check.describe()}")
    return check


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


def _schedule(config: ConfigParser, optimizer: Optimizer, num_batches: int) -> Any:
    """Make the schedule for the number of batches that there are.

    Raises:
        ConfigError: it is too short, or rises within a single batch.
    """
    try:
        schedule = build_lr_scheduler(config, optimizer, num_batches)
    except ZeroDivisionError:
        raise ConfigError(
            "lr_scheduler.args: the rate would rise within a single batch; train for more epochs, "
            "or take smaller batches"
        ) from None
    num_steps = config["trainer"]["epochs"] * num_batches
    if getattr(schedule, "total_steps", num_steps) < num_steps:
        raise ConfigError(
            f"lr_scheduler.args: the cycle ends after {schedule.total_steps} batches, the "
            f"training after {num_steps}; leave its length out, it is filled in"
        )
    return schedule


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


def metrics_of(config: ConfigParser) -> list[Metric]:
    """Give the metrics that the config names."""
    known = known_metrics()
    return [known[name] for name in config["metrics"]]


def _describe(config: ConfigParser, train: BaseDataLoader, valid: BaseDataLoader | None) -> str:
    arguments: dict[str, Any] = config["data_loader"]["args"]
    title = dataset_title(arguments["dataset"], getattr(train, "extractors", {}))
    num_valid = 0 if valid is None else valid.n_samples
    line = f"Data: {title}, {train.n_samples:,} to train on, {num_valid:,} to validate"
    if valid is not None:
        line += f" (split by {train.split.by})"
    if arguments.get("test_cross_val") is not None:
        line += f", fold {arguments['test_cross_val']} held out"
    return line
