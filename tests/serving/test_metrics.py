"""GET /metrics, read by the parser of Prometheus' own library."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from face_helpers import answering, face
from prometheus_client.parser import text_string_to_metric_families
from serving_helpers import (
    BINARY,
    JSON,
    encoded,
    error_of,
    grids,
    json_body,
    listening,
    post,
    send_picture,
    serving,
    vectors,
)

from faces.client import FaceAnswer
from sample.stand_in_server import SYNTHETIC_MODEL
from serving.engine import _InferenceJob
from serving.routes import AgeGenderApp

ORIGIN = "https://faces.example"
Labels = frozenset[tuple[str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture
def server(folder: Path) -> Iterator[AgeGenderApp]:
    """Serve with counts that begin at zero."""
    with serving(folder, allowed_origins=ORIGIN) as running:
        yield running


def values_of(server: AgeGenderApp) -> dict[tuple[str, Labels], float]:
    """Return what GET /metrics says, by name and labels."""
    text = server.test_client().get("/metrics").get_data(as_text=True)
    return {
        (sample.name.removeprefix("age_gender_"), frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def labels(**given: str) -> Labels:
    return frozenset(given.items())


def num_requests(server: AgeGenderApp, method: str, path: str, status: int) -> float:
    key = labels(method=method, path=path, status=str(status))
    return values_of(server).get(("requests_total", key), 0)


def test_requests_are_counted_by_method_address_and_status(server: AgeGenderApp) -> None:
    client = server.test_client()
    for _ in range(3):
        assert post(server, json_body(vectors(1)), query="?normalize=1").status_code == 200
    error_of(post(server, b"nonsense"), 400)
    error_of(post(server, b"nonsense", "text/plain"), 415)
    for address in ("/health", "/", "/static/page.js", "/static/no-such-file"):
        client.get(address, buffered=True)
    client.options("/image")
    found = {
        key[1]: value for key, value in values_of(server).items() if key[0] == "requests_total"
    }
    assert found == {
        labels(method=method, path=path, status=str(status)): count
        for method, path, status, count in (
            ("POST", "/", 200, 3),
            ("POST", "/", 400, 1),
            ("POST", "/", 415, 1),
            ("GET", "/health", 200, 1),
            ("GET", "/", 200, 1),
            ("GET", "/static/<path:filename>", 200, 1),
            ("GET", "/static/<path:filename>", 404, 1),
            ("OPTIONS", "/image", 200, 1),
        )
    }
    assert num_requests(server, "GET", "/metrics", 200) == 1


def test_words_of_a_client_never_become_series(server: AgeGenderApp) -> None:
    client = server.test_client()
    for number in range(20):
        client.get(f"/photo-of-{number}.jpg")
        client.open("/", method=f"X{number}")
        client.post(f"/?person={number}", data=b"", headers={"User-Agent": f"phone-{number}"})
    text = client.get("/metrics").get_data(as_text=True)
    assert not any(word in text for word in ("photo-of", "X1", "person", "phone", "127.0.0.1"))
    assert num_requests(server, "other", "other", 404) == 20
    assert num_requests(server, "other", "other", 405) == 20
    assert num_requests(server, "POST", "/", 400) == 20


def test_latencies_are_a_histogram_of_as_many_as_there_were_requests(server: AgeGenderApp) -> None:
    for _ in range(4):
        post(server, json_body(vectors(1)))
    values = values_of(server)
    where = labels(method="POST", path="/")
    buckets = [
        (float(dict(key)["le"]), value)
        for (name, key), value in values.items()
        if name == "request_seconds_bucket" and where < key
    ]
    counts = [count for _, count in sorted(buckets)]
    assert counts == sorted(counts)
    assert counts[-1] == values["request_seconds_count", where] == 4
    assert values["request_seconds_sum", where] > 0


def test_faces_that_were_described_are_counted(
    server: AgeGenderApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    post(server, vectors(5).tobytes(), BINARY)
    post(server, json_body(vectors(2)), query="?answer=2022")
    post(server, json_body([]))
    post(server, json_body(vectors(1) * 2))  # is refused
    crowd = FaceAnswer([face(seed) for seed in range(3)], SYNTHETIC_MODEL)
    with answering(monkeypatch, lambda *_: crowd):
        send_picture(server, encoded(grids(1)), "?mc_samples=0")
    values = values_of(server)
    assert values["faces_total", labels(path="/")] == 7
    assert values["faces_total", labels(path="/image")] == 3


def test_what_is_at_work_and_what_waits_is_told_while_it_lasts(
    server: AgeGenderApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("requests_in_progress", "pictures_in_progress", "queue_length")
    begun, may_end = threading.Semaphore(0), threading.Event()

    def hold(*_: Any) -> FaceAnswer:
        begun.release()
        assert may_end.wait(20)
        return FaceAnswer([], None)

    def wait(*_: Any) -> Any:
        hold()
        raise TimeoutError

    monkeypatch.setattr(server.engine, "predict", wait)
    with answering(monkeypatch, hold):
        threads = [
            threading.Thread(target=send_picture, args=(server, encoded(grids(0)))),
            *(threading.Thread(target=post, args=(server, json_body(vectors(1)))) for _ in "ab"),
        ]
        for thread in threads:
            thread.start()
        for _ in threads:
            assert begun.acquire(timeout=20)
        server.engine._waiting.append(_InferenceJob(vectors(1), 0))  # and wake no thread
        at_work = values_of(server)
        server.engine._waiting.clear()
        may_end.set()
        for thread in threads:
            thread.join(20)
    afterwards = values_of(server)
    assert [at_work[name, labels()] for name in names] == [2, 1, 1]
    assert [afterwards[name, labels()] for name in names] == [0, 0, 0]


def test_the_models_are_named_with_their_versions(server: AgeGenderApp) -> None:
    health = server.test_client().get("/health").get_json()
    models = health["models"]
    expected = {
        "device": health["device"],
        **{kind: models[kind]["name"] for kind in models},
        **{f"{kind}_version": models[kind]["version"] for kind in models},
    }
    assert values_of(server)["models_info", labels(**expected)] == 1


def test_the_answer_is_text_in_the_format_of_prometheus_with_the_headers_of_all_others(
    server: AgeGenderApp,
) -> None:
    response = server.test_client().get("/metrics", headers={"Origin": ORIGIN})
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert response.headers["Cache-Control"] == "no-store"
    assert "default-src" in response.headers["Content-Security-Policy"]
    assert b"# TYPE age_gender_requests_total counter" in response.data
    assert b"_created" not in server.test_client().get("/metrics").data


def test_each_application_counts_for_itself(server: AgeGenderApp, folder: Path) -> None:
    post(server, json_body(vectors(1)))
    with serving(folder) as other:
        assert num_requests(other, "POST", "/", 200) == 0


def test_turned_off_there_is_no_such_address(folder: Path) -> None:
    with serving(folder, metrics="off") as server:
        error_of(server.test_client().get("/metrics"), 404)
        assert post(server, json_body(vectors(1))).status_code == 200


def test_requests_that_never_reach_the_application_are_counted_too(
    server: AgeGenderApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening(server, monkeypatch, max_body_bytes=1000) as running:
        with socket.create_connection(("127.0.0.1", running.port), timeout=20) as connection:
            connection.sendall(b"no HTTP at all\r\n\r\n")
            assert connection.recv(1000).startswith(b"HTTP/1.0 400")
        status, _ = running.ask(bytes(2000), JSON)
        assert status == 413
        status, _ = running.ask(json_body(vectors(1))[:900])
        assert status == 400
    assert num_requests(server, "other", "other", 400) == 1
    assert num_requests(server, "other", "other", 413) == 1
    assert num_requests(server, "POST", "/", 400) == 1
