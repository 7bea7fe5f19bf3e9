"""The config and the command line: what wins, what is refused, and what a run leaves."""

import argparse
import copy
import json
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import MakeConfig
from helpers import ROOT

from data_loader import data_loaders
from model import model
from trainer.check import check
from trainer.components import build_lr_scheduler, build_optimizer, criterion_of, metrics_of
from utils import options as options_module
from utils import run_folders
from utils.config import ConfigParser
from utils.errors import CheckpointError, ConfigError
from utils.files import read_json
from utils.options import CustomArg, script_parser, set_by_path, task_settings
from utils.run_folders import write_claimed_json

Config = dict[str, Any]
Parse = Callable[..., ConfigParser]
TASKS = read_json(ROOT / "configs" / "tasks.json")["tasks"]
SHIPPED = ["train.json", "cross-val.json"]
KNOWN: Config = {
    "optimizer": {"type": "AdamW", "args": {"lr": 0.001}},
    "lr_scheduler": {"type": "OneCycleLR", "args": {}},
    "loss": "cse",
    "metrics": ["accuracy"],
    "trainer.monitor": "min val_loss",
}
"""What tests below change or count on, whatever recipe is shipped."""


@pytest.fixture(autouse=True)
def _environment_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", os.environ.get("CUDA_VISIBLE_DEVICES", ""))


@pytest.fixture
def config_path(small_config: MakeConfig, tmp_path: Path) -> Path:
    return write(small_config(**KNOWN), tmp_path / "small.json")


@pytest.fixture
def parse(config_path: Path) -> Parse:
    """Return a function that reads a command line whose default config is the small one."""

    def parse(*arguments: str) -> ConfigParser:
        parser = script_parser("a script", str(config_path))
        return ConfigParser.from_args(parser.parse_args(arguments), check=check)

    return parse


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Config:
    """Put a task of known content in the place of the shipped ones."""
    task = {
        "optimizer.args.lr": 0.5,
        "optimizer.args.weight_decay": 0.25,
        "data_loader.args.batch_size": 7,
        "trainer.epochs": 9,
    }
    large = {"datasets": ["imdb_wiki"], "recipe": {"data_loader.args.batch_size": 9}}
    content = {"recipe": {}, "large": large, "tasks": {"quick": task}}
    path = write(content, tmp_path / "tasks.json")
    monkeypatch.setattr(options_module, "TASKS_PATH", path)
    return task


def write(content: Any, path: Path) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def get(config: ConfigParser | Config, path: str) -> Any:
    value: Any = config.config if isinstance(config, ConfigParser) else config
    for key in path.split("."):
        value = value[key]
    return value


# --- shipped configs -----------------------------------------------------------------------------


