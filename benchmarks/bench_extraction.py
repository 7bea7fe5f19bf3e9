"""How fast extraction is, against stand-in servers of a fixed service time, each in a process.

    python benchmarks/bench_extraction.py                  all of it, about 3 minutes
    python benchmarks/bench_extraction.py --seconds 3      shorter runs

The servers take 20 ms for a picture and four pictures at once, which is 200 a second. They do
not look at the pictures, so that the processors are left to the extraction. Look at the load first.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, redirect_stderr
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from extraction.extract import extract  # noqa: E402
from extraction.images import square_jpeg  # noqa: E402
from extraction.options import Options  # noqa: E402
from extraction.pipeline import Settings  # noqa: E402
from utils.sample_image import GridFace, draw_picture, encode_picture, unit  # noqa: E402

SERVICE_MS, SLOTS = 20, 4
CAPACITY = SLOTS * 1000 / SERVICE_MS
ADIENCE_SIDE = 816
RESIZE = 640


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=6, help="of a run at full speed")
    parser.add_argument("--turns", type=int, default=3, help="runs of each; the best counts")
    options = parser.parse_args()
    num_images = int(options.seconds * CAPACITY)
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name), num_images, options.turns)
        bench.report_files_as_they_are()
        bench.report_resized()


class Bench:
    """Holds the pictures and the number of runs."""

    def __init__(self, folder: Path, num_images: int, num_turns: int) -> None:
        self.folder = folder
        self.num_images = num_images
        self.num_turns = num_turns

    def report_files_as_they_are(self) -> None:
        """Print the rates with resize=None."""
        small = self.write("small", small_picture())
        with stand_ins(1) as urls:
            one = self.best(small, urls, Settings(resize=None))
            single = self.best(small[: len(small) // 4], urls, Settings(resize=None, in_flight=1))
        with stand_ins(2) as urls:
            two = self.best(small, urls, Settings(resize=None))
        print(f"\nresize=None, a server of {CAPACITY:.0f}/s")
        print(f"  one server           {one:6.1f}/s  {one / CAPACITY:5.1%} of it (goal: 95%)")
        print(f"  one request at once  {single:6.1f}/s  1 : {one / single:.2f} (goal: 3.5)")
        print(f"  two servers          {two:6.1f}/s  {two / one:.2f} : 1 (goal: 1.9)")

    def report_resized(self) -> None:
        """Print the rates with resize=640, of pictures as large as Adience's."""
        content = large_picture()
        large = self.write("large", content)
        ours = min(cpu_ms(lambda: square_jpeg(content, RESIZE)) for _ in range(5))
        plain = min(cpu_ms(lambda: plain_way(content)) for _ in range(5))
        with stand_ins(1) as urls:
            turns = [
                (self.rate(large, urls, Settings(resize=RESIZE)), self.cores_rate(content))
                for _ in range(self.num_turns)
            ]
        rate, cores = max(turns, key=lambda turn: turn[0] / min(turn[1], CAPACITY))
        share = rate / min(cores, CAPACITY)
        print(
            f"\nresize={RESIZE}, JPEGs of {ADIENCE_SIDE} x {ADIENCE_SIDE}, {len(content):,} bytes"
        )
        print(f"  decode, resize, encode  {ours:5.2f} ms of processor time an image (goal: 7)")
        print(f"  the plain way to do it  {plain:5.2f} ms")
        print(f"  the same on all cores   {cores:6.1f}/s")
        print(f"  extraction              {rate:6.1f}/s  {share:.1%} of the lesser (goal: 95%)")

    def write(self, name: str, content: bytes) -> list[str]:
        """Write the same picture many times, and give the paths."""
        paths = [f"{name}/{number % 100:02}/{number}.jpg" for number in range(self.num_images)]
        for path in paths:
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / path).write_bytes(content)
        return paths

    def best(self, paths: list[str], urls: Sequence[str], settings: Settings) -> float:
        """Give the best rate of several extractions, in images a second."""
        return max(self.rate(paths, urls, settings) for _ in range(self.num_turns))

    def rate(self, paths: list[str], urls: Sequence[str], settings: Settings) -> float:
        """Extract from nothing; give images a second."""
        with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
            tally = extract(self.folder, paths, Options(list(urls), settings))
        assert tally.num_now == len(paths), tally.table()
        for answer in self.folder.glob("*/*/*.pkl"):
            answer.unlink()
        return tally.rate

    def cores_rate(self, content: bytes) -> float:
        """Decode and encode on all cores, with nothing else to do."""
        num_images = self.num_images // 3
        with ThreadPoolExecutor(Settings().num_workers) as executor:
            start = time.perf_counter()
            list(executor.map(lambda _: square_jpeg(content, RESIZE), range(num_images)))
            return num_images / (time.perf_counter() - start)


def cpu_ms(work: Callable[[], object], num_calls: int = 20) -> float:
    """Measure the milliseconds of this thread's processor time that a call takes."""
    start = time.thread_time()
    for _ in range(num_calls):
        work()
    return (time.thread_time() - start) / num_calls * 1000


def plain_way(content: bytes) -> bytes:
    """Make the same square in the first way that comes to mind."""
    with Image.open(BytesIO(content)) as opened:
        picture = opened.convert("RGB")
    side = max(picture.size)
    canvas = Image.new("RGB", (side, side))
    canvas.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    stream = BytesIO()
    canvas.resize((RESIZE, RESIZE), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=75)
    return stream.getvalue()


def small_picture() -> bytes:
    """Draw a picture with a face that the stand-in server reads."""
    vector = unit(np.random.default_rng(0).standard_normal(512))
    return encode_picture(draw_picture([GridFace(vector, 0.9, (8, 8))], (224, 224), (30, 40, 50)))


def large_picture() -> bytes:
    """Draw such a picture in the size of Adience's, with some noise as photos have."""
    with Image.open(BytesIO(small_picture())) as small:
        pixels = np.asarray(small.resize((ADIENCE_SIDE, ADIENCE_SIDE)), np.float32)
    noise = np.random.default_rng(0).normal(0, 4, pixels.shape)
    noisy = Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))
    stream = BytesIO()
    noisy.save(stream, "JPEG", quality=85)
    return stream.getvalue()


@contextmanager
def stand_ins(num_servers: int) -> Iterator[list[str]]:
    """Run stand-in servers in processes of their own; gives their URLs."""
    command = [sys.executable, "-m", "benchmarks.fixed_server"]
    command += ["--service-ms", str(SERVICE_MS), "--slots", str(SLOTS)]
    with ExitStack() as stack:
        urls = []
        for _ in range(num_servers):
            server = stack.enter_context(
                subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)  # noqa: S603
            )
            stack.callback(server.terminate)
            assert server.stdout is not None
            urls.append(server.stdout.readline().split()[-1])
        yield urls


if __name__ == "__main__":
    main()
