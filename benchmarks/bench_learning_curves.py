"""Learning curves: how good networks with and without residuals are by the number of faces.

    python benchmarks/bench_learning_curves.py DATA_DIR --task age101 --dataset wiki
    python benchmarks/bench_learning_curves.py DATA_DIR --task gender --noise --dropout 0.3

The people are divided into five folds. Each in turn is held out, and networks train on halves of
halves of the others, for the recipe's epochs and at least 400 batches. A row has the error (years,
or share of wrong genders) on the people held out: mean and standard error over folds, seeds
averaged. With --noise, training rows are labelled as badly as those of celebrities are. Then a
power law with an offset is fitted to each network's curve, and the number of faces from which a
network beats the one without residuals is estimated, with a bootstrap over folds.
"""

import argparse
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import OptimizeWarning, curve_fit
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from base.device import Precision
from benchmarks import measuring, recipes
from cross_val.runs import RunResult
from cross_val.stacked_engine import stacked_engine
from data_loader.faces import Faces, read_source
from data_loader.people import number_subjects
from model import loss
from model import model as arch
from trainer.components import metrics_of
from trainer.data import SharedInputs, held_out_loader
from trainer.evaluate import evaluate
from utils.checkpoint import load_checkpoint
from utils.config import ConfigParser
from utils.labels import GENDERS, NUM_FOLDS
from utils.weights import load_weights

HALVINGS = 3
MIN_STEPS = 400
"""Batches of a training: few faces are seen in more epochs, else all networks stop too early."""

MIXED_UP = 0.2
"""Share of noisy training rows whose ages are another's: wrong people and dates of photographs."""

FLIPPED = 0.05
"""Share of noisy training rows whose gender is wrong."""

NUM_DRAWS = 1000
TARGET = 400_000
"""Faces that the published networks are trained on."""

Curve = NDArray[np.float64]
"""Errors (sizes, folds)."""


def main() -> None:
    """Measure, print, fit."""
    parser = measuring.benchmark_parser(__doc__)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--dataset", default="wiki")
    parser.add_argument("--task", default="age101", choices=("age101", "gender"))
    parser.add_argument("--residuals", type=int, nargs="+", default=[0, 1, 2], help="per block")
    parser.add_argument("--dropout", type=float, default=0.5)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--noise", action="store_true", help="mix up ages, flip genders")
    options = parser.parse_args()
    source = read_source(options.data_dir, options.dataset)
    clean = replace(source, faces=in_folds(source.faces))
    noisy = replace(clean, faces=with_noise(clean.faces) if options.noise else clean.faces)
    num_rows = min(int((clean.faces.fold != fold).sum()) for fold in range(NUM_FOLDS))
    sizes = np.array([num_rows >> halving for halving in range(HALVINGS, -1, -1)])
    curves = {}
    for residuals in options.residuals:
        errors = [
            held_out_errors(config, options.seeds, SharedInputs(noisy), SharedInputs(clean))
            for config in configs_of(options, residuals, sizes)
        ]
        curves[residuals] = np.stack(errors)
        print_curve(options, residuals, sizes, curves[residuals])
    for residuals in options.residuals[1:]:
        print_crossing(residuals, sizes, curves[options.residuals[0]], curves[residuals])


def in_folds(faces: Faces) -> Faces:
    """Divide the faces into folds that share no person."""
    subjects = number_subjects(faces.subject)
    if subjects is None:
        raise SystemExit("these faces do not tell who is on them")
    places = np.random.default_rng(0).permutation(subjects.max() + 1)
    return replace(faces, fold=(places[subjects] % NUM_FOLDS).astype(np.int8))


def with_noise(faces: Faces) -> Faces:
    """Mix up the ages of a share of the faces, and turn the gender of a share."""
    rng = np.random.default_rng(1)
    age, mixed = faces.age.copy(), np.flatnonzero(rng.random(len(faces)) < MIXED_UP)
    age[mixed] = age[rng.permutation(mixed)]
    other = np.where(faces.gender == GENDERS[0], GENDERS[1], GENDERS[0])
    gender = np.where(rng.random(len(faces)) < FLIPPED, other, faces.gender)
    return replace(faces, age=age, gender=gender)


