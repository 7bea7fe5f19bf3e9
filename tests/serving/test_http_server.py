"""waitress as app.py runs it: in a thread with small applications, and as a process with the real
one."""

import json
import math
import re
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers import start_script, wait_for_line
from serving_helpers import (
    BINARY,
    JSON,
    Listening,
    echo,
    expected_of,
    json_body,
    listening,
    respond,
    settings_of,
    vectors,
)

from serving import http_channel, http_server
from serving.settings import ServerSettings, read_settings
from utils.errors import ConfigError


@contextmanager
def raw(running: Listening) -> Iterator[socket.socket]:
    """Open a connection for bytes of the test's own."""
    with closing(socket.create_connection(("127.0.0.1", running.port), timeout=20)) as connection:
        yield connection


def read_all(connection: socket.socket) -> bytes:
    """Read until the server closes."""
    content = b""
    try:
        while chunk := connection.recv(65536):
            content += chunk
    except ConnectionResetError:
        pass
    return content


def read_until(connection: socket.socket, end: bytes) -> None:
    content = b""
    while not content.endswith(end):
        chunk = connection.recv(65536)
        assert chunk
        content += chunk


def assert_error(answer: bytes, status: int) -> str:
    """Check that an answer is an error in JSON, and that the connection ends with it."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1."), answer
    assert int(head.split()[1]) == status, answer
    headers = dict(line.split(b": ", 1) for line in head.splitlines()[1:])
    assert headers[b"Content-Type"] == JSON.encode()
    assert int(headers[b"Content-Length"]) == len(body)
    assert headers[b"Connection"].lower() == b"close"
    content = json.loads(body)
    assert list(content) == ["error"]
    assert "Traceback" not in content["error"]
    text: str = content["error"]
    return text


POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listening]:
    with listening(echo, monkeypatch, max_body_bytes=100_000) as server:
        yield server


def test_requests_are_answered_over_one_connection(running: Listening) -> None:
    with closing(running.connect()) as connection:
        for size in (0, 1, 8192, 100_000):
            connection.request("POST", "/", bytes(size))
            assert json.loads(connection.getresponse().read()) == {"size": size}


def test_a_body_in_chunks_is_taken(running: Listening) -> None:
    with closing(running.connect()) as connection:
        connection.request("POST", "/", iter([b"abc", b"de"]), encode_chunked=True)
        assert json.loads(connection.getresponse().read()) == {"size": 5}


BAD_REQUESTS: dict[str, tuple[bytes, int]] = {
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
    "no words": (b"hello\r\n\r\n", 400),
    "a method in small letters": (b"get / HTTP/1.1\r\n\r\n", 400),
    "a header without a colon": (b"GET / HTTP/1.1\r\nHost x\r\n\r\n", 400),
    "a header with a bare line feed": (b"GET / HTTP/1.1\r\nHost: x\ny: z\r\n\r\n", 400),
    "a header too large": (b"GET / HTTP/1.1\r\nX: " + b"y" * 20_000, 431),
    "a path too long": (b"GET /" + b"y" * 20_000, 431),
    "a length in words": (POST + b"Content-Length: ten\r\n\r\n", 400),
    "a negative length": (POST + b"Content-Length: -5\r\n\r\n", 400),
    "two lengths": (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 400),
    "a length of 5,000 digits": (POST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", 400),
    "an address that is none": (b"GET http://[ HTTP/1.1\r\n\r\n", 400),
    "another encoding": (POST + b"Transfer-Encoding: gzip\r\n\r\n", 400),
    "a chunk without a size": (CHUNKED + b"zz\r\n", 400),
    "a chunk that goes on": (CHUNKED + b"1\r\nabc\r\n", 400),
    "an endless size of a chunk": (CHUNKED + b"0" * 20_000, 400),
    "an endless trailer": (CHUNKED + b"0\r\nX: " + b"y" * 20_000, 400),
    "an endless extension": (CHUNKED + b"1;" + b"y" * 20_000, 400),
    "chunks without end": (CHUNKED + b"5\r\nabcde\r\n" * 30_000, 413),
    "more than the limit": (POST + b"Content-Length: 100001\r\n\r\n" + bytes(100_001), 413),
    "a terabyte": (POST + b"Content-Length: 1000000000000\r\n\r\n", 413),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_what_never_reaches_the_application_is_an_error_in_json_too(
    name: str, running: Listening, caplog: pytest.LogCaptureFixture
) -> None:
    content, status = BAD_REQUESTS[name]
    with raw(running) as connection:
        try:
            connection.sendall(content)
        except OSError:
            assert name == "chunks without end"  # the server need not listen to them
        answer = read_all(connection)
    if answer or name != "chunks without end":
        assert_error(answer, status)
    assert running.ask(b"abc") == (200, {"size": 3})
    assert "Traceback" not in caplog.text


def test_a_client_that_waits_for_leave_to_send_too_much_gets_the_error_instead(
    running: Listening,
) -> None:
    for length, status in ((b"100001", b"413"), (b"100000", b"100")):
        with raw(running) as connection:
            head = POST + b"Expect: 100-continue\r\nContent-Length: " + length + b"\r\n\r\n"
            connection.sendall(head)
            assert connection.recv(12).split()[1] == status


def test_a_client_that_is_still_sending_too_much_gets_to_see_why(running: Listening) -> None:
    """http.client, as most, looks for an answer only after it has sent all."""
    for _ in range(5):
        status, content = running.ask(bytes(5_000_000))
        assert (status, list(content)) == (413, ["error"])


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"POST / HT",
        POST,
        POST + b"Content-Length: 1000\r\n\r\n" + bytes(500),
        CHUNKED + b"5\r\nab",
    ],
)
def test_silence_in_the_middle_of_a_request_ends_in_408(
    start: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        listening(echo, monkeypatch, request_timeout_s=0.2) as running,
        raw(running) as connection,
    ):
        connection.sendall(start)
        answer = read_all(connection)
        if start:
            assert "did not arrive in 0.2 s" in assert_error(answer, 408)
        else:
            assert answer == b""  # nobody asked
        assert running.ask(b"abc") == (200, {"size": 3})


def test_drops_of_a_request_do_not_buy_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        listening(echo, monkeypatch, request_timeout_s=0.3) as running,
        raw(running) as connection,
    ):
        connection.sendall(POST + b"Content-Length: 1000000\r\n\r\n")
        connection.settimeout(0.01)
        answer = b""
        with suppress(ConnectionError):  # it need not listen to what comes after its answer
            while not answer:
                with suppress(TimeoutError):
                    connection.sendall(b"x")
                    answer = connection.recv(4096)
        assert answer[:12] in (b"", b"HTTP/1.1 408")


def test_each_of_several_requests_in_a_row_has_the_whole_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The clock starts again where a packet holds the end of one and the start of the next."""
    times: list[float] = []
    original = http_channel.Channel.received
    clock = count(1, 0.001)
    monkeypatch.setattr(http_channel, "time", SimpleNamespace(monotonic=lambda: next(clock)))

    def received(channel: http_channel.Channel, data: bytes) -> bool:
        result: bool = original(channel, data)
        times.append(channel.arriving_since)
        return result

    monkeypatch.setattr(http_channel.Channel, "give_up", lambda *_: None)
    monkeypatch.setattr(http_channel.Channel, "received", received)
    request = POST + b"Content-Length: 2\r\n\r\nab"
    with listening(echo, monkeypatch) as running, raw(running) as connection:
        connection.sendall(request[:-1])
        while len(times) < 1:
            threading.Event().wait(0.001)
        connection.sendall(request[-1:] + request[:-1])
        read_until(connection, b'{"size": 2}')
        connection.sendall(request[-1:])
        read_until(connection, b'{"size": 2}')
    assert len(times) == 3
    assert times[0] < times[1] < times[2] == math.inf


