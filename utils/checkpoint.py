"""Checkpoints: the only place that writes or reads them.

A checkpoint is a dict of plain values and tensors, which `torch.load(weights_only=True)` opens
without this repository: arch, epoch, state_dict, optimizer, monitor_best and config as in the
original project (the config a plain dict), and beside them resume (how to go on) and environment
(what trained it).
"""

import io
import pickle
import platform
import struct
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from utils.errors import CheckpointError
from utils.files import atomic_write
from utils.log import get_logger
from utils.original import from_original
from utils.runtime import Precision

MEMBERS = "members"
"""Key of an ensemble's models."""

DAMAGED = (
    *(ArithmeticError, AssertionError, AttributeError, EOFError, LookupError),
    *(MemoryError, RuntimeError, TypeError, ValueError, struct.error),
)
"""What torch's reader raises over bytes that are not those it wrote."""


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

    A file that holds a state_dict alone is read as a checkpoint without anything else.

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
    if not isinstance(members, list) or not members:
        raise CheckpointError(f"{path} is damaged: it holds no list of models")
    if not all(isinstance(member, dict) for member in members):
        raise CheckpointError(f"{path} is damaged: a model of the ensemble is no dict")
    return [_checkpoint(path, {**content, **member}, is_original) for member in members]


def _read(path: Path) -> tuple[dict[str, Any], bool]:
    """Give the dict in a file, and whether the original project wrote it."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    if not zipfile.is_zipfile(path):
        raise CheckpointError(
            f"{path} is not a checkpoint, or it is damaged (not a torch zip file)"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about damaged bytes: they end in an error below
            content = torch.load(path, map_location="cpu", weights_only=True)
        is_original = False
    except pickle.UnpicklingError:  # names more than plain values and tensors
        from utils.legacy import load_pth

        content = load_pth(path)
        is_original = True
    except DAMAGED as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path} is damaged: {reason}") from None
    if _is_weights_alone(content):
        content = {"state_dict": content}
    return (content if isinstance(content, dict) else {}), is_original


def _checkpoint(path: Path, content: dict[str, Any], is_original: bool) -> Checkpoint:
    if not isinstance(content.get("state_dict"), dict):
        raise CheckpointError(f"{path} is not a checkpoint of this project: it has no state_dict")
    return Checkpoint(path, content, is_original)


def _is_weights_alone(content: Any) -> bool:
    """Tell whether a file holds a state_dict and nothing else."""
    is_dict = isinstance(content, dict) and len(content) > 0
    return is_dict and all(isinstance(value, Tensor) for value in content.values())


def load_weights(model: nn.Module, checkpoint: Checkpoint) -> None:
    """Load all weights.

    Raises:
        CheckpointError: the weights do not fit; the message says which arch they are from.
    """
    misfit = _misfit(model.state_dict(), checkpoint.state_dict)
    if misfit:
        raise CheckpointError(_explain(checkpoint, misfit))
    _load(model, checkpoint, checkpoint.state_dict)


def load_pretrained(model: nn.Module, checkpoint: Checkpoint) -> None:
    """Start from the weights of another training; a last layer of other classes stays new.

    Raises:
        CheckpointError: other weights than those of the last layer do not fit.
    """
    own, loaded = model.state_dict(), checkpoint.state_dict
    last_layer = list(own)[-2:]
    weight, _ = last_layer
    is_whole = all(isinstance(loaded.get(name), Tensor) for name in last_layer)
    if not is_whole or all(loaded[name].shape == own[name].shape for name in last_layer):
        load_weights(model, checkpoint)
        return
    kept = {name: value for name, value in loaded.items() if name not in last_layer}
    misfit = _misfit({k: v for k, v in own.items() if k not in last_layer}, kept)
    if misfit or own[weight].shape[1:] != loaded[weight].shape[1:]:
        raise CheckpointError(_explain(checkpoint, misfit or f"{weight} has another width"))
    _load(model, checkpoint, kept)
    get_logger("checkpoint").info(
        f"{checkpoint.path} has {len(loaded[weight])} classes, this network {len(own[weight])}: "
        "all weights but the last layer's are taken"
    )


def _load(model: nn.Module, checkpoint: Checkpoint, weights: dict[str, Tensor]) -> None:
    """Load weights of the right names and shapes; others of the network stay."""
    try:
        model.load_state_dict(weights, strict=False)
    except RuntimeError as error:  # numbers that cannot become these, or lie nowhere
        reason = str(error).splitlines()[-1].strip()
        raise CheckpointError(f"{checkpoint.path} is damaged: {reason}") from None


def _cpu() -> str:
    """Name what decides the order of a CPU's sums: its make, and its widest instructions in use."""
    make = torch.cpu.get_capabilities().get("cpu_name") or platform.machine()
    return f"{make}, {torch.backends.cpu.get_cpu_capability()}"


def environment(precision: Precision) -> dict[str, Any]:
    """Record what results depend on beside the config; they repeat to the bit where it is equal."""
    on_gpu = precision.device_type == "cuda"
    return {
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name() if on_gpu else _cpu(),
        "num_threads": torch.get_num_threads(),
        "precision": str(precision),
    }


def _misfit(own: dict[str, Tensor], loaded: dict[str, Tensor]) -> str:
    """Say where two sets of weights differ in names or shapes; empty if nowhere."""
    missing, unknown = own.keys() - loaded.keys(), loaded.keys() - own.keys()
    if missing:
        return f"it lacks {min(missing)}"
    if unknown:
        return f"it holds {min(map(str, unknown))}, which this network has not"
    for name, weight in own.items():
        if not isinstance(loaded[name], Tensor) or loaded[name].shape != weight.shape:
            shape = tuple(getattr(loaded[name], "shape", ()))
            return f"{name} has shape {shape}, expected {tuple(weight.shape)}"
    return ""


def _explain(checkpoint: Checkpoint, misfit: str) -> str:
    arch = checkpoint.content.get("config")
    arch = arch.get("arch") if isinstance(arch, dict) else None
    remedy = f"; it was trained with arch {arch}: use that" if arch else ""
    return f"{checkpoint.path} does not fit the network of the config: {misfit}{remedy}"
