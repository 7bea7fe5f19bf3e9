"""Random generators by purpose, and what this process may use of processor and memory."""

import ctypes
import os
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np

M_ARENA_MAX, NUM_HEAPS = -8, 2


def generator(seed: int, purpose: str, *numbers: int) -> np.random.Generator:
    """Return the generator of one purpose ("split", "order", ...), independent of all others.

    >>> int(generator(42, "split").integers(1000)) == int(generator(42, "split").integers(1000))
    True
    """
    return np.random.default_rng([seed, zlib.crc32(purpose.encode()), *numbers])


def usable_cpus() -> int:
    """Count the CPUs that this process may be scheduled on.

    >>> usable_cpus() >= 1
    True
    """
    has_affinity = hasattr(os, "sched_getaffinity")  # not on macOS
    return len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1


def available_cores(quota_path: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Count the processor cores that this process may use: its affinity, and its container's quota.

    >>> available_cores() >= 1
    True
    """
    cores = usable_cpus()
    try:
        quota, period = quota_path.read_text().split()
        return max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError, ZeroDivisionError):  # no cgroup, or its quota is "max"
        return cores


def share_heaps() -> None:
    """Keep the memory small of what threads take and free in large pieces: bodies, pictures.

    glibc gives threads heaps of their own, each of which keeps the most that its thread took.
    """
    with suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, NUM_HEAPS)
