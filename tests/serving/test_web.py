"""What browsers, proxies and HTTP libraries do: origins, encodings, slashes, methods, types."""

import base64
import gzip
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from fake_analyzer import FakeAnalyzer, png
from flask.testing import FlaskClient
from helpers import ROOT
from serving_helpers import (
    BINARY,
    JSON,
    NOWHERE,
    Listening,
    error_of,
    form_of,
    json_body,
    listening,
    serving,
    settings_of,
    vectors,
)
from werkzeug.test import TestResponse

from app import create_app
from face_server.app import create_app as create_face_server
from faces.wire import encode_request
from serving.responses import read_origins
from serving.routes import AgeGenderApp
from utils.errors import ConfigError

ORIGIN, OTHER = "https://faces.example", "https://elsewhere.example"
GOOD = json_body(vectors(1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[AgeGenderApp]:
    with serving(folder, allowed_origins=f"{ORIGIN}, http://localhost:3000") as running:
        yield running


@pytest.fixture
def client(server: AgeGenderApp) -> FlaskClient:
    return server.test_client()


# --- pages of other origins -----------------------------------------------------------------------


def access(response: TestResponse) -> dict[str, str]:
    """Return the headers that are about other origins."""
    return {
        name: value
        for name, value in response.headers
        if name.startswith("Access-Control-") or name == "Vary"
    }


GRANTED = {
    "Vary": "Origin",
    "Access-Control-Allow-Origin": ORIGIN,
    "Access-Control-Expose-Headers": "Retry-After",
}
ANSWERS: dict[str, tuple[Callable[..., TestResponse], int]] = {
    "faces": (lambda client, **more: client.post("/", data=GOOD, content_type=JSON, **more), 200),
    "health": (lambda client, **more: client.get("/health", **more), 200),
    "page": (lambda client, **more: client.get("/", buffered=True, **more), 200),
    "bad": (lambda client, **more: client.post("/", data=b"{", content_type=JSON, **more), 400),
    "type": (lambda client, **more: client.post("/", data=b"{", **more), 415),
    "large": (lambda client, **more: client.post("/?mc_samples=9999", **more), 413),
    "nowhere": (lambda client, **more: client.get("/none", **more), 404),
    "method": (lambda client, **more: client.get("/image", **more), 405),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_every_answer_lets_an_allowed_origin_read_it_and_no_other(
    name: str, client: FlaskClient
) -> None:
    ask, status = ANSWERS[name]
    response = ask(client, headers={"Origin": ORIGIN})
    assert (response.status_code, access(response)) == (status, GRANTED)
    for origin in (OTHER, "null", "", ORIGIN + ".evil.example", ORIGIN + ":444", "*"):
        assert access(ask(client, headers={"Origin": origin})) == {"Vary": "Origin"}
    assert access(ask(client)) == {"Vary": "Origin"}


def test_a_busy_server_lets_an_allowed_origin_read_that_and_when_to_ask_again(
    folder: Path,
) -> None:
    with (
        serving(folder, allowed_origins=ORIGIN, max_queue=1) as running,
        running.requests.entered(),
    ):
        response = running.test_client().post(
            "/", data=GOOD, content_type=JSON, headers={"Origin": ORIGIN}
        )
    assert (response.status_code, access(response)) == (429, GRANTED)
    assert response.headers["Retry-After"] == "1"


def preflight(client: FlaskClient, path: str, origin: str) -> TestResponse:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    return client.options(path, headers=asked)


@pytest.mark.parametrize(
    ("path", "method"), [("/", "POST"), ("/image", "POST"), ("/health", "GET")]
)
def test_a_preflight_is_answered_for_an_allowed_origin(
    path: str, method: str, client: FlaskClient
) -> None:
    response = preflight(client, path, ORIGIN)
    assert (response.status_code, response.data) == (200, b"")
    found = access(response)
    assert method in found.pop("Access-Control-Allow-Methods").split(", ")
    assert int(found.pop("Access-Control-Max-Age")) > 0
    assert found.pop("Access-Control-Allow-Headers") == "Content-Type"
    assert found == GRANTED
    assert access(preflight(client, path, OTHER)) == {"Vary": "Origin"}


def test_it_is_off_by_default(folder: Path) -> None:
    with serving(folder) as running:
        client = running.test_client()
        assert access(client.get("/health", headers={"Origin": ORIGIN})) == {}
        assert access(preflight(client, "/", ORIGIN)) == {}


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\nOrigin: %s\r\nContent-Length: ten\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nOrigin: %s\r\nContent-Length: 9\r\n\r\n123456789", 413),
        (b"POST / HTTP/1.1\r\nHost: x\r\nOrigin: %s\r\nContent-Length: 5\r\n\r\n", 408),
    ],
)
def test_so_do_errors_that_never_reach_the_application(
    content: bytes, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: dict[str, Any] = {"max_body_bytes": 5, "request_timeout_s": 0.2}
    with listening(lambda *_: [], monkeypatch, allowed_origins=ORIGIN, **limits) as running:
        for origin in (ORIGIN, OTHER):
            found, headers = raw_answer(running, content % origin.encode())
            assert found == status
            assert headers.get("vary") == "Origin"
            expected = ORIGIN if origin == ORIGIN else None
            assert headers.get("access-control-allow-origin") == expected


def raw_answer(running: Listening, content: bytes) -> tuple[int, dict[str, str]]:
    """Send bytes; give status and headers, with names in small letters."""
    with closing(running.connect()) as connection:
        connection.connect()
        connection.sock.sendall(content)
        answer = read_all(connection)
    first, *lines = answer.partition(b"\r\n\r\n")[0].decode().splitlines()
    headers = dict(line.split(": ", 1) for line in lines)
    return int(first.split()[1]), {name.lower(): value for name, value in headers.items()}


def read_all(connection: HTTPConnection) -> bytes:
    """Read until the server closes."""
    answer = b""
    while chunk := connection.sock.recv(65536):
        answer += chunk
    return answer


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("", set()),
        (" , ", set()),
        ("https://a", {"https://a"}),
        (
            "HTTPS://A.Example:443,http://b:80 http://b:81",
            {"https://a.example", "http://b", "http://b:81"},
        ),
        ("http://[::1]:3000", {"http://[::1]:3000"}),
        ("capacitor://localhost", {"capacitor://localhost"}),
    ],
)
def test_origins_are_read_as_browsers_send_them(text: str, origins: set[str]) -> None:
    assert read_origins(text) == origins


