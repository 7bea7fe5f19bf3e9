"""The forms in which jsonpickle spells numpy's arrays, scalars and dtypes, one by one."""

import binascii
import math
import reprlib
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from faces.wire import (
    ARRAY_TYPE,
    BYTES,
    DTYPE_TYPE,
    EMPTY_ARRAY,
    FUNCTION,
    OBJECT,
    RECONSTRUCT,
    REDUCE,
    SCALAR,
    TUPLE,
    TYPE,
)

MAX_DECODED_BYTES = 4 * 2**20
"""Bytes that all arrays of an answer may take together: zlib makes a lot of a little."""

MAX_DIMENSIONS = 8
MAX_ELEMENTS = 2**22

_SHORT_NAMES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")
_LONG_NAMES = {np.dtype(name).name: name for name in _SHORT_NAMES}
_SCALAR_TYPES = {f"numpy.{name}" for name in _LONG_NAMES if name != "bool"}
_STATE_AFTER_ORDER = [None, None, None, -1, -1, 0]
_HANDLER_KEYS = {OBJECT, "dtype", "values", "shape", "byteorder", "order", "writeable"}

Array = npt.NDArray[Any]


class WireError(ValueError):
    """An answer of a face server is not what such a server says."""


def _both_names(name: str) -> set[str]:
    """Give the name of a numpy function before and since numpy 2."""
    return {name, name.replace("numpy.core.", "numpy._core.")}


_RECONSTRUCTS, _SCALARS = _both_names(RECONSTRUCT), _both_names(SCALAR)


