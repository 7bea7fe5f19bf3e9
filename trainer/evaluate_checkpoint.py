"""Evaluate a checkpoint on any rows of any data sets."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from base.base_data_loader import BaseDataLoader
from base.device import Precision, choose_device, environment, precision_of
from data_loader.data_sets import no_such_file, parts_of, same_data_set
from data_loader.extractors import dataset_title
from data_loader.faces import LoadedFaces, read_source
from faces.out_of_distribution import OutOfDistributionDetector
from model import model as arch
from model.arguments import expected_weights
from trainer.check import check
from trainer.components import criterion_of, metrics_of
from trainer.data import (
    SharedInputs,
    draw_embeddings,
    every_row_loader,
    held_out_loader,
    training_loader,
)
from trainer.evaluate import evaluate
from trainer.measured import (
    MEASURED_COLUMNS,
    columns_of,
    measure_confidence,
    report_confidence,
)
from trainer.result_table import result_table
from trainer.seen_rows import count_seen, rows_of_source
from utils.checkpoint import Checkpoint, load_checkpoint
from utils.config import ConfigParser
from utils.errors import ConfigError, DataError
from utils.files import refuse_unwritable
from utils.labels import ADIENCE_GROUPS, age_classes_of
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
        "--dataset",
        action="append",
        default=[],
        metavar="NAME",
        help="data set to test on, by name, folder or sum; again for another one (default: that of "
        "the config)",
    )
    parser.add_argument(
        "--split",
        choices=SPLITS,
        help="rows to evaluate on: train or val as in training, test (the held-out fold, or the "
        "split of the table) or all (default: test where there is one, else val of the data set it "
        "was trained on, else all)",
    )


@dataclass(frozen=True)
class TestedModel:
    """A checkpoint, ready to be evaluated."""

    checkpoint: Checkpoint
    model: Any
    precision: Precision


def evaluate_checkpoint(config: ConfigParser, split: str | None = None) -> dict[str, Any]:
    """Evaluate the checkpoint of `-r`; print, write and return loss and metrics.

    Raises what `evaluate_on` does.

    Args:
        config: the checkpoint's, as changed on the command line.
        split: one of SPLITS; None chooses.
    """
    return evaluate_on(config, [], split)[0]


def evaluate_on(
    config: ConfigParser, datasets: Sequence[str], split: str | None = None
) -> list[dict[str, Any]]:
    """Evaluate the checkpoint of `-r` on data sets; print, write and return loss and metrics.

    Args:
        config: the checkpoint's, as changed on the command line.
        datasets: names; none for that of the config.
        split: one of SPLITS; None chooses.

    Raises:
        ConfigError: no checkpoint was named.
        DataError: a data set is unfit, or the split is empty.
        CheckpointError: the checkpoint is unfit.
        PathError: save_dir cannot be written.
    """
    logger = config.get_logger("test", verbosity=1)  # silent trainings are evaluated aloud too
    save_dir = Path(config["trainer"]["save_dir"])
    checkpoint = _read_checkpoint(config)
    refuse_unwritable(save_dir)
    names = datasets or [config["data_loader"]["args"]["dataset"]]
    configs = [_config_of(config, checkpoint, name) for name in names]
    for one in configs:
        _refuse_missing(one)
    device, line = choose_device(config["n_gpu"])
    precision = precision_of(config, device)
    logger.info(f"{line}, {precision}")
    model = config.init_obj("arch", arch).to(device)
    load_weights(model, checkpoint)
    remove_leftovers(save_dir)
    tested = TestedModel(checkpoint, model, precision)
    results = []
    for one in configs:
        results.append(_evaluate(one, tested, split))
        logger.info(f"Written: {write_claimed_json(results[-1], save_dir, SUFFIX)}")
    measured = [name for name in MEASURED_COLUMNS if all(name in result for result in results)]
    for table_line in result_table(results, ["loss", *config["metrics"], *measured]):
        logger.info(table_line)
    return results


def _read_checkpoint(config: ConfigParser) -> Checkpoint:
    """Read the checkpoint of `-r`; refuse another network, or as many classes that are others."""
    if config.resume is None:
        raise ConfigError(
            "test.py needs a checkpoint: -r saved/models/<name>/<run id>/model_best.pth"
        )
    checkpoint = load_checkpoint(config.resume)
    check_fit(checkpoint, expected_weights(config["arch"]["args"]))
    if age_classes_of(config.config) != checkpoint.age_classes:
        raise ConfigError(
            f"the classes of the config are not those that {checkpoint.path} was trained for; "
            "leave -o data_loader.args.classes and --task out"
        )
    return checkpoint


def _evaluate(config: ConfigParser, tested: TestedModel, split: str | None) -> dict[str, Any]:
    """Evaluate on one data set, and warn of what makes the numbers mean less."""
    arguments = config["data_loader"]["args"]
    fold = arguments.get("test_cross_val")
    data_dir, dataset = arguments["data_dir"], arguments["dataset"]
    source = read_source(data_dir, dataset, holds_out=fold is not None)
    split = split or _default_split(arguments, tested.checkpoint, source)
    loader, left_out = _loader(config, split, source)
    criterion, metrics = criterion_of(config), metrics_of(config)
    foreign_share = _foreign_share(tested.checkpoint, loader, config["seed"])
    log = evaluate(tested.model, loader, criterion, metrics, tested.precision)
    rows = rows_of_source(loader, loader.rows)
    subjects = source.faces.subject[rows]
    seen = count_seen(tested.checkpoint, config, source.faces.embedding[rows])
    title = dataset_title(dataset, source.extractors)
    _log_remarks(title, left_out, source)
    _warn_of_foreign(title, foreign_share, tested.checkpoint)
    for line in seen.warnings(split, loader.n_samples):
        get_logger("test").warning(f"{title}: {line}")
    measured = measure_confidence(tested.checkpoint, tested.model, loader, source.faces)
    has_groups = _has_other_groups(tested.checkpoint, source.faces.age_in_group[rows])
    report_confidence(title, measured, seen.validated > 0, has_groups)
    return {
        "checkpoint": str(config.resume),
        "dataset": dataset,
        "extractor": source.extractors,
        "test_cross_val": fold,
        "split": split,
        "num_samples": loader.n_samples,
        "num_people": len(np.unique(subjects[subjects != ""])),
        "seen": asdict(seen),
        "foreign_share": foreign_share,
        **log,
        **columns_of(measured),
        "confidence": measured and measured.model_dump(),
        "environment": environment(tested.precision),
        "config": config.config,
    }


def _has_other_groups(checkpoint: Checkpoint, in_group: NDArray[np.bool_]) -> bool:
    """Return whether some ages are known as Adience's groups, which a model does not have."""
    classes = checkpoint.age_classes
    of_adience = classes in (len(ADIENCE_GROUPS), ADIENCE_GROUPS)
    return classes is not None and not of_adience and bool(in_group.any())


