"""Seeding, device choice and numeric precision: decided once, in one place."""

import contextlib
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch


def generator(seed: int, purpose: str, *numbers: int) -> np.random.Generator:
    """Make the generator of one purpose ("split", "order", ...), independent of all others.

    >>> int(generator(42, "split").integers(1000)) == int(generator(42, "split").integers(1000))
    True
    """
    return np.random.default_rng([seed, zlib.crc32(purpose.encode()), *numbers])


def seed_everything(seed: int) -> None:
    """Seed torch's generators, which initial weights and dropout use; nothing else is global."""
    import torch

    torch.manual_seed(seed)


def choose_device(n_gpu: int) -> tuple["torch.device", str]:
    """Choose where to train, and say why in one line.

    Args:
        n_gpu: 0 for the CPU; 1 or more for one GPU, when there is one.

    Returns:
        The device, and a line for the log.
    """
    import torch

    if n_gpu == 0:
        return torch.device("cpu"), f"Device: CPU, {torch.get_num_threads()} threads (n_gpu is 0)"
    if not torch.cuda.is_available():
        threads = torch.get_num_threads()
        return torch.device("cpu"), f"Device: CPU, {threads} threads (no GPU found)"
    line = f"Device: {torch.cuda.get_device_name(0)}"
    if n_gpu > 1:
        line += (
            f"; n_gpu is {n_gpu}, but one such network does not fill one GPU: run several "
            "trainings at once instead, each with its own -d"
        )
    return torch.device("cuda", 0), line


def free_bytes(device: "torch.device") -> int:
    """Ask a GPU for its free memory."""
    import torch

    return torch.cuda.mem_get_info(device)[0]


@contextlib.contextmanager
def limited_threads(num_threads: int | None) -> Iterator[None]:
    """Let torch use this many threads in the block; None leaves their number as it is."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(num_threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class Precision:
    """The numbers that the network computes with.

    Attributes:
        device_type: "cpu" or "cuda".
        dtype: of the matrix products; float32 means no autocast.
        needs_scaler: float16 gradients underflow without a scaler.
    """

    device_type: str
    dtype: "torch.dtype"
    needs_scaler: bool = False

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Open the one autocast region that training and evaluation share."""
        import torch

        if self.dtype is torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device_type, self.dtype)

    def __str__(self) -> str:
        name = str(self.dtype).removeprefix("torch.")
        return f"{name} with a gradient scaler" if self.needs_scaler else name


def choose_precision(amp: bool, device: "torch.device") -> Precision:
    """Turn `amp` into numbers: bfloat16 where the device has it, else float16 on GPUs only."""
    import torch

    if amp and device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return Precision("cuda", torch.bfloat16)
        return Precision("cuda", torch.float16, needs_scaler=True)
    if amp and device.type == "cpu" and cpu_has_bfloat16():
        return Precision("cpu", torch.bfloat16)
    return Precision(device.type, torch.float32)


def cpu_has_bfloat16() -> bool:
    """Tell whether this CPU multiplies bfloat16 matrices in hardware (AMX or AVX512-BF16)."""
    import torch

    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


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
