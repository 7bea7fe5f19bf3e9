"""Whatever is sent, the answer is JSON with status 2xx or 4xx, and the next request is answered."""

import base64
import contextlib
import copy
import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving_helpers import (
    BINARY,
    JSON,
    Listening,
    echo,
    encoded,
    form_of,
    grids,
    json_body,
    listening,
    original_body,
    pickled,
    picture_json,
    serving,
    vectors,
)

from sample.stand_in_server import StandInServer
from serving.routes import AgeGenderApp

QUICK = {"deadline": None, "suppress_health_check": list(HealthCheck)}
TYPES = [
    *(JSON, BINARY, "multipart/form-data; boundary=y", "multipart/form-data", "", "text/html"),
    *("image/jpeg", "image/x", "image/"),
    *("application/json; charset=utf-16", "multipart/form-data; boundary=" + "y" * 200, "\u00fc"),
]
QUERIES = st.sampled_from(
    ["", "?normalize=1", "?mc_samples=2", "?strict=1&answer=2022", "?normalize=1&mc_samples=3"]
)
ARRAY = pickled(vectors(2), 4)


PICTURES = [encoded(grids(1), kind) for kind in ("JPEG", "PNG", "GIF", "WEBP", "TIFF")]
VALID = {
    "JSON": (json_body(vectors(2)), JSON, "/"),
    "original": (original_body(ARRAY), JSON, "/"),
    "binary": (vectors(2).tobytes(), BINARY, "/"),
    "picture": (*form_of(PICTURES[0]), "/image"),
    "picture alone": (PICTURES[0], "image/jpeg", "/image"),
    "picture in JSON": (picture_json(PICTURES[0]), JSON, "/image"),
}


@pytest.fixture(scope="module")
def running() -> Iterator[Listening]:
    """Run waitress with a small application."""
    with pytest.MonkeyPatch.context() as patch, listening(echo, patch) as server:
        yield server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgeGenderApp]:
    with (
        StandInServer() as faces,
        serving(tmp_path_factory.mktemp("models"), face_server_url=faces.url) as running,
    ):
        yield running


def check(server: AgeGenderApp, body: bytes, kind: str, path: str) -> None:
    """Send, and look at the answer and at that of a good request after it."""
    client = server.test_client()
    response = client.post(path, data=body, content_type=kind)
    status, content = response.status_code, response.get_json()
    assert 200 <= status < 300 or 400 <= status < 500, (status, content)
    assert isinstance(content, dict)
    if status >= 400:
        assert list(content) == ["error"]
        assert "Traceback" not in content["error"]
        assert len(content["error"]) < 700
    elif path.startswith("/image"):
        assert len(content["faces"]) <= 1
    else:
        assert all(0 <= age["mean"] <= 100 if isinstance(age, dict) else 0 <= age <= 100
                   for age in content["ages"])  # fmt: skip
    good = client.post("/", data=vectors(1).tobytes(), content_type=BINARY)
    assert (good.status_code, len(good.get_json()["ages"])) == (200, 1)


def mutated(data: st.DataObject, valid: bytes) -> bytes:
    """Change, cut out, double or insert bytes in a few places."""
    content = bytearray(valid)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        end = start + data.draw(st.sampled_from([0, 1, 2, 4, 100, 5000]))
        new = data.draw(
            st.one_of(
                st.binary(max_size=8),
                st.sampled_from(
                    [b"true", b"null", b'"', b"[", b"]", b"{}", b"NaN", b"1e999", b"-"]
                ),
                st.just(bytes(content[start:end]) * 2),
            )
        )
        content[start:end] = new
    return bytes(content)


@given(
    st.binary(max_size=300),
    st.sampled_from(TYPES),
    st.sampled_from(["/", "/image", "/faces"]),
    QUERIES,
)
@settings(max_examples=150, **QUICK)  # type: ignore[arg-type]
def test_any_bytes_of_any_type(
    server: AgeGenderApp, body: bytes, kind: str, path: str, query: str
) -> None:
    check(server, body, kind, path + query)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("form", VALID)
@given(st.data())
@settings(max_examples=80, **QUICK)  # type: ignore[arg-type]
def test_a_mutated_body(server: AgeGenderApp, form: str, data: st.DataObject) -> None:
    valid, kind, path = VALID[form]
    query = data.draw(QUERIES) if path == "/" else ""
    check(server, mutated(data, valid), kind, path + query)


