"""The study says how often intervals and sets hold, of people they were not fitted on."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from simulated_people import simulated_ages
from study_folders import make_columns, make_study

from confidence.age import AgeConfidence
from confidence.error_rates import DEMANDED, THRESHOLDS
from confidence.measured import measure_ages
from confidence.rows import JudgedRows
from studies import coverage, judged_confidence
from studies.coverage import summarise_confidence
from studies.judged_confidence import JudgedConfidence, judge, judge_runs
from studies.predictions import FaceInfo, Predictions
from studies.protocols import StudyPart
from studies.report import console_table, model_card, report
from studies.results import StudyResult, read_results
from studies.summary import plain, summarise
from studies.thresholds import summarise_thresholds
from utils.labels import class_bounds


def read(folder: Path, task: str, protocol: str) -> StudyResult:
    result = read_results(folder)[StudyPart(task, protocol)]
    assert result is not None
    return result


def as_predictions(rows: JudgedRows) -> Predictions:
    num_faces = len(rows.labels)
    faces = FaceInfo(
        age=rows.labels.astype(np.float32),
        gender=np.where(np.asarray(rows.genders) == 1, "f", "m"),
        subject=rows.people.astype(str),
        row=np.arange(num_faces),
        source=np.full(num_faces, "wiki"),
    )
    return Predictions(np.asarray(rows.probabilities, np.float32), rows.labels, faces)


def hand_made(
    people: list[str], ages: Any, covered: Any, over: Any, source: str = "wiki"
) -> JudgedConfidence:
    num_faces = len(people)
    faces = FaceInfo(
        age=np.broadcast_to(np.array(ages, np.float32), num_faces),
        gender=np.full(num_faces, "m"),
        subject=np.array(people),
        row=np.arange(num_faces),
        source=np.full(num_faces, source),
    )
    _, index, counts = np.unique(people, return_inverse=True, return_counts=True)
    return JudgedConfidence(
        faces=faces,
        weights=1 / counts[index],
        covered=np.array(covered, np.float64),
        size=np.arange(num_faces, dtype=np.float64),
        expected_ages=np.array(faces.age, np.float64),
        over=np.broadcast_to(np.array(over, np.float64)[:, None], (num_faces, len(THRESHOLDS))),
        num_people=9.0,
    )


def test_intervals_hold_new_people_and_not_people_of_another_kind() -> None:
    fitted = as_predictions(simulated_ages(600, seed=1))
    same = judge("age101", fitted, as_predictions(simulated_ages(600, seed=2)))
    older = judge("age101", fitted, as_predictions(simulated_ages(600, seed=2, shift_years=8)))
    assert np.average(same.covered, weights=same.weights) == pytest.approx(0.9, abs=0.04)
    assert np.average(older.covered, weights=older.weights) < 0.8


def test_coverage_and_width_are_those_that_test_py_measures() -> None:
    fitted, new = simulated_ages(600, seed=1), simulated_ages(600, seed=2)
    measured = measure_ages(AgeConfidence.fit(fitted, class_bounds(101)), new)
    judged = judge("age101", as_predictions(fitted), as_predictions(new))
    assert measured.intervals is not None
    found = [np.average(one, weights=judged.weights) for one in (judged.covered, judged.size)]
    assert found == pytest.approx([measured.intervals.coverage, measured.mean_years])


def test_nobody_is_judged_by_what_was_fitted_to_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[set[str], set[str]]] = []

    def watched(task: str, fitted_on: Predictions, judged: Predictions) -> JudgedConfidence:
        seen.append((set(fitted_on.faces.subject), set(judged.faces.subject)))
        return judge(task, fitted_on, judged)

    monkeypatch.setattr(judged_confidence, "judge", watched)
    columns = make_columns(900, 300)
    folder = make_study(tmp_path, ("age8-a", "age8-d"), columns=columns, seeds=1)
    for protocol, num_fits in (("a", 5), ("d", 5)):
        result = read(folder, "age8", protocol)
        seen.clear()
        (run, *_) = judge_runs(folder, result)
        assert len(seen) == num_fits
        assert all(not fitted & judged for fitted, judged in seen)
        (first, *_) = result.read_predictions(folder, result.judged)
        assert sorted(run.faces.row) == sorted(first.faces.row)


def test_each_person_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = hand_made(["a", "a", "a", "b"], 40, [1, 1, 1, 0], [0.5] * 4)
    monkeypatch.setattr(coverage, "judge_runs", lambda *_: [run, run])
    folder = make_study(tmp_path, ("age8-a",))
    found = summarise_confidence(folder, read(folder, "age8", "a"))
    assert found is not None
    assert found.covered.mean == pytest.approx(0.5)
    assert found.covered.std == pytest.approx(0)
    assert found.size.mean == pytest.approx((1 + 3) / 2)
    by_group = {(group.gender, group.age): group for group in found.groups}
    assert by_group["male", "35-45"].values["covered"].value == pytest.approx(0.5)


def test_mistakes_at_a_threshold_are_counted_on_each_side() -> None:
    ages = [10] * 30 + [40] * 30
    over = [0.65] * 6 + [0.1] * 24 + [0.99] * 15 + [0.75] * 15
    run = hand_made([f"p{number}" for number in range(60)], ages, [1] * 60, over)
    found = {one.errors.threshold: one for one in summarise_thresholds([run])}
    assert list(found) == list(THRESHOLDS)
    passed = [rate.value for rate in found[18].passed_under]
    refused = [rate.value for rate in found[18].refused_over]
    assert passed == pytest.approx([0.2, 0.2, *[0] * 6])
    assert refused == pytest.approx([0, 0, 0, *[0.5] * 5])
    assert passed == pytest.approx(found[18].errors.by_probability.passed_under)
    assert refused == pytest.approx(found[18].errors.by_probability.refused_over)
    low, high = found[18].passed_under[0].low, found[18].passed_under[0].high
    assert low is not None
    assert high is not None
    assert 0 < low < 0.2 < high < 0.5
    assert len(found[18].passed_under) == len(DEMANDED)


def test_an_age_within_a_group_of_adience_is_no_threshold() -> None:
    people = [f"p{number}" for number in range(90)]
    ages = [10] * 30 + [17.5] * 30 + [40.5] * 30
    over = np.linspace(0.01, 0.99, 90)
    run = hand_made(people, ages, [1] * 90, over, "Adience")
    found = [one.errors.threshold for one in summarise_thresholds([run])]
    assert found == [13, 21, 25]
    years = hand_made([f"q{number}" for number in range(90)], ages, [1] * 90, over)
    both = replace(
        run, faces=replace(run.faces, source=np.where(np.arange(90) < 1, "Adience", "wiki"))
    )
    for known in (years, both):
        assert [one.errors.threshold for one in summarise_thresholds([known])] == [*THRESHOLDS]


def test_a_calibrated_probability_has_little_calibration_error() -> None:
    rng = np.random.default_rng(0)
    over = rng.random(4000)
    ages = np.where(rng.random(4000) < over, 40, 10)
    run = hand_made([f"p{number}" for number in range(4000)], ages, np.ones(4000), over)
    assert all(one.calibration_error < 0.03 for one in summarise_thresholds([run]))
    wrong = replace(run, over=np.sqrt(run.over))
    assert all(one.calibration_error > 0.1 for one in summarise_thresholds([wrong]))


def test_few_people_promise_nothing_and_the_report_says_so(tmp_path: Path) -> None:
    summary = summarise(make_study(tmp_path, ("gender-d", "age101-a")))
    assert [result.confidence for result in summary.done] == [None, None]
    assert "Too few people were validated on" in report(summary)
    assert "too few people were validated on" in model_card(summary)
    assert summary.quoted == []


def test_report_card_and_console_say_how_often_the_truth_was_held(tmp_path: Path) -> None:
    columns = make_columns(1500, 1500)
    names = ("age8-a", "age8-d", "gender-d")
    summary = summarise(make_study(tmp_path, names, columns=columns, seeds=1))
    assert [(one.task, one.protocol) for one in summary.quoted] == [("gender", "d"), ("age8", "d")]
    sure = summary.quoted[1].confidence
    assert sure is not None
    assert sure.covered.mean == pytest.approx(0.9, abs=0.05)
    assert {one.errors.threshold for one in sure.thresholds} == {13, 21, 25}
    written = f"{sure.covered.mean * 100:.1f} %"
    page = report(summary)
    first_screen = page[: page.index("<nav")]
    assert "held the true age" in first_screen
    assert written in first_screen
    assert "At least of an age t?" in page
    assert written in model_card(summary)
    assert written in console_table(summary)
    content = plain(summary)["results"]
    kept = [one["confidence"] for one in content if one["is_run"]]
    assert kept[-1]["thresholds"][0]["errors"]["threshold"] == 13
    assert {"level", "covered", "size", "groups", "worst", "thresholds"} < set(kept[0])
