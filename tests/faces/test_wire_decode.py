import base64
import json
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import ROOT
from numpy.typing import NDArray

from faces import wire_decode
from faces.wire import encode_faces
from faces.wire_decode import FaceAnswer, WireError, decode_answer

RECORDED: dict[str, dict[str, str]] = json.loads(
    (ROOT / "tests" / "faces" / "recorded" / "answers.json").read_text(encoding="utf-8")
)
"""What real jsonpickle wrote for `make_face(0)`, `make_face(1)`, by versions and by case."""

CASES = [(versions, case) for versions, texts in RECORDED.items() for case in texts]
KEY = "face_detection_recognition"
Json = dict[str, Any]


def unit(seed: int) -> NDArray[np.float32]:
    vector = np.random.default_rng(seed).standard_normal(512).astype(np.float32)
    rounded = np.rint(vector * 8) / 8
    return np.asarray(rounded / np.linalg.norm(rounded), np.float32)


def make_face(seed: int) -> dict[str, Any]:
    return {
        "bbox": np.array([1.0, 2.0, 30.0, 40.5]) + seed,
        "det_score": np.float64(0.75 + seed / 16),
        "landmark": np.rint(np.random.default_rng(seed).uniform(0, 200, (5, 2))),
        "normed_embedding": unit(seed),
    }


def expected_faces(case: str) -> list[dict[str, Any]] | None:
    first, second = make_face(0), make_face(1)
    special: dict[str, list[dict[str, Any]] | None] = {
        "null": None,
        "no face": [],
        "same face twice": [first, second, second],
        "shared box": [first, second | {"bbox": first["bbox"]}],
        "shared embedding": [first, second | {"normed_embedding": first["normed_embedding"]}],
        "whole numbers, float32 score": [first | {"bbox": np.array([1, 2, 30, 41])}],
    }
    if case in special:
        return special[case]
    has_two = case in ("two faces", "old key, float32 landmarks", "no references") or "keys" in case
    return [first, second] if has_two else [first]


def assert_same(answer: FaceAnswer, expected: list[dict[str, Any]] | None) -> None:
    if expected is None:
        assert answer.faces is None
        return
    assert answer.faces is not None
    assert len(answer.faces) == len(expected)
    for face, arrays in zip(answer.faces, expected, strict=True):
        assert face.det_score == float(arrays["det_score"])
        assert np.array_equal(face.bbox, arrays["bbox"])
        assert np.array_equal(face.landmark, arrays["landmark"])
        assert np.array_equal(face.embedding, arrays["normed_embedding"])
        dtypes = [face.bbox.dtype.name, face.landmark.dtype.name, face.embedding.dtype.name]
        assert dtypes == ["float64", "float64", "float32"]
        assert type(face.det_score) is float


@pytest.mark.parametrize(("versions", "case"), CASES)
def test_what_real_jsonpickle_wrote_is_read(versions: str, case: str) -> None:
    answer = decode_answer(RECORDED[versions][case])
    assert_same(answer, expected_faces(case))
    assert answer.model == ("tiny" if case == "model" else None)


def test_every_encoding_is_recorded() -> None:
    text = json.dumps(RECORDED)
    for sign in ("numpy.core.multiarray", "numpy._core.multiarray", "py/id", "py/object", "fa_res"):
        assert sign in text


@pytest.mark.parametrize("num_faces", [0, 1, 5])
def test_our_own_encoding_is_read(num_faces: int) -> None:
    faces = [make_face(seed) for seed in range(num_faces)]
    assert_same(decode_answer(encode_faces(faces, "fa_results", "m").encode()), faces)


def test_the_arrays_can_be_changed_and_share_nothing() -> None:
    first, second, third = decode_answer(RECORDED[CASES[0][0]]["same face twice"]).faces or []
    third.bbox[:] = third.embedding[:] = third.landmark[:] = 0
    assert second.bbox.all()
    assert second.embedding.any()
    assert first.landmark.any()


def reduced(array: Any) -> Any:
    """Write one array without references."""
    number = np.asarray(array)
    code = f"f{number.dtype.itemsize}" if number.dtype.kind == "f" else number.dtype.str[1:]
    order = "|" if number.dtype.itemsize == 1 else "<"
    dtype = {
        "py/reduce": [
            {"py/type": "numpy.dtype"},
            {"py/tuple": [code, False, True]},
            {"py/tuple": [3, order, None, None, None, -1, -1, 0]},
        ]
    }
    content = {"py/b64": base64.b64encode(number.tobytes()).decode()}
    empty = {"py/tuple": [{"py/type": "numpy.ndarray"}, {"py/tuple": [0]}, {"py/b64": "Yg=="}]}
    state = {"py/tuple": [1, {"py/tuple": list(number.shape)}, dtype, False, content]}
    reconstruct = {"py/function": "numpy.core.multiarray._reconstruct"}
    return {"py/reduce": [reconstruct, empty, state]}


