"""Checkpoints as safetensors files: tensors under their names, and the rest as JSON.

The entry "age_gender" of the file's metadata is JSON: {"checkpoint": the rest, "sha256": of the
rest and the tensors}. In the rest, null stands for a tensor, whose name is the keys that lead to
it, joined by dots, without "state_dict": blocks.0.linear.weight, embeddings.centre,
members.3.blocks.0.linear.weight. A file of somebody else holds weights alone, and no such entry.

Source: https://huggingface.co/docs/safetensors
"""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from utils.errors import CheckpointError
from utils.files import RefusedJsonError, parse_json
from utils.optional_packages import EXPORT_REQUIREMENTS, optional_package
from utils.text import in_one_line

if TYPE_CHECKING:
    from torch import Tensor

ENTRY = "age_gender"
"""Of the metadata. One entry alone: several would stand in any order, and exports would differ."""

MAX_BYTES = 1 << 33
"""What the largest network takes."""

LENGTH_BYTES = 8
MAX_HEADER_BYTES = 16 << 20
"""An ensemble of a thousand networks of the published size takes half of it."""

REMEDY = "get the file again from where it came, or take another checkpoint"


def safetensors_bytes(content: dict[str, Any]) -> bytes:
    """Write the content of a checkpoint as a safetensors file.

    Raises:
        CheckpointError: it holds something that is neither a tensor nor JSON.
        UserError: safetensors is not installed.
    """
    import torch

    library = optional_package("safetensors.torch", "to write safetensors", EXPORT_REQUIREMENTS)
    tensors: dict[str, Tensor] = {}

    def move(value: Any, name: str) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        tensors[name] = value.detach().contiguous().clone()
        return None

    try:
        rest = _changed(content, move)
        entry = json.dumps({"checkpoint": rest, "sha256": _digest(rest, tensors)})
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"the checkpoint holds what JSON does not ({in_one_line(error)}); write a .pth file"
        ) from None
    written: bytes = library.save(tensors, {ENTRY: entry})
    return written


def is_safetensors(start: bytes) -> bool:
    """Return whether a file that starts with these bytes, at least 9, is a safetensors file."""
    return start[LENGTH_BYTES : LENGTH_BYTES + 1] == b"{"


def read_safetensors(path: Path) -> dict[str, Any]:
    """Read a checkpoint's content; of a file of somebody else, its tensors by name.

    The library checks that offsets, shapes and kinds go together and with the file's size.

    Raises:
        CheckpointError: the file is damaged, or larger than any checkpoint.
        UserError: safetensors is not installed.
    """
    library = optional_package("safetensors.torch", f"to read {path}", EXPORT_REQUIREMENTS)
    try:
        with path.open("rb") as file:
            text = _entry(file)
            file.seek(0)
            tensors: dict[str, Tensor] = library.load(file.read())
        return tensors if text is None else _content(parse_json(text), tensors)
    except OSError as problem:
        raise CheckpointError(f"{path} cannot be read: {problem.strerror}") from None
    except Exception as problem:  # safetensors and torch have one for each cause
        reason = ascii(in_one_line(problem))[1:-1]  # names in the file may move the cursor
        raise CheckpointError(
            f"{path} is a damaged safetensors file: {reason}; {REMEDY}"
        ) from problem


def _entry(file: IO[bytes]) -> str | None:
    """Read the header, of bounded size, and return our entry of its metadata, if it has one."""
    num_bytes = os.fstat(file.fileno()).st_size
    if num_bytes > MAX_BYTES:
        raise RefusedJsonError(f"it has {num_bytes:,} bytes, at most {MAX_BYTES:,} are read")
    length = int.from_bytes(file.read(LENGTH_BYTES), "little")
    most = min(MAX_HEADER_BYTES, num_bytes - LENGTH_BYTES)
    if length > most:
        raise RefusedJsonError(f"its header claims {length:,} bytes, at most {most:,} are read")
    match parse_json(file.read(length)):
        case {"__metadata__": {"age_gender": str(text)}}:
            return text
    return None


def _content(entry: Any, tensors: dict[str, "Tensor"]) -> dict[str, Any]:
    """Put every tensor, once, where null stands for it."""
    match entry:
        case {"checkpoint": dict(rest), "sha256": str(expected)}:
            pass
        case _:
            raise RefusedJsonError(f"its metadata {ENTRY} are not what this program writes")
    if _digest(rest, tensors) != expected:
        raise RefusedJsonError("its SHA-256 is not that of what it holds")

    def fill(value: Any, name: str) -> Any:
        return tensors.pop(name, None) if value is None else value

    content: dict[str, Any] = _changed(rest, fill)
    return content


def _digest(rest: Any, tensors: dict[str, "Tensor"]) -> str:
    """Return the SHA-256 of all that a file holds, in whatever order it stands there."""
    import torch

    digest = hashlib.sha256(json.dumps(rest).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(json.dumps([name, str(tensor.dtype), tensor.shape]).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _changed(value: Any, change: Callable[[Any, str], Any], name: str = "") -> Any:
    """Change what dicts and lists in each other hold, each by the name that leads there."""
    if isinstance(value, dict):
        return {
            key: _changed(inner, change, name if key == "state_dict" else _below(name, key))
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [_changed(inner, change, _below(name, n)) for n, inner in enumerate(value)]
    return change(value, name)


def _below(name: str, key: object) -> str:
    return f"{name}.{key}" if name else str(key)
