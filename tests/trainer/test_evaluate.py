import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import MakeConfig, RunScript
from helpers import TINY, Config, nan_from, read, run_dirs, train
from processors import ALL, Processor
from torch.nn import functional

from base import device as device_module
from base.base_data_loader import BaseDataLoader
from base.device import Precision
from cross_val.cross_validate import cross_validate
from model.loss import cse
from model.metric import accuracy, mae
from model.model import ResMLP
from trainer.check import check
from trainer.evaluate import evaluate
from trainer.evaluate_checkpoint import evaluate_checkpoint
from trainer.fit import prepare
from utils.config import ConfigParser
from utils.errors import CheckpointError, ConfigError, DataError, DivergedError
from utils.scripts import export_model

FLOAT32 = Precision("cpu", torch.float32)


def results_of(path: Path, split: str | None = None, **changes: Any) -> dict[str, Any]:
    """Evaluate a checkpoint as test.py does."""
    config = read(path)["config"]
    return evaluate_checkpoint(ConfigParser(config, path, changes, check=check), split)


# --- the one evaluation ---------------------------------------------------------------------------


def loader_and_model(small_config: MakeConfig, **overrides: Any) -> tuple[BaseDataLoader, ResMLP]:
    setup = prepare(ConfigParser(small_config(**{**TINY, **overrides})))
    assert isinstance(setup.model, ResMLP)
    return setup.train_loader, setup.model


def test_values_are_sums_over_samples_divided_once(
    small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """70 of 270 rows, in batches of 32: the last one, of six, weighs what six samples weigh."""
    monkeypatch.setattr("base.base_data_loader.EVALUATION_BATCH_SIZE", 32)
    loader, model = loader_and_model(small_config)
    part = loader.unshuffled(loader.rows[:70])
    assert [len(labels) for _, labels in part] == [32, 32, 6]
    found = evaluate(model, part, cse, [accuracy, mae], FLOAT32)
    embeddings, labels = loader.dataset.__getitems__(torch.from_numpy(part.rows))  # type: ignore[attr-defined]
    with torch.no_grad():
        logits = model(embeddings)
    shares = torch.softmax(logits.double(), 1).numpy()
    error = np.abs(shares @ np.arange(101.0) - labels.numpy())
    assert found == pytest.approx(
        {
            "loss": functional.cross_entropy(logits, labels).item(),
            "accuracy": (logits.argmax(1) == labels).double().mean().item(),
            "mae": error.mean(),
        },
        rel=1e-5,
    )
    uneven = np.mean([error[:32].mean(), error[32:64].mean(), error[64:].mean()])
    assert abs(uneven - error.mean()) > 1e-3


def test_evaluation_changes_neither_weights_nor_random_numbers(small_config: MakeConfig) -> None:
    loader, model = loader_and_model(small_config)
    model.train()
    weights = {name: weight.clone() for name, weight in model.state_dict().items()}
    state = torch.get_rng_state()
    first = evaluate(model, loader.unshuffled(loader.rows), cse, [accuracy], FLOAT32)
    assert first == evaluate(model, loader.unshuffled(loader.rows), cse, [accuracy], FLOAT32)
    assert torch.equal(torch.get_rng_state(), state)
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, weights[name]), name


def test_a_loss_that_is_no_number_is_an_error(small_config: MakeConfig) -> None:
    loader, model = loader_and_model(small_config)
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    with pytest.raises(DivergedError, match="nan"):
        evaluate(model, loader.unshuffled(loader.rows), cse, [accuracy], FLOAT32)


def test_one_row_can_be_evaluated_for_all_that_batch_norm_learns_from_two(
    small_config: MakeConfig,
) -> None:
    loader, model = loader_and_model(small_config)
    found = evaluate(model, loader.unshuffled(loader.rows[:1]), cse, [accuracy], FLOAT32)
    assert np.isfinite(found["loss"])


# --- the same number everywhere -------------------------------------------------------------------


@pytest.mark.parametrize("amp", [False, True])
@pytest.mark.parametrize("processor", ALL, ids=str)
@pytest.mark.parametrize("name", ["train.json", "cross-val.json"])
def test_the_validation_values_are_those_that_training_logged(
    name: str,
    processor: Processor,
    amp: bool,
    small_config: MakeConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    processor.stand_in(monkeypatch)
    monkeypatch.setattr(device_module, "BFLOAT16_FROM", 1)
    run = train(small_config(name, **{**TINY, "amp": amp}))
    results = results_of(run.fitted.best_path, "val")
    for key, value in run.fitted.best_log.items():
        if key.startswith("val_"):
            assert results[key.removeprefix("val_")] == value
    assert results["num_samples"] == len(run.fitted.setup.train_loader.validation_rows)


def test_the_values_of_cross_validation_are_those_of_every_split(
    cross_val_config: Config,
) -> None:
    study = cross_validate(ConfigParser(cross_val_config, check=check), seed=1)
    for fold in ("0", "1"):
        path = Path(study["checkpoints"]["1"][fold])
        for split in ("train", "val", "test"):
            results = results_of(path, split)
            stats = study["stats"]["1"][split][fold]
            assert {name: results[name] for name in stats} == stats
            assert results["test_cross_val"] == int(fold)


def test_an_exported_model_gives_the_same_values(small_config: MakeConfig, tmp_path: Path) -> None:
    run = train(small_config(**TINY))
    export_model(run.fitted.best_path, tmp_path / "models" / "age.pth")
    exported = results_of(tmp_path / "models" / "age.pth", "val")
    assert exported["loss"] == run.fitted.best_log["val_loss"]


# --- splits and data sets -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "split", "expected_split", "num_samples"),
    [
        ({}, "train", "train", 270),
        ({}, "val", "val", 30),
        ({}, "all", "all", 300),
        ({}, None, "val", 30),
        ({"data_loader.args.validation_split": 0}, None, "all", 300),
        ({"data_loader.args.dataset": "wiki"}, "all", "all", 100),
        ({"data_loader.args.dataset": "imdb"}, "all", "all", 200),
        ({"data_loader.args.dataset": "Adience"}, "all", "all", 300),
        ({"data_loader.args.dataset": "imdb_wiki_adience"}, "all", "all", 600),
        (
            {"data_loader.args.dataset": "adience", "data_loader.args.test_cross_val": 3},
            None,
            "test",
            60,
        ),
        ({"data_loader.args.limit_data": 1}, "all", "all", 1),
        (
            {"data_loader.args.limit_data": 2, "data_loader.args.validation_split": 1},
            "train",
            "train",
            1,
        ),
    ],
)
def test_the_rows_are_those_of_the_split_and_of_the_data_set(
    changes: Config,
    split: str | None,
    expected_split: str,
    num_samples: int,
    small_config: MakeConfig,
) -> None:
    run = train(small_config(**TINY))
    results = results_of(run.fitted.best_path, split, **changes)
    assert (results["split"], results["num_samples"]) == (expected_split, num_samples)
    assert np.isfinite([results["loss"], results["accuracy"], results["mae"]]).all()