@pytest.mark.parametrize("task", [None, *TASKS])
@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_config_with_every_task_passes_the_check_and_instantiates(
    name: str, task: str | None, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    options = ["--data_dir", str(data_dir)] + ([] if task is None else ["--task", task])
    arguments = script_parser(None, name).parse_args(options)
    config = ConfigParser.from_args(arguments, check=check)
    loader = config.init_obj("data_loader", data_loaders, training=True, seed=config["seed"])
    network = config.init_obj("arch", model).eval()
    optimizer = build_optimizer(config, list(network.parameters()))
    build_lr_scheduler(config, optimizer, len(loader))
    embeddings, labels = next(iter(loader))
    logits = network(embeddings)
    assert logits.shape == (len(labels), get(config, "data_loader.args.num_classes"))
    assert torch.isfinite(criterion_of(config)(logits, labels))
    assert int(labels.max()) < logits.shape[1]
    for metric in metrics_of(config):
        assert torch.isfinite(metric(logits, labels))


@pytest.mark.parametrize(
    ("task", "loader", "num_classes"),
    [
        ("gender", "GenderDataLoader", 2),
        ("age8", "AgeDataLoader", 8),
        ("age9", "AgeDataLoader", 9),
        ("age101", "AgeDataLoader", 101),
    ],
)
@pytest.mark.parametrize("name", SHIPPED)
def test_a_task_sets_the_loader_and_the_number_of_classes_in_both_places(
    name: str, task: str, loader: str, num_classes: int
) -> None:
    arguments = script_parser(None, str(ROOT / name)).parse_args(["--task", task])
    config = ConfigParser.from_args(arguments, check=check)
    assert get(config, "data_loader.type") == loader
    assert get(config, "data_loader.args.num_classes") == num_classes
    assert get(config, "arch.args.num_classes") == num_classes


def test_the_shipped_configs_are_what_the_documents_promise() -> None:
    train, cross_val = (read_json(ROOT / name) for name in SHIPPED)
    assert get(train, "data_loader.args.dataset") == "imdb_wiki"
    assert get(train, "data_loader.args.num_classes") == 101
    assert get(train, "data_loader.args.validation_split") == 0.1
    assert get(cross_val, "data_loader.args.dataset") == "Adience"
    assert get(cross_val, "data_loader.args.validation_by") == "auto"
    assert cross_val["checkpoint"] is None


# --- what wins -----------------------------------------------------------------------------------


def test_options_win_over_named_options_over_the_task_over_the_file(
    parse: Parse, tasks: Config, config_path: Path
) -> None:
    named = ("--task", "quick", "--lr", "0.75", "--bs", "11")
    config = parse(*named, "-o", "optimizer.args.lr=1.5", "-o", "trainer.early_stop=3")
    assert get(config, "optimizer.args.lr") == 1.5  # -o over --lr over --task over the file
    assert get(config, "data_loader.args.batch_size") == 11  # --bs over --task over the file
    assert get(config, "trainer.epochs") == tasks["trainer.epochs"]  # --task over the file
    assert get(config, "name") == read_json(config_path)["name"]  # the file
    assert get(parse("--task", "quick"), "optimizer.args.lr") == 0.5
    assert get(parse(*named), "optimizer.args.lr") == 0.75


@pytest.mark.parametrize(
    ("dataset", "num_residuals"),
    [("wiki", 0), ("Adience", 0), ("imdb", 1), ("IMDB_wiki", 1), ("imdb_wiki_adience", 1)],
)
def test_a_task_has_a_residual_network_for_large_data_sets_only(
    dataset: str, num_residuals: int
) -> None:
    for name in SHIPPED:
        options = ["--task", "age101", "-o", f"data_loader.args.dataset={dataset}"]
        arguments = script_parser(None, str(ROOT / name)).parse_args(options)
        config = ConfigParser.from_args(arguments, check=check)
        assert get(config, "arch.args.num_residuals_per_block") == num_residuals


def test_a_task_that_starts_from_a_checkpoint_has_the_network_of_it_unless_an_option_says_other(
    tmp_path: Path,
) -> None:
    shape = {"num_residuals_per_block": 3, "num_blocks": 4, "add_residual": False, "add_IC": False}
    arch = {"type": "ResMLP", "args": {**shape, "dropout": 0.125, "num_classes": 101}}
    path = save_checkpoint(tmp_path / "trained", {"arch": arch}, beside=False)
    options = ["--task", "age8", "-o", f"checkpoint={path}", "-o", "arch.args.num_blocks=3"]
    arguments = script_parser(None, str(ROOT / "cross-val.json")).parse_args(options)
    config = ConfigParser.from_args(arguments)
    network = {**shape, "num_blocks": 3, "dropout": 0.5, "num_classes": 8}
    assert get(config, "arch.args") == {**network, "num_initial_features": 512}


@pytest.mark.parametrize(
    ("options", "path", "expected"),
    [
        (["--lr", "0.5"], "optimizer.args.lr", 0.5),
        (["--learning_rate", "0.5"], "optimizer.args.lr", 0.5),
        (["--bs", "3"], "data_loader.args.batch_size", 3),
        (["--batch_size", "3"], "data_loader.args.batch_size", 3),
        (["--data_dir", "some/where"], "data_loader.args.data_dir", "some/where"),
    ],
)
def test_a_named_option_sets_its_key(
    parse: Parse, options: list[str], path: str, expected: Any
) -> None:
    assert get(parse(*options), path) == expected


@pytest.mark.parametrize(
    ("option", "path", "expected"),
    [
        ("trainer.epochs=3", "trainer.epochs", 3),
        ("amp=false", "amp", False),
        ("optimizer.args.lr=1e-3", "optimizer.args.lr", 0.001),
        ("data_loader.args.dataset=wiki", "data_loader.args.dataset", "wiki"),
        ('data_loader.args.dataset="wiki"', "data_loader.args.dataset", "wiki"),
        ("data_loader.args.limit_data=null", "data_loader.args.limit_data", None),
        ("data_loader.args.data_dir=a=b", "data_loader.args.data_dir", "a=b"),
        ('metrics=["accuracy"]', "metrics", ["accuracy"]),
        ("trainer.monitor=min loss", "trainer.monitor", "min loss"),
        ("optimizer.args.betas=[0.8, 0.9]", "optimizer.args.betas", [0.8, 0.9]),
        ("optimizer;args;lr=0.5", "optimizer.args.lr", 0.5),
        (
            "loss.args.label_smoothing=0.1",
            "loss",
            {"type": "cse", "args": {"label_smoothing": 0.1}},
        ),
        ("lr_scheduler=null", "lr_scheduler", None),
        ('name="5"', "name", "5"),
    ],
)
def test_an_option_is_json_and_else_a_string(
    parse: Parse, option: str, path: str, expected: Any
) -> None:
    value = get(parse("-o", option), path)
    assert value == expected
    assert type(value) is type(expected)


def test_of_two_options_for_one_key_the_last_wins(parse: Parse) -> None:
    assert get(parse("-o", "trainer.epochs=3", "-o", "trainer.epochs=4"), "trainer.epochs") == 4


def test_c_names_another_file(parse: Parse, small_config: MakeConfig, tmp_path: Path) -> None:
    other = write(small_config(**{"trainer.epochs": 17}), tmp_path / "other.json")
    assert get(parse("-c", str(other)), "trainer.epochs") == 17


def test_keys_that_a_config_leaves_out_have_their_defaults(small_config: MakeConfig) -> None:
    content = small_config()
    for key in ("n_gpu", "amp", "checkpoint", "seed", "lr_scheduler"):
        del content[key]
    content["trainer"] = {"epochs": 3}
    config = ConfigParser(content, check=check)
    assert [config[key] for key in ("n_gpu", "amp", "checkpoint", "seed", "lr_scheduler")] == [
        *(1, False, None, 42, None)
    ]
    assert config["trainer"] == {
        "epochs": 3,
        "save_dir": "saved/",
        "save_period": 1,
        "verbosity": 2,
        "monitor": "off",
        "early_stop": 0,
        "tensorboard": False,
    }


def test_a_modification_is_on_top_of_the_config_and_none_leaves_it(
    small_config: MakeConfig,
) -> None:
    changes = {"trainer;epochs": 5, "optimizer.args.lr": None, "seed": 0}
    config = ConfigParser(small_config(), modification=changes, check=check)
    assert get(config, "trainer.epochs") == 5
    assert get(config, "optimizer.args.lr") == get(small_config(), "optimizer.args.lr")
    assert config["seed"] == 0


def test_a_script_may_have_options_of_its_own(
    config_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [
        CustomArg(["-w", "--weight-decay"], float, target="optimizer;args;weight_decay"),
        CustomArg(["-s"], int, target="seed"),
        CustomArg(["--ep", "--epochs"], int, "trainer.epochs"),
    ]
    monkeypatch.setattr("sys.argv", ["x.py", "--weight-decay", "0.5", "-s", "8", "--epochs", "6"])
    parser = script_parser(None, str(config_path))
    config = ConfigParser.from_args(parser, options, check=check)
    assert get(config, "optimizer.args.weight_decay") == 0.5
    assert config["seed"] == 8
    assert get(config, "trainer.epochs") == 6


# --- going on from a checkpoint ------------------------------------------------------------------


def save_checkpoint(folder: Path, config: Config, beside: bool) -> str:
    folder.mkdir(parents=True)
    path = folder / "model_best.pth"
    inside = {**config, "name": "inside"} if beside else config
    torch.save({"state_dict": {}, "config": inside}, path)
    if beside:
        write(config, folder / "config.json")
    return str(path)


@pytest.mark.parametrize("beside", [True, False])
def test_the_config_of_a_checkpoint_is_beside_it_or_else_inside_it(
    parse: Parse, small_config: MakeConfig, tmp_path: Path, beside: bool
) -> None:
    content = small_config(**{"trainer.epochs": 23})
    path = save_checkpoint(tmp_path / "run", content, beside)
    config = parse("-r", path)
    assert config.resume == Path(path)
    assert get(config, "trainer.epochs") == 23
    assert config["name"] == content["name"]


def test_c_and_options_are_on_top_of_the_config_of_a_checkpoint(
    parse: Parse, small_config: MakeConfig, tmp_path: Path
) -> None:
    path = save_checkpoint(tmp_path / "run", small_config(**{"trainer.epochs": 23}), beside=True)
    optimizer = {"type": "SGD", "args": {"lr": 0.125}}
    fine = write({"optimizer": optimizer, "seed": 5}, tmp_path / "fine.json")
    config = parse("-r", path, "-c", str(fine), "-o", "seed=6")
    assert config["optimizer"] == optimizer
    assert config["seed"] == 6
    assert get(config, "trainer.epochs") == 23


def test_a_checkpoint_that_is_missing_or_without_a_config_is_an_error(
    parse: Parse, small_config: MakeConfig, tmp_path: Path
) -> None:
    path = Path(save_checkpoint(tmp_path / "run", small_config(), beside=True))
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        parse("-r", str(path.with_name("other.pth")))
    (path.parent / "config.json").unlink()
    torch.save({"state_dict": {}}, path)
    with pytest.raises(CheckpointError, match="no config inside, and none beside it"):
        parse("-r", str(path))


# --- what is refused -----------------------------------------------------------------------------

# (what is put where, words of the one problem)
BAD_CONFIGS: list[tuple[Config, str]] = [
    ({"trainer.epoch": 3}, "trainer.epoch: unknown key, did you mean epochs?"),
    ({"data_loader.args.batchsize": 3}, "unknown key, did you mean batch_size?"),
    ({"data_loader.args.training": True, "optimiser": {}}, "optimiser: unknown key"),
    ({"data_loader.args.seed": 3}, "data_loader.args.seed: unknown key"),
    ({"trainer.epochs": "3"}, "trainer.epochs: '3', expected a whole number"),
    ({"optimizer.args.lr": "fast"}, "optimizer.args.lr: 'fast', expected a number"),
    ({"optimizer.args.lr": float("nan")}, "optimizer.args.lr: nan is not finite"),
    ({"optimizer.args.lr": float("inf")}, "optimizer.args.lr: inf is not finite"),
    ({"optimizer.args.lr": -1}, "optimizer.args: Invalid learning rate: -1"),
    ({"optimizer.args.betas": [0.9]}, "optimizer.args.betas: [0.9], expected a list"),
    ({"optimizer.args.betas": [0.9, 2]}, "optimizer.args: Invalid beta parameter"),
    ({"optimizer.type": "adamw"}, "unknown type 'adamw', known are ASGD, Adadelta"),
    ({"optimizer.type": "LBFGS"}, "unknown type 'LBFGS', known are ASGD"),
    ({"optimizer.type": "load_state_dict"}, "unknown type 'load_state_dict'"),
    ({"arch.type": "MLP"}, "arch.type: unknown type 'MLP', known are ResMLP"),
    ({"arch.args.dropout": 1}, "arch.args: dropout: 1, expected less than 1"),
    ({"arch.args.num_blocks": 10}, "512 features can be halved at most 9 times"),
    ({"data_loader.type": "FaceDataLoader"}, "known are AgeDataLoader, GenderDataLoader"),
    ({"data_loader.args.dataset": "lfw+"}, "dataset: 'lfw+': '' is no name of a data set"),
    ({"data_loader.args.dataset": "wiki+imdb_wiki"}, "'wiki' occurs twice"),
    ({"data_loader.args.dataset": "a\0b"}, "holds a NUL character"),
    ({"data_loader.args.test_cross_val": 5}, "test_cross_val: 5, expected 4 or less"),
    (
        {"data_loader.args.dataset": "Adience", "data_loader.args.test_cross_val": 5},
        "test_cross_val: 5, expected 4 or less",
    ),
    ({"data_loader.args.batch_size": 0}, "batch_size: 0, expected 1 or more"),
    ({"data_loader.args.batch_size": 1}, "batch_size: 1, but batch norm (add_IC) needs 2"),
    ({"data_loader.args.validation_split": 1.0}, "validation_split: 1.0, expected a fraction"),
    ({"data_loader.args.validation_split": -1}, "validation_split: -1, expected 0 or more"),
    ({"data_loader.args.validation_split": float("nan")}, "validation_split: nan is not finite"),
    (
        {"data_loader.args.validation_by": "person"},
        'validation_by: \'person\', expected "image" or "subject" or "auto"',
    ),
    ({"data_loader.args.num_workers": -1}, "num_workers: -1, expected 0 or more"),
    ({"data_loader.args.limit_data": -5}, "limit_data: -5, expected 1 or more"),
    ({"arch.args.num_classes": 8}, "arch.args.num_classes: 8, but data_loader.args.num_classes is"),
    ({"data_loader.type": "GenderDataLoader", "metrics": []}, "101, GenderDataLoader has 2"),
    ({"data_loader.args.classes": [[0, 2], [2, 9]]}, "classes: [2, 9] does not begin after [0, 2]"),
    ({"data_loader.args.classes": [[0, 2]]}, "classes: [[0, 2]], expected two or more groups"),
    ({"data_loader.args.classes": 9}, "data_loader.args.classes: 9, expected two or more groups"),
    ({"data_loader.args.classes": [[0, 2], [3, 9]]}, "101, but classes has 2; leave it out"),
    ({"loss": "mse"}, "loss: mse does not fit: squared error"),
    ({"loss": {"type": "nll_loss"}}, "nll_loss does not fit: it expects log-probabilities"),
    ({"loss": {"type": ["cse"]}}, "loss.type: unknown type ['cse'], known are cse"),
    (
        {"loss": {"type": "cse", "args": {"label_smoothing": 1}}},
        "1, expected less than 1",
    ),
    (
        {"loss": {"type": "cse", "args": {"soft_ordinal_years": -1}}},
        "-1, expected 0 or more",
    ),
    ({"metrics": ["acc"]}, "metrics: unknown metric 'acc', known are accuracy, accuracy_relaxed"),
    ({"metrics": [["accuracy"]]}, "metrics: unknown metric ['accuracy']"),
    ({"metrics": ["mae", "mae"]}, "metrics: ['mae', 'mae'], one of them occurs twice"),
    ({"trainer.monitor": "min val_los"}, "expected off, or min or max and one of loss"),
    ({"trainer.monitor": "low val_loss"}, "expected off, or min or max and one of loss"),
    ({"trainer.monitor": "off", "trainer.early_stop": 5}, "5, but trainer.monitor is off"),
    ({"trainer.verbosity": 3}, "trainer.verbosity: 3, expected 2 or less"),
    ({"name": "a/b"}, "name: 'a/b' names folders"),
    ({"name": ".."}, "name: '..' names folders"),
    ({"name": " "}, "name: ' ' names folders"),
    ({"lr_scheduler": {"type": "LambdaLR"}}, "unknown type 'LambdaLR', known are ConstantLR"),
    ({"lr_scheduler": {"type": "StepLR"}}, "lr_scheduler.args.step_size: missing"),
    (
        {"lr_scheduler": {"type": "OneCycleLR", "args": {"pct_start": 2}}},
        "lr_scheduler.args: Expected float between 0 and 1 pct_start",
    ),
    ({"seeds": [0, 0]}, "seeds: [0, 0], one of them occurs twice"),
    ({"seeds": ["a"]}, "seeds.0: 'a', expected a whole number"),
    ({"seeds": []}, "seeds: [], expected at least 1"),
    ({"num_cross_val": 6}, "num_cross_val: 6, imdb_wiki has 5 folds"),
    ({"num_cross_val": 128}, "num_cross_val: 128, expected 127 or less"),
    ({"arch.args.add_ic": True}, "arch.args.add_ic: unknown key, did you mean add_IC?"),
    ({"optimizer.args.lrr": 1}, "optimizer.args.lrr: unknown key, did you mean lr?"),
    (
        {"lr_scheduler": {"type": "StepLR", "args": {"step_size": 3, "gama": 1}}},
        "lr_scheduler.args.gama: unknown key, did you mean gamma?",
    ),
    ({"arch.args.num_initial_features": 256}, "256, but embeddings are 512 wide"),
    ({"data_loader.args.limit_data": 0}, "limit_data: 0, expected 1 or more"),
    ({"optimizer": {"type": "Muon"}}, "unknown type 'Muon', known are ASGD"),
    (
        {"lr_scheduler": {"type": "StepLR", "args": {"step_size": 0}}},
        "lr_scheduler.args: integer modulo by zero",
    ),
    ({"trainer.epochs": 10**400}, "trainer.epochs: 1000"),
    ({"seeds": [2**64]}, "seeds.0: 18446744073709551616, expected 9223372036854775807 or less"),
    ({"name": "a\0b"}, "names folders"),
    ({"name": "a\udcff"}, "names folders"),
    ({"name": "a\nb"}, "names folders"),
    ({"optimizer.args.lr": 0}, "optimizer.args.lr: 0, expected more than 0"),
    ({"optimizer.args.lr": 1e30}, "optimizer.args.lr: 1e+30, expected 1000000000000 or less"),
    ({"optimizer.args.lr": 10**30}, "expected 9223372036854775807 or less"),
    ({"optimizer.args.weight_decay": -1e30}, "-1e+30, expected -1000000000000 or more"),
    ({"optimizer.args.betas": [1e30, 0.9]}, "1e+30, expected 1000000000000 or less"),
    ({"loss": {"type": "cse", "args": {"soft_ordinal_years": 101}}}, "101, expected 100 or less"),
    (
        {"lr_scheduler": {"type": "MultiStepLR", "args": {"milestones": [1, 1e30]}}},
        "milestones: 1e+30, expected 1000000000000 or less",
    ),
    ({"data_loader.args.batch_size": 1e30}, "batch_size: 1e+30, expected"),
    ({"data_loader.args.num_workers": 1025}, "num_workers: 1025, expected 1024 or less"),
    ({"data_loader.args.validation_split": 10**30}, "expected 9223372036854775807 or less"),
    ({"trainer.epochs": 1e30}, "trainer.epochs: 1e+30, expected a whole number"),
    ({"trainer.epochs": 10**6 + 1}, "trainer.epochs: 1000001, expected 1000000 or less"),
    ({"n_gpu": 1e30}, "n_gpu: 1e+30, expected a whole number"),
]


@pytest.mark.parametrize(("changes", "words"), BAD_CONFIGS)
def test_a_bad_config_is_one_line_that_says_what_is_wrong(
    small_config: MakeConfig, changes: Config, words: str
) -> None:
    ConfigParser(small_config(**KNOWN), check=check)
    with pytest.raises(ConfigError) as caught:
        ConfigParser(small_config(**{**KNOWN, **changes}), check=check)
    assert words in str(caught.value)
    assert str(caught.value).startswith("config: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"metrics": ["mae"]}, "mae is for ages, the loader gives genders"),
        ({"metrics": ["cs5"]}, "cs5 is for ages"),
        ({"metrics": ["one_off_accuracy"]}, "one_off_accuracy is for ages"),
        ({"metrics": ["accuracy_relaxed"]}, "accuracy_relaxed needs 101 classes, not 2"),
        ({"loss": {"type": "cse", "args": {"soft_ordinal_years": 2}}}, "genders have no order"),
        ({"loss": {"type": "cse", "args": {"expected_age_weight": 1}}}, "genders have no order"),
        ({"data_loader.args.classes": [[0, 17], [18, 99]]}, "GenderDataLoader gives genders"),
    ],
)
def test_what_is_for_ages_is_refused_for_genders(
    small_config: MakeConfig, changes: Config, words: str
) -> None:
    gender = {
        **KNOWN,
        "data_loader.type": "GenderDataLoader",
        "data_loader.args.num_classes": 2,
        "arch.args.num_classes": 2,
    }
    ConfigParser(small_config(**gender), check=check)
    with pytest.raises(ConfigError, match=words):
        ConfigParser(small_config(**{**gender, **changes}), check=check)


def test_all_problems_are_in_one_message(small_config: MakeConfig) -> None:
    config = small_config(
        **{
            **KNOWN,
            "loss": "mse",
            "trainer.epoch": 3,
            "trainer.epochs": 0,
            "optimizer.type": "Adamw",
            "n_gpu": "1",
            "seed": -1,
        }
    )
    del config["name"]
    with pytest.raises(ConfigError) as caught:
        ConfigParser(config, check=check)
    first, *problems = str(caught.value).splitlines()
    assert first == "config: 7 problems"
    assert sorted(problem.split(":")[0].strip() for problem in problems) == [
        *("loss", "n_gpu", "name", "optimizer.type", "seed", "trainer.epoch", "trainer.epochs")
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-o", "trainer.epoch=3"], r"trainer\.epoch: unknown key, did you mean epochs\?"),
        (["-o", "trainr.epochs=3"], r"trainr: unknown key, did you mean trainer\?"),
        (["-o", "name.first=3"], "name.first: name has no keys below it"),
        (["-o", "trainer.epochs.x=3"], r"trainer\.epochs has no keys below it"),
        (["-o", "metrics.0=mae"], "metrics has no keys below it"),
        (["-o", "trainer.epochs"], r"-o trainer\.epochs: expected KEY=VALUE"),
        (["-o", "=3"], "expected KEY=VALUE"),
        (["-o", "trainer.epochs=three"], "'three', expected a whole number"),
        (["-o", "optimizer.args.lr=NaN"], "nan is not finite"),
        (["-o", "optimizer.args.lr=1e999"], "inf is not finite"),
        (["-o", "name=" + "[" * 100_000], r"-o name=\[.*the value is nested more than 64 deep"),
        (["-o", "name=" + "[" * 900 + "]" * 900], "the value is nested more than 64 deep"),
        (["-o", "seed=" + "9" * 5000], "the value holds a whole number of thousands of digits"),
        (["-o", "seed=" + "9" * 4000], r"seed: 999.*\.\.\., expected 9223372036854775807 or less"),
        (["-o", "a." * 900 + "b=1"], "more than 64 keys below each other"),
        (["-o", "x" * 5000], r"-o xxx.*\.\.\.: expected KEY=VALUE"),
        (["-o", "x" * 5000 + "=1"], r"xxx.*\.\.\.: unknown key"),
        (["-o", "name=" + "x" * 5000], r"name: 'xxx.*\.\.\. names folders"),
        (["-o", "trainer.monitor=" + "x" * 5000], r"trainer\.monitor: 'xxx.*\.\.\., expected off"),
        (["-o", 'loss={"type": "cse", "type": "cse"}'], "the value names the key 'type' twice"),
        (["--task", "x" * 5000], r"--task xxx.*\.\.\.: unknown task"),
        (["-o", "name=5"], "name: 5, expected a string"),
        (["--task", "age100"], r"--task age100: unknown task, did you mean age101\?"),
        (["--task", "x"], "unknown task, known are age101, age8, age9, gender"),
        (["-c", "absent.json"], r"absent\.json: no such file"),
        (["-d", "gpu"], "-d gpu: expected cpu, or indices of GPUs"),
        (["-d", ""], "expected cpu, or indices of GPUs"),
        (["-d", "0,x"], "expected cpu, or indices of GPUs"),
    ],
)
def test_a_bad_option_is_one_line(parse: Parse, options: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parse(*options)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{\n  "name": "a",\n  "seed" 3\n}', r"bad\.json is not JSON: .* at line 3, column 10"),
        ("", "line 1, column 1"),
        ("[1, 2]", "a JSON object was expected, got list"),
        ("null", "a JSON object was expected, got NoneType"),
    ],
)
def test_a_file_that_is_no_config_is_one_line(
    parse: Parse, tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        parse("-c", str(write(text, tmp_path / "bad.json")))


def test_without_any_config_the_options_that_name_one_are_said() -> None:
    arguments = script_parser(None, None).parse_args([])
    with pytest.raises(ConfigError, match="a checkpoint with -r, or a config with -c"):
        ConfigParser.from_args(arguments)


@pytest.mark.parametrize(
    ("device", "visible"),
    [("cpu", ""), ("0", "0"), ("1,3", "1,3"), ("cuda:2", "2"), ("0, 1", "0, 1")],
)
def test_d_hides_all_other_gpus(parse: Parse, device: str, visible: str) -> None:
    parse("-d", device)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == visible


def test_without_d_the_gpus_stay_as_they_are(parse: Parse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    parse()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "5"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.b", {"a": {"b": 1}, "c": None, "d": "cse", "e": {"f": 2}}),
        ("c.x.y", {"a": None, "c": {"x": {"y": 1}}, "d": "cse", "e": {"f": 2}}),
        ("e;f", {"a": None, "c": None, "d": "cse", "e": {"f": 1}}),
        ("d.type", {"a": None, "c": None, "d": {"type": 1, "args": {}}, "e": {"f": 2}}),
        (
            "d.args.z",
            {"a": None, "c": None, "d": {"type": "cse", "args": {"z": 1}}, "e": {"f": 2}},
        ),
        ("d", {"a": None, "c": None, "d": 1, "e": {"f": 2}}),
    ],
)
def test_a_value_is_set_by_its_path(path: str, expected: Config) -> None:
    config: Config = {"a": None, "c": None, "d": "cse", "e": {"f": 2}}
    set_by_path(config, path, 1)
    assert config == expected


