"""Metrics of logits or probabilities (N, C) and class numbers (N,): each formula stands here once.

`accuracy(output, target)` is the mean over the samples, (); `accuracy.per_sample` are the values
(N,) behind it, which the programs sum over an epoch and divide once, so that batches of unequal
size weigh what they should. A new metric is a decorated function of a `Scored`.

What scores stored probabilities wraps their arrays and needs no formula of its own:

>>> scored = ScoredProbabilities(np.array([[0.9, 0.1], [0.6, 0.4]]), np.array([0, 1]))
>>> accuracy.values(scored).numpy()
array([1., 0.])
"""

import functools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from utils.labels import AgeClasses, ages_to_classes, class_years

RELAXED_BOUNDS_YEARS = (3.0, 7.0, 13.5, 22.5, 35.0, 45.5, 56.5)
"""Lower bounds of the original's groups from the second on."""


NEAR_YEARS = 5.0
"""Errors up to this count as near in the cumulative score."""


class Scored:
    """A batch to score, and what several metrics need of it, computed once.

    Args:
        output: logits (N, C), of any precision.
        target: class numbers (N,).
        classes: of ages; None for 8 or 101, as many as there are logits.

    Attributes:
        dtype: of the values.
    """

    dtype = torch.float32

    def __init__(self, output: Tensor, target: Tensor, classes: AgeClasses | None = None):
        self.output = output.to(self.dtype)
        self.target = target
        self.classes = classes or output.shape[1]

    @functools.cached_property
    def predicted(self) -> Tensor:
        """The class of the largest logit, (N,)."""
        return self.output.argmax(1)

    def expected_years(self, years: Tensor) -> Tensor:
        """Return the expectation over the classes (N,), whose years are (C,)."""
        return torch.softmax(self.output, 1) @ years

    @functools.cached_property
    def excess_years(self) -> Tensor:
        """The expected age minus the true class's years, (N,)."""
        years = years_of(self.classes, str(self.output.device)).to(self.dtype)
        return self.expected_years(years) - years[self.target]


class ScoredProbabilities(Scored):
    """Stored probabilities (N, C) and class numbers (N,); the values are float64."""

    dtype = torch.float64

    def __init__(self, probabilities: ArrayLike, target: ArrayLike):
        super().__init__(
            torch.from_numpy(np.array(probabilities, np.float64)),
            torch.from_numpy(np.array(target, np.int64)),
        )

    def expected_years(self, years: Tensor) -> Tensor:
        """Return the expectation over the classes (N,), to the bit as numpy computes it."""
        return torch.from_numpy(self.output.numpy() @ years.numpy())


class Metric:
    """A mean over samples of a function of a scored batch.

    Args:
        values: of each sample of a batch (N,).
        classes: of ages; None for 8 or 101, as many as there are logits.
    """

    def __init__(self, values: Callable[[Scored], Tensor], classes: AgeClasses | None = None):
        functools.update_wrapper(self, values)
        self.name: str = values.__name__
        self.classes = classes
        self._values = values

    def of_classes(self, classes: AgeClasses | None) -> "Metric":
        """Return the same for other age classes."""
        return Metric(self._values, classes)

    def values(self, scored: Scored) -> Tensor:
        """Return the value of each sample, (N,) of the batch's dtype."""
        return self._values(scored).to(scored.dtype)

    def per_sample(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the value of each sample, (N,) float32."""
        return self.values(Scored(output, target, self.classes))

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the mean over the samples, () float32."""
        return self.per_sample(output, target).mean()


@Metric
def accuracy(scored: Scored) -> Tensor:
    """Share of samples whose largest logit is the true class's.

    >>> accuracy(torch.tensor([[2.0, 1.0], [0.0, 1.0]]), torch.tensor([0, 0]))
    tensor(0.5000)
    """
    return scored.predicted == scored.target


@Metric
def accuracy_relaxed(scored: Scored) -> Tensor:
    """Share of samples put into the right one of the original's eight groups of whole years.

    Raises:
        ValueError: there are not 101 classes.

    >>> logits = torch.eye(101)[[34, 35]]
    >>> accuracy_relaxed(logits, torch.tensor([23, 23]))
    tensor(0.5000)
    """
    if scored.classes != len(class_years(101)):
        raise ValueError(f"accuracy_relaxed needs 101 classes, got {scored.classes}")
    bounds = torch.tensor(RELAXED_BOUNDS_YEARS, device=scored.output.device)
    predicted, true = scored.predicted.float(), scored.target.float()
    return torch.bucketize(predicted, bounds, right=True) == torch.bucketize(
        true, bounds, right=True
    )


@Metric
def top_k_acc(scored: Scored) -> Tensor:
    """Share of samples whose true class is among the three largest logits.

    >>> top_k_acc(torch.tensor([[4.0, 3.0, 2.0, 1.0]]), torch.tensor([2]))
    tensor(1.)
    """
    best = scored.output.topk(min(3, scored.output.shape[1]), dim=1).indices
    return (best == scored.target[:, None]).any(1)


@Metric
def one_off_accuracy(scored: Scored) -> Tensor:
    """Share of samples put into the true age group or into a neighbour of it.

    101 classes are mapped to the eight groups by the nearest centre, ties downward.

    >>> one_off_accuracy(torch.eye(8)[[1, 2]], torch.tensor([0, 0]))
    tensor(0.5000)
    """
    groups = _groups(scored.classes, str(scored.output.device))
    return (groups[scored.predicted] - groups[scored.target]).abs() <= 1


@Metric
def mae(scored: Scored) -> Tensor:
    """Mean absolute error in years: expectation over the classes against the true class's years.

    >>> mae(torch.tensor([[0.0, 0, -99, -99, -99, -99, -99, -99]]), torch.tensor([0]))
    tensor(2.)
    """
    return scored.excess_years.abs()


@Metric
def cs5(scored: Scored) -> Tensor:
    """Cumulative score: share of samples whose expected age is within five years of the true one.

    >>> cs5(torch.tensor([[0.0, 0, -99, -99, -99, -99, -99, -99]]), torch.tensor([0]))
    tensor(1.)
    """
    return scored.excess_years.abs() <= NEAR_YEARS


def values_of(metrics: Sequence[Metric], output: Tensor, target: Tensor) -> list[Tensor]:
    """Return the values (N,) of each metric; what several need is computed once."""
    batches = {classes: Scored(output, target, classes) for classes in {m.classes for m in metrics}}
    return [metric.values(batches[metric.classes]) for metric in metrics]


@functools.lru_cache(maxsize=8)
def years_of(classes: AgeClasses, device: str) -> Tensor:
    """Return the years that stand for each class, (C,) float32, made once for a device."""
    return torch.from_numpy(class_years(classes)).to(device)


@functools.lru_cache(maxsize=8)
def _groups(classes: AgeClasses, device: str) -> Tensor:
    """Return the age group of each class, (C,): one of eight for 8 or 101 classes, else its own."""
    years = class_years(classes)
    groups = ages_to_classes(years, 8) if isinstance(classes, int) else np.arange(len(years))
    return torch.from_numpy(groups).to(device)
