"""The reader of the original project's pickles: faithful to pickle and numpy, deaf to code."""

# mypy: allow-untyped-defs, allow-untyped-calls

import contextlib
import pathlib
import pickle
import struct
import sys
import tracemalloc

import numpy as np
import pytest
import torch
from hostile_pickles import (
    FUZZ,
    MUTATIONS,
    PROTOCOLS,
    assert_same,
    call,
    mutated,
    other_spelling,
    payloads,
)
from hypothesis import given
from hypothesis import strategies as st

from utils.errors import DataError
from utils.legacy.pickles import load_pickle

DTYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1", ">f4", ">i8")


def make_faces():
    generator = np.random.default_rng(0)
    return [
        {
            "bbox": generator.random(4),
            "det_score": np.float64(0.9),
            "landmark": generator.random((5, 2)),
            "normed_embedding": generator.random(512, dtype=np.float32),
        }
        for _ in range(3)
    ]


# --- plain pickles ------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_faces_come_back_as_pickle_wrote_them(protocol):
    faces = make_faces()
    content = pickle.dumps(faces, protocol=protocol)
    assert_same(load_pickle(content), faces)
    assert_same(load_pickle(other_spelling(content)), faces)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        [],
        {},
        (),
        b"",
        b"\x00\xff" * 200,
        "",
        "é\U0001f600\udc80",
        "x" * 70_000,
        [0, 255, 256, 65_535, 65_536, -1, 2**31, -(2**63), 2**200],
        [0.5, -1e300, float("inf")],
        [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
        {0: ["a", {"b": None}], "c": False},
        list(range(3000)),
        {str(number): number for number in range(3000)},
        ["shared"] * 300,
    ],
    ids=lambda value: repr(value)[:20],
)
def test_plain_values_come_back_as_pickle_wrote_them(value, protocol):
    assert_same(load_pickle(pickle.dumps(value, protocol=protocol)), value)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_and_scalars_of_every_dtype_come_back(dtype, protocol):
    array = (np.arange(24) - 3).astype(np.dtype(dtype)).reshape(2, 3, 4)
    arrays = [
        array,
        array[0].copy(order="F"),
        np.asfortranarray(array),
        array.transpose(1, 0, 2),
        array[:, ::2],
        array[:0],
        array[0, 0, 0].reshape(()),
        array.astype(array.dtype.newbyteorder("="))[0, 1, 2],
    ]
    content = pickle.dumps(arrays, protocol=protocol)
    native = [array.astype(array.dtype.newbyteorder("=")) for array in arrays]
    native[-1] = arrays[-1]
    assert_same(load_pickle(content), native)
    assert_same(load_pickle(other_spelling(content)), native)


def test_fortran_order_is_kept():
    array = load_pickle(pickle.dumps(np.asfortranarray(np.ones((2, 3))), protocol=3))
    assert array.flags.f_contiguous
    assert not array.flags.c_contiguous


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_arrays_are_writable_and_do_not_share_memory(protocol):
    content = pickle.dumps(np.zeros(4, np.float32), protocol=protocol)
    first, second = load_pickle(content), load_pickle(content)
    first[:] = 1
    assert second.sum() == 0
    assert torch.from_numpy(first).sum() == 4


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_unicode_scalars_and_paths_become_text(protocol):
    value = [np.str_("añ"), pathlib.PosixPath("/home/me/x.jpg"), pathlib.PosixPath("a/b")]
    assert load_pickle(pickle.dumps(value, protocol=protocol)) == ["añ", "/home/me/x.jpg", "a/b"]


# --- hostile pickles ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", payloads("x"))
def test_what_a_hostile_pickle_names_is_refused_and_never_runs(name, tmp_path):
    target = tmp_path / "ran"
    modules = set(sys.modules)
    with pytest.raises(DataError) as refusal:
        load_pickle(payloads(target)[name])
    assert not target.exists()
    assert set(sys.modules) == modules
    assert "\n" not in str(refusal.value)
    assert "get the file again" in str(refusal.value)


def test_the_payloads_would_run_in_pickle(tmp_path):
    target = tmp_path / "ran"
    pickle.loads(payloads(target)["mkdir"])
    assert target.exists()


def test_the_error_names_what_the_pickle_names():
    with pytest.raises(DataError, match=r"the pickle names 'os\.system'"):
        load_pickle(call("os", "system", "true"))


def test_a_pickle_of_many_parts_is_refused_unread():
    content = pickle.dumps([0] * 95)
    assert load_pickle(content, max_opcodes=102) == [0] * 95
    for damage in (content, content[:-1], b""):
        with pytest.raises(DataError, match=r"more than 101 parts|damaged"):
            load_pickle(damage, max_opcodes=101)


@pytest.mark.parametrize("name", ["ndarray", "dtype"])
def test_attributes_of_what_a_name_stands_for_cannot_be_set(name):
    content = b"\x80\x02cnumpy\n" + name.encode() + b"\n}X\x01\x00\x00\x00aK\x01sb."
    with pytest.raises(DataError, match="sets attributes"):
        load_pickle(content)
    assert_same(load_pickle(pickle.dumps(np.ones(2))), np.ones(2))


