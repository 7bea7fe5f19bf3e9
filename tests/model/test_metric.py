from collections.abc import Callable

import numpy as np
import pytest
import torch
from conftest import ADIENCE_YEARS
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.metrics import accuracy_score, mean_absolute_error, top_k_accuracy_score
from torch import Tensor

from model import metric
from model.metric import Metric, ScoredProbabilities

Array = NDArray[np.float64]
METRICS = [value for value in vars(metric).values() if isinstance(value, Metric)]


def make_batch(num_classes: int, num_samples: int = 500) -> tuple[Tensor, Tensor]:
    """Make logits that are right about half of the time, and often nearly right."""
    generator = torch.Generator().manual_seed(num_classes)
    labels = torch.randint(num_classes, (num_samples,), generator=generator)
    distance = (torch.arange(num_classes) - labels[:, None]).abs()
    noise = torch.randn(num_samples, num_classes, generator=generator)
    return 2 * noise - distance * 8 / num_classes, labels


def years(num_classes: int) -> Array:
    return np.array(ADIENCE_YEARS) if num_classes == 8 else np.arange(101.0)


def expected_years(logits: Tensor) -> Array:
    ages: Array = softmax(logits.double().numpy(), 1) @ years(logits.shape[1])
    return ages


def groups(classes: Array, num_classes: int) -> Array:
    """Return the nearest centre of eight, the younger one of two as near."""
    distance = np.abs(years(num_classes)[classes][:, None] - np.array(ADIENCE_YEARS))
    nearest: Array = distance.argmin(1)
    return nearest


def accuracy(logits: Tensor, labels: Tensor) -> float:
    return float(accuracy_score(labels, logits.argmax(1)))


def top_k(logits: Tensor, labels: Tensor) -> float:
    if logits.shape[1] <= 3:
        return 1.0
    names = np.arange(logits.shape[1])
    return float(top_k_accuracy_score(labels, logits.numpy(), k=3, labels=names))


def mae(logits: Tensor, labels: Tensor) -> float:
    true = years(logits.shape[1])[labels.numpy()]
    return float(mean_absolute_error(true, expected_years(logits)))


def cs5(logits: Tensor, labels: Tensor) -> float:
    true = years(logits.shape[1])[labels.numpy()]
    return float(np.mean(np.abs(true - expected_years(logits)) <= 5))


def one_off(logits: Tensor, labels: Tensor) -> float:
    num_classes = logits.shape[1]
    predicted, true = (groups(x.numpy(), num_classes) for x in (logits.argmax(1), labels))
    return float(np.mean(np.abs(predicted - true) <= 1))


def relaxed(logits: Tensor, labels: Tensor) -> float:
    bounds = [3, 7, 13.5, 22.5, 35, 45.5, 56.5]
    predicted, true = (np.digitize(x.numpy(), bounds) for x in (logits.argmax(1), labels))
    return float(accuracy_score(true, predicted))


ORACLES: list[tuple[Metric, Callable[[Tensor, Tensor], float], list[int]]] = [
    (metric.accuracy, accuracy, [2, 8, 101]),
    (metric.top_k_acc, top_k, [2, 8, 101]),
    (metric.mae, mae, [8, 101]),
    (metric.cs5, cs5, [8, 101]),
    (metric.one_off_accuracy, one_off, [8, 101]),
    (metric.accuracy_relaxed, relaxed, [101]),
]
CASES = [(ours, theirs, number) for ours, theirs, numbers in ORACLES for number in numbers]


def case_name(value: object) -> str:
    return value.name if isinstance(value, Metric) else getattr(value, "__name__", str(value))


def test_every_metric_has_an_oracle() -> None:
    assert {ours.name for ours, _, _ in ORACLES} == {found.name for found in METRICS}


@pytest.mark.parametrize(("ours", "theirs", "num_classes"), CASES, ids=case_name)
def test_a_metric_equals_its_oracle(
    ours: Metric, theirs: Callable[[Tensor, Tensor], float], num_classes: int
) -> None:
    logits, labels = make_batch(num_classes)
    value = ours(logits, labels)
    assert value.shape == ()
    assert value.item() == pytest.approx(theirs(logits, labels), rel=1e-5)
    assert 0 < value.item() < 1 or ours.name == "mae" or num_classes == 2


