"""Random generators by purpose, and the processor cores that this process may use."""

import os
import zlib
from pathlib import Path

import numpy as np


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
