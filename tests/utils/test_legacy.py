"""The reader of the original project's files: faithful to pickle, numpy and torch, deaf to code."""

# mypy: allow-untyped-defs, allow-untyped-calls

import collections
import contextlib
import io
import os
import pathlib
import pickle
import struct
import sys
import tracemalloc
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from utils.errors import CheckpointError, DataError
from utils.legacy import load_pickle, load_pickled_npy, load_pth, read_original_records

PROTOCOLS = (2, 3, 4, 5)
DTYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1", ">f4", ">i8")


def other_spelling(content):
    """Rename numpy's package as numpy 1 writes it, each name with its own length."""
    ours, theirs = b"numpy._core", b"numpy.core"
    assert ours in content
    for name in (b"multiarray", b"numeric"):
        full, short = ours + b"." + name, theirs + b"." + name
        content = content.replace(bytes([len(full)]) + full, bytes([len(short)]) + short)
        content = content.replace(b"c" + full + b"\n", b"c" + short + b"\n")
    return content


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


def test_a_pickle_is_read_from_a_path_a_file_and_a_stream_that_gives_little(tmp_path):
    class Slow(io.BytesIO):
        def read(self, size=-1):
            return super().read(min(size, 7))

    content = pickle.dumps({"a": 1})
    path = tmp_path / "x.pkl"
    path.write_bytes(content)
    assert load_pickle(path) == load_pickle(str(path)) == {"a": 1}
    assert load_pickle(Slow(content)) == {"a": 1}
    with path.open("rb") as file:
        assert load_pickle(file) == {"a": 1}


def test_a_pickle_longer_than_the_limit_is_refused_and_one_of_the_limit_is_read(tmp_path):
    content = pickle.dumps("x" * 100)
    path = tmp_path / "x.pkl"
    path.write_bytes(content)
    for source in (content, path, io.BytesIO(content)):
        with pytest.raises(DataError, match=f"larger than {len(content) - 1} bytes"):
            load_pickle(source, max_bytes=len(content) - 1)
    for source in (content, path, io.BytesIO(content)):
        assert load_pickle(source, max_bytes=len(content)) == "x" * 100


@pytest.mark.parametrize("load", [load_pickle, load_pickled_npy, read_original_records])
def test_a_missing_file_and_a_folder_are_named(load, tmp_path):
    with pytest.raises(DataError, match=r"missing\.pkl: no such file"):
        load(tmp_path / "missing.pkl")
    with pytest.raises(DataError, match="no regular file"):
        load(tmp_path)


# --- hostile pickles ----------------------------------------------------------------------------


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


def test_the_error_names_the_file_and_the_refused_name(tmp_path):
    path = tmp_path / "face.pkl"
    path.write_bytes(call("os", "system", "true"))
    with pytest.raises(DataError, match=r"face\.pkl names 'os\.system'"):
        load_pickle(path)


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


