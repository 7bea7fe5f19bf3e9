"""The report of a tiny study: every section, no NaN, nothing from outside, nothing unescaped."""

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from study_folders import make_columns, make_result, make_study, read_columns

from studies.report import console_table, report, write_report
from studies.results import StudyRun
from studies.summary import (
    StudySummary,
    learning_curves,
    plain,
    summarise,
)
from utils.errors import DataError
from utils.files import read_json

VOID = {"meta", "img", "br", "link", "input", "hr"}
SECTIONS = ["results", "baselines", "leakage", "methods", "limits"]


class Page(HTMLParser):
    """Reads a page: its text, ids, links, pictures and captions; refuses unbalanced tags."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.tags: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def values(self, tag: str, name: str) -> list[str]:
        return [value for one, key, value in self.attributes if (one, key) == (tag, name)]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Path:
    folder = tmp_path_factory.mktemp("study")
    settings = {"dataset": "Adience", "data_dir": str(data_dir), "validation_by": "subject"}
    changes = {"config": {"data_loader": {"args": settings}}}
    names = ("gender-a", "age8-d", "age8-d-by-image", "age101-c")
    make_study(folder, names, columns=read_columns(data_dir), changes=changes)
    write_report(summarise(folder), folder)
    return folder


@pytest.fixture(scope="module")
def summary(study: Path) -> StudySummary:
    return summarise(study)


@pytest.fixture(scope="module")
def page(study: Path) -> Page:
    return Page((study / "report.html").read_text(encoding="utf-8"))


def test_every_section_is_there_and_the_contents_lead_to_it(page: Page) -> None:
    results = [f"{task}-{protocol}" for task in ("gender", "age8", "age101") for protocol in "abcd"]
    assert {*SECTIONS, *results} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    links = page.values("a", "href")
    assert links == [f"#{name}" for name in [*SECTIONS[:2], *results, *SECTIONS[2:]]]


def test_no_number_is_missing_its_value(study: Path, page: Page) -> None:
    assert not re.search(r"\b(nan|NaN|inf|None|undefined)\b", page.text)
    assert "NaN" not in (study / "summary.json").read_text()
    json.loads((study / "summary.json").read_text(), parse_constant=pytest.fail)


def test_nothing_is_fetched_from_outside(page: Page) -> None:
    sources = page.values("img", "src")
    assert len(sources) == 4 + 6 + 6
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert all(link.startswith("#") for link in page.values("a", "href"))


def test_every_picture_in_the_report_shows_something(page: Page) -> None:
    for source in page.values("img", "src"):
        with Image.open(io.BytesIO(base64.b64decode(source.split(",")[1]))) as image:
            assert np.asarray(image.convert("L")).std() > 5
    assert all(len(text) > 20 for text in page.values("img", "alt"))


def test_captions_tell_split_metric_and_number_of_runs(page: Page) -> None:
    captions = page.values("img", "alt")
    assert sum("10 runs" in caption for caption in captions) == 12
    assert sum("test split" in caption for caption in captions) == 8
    assert sum("validation split" in caption for caption in captions) == 3
    assert sum(caption.startswith("Test relaxed accuracy of each run") for caption in captions) == 1
    assert all(caption in page.text for caption in captions)


def test_every_table_has_a_caption_and_heads_with_a_scope(page: Page) -> None:
    assert page.tags.count("caption") == page.tags.count("table") > 10
    assert page.tags.count("th") == len(page.values("th", "scope"))


def test_a_missing_run_shows_as_missing(page: Page) -> None:
    assert "3 of 12 results were run" in page.text
    # once in the introduction, then in the contents, the table of its task and its own section
    assert page.text.count("not run") == 1 + 3 * 9


def test_values_stand_with_interval_and_run_count(summary: StudySummary, page: Page) -> None:
    (result,) = [one for one in summary.done if one.task == "age8"]
    found = result.splits["test"].metrics["accuracy"]
    mean, std, low, high = (f"{x:.4f}" for x in (found.mean, found.std, found.low, found.high))
    assert f"{mean} ± {std} [{low}, {high}], 10 runs" in page.text
    assert "0.5500 ± 0.0400" in page.text  # published


def test_means_and_stds_are_those_of_the_runs(summary: StudySummary) -> None:
    for result in summary.done:
        for split, of_split in result.splits.items():
            for metric, found in of_split.metrics.items():
                values = [run.splits[split][metric] for run in result.runs]
                assert found.mean == pytest.approx(np.mean(values))
                assert found.std == pytest.approx(np.std(values))


def test_intervals_hold_their_mean(summary: StudySummary) -> None:
    for result in summary.done:
        for split in result.splits.values():
            for metric, found in split.metrics.items():
                assert found.low is not None
                assert found.high is not None
                assert found.low <= found.mean <= found.high, metric


def test_leakage_and_comparisons_are_reported(page: Page) -> None:
    assert "No known subject and no row of a test split is on another side" in page.text
    assert "by image" in page.text
    assert "pairs of faces in different folds" in page.text
    assert "Logistic regression" in page.text
    assert "better" in page.text


def test_the_worst_group_is_named(tmp_path: Path) -> None:
    make_study(tmp_path, ("gender-d",), columns=make_columns(1000, 200), seeds=1)
    summary = summarise(tmp_path)
    write_report(summary, tmp_path)
    (result,) = summary.done
    assert result.fairness.worst is not None
    worst = result.fairness.groups[result.fairness.worst]
    text = Page((tmp_path / "report.html").read_text(encoding="utf-8")).text
    assert f"the worst by Accuracy is {worst.gender}, {worst.age} years" in text


def test_strings_of_the_data_are_shown_and_not_obeyed(tmp_path: Path) -> None:
    evil = '<script>alert("x")</script>&amp;'
    columns = make_columns()
    columns["subject"] = np.array([evil] * 300)  # on both sides of every split, so that it is named
    settings = {"dataset": evil, "data_dir": evil, "validation_by": evil}
    changes = {"engine": evil, "config": {"data_loader": {"args": settings}}}
    columns["fold"] = (np.arange(300) % 5).astype(np.int8)
    result = make_result(
        tmp_path, "gender", "d", columns=columns, seeds=1, changes=changes | {"baselines": {}}
    )
    content = json.loads(result.read_text())
    for run in content["runs"]:
        run["predictions"]["val"] = run["predictions"]["test"]
        run["predictions"]["train"] = run["predictions"]["test"]
    content["baselines"] = {evil: content["runs"]}
    result.write_text(json.dumps(content))
    write_report(summarise(tmp_path), tmp_path)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script" not in text
    page = Page(text)
    assert page.text.count(evil) > 5
    assert "those test values are too good" in page.text


def test_a_study_of_nothing_has_a_report_too(tmp_path: Path) -> None:
    write_report(summarise(tmp_path), tmp_path)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "0 of 12 results were run" in page.text
    assert page.values("img", "src") == []
    assert "No result with baselines was run." in page.text


def test_the_same_runs_give_the_same_report(study: Path) -> None:
    again = summarise(study)
    assert plain(again) == read_json(study / "summary.json")
    assert report(again) == (study / "report.html").read_text(encoding="utf-8")


def test_the_console_shows_every_result(summary: StudySummary) -> None:
    lines = console_table(summary).splitlines()
    heads = ["result", "metric", "runs", "split", "mean ± std", "95 % interval", "published"]
    assert re.split(r"\s{2,}", lines[0]) == heads
    assert sum("not run" in line for line in lines) == 9
    (line,) = [line for line in lines if line.startswith("age8 (d)") and " accuracy " in line]
    assert re.search(
        r"10 +test +0\.\d{4} ± 0\.\d{4} +\[0\.\d{4}, 0\.\d{4}\] +0\.5500 ± 0\.0400$", line
    )


def test_one_run_has_no_spread(tmp_path: Path) -> None:
    make_study(tmp_path, ("gender-a",), seeds=1)
    line = console_table(summarise(tmp_path)).splitlines()[1]
    assert "±" not in line
    assert "[0." in line


def test_curves_of_unequal_length_average_what_is_there() -> None:
    def run(losses: list[float]) -> StudyRun:
        epochs: list[dict[str, float | None]] = [{"epoch": 1, "loss": loss} for loss in losses]
        return StudyRun(seed=0, fold=None, checkpoint="", predictions={}, epochs=epochs, log={})

    found = learning_curves([run([4.0, 2.0, 1.0]), run([2.0])])
    assert found.epochs == [1, 2, 3]
    assert list(found.curves) == ["loss"]
    assert found.curves["loss"].mean.tolist() == [3.0, 2.0, 1.0]
    assert found.curves["loss"].high.tolist() == [4.0, 2.0, 1.0]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32("nan")])
def test_what_is_no_number_is_none_in_the_summary(value: Any) -> None:
    assert plain({"a": [value]}) == {"a": [None]}


def test_a_folder_that_is_no_study_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        summarise(tmp_path / "none")
