"""What a checkpoint holds of a model that is served or exported, checked."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from confidence.age import AgeConfidence
from confidence.gender import GenderConfidence
from confidence.reading import read_confidence
from faces.out_of_distribution import OutOfDistributionDetector
from model.arguments import expected_weights
from model.model import ResMLP
from serving.registry import extractor_of
from utils.checkpoint import Checkpoint, load_members
from utils.errors import CheckpointError
from utils.files import read_json, sha256_of
from utils.labels import (
    AGE_CLASS_COUNTS,
    EMBEDDING_SIZE,
    NUM_GENDERS,
    AgeClasses,
    age_classes_of,
)
from utils.legacy.configs import from_original
from utils.weights import check_fit

NUM_CLASSES = {"age": AGE_CLASS_COUNTS, "gender": (NUM_GENDERS,)}


def load_known_members(path: Path) -> list[Checkpoint]:
    """Read the models of a file; the registry says what a published one was trained on.

    Raises:
        CheckpointError: as of `utils.checkpoint.load_members`.
    """
    members = load_members(path)
    if all(member.content.get("extractor") for member in members):
        return members
    extractor = extractor_of(sha256_of(path))
    if not extractor:
        return members
    return [replace(one, content={**one.content, "extractor": extractor}) for one in members]


def served_arguments(kind: str, checkpoint: Checkpoint) -> dict[str, Any]:
    """Check that a checkpoint can be served as "age" or "gender"; return its network's arguments.

    Raises:
        CheckpointError, ConfigError: as of `serving.models.load_pair`.
    """
    arguments = network_arguments(checkpoint)
    path, width = checkpoint.path, arguments["num_initial_features"]
    if width != EMBEDDING_SIZE:
        raise CheckpointError(f"{path}: takes {width} numbers a face, expected {EMBEDDING_SIZE}")
    classes = age_classes_in(checkpoint)
    has_groups = isinstance(classes, tuple)
    is_fit = {"age": has_groups or classes in AGE_CLASS_COUNTS, "gender": classes is None}[kind]
    if not is_fit:
        of_ages = " of ages" if has_groups else ""
        expected = " or ".join(map(str, NUM_CLASSES[kind]))
        raise CheckpointError(
            f"{path}: {arguments['num_classes']} classes{of_ages}, a model for {kind} has "
            f"{expected}; are the two files mixed up?"
        )
    return arguments


def load_net(checkpoint: Checkpoint, arguments: dict[str, Any], device: torch.device) -> ResMLP:
    """Build a network with its weights, which `network_arguments` has checked, in eval mode."""
    net = ResMLP(**arguments)
    net.load_state_dict(checkpoint.state_dict)
    return net.to(device).eval()


def network_arguments(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the arguments of the `ResMLP` whose weights a checkpoint holds.

    Raises:
        CheckpointError: the config names no such network, or the weights are not those of it.
        ConfigError: the config beside weights alone is damaged.
    """
    match config_of(checkpoint).get("arch"):
        case {"type": "ResMLP", "args": dict(arguments)}:
            pass
        case _:
            raise CheckpointError(f"{checkpoint.path}: its config has no arch of type ResMLP")
    try:
        expected = expected_weights(arguments)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{checkpoint.path}: arch.args of its config: {error}") from None
    check_fit(checkpoint, expected)
    return arguments


def age_classes_in(checkpoint: Checkpoint) -> AgeClasses | None:
    """Return the age classes of a model whose network was checked; None for genders.

    Raises:
        CheckpointError: its config names groups of ages that are unfit.
        ConfigError: the config beside weights alone is damaged.
    """
    try:
        return age_classes_of(config_of(checkpoint))
    except ValueError as error:
        raise CheckpointError(f"{checkpoint.path}: its config has unfit classes: {error}") from None


def detector_of(checkpoint: Checkpoint) -> OutOfDistributionDetector | None:
    """Read what recognises the embeddings of other networks; None where there is nothing.

    Raises:
        CheckpointError: it is damaged; the message names the file.
    """
    try:
        return OutOfDistributionDetector.from_checkpoint(checkpoint.content)
    except CheckpointError as error:
        raise CheckpointError(f"{checkpoint.path}: {error}") from None


def confidence_of(checkpoint: Checkpoint) -> AgeConfidence | GenderConfidence | None:
    """Read how sure a model's answers are; None where that is not known.

    Raises:
        CheckpointError: it is damaged, or of other classes; the message names the file.
    """
    return read_confidence(checkpoint, age_classes_in(checkpoint))


def config_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the config inside, or of weights alone the one beside them.

    Raises:
        CheckpointError: there is none.
        ConfigError: the one beside is damaged.
    """
    beside = checkpoint.path.with_suffix(".json")
    if "config" in checkpoint.content:
        return checkpoint.config
    if not beside.is_file():
        raise CheckpointError(
            f"{checkpoint.path} holds weights alone; put its config beside it as {beside.name}"
        )
    content = read_json(beside)
    if not isinstance(content, dict):
        raise CheckpointError(f"{beside}: expected a config, an object in JSON")
    return from_original(content)
