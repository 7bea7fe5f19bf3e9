"""How fast the server is, beside a stand-in for the original project's, each in a process.

    python benchmarks/bench_server.py                      all of it, about 5 minutes
    python benchmarks/bench_server.py --seconds 1 --requests 5000      a first look

The stand-in (server_stand_in.py) takes JSON over a new connection for each request; ours keeps its
connections. Both have the original's network, one residual a block. Look at the load first.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.server_load import (  # noqa: E402
    Measured,
    encode,
    free_port,
    load,
    resident_bytes,
    wait_until_open,
)
from model.model import ResMLP  # noqa: E402
from serving.models import choose_mc_dtype, load_pair  # noqa: E402
from utils.checkpoint import save_checkpoint  # noqa: E402

JSON, BINARY = "application/json", "application/octet-stream"
CLASSES = {"age": 101, "gender": 2}
CPU = torch.device("cpu")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5, help="of each run")
    parser.add_argument("--turns", type=int, default=3, help="runs of each; the median counts")
    parser.add_argument("--requests", type=int, default=100_000, help="for the memory")
    parser.add_argument("--residuals", type=int, default=1, help="residuals a block")
    options = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name), options.seconds, options.turns, options.residuals)
        bench.one_face()
        bench.many_faces()
        bench.large_request()
        bench.passes()
        bench.memory(options.requests)


def random_faces(num: int) -> NDArray[np.float32]:
    """Make unit vectors (num, 512) float32."""
    faces = np.random.default_rng(0).standard_normal((num, 512), np.float32)
    unit: NDArray[np.float32] = faces / np.linalg.norm(faces, axis=1, keepdims=True)
    return unit


def as_json(faces: NDArray[np.float32]) -> bytes:
    """Write faces as a client would, every digit of float32 as double."""
    return json.dumps({"embeddings": faces.tolist()}).encode()


def write_models(folder: Path, num_residuals: int) -> None:
    """Save a pair of untrained networks, whose speed is that of trained ones."""
    torch.manual_seed(0)
    for name, num_classes in CLASSES.items():
        arguments: dict[str, Any] = {
            "dropout": 0.5,
            "num_residuals_per_block": num_residuals,
            "num_blocks": 2,
            "num_classes": num_classes,
            "num_initial_features": 512,
        }
        content = {
            "state_dict": ResMLP(**arguments).state_dict(),
            "config": {"arch": {"type": "ResMLP", "args": arguments}},
        }
        save_checkpoint(content, folder / f"{name}.pth")


class Bench:
    """Starts servers and measures them in turns."""

    def __init__(self, folder: Path, seconds: float, num_turns: int, num_residuals: int):
        self.folder, self.seconds, self.num_turns = folder, seconds, num_turns
        write_models(folder, num_residuals)
        self.models = [str(folder / f"{name}.pth") for name in CLASSES]

    @contextmanager
    def ours(self, *arguments: str) -> Iterator[tuple[int, int]]:
        """Run our server; its port and process."""
        named = ["--age-model", self.models[0], "--gender-model", self.models[1]]
        with self._running("app.py", lambda port: [*named, "--port", str(port), *arguments]) as it:
            yield it

    @contextmanager
    def stand_in(self) -> Iterator[tuple[int, int]]:
        """Run the stand-in; its port and process."""
        script = "benchmarks/server_stand_in.py"
        with self._running(script, lambda port: [*self.models, str(port)]) as it:
            yield it

    @contextmanager
    def _running(
        self, script: str, arguments: Callable[[int], Sequence[str]]
    ) -> Iterator[tuple[int, int]]:
        port = free_port()
        command = [sys.executable, str(ROOT / script), *arguments(port)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603
        try:
            wait_until_open(port)
            yield port, process.pid
        finally:
            process.terminate()
            process.wait()

    def _measure(self, port: int, request: bytes, num_clients: int, keeps: bool) -> Measured:
        load(port, request, num_clients, 0.3, keeps)
        return load(port, request, num_clients, self.seconds, keeps)

    def _in_turns(
        self,
        requests: dict[str, bytes],
        stand_in: bytes,
        num_clients: int,
        ours: Sequence[str] = (),
    ) -> tuple[dict[str, list[Measured]], list[Measured]]:
        """Measure several requests to ours, and one to the stand-in, in turns."""
        seen: dict[str, list[Measured]] = {name: [] for name in requests}
        theirs: list[Measured] = []
        for _ in range(self.num_turns):
            with self.ours(*ours) as (port, _pid):
                for name, request in requests.items():
                    seen[name].append(self._measure(port, request, num_clients, True))
            with self.stand_in() as (port, _pid):
                theirs.append(self._measure(port, stand_in, num_clients, False))
        return seen, theirs

    def one_face(self) -> None:
        """Measure requests of one face from 8 clients."""
        body = as_json(random_faces(1))
        seen, theirs = self._in_turns(
            {"ours": encode(body, JSON)}, encode(body, JSON, keeps=False), 8
        )
        ours, other = median_rate(seen["ours"]), median_rate(theirs)
        p50 = statistics.median(run.percentile(50) for run in seen["ours"])
        p99 = statistics.median(run.percentile(99) for run in seen["ours"])
        print(
            f"one face, 8 clients: {ours:,.0f} requests/s, stand-in {other:,.0f}: "
            f"{ours / other:.2f} x (goal 3); p50 {p50 * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} ms: "
            f"{p99 / p50:.1f} x (goal under 5)"
        )

    def many_faces(self) -> None:
        """Measure requests of 64 faces from 4 clients."""
        faces = random_faces(64)
        requests = {"JSON": encode(as_json(faces), JSON), "binary": encode(faces.tobytes(), BINARY)}
        stand_in = encode(as_json(faces), JSON, keeps=False)
        seen, theirs = self._in_turns(requests, stand_in, 4)
        other = median_rate(theirs) * 64
        for name, goal in (("JSON", 1.5), ("binary", 3)):
            rate = median_rate(seen[name]) * 64
            print(
                f"64 faces, {name}: {rate:,.0f} faces/s, stand-in {other:,.0f}: "
                f"{rate / other:.2f} x (goal {goal})"
            )

    def large_request(self) -> None:
        """Measure the share of the networks in a request of 4,096 faces."""
        faces = random_faces(4096)
        pair = load_pair(self.models[0], self.models[1], CPU, torch.float32)
        x, request = torch.from_numpy(faces), encode(faces.tobytes(), BINARY)

        def forwards() -> None:
            for model in (pair.age, pair.gender):
                for chunk in torch.split(x, 2048):
                    model.nets[0](chunk)

        inside, whole = [], []
        with self.ours() as (port, _pid), torch.inference_mode():
            for _ in range(2 * self.num_turns):
                whole.append(self._measure(port, request, 1, True).percentile(50))
                inside.append(typical(forwards))
        share = statistics.median(part / both for part, both in zip(inside, whole, strict=True))
        whole_ms, inside_ms = (1e3 * statistics.median(seconds) for seconds in (whole, inside))
        print(
            f"4,096 faces, binary: {whole_ms:.0f} ms, {inside_ms:.0f} ms in the networks: "
            f"{share:.0%} (goal 80 %)"
        )

    def passes(self) -> None:
        """Measure 64 faces with 512 passes of dropout."""
        faces, query = random_faces(64), "?mc_samples=512"
        request = encode(as_json(faces), JSON, query)
        stand_in = encode(as_json(faces), JSON, query, keeps=False)
        precisions = {"float32": 1.3}
        if choose_mc_dtype("auto", CPU) is torch.bfloat16:
            precisions["bfloat16"] = 3
        for name, goal in precisions.items():
            seen, theirs = self._in_turns({name: request}, stand_in, 1, ("--mc-precision", name))
            rate, other = median_rate(seen[name]) * 64, median_rate(theirs) * 64
            bare = 64 / self._bare_passes(faces, 512, name)
            print(
                f"64 faces, 512 passes, {name}: {rate:,.0f} faces/s, stand-in {other:,.0f}: "
                f"{rate / other:.2f} x (goal {goal}); bare forwards with dropout {bare:,.0f}: "
                f"{bare / rate:.2f} x (goal at most 1.3)"
            )

    def _bare_passes(self, faces: NDArray[np.float32], num_passes: int, precision: str) -> float:
        """Give the seconds of the networks alone, all passes of 16 faces at a time as one batch."""
        pair = load_pair(self.models[0], self.models[1], CPU, choose_mc_dtype(precision, CPU))
        x = torch.from_numpy(faces)

        def forwards() -> None:
            for model in (pair.age, pair.gender):
                start = model.sampled[0].start(x)
                for _ in range(num_passes // 32):
                    model.sampled[0].passes(start, 32)

        with torch.inference_mode():
            return typical(forwards)

    def memory(self, num_requests: int) -> None:
        """Measure how the server grows over many requests."""
        request = encode(as_json(random_faces(1)), JSON)
        with self.ours() as (port, process_id):
            load(port, request, 8, 0, True, num_requests=2000)
            before, start = resident_bytes(process_id), time.perf_counter()
            load(port, request, 8, 0, True, num_requests=num_requests)
            grown = (resident_bytes(process_id) - before) / 2**20
            seconds = time.perf_counter() - start
        print(
            f"memory over {num_requests:,} requests ({seconds:.0f} s): {grown:+.1f} MiB on "
            f"{before / 2**20:.0f} MiB"
        )


def median_rate(runs: Sequence[Measured]) -> float:
    """Give the median of the rates."""
    return statistics.median(run.rate for run in runs)


def typical(work: Callable[[], None], num_runs: int = 9) -> float:
    """Give the seconds of the median of some runs."""
    seconds = []
    for _ in range(num_runs):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
