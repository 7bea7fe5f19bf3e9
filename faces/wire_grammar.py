"""The closed grammar of jsonpickle's JSON: dicts, lists, and numpy's arrays, scalars and dtypes.

An array is spelled as the call that rebuilds it (py/reduce), or in the words of jsonpickle's numpy
handlers (py/object). Each form is a pattern below; whatever fits none is a `WireError`. Nothing
that a text names is imported or called.
"""

import binascii
import json
import math
import reprlib
import zlib
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

MAX_OBJECTS = 2**16
MAX_DEPTH = 32
MAX_DIMENSIONS = 8
MAX_ELEMENTS = 2**22
MAX_DECODED_BYTES = 4 * 2**20
"""Bytes that all arrays of a text may take together: zlib makes a lot of a little."""

_SHORT_NAMES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")
_LONG_NAMES = {np.dtype(name).name: name for name in _SHORT_NAMES}
_ARRAY_OPTIONS = {"shape", "byteorder", "order", "writeable"}
_HANDLER_KEYS = {"py/object", "dtype", "value", "values", *_ARRAY_OPTIONS}

Array = npt.NDArray[Any]
Shape = tuple[int, ...]
Order = Literal["C", "F"]
_UNFINISHED: Final = object()
"""Stands for an object whose end has not been reached: nothing may refer to it."""


class WireError(ValueError):
    """An answer of a face server is not what such a server says."""


def read_objects(text: bytes | str) -> Any:
    """Read a text into dicts, lists, arrays, dtypes and plain values; scalars become 0-d arrays.

    Raises:
        WireError: it is not JSON, or has a form outside the grammar, or is too large.
    """
    try:
        tree = json.loads(text, object_pairs_hook=_node)
    except WireError:
        raise
    except RecursionError:
        raise WireError("is nested too deeply") from None
    except ValueError as error:  # not UTF-8, not JSON, or a number of thousands of digits
        raise WireError(f"is not JSON: {error}"[:200]) from None
    return _ObjectReader().read(tree, 0)


@dataclass(slots=True)
class _Name:
    """What a text names by py/type or py/function; it is compared, and never looked up."""

    key: str
    name: str


@dataclass(slots=True)
class _Reference:
    number: int


def _node(pairs: list[tuple[str, Any]]) -> Any:
    """Turn jsonpickle's tuples, bytes, names and references into values of their own types."""
    if len(pairs) == 1:
        [(key, value)] = pairs
        if key == "py/tuple" and isinstance(value, list):
            return tuple(value)
        if key == "py/b64" and isinstance(value, str):
            return _base64(value)
        if key in ("py/type", "py/function") and isinstance(value, str):
            return _Name(key, value.replace("numpy._core.", "numpy.core."))  # as numpy 2 calls it
        if key == "py/id" and type(value) is int:
            return _Reference(value)
        if key == "py/reduce":
            return {key: value}
    content = dict(pairs)
    is_handled = "py/object" in content and content.keys() <= _HANDLER_KEYS
    if not is_handled and any(key.startswith("py/") for key in content):
        raise _refusal(content)
    return content


