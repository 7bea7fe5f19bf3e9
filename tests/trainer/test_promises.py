"""test.py says whether the promises of a checkpoint are kept."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import MakeConfig, RunScript, make_faces, save_faces
from helpers import TINY, Config, read, train

from utils.checkpoint import save_checkpoint

PROMISED = "data_loader.args.validation_by"


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make people to train on, others of the same kind (wiki), and ages turned round (imdb)."""
    folder = tmp_path_factory.mktemp("worlds")
    faces = make_faces(900, 450, 1, is_adience=True)
    own, others = faces[faces["subject"] < "00000300"], faces[faces["subject"] >= "00000300"]
    save_faces(own, folder / "Adience" / "data-aligned.npy")
    others["fold"] = -1
    save_faces(others, folder / "wiki_crop" / "data.npy")
    turned = others.copy()
    turned["age"] = 100 - turned["age"]
    turned["gender"] = np.where(turned["gender"] == "m", "f", "m")
    save_faces(turned, folder / "imdb_crop" / "data.npy")
    return folder


def trained(small_config: MakeConfig, worlds: Path, **overrides: Any) -> Path:
    changes = {
        **TINY,
        "data_loader.args.data_dir": str(worlds),
        "data_loader.args.dataset": "Adience",
        "data_loader.args.validation_split": 0.5,
        "data_loader.args.validation_by": "subject",
        "trainer.epochs": 12,
        "optimizer": {"type": "AdamW", "args": {"lr": 0.01, "weight_decay": 0.01}},
    }
    config: Config = small_config(**{**changes, **overrides})
    if config["data_loader"]["type"] == "GenderDataLoader":
        config["metrics"] = ["accuracy"]
    return train(config).fitted.best_path


GENDER = {
    "data_loader.type": "GenderDataLoader",
    "data_loader.args.num_classes": 2,
    "arch.args.num_classes": 2,
}


def results(path: Path) -> list[dict[str, Any]]:
    folder = path.parents[3]
    return [json.loads(file.read_text()) for file in sorted(folder.glob("*_test-results.json"))]


@pytest.mark.parametrize("overrides", [{}, GENDER], ids=["age", "gender"])
def test_it_measures_on_each_data_set_and_warns_where_the_world_is_another(
    overrides: Config,
    small_config: MakeConfig,
    worlds: Path,
    run_script: RunScript,
) -> None:
    path = trained(small_config, worlds, **overrides)
    outcome = run_script("test.py", "-r", path, "--dataset", "wiki", "--dataset", "imdb")
    assert outcome.code == 0
    found = {one["dataset"]: one for one in results(path)}
    kind = "sets" if overrides else "intervals"
    same, other = found["wiki"]["confidence"][kind], found["imdb"]["confidence"][kind]
    assert (same["num_people"], same["level"], same["is_too_low"]) == (150, 0.9, False)
    assert same["low"] < same["coverage"] == found["wiki"]["held_at_90"] <= same["high"]
    assert other["is_too_low"]
    said = outcome.out + outcome.err
    assert said.count("too few for chance") == 1
    assert f"imdb: 90 % were promised and {other['coverage']:.1%} are held" in said
    assert "held_at_90" in said.splitlines()[-3]
    assert ("passed at 90%" in said) == (not overrides)


def test_rows_that_the_promise_was_fitted_to_are_called_that(
    small_config: MakeConfig, worlds: Path, run_script: RunScript
) -> None:
    path = trained(small_config, worlds)
    outcome = run_script("test.py", "-r", path)
    said = outcome.out + outcome.err
    assert "were fitted to some of these rows" in said
    assert "Adience: ages of Adience are known as groups" in said
    (found,) = results(path)
    assert not {16, 18} & {one["threshold"] for one in found["confidence"]["error_rates"]}


def test_a_checkpoint_that_promises_nothing_is_tested_as_before(
    small_config: MakeConfig, worlds: Path, run_script: RunScript
) -> None:
    path = trained(small_config, worlds, **{PROMISED: "image", "trainer.epochs": 1})
    outcome = run_script("test.py", "-r", path, "--dataset", "wiki")
    (found,) = results(path)
    assert found["confidence"] is None
    assert "held_at_90" not in found
    assert "held_at_90" not in outcome.out + outcome.err


def test_a_damaged_promise_is_refused_in_one_line(
    small_config: MakeConfig, worlds: Path, run_script: RunScript
) -> None:
    path = trained(small_config, worlds, **{"trainer.epochs": 1})
    content = read(path)
    content["confidence"]["num_people"] = 0
    damaged = path.with_name("damaged.pth")
    shutil.copy(path, damaged)
    save_checkpoint(content, damaged)
    outcome = run_script("test.py", "-r", damaged, "--dataset", "wiki")
    assert outcome.code == 2
    assert f"{damaged}: the checkpoint is damaged" in outcome.err
    assert "confidence.num_people: 0, expected 1 or more" in outcome.err