@pytest.mark.parametrize(
    "text",
    [
        *("*", "null", "a.example", "localhost:3000", "https://", "https://a/", "https://a/b"),
        *("https://*.a", "https://a:", "https://a:99999", "https://a?x", "https://ä", "//a"),
        *("https://ok,*", "https://user:secret@a", "https://a\r\nX: y", "https://a:8 0"),
    ],
)
def test_what_is_no_origin_is_refused_at_the_start_in_one_line(text: str, folder: Path) -> None:
    with pytest.raises(ConfigError, match="expected scheme://host or scheme://host:port") as caught:
        create_app(settings_of(folder, allowed_origins=text))
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


# --- bodies that are compressed -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gzip", "GZIP", "deflate", "br", "zstd", "identity, gzip", "x"])
@pytest.mark.parametrize(("path", "kind"), [("/", JSON), ("/", BINARY), ("/image", "picture")])
def test_a_compressed_body_is_refused_by_name(
    name: str, path: str, kind: str, client: FlaskClient
) -> None:
    body, content_type = form_of(b"x") if kind == "picture" else (GOOD, kind)
    headers = {"Content-Encoding": name}
    response = client.post(
        path, data=gzip.compress(body), content_type=content_type, headers=headers
    )
    text = error_of(response, 415)
    assert text.startswith(f"Content-Encoding is {name!r}, expected none: send the body as it is")


