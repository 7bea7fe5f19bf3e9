"""Models written for use: a checkpoint without what only training needs, or several as one file.

The prediction of several is the mean of their probabilities. The name of the file to write says in
which format.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field

from confidence.stored import KEY as CONFIDENCE
from serving.checkpoints import (
    age_classes_in,
    confidence_of,
    config_of,
    detector_of,
    load_known_members,
    network_arguments,
)
from serving.network_check import networks_of
from serving.onnx_model import onnx_bytes, source_of
from utils.checkpoint import (
    MAX_MEMBERS,
    MEMBERS,
    Checkpoint,
    save_checkpoint,
    save_safetensors,
)
from utils.errors import CheckpointError, PathError
from utils.files import atomic_write, read_json, refuse_unwritable_file
from utils.labels import NUM_GENDERS
from utils.locks import remove_leftovers
from utils.optional_packages import EXPORT_REQUIREMENTS, optional_package
from utils.problems import JsonObject, read_object
from utils.schema import PathText
from utils.text import shown

TRAINING_ONLY = ("optimizer", "resume")
"""What going on with a training needs, and using the network does not."""

PACKAGES = {".pth": None, ".pt": None, ".safetensors": "safetensors", ".onnx": "onnx"}
"""The optional package that writes a format, by its suffix."""

RESULTS_SUFFIX = ".json"
OF_A_MEMBER = ("arch", "epoch", "state_dict", "config", "has_changed_data", "temperature")
SHARED = ("embeddings", "extractor")


class _CrossValResults(JsonObject):
    """What is read of the results of a cross-validation: checkpoints by seed and fold."""

    model_config = ConfigDict(extra="ignore")

    checkpoints: dict[str, dict[str, PathText]] = Field(default_factory=dict)


EnsembleFit = Callable[[Sequence[Checkpoint]], dict[str, Any]]
"""Takes the models of an ensemble, and returns what its checkpoint keeps under "confidence"."""


def write_model(source: Path, out_path: Path) -> None:
    """Write the network of a checkpoint: weights and config, without optimizer and random state.

    Args:
        source: a checkpoint of ours or of the original project, or an ensemble.
        out_path: file to write: .pth (or .pt), .safetensors or .onnx.

    Raises:
        CheckpointError: the checkpoint is missing, damaged or foreign.
        PathError: `out_path` cannot be written, or is of no known format.
        UserError: a package that writes the format is missing.
    """
    _refuse_target(out_path)
    members = load_known_members(source)
    _check_alike(members)
    if len(members) > 1:
        content = _ensemble_of(members)
    else:
        (only,) = members
        kept = {key: value for key, value in only.content.items() if key not in TRAINING_ONLY}
        content = {**kept, "config": config_of(only)}
    _write(members, content, out_path)


def write_ensemble(
    sources: Sequence[Path], out_path: Path, fit_confidence: EnsembleFit | None = None
) -> int:
    """Put models into one file.

    Args:
        sources: checkpoints, ensembles, or the results file of a cross-validation, which stands for
            the best checkpoints of all its runs.
        out_path: file to write, as in `write_model`.
        fit_confidence: fits how sure the ensemble is; None leaves that unknown.

    Returns:
        the number of models.

    Raises:
        CheckpointError: a checkpoint is missing or unfit, or they are not of one task or were
            trained on embeddings of different networks.
        ConfigError: a results file cannot be read.
        PathError, UserError: as in `write_model`.
    """
    _refuse_target(out_path)
    paths = [path for source in sources for path in _checkpoints_of(source)]
    members = [member for path in paths for member in load_known_members(path)]
    if len(members) > MAX_MEMBERS:
        raise CheckpointError(f"{len(members):,} models, an ensemble has at most {MAX_MEMBERS:,}")
    if not members:
        raise CheckpointError("an ensemble needs at least one checkpoint")
    _check_alike(members)
    content = _ensemble_of(members)
    if fit_confidence is not None:
        content[CONFIDENCE] = fit_confidence(members)
    _write(members, content, out_path)
    return len(members)


def _refuse_target(out_path: Path) -> None:
    """Check, before any work, that a file of this name can be written."""
    refuse_unwritable_file(out_path)
    suffix = out_path.suffix.lower()
    if suffix not in PACKAGES:
        raise PathError(
            f"{out_path}: the suffix says in which format a model is written; expected .pth, "
            f".safetensors or .onnx, got {suffix or 'none'}"
        )
    if package := PACKAGES[suffix]:
        optional_package(package, f"to write {out_path}", EXPORT_REQUIREMENTS)


def _write(members: Sequence[Checkpoint], content: dict[str, Any], out_path: Path) -> None:
    remove_leftovers(out_path.parent)
    match out_path.suffix.lower():
        case ".onnx":
            written = onnx_bytes(source_of(members, content, out_path))
            with atomic_write(out_path) as file:
                file.write(written)
        case ".safetensors":
            save_safetensors(content, out_path)
        case _:
            save_checkpoint(content, out_path)


def _ensemble_of(members: Sequence[Checkpoint]) -> dict[str, Any]:
    best_known = max(members, key=_num_rows)
    content: dict[str, Any] = {key: best_known.content.get(key) for key in SHARED}
    if len({member.path for member in members}) == 1:  # of several, none knows how sure all are
        content[CONFIDENCE] = members[0].content.get(CONFIDENCE)
    content[MEMBERS] = [
        {key: member.content[key] for key in OF_A_MEMBER if key in member.content}
        | {"config": config_of(member)}
        for member in members
    ]
    return content


def _checkpoints_of(path: Path) -> list[Path]:
    if path.suffix != RESULTS_SUFFIX:
        return [path]
    by_seed = read_object(_CrossValResults, read_json(path), str(path)).checkpoints
    paths = [Path(one) for of_seed in by_seed.values() for one in of_seed.values()]
    if not paths:
        raise CheckpointError(f"{path} names no checkpoints; expected results of cross-val.py")
    return paths


def _num_rows(member: Checkpoint) -> int:
    """Return how many training rows the embedding statistics of a member are from; 0 for none."""
    return int((member.content.get("embeddings") or {}).get("num_rows", 0))


def _check_alike(members: Sequence[Checkpoint]) -> None:
    first = members[0]
    for member in members:
        network_arguments(member)
        detector_of(member)
        confidence_of(member)
        for name, one, other in (
            ("classes", _classes(first), _classes(member)),
            ("networks behind their embeddings", _networks(first), _networks(member)),
        ):
            if one != other and one and other:
                raise CheckpointError(
                    f"{first.path} and {member.path} have different {name}: {one} and {other}; an "
                    "ensemble is of one task and one face network"
                )


def _classes(member: Checkpoint) -> str:
    return shown(age_classes_in(member) or NUM_GENDERS)


def _networks(member: Checkpoint) -> list[str]:
    return networks_of(member.content.get("extractor") or {})
