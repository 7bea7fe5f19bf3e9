"""The original project's checkpoints: torch's zip, read without torch's unpickler."""

from __future__ import annotations

import io
import math
import struct
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.errors import CheckpointError
from utils.legacy_guard import check_plain, read_whole, refuse, refused_as
from utils.legacy_machine import Allowed, Machine, Names, Pending
from utils.legacy_names import LEAVES, data_names
from utils.legacy_pickle import run

if TYPE_CHECKING:
    import torch

_ZIP_MAGIC = b"PK\x03\x04"
_RECORD = "data.pkl"
_PREFIX = "module."
_ITEM_BYTES = {"float32": 4, "int64": 8}
_ENCRYPTED = 0x1
_MAX_DIMENSIONS = 32
_MAX_SIDE = 1 << 40
_TENSOR_BYTES = 512
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
    EOFError,
    IndexError,
    OSError,
    struct.error,
)


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
    content = read_whole(path, CheckpointError)
    with refused_as(CheckpointError, path):
        archive = _Archive(content)
        pickle = archive.read(_RECORD)
        checkpoint = run(Machine(pickle, _NAMES, archive.persistent))
        check_plain(checkpoint, LEAVES | {_torch().Tensor}, len(pickle))
        return _checked(checkpoint)


def _torch() -> Any:
    """Import torch, which only a checkpoint needs."""
    import torch

    return torch


class _Archive:
    """The records of a torch zip, none of which may be compressed, and their storages.

    Raises:
        RefusedError: no zip, or one that torch did not write.
    """

    def __init__(self, content: bytes) -> None:
        if not content.startswith(_ZIP_MAGIC):
            refuse("is no zip of torch 1.6 or later; a file of an older torch must be saved anew")
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(content))
        except _ZIP_ERRORS as problem:
            refuse(f"is a damaged zip ({type(problem).__name__})")
        self._entries = _entries(self._zip, len(content))
        self._storages: dict[str, _Storage] = {}
        if "byteorder" in self._entries and self.read("byteorder") != b"little":
            refuse("holds numbers that are not little-endian")

    def read(self, name: str) -> bytes:
        """Return a record's bytes; its checksum is checked."""
        if name not in self._entries:
            refuse(f"is a zip without the record {name[:100]!r}")
        try:
            return self._zip.read(self._entries[name])
        except _ZIP_ERRORS as problem:
            refuse(f"holds a damaged record {name[:100]!r} ({type(problem).__name__})")

    def persistent(self, machine: Machine, reference: Any) -> _Storage:
        """Turn ('storage', type, key, location, number of elements) into that storage."""
        if type(reference) is not tuple or len(reference) != 5:
            refuse("refers to something that is no storage")
        tag, kind, key, _, num_elements = reference
        dtype = _STORAGE_TYPES.get(kind) if type(kind) is Allowed else None
        if dtype is None or type(tag) is not str or tag != "storage" or type(key) is not str:
            refuse("refers to something that is no storage")
        if key not in self._storages:
            self._storages[key] = _Storage(self.read(f"data/{key}"), dtype)
        storage = self._storages[key]
        fits = type(num_elements) is int and storage.num_elements == num_elements
        if storage.dtype != dtype or not fits:
            refuse(f"holds a storage {key[:100]!r} whose size or type does not fit its tensors")
        return storage


def _entries(archive: zipfile.ZipFile, num_bytes: int) -> dict[str, zipfile.ZipInfo]:
    """Return the records by their names without the archive's own folder."""
    infos = archive.infolist()
    if any(i.compress_type != zipfile.ZIP_STORED or i.flag_bits & _ENCRYPTED for i in infos):
        refuse("is a zip with compressed or encrypted records, which torch does not write")
    # Entries may overlap in the file, so each alone being small is not enough.
    if sum(info.file_size for info in infos) > num_bytes:
        refuse("is a zip whose records claim more bytes than the file has")
    roots = {i.filename[: -len(_RECORD)] for i in infos if i.filename.endswith(f"/{_RECORD}")}
    if len(roots) != 1:
        refuse(f"is a zip with {len(roots)} records {_RECORD}, one was expected")
    root = roots.pop()
    entries = {i.filename.removeprefix(root): i for i in infos}
    if len(entries) != len(infos):
        refuse("is a zip that holds a record twice")
    return entries


class _Storage:
    """The numbers that tensors are views of.

    Raises:
        RefusedError: the bytes are no whole number of elements.
    """

    __slots__ = ("dtype", "flat", "num_elements")

    def __init__(self, content: bytes, dtype: str) -> None:
        torch = _torch()
        if len(content) % _ITEM_BYTES[dtype]:
            refuse("holds a storage that is cut short")
        self.dtype = dtype
        self.num_elements = len(content) // _ITEM_BYTES[dtype]
        kind = getattr(torch, dtype)
        self.flat = (
            torch.frombuffer(bytearray(content), dtype=kind)
            if content
            else torch.empty(0, dtype=kind)
        )


def _tensor(machine: Machine, args: tuple[Any, ...]) -> Any:
    """Do what `_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks)` does."""
    if len(args) not in (6, 7) or type(args[0]) is not _Storage:
        refuse("holds a tensor that is not made of a storage")
    storage, offset, size, stride = args[:4]
    machine.spend(_TENSOR_BYTES)
    for numbers in (size, stride, (offset,)):
        _check_sizes(numbers)
    count = math.prod(size)
    if len(size) != len(stride) or count > storage.num_elements:
        refuse("holds a tensor that is larger than its storage")
    if count == 0:
        _check_sizes((math.prod(side or 1 for side in size),))
        return storage.flat.new_empty(size)
    last = offset + sum((side - 1) * step for side, step in zip(size, stride, strict=True))
    if last >= storage.num_elements:
        refuse("holds a tensor that reaches beyond its storage")
    return storage.flat.as_strided(size, stride, offset)


def _check_sizes(numbers: Any) -> None:
    if type(numbers) is not tuple or len(numbers) > _MAX_DIMENSIONS:
        refuse("holds a tensor whose shape is no tuple of sizes")
    if not all(type(number) is int and 0 <= number <= _MAX_SIDE for number in numbers):
        refuse("holds a tensor with a negative or an absurd size")


def _ordered_dict(machine: Machine, args: tuple[Any, ...]) -> dict[Any, Any]:
    if args:
        refuse("calls OrderedDict with arguments")
    return {}


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
    tensor = _torch().Tensor
    if not all(type(k) is str and type(v) is tensor for k, v in state_dict.items()):
        refuse("holds a state_dict of something else than named tensors")
    stripped = {name.removeprefix(_PREFIX): value for name, value in state_dict.items()}
    if len(stripped) != len(state_dict):
        refuse(f"holds a name in its state_dict with and without {_PREFIX!r}")
    return stripped


_FLOAT_STORAGE, _LONG_STORAGE = Allowed("torch.FloatStorage"), Allowed("torch.LongStorage")
_STORAGE_TYPES = {_FLOAT_STORAGE: "float32", _LONG_STORAGE: "int64"}
_NAMES: Names = {
    ("collections", "OrderedDict"): Allowed("collections.OrderedDict", _ordered_dict),
    ("torch._utils", "_rebuild_tensor_v2"): Allowed("_rebuild_tensor_v2", _tensor),
    ("torch", "FloatStorage"): _FLOAT_STORAGE,
    ("torch", "LongStorage"): _LONG_STORAGE,
    ("parse_config", "ConfigParser"): Allowed("parse_config.ConfigParser", new=_config_parser),
    **data_names(writable=True),
}
