import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any

import pytest

from faces import client as face_client
from faces import wire_decode
from faces.client import AnswerError, FaceAnswer, FaceServer, ServerAwayError
from faces.wire import encode_faces
from sample.stand_in_server import Behaviour, StandInServer
from utils.addresses import server_url
from utils.errors import DataError

EMPTY = encode_faces([]).encode()


def response(content: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + content


@contextmanager
def scripted_server(answers: Sequence[bytes | None]) -> Iterator[tuple[str, list[int]]]:
    """Serve what the script says: bytes to send back for each request; None closes.

    Gives the URL and, as it grows, the number of the connection of each request.
    """
    script = iter(answers)
    connections: list[int] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for number in count():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                connection.settimeout(5)
                while read_request(connection):
                    connections.append(number)
                    content = next(script, None)
                    if content is None:
                        break
                    connection.sendall(content)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/", connections
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def read_request(connection: socket.socket) -> bytes:
    """Read a request whole; empty when the client has closed."""
    content = b""
    while b"\r\n\r\n" not in content:
        chunk = connection.recv(2**16)
        if not chunk:
            return b""
        content += chunk
    head, _, body = content.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r")[0])
    while len(body) < length:
        body += connection.recv(2**16)
    return head + body


@contextmanager
def client(answers: Sequence[bytes | None], **options: Any) -> Iterator[FaceServer]:
    with scripted_server(answers) as (url, _):
        server = FaceServer(url, **options)
        try:
            yield server
        finally:
            server.close()


def test_a_picture_is_answered_with_its_faces() -> None:
    with StandInServer(behaviour=Behaviour(model_name="tiny")) as running:
        server = FaceServer(running.url)
        assert server.probe() == FaceAnswer([], "tiny")
        server.close()


def test_connections_are_kept() -> None:
    with StandInServer() as running:
        server = FaceServer(running.url)
        for _ in range(5):
            server.probe()
        server.close()
        assert (running.num_requests, running.num_connections) == (5, 1)


def test_threads_share_a_server_and_its_connections() -> None:
    answers: list[FaceAnswer] = []
    with StandInServer(behaviour=Behaviour(service_ms=1)) as running:
        server = FaceServer(running.url)

        def work() -> None:
            answers.extend(server.probe() for _ in range(5))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        server.close()
        assert len(answers) == 20
        assert running.num_connections <= 4


def test_a_connection_that_the_server_closed_meanwhile_is_replaced_unnoticed() -> None:
    with scripted_server([response(EMPTY), None, response(EMPTY)]) as (url, connections):
        server = FaceServer(url)
        assert server.probe().faces == []
        assert server.probe().faces == []
        server.close()
    assert connections == [0, 0, 1]


def test_a_connection_that_the_server_announces_to_close_is_not_kept() -> None:
    closing = response(EMPTY, "200 OK", "Connection: close")
    with scripted_server([closing, None, response(EMPTY)]) as (url, _):
        server = FaceServer(url)
        assert server.probe().faces == []
        with pytest.raises(ServerAwayError):  # the second connection is new: no silent repetition
            server.probe()
        server.close()


AWAY: list[tuple[bytes | None, str]] = [
    (None, "closed|reset"),
    (b"", "no answer within"),
    (b"HTTP/1.1 200 OK\r\nContent-Le", "no answer within"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", "no answer within"),
]


@pytest.mark.parametrize(("content", "words"), AWAY)
def test_a_server_that_gives_no_whole_answer_is_away(content: bytes | None, words: str) -> None:
    with client([content], timeout_s=0.1) as server, pytest.raises(ServerAwayError, match=words):
        server.probe()


def test_an_answer_that_breaks_off_is_no_answer() -> None:
    broken = b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\nConnection: close\r\n\r\n{"
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\n{"
    for content in (broken, chunked):
        with one_shot(content) as address, pytest.raises(ServerAwayError, match="broke"):
            FaceServer(address).probe()


@contextmanager
def one_shot(content: bytes) -> Iterator[str]:
    """Serve one request, and close the connection within the answer."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            read_request(connection)
            connection.sendall(content)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    thread.join()
    listener.close()


def test_a_port_where_nothing_listens_is_away_for_good() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ServerAwayError, match="nothing listens") as caught:
        FaceServer(port).probe()
    assert caught.value.is_final


BAD: list[tuple[bytes, str, bool]] = [
    (response(b"", "503 Service Unavailable"), "HTTP 503", True),
    (response(b"<h1>Error</h1>", "500 Internal Server Error"), "HTTP 500", True),
    (response(b"", "429 Too Many Requests"), "HTTP 429", True),
    (response(b"", "404 Not Found"), "HTTP 404", False),
    (response(b"", "413 Too Large"), "HTTP 413", False),
    (response(b"", "301 Moved", "Location: http://elsewhere/"), "HTTP 301", False),
    (response(b"<html></html>"), "answer not understood", True),
    (response(b'{"face_detection_recognition": [{"bbox": 1}]}'), "answer not understood", True),
    (b"SSH-2.0-OpenSSH_9.9\r\n", "not HTTP", True),
    (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 200 + b"\r\n", "not HTTP", True),
]


@pytest.mark.parametrize(("content", "reason", "is_temporary"), BAD)
def test_an_answer_without_faces_has_a_reason(
    content: bytes, reason: str, is_temporary: bool
) -> None:
    with client([content]) as server, pytest.raises(AnswerError) as caught:
        server.probe()
    assert (caught.value.reason, caught.value.is_temporary) == (reason, is_temporary)


def test_the_connection_lives_on_after_an_error_page() -> None:
    script = [response(b"<h1>Error</h1>", "503 Service Unavailable"), response(EMPTY)]
    with scripted_server(script) as (url, connections):
        server = FaceServer(url)
        with pytest.raises(AnswerError):
            server.probe()
        assert server.probe().faces == []
        server.close()
    assert connections == [0, 0]


def test_an_endless_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(face_client, "MAX_ANSWER_BYTES", 1000)
    chunk = b"400\r\n" + b"x" * 0x400 + b"\r\n"
    endless = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 100
    for content in (endless, response(b"x" * 100_000)):
        with client([content]) as server, pytest.raises(AnswerError, match="answer too long"):
            server.probe()
    assert wire_decode.MAX_ANSWER_BYTES > 1000


def test_an_answer_that_drips_is_cut_off_by_the_clock() -> None:
    ticks = count(step=10.0)
    chunk = b"1\r\nx\r\n"
    content = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 1000
    clock: Callable[[], float] = lambda: next(ticks)  # noqa: E731
    with (
        client([content], timeout_s=30, clock=clock) as server,
        pytest.raises(ServerAwayError, match="no answer within 30 s"),
    ):
        server.probe()


DRIPS: dict[str, tuple[bytes, bytes]] = {
    "status line": (b"HTTP/1.1 200 ", b"O"),
    "headers": (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    "continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "length": (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b" "),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "chunk size": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
    "trailers": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"x: y\r\n"),
}


@contextmanager
def dripping_server(start: bytes, drip: bytes) -> Iterator[str]:
    """Answer with a start, and then a little for as long as the client listens."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            read_request(connection)
            connection.sendall(start)
            while True:
                connection.sendall(drip)
                time.sleep(0.005)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


@pytest.mark.parametrize("what", DRIPS)
def test_the_time_limit_is_of_the_whole_answer(what: str) -> None:
    with (
        dripping_server(*DRIPS[what]) as url,
        pytest.raises(ServerAwayError, match=r"no answer within 0\.1 s") as caught,
    ):
        FaceServer(url, timeout_s=0.1).probe()
    assert caught.value.is_silent


def test_a_request_under_way_can_be_broken_off() -> None:
    with dripping_server(*DRIPS["length"]) as url:
        server = FaceServer(url, timeout_s=30)
        timer = threading.Timer(0.05, server.abort)
        timer.start()
        with pytest.raises(ServerAwayError, match=r"broke|reset"):
            server.probe()
        timer.join()
        with pytest.raises(ServerAwayError):
            server.probe()


@pytest.mark.parametrize(
    ("address", "url"),
    [
        (10002, "http://127.0.0.1:10002/"),
        ("http://localhost:1", "http://localhost:1/"),
        ("http://[::1]:7", "http://[::1]:7/"),
        ("http://face_server:7/#top", "http://face_server:7/"),
        *(("gpu-box:7", "http://gpu-box:7/"), ("[::1]:7/a", "http://[::1]:7/a")),
        ("http://a/b@c?d@e", "http://a/b@c?d@e"),
        ("https://gpu.example/faces?x=1", "https://gpu.example/faces?x=1"),
    ],
)
def test_ports_and_urls_are_addresses(address: int | str, url: str) -> None:
    assert server_url(address) == url


def test_the_port_of_a_url_is_known_without_being_named() -> None:
    urls = ("http://a", "https://a", "http://a:7")
    assert [FaceServer(url).port for url in urls] == [80, 443, 7]


BAD_URLS = [
    *("http://gesicht\u00e4r/", "http://a/\u00e4", "http://a b/", "http://a/x y", "http://a\n/"),
    *("http://-a/", "http://a..b/", f"http://{'a' * 64}/", "http://a!/", "http://[::z]/"),
]


@pytest.mark.parametrize(
    "address",
    [0, -1, 65536, True, None, 1.5, "", "100020", "ftp://a", "http://", "http://a:b", *BAD_URLS],
)
def test_what_is_no_address_is_one_error(address: Any) -> None:
    with pytest.raises(DataError, match="no address of a face server"):
        FaceServer(address)


@pytest.mark.parametrize(
    "address", ["http://u:secret@a/", "u:secret@a:7", "http://u:secret@[a/", "http://u:secret@a b/"]
)
def test_a_password_in_an_address_is_refused_and_not_shown(address: str) -> None:
    with pytest.raises(DataError, match="names a user; give it without user and") as caught:
        FaceServer(address)
    assert "secret" not in str(caught.value)
