"""The original project's data files: the faces that they hold, and what is refused."""

# mypy: allow-untyped-defs, allow-untyped-calls

import contextlib
import os
import pickle
import struct
import types
from pathlib import Path

import numpy as np
import pytest
from hostile_pickles import (
    FUZZ,
    MUTATIONS,
    PROTOCOLS,
    Calls,
    assert_same,
    mutated,
    other_spelling,
)
from hypothesis import given
from hypothesis import strategies as st

from data_loader.data_files import open_original, refuse_lengths
from utils.errors import DataError
from utils.legacy.pickles import load_pickled_npy


def unit(vector):
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def read_columns(path):
    """Read a data file, and check it as reading and converting do."""
    is_adience = isinstance(load_pickled_npy(path), dict)
    faces, columns = open_original(path, is_adience)
    refuse_lengths(path, np.arange(len(faces)), columns["embedding"])
    return types.SimpleNamespace(**columns, image_path=[face.image_path for face in faces])


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
    columns = read_columns(path)
    assert columns.image_path == [record["image_path"] for record in records]
    assert columns.subject.tolist() == [""] * 5
    assert columns.age.tolist() == [0, 28.5, 2, 28.5, 4]
    assert columns.gender.tolist() == list("fmfmf")
    assert columns.fold.tolist() == [-1] * 5
    assert np.isnan(columns.det_score).all()
    np.testing.assert_array_equal(columns.embedding, [r["embedding"] for r in records])
    dtypes = (columns.age, columns.gender, columns.fold, columns.embedding)
    assert [column.dtype.str for column in dtypes] == ["<f4", "<U1", "|i1", "<f4"]


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
    columns = read_columns(path)
    assert columns.fold.tolist() == [0, 0, 1, 3]
    assert columns.subject.tolist() == ["101@N08", "b", "103@N08", "107@N08"]
    assert columns.image_path[1] == "a/b/c.jpg"
    assert columns.age.tolist() == [28.5, 2, 5, 28.5]
    np.testing.assert_array_equal(columns.det_score, [np.nan, np.nan, np.nan, 0.5])


def test_no_records_are_no_rows(tmp_path):
    columns = read_columns(save_npy(tmp_path / "data.npy", []))
    assert columns.embedding.shape == (0, 512)
    assert columns.subject.dtype.kind == "U"


@pytest.mark.parametrize("dtype", ["f2", "f8", ">f4"])
def test_embeddings_of_other_floats_become_float32(dtype, tmp_path):
    embedding = unit(np.linspace(-1, 1, 512)).astype(dtype)
    path = save_npy(tmp_path / "data.npy", [make_record(0, embedding=embedding)])
    columns = read_columns(path)
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
        ({"embedding": np.full(512, np.nan, np.float32)}, "row 2 is zero or not finite"),
        ({"embedding": np.full(512, 1e300)}, "row 2 is zero or not finite"),
        ({"embedding": np.full(512, 40 / 512**0.5)}, "row 2 has length 40, expected 1"),
        ({"embedding": np.full(512, 0.98 / 512**0.5)}, "row 2 has length 0.98"),
        ({"embedding": np.zeros(512)}, "row 2 is zero or not finite"),
        ({"embedding": np.full(512, 1e30)}, "row 2 is zero or not finite"),
        ({"age": 1e38}, "1 of 3 rows have an age above 9,999 years, the first is row 2"),
        ({"age": -31}, "no age of 0 years or more, the first is row 2"),
        ({"age": float("nan")}, "record 2 .*age nan"),
        ({"age": np.float64("inf")}, "record 2 .*age"),
        ({"age": 1e39}, "age"),
        ({"age": 10**400}, "age"),
        ({"age": "28"}, "record 2 that .*age '28'"),
        ({"age": None}, "age"),
        ({"age": True}, "age True"),
        ({"age": np.zeros(2)}, "age"),
        ({"gender": "u"}, "record 2 that .*gender 'u'"),
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
    with pytest.raises(DataError, match=rf"data\.npy.*{complaint}") as error:
        read_columns(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", ["image_path", "age", "gender", "embedding"])
def test_a_record_that_lacks_a_key_is_named(key, tmp_path):
    record = make_record(1)
    del record[key]
    path = save_npy(tmp_path / "data.npy", {2: [make_record(0), record]})
    with pytest.raises(DataError, match=f"record 1 of fold 2 that lacks '{key}'"):
        read_columns(path)


@pytest.mark.parametrize("fold", [1, -1, "0", None, np.zeros(2)], ids=str)
def test_a_record_in_another_fold_than_it_says_is_refused(fold, tmp_path):
    path = save_npy(tmp_path / "data.npy", {0: [make_record(0, fold=fold)]})
    with pytest.raises(DataError, match="record 0 of fold 0 that has the fold"):
        read_columns(path)


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
        read_columns(path)


def test_a_folder_with_an_endless_name_cannot_widen_every_row(tmp_path):
    path = save_npy(tmp_path / "data.npy", {0: [make_record(0, image_path="x" * 300 + "/a.jpg")]})
    with pytest.raises(DataError, match="300 letters"):
        read_columns(path)


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
        read_columns(path)
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
        read_columns(path)
