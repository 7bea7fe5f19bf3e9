"""The zip of a checkpoint as torch writes it: uncompressed records, each with a checksum.

Neither torch's zip reader nor its unpickler sees the file: the one inflates what a record claims
and skips the checksums, the other may make more than the file holds.
"""

from __future__ import annotations

import math
import os
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from utils.errors import CheckpointError
from utils.legacy_guard import check_plain, refuse, refused_as
from utils.legacy_machine import Allowed, Machine, Names
from utils.legacy_names import LEAVES
from utils.legacy_pickle import run

_ZIP_MAGIC = b"PK\x03\x04"
_RECORD = "data.pkl"
_MAX_PICKLE_BYTES = 64 << 20
"""An ensemble of a thousand networks takes a quarter of it."""

_DTYPES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}
ALL_STORAGES = tuple(_DTYPES)
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


def read_torch_zip(path: Path, names: Names) -> Any:
    """Read what `torch.save` wrote, without torch's reader.

    Every record that is read is held against its checksum, and what is made of the file against the
    file's size.

    Args:
        path: of the file.
        names: what the pickle may name, beside tensors; see `tensor_names`.

    Returns:
        dicts, lists, tuples, plain values, numpy's, and CPU tensors. Tensors that shared a storage
        still share it.

    Raises:
        CheckpointError: the file is missing, damaged, no torch zip (torch before 1.6 wrote none),
            or holds anything else.
    """
    with refused_as(CheckpointError, path), _opened(path) as file:
        archive = _Archive(file)
        pickle = archive.read(_RECORD, _MAX_PICKLE_BYTES)
        content = run(Machine(pickle, names, archive.persistent))
        check_plain(content, LEAVES | {_torch().Tensor}, len(pickle))
        return content


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    if not path.is_file():
        raise CheckpointError(
            f"{path} is no regular file" if path.exists() else f"{path}: no such file"
        )
    try:
        with path.open("rb") as file:
            yield file
    except OSError as problem:
        raise CheckpointError(f"{path} cannot be read: {problem.strerror}") from None


def tensor_names(*storages: str) -> Names:
    """Return the allow-list of tensors whose storages are of these classes of torch."""
    return {
        ("collections", "OrderedDict"): Allowed("collections.OrderedDict", _ordered_dict),
        ("torch._utils", "_rebuild_tensor_v2"): Allowed("_rebuild_tensor_v2", _tensor),
        **{("torch", name): _STORAGES[name] for name in storages},
    }


def _torch() -> Any:
    """Import torch, which only a checkpoint needs."""
    import torch

    return torch


class _Archive:
    """The records of a torch zip, none of which may be compressed, and their storages.

    Raises:
        RefusedError: no zip, or one that torch did not write.
    """

    def __init__(self, file: IO[bytes]) -> None:
        if file.read(len(_ZIP_MAGIC)) != _ZIP_MAGIC:
            refuse("is no zip of torch 1.6 or later; a file of an older torch must be saved anew")
        try:
            self._zip = zipfile.ZipFile(file)
        except _ZIP_ERRORS as problem:
            refuse(f"is a damaged zip ({type(problem).__name__})")
        self._entries = _entries(self._zip, os.fstat(file.fileno()).st_size)
        self._storages: dict[str, _Storage] = {}
        if "byteorder" in self._entries and self.read("byteorder") != b"little":
            refuse("holds numbers that are not little-endian")

    def read(self, name: str, most: int | None = None) -> bytes:
        """Return a record's bytes, `most` of them or fewer; its checksum is checked."""
        if name not in self._entries:
            refuse(f"is a zip without the record {name[:100]!r}")
        size = self._entries[name].file_size
        if most is not None and size > most:
            refuse(f"holds a record {name[:100]!r} of {size:,} bytes, at most {most:,} are read")
        try:
            return self._zip.read(self._entries[name])
        except _ZIP_ERRORS as problem:
            refuse(f"holds a damaged record {name[:100]!r} ({type(problem).__name__})")

    def persistent(self, machine: Machine, reference: Any) -> _Storage:
        """Turn ('storage', type, key, location, number of elements) into that storage."""
        if type(reference) is not tuple or len(reference) != 5:
            refuse("refers to something that is no storage")
        tag, kind, key, _, num_elements = reference
        dtype = _DTYPES.get(kind.label) if type(kind) is Allowed else None
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
        kind = getattr(torch, dtype)
        if len(content) % kind.itemsize:
            refuse("holds a storage that is cut short")
        self.dtype = dtype
        self.num_elements = len(content) // kind.itemsize
        if not content:
            self.flat = torch.empty(0, dtype=kind)
        elif kind is torch.bool:  # whose bytes must be 0 or 1
            self.flat = torch.frombuffer(bytearray(content), dtype=torch.uint8) != 0
        else:
            self.flat = torch.frombuffer(bytearray(content), dtype=kind)


def _tensor(machine: Machine, args: tuple[Any, ...]) -> Any:
    """Do what `_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks)` does."""
    if len(args) not in (6, 7) or type(args[0]) is not _Storage:
        refuse("holds a tensor that is not made of a storage")
    if args[6:] not in ((), ({},)):
        refuse("holds a tensor that stands for other numbers than those of its storage")
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


_STORAGES = {name: Allowed(name) for name in _DTYPES}
