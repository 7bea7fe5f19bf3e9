from typing import Any

import pytest
import torch
from serving_helpers import network
from torch import Tensor, nn

from model import mc_dropout
from model.dropout import Dropout
from model.mc_dropout import SampledNet
from model.model import ResMLP

NUM_PASSES = 4000
ARCHS: list[dict[str, Any]] = [
    {"num_residuals_per_block": 0, "num_blocks": 1},
    {"num_residuals_per_block": 1, "num_blocks": 1},
    {"num_residuals_per_block": 1, "num_blocks": 1, "add_residual": False},
    {"num_residuals_per_block": 2, "num_blocks": 2, "dropout": 0.5},
]


def small(**arguments: Any) -> ResMLP:
    """Make a network of few features, so that thousands of passes cost little."""
    return network(5, num_initial_features=32, **arguments)


def dropping(net: ResMLP) -> ResMLP:
    """Switch on the dropout, and nothing else."""
    net.eval()
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.train()
    return net


def passes(net: SampledNet, x: Tensor, num_passes: int, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    with torch.no_grad():
        return net.passes(net.start(x), num_passes)


@pytest.mark.parametrize("arguments", ARCHS, ids=str)
def test_many_passes_agree_with_the_module_whose_dropout_is_on(arguments: dict[str, Any]) -> None:
    net, x = small(**arguments), torch.randn(3, 32)
    probabilities = passes(SampledNet(net), x, NUM_PASSES).softmax(-1)
    torch.manual_seed(1)
    with torch.no_grad():
        repeated = x.repeat(NUM_PASSES, 1)
        expected = dropping(net)(repeated).softmax(-1).view(NUM_PASSES, 3, 5)
    error = ((probabilities.var(0) + expected.var(0)) / NUM_PASSES).sqrt()
    assert bool((error > 0).all())
    difference = (probabilities.mean(0) - expected.mean(0)).abs()
    assert bool((difference < 5 * error + 1e-6).all())  # of 15 numbers: one in 100,000 by chance
    torch.testing.assert_close(probabilities.std(0), expected.std(0), rtol=0.15, atol=1e-4)


@pytest.mark.parametrize("arguments", ARCHS, ids=str)
def test_with_the_masks_of_the_module_a_pass_gives_what_the_module_gives(
    arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zero the same activations in both: every other one."""

    def mask(shape: torch.Size, *_: Any) -> Tensor:
        return (torch.arange(shape[-1]) % 2).float().expand(shape).clone()

    def forward(module: Dropout, values: Tensor) -> Tensor:
        return values * mask(values.shape) / (1 - module.p)

    net, x = small(**arguments), torch.randn(3, 32)
    monkeypatch.setattr(mc_dropout, "zero_one_mask", mask)
    monkeypatch.setattr(Dropout, "forward", forward)
    with torch.no_grad():
        expected = net.eval()(x)
    got = passes(SampledNet(net), x, 2)
    torch.testing.assert_close(got, expected.expand(2, 3, 5), rtol=1e-4, atol=1e-4)


def test_every_pass_and_every_face_has_masks_of_its_own() -> None:
    x = torch.randn(1, 32).expand(2, 32)
    logits = passes(SampledNet(small(dropout=0.5)), x, 2).reshape(4, 5)
    assert len(torch.unique(logits, dim=0)) == 4


def test_the_same_seed_gives_the_same_passes() -> None:
    net, x = SampledNet(small()), torch.randn(2, 32)
    assert torch.equal(passes(net, x, 5), passes(net, x, 5))
    assert not torch.equal(passes(net, x, 5), passes(net, x, 5, seed=1))


@pytest.mark.parametrize("arguments", ARCHS, ids=str)
def test_bfloat16_is_close_to_float32(arguments: dict[str, Any]) -> None:
    net, x = small(**arguments), torch.randn(3, 32)
    exact, rough = (
        passes(SampledNet(net, dtype), x, NUM_PASSES).softmax(-1)
        for dtype in (torch.float32, torch.bfloat16)
    )
    assert rough.dtype is torch.float32
    assert not torch.equal(rough, exact)
    torch.testing.assert_close(rough.mean(0), exact.mean(0), atol=0.02, rtol=0)


@pytest.mark.parametrize(
    "arguments",
    [
        {"dropout": 0.0},
        {"add_IC": False},
        {"num_blocks": 0},
        {"num_residuals_per_block": 1, "add_IC": False},
    ],
    ids=str,
)
def test_without_dropout_all_passes_are_the_network_in_eval_mode(arguments: dict[str, Any]) -> None:
    net, x = small(**arguments), torch.randn(3, 32)
    sampled = SampledNet(net)
    assert not sampled.has_dropout
    with torch.no_grad():
        expected = net(x).expand(4, 3, 5)
    torch.testing.assert_close(passes(sampled, x, 4), expected, atol=1e-5, rtol=1e-5)


def test_what_stands_in_front_of_the_first_dropout_is_computed_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows: list[tuple[int, ...]] = []
    original = mc_dropout._Sampled.__call__

    def spied(layer: Any, x: Tensor, skip: Tensor) -> Tensor:
        rows.append(tuple(x.shape[:-1]))
        return original(layer, x, skip)

    monkeypatch.setattr(mc_dropout._Sampled, "__call__", spied)
    net = SampledNet(small(num_residuals_per_block=1, num_blocks=1))
    assert net.has_dropout
    passes(net, torch.randn(3, 32), 7)
    assert rows == [(3,), (7, 3), (7, 3), (7, 3)]  # first linear; then second, down, classes


def test_what_is_shared_is_left_as_it_is_by_passes() -> None:
    net, x = SampledNet(small(num_residuals_per_block=2, num_blocks=1)), torch.randn(3, 32)
    copy = x.clone()
    with torch.no_grad():
        start = net.start(x)
        before = [part.clone() for part in start]
        for _ in range(2):
            net.passes(start, 3)
    assert torch.equal(x, copy)
    for part, expected in zip(start, before, strict=True):
        assert torch.equal(part, expected)


def test_the_mean_over_passes_keeps_the_scale_at_a_rate_that_a_cpu_rounds() -> None:
    """A rate below 2 ** -16 becomes 2 ** -16; the scale is that of the rounded rate."""
    net, x = small(dropout=1e-9), torch.randn(3, 32)
    with torch.no_grad():
        expected = net(x)
    torch.testing.assert_close(passes(SampledNet(net), x, 1)[0], expected, rtol=1e-2, atol=1e-2)
