"""From a config to a trained network: the one descent that every program shares."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.optim import Optimizer

from base.base_data_loader import BaseDataLoader
from base.base_model import BaseModel
from base.base_trainer import Setup
from base.device import choose_device, precision_of, seed_everything
from base.epoch_files import BEST_NAME, Log
from base.resume import resume
from faces.out_of_distribution import MIN_ROWS, OutOfDistributionDetector
from model import model as arch
from model.arguments import expected_weights
from trainer.components import build_lr_scheduler, build_optimizer, criterion_of, metrics_of
from trainer.confidence import confidence_fit
from trainer.data import (
    NO_INPUTS,
    SharedInputs,
    describe,
    draw_embeddings,
    move_to_device,
    training_loader,
)
from trainer.trainer import Trainer
from utils.checkpoint import Checkpoint, load_checkpoint
from utils.config import ConfigParser
from utils.errors import ConfigError, DataError
from utils.labels import age_classes_of
from utils.log import RunLog, run_log
from utils.weights import check_fit, load_pretrained

ENOUGH_BATCHES = 400
"""Fewer leave small data sets far from what they could reach (docs/experiments.md)."""


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
            kept = "Last" if trainer.monitor.mode == "off" else "Best"
            logger.info(f"{kept} epoch: {int(best_log['epoch'])}, saved as {best_path}")
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
    seed_everything(config["seed"])
    device, line = choose_device(config["n_gpu"])
    precision = precision_of(config, device)
    config.get_logger("train").info(f"{line}, {precision}")
    pretrained = _pretrained(config, inputs)
    train_loader, valid_loader = _load_data(config, inputs)
    model = _build_model(config, pretrained).to(device)
    optimizer = build_optimizer(config, list(model.parameters()))
    return Setup(
        model=model,
        criterion=criterion_of(config),
        metrics=metrics_of(config),
        optimizer=optimizer,
        lr_scheduler=_build_schedule(config, optimizer, len(train_loader)),
        train_loader=train_loader,
        valid_loader=valid_loader,
        device=device,
        precision=precision,
        detector=_fit_detector(config, train_loader, valid_loader),
        fit_confidence=confidence_fit(config, train_loader, valid_loader, pretrained),
    )


def _pretrained(config: ConfigParser, inputs: SharedInputs) -> Checkpoint | None:
    """Return the checkpoint whose weights a new training starts from."""
    if config.resume is not None or config["checkpoint"] is None:
        return None
    return inputs.pretrained or load_checkpoint(config["checkpoint"])


def _load_data(
    config: ConfigParser, inputs: SharedInputs
) -> tuple[BaseDataLoader, BaseDataLoader | None]:
    """Return the loaders of the rows to train and to validate on."""
    train_loader = training_loader(config, inputs)
    if train_loader.n_samples == 1 and config["arch"]["args"].get("add_IC", True):
        raise DataError("one row is left to train on, but batch norm (add_IC) needs 2 or more")
    valid_loader = train_loader.split_validation()
    logger = config.get_logger("train")
    logger.info(describe(config, train_loader, valid_loader))
    epochs, num_batches = config["trainer"]["epochs"], len(train_loader)
    if epochs * num_batches < ENOUGH_BATCHES and config["checkpoint"] is None:
        enough = math.ceil(ENOUGH_BATCHES / num_batches)
        logger.info(
            f"Few batches: {epochs:,} epochs of {num_batches:,}; small data sets gain up to about "
            f"{ENOUGH_BATCHES}: -o trainer.epochs={enough}"
        )
    return train_loader, valid_loader


def _build_model(config: ConfigParser, pretrained: Checkpoint | None) -> BaseModel:
    logger = config.get_logger("train")
    model: BaseModel = config.init_obj("arch", arch)
    logger.info(f"{config['arch']['type']}: {model.num_parameters():,} trainable parameters")
    logger.debug(f"Layers:\n{model.blocks}")
    if pretrained is not None:
        has_config = "config" in pretrained.content
        classes = age_classes_of(config.config)
        load_pretrained(model, pretrained, not has_config or pretrained.age_classes == classes)
        logger.info(f"Weights from {pretrained.path}")
    return model


def _build_schedule(config: ConfigParser, optimizer: Optimizer, num_batches: int) -> Any:
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


def _fit_detector(
    config: ConfigParser, train: BaseDataLoader, valid: BaseDataLoader | None
) -> OutOfDistributionDetector | None:
    """Learn to recognise embeddings of other networks, from a sample of the rows."""
    logger, seed = config.get_logger("train"), config["seed"]
    valid_rows = None if valid is None else draw_embeddings(valid, seed)
    detector = OutOfDistributionDetector.fit(draw_embeddings(train, seed), valid_rows)
    if detector is None:
        reason = "the rows" if train.n_samples >= MIN_ROWS else f"fewer than {MIN_ROWS:,} rows"
        logger.info(f"Embeddings of other networks cannot be recognised from {reason}")
    else:
        logger.debug(f"Embeddings of other networks are recognised: {detector.describe()}")
    return detector
