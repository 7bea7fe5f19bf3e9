import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pytest
import torch
from helpers import ROOT
from processors import ALL, AMX, NEITHER, Processor

from base.device import (
    Precision,
    choose_device,
    choose_precision,
    cpu_has_bfloat16,
    cpu_rounds_factors,
    seed_everything,
)


def numpy_state() -> list[int]:
    state: Any = np.random.get_state()  # noqa: NPY002 - it must stay as it is
    words: list[int] = state[1].tolist()
    return words


def test_seeding_repeats_torch_and_leaves_numpy_alone() -> None:
    state = numpy_state()
    seed_everything(5)
    first = torch.rand(4)
    seed_everything(5)
    assert torch.equal(torch.rand(4), first)
    seed_everything(6)
    assert not torch.equal(torch.rand(4), first)
    assert numpy_state() == state


@pytest.mark.parametrize(
    ("n_gpu", "has_gpu", "device", "words"),
    [
        (0, True, "cpu", "n_gpu is 0"),
        (0, False, "cpu", "n_gpu is 0"),
        (1, False, "cpu", "no GPU found"),
        (3, False, "cpu", "no GPU found"),
        (1, True, "cuda:0", "Device: A Big One"),
        (2, True, "cuda:0", "does not fill one GPU: run several"),
    ],
)
def test_the_device_is_chosen_and_one_line_says_why(
    n_gpu: int, has_gpu: bool, device: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "A Big One")
    chosen, line = choose_device(n_gpu)
    assert str(chosen) == device
    assert words in line
    assert "\n" not in line
    assert ("run several" in line) == (n_gpu > 1 and has_gpu)


@pytest.mark.parametrize(
    ("amp", "device", "has_bf16", "dtype", "needs_scaler"),
    [
        (False, "cpu", True, torch.float32, False),
        (False, "cuda", True, torch.float32, False),
        (True, "cpu", True, torch.bfloat16, False),
        (True, "cpu", False, torch.float32, False),
        (True, "cuda", True, torch.bfloat16, False),
        (True, "cuda", False, torch.float16, True),
    ],
)
def test_mixed_precision_is_bf16_where_the_device_has_it_and_scaled_fp16_on_gpus_only(
    amp: bool,
    device: str,
    has_bf16: bool,
    dtype: torch.dtype,
    needs_scaler: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: has_bf16)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": has_bf16})
    assert choose_precision(amp, torch.device(device)) == Precision(device, dtype, needs_scaler)


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({}, False),
        ({"avx512_f": True, "avx512_vnni": True}, False),
        ({"avx512_bf16": True}, True),
        ({"amx_bf16": True}, True),
        ({"amx_bf16": False, "avx512_bf16": False}, False),
    ],
)
def test_a_cpu_has_bf16_by_either_instruction_set(
    capabilities: dict[str, bool], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert cpu_has_bfloat16() is expected


def test_autocast_computes_in_the_precision_chosen_and_float32_opens_none() -> None:
    a = torch.ones(2, 2)
    with Precision("cpu", torch.bfloat16).autocast():
        assert (a @ a).dtype is torch.bfloat16
    with Precision("cpu", torch.float32).autocast():
        assert (a @ a).dtype is torch.float32
        assert not torch.is_autocast_enabled("cpu")


FLOAT32, BFLOAT16 = Precision("cpu", torch.float32), Precision("cpu", torch.bfloat16)
ROUNDED = Precision("cpu", torch.bfloat16, rounds_factors=True)


@pytest.mark.parametrize("batch_size", [1, 127, 128, 256, 257, None])
@pytest.mark.parametrize("processor", ALL, ids=str)
def test_a_cpu_takes_the_fastest_numbers_that_it_has_at_a_batch_size(
    processor: Processor, batch_size: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor.stand_in(monkeypatch)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    is_small = batch_size is not None and batch_size <= 256
    is_tiny = batch_size is not None and batch_size < 128
    if processor == NEITHER:
        expected = FLOAT32
    elif processor == AMX:
        expected = ROUNDED if is_small else BFLOAT16
    else:
        expected = FLOAT32 if is_tiny else BFLOAT16
    assert choose_precision(True, torch.device("cpu"), batch_size) == expected
    assert choose_precision(False, torch.device("cpu"), batch_size) == FLOAT32
    on_gpu = choose_precision(True, torch.device("cuda"), batch_size)
    assert on_gpu == Precision("cuda", torch.bfloat16)


def test_without_onednn_no_factor_is_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu_rounds_factors.cache_clear()
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert cpu_rounds_factors() is False
    cpu_rounds_factors.cache_clear()


TRIAL = """
import torch
from base.device import Precision, cpu_rounds_factors

state = torch.get_rng_state()
probed = cpu_rounds_factors()
assert torch.equal(torch.get_rng_state(), state)
assert torch.backends.mkldnn.matmul.fp32_precision != "bf16"
torch.manual_seed(0)
layer, x = torch.nn.Linear(512, 256), torch.randn(128, 512)
plain = layer(x)
with Precision("cpu", torch.bfloat16, rounds_factors=True).autocast():
    within = layer(x)
print(probed, not torch.equal(plain, within) and bool((plain - within).abs().max() > 1e-4))
"""


@pytest.mark.parametrize("widest", ["", "AVX512_CORE_BF16", "AVX2"])
def test_the_probe_says_what_a_layer_of_the_network_does(widest: str) -> None:
    """On a processor with AMX the cap makes the other two kinds of it."""
    output = subprocess.run(  # noqa: S603 - this very Python
        [sys.executable, "-c", TRIAL],
        cwd=ROOT,
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": widest},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    probed, rounded = output.split()
    assert probed == rounded
    if widest:
        assert probed == "False"


@pytest.mark.parametrize("region", [Precision.autocast, Precision.backward])
def test_factors_are_rounded_inside_their_region_only(
    region: Callable[[Precision], AbstractContextManager[Any]],
) -> None:
    matmul: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    matmul.fp32_precision = before = "ieee"
    precision = Precision("cpu", torch.bfloat16, rounds_factors=True)
    with contextlib.suppress(KeyError), region(precision):
        assert matmul.fp32_precision == "bf16"
        assert not torch.is_autocast_enabled("cpu")
        raise KeyError
    assert matmul.fp32_precision == before
    with region(Precision("cpu", torch.float32)):
        assert matmul.fp32_precision == before


@pytest.mark.skipif(not cpu_rounds_factors(), reason="this CPU does not round factors")
def test_products_of_rounded_factors_are_those_of_bfloat16_numbers() -> None:
    torch.manual_seed(0)
    a, b = torch.randn(256, 256), torch.randn(256, 256)
    with Precision("cpu", torch.bfloat16, rounds_factors=True).autocast():
        product = a @ b
    assert product.dtype is torch.float32
    expected = a.bfloat16().double() @ b.bfloat16().double()
    torch.testing.assert_close(product.double(), expected, rtol=1e-5, atol=1e-4)
    assert (product - a @ b).abs().max() > 0.01


def test_a_precision_prints_as_people_say_it() -> None:
    assert str(Precision("cpu", torch.bfloat16)) == "bfloat16"
    rounded = Precision("cpu", torch.bfloat16, rounds_factors=True)
    assert str(rounded) == "float32 with bfloat16 products"
    assert str(Precision("cuda", torch.float16, True)) == "float16 with a gradient scaler"