@pytest.mark.parametrize(("ours", "theirs", "num_classes"), CASES, ids=case_name)
def test_sums_over_unequal_batches_give_the_value_of_the_whole(
    ours: Metric, theirs: Callable[[Tensor, Tensor], float], num_classes: int
) -> None:
    logits, labels = make_batch(num_classes)
    sums = [
        ours.per_sample(logits[a:b], labels[a:b]).double().sum().item()
        for a, b in [(0, 128), (128, 499), (499, 500)]
    ]
    assert sum(sums) / 500 == pytest.approx(theirs(logits, labels), rel=1e-5)


@pytest.mark.parametrize(("ours", "_", "num_classes"), CASES, ids=case_name)
def test_values_of_samples_are_float32_whatever_the_logits_are(
    ours: Metric, _: object, num_classes: int
) -> None:
    logits, labels = make_batch(num_classes, 30)
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        values = ours.per_sample(logits.to(dtype), labels)
        assert (values.shape, values.dtype) == ((30,), torch.float32)
        assert torch.equal(values, ours.per_sample(logits.to(dtype).float(), labels))


def certain(classes: list[int], num_classes: int = 101) -> Tensor:
    """Return logits that leave no doubt."""
    return torch.eye(num_classes)[classes] * 1000


# The original's groups of whole years: their first and last ones.
RELAXED_GROUPS = [(0, 2), (3, 6), (7, 13), (14, 22), (23, 34), (35, 45), (46, 56), (57, 100)]


@pytest.mark.parametrize(("first", "last"), RELAXED_GROUPS)
def test_the_relaxed_groups_begin_and_end_where_the_original_has_them(
    first: int, last: int
) -> None:
    within = [year for year in range(101) if first <= year <= last]
    for label in (first, last):
        values = metric.accuracy_relaxed.per_sample(
            certain(list(range(101))), torch.full((101,), label)
        )
        assert values.nonzero().flatten().tolist() == within


@pytest.mark.parametrize(
    ("predicted", "true", "expected"),
    [(0, 0, 1), (0, 1, 1), (1, 0, 1), (0, 2, 0), (2, 0, 0), (7, 6, 1), (7, 5, 0), (7, 7, 1)],
)
def test_one_group_off_counts_and_two_do_not(predicted: int, true: int, expected: int) -> None:
    value = metric.one_off_accuracy(certain([predicted], 8), torch.tensor([true]))
    assert value.item() == expected


# 3 ties between the first two centres and belongs to the younger one; 34 and 35 part at 34.5.
@pytest.mark.parametrize(
    ("predicted", "true", "expected"),
    [(7, 3, 1), (8, 3, 0), (8, 4, 1), (34, 46, 0), (35, 46, 1), (24, 13, 0), (24, 14, 1)],
)
def test_101_classes_are_grouped_by_the_nearest_centre_for_one_off(
    predicted: int, true: int, expected: int
) -> None:
    value = metric.one_off_accuracy(certain([predicted]), torch.tensor([true]))
    assert value.item() == expected


@pytest.mark.parametrize(
    ("predicted", "true", "error", "within"),
    [
        (30, 30, 0, 1),
        (35, 30, 5, 1),
        (36, 30, 6, 0),
        (25, 30, 5, 1),
        (24, 30, 6, 0),
        (0, 99, 99, 0),
    ],
)
def test_an_error_of_exactly_five_years_is_within_five_years(
    predicted: int, true: int, error: float, within: int
) -> None:
    logits, labels = certain([predicted]), torch.tensor([true])
    assert metric.mae(logits, labels).item() == error
    assert metric.cs5(logits, labels).item() == within


def test_the_error_of_eight_classes_is_against_the_centre_of_the_label() -> None:
    errors = metric.mae.per_sample(certain([0, 3, 4, 7], 8), torch.tensor([1, 4, 3, 6]))
    assert errors.tolist() == [4, 11, 11, 29.5]