def array_pickle(shape, code="f4", content=b"\x00" * 8, fortran=False, order="<"):
    """Write an array whose parts need not fit each other."""
    to = [pickle.dumps(part, 3)[2:-1] for part in (shape, code, order, fortran, content)]
    return (
        b"\x80\x03cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01"
        + to[0]
        + b"cnumpy\ndtype\n"
        + to[1]
        + b"\x89\x88\x87R(K\x03"
        + to[2]
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        + to[3]
        + to[4]
        + b"tb."
    )


def test_the_hand_written_array_is_right_when_its_parts_fit():
    content = array_pickle((2,)).replace(b"q\x00", b"")
    assert_same(load_pickle(content), np.zeros(2, np.float32))


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": (3,)},
        {"shape": (1,)},
        {"shape": (2**33,)},
        {"shape": (2**62, 2**62)},
        {"shape": (-2, -1)},
        {"shape": (2.0,)},
        {"shape": [2]},
        {"shape": None},
        {"shape": (1,) * 40 + (2,)},
        {"shape": (2**60, 0), "content": b""},
        {"code": "f8"},
        {"code": "O"},
        {"code": "O8"},
        {"code": "U1"},
        {"code": "V8"},
        {"code": "f4,f4"},
        {"code": ["a"]},
        {"code": "U999999999"},
        {"order": "x"},
        {"order": None},
        {"order": (("f4",),)},
        {"fortran": "F"},
        {"content": "text"},
        {"content": [1, 2]},
        {"content": b""},
    ],
    ids=str,
)
def test_an_array_whose_parts_do_not_fit_is_refused(changes):
    content = array_pickle(**{"shape": (2,)} | changes).replace(b"q\x00", b"")
    with pytest.raises(DataError):
        load_pickle(content)


def test_an_array_is_made_of_numpy_ndarray_only():
    content = array_pickle((2,)).replace(b"q\x00", b"")
    with pytest.raises(DataError, match=r"no numpy\.ndarray"):
        load_pickle(content.replace(b"cnumpy\nndarray\n", b"cnumpy\ndtype\n"))


@pytest.mark.parametrize("axes", [(0,), (0, 0), (0, 2), (1, "0"), None, 5])
def test_a_transposed_array_with_wrong_axes_is_refused(axes):
    class Wrong:
        def __reduce__(self):
            from numpy._core.numeric import _frombuffer  # type: ignore[attr-defined]

            return _frombuffer, (bytearray(16), np.dtype("f4"), (2, 2), "K", axes)

    with pytest.raises(DataError):
        load_pickle(pickle.dumps(Wrong(), 5))


def nested(opener, closer, depth=100_000):
    return b"\x80\x04" + opener * depth + b"N" + closer * depth + b"."


@pytest.mark.parametrize(
    "content",
    [
        nested(b"]", b"a"),
        nested(b"", b"\x85"),
        nested(b"(", b"t"),
        nested(b"(", b"t", 900),
        nested(b"}K\x00", b"s"),
        nested(b"]", b"a", 65),
        b"\x80\x04}" + nested(b"", b"\x85")[2:-1] + b"Ns.",
        b"\x80\x04}N" + b"\x94h\x00\x86" * 100 + b"Ns.",
    ],
    ids=["lists", "tuples", "marks", "tuples of marks", "dicts", "one too many", "key", "open key"],
)
def test_deep_nesting_is_an_error_and_no_crash(content):
    with pytest.raises(DataError):
        load_pickle(content)


def test_marks_cannot_be_opened_without_end():
    with pytest.raises(DataError, match="nested too deep"):
        load_pickle(b"\x80\x04" + b"(" * 1001 + b"t" * 1001 + b".")


def test_sixty_four_levels_are_read():
    value = load_pickle(nested(b"]", b"a", 64))
    for _ in range(64):
        (value,) = value
    assert value is None


def test_references_that_double_with_every_level_are_refused():
    levels = b"".join(b"\x94h" + bytes([level]) + b"\x86" for level in range(40))
    with pytest.raises(DataError, match="unfolds"):
        load_pickle(b"\x80\x04]" + levels + b".")


def test_keys_that_would_take_for_ever_to_hash_are_refused():
    levels = b"".join(b"\x94h" + bytes([level]) + b"\x86" for level in range(60))
    with pytest.raises(DataError, match="key"):
        load_pickle(b"\x80\x04}\x94N" + levels.replace(b"h\x00", b"N") + b"Ns.")


@pytest.mark.parametrize("key", [None, 1.0, (1,), True, -1, 2**61 - 1, b"a"], ids=str)
def test_a_dict_key_is_text_or_a_small_number(key):
    with pytest.raises(DataError, match="key"):
        load_pickle(pickle.dumps({key: 1}))


