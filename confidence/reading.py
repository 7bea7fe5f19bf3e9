"""Confidence of a model of known classes, age or gender: fitted, or read from its checkpoint."""

from typing import TYPE_CHECKING

from confidence.age import AgeConfidence
from confidence.gender import GenderConfidence
from confidence.rows import JudgedRows
from utils.errors import CheckpointError
from utils.labels import AgeClasses, class_bounds

if TYPE_CHECKING:
    from utils.checkpoint import Checkpoint

Confidence = AgeConfidence | GenderConfidence


def fit_confidence(rows: JudgedRows, classes: AgeClasses | None) -> Confidence:
    """Fit to people whom the model was not trained on.

    Args:
        rows: what the model says of them, and what is true.
        classes: its age classes; None for genders.
    """
    if classes is None:
        return GenderConfidence.fit(rows)
    return AgeConfidence.fit(rows, class_bounds(classes))


def read_confidence(checkpoint: "Checkpoint", classes: AgeClasses | None) -> Confidence | None:
    """Read how sure a model's answers are; None where that is not known.

    Args:
        checkpoint: of one model.
        classes: its age classes; None for genders.

    Raises:
        CheckpointError: it is damaged, or of other classes; the message names the file.
    """
    try:
        if classes is None:
            return GenderConfidence.from_checkpoint(checkpoint.content)
        found = AgeConfidence.from_checkpoint(checkpoint.content)
    except CheckpointError as error:
        raise CheckpointError(f"{checkpoint.path}: {error}") from None
    if found is not None and found.bounds != class_bounds(classes).tolist():
        raise CheckpointError(
            f"{checkpoint.path} is damaged: its confidence is for other classes than its network; "
            "get the file again from where it came"
        )
    return found
