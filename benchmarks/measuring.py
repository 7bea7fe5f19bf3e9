"""What all benchmarks share: their command line, medians in turns, memory, load of the machine."""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent

NUM_FACES = 398_251
"""Faces of IMDB and WIKI together after cleaning."""

NUM_ADIENCE_FACES = 17_055
"""Faces of Adience after cleaning."""

Seconds = NDArray[np.float64]
"""On the clock, and of the processor in this process."""


def benchmark_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser whose help is the docstring of a benchmark."""
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def print_machine() -> None:
    """Print what the absolute numbers depend on."""
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    threads = f"{torch.get_num_threads()} threads on {os.cpu_count()} processors"
    print(f"{threads}, load {load}, torch {torch.__version__}", flush=True)


def medians_in_turns(actions: Sequence[Callable[[], float]], num_turns: int) -> list[float]:
    """Return the median value of each action; they take turns, the first of which only warms up."""
    turns = [[action() for action in actions] for _ in range(num_turns + 1)][1:]
    return [statistics.median(values) for values in zip(*turns, strict=True)]


def timed(action: Callable[[], Any]) -> tuple[Seconds, Any]:
    """Return how long a call took, and its result."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = action()
    return np.array([time.perf_counter() - wall, time.process_time() - cpu]), result


def resident_bytes(process: int | str = "self", peak: bool = False) -> int:
    """Read the resident size of a process, or its peak, from Linux's /proc.

    The peak of getrusage would be no less than that of the parent process.
    """
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    field = "VmHWM:" if peak else "VmRSS:"
    line = next(line for line in status.splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024
