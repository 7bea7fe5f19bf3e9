"""What stands for the names in pickles of arrays and paths: functions that check every argument.

Each takes `spend` first, which pays for the memory that a call takes. Wrong numbers and types of
arguments may raise what they raise: the unpickler calls such a pickle damaged.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from utils.legacy.refusal import refuse

MAX_PATH_LENGTH = 4096
MAX_DIMENSIONS = 32
MAX_EMPTY_SIDE = 1 << 16
ARRAY_BYTES = 128
MAX_COPIED_BYTES = 1000
"""numpy copies contents up to this size, and shares longer ones."""

CODE = re.compile(r"f[248]|[iu][1248]|b1|U[1-9][0-9]{0,3}")

Spend = Callable[[int], None]
"""Pays for so many bytes of memory; refuses when the budget is spent."""


@dataclass(frozen=True, slots=True, eq=False)
class NamedType:
    """Stands for a class that is named and never called."""

    name: str


Names = Mapping[tuple[str, str], NamedType | Callable[..., Any]]
"""An allow-list: (module, name), and what stands for it."""


class Dtype:
    """Stands for a numpy.dtype: of plain numbers, of text, or of objects if `has_objects`.

    An array of objects can hold itself, and such a one is never freed.

    Attributes:
        numpy: the dtype, in the byte order of the file.
    """

    def __init__(
        self, spend: Spend, code: Any, align: Any, copy: Any, *, has_objects: bool = False
    ) -> None:
        if type(code) is not str or not (
            CODE.fullmatch(code) or (has_objects and code in ("O", "O8"))
        ):
            refuse(f"holds values of the dtype {code if type(code) is str else None!r:.50}")
        self.numpy: np.dtype[Any] = np.dtype(code)

    def set_state(self, state: Any) -> None:
        """Take the byte order out of a state of eight values."""
        _, order, subdtype, names, fields, _, _, _ = state  # version first; size, alignment, flags
        if type(order) is not str or order not in ("<", ">", "|"):
            refuse("holds a dtype without a byte order")
        if not subdtype is names is fields is None:
            refuse("holds a dtype that is not a plain one")
        self.numpy = self.numpy.newbyteorder(">" if order == ">" else "<")


class ConfigObject:
    """Stands for the object in which the original project's checkpoints hold their config."""

    def __init__(self, spend: Spend) -> None:
        """Take no arguments."""


def config_of(state: Any) -> dict[Any, Any]:
    """Return the config out of the attributes of the original's object.

    Raises:
        RefusedError: there is none.
    """
    config = state.get("_config") if type(state) is dict else None
    if type(config) is not dict:
        refuse("holds a ConfigParser without a config")
    return config


def array_of(shape: Any, dtype: Any, content: Any, order: Any = "C") -> NDArray[Any]:
    """View bytes as an array of plain numbers.

    Raises:
        RefusedError: shape, dtype and bytes do not fit each other.
    """
    if type(dtype) is not Dtype or dtype.numpy.kind in "OU":
        refuse("holds an array that is not of plain numbers")
    if type(content) not in (bytes, bytearray):
        refuse("holds an array whose content is no bytes")
    if num_elements(shape) * dtype.numpy.itemsize != len(content):
        refuse(f"holds an array of {len(content)} bytes whose shape and dtype do not fit them")
    return np.ndarray(shape, dtype.numpy, content, order=order)


def num_elements(shape: Any) -> int:
    """Count the elements of an array of this shape."""
    if type(shape) is not tuple or len(shape) > MAX_DIMENSIONS:
        refuse("holds an array whose shape is no tuple of sizes")
    if not all(type(side) is int and side >= 0 for side in shape):
        refuse("holds an array whose shape is no tuple of sizes")
    count = math.prod(shape)
    if count == 0 and max(shape) > MAX_EMPTY_SIDE:
        refuse("holds an empty array with an absurd shape")
    return count


def reconstruct(spend: Spend, kind: Any, shape: Any, code: Any) -> NDArray[Any]:
    """Make the empty array that `set_array_state` fills."""
    if kind is not NDARRAY:
        refuse("makes an array of something that is no numpy.ndarray")
    return np.empty(0, np.int8)