class ArrayReader:
    """Reads every object of an answer that has a py/ key.

    Args:
        value: reads any node at a depth; used for what may be a reference.
        count: gives the next number to a list or dict inside an array.
    """

    def __init__(self, value: Callable[[Any, int], Any], count: Callable[[], object]) -> None:
        self._value = value
        self._count = count
        self._bytes_left = MAX_DECODED_BYTES

    def read(self, node: dict[str, Any], depth: int) -> Array | np.dtype[Any]:
        """Read an array, a scalar as an array without dimensions, or a dtype."""
        if node.keys() == {REDUCE}:
            return self._reduced(node[REDUCE], depth)
        kind = node.get(OBJECT)
        if kind == ARRAY_TYPE and node.keys() <= _HANDLER_KEYS:
            return self._handled_array(node)
        if isinstance(kind, str) and kind in _SCALAR_TYPES:
            return self._handled_scalar(node)
        raise refusal(node)

    def _reduced(self, parts: Any, depth: int) -> Array | np.dtype[Any]:
        if not isinstance(parts, list) or not parts or not isinstance(parts[0], dict):
            raise refusal(parts)
        if parts[0] == {TYPE: DTYPE_TYPE}:
            return _dtype(parts)
        name = parts[0].get(FUNCTION)
        if len(parts[0]) == 1 and isinstance(name, str):
            if name in _RECONSTRUCTS and len(parts) == 3 and parts[1] == EMPTY_ARRAY:
                return self._array(_tuple(parts[2], 5), depth)
            if name in _SCALARS and len(parts) == 2:
                dtype, content = _tuple(parts[1], 2)
                return self._build((), self._dtype_of(dtype, depth), _decode(content), "C")
        raise refusal(parts)

    def _array(self, state: list[Any], depth: int) -> Array:
        version, shape, dtype, is_fortran, content = state
        if version != 1 or not isinstance(is_fortran, bool):
            raise refusal(state)
        dimensions = _shape(_tuple(shape))
        order = "F" if is_fortran else "C"
        return self._build(dimensions, self._dtype_of(dtype, depth), _decode(content), order)

    def _dtype_of(self, node: Any, depth: int) -> np.dtype[Any]:
        dtype = self._value(node, depth)
        if not isinstance(dtype, np.dtype):
            raise WireError(f"has a {type(dtype).__name__} in place of a dtype")
        return dtype

    def _spend(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
        """Give the bytes that an array takes, having checked that there is room for them."""
        num_bytes = math.prod(shape) * dtype.itemsize
        self._bytes_left -= num_bytes
        if self._bytes_left < 0:
            raise WireError(f"has arrays of more than {MAX_DECODED_BYTES} bytes")
        return num_bytes

    def _build(
        self, shape: tuple[int, ...], dtype: np.dtype[Any], content: bytes, order: str
    ) -> Array:
        num_bytes = self._spend(shape, dtype)
        if len(content) != num_bytes:
            raise WireError(f"has {len(content)} bytes for {dtype} {shape}, expected {num_bytes}")
        return _reshaped(np.frombuffer(content, dtype), shape, order)

    def _handled_array(self, node: dict[str, Any]) -> Array:
        dtype = _named_dtype(node.get("dtype"))
        values, order = node.get("values"), node.get("order", "C")
        if order not in ("C", "F") or not isinstance(node.get("writeable", True), bool):
            raise refusal(node)
        if isinstance(values, str):
            return self._compressed(node, dtype, order)
        array = self._nested(values, dtype)
        if "shape" in node:
            if array.size != 0 or math.prod(_shape(node["shape"])) != 0:
                raise refusal(node)
            array = _reshaped(array, _shape(node["shape"]))
        return array

    def _compressed(self, node: dict[str, Any], dtype: np.dtype[Any], order: str) -> Array:
        byte_order = node.get("byteorder", "|")
        if byte_order not in _byte_orders(dtype):
            raise refusal(node)
        dtype, shape = dtype.newbyteorder(byte_order), _shape(node.get("shape"))
        num_bytes = math.prod(shape) * dtype.itemsize
        if num_bytes > self._bytes_left:
            raise WireError(f"has arrays of more than {MAX_DECODED_BYTES} bytes")
        return self._build(shape, dtype, _inflate(_base64(node["values"]), num_bytes), order)

    def _nested(self, values: Any, dtype: np.dtype[Any]) -> Array:
        shape = _nested_shape(values)
        self._spend(shape, dtype)
        numbers: list[Any] = []
        self._flatten(values, shape, numbers)
        try:
            with np.errstate(over="ignore"):  # becomes infinite
                return np.array(numbers, dtype).reshape(shape)
        except (OverflowError, ValueError) as error:  # a number beyond the dtype; NaN as an integer
            raise WireError(f"has a number that is no {dtype}: {error}"[:200]) from None

    def _flatten(self, values: Any, shape: tuple[int, ...], numbers: list[Any]) -> None:
        """Append the numbers of nested lists that have to be of this shape; count the lists."""
        if not shape:
            if not isinstance(values, bool | int | float):
                raise refusal(values)
            numbers.append(values)
            return
        if not isinstance(values, list) or len(values) != shape[0]:
            raise WireError(f"has nested lists of uneven length: {reprlib.repr(values)}")
        self._count()
        for item in values:
            self._flatten(item, shape[1:], numbers)

    def _handled_scalar(self, node: dict[str, Any]) -> Array:
        dtype = _named_dtype(node.get("dtype"))
        if node.keys() != {OBJECT, "dtype", "value"} or node[OBJECT] != f"numpy.{dtype.name}":
            raise refusal(node)
        if isinstance(node["value"], list):
            raise refusal(node)
        return self._nested(node["value"], dtype)


def refusal(node: Any) -> WireError:
    """Make the error for a form that is not in the grammar."""
    return WireError(f"has a form that no array has: {reprlib.repr(node)}")


def _tuple(node: Any, length: int | None = None) -> list[Any]:
    items = node[TUPLE] if isinstance(node, dict) and node.keys() == {TUPLE} else None
    if not isinstance(items, list) or (length is not None and len(items) != length):
        raise refusal(node)
    return items


def _shape(items: Any) -> tuple[int, ...]:
    if (
        not isinstance(items, list)
        or len(items) > MAX_DIMENSIONS
        or not all(type(item) is int and item >= 0 for item in items)
        or math.prod(max(1, item) for item in items) > MAX_ELEMENTS  # also beside a 0
    ):
        raise WireError(f"has an array of the shape {reprlib.repr(items)}")
    return tuple(items)


def _reshaped(array: Array, shape: tuple[int, ...], order: str = "C") -> Array:
    try:
        return array.reshape(shape, order="F" if order == "F" else "C")
    except ValueError as error:
        raise WireError(f"has an array of the shape {shape}: {error}"[:200]) from None


def _nested_shape(values: Any) -> tuple[int, ...]:
    """Tell the shape of nested lists by the first list at each level."""
    shape: list[int] = []
    while isinstance(values, list):
        shape.append(len(values))
        values = values[0] if values else None
    return _shape(shape)


def _dtype(parts: list[Any]) -> np.dtype[Any]:
    if len(parts) != 3:
        raise refusal(parts)
    (name, *flags), (version, byte_order, *rest) = _tuple(parts[1], 3), _tuple(parts[2], 8)
    if name not in _SHORT_NAMES or flags != [False, True]:
        raise refusal(parts)
    dtype = np.dtype(name)
    if version != 3 or byte_order not in _byte_orders(dtype) or rest != _STATE_AFTER_ORDER:
        raise refusal(parts)
    return np.dtype(f"{byte_order}{name}")


def _named_dtype(name: Any) -> np.dtype[Any]:
    if not isinstance(name, str) or name not in _LONG_NAMES:
        raise WireError(f"has the dtype {reprlib.repr(name)}")
    return np.dtype(_LONG_NAMES[name])


def _byte_orders(dtype: np.dtype[Any]) -> tuple[str, ...]:
    return ("|",) if dtype.itemsize == 1 else ("<", ">")


def _decode(node: Any) -> bytes:
    if not isinstance(node, dict) or node.keys() != {BYTES}:
        raise refusal(node)
    return _base64(node[BYTES])


def _base64(text: Any) -> bytes:
    if not isinstance(text, str):
        raise refusal(text)
    try:
        return binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except ValueError as error:  # not ASCII, or not base64
        raise WireError(f"has bytes that are not base64: {error}"[:200]) from None


def _inflate(content: bytes, num_bytes: int) -> bytes:
    """Decompress to exactly `num_bytes`, and never to more."""
    inflater = zlib.decompressobj()
    try:
        result = inflater.decompress(content, num_bytes + 1)
    except zlib.error as error:
        raise WireError(f"has bytes that are not zlib's: {error}") from None
    if len(result) != num_bytes or not inflater.eof or inflater.unused_data:
        raise WireError(f"has compressed bytes of another length than {num_bytes}")
    return result
