import copy
import json
import time
from typing import Any

import numpy as np
from helpers import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faces.wire_decode import WireError, decode_answer

RECORDED: dict[str, dict[str, str]] = json.loads(
    (ROOT / "tests" / "faces" / "recorded" / "answers.json").read_text(encoding="utf-8")
)
"""What real jsonpickle wrote, by versions and by case."""

CASES = [(versions, case) for versions, texts in RECORDED.items() for case in texts]

PLAIN = st.sampled_from(
    [None, True, 0, 1, -1, 3, 512, 2**63, 1e308, float("nan"), "", "<", "f8", "O", "numpy.ndarray"]
)
NODES = st.one_of(
    PLAIN,
    st.integers(0, 20).map(lambda number: {"py/id": number}),
    st.sampled_from(["py/tuple", "py/reduce", "py/b64", "py/type", "py/function", "py/x"]).flatmap(
        lambda key: PLAIN.map(lambda value: {key: value})
    ),
    st.lists(PLAIN, max_size=4),
    st.lists(st.sampled_from([0, 0, 1, 2**22, 2**62]), max_size=5).flatmap(
        lambda sizes: st.sampled_from([sizes, {"py/tuple": sizes}])
    ),
    st.dictionaries(st.sampled_from(["py/object", "dtype", "values", "shape"]), PLAIN),
)


def places(node: Any) -> list[tuple[Any, Any]]:
    """List every place in JSON that can be changed: (container, key)."""
    found: list[tuple[Any, Any]] = []
    keys = range(len(node)) if isinstance(node, list) else node if isinstance(node, dict) else ()
    for key in keys:
        found += [(node, key), *places(node[key])]
    return found


@given(st.data())
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_mutated_answer_gives_faces_or_one_error(data: st.DataObject) -> None:
    versions, case = data.draw(st.sampled_from(CASES))
    content = json.loads(RECORDED[versions][case])
    for _ in range(data.draw(st.integers(1, 3))):
        found = places(content)
        if not found:
            break
        container, key = data.draw(st.sampled_from(found))
        action = data.draw(st.sampled_from(["replace", "delete", "copy", "swap"]))
        if action == "replace":
            container[key] = data.draw(NODES)
        elif action == "delete":
            del container[key]
        else:
            other, other_key = data.draw(st.sampled_from(found))
            container[key] = copy.deepcopy(other[other_key])
    assert_faces_or_error(json.dumps(content).encode())


@given(st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_text_with_changed_bytes_gives_faces_or_one_error(data: st.DataObject) -> None:
    versions, case = data.draw(st.sampled_from(CASES))
    text = bytearray(RECORDED[versions][case].encode())
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(text) - 1))
        end = position + data.draw(st.integers(0, 3))
        text[position:end] = data.draw(st.binary(max_size=3))
        if not text:
            break
    assert_faces_or_error(bytes(text))


@given(st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_any_bytes_give_faces_or_one_error(text: bytes) -> None:
    assert_faces_or_error(text)


def assert_faces_or_error(text: bytes) -> None:
    start = time.process_time()
    try:
        answer = decode_answer(text)
    except WireError:
        answer = None
    assert time.process_time() - start < 5
    for face in (answer.faces if answer else None) or []:
        assert (face.bbox.shape, face.landmark.shape) == ((4,), (5, 2))
        assert np.isfinite([*face.bbox, *face.landmark.ravel(), face.det_score]).all()
        assert face.embedding.shape == (512,)
        assert 0.98 < np.linalg.norm(face.embedding) < 1.02