def _config_of(config: ConfigParser, checkpoint: Checkpoint, dataset: str) -> ConfigParser:
    """Return the config for a data set; a fold of another one is not held out."""
    content = config.config
    arguments = content["data_loader"]["args"]
    arguments["dataset"] = dataset
    trained = checkpoint.config["data_loader"]["args"]
    is_same = same_data_set(dataset, trained["dataset"])
    if not is_same and arguments.get("test_cross_val") == trained.get("test_cross_val"):
        arguments["test_cross_val"] = None
    return ConfigParser(content, config.resume)


def _refuse_missing(config: ConfigParser) -> None:
    """Look for the data files before any work; raises as reading them does."""
    arguments = config["data_loader"]["args"]
    for part in parts_of(arguments["data_dir"], arguments["dataset"]):
        if not part.exists:
            raise no_such_file(arguments["data_dir"], part)


def _log_remarks(title: str, left_out: str, source: LoadedFaces) -> None:
    for remark in (*source.remarks, *([f"{title}: {left_out}"] if left_out else [])):
        get_logger("test").info(remark)


def _warn_of_foreign(title: str, share: float | None, checkpoint: Checkpoint) -> None:
    if share is not None and share > FEW_FOREIGN:
        get_logger("test").warning(
            f"{title}: {share:.1%} of these embeddings come from another network than those that "
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
    """List every problem of a config; which folds other sets than Adience have is seen later."""
    arguments = (config.get("data_loader") or {}).get("args")
    if isinstance(arguments, dict) and str(arguments.get("dataset")).lower() != "adience":
        arguments["test_cross_val"] = None
    return check(config)


def _default_split(arguments: dict[str, Any], checkpoint: Checkpoint, source: LoadedFaces) -> str:
    splits = source.faces.split
    if arguments.get("test_cross_val") is not None or (splits == "test").any():
        return "test"
    trained_on = checkpoint.config["data_loader"]["args"]["dataset"]
    has_validation = bool(arguments["validation_split"]) or bool((splits == "val").any())
    return "val" if same_data_set(source.dataset, trained_on) and has_validation else "all"


def _loader(config: ConfigParser, split: str, source: LoadedFaces) -> tuple[BaseDataLoader, str]:
    """Return the loader of a split, and in words how many rows are left out; "" for none."""
    make = {"test": held_out_loader, "all": every_row_loader}.get(split, training_loader)
    loader = make(config, SharedInputs(source))
    left_out: str = getattr(loader, "left_out", "")
    if split != "val":
        return loader.unshuffled(loader.rows), left_out
    valid = loader.split_validation()
    if valid is None:
        raise DataError("no validation rows: validation_split is 0; choose another --split")
    return valid, left_out
