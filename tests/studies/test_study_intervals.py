"""Bootstrap intervals on known distributions; tests of differences against values by hand."""

import math

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.stats import t as student
from scipy.stats import ttest_1samp
from study_folders import hand_made

from studies.intervals import (
    Floats,
    Interval,
    bootstrap,
    corrected_t_test,
    draw_weights,
    holm,
    interval,
    mean_of_runs,
    replicate,
)
from studies.metrics import metrics_from_totals, ratio, subject_totals


def mean(totals: Floats) -> dict[str, Floats]:
    """Divide the sum in the second column by the count in the first."""
    return {"mean": ratio(totals[..., 1], totals[..., 0])}


def columns(values: Floats, subject: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> csr_array:
    num_subjects = int(subject.max()) + 1
    table = np.zeros((num_subjects, 2))
    np.add.at(table, subject, np.stack([np.ones(len(values)), values], 1))
    return csr_array(table)


def covers(found: Interval, truth: float) -> bool:
    assert found.low is not None
    assert found.high is not None
    return found.low <= truth <= found.high


def coverage(faces_a_subject: int, by_subject: bool, num_trials: int = 200) -> float:
    """Return how often the interval holds the true mean, where the faces of a subject are alike."""
    rng = np.random.default_rng(5)
    hits = 0
    for trial in range(num_trials):
        of_subjects = rng.normal(0.3, 1, 60)
        values = np.repeat(of_subjects, faces_a_subject)
        subject = np.repeat(np.arange(60), faces_a_subject)
        codes = subject if by_subject else np.arange(len(values))
        found = bootstrap([columns(values, codes)], mean, num_replicates=200, seed=trial)["mean"]
        hits += covers(found, 0.3)
    return hits / num_trials


def test_intervals_hold_the_mean_of_a_normal_distribution_as_often_as_they_say() -> None:
    assert 0.90 <= coverage(1, by_subject=True) <= 0.99


def test_intervals_over_subjects_hold_where_those_over_faces_do_not() -> None:
    assert 0.90 <= coverage(8, by_subject=True) <= 0.99
    assert coverage(8, by_subject=False) < 0.7


def test_intervals_hold_a_share_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    num_hits = 0
    for trial in range(200):
        values = (rng.random(80) < 0.8).astype(np.float64)
        found = bootstrap([columns(values, np.arange(80))], mean, 200, trial)["mean"]
        num_hits += covers(found, 0.8)
    assert 0.89 <= num_hits / 200 <= 0.99


def test_the_width_of_an_interval_is_that_of_the_standard_error() -> None:
    values = np.random.default_rng(0).normal(size=400)
    found = bootstrap([columns(values, np.arange(400))], mean, 2000)["mean"]
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.08)
    assert found.value == pytest.approx(values.mean())


def test_runs_are_judged_by_the_same_draw() -> None:
    """The mean of a run and of its mirror image is the same whoever is drawn."""
    values = np.random.default_rng(0).normal(size=50)
    subject = np.arange(50)
    runs = [columns(values, subject), columns(-values, subject)]
    found = bootstrap(runs, mean)["mean"]
    assert found.low == pytest.approx(0, abs=1e-12)
    assert found.high == pytest.approx(0, abs=1e-12)


def test_a_mean_over_runs_weighs_runs_of_unequal_size_alike() -> None:
    runs = [
        columns(np.array([1.0, 1, 1, 1]), np.array([0, 1, 2, 3])),
        csr_array(np.array([[0.0, 0], [0, 0], [0, 0], [1, 0]])),
    ]
    assert bootstrap(runs, mean, 50)["mean"].value == 0.5


def test_a_run_that_nobody_drawn_is_in_is_left_out_of_that_replicate() -> None:
    everybody = columns(np.ones(5), np.arange(5))
    one_alone = csr_array(np.array([[1.0, 0], *[[0, 0]] * 4]))
    values = replicate([everybody, one_alone], mean, 300)["mean"]
    assert set(np.unique(values)) == {0.5, 1.0}


def test_weights_are_counts_of_draws_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studies.intervals.BLOCK_BYTES", 8 * 7 * 3)
    blocks = list(draw_weights(7, 10, seed=0))
    assert [len(block) for block in blocks] == [3, 3, 3, 1]
    drawn = np.concatenate(blocks)
    np.testing.assert_array_equal(drawn.sum(1), 7)
    assert len(np.unique(drawn, axis=0)) > 1


