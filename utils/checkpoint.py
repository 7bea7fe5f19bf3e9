"""Checkpoints: the only place that writes or reads them.

A checkpoint is a dict of plain values and tensors, which `torch.load(weights_only=True)` opens
without this repository: arch, epoch, state_dict, optimizer, monitor_best and config as in the
original project (the config a plain dict), and beside them resume (how to go on), environment (what
trained it), embeddings (statistics that recognise vectors of another network), extractor (what made
the embeddings) and confidence (how sure the answers of the best epoch are). `base/base_trainer.py`
collects them, `serving/export.py` says which an export keeps. has_changed_data is true where the
config does not name all rows that were trained on. A safetensors file may hold the same
(`utils/safetensors_file.py`); its first bytes tell.
"""

import io
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import AfterValidator, ConfigDict, Field
from torch import Tensor

from utils.errors import CheckpointError
from utils.files import atomic_write
from utils.labels import AgeClasses, age_classes_of
from utils.legacy.configs import from_original
from utils.legacy.torch_zip import read_torch_zip
from utils.problems import JsonObject, problems_in
from utils.safetensors_file import is_safetensors, read_safetensors, safetensors_bytes
from utils.schema import MAX_EPOCH

MEMBERS = "members"
"""Key of an ensemble's models."""

MAX_MEMBERS = 1000
"""Models of an ensemble: each costs the server time at every request."""


ONNX_START = b"\x08"
"""The tag of the version, which is an ONNX file's first field."""

MAX_JSON_LETTERS = 1 << 18
"""Of the extractor, which the server shows, and of the confidence: four times what it takes."""


def _of_tensors(weights: dict[str, Any]) -> dict[str, Any]:
    if not all(isinstance(weight, Tensor) for weight in weights.values()):
        raise ValueError("holds something else than tensors")
    return weights


def _of_json(content: dict[str, Any] | None) -> dict[str, Any] | None:
    try:
        num_letters = len(json.dumps(content))
    except (TypeError, ValueError, RecursionError):
        raise ValueError("holds what JSON does not, expected what training writes") from None
    if num_letters > MAX_JSON_LETTERS:
        raise ValueError(f"has {num_letters:,} letters, at most {MAX_JSON_LETTERS:,} are read")
    return content


class CheckpointFields(JsonObject):
    """What a checkpoint may hold, if it does; how to resume is checked where that is done."""

    model_config = ConfigDict(extra="ignore")

    state_dict: Annotated[dict[str, Any], AfterValidator(_of_tensors)]
    arch: str = ""
    epoch: Annotated[int, Field(ge=0, le=MAX_EPOCH)] = 0
    config: dict[str, Any] | None = None
    has_changed_data: bool = False
    optimizer: dict[str, Any] | None = None
    resume: dict[str, Any] = Field(default_factory=dict)
    environment: dict[str, Any] | None = None
    embeddings: dict[str, Any] | None = None
    extractor: Annotated[dict[str, Any] | None, AfterValidator(_of_json)] = None
    confidence: Annotated[dict[str, Any] | None, AfterValidator(_of_json)] = None
    temperature: Annotated[float, Field(gt=0)] | None = None


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as read.

    Attributes:
        path: where it was read.
        content: the whole dict.
        is_original: the original project wrote it.
    """

    path: Path
    content: dict[str, Any]
    is_original: bool

    @property
    def config(self) -> dict[str, Any]:
        """The config it was trained with.

        Raises:
            CheckpointError: it holds none.
        """
        config = self.content.get("config")
        if not isinstance(config, dict):
            raise CheckpointError(f"{self.path}: no config inside, and none beside it")
        return from_original(config)

    @property
    def age_classes(self) -> AgeClasses | None:
        """The age classes it was trained for; None for genders.

        Raises:
            CheckpointError: it has no config, or one without classes, or with unfit ones.
        """
        try:
            return age_classes_of(self.config)
        except ValueError as error:
            raise CheckpointError(f"{self.path}: its config has unfit classes: {error}") from None

    @property
    def has_changed_data(self) -> bool:
        """Whether the training went on with other rows than the config names."""
        return bool(self.content.get("has_changed_data"))

    @property
    def state_dict(self) -> dict[str, Tensor]:
        """The weights."""
        weights: dict[str, Tensor] = self.content["state_dict"]
        return weights


def save_checkpoint(content: dict[str, Any], path: Path) -> None:
    """Write a checkpoint whole or not at all; what was there survives a failure.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    _write(buffer.getbuffer(), path)


def save_safetensors(content: dict[str, Any], path: Path) -> None:
    """Write a checkpoint as safetensors, whole or not at all.

    Raises:
        CheckpointError: it holds something that is neither a tensor nor JSON.
        UserError: safetensors is not installed.
        OSError: as in `save_checkpoint`.
    """
    _write(safetensors_bytes(content), path)