class _ObjectReader:
    """Turns the JSON of one text into objects, numbered from 0 as they begin for py/id."""

    def __init__(self) -> None:
        self._objects: list[Any] = []
        self._bytes_left = MAX_DECODED_BYTES

    def read(self, node: Any, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise WireError("is nested too deeply")
        match node:
            case dict() | list():
                number = self._begin()
                self._objects[number] = found = self._object(node, depth + 1)
                return found
            case _Reference(number):
                return self._referred(number)
            case tuple() | bytes() | _Name():  # parts of a form, and no objects
                raise _refusal(node)
        return node

    def _begin(self) -> int:
        if len(self._objects) >= MAX_OBJECTS:
            raise WireError(f"has more than {MAX_OBJECTS} objects")
        self._objects.append(_UNFINISHED)
        return len(self._objects) - 1

    def _referred(self, number: int) -> Any:
        if not 0 <= number < len(self._objects):
            raise WireError(f"refers to an object that was not there before: {number}"[:200])
        if self._objects[number] is _UNFINISHED:
            raise WireError(f"has an object {number} that refers to itself")
        return self._objects[number]

    def _object(self, node: dict[str, Any] | list[Any], depth: int) -> Any:
        if isinstance(node, list):
            return [self.read(item, depth) for item in node]
        if "py/reduce" in node:
            return self._reduced(node["py/reduce"], depth)
        if "py/object" in node:
            return self._handled(node)
        return {key: self.read(item, depth) for key, item in node.items()}

    def _reduced(self, parts: Any, depth: int) -> Array | np.dtype[Any]:
        match parts:
            case [
                _Name("py/type", "numpy.dtype"),
                tuple([str(name), False, True]),
                tuple([3, str(byte_order), None, None, None, -1, -1, 0]),
            ] if name in _SHORT_NAMES:
                return _ordered(np.dtype(name), byte_order)
            case [
                _Name("py/function", "numpy.core.multiarray.scalar"),
                tuple([dtype, bytes(content)]),
            ]:
                return self._array(self._dtype(dtype, depth), (), content)
            case [
                _Name("py/function", "numpy.core.multiarray._reconstruct"),
                tuple([_Name("py/type", "numpy.ndarray"), tuple([0]), b"b"]),
                tuple([1, tuple(shape), dtype, bool(is_fortran), bytes(content)]),
            ]:
                order: Order = "F" if is_fortran else "C"
                return self._array(self._dtype(dtype, depth), _shape([*shape]), content, order)
        raise _refusal(parts)

    def _handled(self, node: dict[str, Any]) -> Array:
        match node:
            case {"py/object": "numpy.ndarray", "dtype": dtype, "values": values, **options}:
                if options.keys() <= _ARRAY_OPTIONS:
                    return self._handled_array(_named_dtype(dtype), values, options)
            case {"py/object": str(kind), "dtype": name, "value": value, **options}:
                dtype = _named_dtype(name)
                is_plain = not options and not isinstance(value, list)
                if is_plain and kind == f"numpy.{dtype.name}" and dtype.kind != "b":
                    return self._nested(value, dtype)
        raise _refusal(node)

    def _handled_array(self, dtype: np.dtype[Any], values: Any, options: dict[str, Any]) -> Array:
        order = options.get("order", "C")
        if order not in ("C", "F") or not isinstance(options.get("writeable", True), bool):
            raise _refusal(options)
        if isinstance(values, str):
            dtype = _ordered(dtype, options.get("byteorder", "|"))
            shape = _shape(options.get("shape"))
            content = _inflate(_base64(values), self._num_bytes(dtype, shape))
            return self._array(dtype, shape, content, order)
        array = self._nested(values, dtype)
        if "shape" not in options:
            return array
        shape = _shape(options["shape"])
        if array.size or math.prod(shape):  # a shape goes with values only where there are none
            raise _refusal(options)
        return array.reshape(shape)

    def _dtype(self, node: Any, depth: int) -> np.dtype[Any]:
        dtype = self.read(node, depth)
        if not isinstance(dtype, np.dtype):
            raise WireError(f"has a {type(dtype).__name__} in place of a dtype")
        return dtype

    def _num_bytes(self, dtype: np.dtype[Any], shape: Shape) -> int:
        """Return the bytes that an array takes, having checked that there is room for them."""
        num_bytes = math.prod(shape) * dtype.itemsize
        if num_bytes > self._bytes_left:
            raise WireError(f"has arrays of more than {MAX_DECODED_BYTES} bytes")
        return num_bytes

    def _array(
        self, dtype: np.dtype[Any], shape: Shape, content: bytes, order: Order = "C"
    ) -> Array:
        num_bytes = self._num_bytes(dtype, shape)
        if len(content) != num_bytes:
            raise WireError(f"has {len(content)} bytes for {dtype} {shape}, expected {num_bytes}")
        self._bytes_left -= num_bytes
        return np.frombuffer(content, dtype).reshape(shape, order=order)

    def _nested(self, values: Any, dtype: np.dtype[Any]) -> Array:
        self._check_numbers(values, MAX_DIMENSIONS)
        try:
            with np.errstate(over="ignore"):  # becomes infinite
                array = np.array(values, dtype)
        except (OverflowError, ValueError) as error:  # beyond the dtype, or lists of uneven length
            raise WireError(f"has a number that is no {dtype}: {error}"[:200]) from None
        self._bytes_left -= self._num_bytes(dtype, array.shape)
        return array

    def _check_numbers(self, values: Any, num_dimensions: int) -> None:
        """Check that nested lists hold plain numbers, and count the lists."""
        if isinstance(values, list) and num_dimensions:
            self._begin()
            for item in values:
                self._check_numbers(item, num_dimensions - 1)
        elif not isinstance(values, bool | int | float):
            raise _refusal(values)


def _refusal(node: Any) -> WireError:
    return WireError(f"has a form that no array has: {reprlib.repr(node)}")


def _shape(items: Any) -> Shape:
    if (
        not isinstance(items, list)
        or len(items) > MAX_DIMENSIONS
        or not all(type(item) is int and item >= 0 for item in items)
        or math.prod(max(1, item) for item in items) > MAX_ELEMENTS  # also beside a 0
    ):
        raise WireError(f"has an array of the shape {reprlib.repr(items)}")
    return tuple(items)


def _ordered(dtype: np.dtype[Any], byte_order: Any) -> np.dtype[Any]:
    if byte_order not in (("|",) if dtype.itemsize == 1 else ("<", ">")):
        raise _refusal(byte_order)
    return dtype.newbyteorder(byte_order)


def _named_dtype(name: Any) -> np.dtype[Any]:
    if not isinstance(name, str) or name not in _LONG_NAMES:
        raise WireError(f"has the dtype {reprlib.repr(name)}")
    return np.dtype(_LONG_NAMES[name])


def _base64(text: str) -> bytes:
    try:
        return binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except ValueError as error:  # not ASCII, or not base64
        raise WireError(f"has bytes that are not base64: {error}"[:200]) from None


def _inflate(content: bytes, num_bytes: int) -> bytes:
    """Decompress to exactly `num_bytes`, and never to more."""
    inflater = zlib.decompressobj()
    try:
        inflated = inflater.decompress(content, num_bytes + 1)
    except zlib.error as error:
        raise WireError(f"has bytes that are not zlib's: {error}") from None
    if len(inflated) != num_bytes or not inflater.eof or inflater.unused_data:
        raise WireError(f"has compressed bytes of another length than {num_bytes}")
    return inflated
