import base64
import json
import os
import pickle
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import Malicious
from serving_helpers import BINARY, JSON, Floats, json_body, original_body, pickled, vectors
from werkzeug.exceptions import HTTPException

from serving.bodies import read_embeddings


def read(body: bytes, kind: str = JSON, max_faces: int = 100, normalize: bool = False) -> Floats:
    embeddings: Floats = read_embeddings(body, kind, max_faces, normalize)
    return embeddings


FORMS: dict[str, tuple[Callable[[Floats], bytes], str]] = {
    "JSON": (json_body, JSON),
    "original": (lambda rows: original_body(pickled(rows)), JSON),
    "binary": (lambda rows: rows.astype("<f4").tobytes(), BINARY),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("num_faces", [1, 2, 64])
def test_each_form_gives_the_vectors_that_were_sent(form: str, num_faces: int) -> None:
    write, kind = FORMS[form]
    got = read(write(vectors(num_faces)), kind)
    assert got.dtype == np.float32
    assert got.shape == (num_faces, 512)
    np.testing.assert_allclose(got, vectors(num_faces), rtol=1e-7)


@pytest.mark.parametrize("form", FORMS)
def test_no_faces_are_no_rows(form: str) -> None:
    write, kind = FORMS[form]
    assert read(write(np.empty((0, 512), np.float32)), kind).shape == (0, 512)


def test_one_bare_vector_is_one_face() -> None:
    vector = vectors(1)[0]
    for body in (json_body(vector), original_body(pickled(vector))):
        np.testing.assert_allclose(read(body), vector[None], rtol=1e-7)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2"])
def test_a_pickle_of_any_protocol_and_any_floats_is_read(protocol: int, dtype: str) -> None:
    rows = vectors(3).astype(dtype)
    got = read(original_body(pickled(rows, protocol)))
    np.testing.assert_allclose(got, vectors(3), atol=1e-4 if dtype == "<f2" else 1e-7)


def test_a_pickled_array_of_columns_is_read() -> None:
    rows = np.asfortranarray(vectors(3))
    np.testing.assert_array_equal(read(original_body(pickled(rows))), vectors(3))


def test_whole_numbers_are_numbers_and_other_keys_do_not_matter() -> None:
    row = [0] * 511 + [1]
    body = json.dumps({"note": 'with "quotes", true', "embeddings": [row], "is": True}).encode()
    assert read(body).tolist() == [row]


def broken(**changes: Any) -> list[Any]:
    """Make a row of numbers, and change some by their place."""
    row: list[Any] = vectors(1)[0].tolist()
    for place, value in changes.items():
        row[int(place.removeprefix("at"))] = value
    return row


NAN, HUGE = float("nan"), 10**400
WRONG_JSON: dict[str, tuple[Any, str]] = {
    "nothing": (b"", "the body is empty"),
    "no JSON": (b"embeddings", "no JSON: .* at character 0"),
    "cut off": (json_body(vectors(1))[:-3], "no JSON"),
    "null": (None, "got null"),
    "true": (True, "got true or false"),
    "a number": (3, "got a number"),
    "a list": ([[1.0]], "got a list of 1"),
    "another key": ({"embedding": []}, "got an object without the key"),
    "null in the key": ({"embeddings": None}, "embeddings is null"),
    "an object in the key": ({"embeddings": {"0": 1}}, "embeddings is an object"),
    "a string in the key": ({"embeddings": "abc"}, "embeddings is a string"),
    "an empty face": ({"embeddings": [[]]}, "face 0 is a list of 0, expected 512 numbers"),
    "511": ({"embeddings": [broken()[:511]]}, "face 0 is a list of 511, expected 512"),
    "513": ({"embeddings": [broken(), [*broken(), 0.0]]}, "face 1 is a list of 513"),
    "bare 511": ({"embeddings": broken()[:511]}, "face 0 is a list of 511"),
    "faces and numbers": ({"embeddings": [broken(), 1.0]}, "face 1 is a number"),
    "ragged": ({"embeddings": [broken(), [1.0]]}, "face 1 is a list of 1"),
    "deeper": ({"embeddings": [[broken()]]}, "face 0 is a list of 1"),
    "deeper and full": ({"embeddings": [[broken()] * 512]}, "shape|something else than numbers"),
    "a string": ({"embeddings": [broken(at3="0.5")]}, "something else than numbers"),
    "all strings": ({"embeddings": [["0.5"] * 512]}, "something else than numbers"),
    "a null": ({"embeddings": [broken(at3=None)]}, "something else than numbers"),
    "a boolean": ({"embeddings": [broken(at3=True)]}, "something else than numbers"),
    "only booleans": ({"embeddings": [[False] * 512]}, "something else than numbers"),
    "a list inside": ({"embeddings": [broken(at3=[1.0])]}, "something else than numbers"),
    "an object inside": ({"embeddings": [broken(at3={})]}, "something else than numbers"),
    "NaN": ({"embeddings": [broken(at3=NAN)]}, "no JSON"),
    "infinity": ({"embeddings": [broken(at3=float("inf"))]}, "no JSON"),
    "huge in float32": ({"embeddings": [broken(at3=1e39)]}, "face 0 holds NaN or infinity"),
    "huge": ({"embeddings": [broken(at3=HUGE)]}, "face 0 holds NaN or infinity|no JSON"),
    "a huge whole number": ({"embeddings": [broken(at3=2**63)]}, "face 0 has length"),
    "zeros": ({"embeddings": [broken(), [0] * 512]}, "face 1 has length 0, expected 1 .*normal"),
    "too long": ({"embeddings": [[0.1] * 512]}, r"has length 2\.263, expected 1"),
    "a string that is no JSON": ("embeddings", "the body is no JSON"),
    "an empty string": ("", "the body is empty"),
    "a list in a string": ("[]", "not as in 2021 and 2022"),
    "a number in a string": ("1", "not as in 2021 and 2022"),
    "lists in a string": (json.dumps({"embeddings": [broken()]}), "not as in 2021 and 2022"),
    "no base64": (json.dumps({"embeddings": {"py/b64": "a!"}}), "not as in 2021 and 2022"),
    "base64 of a number": (json.dumps({"embeddings": {"py/b64": 5}}), "not as in 2021 and 2022"),
    "base64 of umlauts": (json.dumps({"embeddings": {"py/b64": "ä"}}), "not as in 2021 and 2022"),
    "no pickle": (json.dumps({"embeddings": {"py/b64": "AAAA"}}), "the pickle .* is refused"),
    "an empty pickle": (json.dumps({"embeddings": {"py/b64": ""}}), "the pickle .* is refused"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_JSON)
@pytest.mark.parametrize("normalize", [False, True])
def test_a_wrong_body_is_refused_and_the_error_says_what_was_expected(
    name: str, normalize: bool
) -> None:
    content, complaint = WRONG_JSON[name]
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    if normalize and "has length" in complaint:
        complaint = "all zero"
        if name != "zeros":
            assert np.linalg.norm(read(body, normalize=True)) == pytest.approx(1)
            return
    with pytest.raises(HTTPException, match=complaint) as refusal:
        read(body, normalize=normalize)
    assert refusal.value.code == 400
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize("depth", [1000, 100_000, 1_000_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"embeddings":', "}")])
def test_deep_nesting_is_refused(depth: int, opening: str, closing: str) -> None:
    for body in (opening * depth, opening * depth + "1" + closing * depth):
        with pytest.raises(HTTPException):
            read(body.encode())
        with pytest.raises(HTTPException):
            read(json.dumps(body).encode())


def test_a_long_string_among_numbers_takes_no_more_room_than_itself() -> None:
    """numpy would give all 512 numbers the room of the string."""
    body = json_body([broken(at7="x" * 100_000)])
    tracemalloc.start()
    try:
        with pytest.raises(HTTPException, match="something else than numbers"):
            read(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5_000_000


@pytest.mark.parametrize("size", [1, 2047, 2049, 512, 100])
def test_bytes_of_another_length_are_refused(size: int) -> None:
    with pytest.raises(HTTPException, match=f"{size:,} bytes, expected a multiple of 2,048"):
        read(b"\x00" * size, BINARY)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused_in_every_form(value: float) -> None:
    rows = vectors(3)
    rows[2, 100] = value
    for body, kind in ((rows.tobytes(), BINARY), (original_body(pickled(rows)), JSON)):
        for normalize in (False, True):
            with pytest.raises(HTTPException, match="face 2 holds NaN or infinity"):
                read(body, kind, normalize=normalize)


@pytest.mark.parametrize("kind", ["", "text/html", "application/jsonx", "x" * 500, "image/jpeg"])
def test_another_content_type_is_refused_with_415(kind: str) -> None:
    with pytest.raises(
        HTTPException, match="expected application/json or application/octet"
    ) as error:
        read(json_body(vectors(1)), kind)
    assert error.value.code == 415
    assert len(str(error.value)) < 250


@pytest.mark.parametrize("form", FORMS)
def test_more_faces_than_the_limit_are_refused_with_413(form: str) -> None:
    write, kind = FORMS[form]
    assert len(read(write(vectors(3)), kind, max_faces=3)) == 3
    with pytest.raises(HTTPException, match="4 faces, at most 3 a request") as error:
        read(write(vectors(4)), kind, max_faces=3)
    assert error.value.code == 413


@pytest.mark.parametrize(("factor", "is_taken"), [(0.985, 0), (0.992, 1), (1.008, 1), (1.015, 0)])
def test_unit_length_is_a_norm_within_one_percent(factor: float, is_taken: bool) -> None:
    body = json_body(vectors(2) * np.array([[1], [factor]]))
    if is_taken:
        assert len(read(body)) == 2
    else:
        with pytest.raises(HTTPException, match=r"face 1 has length .*\?normalize=1 accepts"):
            read(body)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("factor", [1e-30, 0.5, 25, 1e30])
def test_normalisation_brings_any_length_to_one(form: str, factor: float) -> None:
    write, kind = FORMS[form]
    rows = (vectors(3).astype(np.float64) * factor).astype(np.float32)
    np.testing.assert_allclose(read(write(rows), kind, normalize=True), vectors(3), atol=1e-6)


OTHER_PICKLES = {
    "a number": 5,
    "text": "embeddings",
    "lists": vectors(2).tolist(),
    "records": [{"embedding": vectors(1)[0]}],
    "three axes": vectors(2)[None],
    "a scalar": np.float32(1),
    "no axes": np.array(1.0),
    "another width": np.ones((2, 511), np.float32),
    "booleans": np.ones((1, 512), bool),
    "complex numbers": np.ones((1, 512), complex),
    "objects": np.array([[1.0] * 512], object),
    "text in an array": np.array([["1"] * 512]),
    "a dtype": np.dtype("f4"),
}


@pytest.mark.parametrize("name", OTHER_PICKLES)
def test_a_pickle_of_anything_else_is_refused(name: str) -> None:
    with pytest.raises(HTTPException) as refusal:
        read(original_body(pickled(OTHER_PICKLES[name])))
    assert refusal.value.code == 400


class Runs:
    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)

    def __init__(self, path: Path):
        self.path = path


def test_a_pickle_that_would_run_something_is_refused_and_does_not(tmp_path: Path) -> None:
    target = tmp_path / "ran"
    for hostile in (Runs(target), Malicious(target), [vectors(1), Runs(target)]):
        with pytest.raises(HTTPException, match="refused"):
            read(original_body(pickle.dumps(hostile)))
    assert not target.exists()


DOUBLED = b"h%ch%c\x86q%c"
BOMBS = {
    "doubling": b"\x80\x02]q\x00" + b"".join(DOUBLED % (n, n, n + 1) for n in range(60)) + b".",
    "bytes": b"\x80\x04cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R.",
    "array": b"\x80\x04\x8c\x05numpy\x8c\x07ndarray\x93J\xff\xff\xff\x7f\x85R.",
    "nested": b"\x80\x02" + b"(" * 1_000_000 + b"t" * 1_000_000 + b".",
    "marks": b"\x80\x02" + b"(" * 2_000_000,
    "empty tuples": b"\x80\x02](" + b")" * 2_000_000 + b"e.",
    "length": b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_pickle_bomb_is_refused(name: str) -> None:
    with pytest.raises(HTTPException, match="refused"):
        read(original_body(BOMBS[name]))


def test_an_array_that_says_it_is_larger_than_its_bytes_is_refused() -> None:
    honest = pickled(vectors(4), 2)
    lying = honest.replace(b"K\x04M\x00\x02", b"J\xff\xff\xff\x7fM\x00\x02")
    assert lying != honest
    with pytest.raises(HTTPException, match="refused"):
        read(original_body(lying))


def test_truncated_base64_is_refused_at_every_length() -> None:
    text = base64.b64encode(pickled(vectors(1))).decode()
    for length in (0, 1, 2, 3, 4, 100, len(text) - 5, len(text) - 4, len(text) - 1):
        body = json.dumps(json.dumps({"embeddings": {"py/b64": text[:length]}})).encode()
        with pytest.raises(HTTPException):
            read(body)


def test_an_error_repeats_nothing_of_the_vectors() -> None:
    row = broken(at3=0.123456789)
    for body in (json_body([[*row, 0.987654321]]), json_body([row])[:-2], json_body([row, "x"])):
        with pytest.raises(HTTPException) as refusal:
            read(body)
        assert "0.12345" not in str(refusal.value)
        assert "0.98765" not in str(refusal.value)


def test_a_pickle_of_millions_of_small_parts_is_refused_before_they_are_read() -> None:
    body = original_body(pickle.dumps(list(range(100_000))))
    with pytest.raises(HTTPException, match="more than 1,000 parts"):
        read(body)
