"""How fast the runs of a cross-validation train as one, beside one by one and the stock way.

    python benchmarks/bench_stacked.py                             the 25 runs, some 15 minutes
    python benchmarks/bench_stacked.py --seeds 1 --stock_runs 1    5 runs, the stock way from 1
    python benchmarks/bench_stacked.py --real_data DATA_DIR        stacked and alone, real faces

Random embeddings of Adience's size, the original's settings for age in 8 classes. "sequential" and
"stacked" are cross-val.py's engines, with everything from reading the data to the three tables of a
run. "stock" is what the original does, training and validation only; see bench_training.py.
"bare" is a stack of 25 of torch's own parts: forward, backward and fused AdamW over one batch in
memory, no dropout, no validation, nothing else, for as many samples as the runs train on.
Processor time is told beside the time on the clock, since a busy machine stretches the latter.
Ratios hold, absolute times are the machine's: look at its load.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.bare_stack import bare_step  # noqa: E402
from benchmarks.gpu import report_gpu  # noqa: E402
from benchmarks.quality import rows_of  # noqa: E402
from benchmarks.random_data import write_random_adience  # noqa: E402
from benchmarks.stock import ORIGINAL_RECIPES, stock_training  # noqa: E402
from trainer.check import check  # noqa: E402
from trainer.cross_val import Engine, run_config, sequential_engine  # noqa: E402
from trainer.fit import training_loader  # noqa: E402
from trainer.inputs import read_inputs  # noqa: E402
from trainer.stacked_engine import stacked_engine, stacks_of  # noqa: E402
from trainer.study_results import Finished, Run  # noqa: E402
from utils.checkpoint import load_checkpoint  # noqa: E402
from utils.config import ConfigParser  # noqa: E402
from utils.files import read_json  # noqa: E402
from utils.options import task_settings  # noqa: E402
from utils.runtime import cpu_has_bfloat16  # noqa: E402
from utils.sizes import NUM_FOLDS  # noqa: E402

NUM_ROWS = 17_055
"""Faces of Adience after cleaning."""

NUM_BARE_MEMBERS = 25
NUM_BARE_STEPS = 40


@dataclass(frozen=True)
class Timed:
    """What took how long: seconds on the clock, seconds of the processor."""

    wall_s: float
    cpu_s: float

    def times(self, factor: float) -> "Timed":
        """Scale both."""
        return Timed(self.wall_s * factor, self.cpu_s * factor)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=NUM_ROWS)
    parser.add_argument("--seeds", type=int, default=5, help="each with five folds")
    parser.add_argument("--epochs", type=int, default=30, help="at most")
    parser.add_argument("--stock_runs", type=int, default=5, help="their mean stands for all")
    parser.add_argument("--stack_size", type=int, help="default: what the engine chooses")
    parser.add_argument("--real_data", type=Path, help="data_dir of real Adience-like faces")
    parser.add_argument("--tasks", nargs="+", default=["gender", "age8"], help="of the real faces")
    arguments = parser.parse_args()
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    print(f"{torch.get_num_threads()} threads, load {load}, torch {torch.__version__}")
    if arguments.real_data is not None:
        report_real(arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        write_random_adience(Path(folder), arguments.rows)
        report_cpu(Path(folder), arguments)
        report_gpu(Path(folder), original_config(Path(folder), False, arguments.epochs))


def original_config(data_dir: Path, amp: bool, epochs: int) -> ConfigParser:
    """Make the original's settings for age in 8 classes, from scratch."""
    recipe = ORIGINAL_RECIPES["age8"]
    optimizer = {"lr": recipe["lr"], "weight_decay": recipe["weight_decay"]}
    changes = {
        "amp": amp,
        "arch.args.dropout": 0.05,
        "arch.args.num_residuals_per_block": recipe["arch"]["num_residuals_per_block"],
        "arch.args.num_blocks": recipe["arch"]["num_blocks"],
        "data_loader.args.batch_size": recipe["batch_size"],
        "data_loader.args.validation_by": "image",
        "optimizer": {"type": "AdamW", "args": optimizer},
        "lr_scheduler": {"type": "ExponentialLR", "args": {"gamma": recipe["gamma"]}},
        "metrics": ["accuracy"],
        "trainer.epochs": epochs,
        "trainer.early_stop": 5,
    }
    return config_of(data_dir, changes)


def config_of(data_dir: Path, changes: dict[str, Any]) -> ConfigParser:
    """Make a config of a cross-validation of data in a folder, which writes there as well."""
    folders = {
        "data_loader.args.data_dir": str(data_dir),
        "trainer.save_dir": str(data_dir / "saved"),
    }
    return ConfigParser(
        read_json(ROOT / "cross-val.json"), modification={**changes, **folders}, check=check
    )


def runs_of(num_seeds: int) -> list[Run]:
    """List seeds with folds."""
    return [(seed, fold) for seed in range(num_seeds) for fold in range(NUM_FOLDS)]