def many(make, times=20_000):
    """Name one large thing, then use it again and again at a few bytes each."""
    return b"\x80\x03" + make + b"\x94(" + b"h\x00h\x01R" * times + b"l."


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04r\xff\xff\xff\x7f.",
        b"\x80\x04Nr\xff\xff\xff\x7f.",
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
    ],
    ids=[
        "put on nothing",
        "memo",
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


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_cut_of_a_pickle_is_refused(protocol):
    content = pickle.dumps([np.ones((2, 2)), {"a": (1, 2.5)}], protocol=protocol)
    for length in range(len(content)):
        with pytest.raises(DataError):
            load_pickle(content[:length])
    with pytest.raises(DataError, match="after its end"):
        load_pickle(content + b"x")


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


# --- records ------------------------------------------------------------------------------------


def unit(vector):
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def make_record(number, **changes):
    return {
        "image_path": f"./data/aligned/{100 + number}@N08/landmark_aligned_face.1.{number}_o.jpg",
        "age": 28.5 if number % 2 else number,
        "gender": "fm"[number % 2],
        "embedding": unit(np.random.default_rng(number).random(512)),
    } | changes


def save_npy(path, content, protocol=None, spelling=lambda pickled: pickled):
    """Save as `np.save` does; with a protocol, by hand, as the numpy of that time did."""
    array = np.empty((), object) if isinstance(content, dict) else np.empty(len(content), object)
    array[...] = content
    if protocol is None:
        np.save(path, array, allow_pickle=True)
        return path
    header = f"{{'descr': '|O', 'fortran_order': False, 'shape': {array.shape}, }}".ljust(117)
    start = b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + header.encode() + b"\n"
    path.write_bytes(start + spelling(pickle.dumps(array, protocol=protocol)))
    return path


@pytest.mark.parametrize("protocol", [None, *PROTOCOLS])
def test_records_of_imdb_become_columns(protocol, tmp_path):
    records = [make_record(number) for number in range(5)]
    path = save_npy(tmp_path / "data.npy", records, protocol)
    assert_same(load_pickled_npy(path), records)
    columns = read_original_records(path)
    assert columns.image_path == [record["image_path"] for record in records]
    assert columns.subject.tolist() == [""] * 5
    assert columns.age.tolist() == [0, 28.5, 2, 28.5, 4]
    assert columns.gender.tolist() == list("fmfmf")
    assert columns.fold.tolist() == [-1] * 5
    assert np.isnan(columns.det_score).all()
    np.testing.assert_array_equal(columns.embedding, [r["embedding"] for r in records])
    dtypes = (columns.age, columns.gender, columns.fold, columns.det_score, columns.embedding)
    assert [column.dtype.str for column in dtypes] == ["<f4", "<U1", "|i1", "<f4", "<f4"]


@pytest.mark.parametrize("spelling", [other_spelling, lambda pickled: pickled])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_records_of_adience_become_columns_in_the_order_of_the_folds(protocol, spelling, tmp_path):
    folds = {
        3: [make_record(7, fold=3, det_score=np.float64(0.5))],
        0: [make_record(1, fold=0), make_record(2, fold=np.int64(0), image_path=Path("a/b/c.jpg"))],
        1: [make_record(3, age=np.float32(5), gender=np.str_("m"))],
        4: [],
    }
    path = save_npy(tmp_path / "data-aligned.npy", folds, protocol, spelling)
    assert [len(records) for records in load_pickled_npy(path).values()] == [2, 1, 1, 0]  # type: ignore[union-attr]
    columns = read_original_records(path)
    assert columns.fold.tolist() == [0, 0, 1, 3]
    assert columns.subject.tolist() == ["101@N08", "b", "103@N08", "107@N08"]
    assert columns.image_path[1] == "a/b/c.jpg"
    assert columns.age.tolist() == [28.5, 2, 5, 28.5]
    np.testing.assert_array_equal(columns.det_score, [np.nan, np.nan, np.nan, 0.5])


def test_no_records_are_no_rows(tmp_path):
    columns = read_original_records(save_npy(tmp_path / "data.npy", []))
    assert columns.embedding.shape == (0, 512)
    assert columns.subject.dtype.kind == "U"


@pytest.mark.parametrize("dtype", ["f2", "f8", ">f4"])
def test_embeddings_of_other_floats_become_float32(dtype, tmp_path):
    embedding = unit(np.linspace(-1, 1, 512)).astype(dtype)
    path = save_npy(tmp_path / "data.npy", [make_record(0, embedding=embedding)])
    columns = read_original_records(path)
    assert columns.embedding.dtype == np.dtype("<f4")
    np.testing.assert_array_equal(columns.embedding[0], embedding.astype("<f4"))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"embedding": np.zeros(511, np.float32)}, "512"),
        ({"embedding": np.zeros((1, 512), np.float32)}, "512"),
        ({"embedding": np.zeros(512, np.int64)}, "512"),
        ({"embedding": [0.0] * 512}, "512"),
        ({"embedding": None}, "512"),
        ({"embedding": np.full(512, np.nan, np.float32)}, "finite"),
        ({"embedding": np.full(512, 1e300)}, "finite"),
        ({"embedding": np.full(512, 40 / 512**0.5)}, "length 40, 1 was expected"),
        ({"embedding": np.full(512, 0.98 / 512**0.5)}, "length 0.98"),
        ({"embedding": np.zeros(512)}, "length 0"),
        ({"embedding": np.full(512, 1e30)}, "length inf"),
        ({"age": 1e38}, "age 1e"),
        ({"age": -31}, "age -31, 0 to 9999 years"),
        ({"age": float("nan")}, "age nan"),
        ({"age": np.float64("inf")}, "age"),
        ({"age": 1e39}, "age"),
        ({"age": 10**400}, "age"),
        ({"age": "28"}, "age '28'"),
        ({"age": None}, "age"),
        ({"age": True}, "age True"),
        ({"age": np.zeros(2)}, "age"),
        ({"gender": "u"}, "gender 'u'"),
        ({"gender": "mf"}, "gender"),
        ({"gender": 0}, "gender 0"),
        ({"gender": np.zeros(3)}, "gender"),
        ({"image_path": None}, "image_path"),
        ({"image_path": ""}, "image_path"),
        ({"image_path": "x" * 5000}, "image_path"),
        ({"det_score": "high"}, "det_score"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_wrong_record_is_named_by_its_index(changes, complaint, tmp_path):
    records = [make_record(0), make_record(1), make_record(2, **changes)]
    path = save_npy(tmp_path / "data.npy", records)
    with pytest.raises(DataError, match=rf"data\.npy holds a record 2 that .*{complaint}") as error:
        read_original_records(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", ["image_path", "age", "gender", "embedding"])
def test_a_record_that_lacks_a_key_is_named(key, tmp_path):
    record = make_record(1)
    del record[key]
    path = save_npy(tmp_path / "data.npy", {2: [make_record(0), record]})
    with pytest.raises(DataError, match=f"record 1 of fold 2 that lacks '{key}'"):
        read_original_records(path)


@pytest.mark.parametrize("fold", [1, -1, "0", None, np.zeros(2)], ids=str)
def test_a_record_in_another_fold_than_it_says_is_refused(fold, tmp_path):
    path = save_npy(tmp_path / "data.npy", {0: [make_record(0, fold=fold)]})
    with pytest.raises(DataError, match="record 0 of fold 0 that has the fold"):
        read_original_records(path)


@pytest.mark.parametrize(
    "content",
    [
        {5: []},
        {"0": []},
        {0: {}},
        {0: [1]},
        {0: [[]]},
        [1, 2],
        [None],
        [{"a": np.array([{}], dtype=object)}],
    ],
    ids=str,
)
def test_other_shapes_of_records_are_refused(content, tmp_path):
    with pytest.raises(DataError):
        load_pickled_npy(save_npy(tmp_path / "data.npy", content))


def test_records_that_share_an_embedding_cannot_fill_the_memory(tmp_path):
    record = make_record(0)
    path = save_npy(tmp_path / "data.npy", [record] * 100_000)
    with pytest.raises(DataError, match="100000 records"):
        read_original_records(path)


def test_a_folder_with_an_endless_name_cannot_widen_every_row(tmp_path):
    path = save_npy(tmp_path / "data.npy", {0: [make_record(0, image_path="x" * 300 + "/a.jpg")]})
    with pytest.raises(DataError, match="300 letters"):
        read_original_records(path)


@pytest.mark.parametrize(
    "array", [np.zeros(3), np.zeros(2, dtype=[("a", "f4")]), np.empty((2, 2), object)], ids=str
)
def test_an_npy_file_that_holds_no_records_is_refused(array, tmp_path):
    np.save(tmp_path / "data.npy", array, allow_pickle=True)
    with pytest.raises(DataError, match="not of pickled records"):
        load_pickled_npy(tmp_path / "data.npy")


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"\x93NUMPY",
        b"\x93NUMPY\x01\x00\xff\xff{",
        b"PK\x03\x04" * 9,
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff{'descr': '|O', ",
    ],
)
def test_a_file_that_is_no_npy_is_refused(start, tmp_path):
    (tmp_path / "data.npy").write_bytes(start)
    with pytest.raises(DataError):
        load_pickled_npy(tmp_path / "data.npy")


def test_the_shape_in_the_header_must_be_that_of_the_array(tmp_path):
    path = save_npy(tmp_path / "data.npy", [make_record(0)])
    path.write_bytes(path.read_bytes().replace(b"'shape': (1,)", b"'shape': (2,)"))
    with pytest.raises(DataError, match="announces"):
        load_pickled_npy(path)


def test_a_hostile_record_is_refused_and_never_runs(tmp_path):
    target = tmp_path / "ran"
    path = save_npy(tmp_path / "data.npy", [make_record(0, age=Calls(os.mkdir, str(target)))])
    with pytest.raises(DataError, match=r"data\.npy names 'posix\.mkdir'"):
        read_original_records(path)
    assert not target.exists()


@FUZZ
@given(adience=st.booleans(), mutations=MUTATIONS)
def test_a_mutated_npy_gives_records_or_a_data_error(adience, mutations, tmp_path):
    records = [make_record(0), make_record(1)]
    path = save_npy(tmp_path / "data.npy", {0: records} if adience else records)
    content = path.read_bytes()
    small = mutated(content[:400], mutations) + content[400:]
    path.write_bytes(small)
    with contextlib.suppress(DataError):
        read_original_records(path)


# --- checkpoints --------------------------------------------------------------------------------


class ConfigParser:
    """What the original pickled: settings, and where the run wrote."""

    def __init__(self):
        self._config = collections.OrderedDict(
            name="Age", arch={"type": "ResMLP", "args": {"dropout": 0.5, "num_blocks": 2}}
        )
        self.resume = None
        self._save_dir = pathlib.PosixPath("saved/models/Age/0101_000000")
        self._log_dir = pathlib.PosixPath("/saved/log")
        self.log_levels = {0: 30, 1: 20, 2: 10}


def save_checkpoint(path, monkeypatch, **changes):
    """Save what the original saves, with its module there only while saving."""
    net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))
    optimizer = torch.optim.AdamW(net.parameters())
    net(torch.randn(5, 4)).sum().backward()
    optimizer.step()
    checkpoint = {
        "arch": "ResMLP",
        "epoch": 7,
        "state_dict": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "monitor_best": np.float64(0.25),
        "config": ConfigParser(),
    } | changes
    module = types.ModuleType("parse_config")
    module.ConfigParser = ConfigParser  # type: ignore[attr-defined]
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "parse_config", module)
        patch.setattr(ConfigParser, "__module__", "parse_config")
        torch.save(checkpoint, path)
    assert "parse_config" not in sys.modules
    return checkpoint


