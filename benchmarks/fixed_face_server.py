"""Answer every picture with the same face after a fixed time, without a look at the picture.

    python -m benchmarks.fixed_face_server

Prints its URL. So the processors are left to whoever sends the pictures.
"""

import asyncio
import time

import numpy as np

from faces.wire import FaceArrays, encode_faces
from utils.labels import EMBEDDING_SIZE

SERVICE_S, NUM_SLOTS = 0.02, 4
CAPACITY = NUM_SLOTS / SERVICE_S
"""Pictures a second."""

READ_AHEAD_BYTES = 2**24


def response() -> bytes:
    """Make a whole HTTP response with one face."""
    vector = np.random.default_rng(0).standard_normal(EMBEDDING_SIZE)
    face: FaceArrays = {
        "bbox": np.array([10.0, 20.0, 200.0, 220.0]),
        "det_score": np.float64(0.9),
        "landmark": np.zeros((5, 2)),
        "normed_embedding": (vector / np.linalg.norm(vector)).astype(np.float32),
    }
    content = encode_faces([face]).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


class FixedFaceServer:
    """Works on a picture in one of several slots, each of which takes a fixed time."""

    def __init__(self) -> None:
        self.free_at = [0.0] * NUM_SLOTS
        self.response = response()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length))
                await self._work()
                writer.write(self.response)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _work(self) -> None:
        """Wait until a slot has worked for its time; to be woken late costs no capacity."""
        now = time.monotonic()
        slot = min(range(NUM_SLOTS), key=self.free_at.__getitem__)
        self.free_at[slot] = max(now, self.free_at[slot]) + SERVICE_S
        await asyncio.sleep(self.free_at[slot] - now)


async def main() -> None:
    """Serve on a free port until ended."""
    server = await asyncio.start_server(
        FixedFaceServer().serve, "127.0.0.1", 0, limit=READ_AHEAD_BYTES
    )
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
