import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from model.dropout import Dropout
from model.model import ResMLP

Array = NDArray[np.float64]
Weights = dict[str, Array]

# dropout, residuals per block, blocks, classes, features, add_residual, add_IC
ARCHES: list[tuple[float, int, int, int, int, bool, bool]] = [
    (0.1, 1, 2, 101, 32, True, True),
    (0.0, 2, 3, 8, 32, True, True),
    (0.5, 2, 2, 5, 17, True, True),  # 17 features are halved to 8 and 4
    (0.1, 1, 2, 2, 32, False, True),
    (0.1, 2, 2, 2, 32, True, False),
    (0.1, 1, 1, 2, 32, False, False),
    (0.1, 0, 2, 2, 32, True, True),
    (0.1, 0, 2, 2, 32, True, False),
    (0.1, 3, 0, 2, 32, True, True),
    (0.1, 0, 0, 1, 1, True, True),
    (0.1, 1, 5, 2, 32, True, True),  # down to one feature
]


def make_model(arch: tuple[Any, ...], seed: int = 0) -> ResMLP:
    """Build a network with weights and batch norm statistics that all differ."""
    torch.manual_seed(seed)
    model = ResMLP(*arch)
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point():
            tensor.data = torch.rand_like(tensor) * 0.6 + 0.1
    for weight in model.parameters():
        weight.data *= torch.randint(0, 2, weight.shape) * 2 - 1
    return model


def weights_of(model: nn.Module) -> Weights:
    return {name: value.double().numpy() for name, value in model.state_dict().items()}


def norm(w: Weights, name: str, x: Array) -> Array:
    """Batch norm in evaluation; nothing where the network has none."""
    if f"{name}.weight" not in w:
        return x
    scaled = (x - w[f"{name}.running_mean"]) / np.sqrt(w[f"{name}.running_var"] + 1e-5)
    return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]


def linear(w: Weights, name: str, x: Array) -> Array:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def forward_by_hand(w: Weights, arch: tuple[Any, ...], x: Array) -> Array:
    """The network in numpy, written from its description rather than from its code."""
    _, num_residuals, num_blocks, _, _, add_residual, _ = arch
    layer = 0
    for _ in range(num_blocks):
        for _ in range(num_residuals):
            name = f"blocks.{layer}"
            out = np.maximum(linear(w, f"{name}.linear1", norm(w, f"{name}.norm_layer1", x)), 0)
            out = linear(w, f"{name}.linear2", norm(w, f"{name}.norm_layer2", out))
            x = np.maximum(out + x if add_residual else out, 0)
            layer += 1
        name = f"blocks.{layer}"
        x = np.maximum(linear(w, f"{name}.linear", norm(w, f"{name}.norm_layer", x)), 0)
        layer += 1
    return linear(w, f"blocks.{layer}", x)


@pytest.mark.parametrize("arch", ARCHES)
def test_evaluation_equals_the_forward_pass_by_hand(arch: tuple[Any, ...]) -> None:
    model = make_model(arch).double().eval()
    x = torch.randn(13, arch[4], dtype=torch.float64)
    with torch.no_grad():
        logits = model(x).numpy()
    assert logits.shape == (13, arch[3])
    np.testing.assert_allclose(logits, forward_by_hand(weights_of(model), arch, x.numpy()))
    assert np.ptp(logits, axis=0).max() > 0  # not all units are dead


def test_names_and_shapes_are_those_of_the_original_in_its_order() -> None:
    def norm_names(name: str, width: int) -> list[tuple[str, tuple[int, ...]]]:
        values = [(f"{name}.{key}", (width,)) for key in ("weight", "bias")]
        values += [(f"{name}.{key}", (width,)) for key in ("running_mean", "running_var")]
        return [*values, (f"{name}.num_batches_tracked", ())]

    def linear_names(name: str, width: int, out: int) -> list[tuple[str, tuple[int, ...]]]:
        return [(f"{name}.weight", (out, width)), (f"{name}.bias", (out,))]

    expected = [
        *linear_names("blocks.0.linear1", 16, 16),  # the very first residual has no first norm
        *norm_names("blocks.0.norm_layer2", 16),
        *linear_names("blocks.0.linear2", 16, 16),
        *norm_names("blocks.1.norm_layer1", 16),
        *linear_names("blocks.1.linear1", 16, 16),
        *norm_names("blocks.1.norm_layer2", 16),
        *linear_names("blocks.1.linear2", 16, 16),
        *norm_names("blocks.2.norm_layer", 16),
        *linear_names("blocks.2.linear", 16, 8),
        *norm_names("blocks.3.norm_layer1", 8),
        *linear_names("blocks.3.linear1", 8, 8),
        *norm_names("blocks.3.norm_layer2", 8),
        *linear_names("blocks.3.linear2", 8, 8),
        *norm_names("blocks.4.norm_layer1", 8),
        *linear_names("blocks.4.linear1", 8, 8),
        *norm_names("blocks.4.norm_layer2", 8),
        *linear_names("blocks.4.linear2", 8, 8),
        *norm_names("blocks.5.norm_layer", 8),
        *linear_names("blocks.5.linear", 8, 4),
        *linear_names("blocks.6", 4, 3),
    ]
    state = ResMLP(0.1, 2, 2, 3, 16).state_dict()
    assert [(name, tuple(value.shape)) for name, value in state.items()] == expected