def test_a_value_that_holds_itself_is_refused():
    value = []  # type: ignore[var-annotated]
    value.append({"a": value})
    with pytest.raises(DataError, match="holds itself"):
        load_pickle(pickle.dumps(value))


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04r\xff\xff\xff\x7f.",
        b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"ab.",
        b"\x80\x04\x8d" + struct.pack("<Q", 2**63) + b"ab.",
        b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"ab.",
        b"\x80\x04\x95" + struct.pack("<Q", 2**63) + b".",
        b"\x80\x04]\x94(" + b"]" * 500_000 + b"e.",
        b"\x80\x04]\x94(" + b"}" * 500_000 + b"e.",
        b"\x80\x04](" + b"N\x85" * 500_000 + b"e.",
        b"\x80\x04](" + b"}K\x00Ns" * 300_000 + b"e.",
        b"\x80\x04" + b"(" * 2_000_000 + b".",
        b"\x80\x03c_codecs\nencode\nq\x00X\xa0\x86\x01\x00"
        + b"a" * 100_000
        + b"X\x06\x00\x00\x00latin1\x86q\x01](h\x00h\x01R"
        + b"h\x00h\x01R" * 20_000
        + b"e.",
        array_pickle((25_000,), content=b"\x00" * 100_000)
        .replace(b"q\x00", b"")
        .replace(b"tb.", b"tq\x00b](")
        + b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87Rh\x00b" * 500
        + b"e.",
        array_pickle((250,), content=b"\x00" * 1000)
        .replace(b"q\x00", b"")
        .replace(b"tb.", b"tq\x00b](cnumpy.core.multiarray\n_reconstruct\nq\x01")
        + b"cnumpy\nndarray\nK\x00\x85C\x01b\x87q\x02Rh\x00b"
        + b"h\x01h\x02Rh\x00b" * 20_000
        + b"e.",
    ],
    ids=[
        "put on nothing",
        "bytes",
        "text",
        "bytearray",
        "frame",
        "lists",
        "dicts",
        "tuples",
        "small dicts",
        "marks",
        "encoded again",
        "copied again",
        "small arrays",
    ],
)
def test_memory_is_bounded_by_the_size_of_the_pickle(content):
    tracemalloc.start()
    try:
        with pytest.raises(DataError):
            load_pickle(content)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < (4 << 20) + 40 * len(content)


def test_attributes_of_a_dict_are_not_kept_and_take_no_room():
    config = b"}(" + b"".join(b"J" + struct.pack("<i", n) + b"N" for n in range(5000)) + b"u"
    state = b"}X\x07\x00\x00\x00_config" + config + b"sq\x01"
    content = b"\x80\x02](" + state + b"}h\x01b" * 2000 + b"e."
    tracemalloc.start()
    try:
        assert load_pickle(content)[1:] == [{}] * 2000
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("arguments", [b"(t", b"N", b"(\x89\x88Nt", b"(" + b"\x88" * 5000 + b"t"])
def test_a_name_is_called_with_its_own_arguments_only(arguments):
    text = b"X\x02\x00\x00\x00f4"
    content = b"\x80\x02cnumpy\ndtype\n" + arguments.replace(b"(", b"(" + text) + b"R."
    with pytest.raises(DataError, match=r"damaged|no tuple"):
        load_pickle(content)


def test_a_memo_takes_no_room_for_numbers_that_are_left_out():
    tracemalloc.start()
    try:
        assert load_pickle(b"\x80\x04Nr\xff\xff\xff\x7f.") is None
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_cut_of_a_pickle_is_refused(protocol):
    content = pickle.dumps([np.ones((2, 2)), {"a": (1, 2.5)}], protocol=protocol)
    for length in range(len(content)):
        with pytest.raises(DataError):
            load_pickle(content[:length])
    with pytest.raises(DataError, match="after its end"):
        load_pickle(content + b"x")


@FUZZ
@given(protocol=st.sampled_from(PROTOCOLS), mutations=MUTATIONS)
def test_a_mutated_pickle_gives_a_value_or_a_data_error(protocol, mutations):
    faces = [make_faces()[0] | {"normed_embedding": np.arange(6, dtype="f4").reshape(2, 3).T}]
    with contextlib.suppress(DataError):
        load_pickle(mutated(pickle.dumps(faces, protocol=protocol), mutations))


OPCODES = st.sampled_from(
    [bytes([code]) for code in b"(.0N\x88\x89)]}aesutR\x81bQ2\x85\x86\x87\x94\x93"]
    + [b"K\x02", b"h\x00", b"h\x01", b"h\x02", b"q\x00", b"q\x01", b"C\x02ab", b"\x8c\x02f4"]
    + [b"cnumpy\nndarray\n", b"cnumpy\ndtype\n", b"c_codecs\nencode\n", b"cpathlib\nPosixPath\n"]
    + [b"cnumpy.core.multiarray\n_reconstruct\n", b"cnumpy.core.multiarray\nscalar\n"]
    + [b"cnumpy.core.numeric\n_frombuffer\n", array_pickle((2,))[2:-1], b"\x8c\x06latin1"]
)


@FUZZ
@given(st.lists(OPCODES, max_size=40))
def test_any_row_of_opcodes_gives_a_value_or_a_data_error(opcodes):
    with contextlib.suppress(DataError):
        load_pickle(b"\x80\x04" + b"".join(opcodes) + b".")