def test_slow_clients_do_not_hold_up_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """More of them than there are threads."""
    with listening(echo, monkeypatch, max_queue=1, max_images=1) as running:
        slow = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(50)]
        for connection in slow:
            connection.sendall(POST + b"Content-Length: 1000\r\n\r\nab")
        for _ in range(20):
            assert running.ask(b"abc") == (200, {"size": 3})
        for connection in slow:
            connection.close()


def test_a_connection_more_than_the_limit_waits_until_another_ends(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    request = POST + b"Content-Length: 1\r\n\r\na"
    with listening(echo, monkeypatch, max_connections=3) as running:
        held = []
        for _ in range(5):  # 3, and two that waitress counts itself
            connection = socket.create_connection(("127.0.0.1", running.port), timeout=20)
            held.append(connection)
            connection.sendall(request)
            assert connection.recv(12) == b"HTTP/1.1 200"
        with raw(running) as late:
            late.sendall(request)
            late.settimeout(0.2)
            with pytest.raises(TimeoutError):
                late.recv(12)
            held.pop().close()
            late.settimeout(20)
            assert late.recv(12) == b"HTTP/1.1 200"
        for connection in held:
            connection.close()
    assert "connection limit" in caplog.text


def test_large_bodies_and_answers_stay_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a temporary file")

    def mirror(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        return respond(start_response, environ["wsgi.input"].read())

    for name in ("TemporaryFile", "NamedTemporaryFile", "SpooledTemporaryFile", "mkstemp"):
        monkeypatch.setattr(tempfile, name, refuse)
    content = bytes(8_000_000)
    with listening(mirror, monkeypatch) as running, raw(running) as connection:
        connection.sendall(POST + b"Content-Length: 8000000\r\nConnection: close\r\n\r\n" + content)
        assert len(read_all(connection)) > len(content)


def test_a_program_error_is_503_without_a_stack_trace(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(environ: dict[str, Any], _: Any) -> Iterable[bytes]:
        raise RuntimeError(environ["PATH_INFO"])

    with listening(broken, monkeypatch) as running, raw(running) as connection:
        connection.sendall(b"GET /secret HTTP/1.1\r\n\r\n")
        answer = read_all(connection)
        assert "secret" not in assert_error(answer, 503)


# --- the end --------------------------------------------------------------------------------------


class Slow:
    """An application that answers when it is let."""

    def __init__(self) -> None:
        self.arrived, self.free = threading.Event(), threading.Event()

    def __call__(self, _: Any, start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.arrived.set()
        assert self.free.wait(20)
        return respond(start_response)


def test_the_end_finishes_requests_in_flight_and_takes_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = Slow()
    with (
        listening(slow, monkeypatch) as running,
        closing(running.connect()) as idle,
        ThreadPoolExecutor(1) as pool,
    ):
        idle.connect()
        answer = pool.submit(running.ask)
        assert slow.arrived.wait(20)
        running.stop()
        assert idle.sock.recv(1) == b""  # idle connections are closed at once
        with pytest.raises(ConnectionRefusedError):
            running.connect().connect()
        assert running.ended == []
        slow.free.set()
        assert answer.result(20) == (200, {"ok": True})
        running.thread.join(20)
        assert running.ended == ["ended"]


def test_the_end_waits_for_half_a_request_but_not_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_server, "LAST_ARRIVAL_S", 0.3)
    request = POST + b"Content-Length: 2\r\n\r\nab"
    with listening(echo, monkeypatch) as running, raw(running) as quick, raw(running) as stuck:
        quick.sendall(request[:-1])
        stuck.sendall(request[:-1])
        assert running.ask(b"abc") == (200, {"size": 3})  # so that both have been read
        running.stop()
        quick.sendall(request[-1:])
        assert read_all(quick).endswith(b'{"size": 2}')
        assert_error(read_all(stuck), 408)
        running.thread.join(20)
        assert not running.thread.is_alive()


def test_the_end_does_not_wait_for_ever_for_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    slow, original = Slow(), http_server._drain
    was_free: list[bool] = []

    def drain(*arguments: Any) -> None:
        original(*arguments)
        was_free.append(slow.free.is_set())
        slow.free.set()

    monkeypatch.setattr(http_server, "DRAIN_S", 0.1)
    monkeypatch.setattr(http_server, "_drain", drain)
    with listening(slow, monkeypatch) as running, raw(running) as connection:
        connection.sendall(POST + b"Content-Length: 0\r\n\r\n")
        assert slow.arrived.wait(20)
        running.stop()
        running.thread.join(20)
        assert was_free == [False]


# --- addresses ------------------------------------------------------------------------------------


def test_a_name_that_stands_for_several_addresses_is_served(
    monkeypatch: pytest.MonkeyPatch, program_log: pytest.LogCaptureFixture
) -> None:
    with listening(echo, monkeypatch, host="localhost") as running:
        ports = re.findall(r"Serving on http://\S+:(\d+)/", program_log.text)
        assert str(running.port) in ports
        for port in ports:
            with closing(socket.create_connection(("localhost", int(port)), timeout=20)) as sock:
                sock.sendall(POST + b"Content-Length: 0\r\nConnection: close\r\n\r\n")
                assert b'{"size": 0}' in read_all(sock)


@pytest.mark.parametrize("host", ["256.1.1.1", "no.such.host.invalid", "198.51.100.1", "a..b"])
def test_an_address_that_is_not_of_this_machine_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match="cannot listen on") as refusal:
        http_server.serve(echo, ServerSettings(host=host), lambda: None)
    assert "\n" not in str(refusal.value)
    assert "HOST" not in str(refusal.value)


def test_an_address_that_a_shell_has_set_is_told_by_its_variable() -> None:
    for variables, words in (
        ({"HOST": "256.1.1.1"}, "HOST=256.1.1.1 came from the environment"),
        ({"HOST": "256.1.1.1", "PORT": "1"}, "HOST=256.1.1.1 and PORT=1 came from"),
    ):
        with pytest.raises(ConfigError, match=rf"{words}.*unset .* --host 127\.0\.0\.1"):
            http_server.serve(echo, read_settings({}, variables), lambda: None)


# --- as a process ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    settings_of(folder)
    return folder


@contextmanager
def process(folder: Path, **changes: Any) -> Iterator[tuple["subprocess.Popen[str]", Listening]]:
    """Run app.py."""
    settings = settings_of(folder, port=0, **changes)
    options = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    started = start_script("app.py", *options)
    try:
        assert started.stdout is not None
        line = started.stdout.readline()
        found = re.search(r"Serving on http://127\.0\.0\.1:(\d+)/", line)
        assert found, line + started.communicate(timeout=20)[1]
        yield started, Listening(int(found[1]), [], threading.Thread())
    finally:
        started.kill()
        started.communicate()


def test_sigterm_finishes_the_request_in_flight_and_exits_with_0(folder: Path) -> None:
    with process(folder, max_mc_samples=100_000) as (started, running):
        status, content = running.ask(json_body(vectors(2)))
        ages, _ = expected_of(vectors(2))
        assert status == 200
        assert content["ages"] == pytest.approx(ages.tolist(), abs=1e-3)
        with closing(running.connect()) as connection:
            query = "/?mc_samples=40000"  # some seconds of work
            connection.request("POST", query, vectors(2).tobytes(), {"Content-Type": BINARY})
            assert running.ask(path="/health")[0] == 200  # it has arrived: answers come between
            started.send_signal(signal.SIGTERM)
            wait_for_line(started, "Stopping")
            response = connection.getresponse()
            assert response.status == 200
            assert len(json.loads(response.read())["ages"]) == 2
        out, errors = started.communicate(timeout=30)
        assert (started.returncode, out, errors) == (0, "", "")


def test_ctrl_c_ends_it_and_a_taken_port_is_one_line(folder: Path) -> None:
    with process(folder, device="cpu") as (started, running):
        second = start_script(
            "app.py",
            f"--age-model={folder / 'age.pth'}",
            f"--gender-model={folder / 'gender.pth'}",
            f"--port={running.port}",
        )
        out, errors = second.communicate(timeout=60)
        assert (second.returncode, out) == (2, "")
        assert errors.startswith(f"error: cannot listen on 127.0.0.1:{running.port}: ")
        assert errors.count("\n") == 1
        assert running.ask(path="/health")[0] == 200
        started.send_signal(signal.SIGINT)
        out, errors = started.communicate(timeout=30)
        assert (started.returncode, errors) == (0, "")
        assert out.strip().endswith("Stopping: what is in flight is finished first")
