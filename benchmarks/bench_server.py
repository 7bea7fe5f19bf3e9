"""How fast the server is, beside a stand-in for the original project's, each in a process.

    python benchmarks/bench_server.py                      all of it, about 5 minutes
    python benchmarks/bench_server.py --seconds 1 --requests 5000      a first look

The stand-in (stand_in_server.py) takes JSON over a new connection for each request; ours keeps its
connections. Both have the original's network, one residual a block. Look at the load first.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from base.device import cpu_has_bfloat16
from benchmarks import measuring
from benchmarks.servers import Load, encode, put_load, running
from model.model import ResMLP
from utils.checkpoint import save_checkpoint

JSON, BINARY = "application/json", "application/octet-stream"
Faces = NDArray[np.float32]
"""Embeddings (N, 512)."""


def main() -> None:
    """Measure and print."""
    parser = measuring.benchmark_parser(__doc__)
    parser.add_argument("--seconds", type=float, default=5, help="of each run")
    parser.add_argument("--turns", type=int, default=3, help="runs of each; the median counts")
    parser.add_argument("--requests", type=int, default=100_000, help="for the memory")
    parser.add_argument("--residuals", type=int, default=1, help="residuals a block")
    options = parser.parse_args()
    measuring.print_machine()
    with tempfile.TemporaryDirectory() as folder:
        models = write_models(Path(folder), options.residuals)
        bench = Bench(models, options.seconds, options.turns)
        report_one_face(bench)
        report_many_faces(bench)
        report_memory(bench, options.requests)


def write_models(folder: Path, num_residuals: int) -> tuple[str, str]:
    """Save untrained networks for age and gender, which are as fast as trained ones."""
    torch.manual_seed(0)
    paths = (folder / "age.pth", folder / "gender.pth")
    for path, num_classes in zip(paths, (101, 2), strict=True):
        arguments: dict[str, Any] = {
            "dropout": 0.5,
            "num_residuals_per_block": num_residuals,
            "num_blocks": 2,
            "num_classes": num_classes,
            "num_initial_features": 512,
        }
        config = {"arch": {"type": "ResMLP", "args": arguments}}
        save_checkpoint({"state_dict": ResMLP(**arguments).state_dict(), "config": config}, path)
    return str(paths[0]), str(paths[1])


def random_faces(num_faces: int) -> Faces:
    """Draw unit vectors (N, 512)."""
    faces = np.random.default_rng(0).standard_normal((num_faces, 512), np.float32)
    unit: Faces = faces / np.linalg.norm(faces, axis=1, keepdims=True)
    return unit


def as_json(faces: Faces) -> bytes:
    """Encode faces as a client would, every digit of float32 as double."""
    return json.dumps({"embeddings": faces.tolist()}).encode()


@dataclass(frozen=True)
class Bench:
    """The servers to measure, and how long.

    Attributes:
        models: paths of the age and the gender checkpoint.
        seconds: of each run.
        num_turns: runs of each; their median counts.
    """

    models: tuple[str, str]
    seconds: float
    num_turns: int

    def ours(self, *options: str) -> AbstractContextManager[tuple[str, int]]:
        """Run our server."""
        age, gender = self.models
        models = ("--age-model", age, "--gender-model", gender)
        return running("app.py", "--port", "0", *models, *options)

    def measure(self, url: str, request: bytes, num_clients: int) -> Load:
        """Measure one run, after a short one to warm up."""
        put_load(url, [request], num_clients, 0.3)
        return put_load(url, [request], num_clients, self.seconds)

    def compare(
        self,
        title: str,
        faces: Faces,
        num_clients: int,
        goal: float,
        content_type: str = JSON,
        query: str = "",
        options: Sequence[str] = (),
    ) -> list[Load]:
        """Measure requests to ours and to the stand-in in turns, and print the rates in one line.

        Args:
            title: of the line.
            faces: of each request.
            num_clients: at once.
            goal: ratio of the rates that is aimed at.
            content_type: of the requests to ours; the stand-in takes JSON only.
            query: of the requests.
            options: of our server.

        Returns:
            the runs of ours.
        """
        body = faces.tobytes() if content_type == BINARY else as_json(faces)
        request = encode(body, content_type, query)
        to_stand_in = encode(as_json(faces), JSON, query, keep_alive=False)
        ours, stand_in = [], []
        for _ in range(self.num_turns):
            with self.ours(*options) as (url, _):
                ours.append(self.measure(url, request, num_clients))
            with running("-m", "benchmarks.stand_in_server", *self.models) as (url, _):
                stand_in.append(self.measure(url, to_stand_in, num_clients))
        rate, other = (
            len(faces) * statistics.median(run.rate for run in runs) for runs in (ours, stand_in)
        )
        unit = "faces" if len(faces) > 1 else "requests"
        print(f"{title}: {rate:,.0f} {unit}/s, stand-in {other:,.0f}: ", end="")
        print(f"{rate / other:.2f} x (goal {goal})", flush=True)
        return ours


def report_one_face(bench: Bench) -> None:
    """Measure requests of one face from 8 clients."""
    runs = bench.compare("one face, 8 clients", random_faces(1), 8, goal=3)
    p50, p99 = np.median([np.percentile(run.latencies_s, (50, 99)) for run in runs], axis=0)
    print(f"  p50 {p50 * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} ms: {p99 / p50:.1f} x (goal under 5)")


def report_many_faces(bench: Bench) -> None:
    """Measure requests of 64 faces from 4 clients, of 4,096 from one, and passes of dropout."""
    faces = random_faces(4096)
    bench.compare("64 faces, JSON", faces[:64], 4, goal=1.5)
    bench.compare("64 faces, binary", faces[:64], 4, goal=3, content_type=BINARY)
    bench.compare("4,096 faces, binary", faces, 1, goal=3, content_type=BINARY)
    goals = {"float32": 1.3} | ({"bfloat16": 3.0} if cpu_has_bfloat16() else {})
    for name, goal in goals.items():
        title, options = f"64 faces, 512 passes, {name}", ("--mc-precision", name)
        bench.compare(title, faces[:64], 1, goal, query="?mc_samples=512", options=options)


def report_memory(bench: Bench, num_requests: int) -> None:
    """Measure how the server grows over many requests of one face."""
    request = encode(as_json(random_faces(1)), JSON)
    with bench.ours() as (url, process_id):
        put_load(url, [request], 8, 0, num_requests=2000)
        before, start = measuring.resident_bytes(process_id), time.perf_counter()
        put_load(url, [request], 8, 0, num_requests=num_requests)
        grown = (measuring.resident_bytes(process_id) - before) / 2**20
        seconds = time.perf_counter() - start
    print(
        f"memory over {num_requests:,} requests ({seconds:.0f} s): {grown:+.1f} MiB on "
        f"{before / 2**20:.0f} MiB"
    )


if __name__ == "__main__":
    main()
