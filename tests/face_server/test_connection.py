"""Requests that arrive in pieces, at a server whose loop and clock the test runs by itself."""

import socket
from typing import Any

import pytest
from fake_analyzer import FakeAnalyzer, png
from waitress import wasyncore
from waitress.server import create_server

from face_server.app import create_app
from face_server.connection import Connection
from faces.wire import encode_request

TIMEOUT_S = 30


def test_a_request_has_limited_time_to_arrive_in_however_many_pieces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [1000.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    sockets: dict[int, Any] = {}
    listener = socket.create_server(("127.0.0.1", 0))
    server = create_server(
        create_app(FakeAnalyzer()),
        map=sockets,
        sockets=[listener],
        channel_timeout=TIMEOUT_S,
        cleanup_interval=1,
    )
    server.channel_class = Connection
    body = encode_request(png())
    head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()

    def turn(client: socket.socket, piece: bytes) -> None:
        client.sendall(piece)
        for _ in range(3):
            wasyncore.loop(0.01, map=sockets, count=1)

    with listener, socket.create_connection(listener.getsockname()) as slow:
        turn(slow, head)
        connection = next(one for one in sockets.values() if isinstance(one, Connection))
        for byte in body[: TIMEOUT_S // 10]:
            now[0] += 10
            assert connection.connected
            turn(slow, bytes([byte]))
        now[0] += 10
        turn(slow, b"")
        assert not connection.connected
        with socket.create_connection(listener.getsockname()) as quick:
            turn(quick, head)
            turn(quick, body)
            connection = next(one for one in sockets.values() if isinstance(one, Connection))
            assert connection.last_activity == now[0]
    server.task_dispatcher.shutdown()
    wasyncore.close_all(sockets, ignore_all=True)
