"""Time to quality on real faces: the shipped recipes beside the original's."""

import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from base.base_data_loader import BaseDataLoader
from base.base_trainer import Log
from base.resume import BEST_NAME
from benchmarks.stock import ORIGINAL_RECIPES, stock_training
from data_loader.dataset import FaceDataset
from trainer.check import check
from trainer.fit import prepare, training_loader
from trainer.trainer import Trainer
from utils.checkpoint import load_checkpoint, load_weights
from utils.config import ConfigParser
from utils.files import read_json
from utils.options import TASKS_PATH, task_settings

TRAIN_CONFIG = TASKS_PATH.parent.parent / "train.json"


def report_quality(real_dir: Path) -> None:
    """Time the shipped recipe to the test accuracy that the original's reaches, on real faces.

    Both train on imdb_wiki and are tested on the people of Adience, whom they have not seen.
    """
    print("\ntime to quality on real faces, median of 3 seeds: train on imdb_wiki, test on Adience")
    columns = ("task", "original", "its time", "ours", "its time", "to equal", "share")
    print("".join(f"{column:>11}" for column in columns))
    for task in ORIGINAL_RECIPES:
        runs = []
        for seed in range(3):
            original, original_s = run_original(real_dir, task, seed)
            ours, ours_s, reached_s = run_ours(real_dir, task, seed, original)
            runs.append((original, original_s, ours, ours_s, reached_s, reached_s / original_s))
        row = [statistics.median(column) for column in zip(*runs, strict=True)]
        shares = [f"{row[0]:.4f}", f"{row[1]:.1f} s", f"{row[2]:.4f}", f"{row[3]:.1f} s"]
        cells = [task, *shares, f"{row[4]:.1f} s", f"{row[5]:.2f}"]
        print("".join(f"{cell:>11}" for cell in cells), flush=True)


def rows_of(loader: BaseDataLoader, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Give embeddings and labels of some rows of a loader's data set."""
    dataset = loader.dataset
    assert isinstance(dataset, FaceDataset)
    return dataset.__getitems__(rows)


def task_config(real_dir: Path, task: str, seed: int, folder: str) -> ConfigParser:
    """Make the config of a task as `--task` makes it, on imdb_wiki."""
    changes = {
        "seed": seed,
        "data_loader.args.data_dir": str(real_dir),
        "data_loader.args.dataset": "imdb_wiki",
        "trainer.save_dir": folder,
        "trainer.verbosity": 0,
        "trainer.tensorboard": False,
    }
    return ConfigParser(
        read_json(TRAIN_CONFIG), modification={**task_settings(task), **changes}, check=check
    )


def adience_rows(config: ConfigParser) -> tuple[Tensor, Tensor]:
    """Read all faces of Adience for the config's task."""
    content = config.config
    content["data_loader"]["args"] |= {"dataset": "Adience", "validation_split": 0}
    loader = training_loader(ConfigParser(content))
    return rows_of(loader, torch.from_numpy(loader.rows))


def share_right(model: nn.Module, embeddings: Tensor, labels: Tensor) -> float:
    """Give the accuracy."""
    model.eval()
    with torch.no_grad():
        return float((model(embeddings).argmax(1) == labels).float().mean())


def run_ours(real_dir: Path, task: str, seed: int, goal: float) -> tuple[float, float, float]:
    """Train the shipped recipe; give its test accuracy, its seconds, and those until `goal`.

    Testing after each epoch is not counted. Infinite where the goal is not reached.
    """
    with tempfile.TemporaryDirectory() as folder:
        config = task_config(real_dir, task, seed, folder)
        test = adience_rows(config)
        clock, reached_s, testing_s = time.perf_counter(), float("inf"), 0.0

        def look(_: Log) -> None:
            nonlocal reached_s, testing_s
            start = time.perf_counter()
            if share_right(trainer.setup.model, *test) >= goal:
                reached_s = min(reached_s, start - clock - testing_s)
            testing_s += time.perf_counter() - start

        setup = prepare(config)
        config.create_run()
        trainer = Trainer(setup, config, look)
        trainer.train()
        total_s = time.perf_counter() - clock - testing_s
        best = load_checkpoint(config.save_dir / BEST_NAME)
        load_weights(setup.model, best)
        return share_right(setup.model, *test), total_s, reached_s


def run_original(real_dir: Path, task: str, seed: int) -> tuple[float, float]:
    """Train the original's recipe the stock way; give its test accuracy and its seconds."""
    recipe = ORIGINAL_RECIPES[task]
    with tempfile.TemporaryDirectory() as folder:
        config = task_config(real_dir, task, seed, folder)
        test, data = adience_rows(config), training_loader(config)
    train_rows, valid_rows = torch.from_numpy(data.rows), torch.from_numpy(data.validation_rows)
    start = time.perf_counter()
    model = stock_training(rows_of(data, train_rows), rows_of(data, valid_rows), recipe, seed)[0]
    seconds = time.perf_counter() - start
    return share_right(model, *test), seconds
