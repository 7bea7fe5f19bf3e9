"""Python's unpickler, less everything that data do not need.

It is the one of the standard library that is written in Python. The one in C cannot be narrowed
down enough: the data choose what is hashed (a deep or shared tuple as a key overflows the C stack
or never ends) and how large its memo is (one opcode asks for gigabytes). Here keys are texts or
small numbers, names stand for functions of ours that check their arguments, and what is made is
paid for from a budget that grows with the file.
"""

import io
import pickle
import struct
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, ClassVar

import numpy as np

from utils.legacy.refusal import refuse
from utils.legacy.stand_ins import (
    ConfigObject,
    Dtype,
    NamedType,
    Names,
    config_of,
    set_array_state,
)

MAX_DEPTH = 64
FREE_BYTES = 1 << 20
BYTES_PER_BYTE = 16
OBJECT_BYTES = 64
MAX_OPEN_MARKS = 1000
MAX_NUMBER_KEY = 1 << 20
MAX_NAME_LETTERS = 256

PROBLEMS = (
    *(EOFError, IndexError, KeyError, TypeError, AttributeError, ValueError, OverflowError),
    *(RuntimeError, struct.error, pickle.UnpicklingError),
)
"""What the library's unpickler and the stand-ins raise when data are damaged."""

Handler = Callable[[Any], None]


class PlainUnpickler(pickle._Unpickler):
    """Reads one pickle as plain values.

    Args:
        content: the file; the pickle ends with it.
        names: what the pickle may name.
        start: where in the file the pickle begins.

    Attributes:
        named: the names that were met.
    """

    dispatch: ClassVar[dict[int, Handler]] = {}
    stack: list[Any]
    metastack: list[list[Any]]
    read: Callable[[int], bytes]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, content: bytes, names: Names, start: int = 0) -> None:
        stream = io.BytesIO(content)
        stream.seek(start)
        super().__init__(stream)
        self.named: set[tuple[str, str]] = set()
        self._names = names
        self._num_bytes = len(content)
        self._budget = FREE_BYTES + BYTES_PER_BYTE * len(content)

    def read_plain(self, leaves: Collection[type]) -> Any:
        """Read the value: dicts, lists and tuples of `leaves`.

        Raises:
            RefusedError: the pickle names or holds something else, is damaged, or asks for far more
                memory than its own size.
        """
        try:
            value = self.load()
            rest = self.read(1)
        except PROBLEMS as problem:
            refuse(f"is damaged or cut short, or no pickle of data ({type(problem).__name__})")
        if rest or self.stack or self.metastack:
            refuse("goes on after its end, or ends in the middle of a value")
        check_plain(value, leaves, self._num_bytes)
        return value

    def spend(self, num_bytes: int) -> None:
        """Pay for memory that the data made us use.

        Raises:
            RefusedError: the data ask for far more than their own size.
        """
        self._budget -= num_bytes
        if self._budget < 0:
            refuse("unfolds to far more than its own size")

    def find_class(self, module: str, name: str) -> Any:
        """Look a name up in the allow-list."""
        stand_in = self._names.get((module, name))
        if stand_in is None:
            full_name = f"{module[:MAX_NAME_LETTERS]}.{name[:MAX_NAME_LETTERS]}"
            refuse(f"names {full_name!r}, which is not on the list of names that data need")
        self.named.add((module, name))
        return stand_in if isinstance(stand_in, NamedType) else partial(stand_in, self.spend)

    def open_mark(self) -> None:
        """Open a mark, if not too many are open."""
        if len(self.metastack) >= MAX_OPEN_MARKS:
            refuse("is nested too deep")
        LIBRARY[pickle.MARK[0]](self)

    def extend_list(self, items: list[Any]) -> None:
        """Append to the list on the stack."""
        if type(self.stack[-1]) is not list:
            refuse("appends to something that is no list")
        self.stack[-1] += items

    def update_dict(self, items: list[Any]) -> None:
        """Set keys and values, which take turns, in the dict on the stack."""
        target, keys = self.stack[-1], items[::2]
        if type(target) is not dict:
            refuse("sets items of something that is no dict")
        self.spend(OBJECT_BYTES * len(keys))
        for key in keys:
            # Other keys could be slow or fatal to hash, or be chosen to collide.
            if type(key) is not str and not (type(key) is int and 0 <= key < MAX_NUMBER_KEY):
                refuse("holds a dict with a key that is neither a text nor a small whole number")
        target.update(zip(keys, items[1::2], strict=True))

    def set_state(self) -> None:
        """Set the state of an array or a dtype, or take the config out of the original's object."""
        state, target = self.stack.pop(), self.stack[-1]
        if type(target) is np.ndarray:
            set_array_state(self.spend, target, state)
        elif type(target) is Dtype:
            target.set_state(state)
        elif type(target) is ConfigObject:
            self.stack[-1] = config_of(state)
        elif type(target) is not dict:  # a state_dict's attributes, its `_metadata`, are not kept
            refuse(f"sets attributes of a {type(target).__name__}")

    def call(self) -> None:
        """Call what stands for a name, or for a class of which an object is made."""
        arguments = self.stack.pop()
        if type(arguments) is not tuple:
            refuse("calls something with arguments that are no tuple")
        self.spend(8 * len(arguments))  # the call copies them
        self.stack[-1] = self.stack[-1](*arguments)

    def read_bytearray(self) -> None:
        """Read a bytearray; the library's makes room for it before it looks whether it is there."""
        (length,) = struct.unpack("<Q", self.read(8))
        self.stack.append(bytearray(self.read(length)))