@given(st.data())
@settings(max_examples=100, **QUICK)  # type: ignore[arg-type]
def test_a_mutated_pickle_in_a_body_that_is_right(
    server: AgeGenderApp, data: st.DataObject
) -> None:
    valid = ARRAY if data.draw(st.booleans()) else ARRAY[:200]  # most opcodes come first
    check(server, original_body(mutated(data, valid)), JSON, "/" + data.draw(QUERIES))


SINGLE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from([1e308, 2**64, -(2**63), "py/b64", base64.b64encode(ARRAY).decode()]),
)
VALUES = st.recursive(
    st.one_of(SINGLE, SINGLE.map(lambda value: [value] * 512)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["embeddings", "py/b64", "x"]), inner, max_size=2),
    ),
    max_leaves=5,
)


@given(VALUES, st.booleans(), QUERIES)
@settings(max_examples=200, **QUICK)  # type: ignore[arg-type]
def test_any_json_in_place_of_the_vectors(
    server: AgeGenderApp, value: Any, is_original: bool, query: str
) -> None:
    text = json.dumps({"embeddings": value})
    check(server, (json.dumps(text) if is_original else text).encode(), JSON, "/" + query)


PICTURE_TEXTS = st.builds(
    "".join,
    st.lists(
        st.sampled_from(
            [*("data:image/jpeg;base64,", "data:", ";base64,", "http://", "/", "\n", "=", "\ud800"),
             *(base64.b64encode(picture).decode() for picture in PICTURES)]
        ),
        max_size=3,
    ),
)  # fmt: skip
PICTURE_VALUES = st.one_of(PICTURE_TEXTS, st.lists(PICTURE_TEXTS, max_size=2), VALUES)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@given(
    st.dictionaries(st.sampled_from(["img", "img_path", "actions"]), PICTURE_VALUES, max_size=3),
    st.sampled_from(["", "?mc_samples=1"]),
)
@settings(max_examples=150, **QUICK)  # type: ignore[arg-type]
def test_any_json_in_place_of_the_picture(
    server: AgeGenderApp, content: dict[str, Any], query: str
) -> None:
    check(server, json.dumps(content).encode(), JSON, "/image" + query)


@given(st.data())
@settings(max_examples=100, **QUICK)  # type: ignore[arg-type]
def test_a_row_with_a_few_other_values(server: AgeGenderApp, data: st.DataObject) -> None:
    rows = copy.deepcopy(ROWS)
    for _ in range(data.draw(st.integers(1, 3))):
        row = data.draw(st.sampled_from(rows))
        row[data.draw(st.integers(0, len(row) - 1))] = data.draw(VALUES)
    check(server, json_body(rows), JSON, "/" + data.draw(QUERIES))


ROWS = vectors(2).tolist()


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@given(st.data())
@settings(max_examples=100, **QUICK)  # type: ignore[arg-type]
def test_a_mutated_picture_in_a_form_that_is_right(
    server: AgeGenderApp, data: st.DataObject
) -> None:
    content = mutated(data, data.draw(st.sampled_from(PICTURES)))
    body, kind = form_of(content)
    check(server, body, kind, "/image?mc_samples=1")


@given(st.text(max_size=30), st.text(max_size=30), st.sampled_from(["GET", "POST", "PUT", "HEAD"]))
@settings(max_examples=100, **QUICK)  # type: ignore[arg-type]
def test_any_address(server: AgeGenderApp, path: str, query: str, method: str) -> None:
    address = "/" + quote(path.lstrip("/"), safe="/%.") + "?" + quote(query, safe="%&=+")
    with server.test_client().open(address, method=method) as response:
        assert 200 <= response.status_code < 300 or 400 <= response.status_code < 500
        if response.status_code >= 400 and method != "HEAD":
            assert list(response.get_json()) == ["error"]


REQUEST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\nContent-Length: 4\r\n\r\nabcd"
CHUNKED = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n"


@given(st.data())
@settings(max_examples=150, **QUICK)  # type: ignore[arg-type]
def test_any_bytes_on_the_wire(running: Listening, data: st.DataObject) -> None:
    content = mutated(data, data.draw(st.sampled_from([REQUEST, CHUNKED, REQUEST * 3])))
    with socket.create_connection(("127.0.0.1", running.port), timeout=20) as connection:
        answer = b""
        with contextlib.suppress(ConnectionError):
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
            while chunk := connection.recv(65536):
                answer += chunk
    assert answer[:9] in (b"", b"HTTP/1.1 ", b"HTTP/1.0 ")
    assert answer[9:10] not in (b"3", b"5")
    assert running.ask(b"ab") == (200, {"size": 2})
