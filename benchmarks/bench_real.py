"""How good the shipped recipes are on real faces, beside the original's and logistic regression.

    python benchmarks/bench_real.py DATA_DIR [--dataset NAME]

The data set, wiki by default, is one of DATA_DIR with known subjects. Each of five seeds holds out
another fifth of them. Every training runs to its last epoch: nothing is chosen on the rows that are
reported.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import measuring, recipes
from trainer.data import training_loader
from trainer.fit import fit
from utils.config import ConfigParser

SEEDS = range(5)
TASKS = ("gender", "age8", "age101")
ORIGINAL_EPOCHS = 8
"""Where its early stop ends: the rate has then fallen to nothing."""

Values = dict[str, float]


def main() -> None:
    """Train, and print means and standard deviations over the seeds."""
    parser = measuring.benchmark_parser(__doc__)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--dataset", default="wiki", help="name, folder or sum (default: wiki)")
    arguments = parser.parse_args()
    data_dir, dataset = arguments.data_dir, arguments.dataset
    for task in TASKS:
        shipped, original = recipes.shipped(task, dataset=dataset), recipes.original(task)
        original["trainer"]["epochs"] = ORIGINAL_EPOCHS
        print_means(task, "shipped", [train(data_dir, shipped, seed, dataset) for seed in SEEDS])
        print_means(task, "original", [train(data_dir, original, seed, dataset) for seed in SEEDS])
        if task != "age101":
            configs = [config_of(data_dir, shipped, seed, dataset=dataset) for seed in SEEDS]
            print_means(task, "logistic regression", list(map(fit_regression, configs)))


def config_of(
    data_dir: Path,
    recipe: recipes.Recipe,
    seed: int,
    save_dir: Path | str = "saved",
    dataset: str = "wiki",
) -> ConfigParser:
    """Make the config of a recipe on a data set, a fifth of the subjects held out."""
    changes = {
        "seed": seed,
        "data_loader.args.data_dir": str(data_dir),
        "data_loader.args.dataset": dataset,
        "data_loader.args.validation_split": 0.2,
        "data_loader.args.validation_by": "subject",
        "trainer.save_dir": str(save_dir),
        "trainer.monitor": "off",
        "trainer.early_stop": 0,
        "trainer.save_period": 0,
    }
    return recipes.quiet_config(recipe, changes)


def train(data_dir: Path, recipe: recipes.Recipe, seed: int, dataset: str) -> Values:
    """Train once; return the values on the held-out subjects, and the seconds."""
    with tempfile.TemporaryDirectory() as folder:
        config = config_of(data_dir, recipe, seed, folder, dataset)
        start = time.perf_counter()
        log = fit(config).best_log
        seconds = time.perf_counter() - start
    held_out = {k.removeprefix("val_"): v for k, v in log.items() if k.startswith("val_")}
    return {**held_out, "seconds": seconds}


def fit_regression(config: ConfigParser) -> Values:
    """Fit scikit-learn's logistic regression on the same rows; return its accuracy."""
    loader = training_loader(config)
    train, held_out = (
        [tensor.numpy() for tensor in recipes.rows_of(loader, torch.from_numpy(indices))]
        for indices in (loader.rows, loader.validation_rows)
    )
    model = LogisticRegression(max_iter=3000).fit(*train)
    return {"accuracy": float(model.score(*held_out))}


def print_means(task: str, name: str, runs: list[Values]) -> None:
    """Print one line."""
    values = {key: np.array([run[key] for run in runs]) for key in runs[0]}
    cells = (f"{key} {value.mean():.4f} +- {value.std():.4f}" for key, value in values.items())
    print(f"{task:7} {name:20}", "  ".join(cells), flush=True)


if __name__ == "__main__":
    main()
