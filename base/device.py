"""Where a network computes and in which numbers: decided once, and recorded beside results."""

import contextlib
import functools
import math
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch


def seed_everything(seed: int) -> None:
    """Seed torch's generators, which initial weights and dropout use; nothing else is global."""
    torch.manual_seed(seed)


def choose_device(n_gpu: int) -> tuple[torch.device, str]:
    """Choose where to train, and say why in one line.

    Args:
        n_gpu: 0 for the CPU; 1 or more for one GPU, when there is one.

    Returns:
        The device, and a line for the log.
    """
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


def free_bytes(device: torch.device) -> int:
    """Return the free memory of a GPU."""
    return torch.cuda.mem_get_info(device)[0]


@contextlib.contextmanager
def limited_threads(num_threads: int | None) -> Iterator[None]:
    """Let torch use this many threads in the block; None leaves their number as it is."""
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


ROUNDED_UP_TO = 256
"""Samples a batch up to which a CPU that rounds factors is faster so than with bfloat16 tensors."""

BFLOAT16_FROM = 128
"""Samples a batch from which bfloat16 tensors are faster than float32 on a CPU that has both.

Below it, every step takes longer to turn the weights into bfloat16 than the products save.
"""


@dataclass(frozen=True)
class Precision:
    """The numbers that the network computes with.

    Attributes:
        device_type: "cpu" or "cuda".
        dtype: of the matrix products.
        needs_scaler: float16 gradients underflow without a scaler.
        rounds_factors: only the factors of products are rounded to bfloat16, within the product;
            all tensors stay float32. On CPUs, and for all threads of the process.
    """

    device_type: str
    dtype: torch.dtype
    needs_scaler: bool = False
    rounds_factors: bool = False

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Open the one region of lower precision that forward passes share."""
        if self.rounds_factors:
            return _rounded_factors()
        if self.dtype is torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device_type, self.dtype)

    def backward(self) -> contextlib.AbstractContextManager[Any]:
        """Open the region of a backward pass; after autocast, tensors have their types already."""
        return _rounded_factors() if self.rounds_factors else contextlib.nullcontext()

    def __str__(self) -> str:
        name = str(self.dtype).removeprefix("torch.")
        if self.rounds_factors:
            return f"float32 with {name} products"
        return f"{name} with a gradient scaler" if self.needs_scaler else name


@contextlib.contextmanager
def _rounded_factors() -> Iterator[None]:
    """Let oneDNN round the factors of float32 products to bfloat16."""
    matmul: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = matmul.fp32_precision
    matmul.fp32_precision = "bf16"
    try:
        yield
    finally:
        matmul.fp32_precision = before


def precision_of(config: Any, device: torch.device) -> Precision:
    """Choose the numbers that a config asks for on a device."""
    return choose_precision(config["amp"], device, config["data_loader"]["args"]["batch_size"])


def choose_precision(amp: bool, device: torch.device, batch_size: int | None = None) -> Precision:
    """Turn `amp` into numbers: bfloat16 where the device has it, else float16 on GPUs only.

    Args:
        amp: whether products may be less precise than float32.
        device: to compute on.
        batch_size: of training, where known: with small batches a CPU keeps float32 tensors.
    """
    if amp and device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return Precision("cuda", torch.bfloat16)
        return Precision("cuda", torch.float16, needs_scaler=True)
    if amp and device.type == "cpu":
        return _cpu_precision(math.inf if batch_size is None else batch_size)
    return Precision(device.type, torch.float32)


def _cpu_precision(batch_size: float) -> Precision:
    """Choose what `benchmarks/bench_training.py` shows to be the fastest that this CPU has."""
    if batch_size <= ROUNDED_UP_TO and cpu_rounds_factors():
        return Precision("cpu", torch.bfloat16, rounds_factors=True)
    if batch_size >= BFLOAT16_FROM and cpu_has_bfloat16():
        return Precision("cpu", torch.bfloat16)
    return Precision("cpu", torch.float32)


def cpu_has_bfloat16() -> bool:
    """Return whether this CPU multiplies bfloat16 matrices in hardware (AMX or AVX512-BF16)."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


@functools.cache
def cpu_rounds_factors() -> bool:
    """Try on small products, single and batched, whether oneDNN rounds factors when it is let to.

    oneDNN takes the permission only where it is faster with it, which today are processors with
    AMX; no flag of a processor says so.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    size = 256
    factor = torch.full((2, size, size), 1 + 2**-9)  # 1 in bfloat16
    other = torch.ones(2, size, size)
    with _rounded_factors():
        products = (factor[0] @ other[0], torch.bmm(factor, other))
    return all(bool((product == size).all()) for product in products)


def _cpu() -> str:
    """Return what decides the order of a CPU's sums: its make, its widest instructions in use."""
    make = torch.cpu.get_capabilities().get("cpu_name") or platform.machine()
    return f"{make}, {torch.backends.cpu.get_cpu_capability()}"


def environment(precision: Precision) -> dict[str, Any]:
    """Return what results depend on beside the config; they repeat to the bit where it is equal."""
    on_gpu = precision.device_type == "cuda"
    return {
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name() if on_gpu else _cpu(),
        "num_threads": torch.get_num_threads(),
        "precision": str(precision),
    }
