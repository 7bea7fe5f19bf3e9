"""Monte Carlo dropout: many passes with dropout on tell how sure a network is.

Source: Gal and Ghahramani, arXiv 1506.02142.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from model.dropout import keep_probability, zero_one_mask
from model.inference import Affine, Layer, layers_of, scale_and_shift
from model.model import ResMLP


@dataclass(frozen=True)
class _Sampled(Affine):
    """A layer whose input passes through norm (scale, shift) and dropout, where it has them.

    The weights are divided by the probability of keeping an activation, so that masks are 0 or 1.
    """

    norm: tuple[Tensor, Tensor] | None
    dropout: float

    def normed(self, x: Tensor) -> Tensor:
        """Pass (..., in) through the norm."""
        if self.norm is None:
            return x
        scale, shift = self.norm
        return torch.addcmul(shift, x, scale)


class SampledNet:
    """A trained network in eval mode, but for its dropout, which is on.

    Args:
        net: stays as it is; its device is the device of this one.
        dtype: of the matrix products, float32 or bfloat16.

    Attributes:
        has_dropout: without it all passes are the same.
        num_classes: C.
    """

    @torch.no_grad()
    def __init__(self, net: ResMLP, dtype: torch.dtype = torch.float32):
        self.dtype = dtype
        self._layers = [_sampled(layer, dtype) for layer in layers_of(net)]
        dropouts = [number for number, layer in enumerate(self._layers) if layer.dropout > 0]
        self.has_dropout = bool(dropouts)
        self.num_classes = len(self._layers[-1].bias)
        self._first = dropouts[0] if dropouts else len(self._layers)

    def start(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Compute what all passes share: everything in front of the first dropout.

        Args:
            x: embeddings (N, D).

        Returns:
            the activations (N, F), and those that the open skip connection adds.
        """
        x = skip = x.to(self.dtype)
        for layer in self._layers[: self._first]:
            if layer.opens_skip:
                skip = x
            x = layer(layer.normed(x), skip)
        return (self._layers[self._first].normed(x) if self.has_dropout else x), skip

    def passes(self, start: tuple[Tensor, Tensor], num_passes: int) -> Tensor:
        """Return the logits (num_passes, N, C), float32, of passes with masks of their own."""
        x, skip = start
        x = x.expand(num_passes, *x.shape)
        for number, layer in enumerate(self._layers[self._first :]):
            if number:
                if layer.opens_skip:
                    skip = x
                x = layer.normed(x)
            if layer.dropout > 0:
                x = zero_one_mask(x.shape, layer.dropout, x.dtype, x.device).mul_(x)
            x = layer(x, skip)
        return x.float()


def _sampled(layer: Layer, dtype: torch.dtype) -> _Sampled:
    weight, bias = layer.linear.weight.detach(), layer.linear.bias.detach()
    norm = None
    if layer.norm is not None:
        scale, shift = scale_and_shift(layer.norm)
        norm = scale.to(dtype), shift.to(dtype)
    if layer.dropout > 0:
        weight = weight / keep_probability(layer.dropout, weight.device)
    return _Sampled(
        weight=weight.to(dtype),
        bias=bias.to(dtype),
        opens_skip=layer.opens_skip,
        closes_skip=layer.closes_skip,
        has_relu=layer.has_relu,
        norm=norm,
        dropout=layer.dropout,
    )