def assert_same_state(got, expected):
    assert list(got) == list(expected)
    for name, value in expected.items():
        assert type(got[name]) is torch.Tensor
        assert got[name].dtype == value.dtype
        assert torch.equal(got[name], value)


def test_a_checkpoint_of_the_original_is_read_without_its_modules(tmp_path, monkeypatch):
    expected = save_checkpoint(tmp_path / "age.pth", monkeypatch)
    got = load_pth(tmp_path / "age.pth")
    assert "parse_config" not in sys.modules
    assert list(got) == list(expected)
    assert (got["arch"], got["epoch"], got["monitor_best"]) == ("ResMLP", 7, 0.25)
    assert_same(got["config"], dict(expected["config"]._config))
    assert_same_state(got["state_dict"], expected["state_dict"])
    assert got["optimizer"]["param_groups"] == expected["optimizer"]["param_groups"]
    for index, moments in expected["optimizer"]["state"].items():
        assert_same_state(got["optimizer"]["state"][index], moments)


def test_what_is_read_loads_into_the_net_and_the_optimizer(tmp_path, monkeypatch):
    save_checkpoint(tmp_path / "age.pth", monkeypatch)
    got = load_pth(str(tmp_path / "age.pth"))
    net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))
    net.load_state_dict(got["state_dict"])
    optimizer = torch.optim.AdamW(net.parameters())
    optimizer.load_state_dict(got["optimizer"])
    net(torch.randn(5, 4)).sum().backward()
    optimizer.step()