# --- what never changes --------------------------------------------------------------------------


def test_reading_gives_copies(small_config: MakeConfig) -> None:
    content = small_config()
    config = ConfigParser(content, check=check)
    before = copy.deepcopy(config.config)
    config["arch"]["args"]["dropout"] = 0.99
    config["metrics"].append("x")
    config.config["trainer"].clear()
    content["optimizer"]["args"]["lr"] = 99
    assert config.config == before


def test_what_a_modification_holds_can_change_later_without_effect(
    small_config: MakeConfig,
) -> None:
    arguments = {"lr": 0.5}
    config = ConfigParser(small_config(), modification={"optimizer.args": arguments}, check=check)
    arguments["lr"] = 0.75
    assert get(config, "optimizer.args.lr") == 0.5


def test_a_config_cannot_be_assigned_to(small_config: MakeConfig) -> None:
    config: Any = ConfigParser(small_config())
    with pytest.raises(TypeError):
        config["seed"] = 3
    with pytest.raises(AttributeError):
        config.config = {}


# --- objects -------------------------------------------------------------------------------------


def record(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return args, kwargs


MODULE = argparse.Namespace(ResMLP=record, cse=record)


def test_an_object_is_made_with_the_arguments_of_the_config_and_of_the_call(
    small_config: MakeConfig,
) -> None:
    config = ConfigParser(small_config())
    arguments = get(config, "arch.args")
    assert config.init_obj("arch", MODULE, 1, 2, more=3) == ((1, 2), {**arguments, "more": 3})
    function = config.init_ftn("arch", MODULE, 1, more=3)
    assert function(2, last=4) == ((1, 2), {**arguments, "more": 3, "last": 4})


def test_a_section_that_is_a_bare_name_has_no_arguments(small_config: MakeConfig) -> None:
    config = ConfigParser(small_config(loss="cse"))
    assert config.init_ftn("loss", MODULE)(1) == ((1,), {})
    config = ConfigParser(small_config(loss={"type": "cse"}))
    assert config.init_obj("loss", MODULE) == ((), {})


@pytest.mark.parametrize("name", ["init_obj", "init_ftn"])
def test_an_argument_that_the_config_sets_cannot_be_passed(
    small_config: MakeConfig, name: str
) -> None:
    config = ConfigParser(small_config())
    with pytest.raises(ConfigError, match=r"arch\.args\.dropout is set by the program"):
        getattr(config, name)("arch", MODULE, dropout=0.5)


def test_an_object_cannot_change_the_config_through_its_arguments(
    small_config: MakeConfig,
) -> None:
    config = ConfigParser(small_config(**{**KNOWN, "optimizer.args.betas": [0.9, 0.99]}))
    _, kwargs = config.init_obj("optimizer", argparse.Namespace(AdamW=record))
    kwargs["betas"].clear()
    assert get(config, "optimizer.args.betas") == [0.9, 0.99]


# --- run folders ---------------------------------------------------------------------------------


def test_nothing_is_written_before_a_run_is_created(
    small_config: MakeConfig, tmp_path: Path
) -> None:
    config = ConfigParser(small_config(), check=check)
    config.get_logger("x").info("a line")
    assert not (tmp_path / "saved").exists()
    with pytest.raises(RuntimeError, match="create_run"):
        _ = config.save_dir


def test_a_run_leaves_the_config_that_ran(small_config: MakeConfig, tmp_path: Path) -> None:
    config = ConfigParser(small_config(name="a name"), modification={"seed": 9}, check=check)
    config.create_run()
    assert config.save_dir == tmp_path / "saved" / "models" / "a name" / config.run_id
    assert config.log_dir == tmp_path / "saved" / "log" / "a name" / config.run_id
    assert read_json(config.save_dir / "config.json") == config.config
    assert ConfigParser(read_json(config.save_dir / "config.json"), check=check).config == (
        config.config
    )


def test_run_ids_of_one_second_are_unique(
    small_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> "Clock":
            return cls(2021, 7, 21, 11, 44, 35)

    monkeypatch.setattr(run_folders, "datetime", Clock)
    run_ids = []
    for _ in range(3):
        config = ConfigParser(small_config())
        config.create_run()
        run_ids.append(config.run_id)
    assert run_ids == ["20210721_114435", "20210721_114435-2", "20210721_114435-3"]
    paths = [write_claimed_json({}, tmp_path, "_results.json") for _ in range(2)]
    assert [path.name for path in paths] == [
        "20210721_114435_results.json",
        "20210721_114435-2_results.json",
    ]


def test_a_run_id_that_is_given_is_taken_once(small_config: MakeConfig) -> None:
    ConfigParser(small_config(), run_id="mine").create_run()
    again = ConfigParser(small_config(seed=7), run_id="mine")
    with pytest.raises(FileExistsError):
        again.create_run()
    assert read_json(again.save_dir / "config.json")["seed"] != 7


@pytest.mark.parametrize(("verbosity", "lines"), [(0, "w"), (1, "iw"), (2, "diw")])
def test_the_verbosity_of_the_config_filters_the_log(
    small_config: MakeConfig,
    program_log: pytest.LogCaptureFixture,
    verbosity: int,
    lines: str,
) -> None:
    logger = ConfigParser(small_config(**{"trainer.verbosity": verbosity})).get_logger("part")
    logger.debug("d")
    logger.info("i")
    logger.warning("w")
    assert "".join(program_log.messages) == lines


@pytest.mark.parametrize(("name", "task"), [("train.json", "age101"), ("cross-val.json", "age8")])
def test_a_shipped_config_holds_the_recipe_of_its_task(name: str, task: str) -> None:
    config = read_json(ROOT / name)
    for path, value in task_settings(task, get(config, "data_loader.args.dataset")).items():
        assert get(config, path) == value