def timed(action: Callable[[], Any]) -> tuple[Timed, Any]:
    """Do something; give what it took, and what it gives."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = action()
    return Timed(time.perf_counter() - wall, time.process_time() - cpu), result


def run_engine(
    engine: Engine, config: ConfigParser, runs: list[Run]
) -> tuple[Timed, list[Finished]]:
    """Train all runs."""
    with tqdm(disable=True) as bar:
        return timed(lambda: list(engine(config, runs, bar, read_inputs(config, whole=True))))


def report_cpu(data_dir: Path, arguments: argparse.Namespace) -> None:
    """Print the times of all ways, and their ratios beside the goals."""
    runs = runs_of(arguments.seeds)
    config = original_config(data_dir, False, arguments.epochs)
    stock = time_stock(config, runs, arguments)
    print_row("stock", stock)
    times = {"stock": stock}
    for numbers in ["float32"] + ["amp"] * cpu_has_bfloat16():
        config = original_config(data_dir, numbers == "amp", arguments.epochs)
        size = arguments.stack_size
        stacks = stacks_of(config, runs, read_inputs(config, whole=True), size)
        engines = {
            "sequential": (sequential_engine(), 1),
            "stacked": (stacked_engine(stack_size=size), len(stacks[0])),
        }
        for name, (engine, width) in engines.items():
            times[f"{name} {numbers}"], finished = run_engine(engine, config, runs)
            print_row(f"{name} {numbers}", times[f"{name} {numbers}"], width, num_epochs(finished))
        times[f"bare {numbers}"] = time_bare(config, finished)
        print_row(f"bare {numbers}", times[f"bare {numbers}"], NUM_BARE_MEMBERS)
    print_ratios(times)


def num_epochs(finished: list[Finished]) -> float:
    """Give the mean best epoch of the runs; early stop ends them some epochs later."""
    return statistics.mean(
        float(load_checkpoint(one.best_path).content["epoch"]) for one in finished
    )


def print_row(name: str, time_of: Timed, size: int = 1, epochs: float = float("nan")) -> None:
    """Print one line."""
    print(
        f"{name:22} {time_of.wall_s:8.1f} s  {time_of.cpu_s:8.1f} s of the processor"
        f"  best epoch {epochs:4.1f}  stacks of {size}",
        flush=True,
    )


def print_ratios(times: dict[str, Timed]) -> None:
    """Print what the goals are about."""
    goals = [
        ("stacked float32", "sequential float32", 1.1),
        ("stacked float32", "stock", 0.7),
        ("stacked float32", "bare float32", 1.3),
        ("stacked amp", "sequential float32", 0.85),
        ("stacked amp", "stock", 0.5),
        ("stacked amp", "bare amp", 1.3),
    ]
    for name, other, goal in goals:
        if name in times:
            wall = times[name].wall_s / times[other].wall_s
            cpu = times[name].cpu_s / times[other].cpu_s
            print(f"{name} / {other}: {wall:.2f}, processor {cpu:.2f} (goal: at most {goal})")


def time_stock(config: ConfigParser, runs: list[Run], arguments: argparse.Namespace) -> Timed:
    """Train some runs the stock way; give the time of all."""
    chosen = runs[: arguments.stock_runs]

    def train() -> None:
        for run in chosen:
            loader = training_loader(run_config(config, *run))
            rows = map(torch.from_numpy, (loader.rows, loader.validation_rows))
            train, valid = (rows_of(loader, part) for part in rows)
            stock_training(train, valid, ORIGINAL_RECIPES["age8"], run[0], arguments.epochs)

    took, _ = timed(train)
    return took.times(len(runs) / len(chosen))


def time_bare(config: ConfigParser, finished: list[Finished]) -> Timed:
    """Time a bare stack; scale it to the samples that the runs trained on."""
    step = bare_step(config, NUM_BARE_MEMBERS)

    def steps() -> None:
        for _ in range(NUM_BARE_STEPS):
            step()

    steps()
    took, _ = timed(steps)
    num_steps = sum(epochs_trained(one) * num_batches(config, one) for one in finished)
    return took.times(num_steps / (NUM_BARE_STEPS * NUM_BARE_MEMBERS))


def epochs_trained(finished: Finished) -> int:
    """Tell how many epochs a run had, from the lines of its log."""
    save_dir = finished.best_path.parent
    log_path = save_dir.parents[2] / "log" / save_dir.parent.name / save_dir.name / "info.log"
    return log_path.read_text(encoding="utf-8").count(" samples/s)")


def num_batches(config: ConfigParser, finished: Finished) -> int:
    """Count the batches of an epoch of a run."""
    return len(training_loader(run_config(config, finished.seed, finished.fold)))


def report_real(arguments: argparse.Namespace) -> None:
    """Print accuracies and times of the shipped recipes, stacked and sequential, run by run."""
    runs = runs_of(arguments.seeds)
    for task in arguments.tasks:
        with tempfile.TemporaryDirectory() as folder:
            config = config_of(arguments.real_data, {**task_settings(task), "trainer.verbosity": 0})
            config = ConfigParser(
                config.config, modification={"trainer.save_dir": folder}, check=check
            )
            accuracies = {}
            for name, engine in {
                "sequential": sequential_engine(),
                "stacked": stacked_engine(stack_size=arguments.stack_size),
            }.items():
                took, finished = run_engine(engine, config, runs)
                by_run = {(one.seed, one.fold): one.stats["test"]["accuracy"] for one in finished}
                accuracies[name] = [by_run[run] for run in runs]
                mean, deviation = (
                    f(accuracies[name]) for f in (statistics.mean, statistics.pstdev)
                )
                print(f"{task} {name}: accuracy {mean:.4f} +- {deviation:.4f}", end="  ")
                print(f"{took.wall_s:.1f} s, {took.cpu_s:.1f} s of the processor", flush=True)
            pairs = zip(accuracies["stacked"], accuracies["sequential"], strict=True)
            differences = [one - other for one, other in pairs]
            error = statistics.stdev(differences) / len(differences) ** 0.5
            mean = statistics.mean(differences)
            print(f"{task} stacked - sequential, {len(runs)} pairs: {mean:+.4f} +- {error:.4f}")


if __name__ == "__main__":
    main()