def test_the_prefix_of_data_parallel_is_stripped(tmp_path, monkeypatch):
    state = collections.OrderedDict([("module.0.weight", torch.ones(2)), ("1.bias", torch.ones(1))])
    save_checkpoint(tmp_path / "age.pth", monkeypatch, state_dict=state)
    assert list(load_pth(tmp_path / "age.pth")["state_dict"]) == ["0.weight", "1.bias"]


def test_a_name_with_and_without_the_prefix_is_refused(tmp_path, monkeypatch):
    state = {"module.a": torch.ones(2), "a": torch.ones(1)}
    save_checkpoint(tmp_path / "age.pth", monkeypatch, state_dict=state)
    with pytest.raises(CheckpointError, match=r"module\."):
        load_pth(tmp_path / "age.pth")


def test_views_empty_and_scalar_tensors_come_back(tmp_path, monkeypatch):
    base = torch.arange(24.0).reshape(4, 6)
    state = {
        "transposed": base.t(),
        "sliced": base[1:3, ::2],
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(5),
        "whole": base,
        "parameter": base.clone().requires_grad_().detach(),
    }
    save_checkpoint(tmp_path / "age.pth", monkeypatch, state_dict=state)
    got = load_pth(tmp_path / "age.pth")["state_dict"]
    assert_same_state(got, state)
    assert got["transposed"].data_ptr() == got["whole"].data_ptr()


