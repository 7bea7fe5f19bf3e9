import numpy as np
import pytest
import torch
from conftest import ADIENCE_YEARS
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax
from torch import Tensor

from model.loss import cse
from utils.labels import AgeClasses, class_years

Array = NDArray[np.float64]


def make_batch(num_classes: int, num_samples: int = 40) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(num_classes)
    logits = torch.randn(num_samples, num_classes, generator=generator, dtype=torch.float64) * 3
    return logits, torch.randint(num_classes, (num_samples,), generator=generator)


def targets_by_hand(labels: Array, num_classes: int, smoothing: float, std_years: float) -> Array:
    """Return the target distribution of each sample, (N, C)."""
    targets = np.eye(num_classes)[labels.astype(int)]
    if std_years:
        years = np.array(ADIENCE_YEARS) if num_classes == 8 else np.arange(101.0)
        bells = np.exp(-((years - years[labels.astype(int), None]) ** 2) / (2 * std_years**2))
        targets = bells / bells.sum(1, keepdims=True)
    np.testing.assert_allclose(targets.sum(1), 1)
    smoothed: Array = (1 - smoothing) * targets + smoothing / num_classes
    return smoothed


CASES = [
    (2, 0.0, 0.0),
    (2, 0.1, 0.0),
    (8, 0.0, 0.0),
    (8, 0.3, 0.0),
    (8, 0.0, 6.0),
    (8, 0.2, 6.0),
    (101, 0.0, 0.0),
    (101, 0.1, 0.0),
    (101, 0.0, 2.5),
    (101, 0.0, 0.01),  # so narrow that the targets are hard
    (101, 0.1, 40.0),  # so wide that the ends of the scale cut it
]


@pytest.mark.parametrize(("num_classes", "smoothing", "std_years"), CASES)
def test_the_loss_and_its_gradient_are_those_of_the_formula(
    num_classes: int, smoothing: float, std_years: float
) -> None:
    logits, labels = make_batch(num_classes)
    logits.requires_grad_()
    loss = cse(logits, labels, smoothing, std_years)
    loss.backward()  # type: ignore[no-untyped-call]
    raw = logits.detach().numpy()
    targets = targets_by_hand(labels.numpy(), num_classes, smoothing, std_years)
    expected = -(targets * log_softmax(raw, 1)).sum(1).mean()
    assert loss.shape == ()
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert logits.grad is not None
    np.testing.assert_allclose(
        logits.grad.numpy(), (softmax(raw, 1) - targets) / len(raw), atol=1e-7
    )


@pytest.mark.parametrize("num_classes", [8, 101])
def test_a_near_miss_costs_less_than_a_far_one_with_soft_targets_only(num_classes: int) -> None:
    label = torch.tensor([3])
    near = torch.zeros(1, num_classes)
    near[0, 4] = 5
    far = torch.zeros(1, num_classes)
    far[0, 7] = 5
    assert cse(near, label, 0.0, 5.0) < cse(far, label, 0.0, 5.0)
    assert cse(near, label) == pytest.approx(cse(far, label).item())


def test_the_mean_is_over_the_samples() -> None:
    logits, labels = make_batch(8)
    whole = cse(logits, labels, 0.1, 4.0).item()
    parts = [cse(logits[a:b], labels[a:b], 0.1, 4.0).item() * (b - a) for a, b in [(0, 7), (7, 40)]]
    assert whole == pytest.approx(sum(parts) / 40)


@pytest.mark.parametrize("std_years", [0.0, 3.0])
def test_bfloat16_logits_of_autocast_give_a_float32_loss(std_years: float) -> None:
    logits, labels = make_batch(101)
    with torch.autocast("cpu", torch.bfloat16):
        loss = cse(logits.bfloat16(), labels, 0.1, std_years)
    assert loss.dtype is torch.float32
    assert loss.item() == pytest.approx(cse(logits, labels, 0.1, std_years).item(), rel=0.02)


def test_soft_targets_first_used_in_inference_mode_serve_training_too() -> None:
    logits, labels = make_batch(101)
    with torch.inference_mode():
        cse(logits, labels, 0.0, 7.77)
    logits.requires_grad_()
    cse(logits, labels, 0.0, 7.77).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None


def test_soft_targets_of_other_classes_than_ages_are_refused() -> None:
    logits, labels = make_batch(2)
    with pytest.raises(ValueError, match="2 age classes, expected 8 or 101"):
        cse(logits, labels, 0.0, 3.0)


def test_soft_targets_that_grow_are_wider_for_older_faces() -> None:
    logits, labels = make_batch(101)
    labels[:2] = torch.tensor([0, 100])
    years = np.arange(101.0)
    ages = years[labels, None]
    bells = np.exp(-((years - ages) ** 2) / (2 * (0.5 + 0.05 * ages) ** 2))
    expected = -(bells / bells.sum(1, keepdims=True) * log_softmax(logits.numpy(), 1)).sum(1)
    loss = cse(logits, labels, soft_ordinal_years=0.5, soft_ordinal_growth=0.05, reduction="none")
    np.testing.assert_allclose(loss.numpy(), expected, rtol=1e-5)


def test_a_width_of_nothing_at_the_age_of_0_is_a_hard_target() -> None:
    logits, _ = make_batch(101, 1)
    newborn = torch.tensor([0])
    loss = cse(logits, newborn, soft_ordinal_growth=0.1)
    assert loss.item() == pytest.approx(cse(logits, newborn).item())


@pytest.mark.parametrize("classes", [8, 101, ((0, 17), (18, 64), (65, 100))])
def test_the_error_of_the_expected_age_is_added_in_years(classes: AgeClasses) -> None:
    years = class_years(classes).astype(np.float64)
    logits, labels = make_batch(len(years))
    errors = np.abs(softmax(logits.numpy(), 1) @ years - years[labels])
    both = cse(logits, labels, expected_age_weight=0.25, reduction="none", classes=classes)
    alone = cse(logits, labels, reduction="none", classes=classes)
    np.testing.assert_allclose((both - alone).numpy(), 0.25 * errors, rtol=1e-4, atol=1e-4)
    mean = cse(logits, labels, expected_age_weight=0.25, classes=classes)
    assert mean.item() == pytest.approx(both.mean().item())


def test_the_error_of_the_expected_age_is_not_rounded_under_autocast() -> None:
    logits, labels = make_batch(101)
    rounded = logits.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        loss = cse(rounded, labels, expected_age_weight=1.0)
    exact = cse(rounded.double(), labels, expected_age_weight=1.0)
    assert loss.item() == pytest.approx(exact.item(), rel=1e-5)


def test_groups_of_ages_have_the_bells_of_their_own_centres() -> None:
    groups, centres = ((0, 17), (18, 64), (65, 100)), np.array([8.5, 41, 82.5])
    logits, labels = make_batch(3)
    bells = np.exp(-((centres - centres[labels, None]) ** 2) / (2 * 15.0**2))
    expected = -(bells / bells.sum(1, keepdims=True) * log_softmax(logits.numpy(), 1)).sum(1)
    loss = cse(logits, labels, soft_ordinal_years=15.0, classes=groups)
    assert loss.item() == pytest.approx(expected.mean(), rel=1e-5)
