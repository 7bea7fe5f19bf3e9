"""K networks of one architecture as one: their weights stacked, one operation for all.

Activations are (K, F, B), features before samples: so a batched product takes them as they are, and
torch's own batch norm sees K x F channels without a copy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from model.dropout import (
    LANE,
    BitSource,
    fill_draws,
    keep_lanes,
    num_draws,
    rounded_keep_probability,
)
from model.inference import Layer, layers_of
from model.model import ResMLP

Leaves = dict[str, Tensor]


@dataclass(frozen=True)
class Pass:
    """A forward pass of some members.

    Attributes:
        logits: (k, B, C).
        leaves: the stacked weights (k, ...) that it read, to differentiate by, in the order of the
            networks' parameters. Their gradients last until the next backward pass.
    """

    logits: Tensor
    leaves: list[Tensor]


class StackedResMLP:
    """Networks whose parameters and buffers become slices of common tensors.

    The networks stay what they are: ordinary modules, which can be evaluated, saved and optimised
    one by one; whatever changes their weights in place changes the stack.

    Args:
        nets: of one architecture, device and precision.

    Raises:
        ValueError: the architectures differ.
    """

    def __init__(self, nets: Sequence[ResMLP]):
        shapes = [{name: x.shape for name, x in net.state_dict().items()} for net in nets]
        if any(shape != shapes[0] for shape in shapes):
            raise ValueError("networks of different architectures cannot be stacked")
        self.nets = list(nets)
        self.tensors = {name: _stack([_named(net)[name] for net in nets]) for name in shapes[0]}
        self._named_weights = {name: self.tensors[name] for name, _ in nets[0].named_parameters()}
        self._gradients = {
            name: torch.empty_like(weight)
            for name, weight in self._named_weights.items()
            if weight.dim() == 3
        }
        self._layers = layers_of(nets[0])
        self._num_dropped_features = sum(
            one.linear.in_features for one in self._layers if one.dropout > 0
        )
        self._names = {module: name for name, module in nets[0].named_modules()}

    @property
    def weights(self) -> list[Tensor]:
        """The stacked weights (K, ...), in the order of the networks' parameters."""
        return list(self._named_weights.values())

    def release(self) -> None:
        """Copy the weights, so that every network has its own again."""
        for net in self.nets:
            for tensor in _named(net).values():
                tensor.data = tensor.data.clone()

    def forward(self, x: Tensor, members: slice, sources: Sequence[BitSource]) -> Pass:
        """Run some members, neighbours in the stack, in training mode.

        Args:
            x: embeddings (k, B, D) of each.
            members: which k.
            sources: of the members' dropout masks.
        """
        leaves = {
            name: weight[members].detach().requires_grad_()
            for name, weight in self._named_weights.items()
        }
        bits = _Bits(sources, self._num_dropped_features * x.shape[1], x.device)
        x = skip = x.transpose(1, 2)
        for layer in self._layers:
            if layer.opens_skip:
                skip = x
            if layer.norm is not None:
                x = self._normed(layer, layer.norm, x, members, leaves)
            if layer.dropout > 0:
                x = x.mul_(bits.mask(x, layer.dropout))
            x = self._linear(layer, x, members, leaves)
            if layer.closes_skip:
                x += skip
            if layer.has_relu:
                x = x.relu_()
        return Pass(x.transpose(1, 2), list(leaves.values()))

    def _linear(self, layer: Layer, x: Tensor, members: slice, leaves: Leaves) -> Tensor:
        name = self._names[layer.linear]
        weight, bias = leaves[f"{name}.weight"], leaves[f"{name}.bias"]
        into = self._gradients[f"{name}.weight"][members]
        out: Tensor = StackedLinear.apply(x, weight, bias, into)  # type: ignore[no-untyped-call]
        return out

    def _normed(
        self, layer: Layer, norm: nn.BatchNorm1d, x: Tensor, members: slice, leaves: Leaves
    ) -> Tensor:
        """Normalise (k, F, B) over the samples, and update the running statistics.

        The result is already divided by dropout's probability of keeping an activation.
        """
        name = self._names[norm]
        weight, bias = leaves[f"{name}.weight"], leaves[f"{name}.bias"]
        if layer.dropout > 0:
            kept = rounded_keep_probability(layer.dropout)
            weight, bias = weight / kept, bias / kept
        out, mean, var = StackedBatchNorm.apply(x, weight, bias, norm.eps)  # type: ignore[no-untyped-call]
        num_samples, momentum = x.shape[2], norm.momentum or 0.0
        self.tensors[f"{name}.running_mean"][members].lerp_(mean, momentum)
        unbiased = var * (num_samples / (num_samples - 1))
        self.tensors[f"{name}.running_var"][members].lerp_(unbiased, momentum)
        self.tensors[f"{name}.num_batches_tracked"][members] += 1
        result: Tensor = out
        return result