def test_a_body_that_says_it_is_as_it_is_is_taken(client: FlaskClient) -> None:
    for name in ("identity", "Identity", ""):
        headers = {"Content-Encoding": name}
        response = client.post("/", data=GOOD, content_type=JSON, headers=headers)
        assert response.status_code == 200


def test_the_face_server_refuses_compressed_bodies_too() -> None:
    client = create_face_server(FakeAnalyzer()).test_client()
    body = encode_request(png())
    for name, status in (("gzip", 415), ("br", 415), ("identity", 200)):
        response = client.post("/", data=body, headers={"Content-Encoding": name})
        assert response.status_code == status
    response = client.post("/", data=gzip.compress(body), headers={"Content-Encoding": "gzip"})
    assert "send the body as it is, not compressed" in response.get_json()["error"]


# --- addresses, methods and types -----------------------------------------------------------------


@pytest.mark.parametrize("path", ["/health", "/health/", "//health", "///health/"])
def test_slashes_too_many_do_no_harm(path: str, client: FlaskClient) -> None:
    assert client.get("/", environ_overrides={"PATH_INFO": path}).status_code == 200


def test_an_address_that_a_proxy_left_empty_is_the_page(client: FlaskClient) -> None:
    response = client.get("/", environ_overrides={"PATH_INFO": ""}, buffered=True)
    assert (response.status_code, response.mimetype) == (200, "text/html")


def test_an_unknown_address_is_told_which_there_are(client: FlaskClient) -> None:
    text = error_of(client.post("/predict", data=GOOD, content_type=JSON), 404)
    assert text.startswith("there is no '/predict' here; POST / takes embeddings, POST /image")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        *(("HEAD", "/", 200), ("HEAD", "/health", 200), ("HEAD", "/image", 405)),
        *(("OPTIONS", "/", 200), ("OPTIONS", "/image", 200), ("OPTIONS", "/health", 200)),
        *(("PUT", "/", 405), ("DELETE", "/image", 405), ("PATCH", "/health", 405)),
    ],
)
def test_methods_are_answered_with_those_that_there_are(
    method: str, path: str, status: int, client: FlaskClient
) -> None:
    response = client.open(path, method=method, buffered=True)
    assert response.status_code == status
    if method == "OPTIONS" or status == 405:
        assert "OPTIONS" in response.headers["Allow"]


@pytest.mark.parametrize(
    "kind",
    ["application/json", "Application/JSON; Charset=UTF-8", "application/json;charset=utf-8"],
)
def test_types_may_be_in_capitals_and_name_a_charset(kind: str, client: FlaskClient) -> None:
    assert client.post("/", data=GOOD, content_type=kind).status_code == 200