def set_array_state(spend: Spend, array: NDArray[Any], state: Any) -> None:
    """Fill an array with (version, shape, dtype, is in Fortran order, content).

    The content is bytes, which the array then shares where numpy lets it, or a list of objects.
    """
    _, shape, dtype, is_fortran, content = state
    if type(is_fortran) is not bool:
        refuse("holds an array in an unknown order")
    if type(dtype) is Dtype and dtype.numpy.kind == "O":
        if type(content) is not list or len(content) != num_elements(shape):
            refuse("holds an array of objects that does not fit its shape")
        spend(8 * len(content))
    elif array_of(shape, dtype, content).dtype.isnative:
        spend(ARRAY_BYTES + min(len(content), MAX_COPIED_BYTES))
    else:
        spend(ARRAY_BYTES + len(content))
    checked = (1, shape, dtype.numpy, is_fortran, content)
    array.__setstate__(checked)  # type: ignore[arg-type]  # the stubs want a bool of numpy's


def from_buffer(
    spend: Spend, content: Any, dtype: Any, shape: Any, order: Any, axes: Any = None
) -> NDArray[Any]:
    """Do what numpy's `_frombuffer` does, and make the array writable, in this machine's order."""
    if type(order) is not str or order not in ("C", "F", "K") or (order == "K") != bool(axes):
        refuse("holds an array in an unknown order")
    array = array_of(shape, dtype, content, "F" if order == "F" else "C")
    array = array.transpose(axes) if axes else array
    if array.flags.writeable and array.dtype.isnative:
        return array
    spend(array.nbytes)
    return array.astype(array.dtype.newbyteorder("="), order="K")


def scalar(spend: Spend, dtype: Any, content: Any) -> Any:
    """Make a numpy number, or a text out of numpy's."""
    if type(dtype) is not Dtype or dtype.numpy.kind != "U":
        return array_of((), dtype, content)[()]
    if len(content) != dtype.numpy.itemsize:
        refuse(f"holds a text of {len(content)} bytes that does not fit its dtype")
    spend(len(content))
    return content.decode("utf-32-le" if dtype.numpy.isnative else "utf-32-be").rstrip("\0")


def encode(spend: Spend, text: Any, encoding: Any) -> bytes:
    """Make bytes, which protocol 2 writes as text in latin-1."""
    if type(text) is not str or type(encoding) is not str or encoding != "latin1":
        refuse("calls _codecs.encode for something else than bytes")
    spend(len(text))
    return text.encode("latin-1")


def no_bytes(spend: Spend) -> bytes:
    """Make the bytes of an empty array, which protocol 2 writes as a call without arguments."""
    return b""


def path_text(spend: Spend, *parts: Any) -> str:
    """Join a path as text."""
    if sum(map(len, parts)) > MAX_PATH_LENGTH:
        refuse("holds a path that is too long")
    spend(MAX_PATH_LENGTH)
    return str(PurePosixPath(*parts))


NDARRAY = NamedType("numpy.ndarray")
BYTES_NAMES: Names = {("_codecs", "encode"): encode, ("__builtin__", "bytes"): no_bytes}
DATA_NAMES: Names = {
    **BYTES_NAMES,
    ("numpy", "ndarray"): NDARRAY,
    ("numpy", "dtype"): Dtype,
    ("pathlib", "PosixPath"): path_text,
    **{
        (f"{package}.{module}", name): stand_in
        for package in ("numpy.core", "numpy._core")
        for module, name, stand_in in (
            ("multiarray", "_reconstruct", reconstruct),
            ("multiarray", "scalar", scalar),
            ("numeric", "_frombuffer", from_buffer),
        )
    },
}
"""Of plain arrays, numpy's numbers (in both spellings of numpy), bytes and paths."""
OBJECT_NAMES: Names = {**DATA_NAMES, ("numpy", "dtype"): partial(Dtype, has_objects=True)}
"""Of arrays of objects too, whose code is O or O8."""

LEAVES = frozenset(
    [type(None), bool, int, float, str, bytes, np.ndarray, np.bool_]
    + [np.dtype(f"{kind}{size}").type for kind in "iu" for size in (1, 2, 4, 8)]
    + [np.dtype(f"f{size}").type for size in (2, 4, 8)]
)
"""The types in what was read that are no containers."""
