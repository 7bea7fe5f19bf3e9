"""GET /openapi.json: it describes the addresses that there are, and the answers that they give."""

import copy
import json
import re
import socket
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import pytest
from helpers import ROOT
from jsonschema import Draft202012Validator
from serving_helpers import (
    BINARY,
    JSON,
    NOWHERE,
    encoded,
    form_of,
    grids,
    json_body,
    listening,
    original_body,
    pickled,
    picture_json,
    save_model,
    serving,
    statistics_of,
    vectors,
)
from simulated_people import fitted_age, fitted_gender

from faces.wire import encode_request
from sample.stand_in_server import StandInServer
from serving.openapi import ALWAYS, describe_api
from serving.requests import CHOICES, IMAGE_QUERY, QUERY
from serving.routes import AgeGenderApp
from serving.schemas import EXAMPLE
from serving.settings import ServerSettings
from utils.scripts import make_ensemble

GOOD, OTHER_LENGTH = json_body(vectors(2)), json_body(vectors(1) * 2)
PICTURE = encoded(grids(1), "JPEG", quality=95)
FORM, FORM_KIND = form_of(PICTURE)
ONLY_BY_FLASK = {"HEAD", "OPTIONS"}


@dataclass(frozen=True)
class Asked:
    """A request, and the status of its answer."""

    operation: str
    status: int = 200
    query: str = ""
    body: bytes | None = None
    kind: str | None = None

    @property
    def method(self) -> str:
        return self.operation.partition(" ")[0]

    @property
    def path(self) -> str:
        return self.operation.partition(" ")[2]


def to_faces(status: int, body: bytes, kind: str = JSON, query: str = "") -> Asked:
    return Asked("post /", status, query, body, kind)


def to_picture(status: int, body: bytes, kind: str, query: str = "?mc_samples=2") -> Asked:
    return Asked("post /image", status, query, body, kind)


