"""Configs of the original project, its final form and that of July 2021."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from helpers import original_config

from model import model
from trainer.check import check
from utils.config import ConfigParser
from utils.errors import ConfigError
from utils.legacy.configs import from_original
from utils.options import script_parser

Config = dict[str, Any]


def july_config(**arch_args: Any) -> Config:
    config = original_config()
    config["arch"]["args"] = {
        "dropout": 0.2,
        "num_residuals_per_block": 4,
        "num_blocks": 0,
        "num_classes": 101,
        "num_initial_features": 512,
        "last_activation": None,
        "min_bound": None,
        "max_bound": None,
        "only_MLP": False,
        **arch_args,
    }
    config["metrics"] = ["accuracy", "accuracy_relaxed"]
    return config


def cross_val_config() -> Config:
    """Return a config as the original saved it beside the checkpoint of a fold."""
    config = {"num_cross_val": 5, "seeds": [0, 1, 2, 3, 4], **original_config()}
    arguments = {"validation_split": 0.1, "dataset": "Adience", "test_cross_val": 0}
    config["data_loader"]["args"] |= arguments | {"training": True, "limit_data": None}
    return config


@pytest.mark.parametrize("make", [original_config, july_config, cross_val_config])
def test_a_config_of_the_original_passes_the_check_and_is_not_changed(make: Any) -> None:
    config = make()
    ConfigParser(config, check=check)
    assert config == make()


def test_an_original_config_keeps_every_value() -> None:
    parser = ConfigParser(original_config(), check=check)
    config = parser.config
    assert {key: config[key] for key in original_config()} == original_config()
    assert config["seed"] == 42


def test_a_current_config_comes_back_as_it_is() -> None:
    config = original_config()
    assert from_original(config) == config
    assert from_original({"arch": "odd", "data_loader": None}) == {
        "arch": "odd",
        "data_loader": None,
    }


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"num_blocks": 0}, {"num_blocks": 1}),  # its network always had one block
        ({"num_blocks": 1}, {"num_blocks": 1}),
        ({"num_blocks": 3}, {"num_blocks": 3}),
        ({"only_MLP": True}, {"add_residual": False, "add_IC": False}),
        ({"only_MLP": True, "dropout": None}, {"dropout": 0.0, "add_IC": False}),
        ({"dropout": 0.2}, {"dropout": 0.2}),
        ({"min_bound": 0, "max_bound": 100}, {"num_residuals_per_block": 4}),
    ],
)
def test_the_network_of_july_2021_is_said_in_the_keys_of_today(
    given: Config, expected: Config
) -> None:
    parser = ConfigParser(july_config(**given), check=check)
    arguments = parser["arch"]["args"]
    assert expected.items() <= arguments.items()
    assert not {"last_activation", "min_bound", "max_bound", "only_MLP"} & arguments.keys()
    parser.init_obj("arch", model)


@pytest.mark.parametrize("key", ["last_activation", "min_bound", "max_bound", "only_MLP"])
def test_any_one_of_its_keys_tells_a_config_of_july_2021(key: str) -> None:
    config = original_config()
    config["arch"]["args"] |= {key: None, "num_blocks": 0}
    assert from_original(config)["arch"]["args"]["num_blocks"] == 1


def test_no_blocks_stay_none_in_the_final_form() -> None:
    config = original_config()
    config["arch"]["args"]["num_blocks"] = 0
    assert ConfigParser(config, check=check)["arch"]["args"]["num_blocks"] == 0


def test_the_network_of_july_2021_has_the_layers_of_one_block() -> None:
    parser = ConfigParser(july_config(), check=check)
    names = list(parser.init_obj("arch", model).state_dict())
    layers = list(dict.fromkeys(name.split(".")[1] for name in names))
    assert layers == ["0", "1", "2", "3", "4", "5"]  # four residuals, down-sampling, linear


@pytest.mark.parametrize("activation", ["SigmoidBounded", "LinearBounded"])
def test_a_last_activation_is_refused_by_name(activation: str) -> None:
    with pytest.raises(ConfigError, match=rf"last_activation: '{activation}' is not supported"):
        ConfigParser(july_config(last_activation=activation), check=check)


def test_an_option_wins_over_a_config_of_july_2021(tmp_path: Path) -> None:
    path = tmp_path / "july.json"
    path.write_text(json.dumps(july_config(only_MLP=True)))
    arguments = script_parser(None, None).parse_args(
        ["-c", str(path), "-o", "arch.args.num_blocks=0", "-o", "arch.args.add_IC=true"]
    )
    args = ConfigParser.from_args(arguments, check=check)["arch"]["args"]
    assert (args["num_blocks"], args["add_IC"], args["add_residual"]) == (0, True, False)


def test_converting_twice_is_converting_once() -> None:
    once = from_original(july_config(only_MLP=True))
    assert from_original(copy.deepcopy(once)) == once
