"""A closed pickle machine: it carries out the few opcodes that hold data, and nothing else.

Python's own unpickler is not safe to narrow down by `find_class` alone: the data still choose what
is hashed (a deep or shared tuple as a key overflows the C stack or never ends), how large the memo
is (one opcode asks for gigabytes) and which attributes are set on what `find_class` handed out.
Here a name is looked up in a table of our own functions, keys are text or small numbers, and what
the opcodes build is paid for from a budget that grows with the file.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

from utils.legacy_guard import refuse
from utils.legacy_machine import Allowed, Machine, Pending

_MAX_OPEN_MARKS = 1000
_MAX_NUMBER_KEY = 1 << 20
_MAX_NAME_BYTES = 256
_CONTAINER_BYTES = 64

Handler: TypeAlias = Callable[[Machine, int], int]
"""Carries out one opcode, given where its argument starts; returns where the next opcode is."""


def run(machine: Machine, start: int = 0, max_opcodes: int | None = None) -> Any:
    """Carry out the pickle that begins at `start` and ends the data; return its value, unchecked.

    Args:
        machine: new.
        start: place of the first opcode.
        max_opcodes: more are refused; None takes any number.

    Raises:
        RefusedError: a name, opcode or value outside the allow-list, a damaged or cut file.
    """
    at, data, handlers = start, machine.data, _HANDLERS
    try:
        for _ in itertools.count() if max_opcodes is None else range(max_opcodes):
            at = handlers[data[at]](machine, at + 1)
            if at < 0:
                break
    except (IndexError, ValueError, OverflowError, struct.error):
        # Whatever reads beyond the end is followed by an opcode beyond the end.
        refuse(f"is damaged or cut short near byte {min(at, len(data))}")
    if at >= 0:
        refuse(f"has more than {max_opcodes:,} parts")
    return machine.stack[0]


def _forbidden(machine: Machine, at: int) -> int:
    opcode = machine.data[at - 1 : at]
    refuse(f"holds the pickle opcode {opcode!r} at byte {at - 1}, which none of our files holds")


def _proto(machine: Machine, at: int) -> int:
    if machine.data[at] > 5:
        refuse(f"is written in pickle protocol {machine.data[at]}, 2 to 5 were expected")
    return at + 1


def _frame(machine: Machine, at: int) -> int:
    return at + 8


def _stop(machine: Machine, at: int) -> int:
    if len(machine.stack) != 1 or machine.marks:
        refuse("ends in the middle of a value")
    if at != len(machine.data):
        refuse(f"goes on for {len(machine.data) - at} bytes after its end")
    return -1


def _mark(machine: Machine, at: int) -> int:
    if len(machine.marks) >= _MAX_OPEN_MARKS:
        refuse("is nested too deep")
    machine.marks.append(len(machine.stack))
    return at


def _constant(value: Any, machine: Machine, at: int) -> int:
    machine.stack.append(value)
    return at


def _small_number(machine: Machine, at: int) -> int:
    machine.stack.append(machine.data[at])
    return at + 1


def _fixed(layout: struct.Struct, machine: Machine, at: int) -> int:
    machine.stack += layout.unpack_from(machine.data, at)
    return at + layout.size


def _counted(
    length: struct.Struct, convert: Callable[[bytes], Any], machine: Machine, at: int
) -> int:
    start = at + length.size
    end: int = start + length.unpack_from(machine.data, at)[0]
    machine.stack.append(convert(machine.data[start:end]))
    return end


def _text(encoded: bytes) -> str:
    return encoded.decode("utf-8", "surrogatepass")


def _long(encoded: bytes) -> int:
    return int.from_bytes(encoded, "little", signed=True)


def _empty_list(machine: Machine, at: int) -> int:
    machine.spend(_CONTAINER_BYTES)
    machine.stack.append([])
    return at


def _empty_dict(machine: Machine, at: int) -> int:
    machine.spend(_CONTAINER_BYTES)
    machine.stack.append({})
    return at


def _tuple(machine: Machine, at: int) -> int:
    machine.spend(_CONTAINER_BYTES)
    machine.stack.append(tuple(machine.pop_mark()))
    return at


def _short_tuple(length: int, machine: Machine, at: int) -> int:
    machine.spend(_CONTAINER_BYTES)
    stack = machine.stack
    items = tuple(stack[-length:])
    if len(items) < length:
        refuse("takes a value that is not there")
    stack[-length:] = [items]
    return at


def _append(machine: Machine, at: int) -> int:
    value = machine.stack.pop()
    return _extend(machine.stack[-1], [value], at)


def _appends(machine: Machine, at: int) -> int:
    items = machine.pop_mark()
    return _extend(machine.stack[-1], items, at)


def _extend(target: Any, items: list[Any], at: int) -> int:
    if type(target) is not list:
        refuse("appends to something that is no list")
    target += items
    return at


def _set_item(machine: Machine, at: int) -> int:
    value = machine.stack.pop()
    key = machine.stack.pop()
    return _store(machine, [key, value], at)


def _set_items(machine: Machine, at: int) -> int:
    return _store(machine, machine.pop_mark(), at)


def _store(machine: Machine, items: list[Any], at: int) -> int:
    target = machine.stack[-1]
    keys, values = items[::2], items[1::2]
    if type(target) is not dict or len(keys) != len(values):
        refuse("sets items of something that is no dict")
    machine.spend(_CONTAINER_BYTES * len(keys))
    for key in keys:
        # Other keys could be slow or fatal to hash, or be chosen to collide.
        if type(key) is not str and not (type(key) is int and 0 <= key < _MAX_NUMBER_KEY):
            refuse("holds a dict with a key that is neither a text nor a small whole number")
    target.update(zip(keys, values, strict=True))
    return at


def _put(machine: Machine, at: int) -> int:
    return _remember(machine, machine.data[at], at + 1)


def _long_put(machine: Machine, at: int) -> int:
    index, memo = _UINT4.unpack_from(machine.data, at)[0], machine.memo
    if index != len(memo):
        return _remember(machine, index, at + 4)
    memo.append(machine.stack[-1])  # what every pickler does, eight times a record
    return at + 4


def _remember(machine: Machine, index: int, at: int) -> int:
    memo = machine.memo
    if index == len(memo):
        memo.append(machine.stack[-1])
    elif index < len(memo):
        memo[index] = machine.stack[-1]
    else:
        refuse(f"numbers an object {index} when it has named {len(memo)}")
    return at


def _memoize(machine: Machine, at: int) -> int:
    machine.memo.append(machine.stack[-1])
    return at


def _get(machine: Machine, at: int) -> int:
    machine.stack.append(machine.memo[machine.data[at]])
    return at + 1


def _long_get(machine: Machine, at: int) -> int:
    machine.stack.append(machine.memo[_UINT4.unpack_from(machine.data, at)[0]])
    return at + 4


def _global(machine: Machine, at: int) -> int:
    middle = machine.data.index(b"\n", at, at + _MAX_NAME_BYTES)
    end = machine.data.index(b"\n", middle + 1, middle + 1 + _MAX_NAME_BYTES)
    module, name = machine.data[at:middle].decode(), machine.data[middle + 1 : end].decode()
    machine.stack.append(_look_up(machine, module, name))
    return end + 1


def _stack_global(machine: Machine, at: int) -> int:
    name = machine.stack.pop()
    machine.stack[-1] = _look_up(machine, machine.stack[-1], name)
    return at


def _look_up(machine: Machine, module: Any, name: Any) -> Allowed:
    if type(module) is not str or type(name) is not str:
        refuse("names something by a value that is no text")
    allowed = machine.names.get((module, name))
    if allowed is None:
        full_name = f"{module[:_MAX_NAME_BYTES]}.{name[:_MAX_NAME_BYTES]}"
        refuse(f"names {full_name!r}, which is not on the list of names that data need")
    return allowed


def _reduce(machine: Machine, at: int) -> int:
    args, allowed = machine.stack.pop(), machine.stack[-1]
    if type(allowed) is not Allowed or allowed.call is None or type(args) is not tuple:
        refuse(f"calls {_label(allowed)}")
    machine.spend(_CONTAINER_BYTES)
    machine.stack[-1] = allowed.call(machine, args)
    return at


def _new_object(machine: Machine, at: int) -> int:
    args, allowed = machine.stack.pop(), machine.stack[-1]
    if type(allowed) is not Allowed or allowed.new is None or type(args) is not tuple:
        refuse(f"makes an object of {_label(allowed)}")
    machine.spend(_CONTAINER_BYTES)
    machine.stack[-1] = allowed.new(machine, args)
    return at


def _label(value: Any) -> str:
    return value.label if type(value) is Allowed else f"a value of the kind {type(value).__name__}"


def _build(machine: Machine, at: int) -> int:
    state, target = machine.stack.pop(), machine.stack[-1]
    if type(target) is dict and type(state) is dict:
        return at  # the attributes of an OrderedDict, such as a state_dict's `_metadata`: not kept
    if type(target) is not Pending:
        refuse(f"sets attributes of {_label(target)}")
    machine.spend(_CONTAINER_BYTES)
    value = machine.stack[-1] = target.build(machine, state)
    if target.slot < len(machine.memo) and machine.memo[target.slot] is target:
        machine.memo[target.slot] = value
    return at


def _persistent_id(machine: Machine, at: int) -> int:
    if machine.persistent is None:
        refuse("refers to something outside the pickle")
    machine.spend(_CONTAINER_BYTES)
    machine.stack[-1] = machine.persistent(machine, machine.stack[-1])
    return at


_UINT1, _UINT2, _UINT4, _UINT8 = map(struct.Struct, ("<B", "<H", "<I", "<Q"))

_OPCODES: dict[bytes, Handler] = {
    b"\x80": _proto,
    b"\x95": _frame,
    b".": _stop,
    b"(": _mark,
    b"N": partial(_constant, None),
    b"\x88": partial(_constant, True),
    b"\x89": partial(_constant, False),
    b")": partial(_constant, ()),
    b"K": _small_number,
    b"M": partial(_fixed, _UINT2),
    b"J": partial(_fixed, struct.Struct("<i")),
    b"G": partial(_fixed, struct.Struct(">d")),
    b"\x8a": partial(_counted, _UINT1, _long),
    b"\x8c": partial(_counted, _UINT1, _text),
    b"X": partial(_counted, _UINT4, _text),
    b"\x8d": partial(_counted, _UINT8, _text),
    b"C": partial(_counted, _UINT1, bytes),
    b"B": partial(_counted, _UINT4, bytes),
    b"\x8e": partial(_counted, _UINT8, bytes),
    b"\x96": partial(_counted, _UINT8, bytearray),
    b"]": _empty_list,
    b"a": _append,
    b"e": _appends,
    b"}": _empty_dict,
    b"s": _set_item,
    b"u": _set_items,
    b"t": _tuple,
    b"\x85": partial(_short_tuple, 1),
    b"\x86": partial(_short_tuple, 2),
    b"\x87": partial(_short_tuple, 3),
    b"q": _put,
    b"r": _long_put,
    b"\x94": _memoize,
    b"h": _get,
    b"j": _long_get,
    b"c": _global,
    b"\x93": _stack_global,
    b"R": _reduce,
    b"\x81": _new_object,
    b"b": _build,
    b"Q": _persistent_id,
}
_HANDLERS: list[Handler] = [_OPCODES.get(bytes([code]), _forbidden) for code in range(256)]