ASKED = {
    "page": Asked("get /"),
    "health": Asked("get /health"),
    "error rates": Asked("get /error-rates"),
    "metrics": Asked("get /metrics"),
    "openapi": Asked("get /openapi.json"),
    "static": Asked("get /static/page.css"),
    "no static": Asked("get /static/x", 404),
    "faces": to_faces(200, GOOD),
    "one bare vector": to_faces(200, json_body(vectors(1)[0].tolist())),
    "no faces": to_faces(200, json_body([])),
    "uncertainty": to_faces(200, GOOD, query="?mc_samples=3&normalize=1"),
    "confidence": to_faces(200, GOOD, query="?level=0.8&over=18,25"),
    "binary": to_faces(200, vectors(2).tobytes(), BINARY),
    "original": to_faces(200, original_body(pickled(vectors(2))), query="?answer=2022"),
    "bad faces": to_faces(400, OTHER_LENGTH),
    "bad query": to_faces(400, GOOD, query="?x=1"),
    "too many passes": to_faces(413, GOOD, query="?mc_samples=5000"),
    "wrong type": to_faces(415, GOOD, "text/plain"),
    "foreign": to_faces(422, GOOD, query="?strict=1"),
    "form": to_picture(200, FORM, FORM_KIND),
    "file": to_picture(200, PICTURE, "image/jpeg"),
    "base64": to_picture(200, picture_json(PICTURE), JSON, ""),
    "found faces": Asked("post /faces", 200, "", encode_request(PICTURE), JSON),
    "no request for faces": Asked("post /faces", 400, "", b'"{}"', JSON),
    "no picture": to_picture(400, b"x", "image/png"),
    "picture of no type": to_picture(415, PICTURE, BINARY),
    "too many passes for a picture": to_picture(413, FORM, FORM_KIND, "?mc_samples=5000"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with models that know the network of their embeddings, and their errors."""
    folder = tmp_path_factory.mktemp("models")
    for kind, num_classes, fitted in (("age", 101, fitted_age()), ("gender", 2, fitted_gender())):
        known = {"embeddings": statistics_of(0), "confidence": fitted.to_plain()}
        save_model(folder / f"{kind}.pth", num_classes, num_classes, **known)
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[AgeGenderApp]:
    with StandInServer() as faces, serving(folder, face_server_url=faces.url) as running:
        yield running


@pytest.fixture(scope="module")
def document(server: AgeGenderApp) -> dict[str, Any]:
    content: dict[str, Any] = server.test_client().get("/openapi.json").get_json()
    return content


def inner(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every object within JSON."""
    if isinstance(node, dict):
        yield node
    for each in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from inner(each)


def at(document: Any, reference: str) -> Any:
    for key in reference.removeprefix("#/").split("/"):
        document = document[key]
    return document


def closed(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document with objects that hold no keys but those it names."""
    strict = copy.deepcopy(document)
    for schema in strict["components"]["schemas"].values():
        schema["additionalProperties"] = False
    return strict


def assert_described(
    document: dict[str, Any], asked: Asked, status: int, kind: str | None, data: bytes
) -> None:
    """Check that an answer is one of those that the document describes."""
    path = re.sub(r"/static/.*", "/static/{filename}", asked.path)
    response = document["paths"][path][asked.method]["responses"][str(status)]
    response = at(document, response["$ref"]) if "$ref" in response else response
    schema = response["content"].get(str(kind)) or response["content"]["*/*"]
    value = json.loads(data) if kind == JSON else data.decode()
    strict = Draft202012Validator({**closed(document), **schema["schema"]})
    assert not [error.message for error in strict.iter_errors(value)]


# --- the document ---------------------------------------------------------------------------------


def operations_of(document: dict[str, Any]) -> set[tuple[str, str]]:
    paths = document["paths"]
    return {(path, name) for path in paths for name in paths[path] if name != "parameters"}


def rules_of(server: AgeGenderApp) -> set[tuple[str, str]]:
    """Return paths as OpenAPI writes them, and methods, of all that the application routes."""
    return {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in server.url_map.iter_rules()
        for method in (rule.methods or set()) - ONLY_BY_FLASK
    }


def test_every_address_and_method_is_described_and_no_other(
    server: AgeGenderApp, document: dict[str, Any]
) -> None:
    assert operations_of(document) == rules_of(server)
    assert ("/metrics", "get") in rules_of(server)


def test_without_metrics_they_are_not_described(folder: Path) -> None:
    with serving(folder, metrics="off") as server:
        content = server.test_client().get("/openapi.json").get_json()
        assert operations_of(content) == rules_of(server)
        assert ("/metrics", "get") not in rules_of(server)


def test_every_operation_is_asked_below() -> None:
    asked = {f"{method} {path}" for path, method in operations_of(describe_api(ServerSettings()))}
    succeeding = {one.operation for one in ASKED.values() if one.status == 200}
    assert {re.sub("/static/.*", "/static/{filename}", name) for name in succeeding} == asked


def test_the_document_keeps_the_rules_of_openapi(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    assert document["info"].keys() >= {"title", "version"}
    names = [
        operation["operationId"] for operation in inner(document) if "operationId" in operation
    ]
    assert len(names) == len(set(names)) == len(operations_of(document))
    for path, item in document["paths"].items():
        assert path.startswith("/")
        declared = {one["name"] for one in item.get("parameters", ()) if one["in"] == "path"}
        assert declared == set(re.findall(r"{(\w+)}", path))
    for node in inner(document):
        if "$ref" in node:
            assert at(document, node["$ref"])
        if "in" in node:
            assert node.keys() >= {"name", "schema"}
            assert node.get("required", False) == (node["in"] == "path")
        for schema in (node["schema"],) if isinstance(node.get("schema"), dict) else ():
            Draft202012Validator.check_schema(schema)
        for status, response in node.get("responses", {}).items():
            assert re.fullmatch("[2-5][0-9]{2}", status)
            assert response.keys() & {"$ref", "description"}
    for name, schema in document["components"]["schemas"].items():
        assert re.fullmatch("[A-Za-z0-9]+", name)
        assert schema["description"]
        Draft202012Validator.check_schema(schema)


def test_nothing_among_the_components_is_unused(document: dict[str, Any]) -> None:
    used = {node["$ref"] for node in inner(document) if "$ref" in node}
    parts = document["components"]
    assert used == {f"#/components/{kind}/{name}" for kind in parts for name in parts[kind]}


def test_parameters_are_those_that_requests_may_have(document: dict[str, Any]) -> None:
    for path, known in (("/", QUERY), ("/image", IMAGE_QUERY)):
        parameters = document["paths"][path]["post"]["parameters"]
        assert tuple(one["name"] for one in parameters) == known
        for one in parameters:
            if one["name"] in CHOICES:
                assert tuple(one["schema"]["enum"]) == CHOICES[one["name"]]
                assert one["schema"]["default"] == CHOICES[one["name"]][0]


@pytest.mark.parametrize("most", [10, 1000])
def test_the_range_of_passes_is_the_one_that_the_server_allows(folder: Path, most: int) -> None:
    with serving(folder, max_mc_samples=most) as server:
        paths = server.test_client().get("/openapi.json").get_json()["paths"]
        schema = paths["/image"]["post"]["parameters"][0]["schema"]
        assert (schema["maximum"], schema["default"]) == (most, min(most, 64))
        for passes, status in ((most, 200), (most + 1, 413)):
            response = server.test_client().post(
                f"/?mc_samples={passes}", data=GOOD, content_type=JSON
            )
            assert response.status_code == status


def test_the_version_is_that_of_the_project(document: dict[str, Any]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert document["info"]["version"] == project["version"]


def test_types_of_bodies_are_those_that_the_server_takes(
    server: AgeGenderApp, document: dict[str, Any]
) -> None:
    paths = document["paths"]
    types = {"application/json", BINARY, "multipart/form-data", "text/plain", "image/gif", "a/b"}
    for path in ("/", "/image"):
        described = paths[path]["post"]["requestBody"]["content"]
        for kind in types:
            response = server.test_client().post(path, data=b"x", content_type=kind)
            is_described = kind in described or kind.split("/")[0] + "/*" in described
            assert (response.status_code == 415) == (not is_described), (path, kind)


# --- bodies and answers ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ASKED)
def test_an_answer_is_as_described(
    name: str, server: AgeGenderApp, document: dict[str, Any]
) -> None:
    asked = ASKED[name]
    response = server.test_client().open(
        asked.path + asked.query,
        method=asked.method.upper(),
        data=asked.body,
        content_type=asked.kind,
        buffered=True,
    )
    assert response.status_code == asked.status, response.data
    assert_described(document, asked, response.status_code, response.mimetype, response.data)


@pytest.mark.parametrize(
    "change",
    [
        *({"more": 1}, {"ages": ["31"]}, {"in_distribution": [1]}, {"genders": None}),
        *({"age_intervals": [[24]]}, {"age_intervals": [31]}, {"gender_sets": [["x"]]}),
        *({"gender_sets": [[]]}, {"covered": ["yes"]}, {"over": [{"18": 1.5}]}),
    ],
)
def test_an_answer_that_is_not_as_described_would_be_found(
    change: dict[str, Any], document: dict[str, Any]
) -> None:
    answer = copy.deepcopy(EXAMPLE)
    assert_described(document, ASKED["faces"], 200, JSON, json.dumps(answer).encode())
    with pytest.raises(AssertionError):
        assert_described(document, ASKED["faces"], 200, JSON, json.dumps(answer | change).encode())


@pytest.mark.parametrize("name", [name for name, one in ASKED.items() if one.kind == JSON])
def test_a_body_in_json_that_is_taken_is_as_described(name: str, document: dict[str, Any]) -> None:
    asked = ASKED[name]
    media = document["paths"][asked.path]["post"]["requestBody"]["content"][JSON]
    validator = Draft202012Validator({**document, **media["schema"]})
    assert asked.body is not None
    assert validator.is_valid(json.loads(asked.body))
    assert not validator.is_valid({"embeddings": [[1.0] * 511]})
    assert not validator.is_valid({"img": "QUJD", "img_path": "QUJD"})


def test_the_example_of_a_body_is_taken(server: AgeGenderApp, document: dict[str, Any]) -> None:
    (example,) = document["components"]["schemas"]["PictureBody"]["examples"]
    response = server.test_client().post("/image", json=example)
    assert (response.status_code, response.get_json()["faces"]) == (200, [])


def test_the_answer_of_an_ensemble_is_as_described(
    tmp_path: Path, document: dict[str, Any]
) -> None:
    members = [save_model(tmp_path / f"{seed}.pth", 101, seed) for seed in (3, 4)]
    make_ensemble(members, tmp_path / "age.pth")
    save_model(tmp_path / "gender.pth", 2, 2)
    with serving(tmp_path) as server:
        for asked in (ASKED["faces"], ASKED["health"]):
            response = server.test_client().open(
                asked.path, method=asked.method.upper(), data=asked.body, content_type=asked.kind
            )
            assert_described(document, asked, 200, response.mimetype, response.data)
            assert b"mutual_information" in response.data or asked.path == "/health"


def test_busy_and_a_face_server_that_is_away_are_described(
    folder: Path, document: dict[str, Any]
) -> None:
    asked = ASKED["form"]
    with serving(folder, max_images=1, face_server_url=NOWHERE) as server:
        client = server.test_client()
        away = client.post("/image", data=FORM, content_type=FORM_KIND)
        with server.pictures.entered():
            busy = client.post("/image", data=FORM, content_type=FORM_KIND)
    assert (away.status_code, busy.status_code) == (503, 429)
    assert document["components"]["responses"]["429"]["headers"].keys() <= set(busy.headers.keys())
    for response in (away, busy):
        assert_described(document, asked, response.status_code, JSON, response.data)


def test_what_the_http_layer_answers_is_described_for_every_operation(
    server: AgeGenderApp, document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    head = b"POST /image HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    asked = ASKED["form"]
    requests = {
        400: b"no HTTP\r\n\r\n",
        408: head,
        413: head + b"Content-Length: 2000\r\n\r\n" + bytes(2000),
        431: head + b"X: " + b"x" * 20_000 + b"\r\n\r\n",
    }
    limits: dict[str, Any] = {"max_body_bytes": 1000, "request_timeout_s": 0.2}
    with listening(server, monkeypatch, **limits) as running:
        for status, request in requests.items():
            with socket.create_connection(("127.0.0.1", running.port), timeout=20) as connection:
                connection.sendall(request)
                answer = HTTPResponse(connection)
                answer.begin()
                assert answer.status == status
                kind = answer.headers.get_content_type()
                assert_described(document, asked, status, kind, answer.read())
    assert set(ALWAYS) == {*requests, 415, 503}


def test_it_is_answered_with_the_headers_of_all_others(server: AgeGenderApp) -> None:
    response = server.test_client().get("/openapi.json")
    assert response.mimetype == JSON
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src" in response.headers["Content-Security-Policy"]
