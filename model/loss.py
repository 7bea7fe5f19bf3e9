"""Losses: functions of logits (N, C) and class numbers (N,), giving the mean over the samples."""

from functools import lru_cache
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from model.metric import years_of
from utils.labels import AgeClasses

MAX_STD_YEARS = 100
"""Of soft targets; wider ones hardly tell the classes apart."""

MAX_AGE_WEIGHT = 10
"""Of errors in years beside the cross entropy, which is below 5 from the start."""


def cse(
    output: Tensor,
    target: Tensor,
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    soft_ordinal_years: Annotated[float, Field(ge=0, le=MAX_STD_YEARS)] = 0.0,
    soft_ordinal_growth: Annotated[float, Field(ge=0, le=1)] = 0.0,
    expected_age_weight: Annotated[float, Field(ge=0, le=MAX_AGE_WEIGHT)] = 0.0,
    reduction: str = "mean",
    classes: AgeClasses | None = None,
) -> Tensor:
    """Cross entropy, with hard or soft targets, and what the expected age is off.

    Args:
        output: logits (N, C).
        target: class numbers (N,) int64.
        label_smoothing: share of the target spread evenly over all classes (arXiv 1512.00567).
        soft_ordinal_years: standard deviation in years of a Gaussian over the age classes that
            replaces the single true class, so that a near miss costs less; 0 for hard targets.
        soft_ordinal_growth: what each year of age adds to that standard deviation, since looks tell
            less of an old face's age.
        expected_age_weight: of the absolute error of the expected age, in years, which is added.
        reduction: "mean", or "none" for the loss of each sample.
        classes: of ages; None for 8 or 101, as many as there are logits.

    Returns:
        The mean over the samples, (), or the losses (N,).

    Source: label distributions of ages, arXiv 1611.01731; widths that grow, arXiv 2509.00450; the
    error of the expectation, arXiv 2007.01771.
    """
    classes = classes or output.shape[1]
    if soft_ordinal_years or soft_ordinal_growth:
        table = _soft_targets(classes, soft_ordinal_years, soft_ordinal_growth, str(output.device))
        targets = table.index_select(0, target)
    else:
        targets = target
    losses = functional.cross_entropy(
        output, targets, label_smoothing=label_smoothing, reduction=reduction
    )
    if expected_age_weight:
        errors = _expected_age_errors(output, target, classes)
        losses = losses + expected_age_weight * (errors.mean() if reduction == "mean" else errors)
    return losses


def _expected_age_errors(output: Tensor, target: Tensor, classes: AgeClasses) -> Tensor:
    """Return the absolute errors in years (N,); a product under autocast would round the years."""
    years = years_of(classes, str(output.device))
    dtype = torch.promote_types(output.dtype, years.dtype)
    expected = (torch.softmax(output, dim=1, dtype=dtype) * years).sum(1)
    return (expected - years.index_select(0, target)).abs()


@lru_cache(maxsize=8)
def _soft_targets(classes: AgeClasses, std_years: float, growth: float, device: str) -> Tensor:
    """Return the target distribution of each true class, (C, C) float32, rows summing to one."""
    years = years_of(classes, "cpu")
    distance = (years[:, None] - years[None, :]) / (std_years + growth * years[:, None])
    # A width of 0 at the age of 0 leaves 0 / 0 at the true class.
    return torch.softmax(-0.5 * distance.nan_to_num().square(), dim=1).to(device)