FORMS: dict[str, tuple[bytes, str, int, str]] = {
    "no boundary": (form_of(b"x")[0], "multipart/form-data", 400, "has no boundary"),
    "another field": (*form_of(b"x", "file"), 400, "no file in the field 'image'"),
    "text": (
        b'--y\r\nContent-Disposition: form-data; name="image"\r\n\r\nphoto.jpg\r\n--y--\r\n',
        "multipart/form-data; boundary=y",
        400,
        "with curl: -F image=@photo.jpg",
    ),
    "capitals": (form_of(b"x")[0], "Multipart/Form-Data; Boundary=y", 400, "not an image"),
    "no picture": (b"x", "image/jpeg", 400, "not an image"),
    "no picture in JSON": (b'{"img": "QUJD"}', JSON, 400, "not an image"),
    "a form of text": (b"image=x", "application/x-www-form-urlencoded", 415, "form-data with a"),
    "nothing": (b"", "", 415, "expected multipart/form-data with a file"),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_body_that_holds_no_picture_is_told_what_it_lacks(name: str, client: FlaskClient) -> None:
    body, kind, status, words = FORMS[name]
    assert words in error_of(client.post("/image", data=body, content_type=kind), status)


def test_a_body_of_which_nobody_says_the_length_is_an_empty_one(
    server: AgeGenderApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
    with listening(server, monkeypatch) as running:
        status, headers = raw_answer(running, head + b"\r\n")
    assert (status, headers["content-type"]) == (400, JSON)


def test_a_form_in_chunks_and_one_that_waits_for_leave_are_read(
    server: AgeGenderApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    body, kind = form_of(b"no picture")
    with listening(server, monkeypatch) as running, closing(running.connect()) as connection:
        parts, headers = iter([body[:50], body[50:]]), {"Content-Type": kind}
        connection.request("POST", "/image", parts, headers, encode_chunked=True)
        assert "not an image" in json.loads(connection.getresponse().read())["error"]
        head = f"POST /image HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n"
        head += f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
        connection.sock.sendall(head.encode())
        assert connection.sock.recv(25).startswith(b"HTTP/1.1 100")
        connection.sock.sendall(body)
        assert b"not an image" in read_all(connection)


def test_a_client_that_speaks_tls_here_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(60)
    with listening(lambda *_: [], monkeypatch) as running:
        status, _ = raw_answer(running, hello)
    assert status == 400


def test_a_body_may_begin_as_tls_does(
    server: AgeGenderApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    head += b"Content-Type: application/octet-stream\r\nContent-Length: 4\r\n\r\n"
    with listening(server, monkeypatch) as running, closing(running.connect()) as connection:
        connection.connect()
        connection.sock.sendall(head)
        connection.sock.sendall(b"\x16\x03\x01\x02")
        assert b"expected a multiple of 2,048" in read_all(connection)


# --- the shell's proxy ----------------------------------------------------------------------------


def health_command(dockerfile: str) -> list[str]:
    (line,) = re.findall(
        r"HEALTHCHECK [^\n]*\\\n +CMD (.*)", (ROOT / dockerfile).read_text("utf-8")
    )
    command: list[str] = json.loads(line)
    return command


@pytest.mark.parametrize("dockerfile", ["Dockerfile", "Dockerfile-cuda"])
def test_the_health_check_of_an_image_asks_no_proxy(
    dockerfile: str, server: AgeGenderApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, *code = health_command(dockerfile)
    with listening(server, monkeypatch) as running:
        for port, expected in ((running.port, True), (9, False)):
            environment = {**os.environ, "PORT": str(port), "http_proxy": NOWHERE}
            done = subprocess.run(  # noqa: S603 - this interpreter
                [sys.executable, *code], env=environment, capture_output=True, check=False
            )
            assert (done.returncode == 0) is expected


def test_neither_does_that_of_the_face_server() -> None:
    assert "urllib" not in " ".join(health_command("face_server/Dockerfile"))


# --- the page -------------------------------------------------------------------------------------


STATIC = ROOT / "serving" / "static"


def test_the_page_names_no_address_from_the_root_of_the_host() -> None:
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    script = "".join(file.read_text(encoding="utf-8") for file in STATIC.glob("*.js"))
    style = (STATIC / "page.css").read_text(encoding="utf-8")
    addresses = re.findall(r'(?:href|src|action)="([^"]+)"', page)
    addresses += re.findall(r'from "([^"]+)"', script)
    addresses += re.findall(r"fetch\(`([^`$]+)", script) + re.findall(r"url\(([^)]+)\)", style)
    assert {"static/page.css", "static/page.js", "image", "./view.js"} <= set(addresses)
    assert not [address for address in addresses if address.startswith(("/", "http"))]


def test_the_policy_lets_the_one_script_within_the_page_run(client: FlaskClient) -> None:
    response = client.get("/", buffered=True)
    (script,) = re.findall(r"<script>(.*?)</script>", response.text)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = response.headers["Content-Security-Policy"]
    assert f"script-src 'self' 'sha256-{digest}';" in policy
    assert "unsafe" not in policy
