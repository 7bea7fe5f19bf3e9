"""Scores as test.py writes them, and the same numbers wherever published ones stand."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import MakeConfig, RunScript
from helpers import ROOT, TINY, train

from serving.registry import ReportedScore
from serving.scores import scores_of
from studies.protocols import PUBLISHED

GENDER = {"arch": {"args": {"num_classes": 2}}, "data_loader": {"args": {}}}


def result_of(**changes: Any) -> dict[str, Any]:
    """Return test results, as far as scores are made of them."""
    return {
        "dataset": "Adience",
        "split": "test",
        "test_cross_val": 3,
        "num_samples": 1200,
        "num_people": 40,
        "seen": {"trained": 0},
        "config": GENDER,
        "loss": 0.25,
        "accuracy": 0.876543,
        **changes,
    }


def ages(num_classes: int, groups: list[list[int]] | None = None) -> dict[str, Any]:
    arguments = {"classes": groups, "validation_by": "subject"}
    return {"arch": {"args": {"num_classes": num_classes}}, "data_loader": {"args": arguments}}


@pytest.mark.parametrize(
    ("changes", "on"),
    [
        ({}, "Adience, fold 3 held out, 1,200 faces of 40 people"),
        ({"test_cross_val": None}, "Adience, the split for tests, 1,200 faces of 40 people"),
        ({"split": "all", "num_people": 0}, "Adience, all rows, 1,200 faces"),
        ({"split": "val"}, "Adience, validation rows drawn by image, 1,200 faces of 40 people"),
        (
            {"split": "val", "config": ages(8)},
            "Adience, validation rows drawn by subject, 1,200 faces of 40 people, in 8 classes",
        ),
        (
            {"split": "all", "seen": {"trained": 1000}},
            "Adience, all rows, 1,200 faces of 40 people, 1,000 of them trained on",
        ),
        (
            {"config": ages(2, [[0, 17], [18, 99]]), "dataset": "a\nb"},
            "a b, fold 3 held out, 1,200 faces of 40 people, in 2 groups from 0-17 to 18-99",
        ),
    ],
)
def test_a_score_says_on_which_rows_and_in_which_classes(changes: dict[str, Any], on: str) -> None:
    (score,) = scores_of(result_of(**changes))
    assert (score.metric, score.value, score.on) == ("accuracy", 0.8765, on)
    assert score.task == ("age" if "in " in on.rpartition(",")[2] else "gender")


def test_the_error_in_years_is_a_score_and_what_the_registry_does_not_know_is_none() -> None:
    found = list(scores_of(result_of(mae=4.56789, cs5=0.5, config=ages(101))))
    assert [(one.task, one.metric, one.value) for one in found] == [
        ("age", "accuracy", 0.8765),
        ("age", "mae", 4.5679),
    ]


def test_test_py_writes_scores_that_the_registry_and_a_model_card_take(
    small_config: MakeConfig, tmp_path: Path, run_script: RunScript
) -> None:
    path = train(small_config(**TINY)).fitted.best_path
    arguments = ("-r", path, "--split", "val", "--dataset", "imdb_wiki", "--dataset", "wiki")
    for name in ("scores.md", "scores.json"):
        for results in (tmp_path / "saved").glob("*_test-results.json"):
            results.unlink()
        outcome = run_script("test.py", *arguments, "--scores", tmp_path / name)
        assert outcome.code == 0, outcome.err
        assert f"Scores: {tmp_path / name}" in outcome.out
    entries = json.loads((tmp_path / "scores.json").read_text())
    scores = [ReportedScore.model_validate(entry) for entry in entries]
    assert [score.metric for score in scores] == ["accuracy", "mae"] * 2
    lines = (tmp_path / "scores.md").read_text().splitlines()
    assert lines == [f"- {score}" for score in scores]
    written = [
        json.loads(path.read_text()) for path in (tmp_path / "saved").glob("*_test-results.json")
    ]
    for one, (accuracy, mae) in zip(("imdb_wiki", "wiki"), (scores[:2], scores[2:]), strict=True):
        (result,) = (result for result in written if result["dataset"] == one)
        assert accuracy.value == round(result["accuracy"], 4)
        assert mae.value == round(result["mae"], 4)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("scores.txt", (), "expected .json or .md, got .txt"),
        ("scores", (), "expected .json or .md, got none"),
        (".", (), "is a folder"),
        ("scores.json", ("-o", 'metrics=["cs5"]'), "--scores writes accuracy and mae"),
    ],
)
def test_scores_that_cannot_be_written_are_refused_before_any_work(
    name: str,
    options: tuple[str, ...],
    words: str,
    small_config: MakeConfig,
    tmp_path: Path,
    run_script: RunScript,
) -> None:
    path = train(small_config(**TINY)).fitted.best_path
    outcome = run_script("test.py", "-r", path, *options, "--scores", tmp_path / name)
    assert outcome.code == 2
    assert words in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert not list((tmp_path / "saved").glob("*_test-results.json"))


# --- the same numbers everywhere ------------------------------------------------------------------


def percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def test_readme_and_documentation_have_what_the_first_readme_of_the_original_reports() -> None:
    pre_trained, scratch = (
        [percent(PUBLISHED[task, protocol, "accuracy"].value) for task in ("gender", "age8")]
        for protocol in ("c", "d")
    )
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    serving = " ".join((ROOT / "docs" / "serving.md").read_text(encoding="utf-8").split())
    assert "{} for gender and {} for age in 8 classes".format(*pre_trained) in readme
    assert "and {} and {} without".format(*scratch) in readme
    assert "The {} (gender) and {} (age in 8 classes)".format(*pre_trained) in serving
