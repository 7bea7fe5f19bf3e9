from pathlib import Path
from typing import Any

import pytest

from extraction.extract import extract_adience, extract_imdb_wiki
from extraction.options import Options, extraction_options
from utils.errors import DataError


def test_unknown_names_are_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="image_type is 'squares', expected one of aligned, raw"):
        extract_adience("squares", Options(data_dir=tmp_path))
    with pytest.raises(DataError, match="dataset is 'IMDB', expected one of imdb, wiki"):
        extract_imdb_wiki("IMDB", Options(data_dir=tmp_path))
    with pytest.raises(DataError, match=r"unknown option speed; there are docker_image, in_flight"):
        extraction_options(speed=3)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("resize", -1),
        ("resize", 4097),
        ("resize", 640.0),
        ("resize", True),
        ("in_flight", 0),
        ("workers", 0),
        ("jpeg_quality", 96),
        ("timeout_s", -1),
        ("timeout_s", float("nan")),
        ("give_up_s", "60"),
        ("docker_image", "--privileged"),
        ("docker_image", 3),
    ],
)
def test_a_value_out_of_range_is_refused(name: str, value: Any) -> None:
    with pytest.raises(DataError, match=f"^{name} is "):
        extraction_options(**{name: value})


def test_the_options_are_what_was_asked_for() -> None:
    made = extraction_options([1, "http://a"], True, 0, "d", in_flight=3, docker_image="x")
    assert (made.docker_port, made.data_dir, made.settings.resize) == ([1, "http://a"], "d", None)
    assert (made.settings.in_flight, made.container.image_name, made.container.cuda) == (
        *(3, "x"),
        True,
    )