def test_paths_and_a_plain_config_are_read_too(tmp_path, monkeypatch):
    config = {"save_dir": pathlib.PosixPath("/a/b"), "nested": [ConfigParser()]}
    save_checkpoint(tmp_path / "age.pth", monkeypatch, config=config)
    got = load_pth(tmp_path / "age.pth")["config"]
    assert got["save_dir"] == "/a/b"
    assert got["nested"][0]["name"] == "Age"


@pytest.mark.parametrize(
    "changes",
    [
        {"state_dict": {"a": torch.ones(2, dtype=torch.float64)}},
        {"state_dict": {"a": torch.ones(2, dtype=torch.float16)}},
        {"state_dict": {"a": torch.nn.Parameter(torch.ones(2))}},
        {"state_dict": {"a": torch.ones(1).expand(1000)}},
        {"state_dict": {"a": 5}},
        {"state_dict": {0: torch.ones(1)}},
        {"state_dict": None},
        {"config": 5},
        {"epoch": Calls(print, "ran")},
        {"arch": torch.nn.Linear(2, 2)},
    ],
    ids=lambda changes: str(changes)[:40],
)
def test_a_checkpoint_with_other_contents_is_refused(changes, tmp_path, monkeypatch, capsys):
    save_checkpoint(tmp_path / "age.pth", monkeypatch, **changes)
    with pytest.raises(CheckpointError, match=r"age\.pth .*get the file again") as error:
        load_pth(tmp_path / "age.pth")
    assert "\n" not in str(error.value)
    assert capsys.readouterr().out == ""


def test_code_in_the_optimizer_state_is_refused_and_never_runs(tmp_path, monkeypatch):
    target = tmp_path / "ran"
    optimizer = {"state": {0: {"step": Calls(os.mkdir, str(target))}}}
    save_checkpoint(tmp_path / "age.pth", monkeypatch, optimizer=optimizer)
    with pytest.raises(CheckpointError, match=r"names 'posix\.mkdir'"):
        load_pth(tmp_path / "age.pth")
    assert not target.exists()


