"""Pickles that somebody made up, and how what was read compares with what was written."""

# mypy: allow-untyped-defs, allow-untyped-calls

import os
import pickle

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

PROTOCOLS = (2, 3, 4, 5)


def other_spelling(content):
    """Rename numpy's package as numpy 1 writes it, each name with its own length."""
    ours, theirs = b"numpy._core", b"numpy.core"
    assert ours in content
    for name in (b"multiarray", b"numeric"):
        full, short = ours + b"." + name, theirs + b"." + name
        content = content.replace(bytes([len(full)]) + full, bytes([len(short)]) + short)
        content = content.replace(b"c" + full + b"\n", b"c" + short + b"\n")
    return content


def assert_same(got, expected):
    assert type(got) is type(expected)
    if isinstance(expected, dict):
        assert list(got) == list(expected)
        for key in expected:
            assert_same(got[key], expected[key])
    elif isinstance(expected, list | tuple):
        assert len(got) == len(expected)
        for one, other in zip(got, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, np.ndarray | np.generic):
        assert got.dtype == expected.dtype
        assert got.shape == expected.shape
        np.testing.assert_array_equal(got, expected)
    else:
        assert got == expected


class Calls:
    """Pickles as a call of `function(*args)`."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


def call(module, name, *args):
    """Write by hand a pickle that calls what needs not exist here."""
    parts = b"".join(pickle.dumps(arg, 2)[2:-1] for arg in args)
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + b"(" + parts + b"tR."


def payloads(target):
    """Return pickles that would create the file `target` if anything in them ran."""
    command = f"touch {target}"
    return {
        "os.system": call("os", "system", command),
        "posix.system": call("posix", "system", command),
        "eval": call("builtins", "eval", f"open({str(target)!r}, 'w')"),
        "python2": call("__builtin__", "eval", f"open({str(target)!r}, 'w')"),
        "open": pickle.dumps(Calls(open, str(target), "w")),
        "mkdir": pickle.dumps(Calls(os.mkdir, str(target))),
        "getattr": pickle.dumps(Calls(getattr, Calls(__import__, "os"), "system")),
        "nested": pickle.dumps([{"a": (1, Calls(os.mkdir, str(target)))}]),
        "runstring": call("numpy.testing._private.utils", "runstring", "1", {}),
        "numpy.testing": call("numpy.testing", "run_module_suite"),
        "numpy.load": call("numpy", "load", str(target)),
        "dotted": b"\x80\x04\x8c\x05numpy\x8c\x16ndarray.__class__.mro\x93)R.",
        "ndarray call": b"\x80\x04\x8c\x05numpy\x8c\x07ndarray\x93J\xff\xff\xff\x7f\x85R.",
        "ndarray newobj": b"\x80\x04\x8c\x05numpy\x8c\x07ndarray\x93K\x05\x85\x85\x81.",
        "encode": call("_codecs", "encode", "a", "rot13"),
        "decode": call("_codecs", "decode", b"a", "latin1"),
        "bytes": call("__builtin__", "bytes", 2**40),
        "inst": b"\x80\x02(X\x04\x00\x00\x00trueios\nsystem\n.",
        "obj": b"\x80\x02(cnumpy\nndarray\nK\x05o.",
        "ext": b"\x80\x02\x82\x01.",
        "persistent": b"\x80\x02K\x01Q.",
        "text persistent": b"Pabc\n.",
        "buffer": b"\x80\x05\x97.",
        "newobj_ex": b"\x80\x04\x8c\x05numpy\x8c\x07ndarray\x93)}\x92.",
        "object array": pickle.dumps(np.array([Calls(os.mkdir, str(target))], dtype=object)),
        "plain object array": pickle.dumps(np.array([None, 1], dtype=object)),
        "structured": pickle.dumps(np.zeros(2, dtype=[("a", "f4")])),
        "datetime": pickle.dumps(np.zeros(2, dtype="M8[s]")),
        "set": pickle.dumps({1, 2}, 4),
        "complex": pickle.dumps(1j),
        "class": pickle.dumps(np.ndarray),
        "dtype": pickle.dumps(np.dtype("f4")),
        "bytearray": pickle.dumps(bytearray(b"ab"), 5),
        "recursive array": b"\x80\x02cnumpy\nndarray\nq\x00h\x00\x85q\x01}b.",
    }


FUZZ = settings(
    max_examples=250,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
MUTATIONS = st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 255)), min_size=1, max_size=6)


def mutated(content, mutations):
    content = bytearray(content)
    for position, value in mutations:
        content[position % len(content)] = value
    return bytes(content)
