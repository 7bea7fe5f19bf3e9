"""Dropout whose random numbers are cheap on a CPU."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

LANE_BITS = 16
"""Random bits an activation: the rate is rounded to a multiple of 2 ** -16."""

LANE = torch.int16
NUM_VALUES = 1 << LANE_BITS

BitSource = torch.Generator | np.random.BitGenerator


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
    """Return the probability that `zero_one_mask` keeps an activation: 1 - p, rounded on a CPU."""
    return rounded_keep_probability(p) if device.type == "cpu" else 1 - p


def rounded_keep_probability(p: float) -> float:
    """Return the probability that `keep_lanes` keeps an activation."""
    return 1 - _num_dropped(p) / NUM_VALUES


def zero_one_mask(shape: torch.Size, p: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Draw a mask, 0 < p < 1: 0 with probability p, else 1."""
    mask = torch.empty(shape, dtype=dtype, device=device)
    if mask.device.type != "cpu":
        return mask.bernoulli_(1 - p)
    draws = torch.empty(num_draws(mask.numel()), dtype=torch.int64, device="cpu")
    lanes = fill_draws(draws).view(LANE)[: mask.numel()].view(mask.shape)
    return keep_lanes(lanes, p, mask)


def num_draws(num_lanes: int) -> int:
    """Count the 64-bit numbers that hold so many lanes."""
    return -(-num_lanes // 4)


def bit_source(seed: int, device: torch.device) -> BitSource:
    """Make a source of random bits of its own: on a CPU a cheaper one than torch's."""
    if device.type == "cpu":
        return np.random.SFC64(seed)
    return torch.Generator(device).manual_seed(seed)


def fill_draws(draws: Tensor, source: BitSource | None = None) -> Tensor:
    """Fill a tensor (N,) of int64 with random bits, from a source or torch's global generator."""
    if isinstance(source, np.random.BitGenerator):
        return draws.copy_(torch.from_numpy(source.random_raw(len(draws)).view(np.int64)))
    return draws.random_(-(2**63), None, generator=source)


def keep_lanes(lanes: Tensor, p: float, mask: Tensor) -> Tensor:
    """Fill a mask, 0 < p < 1, with 0 and 1 by lanes of random bits of its shape."""
    # Comparing straight into a floating-point tensor is several times faster than casting booleans.
    return torch.ge(lanes, _num_dropped(p) - NUM_VALUES // 2, out=mask)


def _num_dropped(p: float) -> int:
    """Return the values of a lane, of `NUM_VALUES`, that mean a dropped activation."""
    return min(max(round(p * NUM_VALUES), 1), NUM_VALUES - 1)