def answer_with(**fields: Any) -> str:
    """Write an answer of one face, some of its fields as they are given."""
    face = {name: reduced(array) for name, array in make_face(0).items()}
    return json.dumps({KEY: [face | fields]})


def packed(array: NDArray[Any], **changes: Any) -> Json:
    """Write an array in the words of jsonpickle's handlers."""
    values = base64.b64encode(zlib.compress(array.tobytes())).decode()
    shape, name = list(array.shape), array.dtype.name
    form = {"py/object": "numpy.ndarray", "values": values, "shape": shape, "dtype": name}
    return form | {"byteorder": "<"} | changes


@pytest.mark.parametrize(
    "dtype", ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]
)
def test_boxes_of_every_kind_of_number_are_read(dtype: str) -> None:
    box = np.array([1, 2, 30, 40], dtype)
    nested = {"py/object": "numpy.ndarray", "dtype": box.dtype.name, "values": box.tolist()}
    for form in (reduced(box), nested):
        (face,) = decode_answer(answer_with(bbox=form)).faces or []
        assert face.bbox.tolist() == [1, 2, 30, 40]


@pytest.mark.parametrize("length", [0.0, 0.98, 1.02, 1e200, float("nan")])
def test_an_embedding_that_is_not_of_unit_length_is_refused(length: float) -> None:
    vector = unit(0).astype(np.float64) * length
    with pytest.raises(WireError, match=r"length|finite"):
        decode_answer(answer_with(normed_embedding=reduced(vector)))


@pytest.mark.parametrize("length", [0.991, 1.009])
def test_nearly_unit_length_is_enough(length: float) -> None:
    assert decode_answer(answer_with(normed_embedding=reduced(unit(0) * np.float32(length)))).faces


def edited(path: str, value: Any) -> str:
    """Change one place of an answer with one face, as JSON; `path` is keys and numbers."""
    content = json.loads(answer_with())
    *parents, last = [int(key) if key.isdigit() else key for key in path.split()]
    place = content[KEY][0]
    for key in parents:
        place = place[key]
    place[last] = value
    return json.dumps(content)


STATE = "bbox py/reduce 2 py/tuple"
DTYPE = f"{STATE} 2 py/reduce"
REFUSED: list[tuple[str, Any]] = [
    ("bbox py/reduce 0 py/function", "os.system"),
    ("bbox py/reduce 0 py/function", "numpy.core.multiarray.scalar"),
    ("bbox py/reduce 0", {"py/type": "os.system"}),
    ("bbox py/reduce 0", {"py/function": ["numpy.core.multiarray._reconstruct"]}),
    ("bbox py/reduce 1 py/tuple 0 py/type", "numpy.matrix"),
    ("bbox py/reduce 1 py/tuple 1 py/tuple 0", 5),
    ("bbox py/reduce 1 py/tuple 2 py/b64", "Yw=="),
    ("bbox py/reduce", []),
    ("bbox py/reduce", None),
    (STATE, []),
    (f"{STATE} 0", 2),
    (f"{STATE} 1 py/tuple", [5]),
    (f"{STATE} 1 py/tuple", [-4]),
    (f"{STATE} 1 py/tuple", [4.0]),
    (f"{STATE} 1 py/tuple", [True, 4]),
    (f"{STATE} 1 py/tuple", [2, 2]),
    (f"{STATE} 1 py/tuple", [4, 0]),
    (f"{STATE} 1 py/tuple", [10**30]),
    (f"{STATE} 1 py/tuple", [4] + [1] * 70),
    (f"{STATE} 1 py/tuple", 4),
    (f"{STATE} 3", 1),
    (f"{STATE} 4 py/b64", "AAAA"),
    (f"{STATE} 4 py/b64", "not base64 at all!"),
    (f"{STATE} 4 py/b64", "\u00e9"),
    (f"{STATE} 4 py/b64", 7),
    (f"{STATE} 4", "AAAA"),
    (f"{STATE} 2", "f8"),
    (f"{DTYPE} 0 py/type", "numpy.void"),
    (f"{DTYPE} 1 py/tuple 0", "O8"),
    (f"{DTYPE} 1 py/tuple 0", "V8"),
    (f"{DTYPE} 1 py/tuple 0", "M8"),
    (f"{DTYPE} 1 py/tuple 0", "c8"),
    (f"{DTYPE} 1 py/tuple 0", "f16"),
    (f"{DTYPE} 1 py/tuple 0", ["f8"]),
    (f"{DTYPE} 1 py/tuple 2", False),
    (f"{DTYPE} 2 py/tuple 1", "|"),
    (f"{DTYPE} 2 py/tuple 1", ["<"]),
    (f"{DTYPE} 2 py/tuple 2", {"py/tuple": [{"py/type": "os.system"}]}),
    (f"{DTYPE} 2 py/tuple 7", 63),
    ("bbox", 1),
    ("bbox", None),
    ("bbox", "1 2 3 4"),
    ("bbox", [1, 2, 3, 4]),
    ("bbox", {"x": 1}),
    ("bbox", {"py/object": "os.system"}),
    ("bbox", {"py/object": {"a": 1}}),
    ("bbox", {"py/type": "numpy.ndarray"}),
    ("bbox", {"py/function": "os.getcwd"}),
    ("bbox", {"py/tuple": [1, 2, 3, 4]}),
    ("bbox", {"py/set": [1, 2, 3, 4]}),
    ("bbox", {"py/repr": "os/os.getcwd()"}),
    ("bbox", {"py/newargs": []}),
    ("bbox", {"py/state": {}, "py/object": "numpy.ndarray"}),
    ("bbox", {"py/id": 0}),
    ("bbox", {"py/id": 2}),
    ("bbox", {"py/id": 3}),
    ("bbox", {"py/id": 10**9}),
    ("bbox", {"py/id": -1}),
    ("bbox", {"py/id": True}),
    ("bbox", {"py/id": "0"}),
    ("det_score", 0.5),
    ("det_score", None),
    ("bbox py/id", 0),
]


