"""Dropout whose random numbers are cheap on a CPU."""

import torch
from torch import Tensor, nn
from torch.nn import functional

LANE_BITS = 16
"""Random bits an activation: the rate is rounded to a multiple of 2 ** -16."""

NUM_VALUES = 1 << LANE_BITS


class Dropout(nn.Dropout):
    """`torch.nn.Dropout` with a faster source of random bits on a CPU.

    torch draws one 64-bit double an activation there; here four activations share one draw of the
    same global generator, so `torch.manual_seed` and `torch.get_rng_state` govern the masks as
    ever. Other devices, and evaluation, run torch's own dropout.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name of nn.Dropout
        """Zero each activation with probability p and scale the others by 1 / (1 - p)."""
        if not self.training or self.p == 0 or input.device.type != "cpu" or self.p == 1:
            return functional.dropout(input, self.p, self.training, self.inplace)
        mask = keep_mask(input.shape, self.p, input.dtype)
        return input.mul_(mask) if self.inplace else input * mask


def keep_mask(shape: torch.Size, p: float, dtype: torch.dtype) -> Tensor:
    """Draw a mask on the CPU: 0 with probability p, else 1 / (1 - p)."""
    mask = zero_one_mask(shape, p, dtype, torch.device("cpu"))
    return mask.mul_(1 / keep_probability(p, mask.device))


def keep_probability(p: float, device: torch.device) -> float:
    """Give the probability that `zero_one_mask` keeps an activation: 1 - p, rounded on a CPU."""
    return 1 - _num_dropped(p) / NUM_VALUES if device.type == "cpu" else 1 - p


def zero_one_mask(shape: torch.Size, p: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Draw a mask, 0 < p < 1: 0 with probability p, else 1."""
    if device.type != "cpu":
        return torch.empty(shape, dtype=dtype, device=device).bernoulli_(1 - p)
    num_draws = -(-shape.numel() // 4)
    draws = torch.empty(num_draws, dtype=torch.int64, device="cpu").random_(-(2**63), None)
    lanes = draws.view(torch.int16)[: shape.numel()].view(shape)
    mask = torch.empty(shape, dtype=dtype, device="cpu")
    # Comparing straight into a floating-point tensor is several times faster than casting booleans.
    return torch.ge(lanes, _num_dropped(p) - NUM_VALUES // 2, out=mask)


def _num_dropped(p: float) -> int:
    """Give the values of a lane, of `NUM_VALUES`, that mean a dropped activation."""
    return min(max(round(p * NUM_VALUES), 1), NUM_VALUES - 1)