def test_the_age_is_the_expectation_and_not_the_likeliest_class() -> None:
    logits = torch.full((1, 101), -1000.0)
    logits[0, 20], logits[0, 60] = np.log(0.75), np.log(0.25)
    assert metric.mae(logits, torch.tensor([30])).item() == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("num_classes", [2, 8])
def test_the_relaxed_accuracy_of_other_classes_than_101_is_refused(num_classes: int) -> None:
    with pytest.raises(ValueError, match=f"needs 101 classes, got {num_classes}"):
        metric.accuracy_relaxed(*make_batch(num_classes))


@pytest.mark.parametrize("age_metric", [metric.mae, metric.cs5, metric.one_off_accuracy])
def test_age_metrics_of_genders_are_refused(age_metric: Metric) -> None:
    with pytest.raises(ValueError, match="2 age classes, expected 8 or 101"):
        age_metric(*make_batch(2))


AGE_VALUES: dict[str, Callable[[Array, Array, Array], Array]] = {
    "mae": lambda excess, *_: np.abs(excess),
    "cs5": lambda excess, *_: np.abs(excess) <= 5,
    "accuracy": lambda _, predicted, true: predicted == true,
}


@pytest.mark.parametrize("num_classes", [8, 101])
@pytest.mark.parametrize("name", AGE_VALUES)
def test_stored_probabilities_are_scored_in_float64_and_to_the_bit_as_numpy_would(
    name: str, num_classes: int
) -> None:
    logits, labels = make_batch(num_classes)
    stored = softmax(logits.numpy(), 1)
    stored.setflags(write=False)
    scored = ScoredProbabilities(stored, labels.numpy())
    excess = stored.astype(np.float64) @ years(num_classes) - years(num_classes)[labels.numpy()]
    expected = AGE_VALUES[name](excess, stored.argmax(1), labels.numpy())
    values = getattr(metric, name).values(scored)
    assert values.dtype is torch.float64
    assert np.array_equal(values.numpy(), expected)
    assert np.array_equal(scored.excess_years.numpy(), excess)


# --- groups of ages -------------------------------------------------------------------------------

GROUPS = ((0, 17), (18, 64), (65, 100), (101, 120))
CENTRES = [8.5, 41, 82.5, 110.5]


def test_the_error_of_groups_is_against_the_centre_of_the_true_group() -> None:
    logits, labels = make_batch(4)
    shares = softmax(logits.double().numpy(), 1)
    expected = np.abs(shares @ CENTRES - np.array(CENTRES)[labels.numpy()])
    in_groups = [one.of_classes(GROUPS) for one in (metric.mae, metric.cs5)]
    errors, near = metric.values_of(in_groups, logits, labels)
    np.testing.assert_allclose(errors.numpy(), expected, atol=1e-4)
    assert near.tolist() == (expected <= 5).tolist()


@pytest.mark.parametrize(("predicted", "true", "expected"), [(0, 1, 1), (3, 2, 1), (0, 2, 0)])
def test_groups_have_neighbours_of_their_own(predicted: int, true: int, expected: int) -> None:
    one_off = metric.one_off_accuracy.of_classes(GROUPS)
    assert one_off(certain([predicted], 4), torch.tensor([true])).item() == expected


def test_101_groups_are_not_the_101_years_that_the_relaxed_accuracy_needs() -> None:
    groups = tuple((year, year) for year in range(101))
    with pytest.raises(ValueError, match="needs 101 classes"):
        metric.accuracy_relaxed.of_classes(groups)(*make_batch(101))


def test_metrics_of_different_classes_are_not_mixed_up() -> None:
    eight = tuple((10 * decade, 10 * decade + 9) for decade in range(8))
    logits, labels = make_batch(8)
    found = metric.values_of([metric.mae, metric.mae.of_classes(eight)], logits, labels)
    assert torch.equal(found[0], metric.mae.per_sample(logits, labels))
    assert torch.equal(found[1], metric.mae.of_classes(eight).per_sample(logits, labels))
    assert not torch.equal(*found)
