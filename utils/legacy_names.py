"""The names in pickles of arrays and paths, as functions of our own that check every argument."""

from __future__ import annotations

import re
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from utils.legacy_guard import refuse
from utils.legacy_machine import Allowed, Machine, Names, Pending

_CODES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")
_TEXT_CODE = re.compile(r"U[1-9][0-9]{0,3}")
_OBJECT_CODES = ("O", "O8")
_MAX_DIMENSIONS = 32
_MAX_EMPTY_SIDE = 1 << 16
MAX_PATH_LENGTH = 4096

LEAVES = frozenset(
    {type(None), bool, int, float, str, bytes, np.ndarray}
    | {np.dtype(code).type for code in _CODES}
)
"""The types in a checked result that are no containers."""


class ObjectArray:
    """An array of Python objects: its shape and, in C order, its items."""

    __slots__ = ("items", "shape")

    def __init__(self, shape: tuple[int, ...], items: list[Any]) -> None:
        self.shape = shape
        self.items = items


def data_names(*, writable: bool, objects: bool = False) -> Names:
    """Return the allow-list of arrays, numpy scalars (in both spellings of numpy) and paths.

    Args:
        writable: copy every array's bytes; without it arrays are read-only views of the pickle's
            bytes objects, which takes half the memory.
        objects: let arrays of objects through, as `ObjectArray`.
    """
    names = dict(_PLAIN_NAMES)
    reconstruct = partial(_reconstruct, writable, objects)
    for package in ("numpy.core", "numpy._core"):
        names[f"{package}.multiarray", "_reconstruct"] = Allowed("_reconstruct", reconstruct)
        names[f"{package}.multiarray", "scalar"] = Allowed("scalar", _scalar)
        names[f"{package}.numeric", "_frombuffer"] = Allowed("_frombuffer", _from_buffer)
    return names


def _reconstruct(writable: bool, objects: bool, machine: Machine, args: tuple[Any, ...]) -> Pending:
    if len(args) != 3 or args[0] is not _NDARRAY:
        refuse("makes an array of something that is no numpy.ndarray")
    return Pending(len(machine.memo), partial(_build_array, writable, objects))


def _build_array(writable: bool, objects: bool, machine: Machine, state: Any) -> Any:
    if type(state) is not tuple or len(state) != 5:
        refuse("holds an array whose state is not (version, shape, dtype, order, content)")
    _, shape, dtype, fortran, content = state
    if objects and isinstance(dtype, np.dtype) and dtype.kind == "O" and fortran is False:
        return _object_array(shape, content)
    if type(fortran) is not bool or type(content) is not bytes:
        refuse("holds an array whose content is no bytes")
    array = _array(shape, dtype, "F" if fortran else "C", content)
    return _copy(machine, array) if writable or not dtype.isnative else array


def _object_array(shape: Any, items: Any) -> ObjectArray:
    if type(items) is not list or len(items) != _num_elements(shape):
        refuse("holds an array of objects that does not fit its shape")
    return ObjectArray(shape, items)


def _array(shape: Any, dtype: Any, order: Any, content: bytes | bytearray) -> NDArray[Any]:
    if not isinstance(dtype, np.dtype) or dtype.kind in "OU":
        refuse("holds an array that is not of plain numbers")
    num_bytes = _num_elements(shape) * dtype.itemsize
    if num_bytes != len(content):
        refuse(f"holds an array of {len(content)} bytes whose shape and dtype do not fit them")
    return np.ndarray(shape, dtype, content, order=order)


def _num_elements(shape: Any) -> int:
    if type(shape) is not tuple or len(shape) > _MAX_DIMENSIONS:
        refuse("holds an array whose shape is no tuple of sizes")
    count = 1
    for side in shape:
        if type(side) is not int or side < 0:
            refuse("holds an array whose shape is no tuple of sizes")
        count *= side
    if count == 0 and max(shape) > _MAX_EMPTY_SIDE:
        refuse("holds an empty array with an absurd shape")
    return count


def _copy(machine: Machine, array: NDArray[Any]) -> NDArray[Any]:
    """Return a writable copy in the machine's own byte order, the order of the axes kept."""
    machine.spend(array.nbytes)
    return array.astype(array.dtype.newbyteorder("="), order="K")


