"""The arguments of a `ResMLP`, checked, and the weights that it would have by them alone."""

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field, model_validator

from utils.problems import JsonObject, problems_in
from utils.weights import Weight

MAX_LAYERS = 10_000
MAX_WEIGHTS = 1 << 31
"""Of a network: 8 GiB in float32. The published ones have under a million."""

LayerCount = Annotated[int, Field(ge=0, le=MAX_WEIGHTS)]
Size = Annotated[int, Field(ge=1, le=MAX_WEIGHTS)]


class ResMLPArguments(JsonObject):
    """What a `ResMLP` is made of; see there."""

    dropout: Annotated[float, Field(ge=0, lt=1)]
    num_residuals_per_block: LayerCount
    num_blocks: LayerCount
    num_classes: Size
    num_initial_features: Size
    add_residual: bool = True
    add_IC: bool = True

    @model_validator(mode="after")
    def _refuse_impossible(self) -> "ResMLPArguments":
        num_features, num_blocks = self.num_initial_features, self.num_blocks
        if num_features >> num_blocks < 1:
            raise ValueError(
                f"num_blocks is {num_blocks}, but {num_features} features can be halved at most "
                f"{num_features.bit_length() - 1} times"
            )
        num_linear = 2 * self.num_residuals_per_block + 1
        num_weights = sum((num_features >> n) ** 2 * num_linear for n in range(num_blocks))
        num_weights += (num_features >> num_blocks) * self.num_classes
        if num_blocks * num_linear + 1 > MAX_LAYERS or num_weights > MAX_WEIGHTS:
            raise ValueError(
                f"num_residuals_per_block {self.num_residuals_per_block}, num_blocks {num_blocks}, "
                f"num_classes {self.num_classes} and num_initial_features {num_features} make a "
                f"network that is too large, expected at most {MAX_LAYERS:,} linear layers and "
                f"{MAX_WEIGHTS:,} weights"
            )
        return self


def check_arguments(arguments: dict[str, Any]) -> ResMLPArguments:
    """Check the arguments of a `ResMLP` before anything is made, and fill in the defaults.

    Raises:
        ValueError: names what is missing, unknown, of the wrong kind or out of its range.
    """
    problems = problems_in(ResMLPArguments, arguments)
    if problems:
        raise ValueError("; ".join(map(str, problems)))
    return ResMLPArguments(**arguments)


def expected_weights(arguments: dict[str, Any]) -> Iterator[Weight]:
    """List names, shapes and kinds of the state_dict of `ResMLP(**arguments)`, one at a time.

    However large the network, only what is taken of the list costs anything.

    Raises:
        ValueError: an argument is missing, unknown or out of its range; see `ResMLP`.
    """
    return _weights(check_arguments(arguments))


def _weights(sizes: ResMLPArguments) -> Iterator[Weight]:
    layer, num_features = 0, sizes.num_initial_features
    for block in range(sizes.num_blocks):
        for index in range(sizes.num_residuals_per_block):
            has_first_norm = sizes.add_IC and not block == index == 0
            yield from _residual(f"blocks.{layer}", num_features, has_first_norm, sizes.add_IC)
            layer += 1
        if sizes.add_IC:
            yield from _norm(f"blocks.{layer}.norm_layer", num_features)
        yield from _linear(f"blocks.{layer}.linear", num_features, num_features // 2)
        layer += 1
        num_features //= 2
    yield from _linear(f"blocks.{layer}", num_features, sizes.num_classes)


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
