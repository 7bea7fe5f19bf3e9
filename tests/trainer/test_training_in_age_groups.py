"""Age in groups of years: from a config, through training, to test.py."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import MakeConfig, RunScript
from helpers import TINY, Config, read, save_config, train

from trainer.check import check
from utils.config import ConfigParser
from utils.errors import CheckpointError, ConfigError
from utils.options import script_parser

GROUPS = [[0, 12], [13, 17], [18, 39], [40, 64], [70, 100]]
CENTRES = [6, 15, 28.5, 52, 85]
CLASSES = "data_loader.args.classes"
METRICS = ["accuracy", "one_off_accuracy", "mae", "cs5"]


@pytest.fixture
def groups_config(small_config: MakeConfig) -> Config:
    """Return the config of a tiny training in five groups, without numbers of classes."""
    config = small_config(**{**TINY, CLASSES: GROUPS, "metrics": METRICS})
    del config["data_loader"]["args"]["num_classes"], config["arch"]["args"]["num_classes"]
    return config


def num_classes_of(config: ConfigParser) -> tuple[int, int]:
    return tuple(config[key]["args"]["num_classes"] for key in ("data_loader", "arch"))


def parse(config: Config, folder: Path, *options: str) -> ConfigParser:
    arguments = script_parser(None, str(save_config(config, folder))).parse_args(options)
    return ConfigParser.from_args(arguments, check=check)


# --- the config -----------------------------------------------------------------------------------


def test_the_numbers_of_classes_follow_from_the_groups(groups_config: Config) -> None:
    assert num_classes_of(ConfigParser(groups_config, check=check)) == (5, 5)
    agreed = {"data_loader.args.num_classes": 5, "arch.args.num_classes": 5}
    assert num_classes_of(ConfigParser(groups_config, modification=agreed, check=check)) == (5, 5)
    for path in agreed:
        with pytest.raises(ConfigError, match="4"):
            ConfigParser(groups_config, modification={path: 4}, check=check)


def test_groups_on_the_command_line_bring_their_number(
    small_config: MakeConfig, tmp_path: Path
) -> None:
    text = f"{CLASSES.replace('.', ';')}={json.dumps(GROUPS)}"
    config = parse(small_config(**TINY), tmp_path, "--task", "age9", "-o", text)
    assert num_classes_of(config) == (5, 5)
    assert config["data_loader"]["args"]["classes"] == GROUPS
    contradiction = ("--task", "age9", "-o", text, "-o", "arch.args.num_classes=6")
    with pytest.raises(ConfigError, match=r"arch.args.num_classes: 6, but .* is 5"):
        parse(small_config(**TINY), tmp_path, *contradiction)


@pytest.mark.parametrize("task", ["gender", "age8", "age101"])
def test_another_task_replaces_the_groups(task: str, groups_config: Config, tmp_path: Path) -> None:
    config = parse(groups_config, tmp_path, "--task", task)
    assert "classes" not in config["data_loader"]["args"]
    assert num_classes_of(config)[0] == num_classes_of(config)[1] != 5


def test_the_config_of_other_tasks_is_what_it_was_without_groups(
    small_config: MakeConfig,
) -> None:
    assert "classes" not in ConfigParser(small_config(), check=check)["data_loader"]["args"]


def test_the_relaxed_accuracy_is_refused_for_groups(groups_config: Config) -> None:
    with pytest.raises(ConfigError, match="accuracy_relaxed needs 101 classes, not groups"):
        ConfigParser({**groups_config, "metrics": ["accuracy_relaxed"]}, check=check)


# --- training and test ----------------------------------------------------------------------------


def test_a_training_scores_by_the_centres_of_its_groups(groups_config: Config) -> None:
    groups_config["loss"] = {"type": "cse", "args": {"soft_ordinal_years": 10.0}}
    run = train(groups_config)
    setup = run.fitted.setup
    assert setup.valid_loader is not None
    model = setup.model.eval()
    weights = read(run.fitted.best_path)["state_dict"]
    model.load_state_dict(weights)
    with torch.no_grad():
        rows = [(model(x), labels) for x, labels in setup.valid_loader]
    logits = torch.cat([x for x, _ in rows]).double()
    labels = torch.cat([labels for _, labels in rows]).numpy()
    shares, centres = logits.softmax(1).numpy(), np.array(CENTRES)
    error = np.abs(shares @ centres - centres[labels])
    bells = np.exp(-((centres - centres[labels, None]) ** 2) / 200)
    logs = np.log(shares)
    best = run.fitted.best_log
    assert set(labels) == set(range(5))
    assert best["val_mae"] == pytest.approx(error.mean(), rel=1e-5)
    assert best["val_cs5"] == pytest.approx((error <= 5).mean())
    assert best["val_one_off_accuracy"] == pytest.approx(
        (np.abs(logits.argmax(1).numpy() - labels) <= 1).mean()
    )
    loss = -(bells / bells.sum(1, keepdims=True) * logs).sum(1).mean()
    assert best["val_loss"] == pytest.approx(loss, rel=1e-5)


def test_test_py_scores_a_checkpoint_in_its_own_groups_and_refuses_others(
    groups_config: Config, tmp_path: Path, run_script: RunScript
) -> None:
    run = train(groups_config)
    path = run.fitted.best_path
    assert run_script("test.py", "-r", path, "--split", "val").code == 0
    (results,) = (tmp_path / "saved").glob("*_test-results.json")
    found = json.loads(results.read_text())
    for name in METRICS:
        assert found[name] == run.fitted.best_log[f"val_{name}"]
    others = json.dumps([*GROUPS[:4], [65, 100]])
    outcome = run_script("test.py", "-r", path, "-o", f"{CLASSES}={others}")
    assert outcome.code == 2
    assert "the classes of the config are not those that" in outcome.err


def test_other_groups_of_the_same_number_start_with_a_new_last_layer(
    groups_config: Config, program_log: pytest.LogCaptureFixture
) -> None:
    path = train(groups_config).fitted.best_path
    others = [[0, 20], [21, 40], [41, 60], [61, 80], [81, 100]]
    changes: dict[str, Any] = {"checkpoint": str(path), "trainer": groups_config["trainer"]}
    groups_config |= changes
    groups_config["trainer"]["verbosity"] = 1
    train(groups_config)
    assert not any("last layer" in line for line in program_log.messages)
    groups_config["data_loader"]["args"]["classes"] = others
    train(groups_config)
    assert any("all weights but the last layer's are taken" in x for x in program_log.messages)


def test_two_groups_do_not_start_from_the_last_layer_of_genders(
    small_config: MakeConfig, program_log: pytest.LogCaptureFixture
) -> None:
    genders = {
        "data_loader.type": "GenderDataLoader",
        "data_loader.args.num_classes": 2,
        "arch.args.num_classes": 2,
        "metrics": ["accuracy"],
    }
    path = train(small_config(**{**TINY, **genders})).fitted.best_path
    ages = {
        **genders,
        "data_loader.type": "AgeDataLoader",
        CLASSES: [[0, 17], [18, 100]],
        "checkpoint": str(path),
        "trainer.verbosity": 1,
    }
    train(small_config(**{**TINY, **ages}))
    assert any("all weights but the last layer's are taken" in x for x in program_log.messages)


def test_a_checkpoint_whose_groups_are_damaged_is_no_start(groups_config: Config) -> None:
    path = train(groups_config).fitted.best_path
    content = read(path)
    content["config"]["data_loader"]["args"]["classes"] = [[0, 2], [1, 3]]
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=r"its config has unfit classes: \[1, 3\]"):
        train({**groups_config, "checkpoint": str(path)})
