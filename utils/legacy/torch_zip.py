"""Checkpoints: the zip that torch writes, of uncompressed records with checksums.

torch.load is not given what strangers made, with `weights_only` either: it inflates what a record
claims, skips the checksums, hashes any key, and calls more than tensors need with any size
(`bytearray`, `_codecs.encode`, tensor types). All it reads would have to be read before it.
"""

import math
import os
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from utils.errors import CheckpointError
from utils.legacy.refusal import refuse, refused_as
from utils.legacy.stand_ins import (
    BYTES_NAMES,
    DATA_NAMES,
    LEAVES,
    ConfigObject,
    NamedType,
    Names,
    Spend,
)
from utils.legacy.unpickler import PlainUnpickler

ZIP_MAGIC = b"PK\x03\x04"
PICKLE = "data.pkl"
MAX_PICKLE_BYTES = 64 << 20
"""An ensemble of a thousand networks takes a quarter of it."""

ENCRYPTED = 0x1
MAX_DIMENSIONS = 32
MAX_EMPTY_SIZE = 1 << 40
TENSOR_BYTES = 512
ZIP_ERRORS = (
    *(zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, OverflowError),
    *(EOFError, IndexError, OSError, struct.error),
)
DTYPES = {
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


@dataclass(frozen=True, slots=True, eq=False)
class TensorStorage:
    """Numbers that tensors are views of: a 1-d tensor."""

    flat: Any


def read_torch_zip(path: Path) -> tuple[Any, bool]:
    """Read what `torch.save` wrote, here or in the original project.

    Every record that is read is held against its checksum, and what is made of the file against the
    file's size.

    Returns:
        dicts, lists, tuples, plain values, numpy's, and CPU tensors, and whether the original
        project wrote them. Tensors that shared a storage still share it. The original's
        ConfigParser is the dict that it held, its paths are str.

    Raises:
        CheckpointError: the file is missing, damaged, no torch zip (torch before 1.6 wrote none),
            or holds anything else.
    """
    import torch

    if not path.is_file():
        problem = (
            "is no regular file, a checkpoint was expected"
            if path.exists()
            else "no such checkpoint"
        )
        raise CheckpointError(f"{path}: {problem}")
    try:
        with refused_as(CheckpointError, path), path.open("rb") as file:
            unpickler = TensorUnpickler(TorchZip(file))
            content = unpickler.read_plain(LEAVES | {torch.Tensor})
            is_original = not unpickler.named <= OUR_NAMES.keys()
            if is_original and not unpickler.named <= ORIGINAL_NAMES.keys():
                names = sorted(".".join(name) for name in unpickler.named - ORIGINAL_NAMES.keys())
                refuse(f"names {names[0]!r}, which the original project's checkpoints do not")
            return content, is_original
    except OSError as problem:
        raise CheckpointError(f"{path} cannot be read: {problem.strerror}") from None


class TorchZip:
    """The records of a torch zip, by their names without the archive's own folder.

    Raises:
        RefusedError: no zip, or one that torch did not write.
    """

    def __init__(self, file: IO[bytes]) -> None:
        if file.read(len(ZIP_MAGIC)) != ZIP_MAGIC:
            refuse("is no zip of torch 1.6 or later; a file of an older torch must be saved anew")
        try:
            self._zip = zipfile.ZipFile(file)
        except ZIP_ERRORS as problem:
            refuse(f"is a damaged zip ({type(problem).__name__})")
        infos = self._zip.infolist()
        if any(i.compress_type != zipfile.ZIP_STORED or i.flag_bits & ENCRYPTED for i in infos):
            refuse("is a zip with compressed or encrypted records, which torch does not write")
        # Entries may overlap in the file, so each alone being small is not enough.
        if sum(info.file_size for info in infos) > os.fstat(file.fileno()).st_size:
            refuse("is a zip whose records claim more bytes than the file has")
        roots = {i.filename[: -len(PICKLE)] for i in infos if i.filename.endswith(f"/{PICKLE}")}
        if len(roots) != 1:
            refuse(f"is a zip with {len(roots)} records {PICKLE}, one was expected")
        root = roots.pop()
        self._infos = {info.filename.removeprefix(root): info for info in infos}
        if len(self._infos) != len(infos):
            refuse("is a zip that holds a record twice")
        if "byteorder" in self._infos and self.read("byteorder") != b"little":
            refuse("holds numbers that are not little-endian")

    def read(self, name: str, max_bytes: int | None = None) -> bytes:
        """Return a record's bytes, `max_bytes` of them or fewer; its checksum is checked."""
        if name not in self._infos:
            refuse(f"is a zip without the record {name[:100]!r}")
        size = self._infos[name].file_size
        if max_bytes is not None and size > max_bytes:
            refuse(f"holds a record {name!r} of {size:,} bytes, at most {max_bytes:,} are read")
        try:
            return self._zip.read(self._infos[name])
        except ZIP_ERRORS as problem:
            refuse(f"holds a damaged record {name[:100]!r} ({type(problem).__name__})")


class TensorUnpickler(PlainUnpickler):
    """Reads the pickle of a torch zip, whose tensors are in records of their own."""

    def __init__(self, file: TorchZip) -> None:
        content = file.read(PICKLE, MAX_PICKLE_BYTES)
        super().__init__(content, {**OUR_NAMES, **ORIGINAL_NAMES})
        self._file = file
        self._storages: dict[str, TensorStorage] = {}

    def persistent_load(self, pid: Any) -> TensorStorage:
        """Read the storage of ('storage', type, key, location, number of elements)."""
        _, kind, key, _, num_elements = pid
        if type(kind) is not NamedType or kind.name not in DTYPES or type(key) is not str:
            refuse("refers to something that is no storage")
        self.spend(TENSOR_BYTES)
        if key not in self._storages:
            self._storages[key] = _storage_of(self._file.read(f"data/{key}"), DTYPES[kind.name])
        flat = self._storages[key].flat
        if str(flat.dtype) != f"torch.{DTYPES[kind.name]}" or num_elements != len(flat):
            refuse(f"holds a storage {key[:100]!r} whose size or type does not fit its tensors")
        return self._storages[key]


def _storage_of(content: bytes, dtype: str) -> TensorStorage:
    import torch

    kind = getattr(torch, dtype)
    if len(content) % kind.itemsize:
        refuse("holds a storage that is cut short")
    if not content:
        return TensorStorage(torch.empty(0, dtype=kind))
    if kind is torch.bool:  # whose bytes must be 0 or 1
        return TensorStorage(torch.frombuffer(bytearray(content), dtype=torch.uint8) != 0)
    return TensorStorage(torch.frombuffer(bytearray(content), dtype=kind))


def tensor(
    spend: Spend,
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    grad: Any,
    hooks: Any,
    *rest: Any,
) -> Any:
    """Do what `_rebuild_tensor_v2` does, which torch checks against the storage."""
    spend(TENSOR_BYTES)
    if type(storage) is not TensorStorage or rest not in ((), ({},)):
        refuse("holds a tensor that stands for other numbers than those of a storage")
    is_too_large = math.prod(size) > len(storage.flat) or len(size) > MAX_DIMENSIONS
    if is_too_large or math.prod(side or 1 for side in size) > MAX_EMPTY_SIZE:
        refuse("holds a tensor that is larger than its storage")
    return storage.flat.as_strided(size, stride, offset)


def parameter(spend: Spend, data: Any, *_: Any) -> Any:
    """Take the tensor out of a parameter, as a state_dict that somebody else wrote may hold."""
    return data


def ordered_dict(spend: Spend) -> dict[Any, Any]:
    """Make a plain dict."""
    return {}


def counter(spend: Spend, counts: Any = None) -> Any:
    """Make a plain dict of the milestones of a MultiStepLR, which are a Counter."""
    return {} if counts is None else counts


STORAGES: dict[tuple[str, str], NamedType] = {("torch", name): NamedType(name) for name in DTYPES}
SHARED_NAMES: Names = {
    **BYTES_NAMES,
    ("collections", "OrderedDict"): ordered_dict,
    ("torch._utils", "_rebuild_tensor_v2"): tensor,
}
OUR_NAMES: Names = {
    **SHARED_NAMES,
    **STORAGES,
    ("torch._utils", "_rebuild_parameter"): parameter,
    ("collections", "Counter"): counter,
}
ORIGINAL_NAMES: Names = {
    **SHARED_NAMES,
    **DATA_NAMES,
    **{name: STORAGES[name] for name in (("torch", "FloatStorage"), ("torch", "LongStorage"))},
    ("parse_config", "ConfigParser"): ConfigObject,
}