def _charged(handler: Handler) -> Handler:
    """Let an opcode pay for the object that it makes."""

    def charged(unpickler: PlainUnpickler) -> None:
        unpickler.spend(OBJECT_BYTES)
        handler(unpickler)

    return charged


LIBRARY: dict[int, Handler] = pickle._Unpickler.dispatch
HARMLESS = (
    *(pickle.PROTO, pickle.FRAME, pickle.STOP, pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE),
    *(pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.LONG1, pickle.BINFLOAT),
    *(pickle.BINUNICODE, pickle.SHORT_BINUNICODE, pickle.BINUNICODE8, pickle.EMPTY_TUPLE),
    *(pickle.BINBYTES, pickle.SHORT_BINBYTES, pickle.BINBYTES8, pickle.BINGET, pickle.LONG_BINGET),
    *(pickle.GLOBAL, pickle.STACK_GLOBAL, pickle.BINPERSID),
)
CHARGED = (
    *(pickle.EMPTY_LIST, pickle.EMPTY_DICT),
    *(pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3),
    *(pickle.BINPUT, pickle.LONG_BINPUT, pickle.MEMOIZE),
)
PlainUnpickler.dispatch.update(
    {
        **{opcode[0]: LIBRARY[opcode[0]] for opcode in HARMLESS},
        **{opcode[0]: _charged(LIBRARY[opcode[0]]) for opcode in CHARGED},
        pickle.REDUCE[0]: _charged(PlainUnpickler.call),
        pickle.NEWOBJ[0]: _charged(PlainUnpickler.call),
        pickle.BUILD[0]: _charged(PlainUnpickler.set_state),
        pickle.BYTEARRAY8[0]: _charged(PlainUnpickler.read_bytearray),
        pickle.MARK[0]: PlainUnpickler.open_mark,
        pickle.APPEND[0]: lambda machine: machine.extend_list([machine.stack.pop()]),
        pickle.APPENDS[0]: lambda machine: machine.extend_list(machine.pop_mark()),
        pickle.SETITEM[0]: lambda machine: machine.update_dict(
            [machine.stack.pop(), machine.stack.pop()][::-1]
        ),
        pickle.SETITEMS[0]: lambda machine: machine.update_dict(machine.pop_mark()),
    }
)


def check_plain(root: Any, leaves: Collection[type], num_bytes: int) -> None:
    """Check that a value is dicts, lists and tuples of `leaves`, not deep, small when written out.

    Goes level by level, so that neither depth nor a reference cycle nor shared references, which
    double with every level, cost more than the limit. An array of objects counts as their list, and
    may be the root alone.

    Args:
        root: what was read.
        leaves: the types of the values that hold no others.
        num_bytes: the size of the pickle, the measure of "small".

    Raises:
        RefusedError: anything else, or nested too deep, or unfolding to too many values.
    """
    if type(root) is np.ndarray and root.dtype.hasobject:
        root = root.ravel().tolist()
    level: list[Any] = [[root]]
    num_left = FREE_BYTES + num_bytes
    for _ in range(MAX_DEPTH + 1):
        inner: list[Any] = []
        for container in level:
            values = container.values() if type(container) is dict else container
            num_left -= 1 + len(values)
            if num_left < 0:
                refuse("unfolds to far more values than it holds")
            inner += [value for value in values if not _is_leaf(value, leaves)]
        level = inner
    if level:
        refuse(f"is nested more than {MAX_DEPTH} levels deep, or holds itself")


def _is_leaf(value: Any, leaves: Collection[type]) -> bool:
    kind = type(value)
    if kind is np.ndarray and value.dtype.hasobject:
        refuse("holds an array that is not of plain numbers")
    if kind not in leaves and kind not in (dict, list, tuple):
        refuse(f"holds an object of the kind {kind.__name__} where values belong")
    return kind in leaves
