"""A face server of a fixed service time that does not look at the pictures: it costs little.

    python -m benchmarks.fixed_server --service-ms 20 --slots 4

Every picture gets the same answer of one face. It prints its URL.
"""

import argparse
import asyncio
import time
from collections.abc import Sequence

import numpy as np

from utils.wire import FaceArrays, encode_faces

LIMIT_BYTES = 2**24


class FixedServer:
    """Answers after the picture's turn at one of the slots, each of which takes a fixed time."""

    def __init__(self, service_s: float, num_slots: int) -> None:
        self.service_s = service_s
        self.free_at = [0.0] * num_slots
        vector = np.random.default_rng(0).standard_normal(512)
        face: FaceArrays = {
            "bbox": np.array([10.0, 20.0, 200.0, 220.0]),
            "det_score": np.float64(0.9),
            "landmark": np.zeros((5, 2)),
            "normed_embedding": (vector / np.linalg.norm(vector)).astype(np.float32),
        }
        content = encode_faces([face]).encode()
        head = (
            f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        self.response = head.encode() + content

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length))
                await self._turn()
                writer.write(self.response)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _turn(self) -> None:
        """Wait until a slot has worked for the service time; being woken late costs no capacity."""
        now = time.monotonic()
        slot = min(range(len(self.free_at)), key=self.free_at.__getitem__)
        self.free_at[slot] = max(now, self.free_at[slot]) + self.service_s
        await asyncio.sleep(self.free_at[slot] - now)


async def run(service_s: float, num_slots: int) -> None:
    """Serve on a free port."""
    fixed = FixedServer(service_s, num_slots)
    server = await asyncio.start_server(fixed.serve, "127.0.0.1", 0, limit=LIMIT_BYTES)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", flush=True)
    await server.serve_forever()


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until ended."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--service-ms", type=float, default=20)
    parser.add_argument("--slots", type=int, default=4)
    options = parser.parse_args(arguments)
    asyncio.run(run(options.service_ms / 1000, options.slots))


if __name__ == "__main__":
    main()