def test_training_and_validation_rows_make_up_all_rows(small_config: MakeConfig) -> None:
    path = train(small_config(**TINY)).fitted.best_path
    parts = {split: results_of(path, split) for split in ("train", "val", "all")}
    for name in ("loss", "accuracy", "mae"):
        weighed = sum(
            parts[split][name] * parts[split]["num_samples"] for split in ("train", "val")
        )
        assert parts["all"][name] == pytest.approx(weighed / 300, rel=1e-6)


def test_a_held_out_fold_is_tested_by_default_and_all_means_all_folds(
    cross_val_config: Config,
) -> None:
    study = cross_validate(ConfigParser(cross_val_config, check=check), seed=0, fold=1)
    path = Path(study["checkpoints"]["0"]["1"])
    default = results_of(path)
    assert (default["split"], default["loss"]) == ("test", study["stats"]["test_loss_mean"])
    assert results_of(path, "all")["num_samples"] == 300


# --- what test.py writes --------------------------------------------------------------------------


def test_test_py_prints_and_writes_loss_and_metrics(
    small_config: MakeConfig, tmp_path: Path, run_script: RunScript
) -> None:
    config = small_config(**TINY)
    best = train(config).fitted.best_path
    options = ("-o", "data_loader.args.dataset=wiki", "-o", "trainer.verbosity=1")
    outcome = run_script("test.py", "-r", best, "--split", "all", *options)
    assert (outcome.code, outcome.err) == (0, "")
    (path,) = (tmp_path / "saved").glob("*_test-results.json")
    assert f"Written: {path}" in outcome.out
    results = json.loads(path.read_text(encoding="utf-8"))
    assert results["checkpoint"] == str(best)
    assert (results["dataset"], results["split"], results["num_samples"]) == ("wiki", "all", 100)
    assert results["config"]["data_loader"]["args"]["dataset"] == "wiki"
    for name in ("loss", *config["metrics"]):
        assert name in outcome.out.split()
        assert f"{results[name]:.4f}" in outcome.out


def test_every_evaluation_writes_a_file_of_its_own(
    small_config: MakeConfig, tmp_path: Path
) -> None:
    best = train(small_config(**TINY)).fitted.best_path
    for _ in range(3):
        results_of(best, "val")
    assert len(list((tmp_path / "saved").glob("*_test-results.json"))) == 3


def test_the_results_are_printed_whatever_the_verbosity_of_the_training(
    small_config: MakeConfig, run_script: RunScript
) -> None:
    """Cross-validation trains in silence, and test.py takes its config."""
    best = train(small_config(**{**TINY, "trainer.verbosity": 0})).fitted.best_path
    outcome = run_script("test.py", "-r", best, "--split", "val")
    assert "accuracy" in outcome.out
    assert "Written: " in outcome.out


def test_an_evaluation_writes_nothing_when_it_fails(
    small_config: MakeConfig, tmp_path: Path
) -> None:
    best = train(small_config(**{**TINY, "data_loader.args.validation_split": 0})).fitted.best_path
    with pytest.raises(DataError, match="validation_split"):
        results_of(best, "val")
    assert not list((tmp_path / "saved").glob("*_test-results.json"))


# --- what is refused ------------------------------------------------------------------------------


def test_no_checkpoint_no_evaluation(small_config: MakeConfig) -> None:
    with pytest.raises(ConfigError, match="-r"):
        evaluate_checkpoint(ConfigParser(small_config(), check=check))


def test_a_set_without_folds_has_no_test_split(small_config: MakeConfig) -> None:
    best = train(small_config(**TINY)).fitted.best_path
    with pytest.raises(DataError, match="imdb_wiki has no test fold"):
        results_of(best, "test")


def test_a_network_of_another_arch_than_the_checkpoints_is_explained(
    small_config: MakeConfig,
) -> None:
    best = train(small_config(**TINY)).fitted.best_path
    with pytest.raises(CheckpointError, match="'num_blocks': 1"):
        results_of(best, "val", **{"arch.args.num_blocks": 2})


def test_the_best_of_a_run_that_diverged_later_can_be_evaluated(
    small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config(**TINY)
    with monkeypatch.context() as patch:
        nan_from(patch, 6)
        with pytest.raises(DivergedError):
            train(config)
    assert np.isfinite(results_of(run_dirs(config)[0] / "model_best.pth", "val")["loss"])