@pytest.mark.parametrize(("path", "value"), REFUSED)
def test_a_form_outside_the_grammar_is_refused(path: str, value: Any) -> None:
    with pytest.raises(WireError):
        decode_answer(edited(path, value))


BOX = np.array([1.0, 2.0, 30.0, 40.0])
LONG = np.arange(1000.0)
REFUSED_HANDLED: list[Json] = [
    {"py/object": "numpy.ndarray", "dtype": "float64", "values": [1, 2, [3], 4]},
    {"py/object": "numpy.ndarray", "dtype": "float64", "values": [1, 2, "3", 4]},
    {"py/object": "numpy.ndarray", "dtype": "float64", "values": [1, 2, None, 4]},
    {"py/object": "numpy.ndarray", "dtype": "float64", "values": [1, 2, {"py/id": 0}, 4]},
    {"py/object": "numpy.ndarray", "dtype": "float64", "values": [[1, 2], [3]]},
    {"py/object": "numpy.ndarray", "dtype": "float64", "values": [1, 2, 10**400, 4]},
    {"py/object": "numpy.ndarray", "dtype": "uint8", "values": [1, 2, 300, 4]},
    {"py/object": "numpy.ndarray", "dtype": "int8", "values": [1, 2, float("nan"), 4]},
    {"py/object": "numpy.ndarray", "dtype": "float64", "values": [1, 2, float("inf"), 4]},
    {"py/object": "numpy.ndarray", "dtype": "float16", "values": [1, 2, 1e9, 4]},
    {"py/object": "numpy.ndarray", "dtype": "object", "values": [1, 2, 3, 4]},
    {"py/object": "numpy.ndarray", "dtype": ["float64"], "values": [1, 2, 3, 4]},
    {"py/object": "numpy.ndarray", "dtype": "float64"},
    {"py/object": "numpy.ndarray", "values": [1, 2, 3, 4]},
    {"py/object": "numpy.ndarray", "dtype": "float64", "values": []},
    {"py/object": "numpy.ndarray", "dtype": "float64", "values": [1, 2, 3, 4], "shape": [2, 2]},
    {"py/object": "numpy.float64", "dtype": "float64", "value": 1.0},
    {"py/object": "numpy.float64", "dtype": "float32", "value": 1.0},
    {"py/object": "numpy.float64", "dtype": "float64", "value": [1.0, 2.0, 3.0, 4.0]},
    packed(BOX, base={"py/id": 0}),
    packed(BOX, strides=[0]),
    packed(BOX, offset=-8),
    packed(BOX, order="A"),
    packed(BOX, order=["C"]),
    packed(BOX, byteorder="="),
    packed(BOX, byteorder=[1]),
    packed(BOX, dtype="float32"),
    packed(BOX, shape=[5]),
    packed(np.zeros(0), shape=[0, 2**22, 2**22, 2**22], values=[]),
    packed(np.zeros(0), shape=[0, 2**22, 2**22, 2**22]),
    packed(BOX, shape=[3]),
    packed(BOX, shape=None),
    packed(BOX, shape={"py/tuple": [4]}),
    packed(BOX, writeable=1),
    packed(BOX, values="AAAA"),
    packed(BOX, values=base64.b64encode(BOX.tobytes()).decode()),
    packed(BOX, values=base64.b64encode(zlib.compress(BOX.tobytes()) + b"more").decode()),
    packed(BOX, values=base64.b64encode(zlib.compress(BOX.tobytes())[:-3]).decode()),
    packed(LONG, shape=[4]),
]