def _from_buffer(machine: Machine, args: tuple[Any, ...]) -> NDArray[Any]:
    """Do what numpy's `_frombuffer(buffer, dtype, shape, order[, axis_order])` does."""
    if len(args) not in (4, 5) or type(args[0]) not in (bytes, bytearray):
        refuse("holds an array whose content is no bytes")
    content, dtype, shape, order = args[:4]
    if _is(order, "K") and len(args) == 5:
        return _copy(machine, _array(shape, dtype, "C", content).transpose(_axes(shape, args[4])))
    if not _is(order, "C", "F"):
        refuse("holds an array in an unknown order")
    return _copy(machine, _array(shape, dtype, order, content))


def _axes(shape: Any, axes: Any) -> tuple[int, ...]:
    if type(shape) is not tuple or type(axes) is not tuple or len(axes) > _MAX_DIMENSIONS:
        refuse("holds an array in an unknown order")
    numbers = [axis for axis in axes if type(axis) is int]
    if len(numbers) != len(axes) or sorted(numbers) != list(range(len(shape))):
        refuse("holds an array in an unknown order")
    return axes


def _scalar(machine: Machine, args: tuple[Any, ...]) -> Any:
    if len(args) != 2 or not isinstance(args[0], np.dtype) or type(args[1]) is not bytes:
        refuse("holds a numpy scalar that is not (dtype, bytes)")
    dtype, content = args
    if dtype.kind != "U":
        return _array((), dtype, "C", content)[()]
    if len(content) != dtype.itemsize:
        refuse(f"holds a text of {len(content)} bytes that does not fit its dtype")
    machine.spend(len(content))
    return content.decode("utf-32-be" if dtype.byteorder == ">" else "utf-32-le").rstrip("\0")


def _is(value: Any, *texts: str) -> bool:
    return type(value) is str and value in texts


def _dtype(machine: Machine, args: tuple[Any, ...]) -> Pending:
    code = args[0] if len(args) == 3 else None
    if type(code) is not str or not (
        code in _CODES or code in _OBJECT_CODES or _TEXT_CODE.fullmatch(code)
    ):
        refuse(f"holds values of the dtype {code if type(code) is str else None!r:.50}")
    return Pending(len(machine.memo), partial(_build_dtype, code))


def _build_dtype(code: str, machine: Machine, state: Any) -> np.dtype[Any]:
    """Take the byte order out of (3, order, subdtype, names, fields, size, alignment, flags)."""
    if type(state) is not tuple or len(state) != 8 or set(map(type, state[2:5])) != {type(None)}:
        refuse(f"holds a dtype {code} that is not a plain one")
    if not _is(state[1], "<", ">", "|"):
        refuse(f"holds a dtype {code} without a byte order")
    dtype: np.dtype[Any] = np.dtype(code)
    return dtype.newbyteorder(">") if state[1] == ">" else dtype


def _encode(machine: Machine, args: tuple[Any, ...]) -> bytes:
    """Protocol 2 writes bytes as text in latin-1."""
    if len(args) != 2 or type(args[0]) is not str or not _is(args[1], "latin1"):
        refuse("calls _codecs.encode for something else than bytes")
    machine.spend(len(args[0]))
    return args[0].encode("latin-1")


def _no_bytes(machine: Machine, args: tuple[Any, ...]) -> bytes:
    """Protocol 2 writes empty bytes, those of an empty array, as a call without arguments."""
    if args:
        refuse("calls bytes with arguments")
    return b""


def _path(machine: Machine, args: tuple[Any, ...]) -> str:
    if not all(type(part) is str for part in args) or sum(map(len, args)) > MAX_PATH_LENGTH:
        refuse("holds a path that is not made of texts, or too long a one")
    path = str(PurePosixPath(*args))
    machine.spend(len(path))
    return path


_NDARRAY = Allowed("numpy.ndarray")
_PLAIN_NAMES: Names = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): Allowed("numpy.dtype", _dtype),
    ("_codecs", "encode"): Allowed("_codecs.encode", _encode),
    ("__builtin__", "bytes"): Allowed("bytes", _no_bytes),
    ("pathlib", "PosixPath"): Allowed("pathlib.PosixPath", _path),
}
