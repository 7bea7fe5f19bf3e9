"""Evaluate a checkpoint on any rows of any data set."""

import argparse
from pathlib import Path
from typing import Any

from base.base_data_loader import BaseDataLoader
from base.device import choose_device, environment, precision_of
from data_loader.extractors import dataset_title, extractors_by_dataset
from faces.out_of_distribution import OutOfDistributionDetector
from model import model as arch
from model.arguments import expected_weights
from trainer.check import check
from trainer.components import criterion_of, metrics_of
from trainer.data import draw_embeddings, held_out_loader, training_loader
from trainer.evaluate import evaluate
from utils.checkpoint import Checkpoint, load_checkpoint
from utils.config import ConfigParser
from utils.errors import ConfigError, DataError
from utils.files import refuse_unwritable
from utils.labels import age_classes_of
from utils.locks import remove_leftovers
from utils.log import get_logger
from utils.run_folders import write_claimed_json
from utils.weights import check_fit, load_weights

SPLITS = ("train", "val", "test", "all")
SUFFIX = "_test-results.json"
FEW_FOREIGN = 0.05
"""Share of foreign rows that does not call for a warning: unusual photographs."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that test.py alone has."""
    parser.add_argument(
        "--split",
        choices=SPLITS,
        help="rows to evaluate on: train or val as in training, test (the held-out fold) or all "
        "(default: test where a fold is held out, else val of the data set it was trained on, "
        "else all)",
    )


def evaluate_checkpoint(config: ConfigParser, split: str | None = None) -> dict[str, Any]:
    """Evaluate the checkpoint of `-r`; print, write and return loss and metrics.

    Args:
        config: the checkpoint's, as changed on the command line.
        split: one of SPLITS; None chooses.

    Raises:
        ConfigError: no checkpoint was named.
        DataError: the split is empty.
        CheckpointError: the checkpoint is unfit.
        PathError: save_dir cannot be written.
    """
    logger = config.get_logger("test", verbosity=1)  # silent trainings are evaluated aloud too
    if config.resume is None:
        raise ConfigError(
            "test.py needs a checkpoint: -r saved/models/<name>/<run id>/model_best.pth"
        )
    save_dir = Path(config["trainer"]["save_dir"])
    refuse_unwritable(save_dir)
    checkpoint = load_checkpoint(config.resume)
    check_fit(checkpoint, expected_weights(config["arch"]["args"]))
    _refuse_other_classes(checkpoint, config)
    config = ConfigParser(_without_foreign_fold(config.config), config.resume)
    arguments = config["data_loader"]["args"]
    split = split or _default_split(arguments, checkpoint.config["data_loader"]["args"]["dataset"])
    device, line = choose_device(config["n_gpu"])
    precision = precision_of(config, device)
    logger.info(f"{line}, {precision}")
    model = config.init_obj("arch", arch).to(device)
    load_weights(model, checkpoint)
    loader = _loader(config, split)
    foreign_share = _foreign_share(checkpoint, loader, config["seed"])
    log = evaluate(model, loader, criterion_of(config), metrics_of(config), precision)
    extractors = extractors_by_dataset(arguments["data_dir"], arguments["dataset"])
    results: dict[str, Any] = {
        "checkpoint": str(config.resume),
        "dataset": arguments["dataset"],
        "extractor": extractors,
        "test_cross_val": arguments.get("test_cross_val"),
        "split": split,
        "num_samples": loader.n_samples,
        "foreign_share": foreign_share,
        **log,
        "environment": environment(precision),
        "config": config.config,
    }
    remove_leftovers(save_dir)
    path = write_claimed_json(results, save_dir, SUFFIX)
    title = dataset_title(arguments["dataset"], extractors)
    logger.info(f"{title}, {split}: {loader.n_samples:,} samples")
    for name, value in log.items():
        logger.info(f"    {name:16} {value:.4f}")
    logger.info(f"Written: {path}")
    _warn_of_foreign(foreign_share, checkpoint)
    return results


def _refuse_other_classes(checkpoint: Checkpoint, config: ConfigParser) -> None:
    """Refuse classes that are as many as a checkpoint's, and others."""
    if age_classes_of(config.config) != checkpoint.age_classes:
        raise ConfigError(
            f"the classes of the config are not those that {checkpoint.path} was trained for; "
            "leave -o data_loader.args.classes and --task out"
        )


def _warn_of_foreign(share: float | None, checkpoint: Checkpoint) -> None:
    if share is not None and share > FEW_FOREIGN:
        get_logger("test").warning(
            f"{share:.1%} of these embeddings come from another network than those that "
            f"{checkpoint.path} was trained on: what it says of them means nothing. Extract them "
            "with the face server of its training data"
        )


def _foreign_share(checkpoint: Checkpoint, loader: BaseDataLoader, seed: int) -> float | None:
    """Return the share of the rows that come from another network; None where nobody can tell."""
    detector = OutOfDistributionDetector.from_checkpoint(checkpoint.content)
    if detector is None:
        return None
    return detector.foreign_share(draw_embeddings(loader, seed))


def check_test(config: dict[str, Any]) -> list[str]:
    """List every problem of a config; a fold that only Adience has does not matter elsewhere."""
    return check(_without_foreign_fold(config))


def _without_foreign_fold(config: dict[str, Any]) -> dict[str, Any]:
    arguments = (config.get("data_loader") or {}).get("args")
    if isinstance(arguments, dict) and str(arguments.get("dataset")).lower() != "adience":
        arguments["test_cross_val"] = None
    return config


def _default_split(arguments: dict[str, Any], trained_on: str) -> str:
    if arguments.get("test_cross_val") is not None:
        return "test"
    is_same = arguments["dataset"].lower() == trained_on.lower()
    return "val" if is_same and arguments["validation_split"] else "all"


def _loader(config: ConfigParser, split: str) -> BaseDataLoader:
    if split == "test":
        held_out = held_out_loader(config)
        return held_out.unshuffled(held_out.rows)
    if split == "all":
        config = _without_split(config)
    loader = training_loader(config)
    if split in ("train", "all"):
        return loader.unshuffled(loader.rows)
    valid = loader.split_validation()
    if valid is None:
        raise DataError("no validation rows: validation_split is 0; choose another --split")
    return valid


def _without_split(config: ConfigParser) -> ConfigParser:
    """Take every row of the data set, whatever was set aside in training."""
    content = config.config
    content["data_loader"]["args"] |= {"test_cross_val": None, "validation_split": 0}
    return ConfigParser(content)
