from pathlib import Path
from typing import Any

import pytest

from extraction.extract import extract_adience, extract_imdb_wiki
from extraction.options import CleaningOptions, ExtractionOptions
from utils.errors import ConfigError, DataError
from utils.problems import read_object
from utils.scripts import extract_imdb_wiki_arcface


def test_unknown_names_are_refused_with_the_known_ones(tmp_path: Path) -> None:
    options = ExtractionOptions(data_dir=tmp_path)
    with pytest.raises(DataError, match="image_type is 'squares', expected one of aligned, raw"):
        extract_adience("squares", options)
    with pytest.raises(DataError, match="dataset is 'IMDB', expected one of imdb, wiki"):
        extract_imdb_wiki("IMDB", options)
    with pytest.raises(ConfigError, match="arguments: worker: unknown key, did you mean workers"):
        extract_imdb_wiki_arcface("imdb", data_dir=tmp_path, worker=3)


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
        ("probe_waits_s", ()),
        ("retry_waits_s", (-1.0,)),
        ("docker_image", "--privileged"),
        ("docker_image", 3),
    ],
)
def test_a_value_out_of_range_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"^arguments: {name}[.0-9]*: .*expected"):
        read_object(ExtractionOptions, {name: value}, "arguments")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("resize", -1),
        ("det_score", 1.1),
        ("det_score", float("nan")),
        ("det_score", True),
        ("remove_corrupt", "no"),
    ],
)
def test_a_cleaning_refuses_what_is_out_of_range(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"^arguments: {name}[.0-9]*: .*expected"):
        read_object(CleaningOptions, {name: value}, "arguments")


def test_the_options_are_what_was_asked_for() -> None:
    asked = {"docker_port": [1, "http://a"], "cuda": True, "resize": 0, "docker_image": "x"}
    made = read_object(ExtractionOptions, asked, "arguments")
    assert (made.docker_port, made.resize, made.docker_image) == ([1, "http://a"], 0, "x")