def test_an_ordered_dict_from_arguments_is_refused(tmp_path):
    pickled = call("collections", "OrderedDict", [("a", 1)])
    write_zip(tmp_path / "age.pth", {"a/data.pkl": pickled})
    with pytest.raises(CheckpointError, match="OrderedDict with arguments"):
        load_pth(tmp_path / "age.pth")


@pytest.mark.parametrize("name", sorted(payloads("x")))
def test_what_a_hostile_checkpoint_names_is_refused_and_never_runs(name, tmp_path):
    target = tmp_path / "ran"
    write_zip(tmp_path / "age.pth", {"a/data.pkl": payloads(target)[name]})
    with pytest.raises(CheckpointError):
        load_pth(tmp_path / "age.pth")
    assert not target.exists()


def write_zip(path, records, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in records.items():
            archive.writestr(name, content)


def tensor_records(
    num_elements=6, offset=0, size=(2, 3), stride=(3, 1), content=bytes(24), key="0", kind="Float"
):
    """Return the records of a checkpoint with one tensor, whose parts need not fit each other."""

    def part(value):
        return pickle.dumps(value, 5)[2:-1].replace(b"\x94", b"")

    tensor = (
        b"ctorch._utils\n_rebuild_tensor_v2\n(("
        + part("storage")
        + f"ctorch\n{kind}Storage\n".encode()
        + part(key)
        + part("cpu")
        + part(num_elements)
        + b"tQ"
        + part(offset)
        + part(size)
        + part(stride)
        + b"\x89ccollections\nOrderedDict\n)Rt"
    )
    pickled = b"\x80\x02}" + part("state_dict") + b"}" + part("w") + tensor + b"Rss."
    return {"a/data.pkl": pickled, "a/data/0": content, "a/version": b"3\n"}


def test_the_hand_written_checkpoint_is_right_when_its_parts_fit(tmp_path):
    content = np.arange(6, dtype="f4").tobytes()
    write_zip(tmp_path / "age.pth", tensor_records(content=content))
    got = load_pth(tmp_path / "age.pth")["state_dict"]["w"]
    assert got.tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    "changes",
    [
        {"num_elements": 7},
        {"num_elements": 5},
        {"num_elements": 2**40},
        {"num_elements": "6"},
        {"num_elements": (((),),)},
        {"content": bytes(23)},
        {"content": b""},
        {"offset": 1},
        {"offset": -1},
        {"offset": 2**70},
        {"offset": "0"},
        {"size": (2, 4)},
        {"size": (2**40, 2**40)},
        {"size": (2**62, 0), "stride": (0, 0)},
        {"size": (2**39, 2**39, 0), "stride": (0, 0, 0)},
        {"size": (-2, -3)},
        {"size": (2.0, 3)},
        {"size": (2,)},
        {"size": None},
        {"size": (2**30,), "stride": (0,)},
        {"size": (7,), "stride": (0,)},
        {"stride": (4, 1)},
        {"stride": (-3, 1)},
        {"stride": (2**62, 2**62)},
        {"stride": [3, 1]},
        {"size": (1,) * 40, "stride": (1,) * 40},
        {"key": "1"},
        {"key": 0},
        {"key": "../version"},
        {"kind": "Long"},
        {"kind": "Byte"},
        {"kind": "Untyped"},
    ],
    ids=str,
)
def test_a_tensor_whose_parts_do_not_fit_is_refused(changes, tmp_path):
    write_zip(tmp_path / "age.pth", tensor_records(**changes))
    with pytest.raises(CheckpointError):
        load_pth(tmp_path / "age.pth")


def test_one_storage_cannot_be_of_two_types(tmp_path):
    kinds = [
        tensor_records(num_elements=3, size=(3,), stride=(1,), kind=kind)["a/data.pkl"][2:-1]
        for kind in ("Float", "Long")
    ]
    records = {"a/data.pkl": b"\x80\x02(" + b"".join(kinds) + b"t.", "a/data/0": bytes(12)}
    write_zip(tmp_path / "age.pth", records)
    with pytest.raises(CheckpointError, match="size or type"):
        load_pth(tmp_path / "age.pth")


