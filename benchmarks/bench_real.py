"""How good the shipped recipes are on real faces, beside the original's and logistic regression.

    python benchmarks/bench_real.py DATA_DIR

DATA_DIR holds `wiki_crop/data.npy` with known subjects. Each of five seeds holds out another fifth
of them. Every training runs to its last epoch: nothing is chosen on the rows that are reported.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from base.base_data_loader import BaseDataLoader  # noqa: E402
from benchmarks.quality import rows_of  # noqa: E402
from benchmarks.stock import ORIGINAL_RECIPES  # noqa: E402
from trainer.check import check  # noqa: E402
from trainer.fit import fit, training_loader  # noqa: E402
from utils.config import ConfigParser  # noqa: E402
from utils.files import read_json  # noqa: E402
from utils.options import task_settings  # noqa: E402

SEEDS = range(5)
TASKS = ("gender", "age8", "age101")
ORIGINAL_EPOCHS = 8
"""Where its early stop ends: the rate has then fallen to nothing."""


def main() -> None:
    """Train, and print means and standard deviations over the seeds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data_dir", type=Path)
    data_dir = parser.parse_args().data_dir
    for task in TASKS:
        for name, changes in (("shipped", {}), ("original", original_settings(task))):
            logs = [held_out_log(data_dir, task, seed, changes) for seed in SEEDS]
            print_means(task, name, logs)
        if task != "age101":
            logs = [regression_log(config_of(data_dir, task, seed, {})) for seed in SEEDS]
            print_means(task, "logistic regression", logs)


def config_of(data_dir: Path, task: str, seed: int, changes: dict[str, Any]) -> ConfigParser:
    """Make the config of a task on wiki, a fifth of the subjects held out."""
    settings = {
        **task_settings(task),
        "seed": seed,
        "data_loader.args.data_dir": str(data_dir),
        "data_loader.args.dataset": "wiki",
        "data_loader.args.validation_split": 0.2,
        "data_loader.args.validation_by": "subject",
        "trainer.monitor": "off",
        "trainer.save_period": 0,
        "trainer.verbosity": 0,
        "trainer.tensorboard": False,
        **changes,
    }
    return ConfigParser(read_json(ROOT / "train.json"), modification=settings, check=check)


def original_settings(task: str) -> dict[str, Any]:
    """Give what the original's recipe sets; its age recipe serves both numbers of classes."""
    recipe = ORIGINAL_RECIPES["gender" if task == "gender" else "age8"]
    optimizer = {"lr": recipe["lr"], "weight_decay": recipe["weight_decay"]}
    return {
        "amp": False,
        "arch.args.dropout": 0.05,
        "arch.args.num_residuals_per_block": 1,
        "arch.args.num_blocks": recipe["arch"]["num_blocks"],
        "data_loader.args.batch_size": recipe["batch_size"],
        "optimizer": {"type": "AdamW", "args": optimizer},
        "lr_scheduler": {"type": "ExponentialLR", "args": {"gamma": recipe["gamma"]}},
        "loss": "cse",
        "trainer.epochs": ORIGINAL_EPOCHS,
    }


def held_out_log(data_dir: Path, task: str, seed: int, changes: dict[str, Any]) -> dict[str, float]:
    """Train once; give the values on the held-out subjects, and the seconds."""
    with tempfile.TemporaryDirectory() as folder:
        config = config_of(data_dir, task, seed, {**changes, "trainer.save_dir": folder})
        start = time.perf_counter()
        log = fit(config).best_log
        seconds = time.perf_counter() - start
    held_out = {k.removeprefix("val_"): v for k, v in log.items() if k.startswith("val_")}
    return {**held_out, "seconds": seconds}


def regression_log(config: ConfigParser) -> dict[str, float]:
    """Fit scikit-learn's logistic regression on the same rows; give its accuracy."""
    loader: BaseDataLoader = training_loader(config)
    embeddings, labels = rows_of(
        loader, torch.arange(len(loader.rows) + len(loader.validation_rows))
    )
    x, y = embeddings.numpy(), labels.numpy()
    model = LogisticRegression(max_iter=3000).fit(x[loader.rows], y[loader.rows])
    return {"accuracy": float(model.score(x[loader.validation_rows], y[loader.validation_rows]))}


def print_means(task: str, name: str, logs: list[dict[str, float]]) -> None:
    """Print one line."""
    values = {key: np.array([log[key] for log in logs]) for key in logs[0]}
    cells = (f"{key} {value.mean():.4f} +- {value.std():.4f}" for key, value in values.items())
    print(f"{task:7} {name:20}", "  ".join(cells), flush=True)


if __name__ == "__main__":
    main()
