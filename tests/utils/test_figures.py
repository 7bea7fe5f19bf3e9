import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import ROOT
from stored import make_face, store, write_wiki
from study_folders import make_study

from search.outcome import TrialOutcome
from search.run import _show
from search.space import PARAMETERS, read_search
from studies.report import write_report
from studies.summary import summarise
from utils import figures as pictures
from utils.figures import new_figure, optional_picture
from utils.options import read_config
from utils.scripts import get_imdb_wiki_clean

DRAW = """
import os, sys
from utils.figures import new_figure
new_figure().savefig(sys.argv[1], format="png")
assert os.environ["MPLBACKEND"] == sys.argv[2]
assert "matplotlib.pyplot" not in sys.modules
"""


@pytest.mark.parametrize(
    "backend",
    ["module://matplotlib_inline.backend_inline", "nonsense", "module://no.such", "TkAgg"],
)
def test_a_picture_is_drawn_whatever_backend_a_notebook_has_set(
    backend: str, tmp_path: Path
) -> None:
    done = subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, "-c", DRAW, tmp_path / "a.png", backend],
        cwd=ROOT,
        env={**os.environ, "MPLBACKEND": backend},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_a_picture_that_fails_is_one_warning(program_log: pytest.LogCaptureFixture) -> None:
    with optional_picture("ages.png"):
        raise MemoryError("no room\nfor it")
    assert [record.levelname for record in program_log.records] == ["WARNING"]
    assert program_log.messages == [
        "ages.png is left out, it cannot be drawn (MemoryError: no room for it)"
    ]


def test_an_interrupt_is_no_failed_picture() -> None:
    with pytest.raises(KeyboardInterrupt), optional_picture("ages.png"):
        raise KeyboardInterrupt


def fail(**_: object) -> None:
    raise RuntimeError("no fonts")


def test_a_cleaning_without_its_picture_has_all_its_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_wiki(tmp_path, ["00/a.jpg"])
    store(folder / "00" / "a.jpg", [make_face()])
    monkeypatch.setattr("extraction.cleaning_report.new_figure", fail)
    assert get_imdb_wiki_clean("wiki", data_dir=tmp_path) == folder / "data.npy"
    assert {path.name for path in folder.iterdir()} == {
        "00",
        "wiki.mat",
        "data.npy",
        "meta-data.json",
    }
    text = capsys.readouterr().out
    assert text.index("age of the faces kept") < text.index("ages.png is left out")


def test_a_study_without_its_pictures_has_its_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program_log: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("studies.figures.new_figure", fail)
    folder = make_study(tmp_path / os.fsdecode(b"st\xff"), ("gender-a",))
    content = json.loads((folder / "gender-a.json").read_text())
    content["config"]["name"] = "caf\udce9"
    (folder / "gender-a.json").write_text(json.dumps(content))
    _, card = write_report(summarise(folder), folder)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "<img" not in page
    assert "Logistic regression" in page
    assert [line for line in program_log.messages if "confusion of gender-a is left out" in line]
    assert card.read_text(encoding="utf-8")


def test_a_search_without_its_picture_has_its_best_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program_log: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("search.plot.new_figure", fail)
    search = read_search(read_config(None, None, "hp-tuning.json"))
    values = {name: search.config[name][0] for name in PARAMETERS}
    best = {"epoch": 1.0, "val_loss": 0.5}
    _show(search, [TrialOutcome("trial-0", values, best, 1, "", None, "")], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["best-config.json"]
    assert "hp-tuning.png is left out" in program_log.text


def test_a_figure_draws_without_a_window() -> None:
    assert type(new_figure().canvas).__name__ == "FigureCanvasAgg"
    assert pictures.BACKEND == "MPLBACKEND"
