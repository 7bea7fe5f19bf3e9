"""Losses: functions of logits (N, C) and class numbers (N,), giving the mean over the samples."""

from functools import lru_cache
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from utils.labels import AgeClasses, class_years

MAX_STD_YEARS = 100
"""Of soft targets; wider ones hardly tell the classes apart."""

MAX_STD_YEARS = 100
"""Of soft targets; wider ones hardly tell the classes apart."""


def cse(
    output: Tensor,
    target: Tensor,
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    soft_ordinal_years: Annotated[float, Field(ge=0, le=MAX_STD_YEARS)] = 0.0,
    reduction: str = "mean",
    classes: AgeClasses | None = None,
) -> Tensor:
    """Cross entropy, with hard or soft targets.

    Args:
        output: logits (N, C).
        target: class numbers (N,) int64.
        label_smoothing: share of the target spread evenly over all classes (arXiv 1512.00567).
        soft_ordinal_years: standard deviation in years of a Gaussian over the age classes that
            replaces the single true class, so that a near miss costs less; 0 for hard targets.
        reduction: "mean", or "none" for the loss of each sample.
        classes: of ages; None for 8 or 101, as many as there are logits.

    Returns:
        The mean over the samples, (), or the losses (N,).

    Source: label distributions of ages, arXiv 1611.01731.
    """
    if soft_ordinal_years == 0:
        return functional.cross_entropy(
            output, target, label_smoothing=label_smoothing, reduction=reduction
        )
    table = _soft_targets(classes or output.shape[1], soft_ordinal_years, str(output.device))
    return functional.cross_entropy(
        output,
        table.index_select(0, target),
        label_smoothing=label_smoothing,
        reduction=reduction,
    )


@lru_cache(maxsize=8)
def _soft_targets(classes: AgeClasses, std_years: float, device: str) -> Tensor:
    """Return the target distribution of each true class, (C, C) float32, rows summing to one."""
    years = torch.from_numpy(class_years(classes))
    distance = (years[:, None] - years[None, :]) / std_years
    return torch.softmax(-0.5 * distance.square(), dim=1).to(device)
