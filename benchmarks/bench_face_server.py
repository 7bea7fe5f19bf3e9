"""How fast faces are found and embedded, beside the bare networks and insightface.

    python benchmarks/bench_face_server.py PACK PICTURES      all of it, about 10 minutes
    python benchmarks/bench_face_server.py PACK PICTURES --memory-pictures 0     2 minutes

PACK is a folder of .onnx files, PICTURES one of photos, whose squares of 640 x 640 are sent.
--reference-python names a Python with insightface, to measure it too. All use the same cores, the
client of the server included. Only what one run prints can be compared. Look at the load first.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import measuring
from benchmarks.servers import encode, put_load, running
from extraction.extract import extract
from extraction.options import ExtractionOptions
from extraction.places import Places
from face_networks.analyzer import FaceAnalyzer
from faces.errors import ImageError
from faces.squares import DEFAULT_RESIZE, square_jpeg
from faces.wire import encode_request
from utils.runtime import available_cores

NUM_PICTURES = 64
NUM_CLIENTS = 8
NUM_REPORTS = 5
"""Lines that show the memory."""


def main() -> None:
    """Measure and print."""
    parser = measuring.benchmark_parser(__doc__)
    parser.add_argument("pack", type=Path)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--reference-python", default=sys.executable, help="has insightface")
    parser.add_argument("--seconds", type=float, default=6, help="of each run")
    parser.add_argument("--turns", type=int, default=3, help="runs of each; the median counts")
    parser.add_argument("--memory-pictures", type=int, default=10_000, help="for the memory")
    options = parser.parse_args()
    measuring.print_machine()
    with tempfile.TemporaryDirectory() as folder, FaceAnalyzer(str(options.pack), "cpu") as ours:
        bench = Bench(options.pack, Path(folder), options.seconds, options.reference_python)
        bench.write(options.pictures)
        with running("-m", "face_server", "--port", "0", "--pack", str(options.pack)) as server:
            report_rates(bench, ours, server[0], options.turns)
            report_memory(bench, *server, options.memory_pictures)


@dataclass(frozen=True)
class Bench:
    """What is measured.

    Attributes:
        pack: folder of the networks.
        folder: of the pictures, as they are in `photos`, and as they are sent in `squares`.
        seconds: of each run.
        reference_python: a Python with insightface.
    """

    pack: Path
    folder: Path
    seconds: float
    reference_python: str

    def write(self, pictures: Path) -> None:
        """Write pictures from all over a folder, and their squares."""
        paths = sorted(path for path in pictures.rglob("*") if path.suffix.lower() == ".jpg")
        (self.folder / "photos").mkdir()
        (self.folder / "squares").mkdir()
        for number, path in enumerate(paths[:: max(1, len(paths) // NUM_PICTURES)]):
            try:
                square = square_jpeg(path.read_bytes(), DEFAULT_RESIZE)
            except ImageError:
                continue
            (self.folder / "photos" / f"{number}.jpg").write_bytes(path.read_bytes())
            (self.folder / "squares" / f"{number}.jpg").write_bytes(square)

    def squares(self) -> list[bytes]:
        """Return the pictures as they are sent."""
        return [path.read_bytes() for path in sorted((self.folder / "squares").iterdir())]

    def bare(self) -> float:
        """Run the networks alone, in a process a core."""
        return self._rate([sys.executable, "-m", "benchmarks.bare_networks"], available_cores())

    def insightface(self) -> float:
        """Run insightface in one process, which takes all cores."""
        module = "benchmarks.insightface_rate"
        return self._rate([self.reference_python, "-W", "ignore", "-m", module], 1)

    def _rate(self, command: list[str], num_processes: int) -> float:
        """Start processes, let them begin together, and add up their pictures a second."""
        folder = self.folder / "squares"
        arguments = [*command, str(self.pack), str(folder), str(self.seconds)]
        processes = [
            subprocess.Popen(  # noqa: S603 - Pythons that the user names
                arguments,
                cwd=measuring.ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(num_processes)
        ]
        for process in processes:
            while process.stdout is not None and process.stdout.readline() not in ("ready\n", ""):
                pass
        for process in processes:
            if process.stdin is not None:
                process.stdin.write("\n")
                process.stdin.flush()
        return sum(float(process.communicate()[0].splitlines()[-1]) for process in processes)

    def in_process(self, analyzer: FaceAnalyzer) -> float:
        """Let our networks in this process find faces, with some pictures waiting."""
        squares = cycle(self.squares())
        waiting = [analyzer.submit(next(squares)) for _ in range(2 * analyzer.workers)]
        count, start = 0, time.perf_counter()
        while time.perf_counter() - start < self.seconds:
            waiting.pop(0).result()
            waiting.append(analyzer.submit(next(squares)))
            count += 1
        for answer in waiting:
            answer.result()
        return (count + len(waiting)) / (time.perf_counter() - start)

    def served(self, url: str, num_requests: int = 0) -> float:
        """Ask a server with requests that are ready."""
        bodies = [encode(encode_request(square), "application/json") for square in self.squares()]
        return put_load(url, bodies, NUM_CLIENTS, self.seconds, num_requests).rate

    def extracted(self, url: str, rate: float) -> float:
        """Extract photos, as many as take the time at a rate, and return pictures a second."""
        photos = sorted((self.folder / "photos").iterdir())
        with tempfile.TemporaryDirectory() as folder:
            paths = [f"{number}.jpg" for number in range(max(1, int(rate * self.seconds)))]
            for path, photo in zip(paths, cycle(photos), strict=False):
                (Path(folder) / path).hardlink_to(photo)
            options = ExtractionOptions(docker_port=url, resize=DEFAULT_RESIZE)
            with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
                return extract(Places(Path(folder)), paths, options).rate


def report_rates(bench: Bench, ours: FaceAnalyzer, url: str, num_turns: int) -> None:
    """Print pictures a second, and what they are of those of the bare networks."""
    estimate = bench.served(url)
    actions: dict[str, Callable[[], float]] = {
        "bare networks, a process a core": bench.bare,
        "our networks in this process": lambda: bench.in_process(ours),
        "our server, requests prepared": lambda: bench.served(url),
        "extraction and our server": lambda: bench.extracted(url, estimate),
    }
    command = [bench.reference_python, "-W", "ignore", "-c", "import insightface"]
    if subprocess.run(command, capture_output=True, check=False).returncode:  # noqa: S603
        print(f"{bench.reference_python} has no insightface, which is not measured")
    else:
        actions["insightface's FaceAnalysis"] = bench.insightface
    rates = measuring.medians_in_turns(list(actions.values()), num_turns)
    for name, rate in zip(actions, rates, strict=True):
        share = rate / rates[0]
        print(f"{name:32} {rate:6.1f} pictures/s  {share:6.1%} of the bare networks", flush=True)
    print("goal: the server at least 80%")


def report_memory(bench: Bench, url: str, process: int, num_pictures: int) -> None:
    """Print the server's memory while it answers many pictures."""
    for done in islice(range(0, num_pictures + 1, max(1, num_pictures // NUM_REPORTS)), 1, None):
        bench.served(url, num_pictures // NUM_REPORTS)
        used = measuring.resident_bytes(process) / 2**20
        print(f"memory after {done:6,} more pictures: {used:6.1f} MiB", flush=True)


if __name__ == "__main__":
    main()
