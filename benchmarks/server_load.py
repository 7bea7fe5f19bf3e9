"""Load for a server: clients in threads, on bare sockets, so that they cost little themselves."""

import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Measured:
    """What some clients saw.

    Attributes:
        rate: requests a second, of all clients.
        latencies_s: of each request, ascending.
    """

    rate: float
    latencies_s: list[float]

    def percentile(self, percent: float) -> float:
        """Give a percentile of the latencies in seconds."""
        return self.latencies_s[int(percent / 100 * (len(self.latencies_s) - 1))]


def encode(body: bytes, content_type: str, query: str = "", keeps: bool = True) -> bytes:
    """Write a whole POST request."""
    kept = "keep-alive" if keeps else "close"
    head = (
        f"POST /{query} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: {kept}\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Client:
    """Sends one request over and over, over one connection or a new one each."""

    def __init__(self, port: int, request: bytes, keeps: bool):
        self._port, self._request, self._keeps = port, request, keeps
        self._socket: socket.socket | None = None

    def ask(self) -> bytes:
        """Send the request and read the whole answer; its body."""
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port))
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(self._request)
        head, body = self._read(self._socket)
        if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200")):
            raise RuntimeError(f"{head[:60]!r} {body[:200]!r}")
        if not self._keeps:
            self.close()
        return body

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    @staticmethod
    def _read(connection: socket.socket) -> tuple[bytes, bytes]:
        received = bytearray()
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += connection.recv(2**16)
        head, body = bytes(received[:end]), received[end + 4 :]
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        while len(body) < length:
            body += connection.recv(2**20)
        return head, bytes(body)


def load(
    port: int, request: bytes, num_clients: int, seconds: float, keeps: bool, num_requests: int = 0
) -> Measured:
    """Let clients ask for some seconds, or in all at least `num_requests` times."""
    latencies: list[list[float]] = [[] for _ in range(num_clients)]
    start = time.perf_counter()
    share = -(-num_requests // num_clients)

    def work(seen: list[float]) -> None:
        client = Client(port, request, keeps)
        while len(seen) < share or time.perf_counter() - start < seconds:
            before = time.perf_counter()
            client.ask()
            seen.append(time.perf_counter() - before)
        client.close()

    threads = [threading.Thread(target=work, args=(seen,)) for seen in latencies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen = sorted(latency for client in latencies for latency in client)
    return Measured(len(seen) / (time.perf_counter() - start), seen)


def free_port() -> int:
    """Find a free port of this machine."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_until_open(port: int, timeout_s: float = 60) -> None:
    """Wait for a server to listen."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def resident_bytes(process_id: int) -> int:
    """Read the resident size of a process from Linux's /proc."""
    status = Path(f"/proc/{process_id}/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024
