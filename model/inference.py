"""Trained networks for use only: no modules, no gradients, as few operations as it takes.

`FoldedNet` has the batch norm folded into the linear layers; `model.mc_dropout.SampledNet` keeps
it apart, because dropout stands between the two. Both walk the same list of layers.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.model import DownSample, Residual, ResMLP


@dataclass(frozen=True)
class Layer:
    """A linear layer of a `ResMLP` with what stands around it.

    Attributes:
        linear: (in) to (out) features.
        norm: batch norm in front of it, with dropout between the two; None for neither.
        dropout: probability of zeroing an activation.
        opens_skip: what comes in is added at the next layer that closes it.
        closes_skip: add that.
        has_relu: ReLU at the end.
    """

    linear: nn.Linear
    norm: nn.BatchNorm1d | None = None
    dropout: float = 0.0
    opens_skip: bool = False
    closes_skip: bool = False
    has_relu: bool = True


def layers_of(net: ResMLP) -> list[Layer]:
    """List the linear layers of a network in order."""
    layers: list[Layer] = []
    for block in net.blocks:
        if isinstance(block, Residual):
            has_first = block.has_first_norm
            norm, dropout = (block.norm_layer1, block.dropout1.p) if has_first else (None, 0.0)
            layers.append(Layer(block.linear1, norm, dropout, opens_skip=block.add_residual))
            norm, dropout = (block.norm_layer2, block.dropout2.p) if block.add_IC else (None, 0.0)
            layers.append(Layer(block.linear2, norm, dropout, closes_skip=block.add_residual))
        elif isinstance(block, DownSample):
            norm, dropout = (block.norm_layer, block.dropout.p) if block.add_IC else (None, 0.0)
            layers.append(Layer(block.linear, norm, dropout))
        elif isinstance(block, nn.Linear):
            layers.append(Layer(block, has_relu=False))
    return layers


def scale_and_shift(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Return batch norm in eval mode as x * scale + shift, both (F,) float64.

    Raises:
        ValueError: it has no running statistics.
    """
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("batch norm without running statistics cannot be used for inference")
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    return scale, norm.bias.double() - norm.running_mean.double() * scale


@dataclass(frozen=True)
class Affine:
    """What of a layer follows its norm and dropout: weight (out, in), bias (out,), skip, ReLU."""

    weight: Tensor
    bias: Tensor
    opens_skip: bool
    closes_skip: bool
    has_relu: bool

    def __call__(self, x: Tensor, skip: Tensor) -> Tensor:
        """Map (..., in) to (..., out); `skip` (..., out) is added where the layer closes it."""
        out = functional.linear(x, self.weight, self.bias)
        if self.closes_skip:
            out += skip
        return out.relu_() if self.has_relu else out


class FoldedNet:
    """A trained network in eval mode.

    The answers are those of `net.eval()`, but for rounding in float32.

    Args:
        net: stays as it is; its device is the device of this one.

    Attributes:
        layers: in order.
    """

    @torch.no_grad()
    def __init__(self, net: ResMLP):
        self.layers = [_fold(layer) for layer in layers_of(net)]

    def __call__(self, x: Tensor) -> Tensor:
        """Map embeddings (N, D) to logits (N, C)."""
        skip = x
        for layer in self.layers:
            if layer.opens_skip:
                skip = x
            x = layer(x, skip)
        return x


def _fold(layer: Layer) -> Affine:
    weight, bias = layer.linear.weight.detach(), layer.linear.bias.detach()
    if layer.norm is not None:
        scale, shift = scale_and_shift(layer.norm)
        folded = weight.double() * scale
        bias = (bias.double() + weight.double() @ shift).to(bias.dtype)
        weight = folded.to(weight.dtype)
    return Affine(weight, bias, layer.opens_skip, layer.closes_skip, layer.has_relu)