class StackedLinear(torch.autograd.Function):
    """Linear layers (k, G, F) of (k, F, B); their gradients go where those of the last batch were.

    New memory is in no cache: on a CPU filling it takes longer than the product.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, into: Tensor) -> Tensor:
        """Return weight @ x + bias (k, G, B).

        Args:
            ctx: of the backward pass.
            x: (k, F, B).
            weight: (k, G, F).
            bias: (k, G).
            into: (k, G, F), for the weight's gradient, which is this very tensor.
        """
        if torch.is_autocast_enabled(x.device.type):
            dtype = torch.get_autocast_dtype(x.device.type)
            x, weight, bias = x.to(dtype), weight.to(dtype), bias.to(dtype)
        ctx.save_for_backward(x, weight)
        ctx.into = into
        return torch.baddbmm(bias.unsqueeze(2), weight, x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x, weight and bias."""
        x, weight = ctx.saved_tensors
        of_x = torch.bmm(weight.transpose(1, 2), gradient) if ctx.needs_input_grad[0] else None
        of_bias = gradient.sum(2, dtype=ctx.into.dtype)
        if gradient.dtype is ctx.into.dtype:
            return of_x, torch.bmm(gradient, x.transpose(1, 2), out=ctx.into), of_bias, None
        return of_x, ctx.into.copy_(torch.bmm(gradient, x.transpose(1, 2))), of_bias, None


class StackedBatchNorm(torch.autograd.Function):
    """Batch norm of (k, F, B) over B with the batch's own statistics.

    The sums run over neighbours in memory, which on a CPU is faster than torch's own for this
    shape; its backward pass is torch's own.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the normalised (k, F, B), and mean and biased variance (k, F)."""
        x = x.contiguous()
        exact = x if x.dtype is torch.float64 else x.float()
        mean = exact.mean(2)
        out = exact - mean.unsqueeze(2)
        var = torch.linalg.vector_norm(out, dim=2).square() / x.shape[2]
        invstd = (var + eps).rsqrt()
        ctx.save_for_backward(x, weight, mean, invstd)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, var)
        out.mul_((weight * invstd).unsqueeze(2)).add_(bias.unsqueeze(2))
        return out.to(x.dtype), mean, var

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        """Return the gradients of x, weight and bias."""
        x, weight, mean, invstd = ctx.saved_tensors
        shape, flat = weight.shape, (1, weight.numel(), x.shape[2])
        parts = torch.ops.aten.native_batch_norm_backward(
            gradient.reshape(flat),
            x.view(flat),
            weight.view(-1),
            None,
            None,
            mean.view(-1),
            invstd.view(-1),
            True,
            ctx.eps,
            [ctx.needs_input_grad[0], True, True],
        )
        of_x = parts[0].view(x.shape) if ctx.needs_input_grad[0] else None
        return of_x, parts[1].view(shape), parts[2].view(shape), None


def _named(net: ResMLP) -> dict[str, Tensor]:
    return dict(chain(net.named_parameters(), net.named_buffers()))


def _stack(tensors: Sequence[Tensor]) -> Tensor:
    """Copy tensors into a common one, and make each a slice of it."""
    stacked = torch.stack([tensor.data for tensor in tensors])
    for tensor, part in zip(tensors, stacked, strict=True):
        tensor.data = part
    return stacked


class _Bits:
    """Random bits for all masks of a batch, drawn at once: each member's from its own source."""

    def __init__(self, sources: Sequence[BitSource], num_lanes: int, device: torch.device):
        shape = (len(sources), num_draws(num_lanes))
        draws = torch.empty(shape, dtype=torch.int64, device=device)
        for row, source in zip(draws, sources, strict=True):
            fill_draws(row, source)
        self._lanes = draws.view(LANE)

    def mask(self, x: Tensor, p: float) -> Tensor:
        """Return a mask (k, F, B) of 0 and 1 from bits that no other mask took."""
        num_lanes = x[0].numel()
        lanes = self._lanes[:, :num_lanes].view(x.shape)
        self._lanes = self._lanes[:, num_lanes:]
        return keep_lanes(lanes, p, torch.empty(x.shape, dtype=x.dtype, device=x.device))