def test_intervals_repeat_with_their_seed() -> None:
    run = columns(np.random.default_rng(0).normal(size=30), np.arange(30))
    assert bootstrap([run], mean, 100, seed=1) == bootstrap([run], mean, 100, seed=1)
    assert bootstrap([run], mean, 100, seed=1) != bootstrap([run], mean, 100, seed=2)


def test_one_subject_has_no_interval() -> None:
    found = bootstrap([columns(np.array([0.0, 1]), np.array([0, 0]))], mean)["mean"]
    assert found == Interval(0.5, None, None)


def test_an_interval_of_nothing_is_none() -> None:
    assert interval("mae", 1.0, np.full(3, np.nan)) == Interval(1.0, None, None)


def test_the_interval_of_a_calibration_error_reaches_as_far_down_as_up() -> None:
    replicates = np.linspace(0.025, 0.035, 1001)
    found = interval("ece", 0.02, replicates)
    assert found.high == pytest.approx(np.quantile(replicates, 0.975))
    assert found.low == pytest.approx(0.04 - np.quantile(replicates, 0.975))
    assert interval("ece", 0.01, replicates).low == 0
    plain = interval("mae", 0.02, replicates)
    assert plain.low == pytest.approx(np.quantile(replicates, 0.025))


def calibration_error_of(seed: int, gap: float) -> Interval:
    """Return the interval of 500 faces whose accuracy is their confidence less a gap."""
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(0.6, 1, 500)
    label = (rng.random(500) >= confidence - gap).astype(np.int64)
    scores = hand_made("gender", np.stack([confidence, 1 - confidence], 1), label)
    of_faces = subject_totals(scores, np.arange(500), 500)
    return bootstrap([of_faces], lambda totals: metrics_from_totals("gender", totals), 200, seed)[
        "ece"
    ]


def test_intervals_hold_a_calibration_error_as_often_as_they_say() -> None:
    held = [covers(calibration_error_of(seed, 0.05), 0.05) for seed in range(100)]
    assert 0.89 <= np.mean(held) <= 1


def test_means_over_runs_ignore_what_is_no_number() -> None:
    values = [{"a": np.array([1.0, np.nan])}, {"a": np.array([3.0, np.nan])}]
    found = mean_of_runs(iter(values))["a"]
    assert found[0] == 2
    assert math.isnan(found[1])


# --- differences ----------------------------------------------------------------------------------


def test_the_corrected_test_by_hand() -> None:
    """d = 2, 4, 6, 8, 10: mean 6, variance 10; 1/5 + 1/4 = 0.45; t = 6 / sqrt(4.5)."""
    found = corrected_t_test([2, 4, 6, 8, 10], 0.25)
    assert found is not None
    assert found.difference == 6
    assert found.t == pytest.approx(2.8284271)
    assert found.degrees == 4
    assert found.p == pytest.approx(0.0474207, abs=1e-6)  # of a table of Student's t: 0.05 at 2.776
    assert student.ppf(0.975, 4) == pytest.approx(2.776, abs=1e-3)


def test_without_shared_rows_the_corrected_test_is_students() -> None:
    differences = np.random.default_rng(0).normal(0.3, 1, 12)
    found = corrected_t_test(differences.tolist(), 0.0)
    expected = ttest_1samp(differences, 0)
    assert found is not None
    assert found.t == pytest.approx(expected.statistic)
    assert found.p == pytest.approx(expected.pvalue)


def test_the_correction_makes_the_test_stricter() -> None:
    loose, strict = corrected_t_test([1, 2, 3], 0.0), corrected_t_test([1, 2, 3], 0.25)
    assert loose is not None
    assert strict is not None
    assert strict.p > loose.p


@pytest.mark.parametrize(("value", "p"), [(0.0, 1.0), (0.1, 0.0)])
def test_differences_that_are_all_the_same_have_no_t(value: float, p: float) -> None:
    found = corrected_t_test([value] * 5, 0.25)
    assert found is not None
    assert (found.t, found.p) == (None, p)


@pytest.mark.parametrize("differences", [[], [0.3]])
def test_fewer_than_two_differences_are_not_tested(differences: list[float]) -> None:
    assert corrected_t_test(differences, 0.25) is None


@pytest.mark.parametrize(
    ("p_values", "adjusted"),
    [
        ([], []),
        ([0.02], [0.02]),
        ([0.01, 0.02, 0.03, 0.04], [0.04, 0.06, 0.06, 0.06]),
        ([0.5, 0.9], [1.0, 1.0]),
        ([0.04, 0.001], [0.04, 0.002]),
    ],
)
def test_holms_adjustment_by_hand(p_values: list[float], adjusted: list[float]) -> None:
    assert holm(p_values) == pytest.approx(adjusted)