def configs_of(
    options: argparse.Namespace, residuals: int, sizes: NDArray[np.int64]
) -> Iterator[ConfigParser]:
    """Yield the config of each size."""
    recipe = recipes.shipped(options.task, dataset="wiki")
    for size in sizes:
        num_batches = -(-int(size) // recipe["data_loader"]["args"]["batch_size"])
        changes = {
            "trainer.epochs": max(recipe["trainer"]["epochs"], -(-MIN_STEPS // num_batches)),
            "arch.args.num_residuals_per_block": residuals,
            "arch.args.dropout": options.dropout,
            "data_loader.args.dataset": "Adience",  # whose faces have folds
            "data_loader.args.limit_data": int(size),
            "data_loader.args.validation_split": 0,
            "trainer.monitor": "off",
            "trainer.save_period": 0,
        }
        yield recipes.quiet_config(recipe, changes)


def held_out_errors(
    config: ConfigParser, num_seeds: int, training: SharedInputs, clean: SharedInputs
) -> NDArray[np.float64]:
    """Train, and return the error on each fold held out (folds,), seeds averaged."""
    runs = [(seed, fold) for seed in range(num_seeds) for fold in range(NUM_FOLDS)]
    errors: list[list[float]] = [[] for _ in range(NUM_FOLDS)]
    with tempfile.TemporaryDirectory() as folder, tqdm(disable=True) as bar:
        own = ConfigParser(config.config, modification={"trainer.save_dir": folder})
        for result in stacked_engine()(own, runs, bar, training):
            errors[result.fold].append(error_of(own, result, clean))
    means: NDArray[np.float64] = np.array(errors).mean(1)
    return means


def error_of(config: ConfigParser, result: RunResult, clean: SharedInputs) -> float:
    """Evaluate a run on all rows of its fold: the error in years, or the share of mistakes."""
    changes = {"data_loader.args.limit_data": None, "data_loader.args.test_cross_val": result.fold}
    config = ConfigParser(config.config, modification=changes)
    model = config.init_obj("arch", arch)
    load_weights(model, load_checkpoint(result.best_path))
    loader = held_out_loader(config, clean)
    precision = Precision("cpu", torch.float32)
    log = evaluate(model, loader, config.init_ftn("loss", loss), metrics_of(config), precision)
    return float(log["mae"] if "mae" in log else 1 - log["accuracy"])


def print_curve(
    options: argparse.Namespace, residuals: int, sizes: NDArray[np.int64], curve: Curve
) -> None:
    """Print a line: the mean at each size, and its standard error."""
    errors = curve.std(1, ddof=1) / NUM_FOLDS**0.5
    cells = (
        f"{size}: {mean:.4f} +- {error:.4f}"
        for size, mean, error in zip(sizes, curve.mean(1), errors, strict=True)
    )
    setting = f"{options.task}{' noise' * options.noise} dropout {options.dropout}"
    print(f"{setting} residuals {residuals}  ", "  ".join(cells), flush=True)


def power_law(size: NDArray[np.float64], floor: float, scale: float, power: float) -> Curve:
    """Return floor + scale * (size / 1000) ** -power."""
    law: Curve = floor + scale * (size / 1000) ** -power
    return law


def fitted(sizes: NDArray[np.int64], errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fit the power law to errors (sizes,)."""
    start, bounds = (errors.min() * 0.9, errors.max() * 0.1, 0.5), ((0, 0, 0.05), (np.inf,) * 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OptimizeWarning)
        law: NDArray[np.float64] = curve_fit(
            power_law, sizes.astype(np.float64), errors, start, bounds=bounds, max_nfev=10_000
        )[0]
    return law


def print_crossing(residuals: int, sizes: NDArray[np.int64], without: Curve, curve: Curve) -> None:
    """Print from how many faces on a network beats the one without residuals."""
    rng = np.random.default_rng(0)
    crossings, gains = [], []
    grid = np.geomspace(sizes[0], 1e8, 2000)
    for draw in range(NUM_DRAWS + 1):
        folds = rng.integers(0, NUM_FOLDS, NUM_FOLDS) if draw else np.arange(NUM_FOLDS)
        laws = [fitted(sizes, one[:, folds].mean(1)) for one in (without, curve)]
        gains.append(power_law(np.array(TARGET), *laws[0]) - power_law(np.array(TARGET), *laws[1]))
        is_better = power_law(grid, *laws[1]) < power_law(grid, *laws[0])
        crossings.append(grid[is_better.argmax()] if is_better.any() else np.inf)
    low, high = np.quantile(crossings[1:], [0.025, 0.975], method="nearest")
    bottom, top = np.quantile(gains[1:], [0.025, 0.975])
    share = np.mean(np.array(crossings[1:]) <= TARGET)
    print(
        f"residuals {residuals} win from {crossings[0]:,.0f} faces on (95 %: {low:,.0f} to "
        f"{high:,.0f}; below {TARGET:,} in {share:.0%} of draws); there they gain {gains[0]:.4f} "
        f"({bottom:.4f} to {top:.4f})",
        flush=True,
    )


if __name__ == "__main__":
    main()
