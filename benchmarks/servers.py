"""Servers in processes of their own, and clients in threads that put load on them."""

import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BufferedRWPair
from itertools import chain, cycle
from typing import NamedTuple
from urllib.parse import urlsplit

from benchmarks.measuring import ROOT


class Load(NamedTuple):
    """What some clients saw: requests a second of all together, and the latency of each request."""

    rate: float
    latencies_s: list[float]


@contextmanager
def running(*arguments: str) -> Iterator[tuple[str, int]]:
    """Run a server with this Python until the block ends; yield its URL and process id.

    The server prints its URL once it listens.
    """
    command = [sys.executable, *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            yield _printed_url(process), process.pid
        finally:
            process.terminate()
            process.communicate()  # reads its last words, so that it can end


def _printed_url(process: "subprocess.Popen[str]") -> str:
    for line in process.stdout or ():
        if found := re.search(r"http://\S+", line):
            return found[0]
    raise RuntimeError(f"the server ended before it listened: {process.args!r}")


def encode(body: bytes, content_type: str, query: str = "", keep_alive: bool = True) -> bytes:
    """Return a whole POST request."""
    connection = "keep-alive" if keep_alive else "close"
    head = (
        f"POST /{query} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: {connection}\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def put_load(
    url: str, requests: Sequence[bytes], num_clients: int, seconds: float, num_requests: int = 0
) -> Load:
    """Let clients ask for some seconds, and in all at least `num_requests` times, in turns."""
    start, share = time.perf_counter(), -(-num_requests // num_clients)
    following = cycle(requests)

    def ask_again_and_again(_: int) -> list[float]:
        stream, latencies = None, list[float]()
        while len(latencies) < share or time.perf_counter() - start < seconds:
            before = time.perf_counter()
            stream = stream or _connect(url)
            if not _ask(stream, next(following)):
                stream.close()
                stream = None
            latencies.append(time.perf_counter() - before)
        if stream is not None:
            stream.close()
        return latencies

    with ThreadPoolExecutor(num_clients) as executor:
        latencies = list(chain.from_iterable(executor.map(ask_again_and_again, range(num_clients))))
    return Load(len(latencies) / (time.perf_counter() - start), latencies)


def _connect(url: str) -> BufferedRWPair:
    """Open a bare connection, which costs less than a library's."""
    with socket.create_connection(("127.0.0.1", urlsplit(url).port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection.makefile("rwb")  # keeps the connection open


def _ask(stream: BufferedRWPair, request: bytes) -> bool:
    """Send a request and read the whole response; return whether the connection can be kept."""
    stream.write(request)
    stream.flush()
    status, headers = stream.readline(), {}
    while line := stream.readline().strip():
        name, _, value = line.lower().partition(b":")
        headers[name] = value.strip()
    body = stream.read(int(headers.get(b"content-length", 0)))
    if b" 200 " not in status:
        raise RuntimeError(f"expected status 200, got {status!r} {body[:200]!r}")
    return headers.get(b"connection") != b"close"
