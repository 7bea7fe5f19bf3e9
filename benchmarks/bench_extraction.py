"""How fast extraction is, against face servers of a fixed service time, each in a process.

    python benchmarks/bench_extraction.py                  all of it, about 3 minutes
    python benchmarks/bench_extraction.py --seconds 3      shorter runs

The servers take 20 ms for a picture and four pictures at once, which is 200 a second. They do
not look at the pictures, so that the processors are left to the extraction. Look at the load first.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import measuring
from benchmarks.fixed_face_server import CAPACITY
from benchmarks.servers import running
from extraction.extract import extract
from extraction.options import ExtractionOptions
from extraction.places import Places
from faces.squares import square_jpeg

FACE_SERVER = ("-m", "benchmarks.fixed_face_server")
SMALL_SIDE, ADIENCE_SIDE, RESIZE = 224, 816, 640


def main() -> None:
    """Measure and print."""
    parser = measuring.benchmark_parser(__doc__)
    parser.add_argument("--seconds", type=float, default=6, help="of a run at full speed")
    parser.add_argument("--turns", type=int, default=3, help="runs of each; the best counts")
    options = parser.parse_args()
    measuring.print_machine()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), int(options.seconds * CAPACITY), options.turns)
        report_files_as_they_are(bench)
        report_resized(bench)


@dataclass(frozen=True)
class Bench:
    """What is extracted.

    Attributes:
        folder: of the pictures.
        num_images: of a run at full speed.
        num_turns: runs of each; the best counts.
    """

    folder: Path
    num_images: int
    num_turns: int

    def write(self, name: str, content: bytes) -> list[str]:
        """Write the same picture many times, and return the paths."""
        paths = [f"{name}/{number % 100:02}/{number}.jpg" for number in range(self.num_images)]
        for path in paths:
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / path).write_bytes(content)
        return paths

    def best_rate(self, paths: list[str], urls: Sequence[str], **chosen: Any) -> float:
        """Return the best rate of several extractions, in images a second."""
        return max(self.rate(paths, urls, **chosen) for _ in range(self.num_turns))

    def rate(self, paths: list[str], urls: Sequence[str], **chosen: Any) -> float:
        """Extract from nothing, and return images a second."""
        with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
            tally = extract(
                Places(self.folder), paths, ExtractionOptions(docker_port=list(urls), **chosen)
            )
        if tally.num_now != len(paths):
            raise RuntimeError(f"expected {len(paths)} images extracted, got\n{tally.table()}")
        for answer in self.folder.glob("*/*/*.pkl"):
            answer.unlink()
        return tally.rate

    def rate_of_squares(self, content: bytes) -> float:
        """Make squares on all cores with nothing else to do; return images a second."""
        num_images = self.num_images // 3
        with ThreadPoolExecutor(ExtractionOptions().num_workers) as executor:
            start = time.perf_counter()
            list(executor.map(lambda _: square_jpeg(content, RESIZE), range(num_images)))
            return num_images / (time.perf_counter() - start)


def report_files_as_they_are(bench: Bench) -> None:
    """Print the rates with resize=None."""
    paths = bench.write("small", photo(SMALL_SIDE))
    with running(*FACE_SERVER) as (url, _), running(*FACE_SERVER) as (other, _):
        one = bench.best_rate(paths, [url], resize=None)
        single = bench.best_rate(paths[: len(paths) // 4], [url], resize=None, in_flight=1)
        two = bench.best_rate(paths, [url, other], resize=None)
    print(f"\nresize=None, a server of {CAPACITY:.0f}/s")
    print(f"  one server           {one:6.1f}/s  {one / CAPACITY:5.1%} of it (goal: 95%)")
    print(f"  one request at once  {single:6.1f}/s  1 : {one / single:.2f} (goal: 3.5)")
    print(f"  two servers          {two:6.1f}/s  {two / one:.2f} : 1 (goal: 1.9)", flush=True)


def report_resized(bench: Bench) -> None:
    """Print the rates with resize=640, of pictures as large as Adience's."""
    content = photo(ADIENCE_SIDE)
    paths = bench.write("large", content)
    ours = min(cpu_ms(lambda: square_jpeg(content, RESIZE)) for _ in range(5))
    with running(*FACE_SERVER) as (url, _):
        turns = [
            (
                bench.rate(paths, [url], resize=RESIZE),
                bench.rate_of_squares(content),
            )
            for _ in range(bench.num_turns)
        ]
    rate, cores = max(turns, key=lambda turn: turn[0] / min(turn[1], CAPACITY))
    share = rate / min(cores, CAPACITY)
    print(f"\nresize={RESIZE}, JPEGs of {ADIENCE_SIDE} x {ADIENCE_SIDE}, {len(content):,} bytes")
    print(f"  decode, resize, encode  {ours:5.2f} ms of processor time an image (goal: 7)")
    print(f"  the same on all cores   {cores:6.1f}/s")
    print(f"  extraction              {rate:6.1f}/s  {share:.1%} of the lesser (goal: 95%)")


def photo(side: int) -> bytes:
    """Draw a random JPEG: soft shapes, with some noise as photos have."""
    rng = np.random.default_rng(0)
    shapes = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).resize((side, side))
    noisy = np.asarray(shapes, np.float32) + rng.normal(0, 4, (side, side, 3))
    stream = BytesIO()
    Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(stream, "JPEG", quality=85)
    return stream.getvalue()


def cpu_ms(action: Callable[[], object], num_calls: int = 20) -> float:
    """Return the milliseconds of this thread's processor time that a call takes."""
    start = time.thread_time()
    for _ in range(num_calls):
        action()
    return (time.thread_time() - start) / num_calls * 1000


if __name__ == "__main__":
    main()
