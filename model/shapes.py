"""The weights that a `ResMLP` would have, told from its arguments alone."""

from collections.abc import Iterator
from typing import Any

from model.model import check_arguments
from utils.weights import Weight


def expected_weights(arguments: dict[str, Any]) -> Iterator[Weight]:
    """List names, shapes and kinds of the state_dict of `ResMLP(**arguments)`, one at a time.

    However large the network, only what is taken of the list costs anything.

    Raises:
        TypeError: an argument is missing or unknown.
        ValueError: an argument is out of its range; see `ResMLP`.
    """
    given = check_arguments(arguments)
    return _weights(
        given["num_residuals_per_block"],
        given["num_blocks"],
        given["num_classes"],
        given["num_initial_features"],
        given["add_IC"],
    )


def _weights(
    num_residuals: int, num_blocks: int, num_classes: int, num_features: int, add_IC: bool
) -> Iterator[Weight]:
    layer = 0
    for block in range(num_blocks):
        for index in range(num_residuals):
            has_first_norm = add_IC and not block == index == 0
            yield from _residual(f"blocks.{layer}", num_features, has_first_norm, add_IC)
            layer += 1
        if add_IC:
            yield from _norm(f"blocks.{layer}.norm_layer", num_features)
        yield from _linear(f"blocks.{layer}.linear", num_features, num_features // 2)
        layer += 1
        num_features //= 2
    yield from _linear(f"blocks.{layer}", num_features, num_classes)


def _residual(name: str, num_features: int, has_first_norm: bool, add_IC: bool) -> Iterator[Weight]:
    if has_first_norm:
        yield from _norm(f"{name}.norm_layer1", num_features)
    yield from _linear(f"{name}.linear1", num_features, num_features)
    if add_IC:
        yield from _norm(f"{name}.norm_layer2", num_features)
    yield from _linear(f"{name}.linear2", num_features, num_features)


def _norm(name: str, num_features: int) -> Iterator[Weight]:
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield Weight(f"{name}.{part}", (num_features,), is_floating=True)
    yield Weight(f"{name}.num_batches_tracked", (), is_floating=False)


def _linear(name: str, in_features: int, out_features: int) -> Iterator[Weight]:
    yield Weight(f"{name}.weight", (out_features, in_features), is_floating=True)
    yield Weight(f"{name}.bias", (out_features,), is_floating=True)
