"""Time to quality on real faces: the shipped recipes beside the original's."""

import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from base.epoch_files import BEST_NAME, Log
from benchmarks import recipes
from benchmarks.stock import stock_training
from trainer.data import training_loader
from trainer.fit import prepare
from trainer.trainer import Trainer
from utils.checkpoint import load_checkpoint
from utils.config import ConfigParser
from utils.weights import load_weights

COLUMNS = ("task", "original", "its time", "ours", "its time", "to equal", "share")


def report_quality(data_dir: Path) -> None:
    """Time the shipped recipes to the test accuracy that the original's reach, on real faces.

    Both train on imdb_wiki and are tested on the people of Adience, whom they have not seen.
    """
    print("\ntime to quality on real faces, median of 3 seeds: train on imdb_wiki, test on Adience")
    print("".join(f"{column:>11}" for column in COLUMNS))
    for task in ("gender", "age8"):
        runs = [compare(data_dir, task, seed) for seed in range(3)]
        original, original_s, ours, ours_s, reached_s, share = (
            statistics.median(values) for values in zip(*runs, strict=True)
        )
        cells = [task, f"{original:.4f}", f"{original_s:.1f} s", f"{ours:.4f}", f"{ours_s:.1f} s"]
        cells += [f"{reached_s:.1f} s", f"{share:.2f}"]
        print("".join(f"{cell:>11}" for cell in cells), flush=True)


def compare(data_dir: Path, task: str, seed: int) -> tuple[float, ...]:
    """Return what the columns show, of one seed."""
    with tempfile.TemporaryDirectory() as folder:
        changes = {
            "seed": seed,
            "data_loader.args.data_dir": str(data_dir),
            "data_loader.args.dataset": "imdb_wiki",
            "trainer.save_dir": folder,
        }
        config = recipes.quiet_config(recipes.shipped(task), changes)
        whole = {"data_loader.args.dataset": "Adience", "data_loader.args.validation_split": 0}
        test = all_rows(recipes.quiet_config(recipes.shipped(task), {**changes, **whole}))
        original, original_s = run_original(config, task, test)
        ours, ours_s, reached_s = run_ours(config, test, original)
    return original, original_s, ours, ours_s, reached_s, reached_s / original_s


def all_rows(config: ConfigParser) -> tuple[Tensor, Tensor]:
    """Read all rows of a config without validation."""
    loader = training_loader(config)
    return recipes.rows_of(loader, torch.from_numpy(loader.rows))


def accuracy_of(model: nn.Module, test: tuple[Tensor, Tensor]) -> float:
    """Return the accuracy on embeddings and labels."""
    model.eval()
    with torch.no_grad():
        return float((model(test[0]).argmax(1) == test[1]).float().mean())


def run_original(
    config: ConfigParser, task: str, test: tuple[Tensor, Tensor]
) -> tuple[float, float]:
    """Train the original's recipe the stock way; return its test accuracy and its seconds."""
    loader = training_loader(config)
    train_rows, valid_rows = (
        recipes.rows_of(loader, torch.from_numpy(indices))
        for indices in (loader.rows, loader.validation_rows)
    )
    start = time.perf_counter()
    model = stock_training(train_rows, valid_rows, recipes.original(task), config["seed"])
    seconds = time.perf_counter() - start
    return accuracy_of(model, test), seconds


def run_ours(
    config: ConfigParser, test: tuple[Tensor, Tensor], goal: float
) -> tuple[float, float, float]:
    """Train the shipped recipe; return its test accuracy, its seconds, and those until `goal`.

    Testing after each epoch is not counted. Infinite where the goal is not reached.
    """
    start, reached_s, testing_s = time.perf_counter(), float("inf"), 0.0

    def after_epoch(_: Log) -> None:
        nonlocal reached_s, testing_s
        before = time.perf_counter()
        if accuracy_of(trainer.setup.model, test) >= goal:
            reached_s = min(reached_s, before - start - testing_s)
        testing_s += time.perf_counter() - before

    setup = prepare(config)
    config.create_run()
    trainer = Trainer(setup, config, after_epoch)
    trainer.train()
    total_s = time.perf_counter() - start - testing_s
    load_weights(setup.model, load_checkpoint(config.save_dir / BEST_NAME))
    return accuracy_of(setup.model, test), total_s, reached_s
