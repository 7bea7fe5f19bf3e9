"""The original project's checkpoints: torch's zip, read without torch's unpickler."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.errors import CheckpointError
from utils.legacy_guard import refuse, refused_as
from utils.legacy_machine import Allowed, Machine, Names, Pending
from utils.legacy_names import data_names
from utils.torch_zip import read_torch_zip, tensor_names

if TYPE_CHECKING:
    import torch

_PREFIX = "module."


def load_pth(path: Path | str) -> dict[str, Any]:
    """Read a checkpoint of the original: `age.pth`, `gender.pth`, `model_best.pth`.

    Returns:
        the checkpoint's dict. `state_dict`: name to CPU tensor, without `module.`; `config`: the
        plain dict that the original's ConfigParser held; `optimizer` and the rest: plain values and
        CPU tensors; paths are str. Tensors that shared a storage still share it.

    Raises:
        CheckpointError: the file is missing, damaged, no torch zip (torch before 1.6 wrote none),
            or holds anything else.
    """
    path = Path(path)
    content = read_torch_zip(path, _NAMES)
    with refused_as(CheckpointError, path):
        return _checked(content)


def _config_parser(machine: Machine, args: tuple[Any, ...]) -> Pending:
    if args:
        refuse("makes a ConfigParser with arguments")
    return Pending(len(machine.memo), _config_of)


def _config_of(machine: Machine, state: Any) -> dict[Any, Any]:
    """Take the config out of the original's ConfigParser, whose other attributes are run paths."""
    config = state.get("_config") if type(state) is dict else None
    if type(config) is not dict:
        refuse("holds a ConfigParser without a config")
    return config


def _checked(checkpoint: Any) -> dict[str, Any]:
    if type(checkpoint) is not dict or type(checkpoint.get("state_dict")) is not dict:
        refuse("is no checkpoint: it holds no dict with a state_dict")
    if type(checkpoint.get("config", {})) is not dict:
        refuse("holds a config that is no dict")
    return {**checkpoint, "state_dict": _without_prefix(checkpoint["state_dict"])}


def _without_prefix(state_dict: dict[Any, Any]) -> dict[str, torch.Tensor]:
    """Strip what DataParallel puts before every name."""
    from torch import Tensor

    if not all(type(k) is str and type(v) is Tensor for k, v in state_dict.items()):
        refuse("holds a state_dict of something else than named tensors")
    stripped = {name.removeprefix(_PREFIX): value for name, value in state_dict.items()}
    if len(stripped) != len(state_dict):
        refuse(f"holds a name in its state_dict with and without {_PREFIX!r}")
    return stripped


_NAMES: Names = {
    **tensor_names("FloatStorage", "LongStorage"),
    ("parse_config", "ConfigParser"): Allowed("parse_config.ConfigParser", new=_config_parser),
    **data_names(writable=True),
}
