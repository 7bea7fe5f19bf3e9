from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor

from extraction.cleaning_report import COLOURS, _draw_ages, plot_ages, table
from extraction.cleaning_rules import CleaningCounts
from utils.errors import DataError


def make_counts(kept: dict[tuple[str, float], int], *, is_adience: bool) -> CleaningCounts:
    counts = CleaningCounts(is_adience=is_adience)
    counts.kept.update(kept)
    counts.removed.update({"no_age_found": 750, "bad_quality": 1})
    return counts


def test_the_table_of_adience_has_causes_and_classes() -> None:
    kept = {("f", 28.5): 1000, ("m", 28.5): 200, ("m", 80.0): 49}
    lines = table(make_counts(kept, is_adience=True), "Adience, aligned images").splitlines()
    cells = {" ".join(line.split()) for line in lines}
    assert {
        "Adience, aligned images images share",
        "no age found 750 37.5 %",
        "no gender found 0 0.0 %",
        "bad quality 1 0.1 %",
        "kept 1,249 62.5 %",
        "all 2,000 100.0 %",
        "age of the faces kept female male both share",
        "0 to 2 0 0 0 0.0 %",
        "25 to 32 1,000 200 1,200 96.1 %",
        "60 to 100 0 49 49 3.9 %",
        "all 1,000 249 1,249 100.0 %",
        "share 80.1 % 19.9 %",
    } <= cells
    assert not any("more than one face" in line for line in lines)
    assert len(lines) == 1 + 6 + 2 + 1 + 1 + 8 + 2


def test_the_table_of_whole_years_has_decades() -> None:
    kept = {("f", 9.0): 1, ("m", 10.0): 2, ("m", 19.0): 3, ("f", 100.0): 4}
    cells = [
        " ".join(line.split())
        for line in table(make_counts(kept, is_adience=False), "IMDB").splitlines()
    ]
    assert "more than one face 0 0.0 %" in cells
    assert {"0 to 9 1 0 1 10.0 %", "10 to 19 0 5 5 50.0 %"} <= set(cells)
    assert "100 to 109 4 0 4 40.0 %" in cells


@pytest.mark.parametrize("is_adience", [True, False])
def test_the_picture_shows_both_genders(tmp_path: Path, is_adience: bool) -> None:
    path = tmp_path / "ages.png"
    kept = {("f", 1.0): 5, ("m", 80.0): 7, ("f", 80.0): 1}
    plot_ages(make_counts(kept, is_adience=is_adience), "A title", path)
    with Image.open(path) as picture:
        assert picture.size == (1600, 900)
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    for colour in COLOURS.values():
        assert (pixels == ImageColor.getrgb(colour)).all(axis=1).sum() > 300


def test_the_picture_counts_the_faces_drawn_and_those_left_out() -> None:
    counts = make_counts({("f", 1.0): 3, ("", 80.0): 1}, is_adience=False)
    counts.kept["f", None] = 10
    (axes,) = _draw_ages(counts, "A title").axes
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        "female, 3 (75.0 %)",
        "male, 0 (0.0 %)",
        "not known, 1 (25.0 %)",
    ]
    assert axes.get_xlabel() == "age in years; 10 faces without an age are not drawn"


def test_a_picture_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "ages.png").mkdir()
    with pytest.raises(DataError, match=r"ages.png was not written"):
        plot_ages(make_counts({("f", 1.0): 1}, is_adience=True), "A title", tmp_path / "ages.png")
