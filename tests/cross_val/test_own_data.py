"""Cross-validation of data sets of one's own: their folds, made folds, and sums."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import Config
from own_sets import own_faces, save_own, with_own

from cross_val.cross_validate import cross_validate
from cross_val.runs import Engine
from cross_val.stacked_engine import stacked_engine
from trainer.check import check
from trainer.data import held_out_loader, training_loader
from utils.config import ConfigParser
from utils.errors import ConfigError

MakeStudy = Callable[..., Config]


@pytest.fixture
def own_config(cross_val_config: Config, data_dir: Path, tmp_path: Path) -> MakeStudy:
    """Return a maker of configs of cross-validations of a data set of one's own, "mine"."""
    folder = with_own(data_dir, tmp_path / "data", "mine")

    def make(dataset: str = "mine", num_cross_val: int = 5, **columns: Any) -> Config:
        if columns:
            save_own(folder, "mine", own_faces(), **columns)
        arguments = cross_val_config["data_loader"]["args"]
        arguments |= {"data_dir": str(folder), "dataset": dataset}
        return {**cross_val_config, "num_cross_val": num_cross_val, "seeds": [0]}

    return make


def run(config: Config, engine: Engine | None = None, **options: Any) -> dict[str, Any]:
    return cross_validate(ConfigParser(config, check=check), engine=engine, **options)


def test_five_folds_are_made_and_every_engine_and_single_run_holds_out_the_same(
    own_config: MakeStudy, program_log: pytest.LogCaptureFixture
) -> None:
    config = own_config()
    config["arch"]["args"]["dropout"] = 0  # a stack draws other random numbers for it
    whole = run(config)
    assert whole["folds"] == [0, 1, 2, 3, 4]
    assert "mine: 5 folds made, no person in two of them" in program_log.messages
    assert (
        run(config, seed=0, fold=3)["stats"]["0"]["test"]["3"] == (whole["stats"]["0"]["test"]["3"])
    )
    stacked = run(config, stacked_engine(), anew=True)["stats"]["0"]["test"]
    for fold, log in whole["stats"]["0"]["test"].items():
        assert stacked[fold]["loss"] == pytest.approx(log["loss"], rel=1e-4)


@pytest.mark.parametrize("dataset", ["mine", "imdb_wiki+mine", "adience+mine"])
def test_no_person_is_in_two_of_training_validation_and_test(
    dataset: str, own_config: MakeStudy
) -> None:
    config = own_config(dataset)
    for fold in range(5):
        held_out = {"data_loader.args.test_cross_val": fold}
        parser = ConfigParser(config, modification=held_out, check=check)
        train, test = training_loader(parser), held_out_loader(parser)
        subjects: Any = train.source.faces.subject  # type: ignore[attr-defined]
        of_split = [
            set(subjects[train.rows].tolist()),
            set(subjects[train.validation_rows].tolist()),
            set(test.source.faces.subject.tolist()),  # type: ignore[attr-defined]
        ]
        names = [one - {""} for one in of_split]
        assert not names[0] & names[1]
        assert not (names[0] | names[1]) & names[2]
        assert "" not in of_split[2]  # imdb and wiki are not held out


def test_folds_of_the_table_are_held_out_whatever_their_numbers(own_config: MakeStudy) -> None:
    config = own_config(num_cross_val=3, fold=1 + np.arange(200) % 40 % 3)
    results = run(config)
    assert results["folds"] == [1, 2, 3]
    assert sorted(results["stats"]["0"]["test"]) == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("num_cross_val", "folds", "message"),
    [
        (4, 3, r"num_cross_val: 4, but mine has 3 folds .*\(0, 1, 2\); set -o num_cross_val=3"),
        (5, 1, r"num_cross_val: 5, but mine has 1 folds .*\(0\); two are the least"),
    ],
)
def test_more_folds_than_there_are_are_refused(
    num_cross_val: int, folds: int, message: str, own_config: MakeStudy, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        run(own_config(num_cross_val=num_cross_val, fold=np.arange(200) % folds))
    assert not (tmp_path / "saved").exists()


def test_rows_without_the_label_are_counted_once(
    own_config: MakeStudy, program_log: pytest.LogCaptureFixture
) -> None:
    age = np.where(np.arange(200) < 20, np.nan, own_faces()["age"])
    run(own_config(num_cross_val=2, age=age))
    assert program_log.messages.count("20 rows without an age are left out") == 1
    assert "2 of the 5 folds of mine are held out: num_cross_val" in program_log.messages


def test_changed_data_begin_a_new_study(own_config: MakeStudy, tmp_path: Path) -> None:
    config = own_config(num_cross_val=2)
    first = run(config)
    assert run(config) == first
    save_own(tmp_path / "data", "mine", own_faces(seed=77))
    assert run(config)["stats"] != first["stats"]


def test_a_set_of_unknown_people_is_cross_validated_by_image(
    own_config: MakeStudy, program_log: pytest.LogCaptureFixture
) -> None:
    results = run(own_config(num_cross_val=2, subject=""))
    assert sorted(results["stats"]["0"]["test"]) == ["0", "1"]
    assert any("made by image, since nobody is known" in line for line in program_log.messages)