def _write(content: bytes | memoryview, path: Path) -> None:
    try:
        with atomic_write(path) as file:
            file.write(content)
    except OSError as error:  # name the checkpoint, not the temporary file or nothing
        raise OSError(error.errno, error.strerror, str(path)) from error


def own_storage(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copy those weights that are slices of larger tensors, all of which would be written."""
    for name, weight in weights.items():
        if weight.untyped_storage().nbytes() > weight.nbytes:
            weights[name] = weight.clone()
    return weights


def copy_checkpoint(source: Path, target: Path) -> None:
    """Copy a checkpoint, whole or not at all.

    Raises:
        OSError: as in `save_checkpoint`.
    """
    _write(source.read_bytes(), target)


def load_checkpoint(path: Path | str) -> Checkpoint:
    """Read a checkpoint of ours, or of the original project, without running code from it.

    It is a torch zip or a safetensors file, whatever its name. A state_dict alone is read as a
    checkpoint without anything else.

    Raises:
        CheckpointError: the file is missing, damaged, or not a checkpoint.
    """
    path = Path(path)
    content, is_original = _read(path)
    if MEMBERS in content:
        raise CheckpointError(
            f"{path} is an ensemble, which the server takes and nothing else; name the checkpoint "
            "of one model"
        )
    return _checkpoint(path, content, is_original)


def load_members(path: Path | str) -> list[Checkpoint]:
    """Read the models of an ensemble; any other checkpoint is the only one of its own.

    What the members share, such as the embedding statistics, is in each of them.

    Raises:
        CheckpointError: as in `load_checkpoint`.
    """
    path = Path(path)
    content, is_original = _read(path)
    members = content.pop(MEMBERS, [{}])
    if not isinstance(members, list) or not 0 < len(members) <= MAX_MEMBERS:
        raise CheckpointError(
            f"{path} is damaged: it holds no list of 1 to {MAX_MEMBERS:,} models; make it again "
            "with make_ensemble"
        )
    if not all(isinstance(member, dict) and MEMBERS not in member for member in members):
        raise CheckpointError(f"{path} is damaged: a model of the ensemble is no dict of one model")
    checkpoints = [_checkpoint(path, {**content, **member}, is_original) for member in members]
    _refuse_shared(path, checkpoints)
    return checkpoints


def _read(path: Path) -> tuple[dict[str, Any], bool]:
    """Return the dict in a file, and whether the original project wrote it."""
    start = _start(path)
    if start.startswith(ONNX_START) and path.suffix.lower() == ".onnx":
        raise CheckpointError(
            f"{path} is an ONNX file, which is for other programs; name the model's .pth or "
            ".safetensors file"
        )
    if is_safetensors(start):
        content, is_original = read_safetensors(path), False
    else:
        content, is_original = read_torch_zip(path)
    if not isinstance(content, dict):
        content = {}
    if content and all(isinstance(value, Tensor) for value in content.values()):
        content = {"state_dict": content}
    return content, is_original


def _start(path: Path) -> bytes:
    """Return the first bytes of a file; none where it is no regular file that can be read."""
    with suppress(OSError):
        if path.is_file():
            with path.open("rb") as file:
                return file.read(16)
    return b""


def _without_prefix(path: Path, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Strip what DataParallel puts before every name."""
    stripped = {name.removeprefix("module."): weight for name, weight in weights.items()}
    if len(stripped) != len(weights):
        raise CheckpointError(f"{path} is damaged: it holds a weight with and without 'module.'")
    return stripped


def _checkpoint(path: Path, content: dict[str, Any], is_original: bool) -> Checkpoint:
    if not isinstance(content.get("state_dict"), dict):
        raise CheckpointError(f"{path} is not a checkpoint of this project: it has no state_dict")
    if problems := problems_in(CheckpointFields, content):
        problem = " ".join(str(problems[0]).split())
        raise CheckpointError(
            f"{path} is damaged: {problem}; get the file again from where it came, or take another "
            "checkpoint"
        )
    if is_original:
        content = {**content, "state_dict": _without_prefix(path, content["state_dict"])}
    checkpoint = Checkpoint(path, content, is_original)
    _refuse_shared(path, [checkpoint])
    return checkpoint


def _refuse_shared(path: Path, checkpoints: list[Checkpoint]) -> None:
    """Refuse weights that are the same bytes under many names: networks of them could be any size.

    Raises:
        CheckpointError: the weights are more than the file holds.
    """
    num_bytes = sum(
        weight.nbytes for checkpoint in checkpoints for weight in checkpoint.state_dict.values()
    )
    if num_bytes > path.stat().st_size:
        raise CheckpointError(
            f"{path} is damaged: its weights are {num_bytes:,} bytes, the file has "
            f"{path.stat().st_size:,}"
        )
