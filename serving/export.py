"""Models written for use: a checkpoint without what only training needs, or several as one file.

The prediction of several is the mean of their probabilities.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serving.models import detector_of, network_arguments
from serving.network_check import networks_of
from utils.checkpoint import (
    MAX_MEMBERS,
    MEMBERS,
    Checkpoint,
    load_checkpoint,
    load_members,
    save_checkpoint,
)
from utils.errors import CheckpointError
from utils.files import read_json, refuse_unwritable_file
from utils.locks import remove_leftovers

TRAINING_ONLY = ("optimizer", "resume")
"""What going on with a training needs, and using the network does not."""

RESULTS_SUFFIX = ".json"
OF_A_MEMBER = ("arch", "epoch", "state_dict", "config", "temperature")
SHARED = ("embeddings", "extractor")


def write_model(source: Path, out_path: Path) -> None:
    """Write the network of a checkpoint: weights and config, without optimizer and random state.

    Args:
        source: a checkpoint of ours or of the original project.
        out_path: file to write.

    Raises:
        CheckpointError: the checkpoint is missing, damaged or foreign.
        PathError: `out_path` cannot be written.
    """
    refuse_unwritable_file(out_path)
    checkpoint = load_checkpoint(source)
    _check(checkpoint)
    kept = {key: value for key, value in checkpoint.content.items() if key not in TRAINING_ONLY}
    _write({**kept, "config": checkpoint.config}, out_path)


def write_ensemble(sources: Sequence[Path], out_path: Path) -> int:
    """Put models into one file.

    Args:
        sources: checkpoints, ensembles, or the results file of a cross-validation, which stands for
            the best checkpoints of all its runs.
        out_path: file to write.

    Returns:
        the number of models.

    Raises:
        CheckpointError: a checkpoint is missing or unfit, or they are not of one task or were
            trained on embeddings of different networks.
        ConfigError: a results file cannot be read.
        PathError: `out_path` cannot be written.
    """
    refuse_unwritable_file(out_path)
    paths = [path for source in sources for path in _checkpoints_of(source)]
    members = [member for path in paths for member in load_members(path)]
    if len(members) > MAX_MEMBERS:
        raise CheckpointError(f"{len(members):,} models, an ensemble has at most {MAX_MEMBERS:,}")
    if not members:
        raise CheckpointError("an ensemble needs at least one checkpoint")
    _check_alike(members)
    best_known = max(members, key=_num_rows)
    content: dict[str, Any] = {key: best_known.content.get(key) for key in SHARED}
    content[MEMBERS] = [
        {key: member.content[key] for key in OF_A_MEMBER if key in member.content}
        | {"config": member.config}
        for member in members
    ]
    _write(content, out_path)
    return len(members)


def _check(checkpoint: Checkpoint) -> None:
    network_arguments(checkpoint)
    detector_of(checkpoint)


def _write(content: dict[str, Any], out_path: Path) -> None:
    remove_leftovers(out_path.parent)
    save_checkpoint(content, out_path)


def _checkpoints_of(path: Path) -> list[Path]:
    if path.suffix != RESULTS_SUFFIX:
        return [path]
    results = read_json(path)
    by_seed = results.get("checkpoints") if isinstance(results, dict) else None
    if not isinstance(by_seed, dict) or not by_seed:
        raise CheckpointError(f"{path} names no checkpoints; expected results of cross-val.py")
    return [Path(one) for of_seed in by_seed.values() for one in of_seed.values()]


def _num_rows(member: Checkpoint) -> int:
    """Return how many training rows the embedding statistics of a member are from; 0 for none."""
    return int((member.content.get("embeddings") or {}).get("num_rows", 0))


def _check_alike(members: Sequence[Checkpoint]) -> None:
    first = members[0]
    for member in members:
        _check(member)
        for name, one, other in (
            ("classes", _num_classes(first), _num_classes(member)),
            ("networks behind their embeddings", _networks(first), _networks(member)),
        ):
            if one != other and one and other:
                raise CheckpointError(
                    f"{first.path} and {member.path} have different {name}: {one} and {other}; an "
                    "ensemble is of one task and one face network"
                )


def _num_classes(member: Checkpoint) -> Any:
    return member.config["arch"]["args"]["num_classes"]


def _networks(member: Checkpoint) -> list[str]:
    return networks_of(member.content.get("extractor") or {})
