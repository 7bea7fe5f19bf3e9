"""Metrics: functions of logits (N, C) and class numbers (N,).

Calling one gives its mean over the samples, (). `per_sample` gives the (N,) values behind it, which
the programs sum over an epoch and divide once, so that batches of unequal size weigh what they
should.
"""

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from utils.ages import ages_to_classes, class_years

RELAXED_BOUNDS_YEARS = (3.0, 7.0, 13.5, 22.5, 35.0, 45.5, 56.5)
"""Lower bounds of the original's groups from the second on."""


class Metric:
    """A mean over samples of a function of logits and class numbers."""

    def __init__(self, per_sample: Callable[[Tensor, Tensor], Tensor]):
        functools.update_wrapper(self, per_sample)
        self.name: str = per_sample.__name__
        self._per_sample = per_sample

    def per_sample(self, output: Tensor, target: Tensor) -> Tensor:
        """Give the value of each sample, (N,) float32."""
        return self._per_sample(output.float(), target).float()

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Give the mean over the samples, () float32."""
        return self.per_sample(output, target).mean()


@Metric
def accuracy(output: Tensor, target: Tensor) -> Tensor:
    """Share of samples whose largest logit is the true class's.

    >>> accuracy(torch.tensor([[2.0, 1.0], [0.0, 1.0]]), torch.tensor([0, 0]))
    tensor(0.5000)
    """
    return output.argmax(1) == target


@Metric
def accuracy_relaxed(output: Tensor, target: Tensor) -> Tensor:
    """Share of samples put into the right one of the original's eight groups of whole years.

    Raises:
        ValueError: there are not 101 classes.

    >>> logits = torch.eye(101)[[34, 35]]
    >>> accuracy_relaxed(logits, torch.tensor([23, 23]))
    tensor(0.5000)
    """
    if output.shape[1] != len(class_years(101)):
        raise ValueError(f"accuracy_relaxed needs 101 classes, got {output.shape[1]}")
    bounds = torch.tensor(RELAXED_BOUNDS_YEARS, device=output.device)
    predicted, true = output.argmax(1).float(), target.float()
    return torch.bucketize(predicted, bounds, right=True) == torch.bucketize(
        true, bounds, right=True
    )


@Metric
def top_k_acc(output: Tensor, target: Tensor) -> Tensor:
    """Share of samples whose true class is among the three largest logits.

    >>> top_k_acc(torch.tensor([[4.0, 3.0, 2.0, 1.0]]), torch.tensor([2]))
    tensor(1.)
    """
    return (output.topk(min(3, output.shape[1]), dim=1).indices == target[:, None]).any(1)


@Metric
def one_off_accuracy(output: Tensor, target: Tensor) -> Tensor:
    """Share of samples put into the true one of the eight age groups or into a neighbour of it.

    101 classes are mapped to the eight by the nearest centre, ties downward.

    >>> one_off_accuracy(torch.eye(8)[[1, 2]], torch.tensor([0, 0]))
    tensor(0.5000)
    """
    groups = _groups(output.shape[1], str(output.device))
    return (groups[output.argmax(1)] - groups[target]).abs() <= 1


@Metric
def mae(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error in years: expectation over the classes against the true class's years.

    >>> mae(torch.tensor([[0.0, 0, -99, -99, -99, -99, -99, -99]]), torch.tensor([0]))
    tensor(2.)
    """
    return _error_years(output, target)


@Metric
def cs5(output: Tensor, target: Tensor) -> Tensor:
    """Cumulative score: share of samples whose expected age is within five years of the true one.

    >>> cs5(torch.tensor([[0.0, 0, -99, -99, -99, -99, -99, -99]]), torch.tensor([0]))
    tensor(1.)
    """
    return _error_years(output, target) <= 5


def _error_years(output: Tensor, target: Tensor) -> Tensor:
    years = _years(output.shape[1], str(output.device))
    return (torch.softmax(output, 1) @ years - years[target]).abs()


@functools.lru_cache(maxsize=8)
def _years(num_classes: int, device: str) -> Tensor:
    return torch.from_numpy(class_years(num_classes)).to(device)


@functools.lru_cache(maxsize=8)
def _groups(num_classes: int, device: str) -> Tensor:
    return torch.from_numpy(ages_to_classes(class_years(num_classes), 8)).to(device)
