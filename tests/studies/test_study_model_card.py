"""The model card: what was made, of what, how good, for whom not, and under which licences."""

import json
import re
from pathlib import Path

import pytest
from study_folders import make_study, read_columns

from data_loader.data_sets import data_path
from studies.report import model_card, report, write_report
from studies.summary import summarise

SECTIONS = [
    *("Models", "Intended use", "Data", "Extractor of the embeddings", "Metrics", "Groups"),
    *("How sure", "Limits", "Licences"),
]
EVIL = "<b>|`x`\n# title"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Path:
    """Make a study of a data file whose extractor is recorded."""
    folder = tmp_path_factory.mktemp("study")
    path = data_path(folder / "data", "Adience")
    path.parent.mkdir(parents=True)
    path.symlink_to(data_path(data_dir, "Adience").resolve())
    record = {"extractor": {"server": "made-up", "model": EVIL, "resize": 640}}
    (path.parent / "meta-data-aligned.json").write_text(json.dumps(record))
    settings = {"dataset": "Adience", "data_dir": str(folder / "data")}
    config = {
        "data_loader": {"args": settings},
        "trainer": {"epochs": 20},
        "optimizer": {"type": "AdamW", "args": {"lr": 0.0015}},
    }
    columns = read_columns(folder / "data")
    make_study(folder, ("gender-d", "age8-c"), columns=columns, seeds=1, changes={"config": config})
    write_report(summarise(folder), folder)
    return folder


@pytest.fixture(scope="module")
def card(study: Path) -> str:
    return (study / "MODEL_CARD.md").read_text(encoding="utf-8")


def test_every_section_is_there(card: str) -> None:
    assert re.findall(r"^## (.*)$", card, re.MULTILINE) == SECTIONS


def test_models_their_recipe_and_what_was_not_run_are_told(card: str) -> None:
    (line,) = [line for line in card.splitlines() if line.startswith("| Gender (d) | trained")]
    assert "| 5 | 20 |" in line
    assert "| AdamW(lr=0.0015) |" in line
    assert len(re.findall(r"\| not run \| 0 \|", card)) == 10


def test_values_are_those_of_the_report(study: Path, card: str) -> None:
    entry = summarise(study).done[0]
    found = entry.splits["test"].metrics["accuracy"]
    assert f"| {found.mean:.4f} ± {found.std:.4f} [{found.low:.4f}, {found.high:.4f}] |" in card


def test_data_and_groups_are_counted(card: str) -> None:
    (line,) = [line for line in card.splitlines() if line.startswith("| Gender (d) | 300 |")]
    assert "| 60 |" in line
    assert "Adience: 300" in line


def test_the_extractors_record_is_kept_and_cannot_break_out(card: str) -> None:
    assert "made-up" in card
    assert "<b>" not in card
    assert "\n# title" not in card


def test_every_row_of_a_table_has_the_cells_of_its_head(card: str) -> None:
    tables = re.findall(r"(?:^\|.*\n)+", card, re.MULTILINE)
    assert len(tables) == 6
    for table in tables:
        cells = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(cells) == 1


def test_no_value_is_missing(card: str) -> None:
    assert not re.search(r"\b(nan|None|undefined)\b", card)


def test_without_a_record_of_the_extractor_the_card_says_so(tmp_path: Path) -> None:
    card = model_card(summarise(make_study(tmp_path, ("gender-a",), seeds=1)))
    assert "No record of what made the embeddings" in card


def test_synthetic_data_are_told_in_report_and_card(study: Path, card: str) -> None:
    assert "Synthetic data" not in card + (study / "report.html").read_text(encoding="utf-8")
    path = study / "data" / "Adience" / "meta-data-aligned.json"
    before = path.read_text(encoding="utf-8")
    path.write_text(json.dumps({"extractor": {"synthetic": True}}), encoding="utf-8")
    try:
        summary = summarise(study)
    finally:
        path.write_text(before, encoding="utf-8")
    assert "**Synthetic data.**" in model_card(summary)
    assert "Synthetic data." in report(summary)
