"""How sure the answers of a trained network are, fitted to the people it validates on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from base.base_data_loader import BaseDataLoader
from confidence.reading import fit_confidence
from confidence.rows import JudgedRows
from data_loader.data_sets import parts_of
from data_loader.faces import Faces
from trainer.seen_rows import rows_of_source
from utils.checkpoint import Checkpoint, load_checkpoint
from utils.config import ConfigParser
from utils.errors import UserError
from utils.labels import GENDERS, NUM_GENDERS, age_classes_of

UNKNOWN_GENDER = -1
PEOPLE_FOR_90 = 9

ConfidenceFit = Callable[[nn.Module], dict[str, Any]]
"""Takes a network, and returns what its checkpoint keeps under "confidence"."""


@torch.no_grad()
def probabilities_of(model: nn.Module, loader: BaseDataLoader) -> NDArray[np.float32]:
    """Return what a network says of a loader's rows, (N, C), in float32 as the server does."""
    model.eval()
    device = next(model.parameters()).device
    logits = [model(embeddings.to(device)).float().cpu() for embeddings, _ in loader]
    probabilities: NDArray[np.float32] = torch.cat(logits).softmax(1).numpy()
    return probabilities


@dataclass(frozen=True)
class KnownPeople:
    """Rows of a loader whose people are known.

    Attributes:
        loader: of these rows.
        people: (N,) who is on them.
        genders: (N,) 0 male, 1 female, -1 where it is not known.
        det_scores: (N,) how sure the detector was; NaN where it is not known.
        in_groups: (N,) whether the age is the middle of a group of Adience.
    """

    loader: BaseDataLoader
    people: NDArray[np.str_]
    genders: NDArray[np.int64]
    det_scores: NDArray[np.float32]
    in_groups: NDArray[np.bool_]

    @classmethod
    def of(cls, loader: BaseDataLoader, rows: NDArray[np.int64], faces: Faces) -> "KnownPeople":
        """Take some rows of the loader's data set, which is of these faces."""
        indices = rows_of_source(loader, rows)
        letters = faces.gender[indices]
        known = [letters == letter for letter in GENDERS]
        genders = np.select(known, range(NUM_GENDERS), UNKNOWN_GENDER)
        people, det_scores = faces.subject[indices], faces.det_score[indices]
        in_groups = faces.age_in_group[indices]
        return cls(loader.unshuffled(rows), people, genders, det_scores, in_groups)

    def judged_by(self, model: nn.Module) -> JudgedRows:
        """Return what a network says of them, and what is true."""
        return self.judged(probabilities_of(model, self.loader))

    def judged(self, probabilities: NDArray[np.floating[Any]]) -> JudgedRows:
        """Join what is said of them, (N, C), and what is true."""
        labels = torch.cat([of_batch for _, of_batch in self.loader]).cpu().numpy()
        return JudgedRows(
            probabilities, labels, self.people, self.genders, self.det_scores, self.in_groups
        )


def rows_of_others(train: BaseDataLoader, valid: BaseDataLoader, faces: Faces) -> NDArray[np.int64]:
    """Return the rows to validate on whose people are known, and not trained on."""
    trained = np.unique(faces.subject[rows_of_source(train, train.rows)])
    people = faces.subject[rows_of_source(valid, valid.rows)]
    rows: NDArray[np.int64] = valid.rows[(people != "") & ~np.isin(people, trained)]
    return rows


def confidence_fit(
    config: ConfigParser,
    train: BaseDataLoader,
    valid: BaseDataLoader | None,
    pretrained: Checkpoint | None = None,
) -> ConfidenceFit | None:
    """Say in the log whom confidence is fitted to, and return what fits it.

    Args:
        config: of the training.
        train: loader of the rows to train on.
        valid: of those to validate on; None where there are none.
        pretrained: whose weights a new training starts from.

    Returns:
        None where it is not known that the people to validate on are not trained on: then nothing
        is promised.
    """
    logger = config.get_logger("train")
    if valid is None:
        logger.info("No intervals: there are no validation rows to fit them to")
        return None
    source: Any = getattr(train, "source", None)
    rows = valid.rows[:0] if source is None else rows_of_others(train, valid, source.faces)
    if problem := _problem(config, train.split.by, rows, pretrained):
        logger.info(f"No intervals: {problem}")
        return None
    known = KnownPeople.of(valid, rows, source.faces)
    num_people, classes = len(np.unique(known.people)), age_classes_of(config.config)
    few = f", too few for 90 %, which needs {PEOPLE_FOR_90}" if num_people < PEOPLE_FOR_90 else ""
    logger.info(f"Intervals will be fitted to {num_people:,} people who are not trained on{few}")

    def fit(model: nn.Module) -> dict[str, Any]:
        return fit_confidence(known.judged_by(model), classes).to_plain()

    return fit


def _problem(
    config: ConfigParser, split_by: str, rows: NDArray[np.int64], pretrained: Checkpoint | None
) -> str:
    """Return why the people of some rows may be trained on; empty if they are not."""
    if split_by == "image":
        return (
            "a validation split by image may hold the people trained on; take "
            "-o data_loader.args.validation_by=subject where the data say who is on each image"
        )
    if len(rows) == 0:
        return "the data do not say that other people are validated on than trained on"
    if config["checkpoint"] is not None and _may_know_people(config, pretrained):
        return f"{config['checkpoint']} may be trained on the people validated on"
    return ""


def _may_know_people(run: ConfigParser, pretrained: Checkpoint | None) -> bool:
    """Return whether a training may have started from one on a file of the same data.

    One that is gone on with has not read where it started from, which is asked all the same.
    """
    arguments = run["data_loader"]["args"]
    try:
        pretrained = pretrained or load_checkpoint(run["checkpoint"])
        config = pretrained.config
        names = config["data_loader"]["args"]["dataset"], arguments["dataset"]
        trained, now = (
            {part.path.resolve() for part in parts_of(arguments["data_dir"], name)}
            for name in names
        )
    except (UserError, KeyError, TypeError, AttributeError):
        return True
    has_more = pretrained.has_changed_data or config.get("checkpoint") is not None
    return has_more or not trained.isdisjoint(now)
