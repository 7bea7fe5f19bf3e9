import threading
import time
from collections import Counter
from contextlib import closing
from typing import Any

import pytest
from face_helpers import PATIENCE_S, answering, face, options

from extraction.pool import RequestError, ServerPool, ServersAwayError, StoppedError
from extraction.same_network import OtherNetworkError, ReferenceImage
from faces.client import AnswerError, FaceAnswer, FaceServer, ServerAwayError, probe_body

A, B = "http://a/", "http://b/"
BODY = b"a picture"


def pool_of(
    *urls: str, reference: ReferenceImage | None = None, model: str | None = None, **waits: Any
) -> "closing[ServerPool]":
    servers = [FaceServer(url) for url in urls]
    return closing(ServerPool(servers, options(*urls, **waits), reference, model))


def test_a_request_is_answered_by_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(monkeypatch, lambda *_: FaceAnswer([face(1)])), pool_of(A) as pool:
        assert len(pool.ask(BODY).faces or []) == 1
        assert pool.num_answers == {A: 1}


def test_the_server_with_the_fewest_open_requests_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A holds on to its first two requests, so that all later ones go to B."""
    release = threading.Event()
    holding: Counter[str] = Counter()

    def answer(server: FaceServer, body: bytes) -> FaceAnswer:
        if body == b"hold":
            holding[server.url] += 1
            assert release.wait(PATIENCE_S)
        return FaceAnswer([face(1)])

    reference = ReferenceImage(b"", face(1).embedding)
    with answering(monkeypatch, answer), pool_of(A, B, reference=reference) as pool:
        wait_until(lambda: pool.num_up == 2)
        threads = [threading.Thread(target=pool.ask, args=(b"hold",)) for _ in range(4)]
        for thread in threads:
            thread.start()
        wait_until(lambda: holding.total() == 4)
        assert holding == {A: 2, B: 2}
        release.set()
        for thread in threads:
            thread.join()


def wait_until(is_so: Any) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_failed_request_tells_its_server_and_the_next_try_avoids_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def answer(server: FaceServer, body: bytes) -> FaceAnswer:
        if body == BODY and server.url == A:
            raise AnswerError("HTTP 503")
        return FaceAnswer([face(1)])

    reference = ReferenceImage(b"", face(1).embedding)
    with answering(monkeypatch, answer), pool_of(A, B, reference=reference) as pool:
        wait_until(lambda: pool.num_up == 2)
        with pytest.raises(RequestError, match="HTTP 503") as caught:
            pool.ask(BODY)  # of two idle servers the first is taken
        assert caught.value.server.url == A
        for _ in range(10):
            assert pool.ask(BODY, avoid=caught.value.server).faces
        assert pool.num_up == 2


def test_a_server_that_is_away_is_dropped_and_rejoins(monkeypatch: pytest.MonkeyPatch) -> None:
    is_away = threading.Event()

    def answer(server: FaceServer, _: bytes) -> FaceAnswer:
        if is_away.is_set():
            raise ServerAwayError("broken")
        return FaceAnswer([face(1)])

    with answering(monkeypatch, answer), pool_of(A) as pool:
        pool.ask(BODY)
        is_away.set()
        with pytest.raises(RequestError, match="broken"):
            pool.ask(BODY)
        assert pool.num_up == 0
        threading.Timer(0.02, is_away.clear).start()
        assert pool.ask(BODY).faces


def test_when_every_server_stays_away_it_ends_with_a_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def answer(*_: Any) -> FaceAnswer:
        raise ServerAwayError("nothing listens there")

    waits: dict[str, Any] = {"probe_waits_s": (0, 0.001), "give_up_s": 0.02}
    with (
        answering(monkeypatch, answer),
        pool_of(A, B, **waits) as pool,
        pytest.raises(ServersAwayError, match=f"{A} nothing listens there; {B} nothing"),
    ):
        pool.ask(BODY)


def test_the_looks_at_a_server_that_is_away_go_on_with_the_last_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def answer(*_: Any) -> FaceAnswer:
        raise ServerAwayError("nothing listens there")

    waits: dict[str, Any] = {"probe_waits_s": (0, 0.001), "give_up_s": 30}
    with answering(monkeypatch, answer) as asked, pool_of(A, **waits) as pool:
        wait_until(lambda: len(asked) > 6)
        pool.stop()
        with pytest.raises(StoppedError):
            pool.ask(BODY)


def other_network(first: str) -> Any:
    """Answer with another embedding than the server `first` does."""
    return lambda server, _: FaceAnswer([face(1 if server.url == first else 2)])


def test_a_second_server_with_another_network_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which of the two is first does not matter."""

    def ask_for_long(pool: ServerPool) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            pool.ask(BODY)

    with (
        answering(monkeypatch, other_network(A)),
        pool_of(A, B) as pool,
        pytest.raises(OtherNetworkError, match="is another network"),
    ):
        ask_for_long(pool)


def test_a_server_with_another_network_than_before_is_sent_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reference = ReferenceImage(b"reference", face(7).embedding, "a.jpg")
    bodies: list[bytes] = []

    def answer(_: FaceServer, body: bytes) -> FaceAnswer:
        bodies.append(body)
        return FaceAnswer([face(1)])

    with (
        answering(monkeypatch, answer),
        pool_of(A, reference=reference) as pool,
        pytest.raises(OtherNetworkError, match=r"a\.jpg gave a face of cosine -?0\.\d+, at least"),
    ):
        pool.ask(BODY)
    assert bodies == [b"reference"]


def test_the_reference_may_be_any_of_the_faces() -> None:
    reference = ReferenceImage(b"", face(2).embedding)
    reference.check(FaceAnswer([face(1), face(2), face(3)]), A)
    for answer in (FaceAnswer([face(1)]), FaceAnswer([]), FaceAnswer(None)):
        with pytest.raises(OtherNetworkError):
            reference.check(answer, A)


def test_a_server_of_another_model_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        answering(monkeypatch, lambda *_: FaceAnswer([], "other")),
        pool_of(A, model="tiny") as pool,
        pytest.raises(OtherNetworkError, match="'other', this extraction is with 'tiny'"),
    ):
        pool.ask(BODY)


def test_one_server_works_while_no_face_is_known_to_compare_the_others_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    has_face = threading.Event()

    def answer(_: FaceServer, body: bytes) -> FaceAnswer:
        shows_face = has_face.is_set() and body != probe_body()
        return FaceAnswer([face(1)] if shows_face else [])

    with answering(monkeypatch, answer) as asked, pool_of(A, B) as pool:
        wait_until(lambda: len(asked) == 2)
        for _ in range(20):
            pool.ask(BODY)
        assert pool.num_up == 1
        has_face.set()
        pool.ask(BODY)
        wait_until(lambda: pool.num_up == 2)