def test_a_compressed_checkpoint_is_refused_unread(tmp_path):
    records = tensor_records() | {"a/data/1": bytes(50 << 20)}
    write_zip(tmp_path / "age.pth", records, zipfile.ZIP_DEFLATED)
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match="compressed"):
            load_pth(tmp_path / "age.pth")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20


def test_records_that_overlap_in_the_file_are_refused(tmp_path):
    path = tmp_path / "age.pth"
    write_zip(path, tensor_records() | {"a/data/1": bytes(1 << 16)})
    with zipfile.ZipFile(path, "a") as archive:
        last = archive.getinfo("a/data/1")
        archive.filelist += [last] * 50
        archive._didModify = True  # type: ignore[attr-defined]
    with pytest.raises(CheckpointError, match="more bytes than the file has"):
        load_pth(path)


def test_a_record_that_comes_twice_is_refused(tmp_path):
    path = tmp_path / "age.pth"
    write_zip(path, tensor_records())
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("a/data/0", bytes(24))
    with pytest.raises(CheckpointError, match="twice"):
        load_pth(path)


def test_a_changed_byte_of_a_storage_is_noticed(tmp_path):
    path = tmp_path / "age.pth"
    write_zip(path, tensor_records(content=b"abcdefgh" * 3))
    path.write_bytes(path.read_bytes().replace(b"abcdefgh", b"abcdefgi"))
    with pytest.raises(CheckpointError, match="damaged record 'data/0'"):
        load_pth(path)


@pytest.mark.parametrize(
    ("records", "complaint"),
    [
        ({}, "no zip of torch"),
        ({"data.pkl": b"\x80\x02N."}, "0 records"),
        ({"a/data.pkl": b"\x80\x02N.", "b/data.pkl": b"\x80\x02N."}, "2 records"),
        ({"a/data.pkl": b"\x80\x02N."}, "no checkpoint"),
        ({"a/data.pkl": b"\x80\x02}."}, "no checkpoint"),
        ({"a/data.pkl": b""}, "damaged"),
        (tensor_records() | {"a/byteorder": b"big"}, "little-endian"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_zip_that_is_no_checkpoint_is_refused(records, complaint, tmp_path):
    write_zip(tmp_path / "age.pth", records)
    with pytest.raises(CheckpointError, match=complaint):
        load_pth(tmp_path / "age.pth")


def test_a_little_endian_checkpoint_may_say_so(tmp_path):
    write_zip(tmp_path / "age.pth", tensor_records() | {"a/byteorder": b"little"})
    assert load_pth(tmp_path / "age.pth")["state_dict"]["w"].shape == (2, 3)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x02N.", b"PK\x03\x04" + bytes(99)])
def test_what_is_no_torch_zip_is_refused(content, tmp_path):
    (tmp_path / "age.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match="zip"):
        load_pth(tmp_path / "age.pth")


def test_the_format_before_torch_1_6_is_refused_with_advice(tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "age.pth", _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match="older torch"):
        load_pth(tmp_path / "age.pth")


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"age\.pth: no such file"):
        load_pth(tmp_path / "age.pth")


@FUZZ
@given(mutations=MUTATIONS)
def test_a_mutated_checkpoint_gives_a_value_or_a_checkpoint_error(mutations, tmp_path):
    path = tmp_path / "age.pth"
    write_zip(path, tensor_records())
    path.write_bytes(mutated(path.read_bytes(), mutations))
    with contextlib.suppress(CheckpointError):
        load_pth(path)


@FUZZ
@given(mutations=MUTATIONS)
def test_a_checkpoint_with_a_mutated_pickle_gives_a_value_or_a_checkpoint_error(
    mutations, tmp_path
):
    records = tensor_records()
    records["a/data.pkl"] = mutated(records["a/data.pkl"], mutations)
    write_zip(tmp_path / "age.pth", records)
    with contextlib.suppress(CheckpointError):
        load_pth(tmp_path / "age.pth")
