"""The network that a checkpoint holds, told from its config before anything is built."""

from typing import Any

from faces.out_of_distribution import OutOfDistributionDetector
from model.shapes import expected_weights
from utils.checkpoint import Checkpoint
from utils.errors import CheckpointError
from utils.files import read_json
from utils.original import from_original
from utils.weights import check_fit


def arguments_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the arguments of the `ResMLP` whose weights a checkpoint holds.

    Raises:
        CheckpointError: the config names no such network, or the weights are not those of it.
        ConfigError: the config beside weights alone is damaged.
    """
    arch = _config_of(checkpoint).get("arch")
    arguments = arch.get("args") if isinstance(arch, dict) else None
    if (
        not isinstance(arch, dict)
        or not isinstance(arguments, dict)
        or arch.get("type") != "ResMLP"
    ):
        raise CheckpointError(f"{checkpoint.path}: its config has no arch of type ResMLP")
    try:
        expected = expected_weights(arguments)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{checkpoint.path}: arch.args of its config: {error}") from None
    check_fit(checkpoint, expected)
    return arguments


def network_check(checkpoint: Checkpoint) -> OutOfDistributionDetector | None:
    """Read what recognises the embeddings of other networks; None where there is nothing.

    Raises:
        CheckpointError: it is damaged; the message names the file.
    """
    try:
        return OutOfDistributionDetector.from_checkpoint(checkpoint.content)
    except CheckpointError as error:
        raise CheckpointError(f"{checkpoint.path}: {error}") from None


def _config_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """Take the config inside, or of weights alone the one beside them."""
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