@pytest.mark.parametrize("form", REFUSED_HANDLED)
def test_a_handlers_form_outside_the_grammar_is_refused(form: Json) -> None:
    with pytest.raises(WireError):
        decode_answer(answer_with(bbox=form))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "3",
        '"faces"',
        "{}",
        "{",
        "<!doctype html>",
        b"\xff\xfe{}",
        '{"other": []}',
        '{"fa_results": [], "face_detection_recognition": []}',
        '{"fa_results": {}}',
        '{"fa_results": [null]}',
        '{"fa_results": [[]]}',
        '{"fa_results": [{}]}',
        '{"fa_results": "[]"}',
        '{"fa_results": [{"bbox": 1}]}',
        '{"fa_results": {"py/id": 0}}',
        '{"fa_results": [], "model": 3}',
        '{"fa_results": [], "model": "a\\nb"}',
        '{"fa_results": [], "model": "\\ud800"}',
        '{"fa_results": [], "x": {"py/object": "os.system"}}',
        '{"fa_results": [], "x": {"py/tuple": [1]}}',
        '{"py/object": "builtins.dict", "fa_results": []}',
        '{"py/reduce": [{"py/function": "os.getcwd"}, {"py/tuple": []}]}',
        '{"fa_results": ' + "1" * 5000 + "}",
        f'{{"fa_results": [], "model": "{"m" * 1000}"}}',
    ],
)
def test_what_is_no_answer_is_refused(text: str | bytes) -> None:
    with pytest.raises(WireError):
        decode_answer(text)


def test_plain_keys_beside_the_faces_are_ignored_but_counted() -> None:
    """The references of the recorded text are two higher for a dict and a list before them."""
    text = RECORDED[CASES[0][0]]["other keys before"]
    assert '{"py/id": 6}' in text
    with pytest.raises(WireError):
        decode_answer(text.replace('"time": {"ms": [1, 2]}, ', ""))


def nested_zlib_bombs() -> str:
    zeros = packed(np.zeros(2**17))
    return json.dumps({"fa_results": [], "x": [zeros] * 1000})


BOMBS: dict[str, Callable[[], str]] = {
    "deep lists": lambda: '{"fa_results": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "deep dicts": lambda: '{"fa_results": ' + '{"a":' * 50_000 + "1" + "}" * 50_000 + "}",
    "many lists": lambda: '{"fa_results": [' + "[]," * 70_000 + "[]]}",
    "long text": lambda: '{"fa_results": [], "x": "' + "a" * 2**24 + '"}',
    "zlib": nested_zlib_bombs,
    "zlib of another length": lambda: answer_with(
        bbox=packed(np.zeros(2**22, np.uint8), shape=[32], byteorder="|")
    ),
    "shape": lambda: answer_with(bbox=packed(BOX, shape=[2**22, 2**22, 2**22])),
    "faces by reference": lambda: answer_with()[:-2] + ', {"py/id": 2}' * 2_000 + "]}",
    "message": lambda: json.dumps({"fa_results": [{"bbox": {"py/x": ["a"] * 10**5}}]}),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_in_bounded_memory(name: str) -> None:
    text = BOMBS[name]()
    tracemalloc.start()
    try:
        with pytest.raises(WireError) as caught:
            decode_answer(text)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 * 2**20
    assert len(str(caught.value)) < 500


def test_a_text_of_many_faces_is_read() -> None:
    text = encode_faces([make_face(seed) for seed in range(200)])
    assert len(decode_answer(text).faces or []) == 200


def test_too_many_bytes_are_refused_before_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json, "loads", None)
    with pytest.raises(WireError, match="longer than"):
        decode_answer(b" " * (wire_decode.MAX_ANSWER_BYTES + 1))