@pytest.mark.parametrize(
    ("arch", "names"),
    [
        ((0.1, 0, 1, 2, 4), ["blocks.0.norm_layer", "blocks.0.linear", "blocks.1"]),
        ((0.1, 5, 0, 2, 4), ["blocks.0"]),
        (
            (0.1, 1, 1, 2, 4, True, False),
            ["blocks.0.linear1", "blocks.0.linear2", "blocks.1.linear", "blocks.2"],
        ),
    ],
)
def test_layers_that_the_arguments_leave_out_have_no_parameters(
    arch: tuple[Any, ...], names: list[str]
) -> None:
    found = [name.rpartition(".")[0] for name, _ in ResMLP(*arch).named_parameters()]
    assert list(dict.fromkeys(found)) == names


def test_only_the_first_residual_of_the_first_block_lacks_its_first_dropout() -> None:
    names = [
        name
        for name, module in ResMLP(0.1, 2, 2, 3, 16).named_modules()
        if isinstance(module, nn.Dropout)
    ]
    expected = ["0.dropout2", "1.dropout1", "1.dropout2", "2.dropout"]
    expected += ["3.dropout1", "3.dropout2", "4.dropout1", "4.dropout2", "5.dropout"]
    assert names == [f"blocks.{name}" for name in expected]


def test_every_dropout_has_the_rate_asked_for() -> None:
    rates = [m.p for m in ResMLP(0.37, 2, 2, 3, 16).modules() if isinstance(m, Dropout)]
    assert rates == [0.37] * 9


def test_training_normalises_by_the_batch_and_keeps_running_statistics() -> None:
    model = make_model((0.0, 0, 1, 3, 6, True, True)).double().train()
    w = {name: value.copy() for name, value in weights_of(model).items()}  # before the batch
    x = torch.randn(20, 6, dtype=torch.float64) * 3 + 1
    logits = model(x).detach().numpy()
    batch = x.numpy()
    mean, var = batch.mean(0), batch.var(0)
    norm_name = "blocks.0.norm_layer"
    by_batch = w | {f"{norm_name}.running_mean": mean, f"{norm_name}.running_var": var}
    expected = forward_by_hand(by_batch, (0.0, 0, 1, 3, 6, True, True), batch)
    np.testing.assert_allclose(logits, expected)
    after = weights_of(model)
    for name, of_batch in (("running_mean", mean), ("running_var", batch.var(0, ddof=1))):
        key = f"blocks.0.norm_layer.{name}"
        np.testing.assert_allclose(after[key], 0.9 * w[key] + 0.1 * of_batch)
    assert after["blocks.0.norm_layer.num_batches_tracked"] == 1


def test_training_drops_at_random_and_evaluation_does_not() -> None:
    model = make_model((0.5, 1, 1, 3, 16, True, True))
    x = torch.randn(8, 16)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


def test_every_parameter_gets_a_gradient() -> None:
    model = make_model((0.1, 2, 2, 5, 16, True, True)).train()
    model(torch.randn(64, 16)).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in model.parameters())


@pytest.mark.parametrize("arch", ARCHES)
def test_the_printed_parameter_count_is_the_sum_over_the_layers(arch: tuple[Any, ...]) -> None:
    _, num_residuals, num_blocks, num_classes, width, _, add_ic = arch
    count = 0
    for block in range(num_blocks):
        norms = (2 * num_residuals + 1 - (block == 0 and num_residuals > 0)) * add_ic
        count += num_residuals * 2 * (width * width + width) + norms * 2 * width
        count += width * (width // 2) + width // 2
        width //= 2
    count += width * num_classes + num_classes
    model = ResMLP(*arch)
    assert model.num_parameters() == count
    assert str(model).endswith(f"Trainable parameters: {count:,}")


def test_frozen_parameters_are_not_counted() -> None:
    model = ResMLP(0.1, 1, 1, 2, 16)
    total = model.num_parameters()
    frozen = next(model.parameters()).requires_grad_(False)
    assert model.num_parameters() == total - math.prod(frozen.shape)


def test_the_seed_of_torch_governs_the_initial_weights() -> None:
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        states.append(ResMLP(0.1, 1, 1, 2, 16).state_dict()["blocks.0.linear1.weight"])
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dropout": 1.0}, "dropout: 1.0, expected less than 1"),
        ({"dropout": -0.1}, "dropout: -0.1, expected 0 or more"),
        ({"dropout": float("nan")}, "dropout: nan"),
        ({"num_residuals_per_block": -1}, "num_residuals_per_block: -1, expected 0 or more"),
        ({"num_blocks": -1}, "num_blocks: -1, expected 0 or more"),
        ({"num_blocks": 5}, "16 features can be halved at most 4 times"),
        ({"num_classes": 0}, "num_classes: 0, expected 1 or more"),
        ({"num_initial_features": 0}, "num_initial_features: 0, expected 1 or more"),
    ],
)
def test_sizes_that_make_no_network_are_refused(arguments: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {
        "dropout": 0.1,
        "num_residuals_per_block": 1,
        "num_blocks": 1,
        "num_classes": 2,
        "num_initial_features": 16,
    }
    ResMLP(**good)
    with pytest.raises(ValueError, match=message):
        ResMLP(**{**good, **arguments})
