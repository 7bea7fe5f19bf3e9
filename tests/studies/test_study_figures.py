"""Every picture shows what its numbers say, with words and units on its axes."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from study_folders import make_columns, make_study

from studies.calibration import ReliabilityBin
from studies.figure_style import MARKS
from studies.figures import DRAWINGS, draw
from studies.summary import LearningCurve, LearningCurves, ResultSummary, summarise

OF_CONFIDENCE = {"coverage", "thresholds", "over"}


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ResultSummary]:
    names = ("gender-d", "age8-d", "age101-d", "gender-a")
    summary = summarise(make_study(tmp_path_factory.mktemp("study"), names))
    return {f"{one.task}-{one.protocol}": one for one in summary.done}


@pytest.fixture(scope="module")
def sure(tmp_path_factory: pytest.TempPathFactory) -> ResultSummary:
    """Of enough validation people to say how sure it is."""
    columns = make_columns(1300, 1300)
    folder = make_study(tmp_path_factory.mktemp("study"), ("age8-a",), columns=columns, seeds=1)
    (summary,) = summarise(folder).done
    return summary


def drawn(name: str, entry: ResultSummary) -> Figure:
    figure = Figure(layout="constrained")
    DRAWINGS[name](figure, entry)
    return figure


@pytest.mark.parametrize("name", ["gender-d", "age8-d", "age101-d", "gender-a", "sure"])
def test_no_picture_is_blank(
    entries: dict[str, ResultSummary], sure: ResultSummary, name: str
) -> None:
    found = draw(sure if name == "sure" else entries[name])
    assert len(found) >= 4
    for png in found.values():
        with Image.open(io.BytesIO(png)) as image:
            assert image.size == (864, 640)
            pixels = np.asarray(image.convert("RGB"), np.float64)
        ink = pixels.min(axis=2) < 250
        assert 0.01 < ink.mean() < 0.9
        assert ink[:, :432].any()
        assert ink[:, 432:].any()
        assert not ink[0].any(), "something is cut off at the top"
        assert not ink[:, -1].any(), "something is cut off at the right"


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("gender-d", {"age"}),
        ("gender-a", {"age", "runs"}),
        ("age8-d", set()),
        ("age101-d", set()),
    ],
)
def test_a_result_has_the_pictures_of_its_numbers(
    entries: dict[str, ResultSummary], name: str, missing: set[str]
) -> None:
    assert set(draw(entries[name])) == set(DRAWINGS) - missing - OF_CONFIDENCE


def test_a_result_that_is_sure_of_itself_has_pictures_of_that(sure: ResultSummary) -> None:
    assert set(draw(sure)) == set(DRAWINGS) - {"runs"}


def test_coverage_is_marked_at_its_values(sure: ResultSummary) -> None:
    assert sure.confidence is not None
    marked = [
        float(np.asarray(line.get_xdata())[0])
        for line in drawn("coverage", sure).axes[0].lines
        if str(line.get_marker()) in "os^" and len(np.asarray(line.get_xdata()))
    ]
    shown = [group.values["covered"].value for group in sure.confidence.groups if group.counts]
    expected = [sure.confidence.covered.mean, *shown]
    assert sorted(marked) == pytest.approx(sorted(100 * value for value in expected))


@pytest.mark.parametrize("name", DRAWINGS)
def test_every_axis_says_what_it_shows(
    entries: dict[str, ResultSummary], sure: ResultSummary, name: str
) -> None:
    areas = drawn(name, sure if name in OF_CONFIDENCE else entries["age8-d"]).axes
    assert areas
    for area in areas:
        assert area.get_ylabel() or area.get_shared_y_axes().joined(area, areas[0])
    assert areas[-1].get_xlabel() or areas[0].get_xlabel()


@pytest.mark.parametrize(
    ("name", "metric", "label"),
    [
        ("age8-d", "accuracy", "test accuracy (%)"),
        ("age101-d", "accuracy_relaxed", "test accuracy, relaxed (%)"),
    ],
)
def test_each_run_has_its_mark_at_the_metric_that_the_axis_names(
    entries: dict[str, ResultSummary], name: str, metric: str, label: str
) -> None:
    entry = entries[name]
    (area,) = drawn("runs", entry).axes
    offsets = [np.asarray(marks.get_offsets()) for marks in area.collections]
    marked = np.concatenate([found[:, 1] for found in offsets if len(found) == 5])
    expected = [run.splits["test"][metric] * 100 for run in entry.runs]
    assert sorted(marked.tolist()) == pytest.approx(sorted(expected))
    assert area.get_ylabel() == label
    mean = [line for line in area.lines if line.get_linestyle() == "--"]
    assert np.asarray(mean[0].get_ydata())[0] == pytest.approx(np.mean(expected))


def test_cells_of_the_confusion_are_shares_of_the_true_class(
    entries: dict[str, ResultSummary],
) -> None:
    entry = entries["gender-d"]
    area = drawn("confusion", entry).axes[0]
    counts = entry.confusion
    shares = counts / counts.sum(1, keepdims=True) * 100
    written = [float(text.get_text()) for text in area.texts]
    assert written == [round(share) for share in shares.ravel()]
    assert area.get_ylabel() == "true class"


def test_many_classes_are_drawn_without_numbers(entries: dict[str, ResultSummary]) -> None:
    area = drawn("confusion", entries["age101-d"]).axes[0]
    assert len(area.texts) == 0
    assert np.asarray(area.images[0].get_array()).shape == (101, 101)


def test_rare_bins_are_hollow(entries: dict[str, ResultSummary]) -> None:
    bins = [
        ReliabilityBin(0.2 * n, 0.2 * n + 1 / 15, share, confidence=0.2 * n + 0.03, accuracy=0.5)
        for n, share in enumerate([0.001, 0.499, 0.5])
    ]
    entry = replace(entries["gender-d"], reliability=bins)
    area = drawn("reliability", entry).axes[0]
    (marks,) = [found for found in area.collections if len(np.asarray(found.get_offsets())) == 3]
    colours = np.asarray(marks.get_facecolor())
    assert [bool((colour[:3] == 1).all()) for colour in colours] == [True, False, False]


def test_the_curves_of_learning_are_the_logged_means(entries: dict[str, ResultSummary]) -> None:
    area = drawn("learning", entries["age8-d"]).axes[0]
    training, validation = area.lines
    assert np.asarray(training.get_ydata()).tolist() == pytest.approx([1, 1 / 2, 1 / 3])
    by_hand = [1.2 / n + 0.005 for n in (1, 2, 3)]  # seeds 0 and 1 differ by 0.01
    assert np.asarray(validation.get_ydata()).tolist() == pytest.approx(by_hand)


def test_a_result_without_logged_epochs_has_no_learning_curves(
    entries: dict[str, ResultSummary],
) -> None:
    entry = replace(entries["age8-d"], learning=LearningCurves([], {}))
    assert "learning" not in draw(entry)


def test_colours_are_those_that_all_eyes_tell_apart() -> None:
    """Okabe and Ito's; in grey they differ in lightness as well, and marks differ in shape."""
    shapes = [shape for _, shape in MARKS]
    assert len(set(shapes)) == len(shapes) == 5


def test_one_run_of_one_epoch_can_be_drawn(tmp_path: Path) -> None:
    study = make_study(tmp_path, ("gender-a",), seeds=1)
    (entry,) = summarise(study).done
    point = np.array([0.5])
    curves = {name: LearningCurve(point, point, point) for name in ("loss", "val_loss")}
    assert len(draw(replace(entry, learning=LearningCurves([1], curves)))) == 4
