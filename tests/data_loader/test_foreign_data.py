"""Trainings keep what tells networks apart; joining and testing use it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import MakeConfig
from helpers import TINY, Config, read, train
from networks import embed, write_faces

from data_loader.data_sets import data_path
from data_loader.extractors import refuse_foreign
from data_loader.faces import read_faces
from faces.out_of_distribution import OutOfDistributionDetector
from trainer.check import check
from trainer.evaluate_checkpoint import evaluate_checkpoint
from utils.config import ConfigParser
from utils.errors import DataError
from utils.scripts import export_model

# --- joining --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("num_imdb", "num_wiki"), [(1500, 300), (300, 1500), (1500, 1500)])
def test_data_sets_of_two_networks_are_not_joined(
    tmp_path: Path, num_imdb: int, num_wiki: int
) -> None:
    """The smaller one has too few rows to learn from: the larger one judges it."""
    write_faces(tmp_path, "imdb", embed(1, num_imdb))
    write_faces(tmp_path, "wiki", embed(2, num_wiki))
    with pytest.raises(DataError, match="cannot be joined: 100%") as caught:
        read_faces(tmp_path, "imdb_wiki")
    message = str(caught.value)
    assert all(str(data_path(tmp_path, source)) in message for source in ("imdb", "wiki"))
    assert len(read_faces(tmp_path, "imdb")) == num_imdb


def test_data_sets_of_one_network_are_joined(tmp_path: Path) -> None:
    write_faces(tmp_path, "imdb", embed(1, 1500))
    write_faces(tmp_path, "wiki", embed(1, 1500, seed=1))
    assert len(read_faces(tmp_path, "imdb_wiki")) == 3000


@pytest.mark.parametrize(("share", "is_refused"), [(0.4, False), (0.6, True)])
def test_over_half_of_a_data_set_must_be_foreign(
    tmp_path: Path, share: float, is_refused: bool
) -> None:
    wiki = embed(1, 800, seed=1)
    wiki[: int(800 * share)] = embed(2, int(800 * share))
    write_faces(tmp_path, "imdb", embed(1, 1500))
    write_faces(tmp_path, "wiki", wiki)
    if is_refused:
        with pytest.raises(DataError, match="cannot be joined"):
            read_faces(tmp_path, "imdb_wiki")
    else:
        assert len(read_faces(tmp_path, "imdb_wiki")) == 2300


@pytest.mark.parametrize(("num_rows", "is_refused"), [(0, False), (19, False), (20, True)])
def test_a_handful_of_rows_is_not_judged(tmp_path: Path, num_rows: int, is_refused: bool) -> None:
    parts = {tmp_path / "one": embed(1, 1500), tmp_path / "other": embed(2, num_rows)}
    if is_refused:
        with pytest.raises(DataError, match="cannot be joined"):
            refuse_foreign(parts, seed=0)
    else:
        refuse_foreign(parts, seed=0)


# --- training -------------------------------------------------------------------------------------


def config_of(small_config: MakeConfig, data_dir: Path, **changes: Any) -> Config:
    return small_config(
        **{
            **TINY,
            "data_loader.args.data_dir": str(data_dir),
            "data_loader.args.dataset": "wiki",
            "data_loader.args.validation_split": 0.1,
            "trainer.epochs": 1,
            **changes,
        }
    )


@pytest.fixture
def faces_dir(tmp_path: Path) -> Path:
    """Make a folder with 1,500 faces of network 1."""
    write_faces(tmp_path / "data", "wiki", embed(1, 1500))
    return tmp_path / "data"


def test_a_checkpoint_and_its_export_recognise_other_networks(
    small_config: MakeConfig, faces_dir: Path, tmp_path: Path
) -> None:
    run = train(config_of(small_config, faces_dir))
    exported = tmp_path / "age.pth"
    export_model(run.fitted.best_path, exported)
    for path in (run.fitted.best_path, exported):
        found = OutOfDistributionDetector.from_checkpoint(read(path))
        assert found is not None
        assert found.num_rows == 1350
        assert found.foreign_share(embed(1, 300, seed=2)) <= 0.01
        assert found.foreign_share(embed(2, 300)) >= 0.99


def test_the_statistics_are_of_training_rows_and_the_threshold_of_validation_rows(
    small_config: MakeConfig, faces_dir: Path
) -> None:
    setup = train(config_of(small_config, faces_dir)).fitted.setup
    assert setup.valid_loader is not None
    faces = read_faces(faces_dir, "wiki").embedding
    train_rows, valid_rows = setup.train_loader.rows, setup.valid_loader.rows
    expected = OutOfDistributionDetector.fit(faces[train_rows], faces[valid_rows])
    assert expected is not None
    assert setup.detector is not None
    others = embed(1, 100, seed=3)
    np.testing.assert_allclose(setup.detector.scores(others), expected.scores(others), rtol=1e-3)
    assert setup.detector.threshold == pytest.approx(expected.threshold, rel=1e-3)


def test_without_validation_rows_a_training_recognises_other_networks_too(
    small_config: MakeConfig, faces_dir: Path
) -> None:
    config = config_of(small_config, faces_dir, **{"data_loader.args.validation_split": 0})
    content = read(train(config).fitted.best_path)
    assert content["embeddings"]["num_rows"] == 1200


def test_too_few_rows_leave_none_and_the_log_says_so(
    small_config: MakeConfig,
    faces_dir: Path,
    program_log: pytest.LogCaptureFixture,
) -> None:
    limits = {"data_loader.args.limit_data": 900, "trainer.verbosity": 1}
    content = read(train(config_of(small_config, faces_dir, **limits)).fitted.best_path)
    assert content["embeddings"] is None
    assert "other networks cannot be recognised from fewer than 1,000 rows" in program_log.text


# --- testing --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("network", "is_told"), [(1, False), (2, True)])
def test_testing_on_rows_of_another_network_is_warned_of(
    small_config: MakeConfig,
    faces_dir: Path,
    program_log: pytest.LogCaptureFixture,
    network: int,
    is_told: bool,
) -> None:
    path = train(config_of(small_config, faces_dir)).fitted.best_path
    write_faces(faces_dir, "imdb", embed(network, 400, seed=5))
    dataset = {"data_loader.args.dataset": "imdb"}
    config = ConfigParser(read(path)["config"], path, dataset, check=check)
    results = evaluate_checkpoint(config, "all")
    assert results["foreign_share"] == (1 if is_told else 0)
    assert ("come from another network" in program_log.text) == is_told
