"""How fast the runs of a cross-validation train as one, beside one by one and the stock way.

    python benchmarks/bench_stacked.py                             the 25 runs, some 15 minutes
    python benchmarks/bench_stacked.py --seeds 1 --stock_runs 1    5 runs, the stock way from 1
    python benchmarks/bench_stacked.py --ray                       through Ray as well
    python benchmarks/bench_stacked.py --real_data DATA_DIR        stacked and alone, real faces

Random embeddings of Adience's size, the original's settings for age in 8 classes. "sequential" and
"stacked" are cross-val.py's engines, with everything from reading the data to the three tables of a
run; "ray" has one thread a run, and starts and stops Ray. "stock" is what the original does,
training and validation only; see bench_training.py.
"bare" is a stack of 25 of torch's own parts: forward, backward and fused AdamW over one batch in
memory, no dropout, no validation, nothing else, for as many samples as the runs train on.
Processor time stands beside the time on the clock, since a busy machine stretches the latter.
All this is on the CPU; the engines are timed on a GPU as well where there is one.
Ratios hold, absolute times are the machine's: look at its load.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from base.device import cpu_has_bfloat16
from benchmarks import measuring, recipes
from benchmarks.bare_stack import NUM_MEMBERS, time_bare
from benchmarks.measuring import Seconds, timed
from benchmarks.random_data import write_random_adience
from benchmarks.stock import stock_training
from cluster.session import TaskResources
from cross_val.ray_engine import ray_engine
from cross_val.runs import Engine, RunKey, RunResult, run_config, sequential_engine
from cross_val.stacked_engine import stacked_engine, stacks_of
from trainer.data import read_inputs, training_loader
from utils.checkpoint import load_checkpoint
from utils.config import ConfigParser
from utils.labels import NUM_FOLDS

GOALS = (
    ("stacked float32", "sequential float32", 1.1),
    ("stacked float32", "stock", 0.7),
    ("stacked float32", "bare float32", 1.3),
    ("stacked amp", "sequential float32", 0.85),
    ("stacked amp", "stock", 0.5),
    ("stacked amp", "bare amp", 1.3),
    ("ray float32", "sequential float32", 1.0),
    ("ray amp", "sequential amp", 1.0),
    ("stacked float32 GPU", "sequential float32 GPU", 0.05),
    ("stacked amp GPU", "sequential amp GPU", 0.05),
)
"""Ways whose times are compared, and the ratio that is aimed at."""


def main() -> None:
    """Measure and print."""
    parser = measuring.benchmark_parser(__doc__)
    parser.add_argument("--rows", type=int, default=measuring.NUM_ADIENCE_FACES)
    parser.add_argument("--seeds", type=int, default=5, help="each with five folds")
    parser.add_argument("--epochs", type=int, default=30, help="at most")
    parser.add_argument("--stock_runs", type=int, default=5, help="their mean stands for all")
    parser.add_argument("--stack_size", type=int, help="default: what the engine chooses")
    parser.add_argument("--ray", action="store_true", help="time Ray's engine as well")
    parser.add_argument("--real_data", type=Path, help="data_dir of real Adience-like faces")
    parser.add_argument("--tasks", nargs="+", default=["gender", "age8"], help="of the real faces")
    options = parser.parse_args()
    measuring.print_machine()
    if options.real_data is not None:
        for task in options.tasks:
            report_real(task, options)
        return
    with tempfile.TemporaryDirectory() as folder:
        write_random_adience(Path(folder), options.rows)
        report_random(Path(folder), options)


def report_random(data_dir: Path, options: argparse.Namespace) -> None:
    """Print the times of all ways, and their ratios beside the goals."""
    precisions = ["float32"] + ["amp"] * cpu_has_bfloat16()
    configs = {name: random_config(data_dir, name == "amp", 0, options) for name in precisions}
    durations = {"stock": time_stock(configs["float32"], options)}
    print_row("stock", durations["stock"])
    for name, config in configs.items():
        engine_durations, finished = time_engines(name, config, options)
        durations |= engine_durations
        bare = time_bare(config, finished)
        durations[f"bare {name}"] = bare
        print_row(f"bare {name}", bare, NUM_MEMBERS)
    if torch.cuda.is_available():
        print(f"GPU: {torch.cuda.get_device_name()}")
        for name in ("float32", "amp"):
            config = random_config(data_dir, name == "amp", 1, options)
            durations |= time_engines(f"{name} GPU", config, options)[0]
    else:
        print("GPU: not measured (there is none here)")
    print_ratios(durations)


def random_config(
    data_dir: Path, amp: bool, num_gpus: int, options: argparse.Namespace
) -> ConfigParser:
    """Make the original's settings for age in 8 classes, from scratch."""
    recipe = recipes.original("age8")
    changes = {
        "amp": amp,
        "n_gpu": num_gpus,
        "data_loader.args.data_dir": str(data_dir),
        "metrics": ["accuracy"],
        "trainer.epochs": options.epochs,
        "trainer.save_dir": str(data_dir / "saved"),
    }
    return recipes.quiet_config(recipe, changes)


def runs_of(num_seeds: int) -> list[RunKey]:
    """List seeds with folds."""
    return [(seed, fold) for seed in range(num_seeds) for fold in range(NUM_FOLDS)]


def run_engine(
    engine: Engine, config: ConfigParser, runs: list[RunKey]
) -> tuple[Seconds, list[RunResult]]:
    """Train all runs."""
    with tqdm(disable=True) as bar:
        return timed(lambda: list(engine(config, runs, bar, read_inputs(config, whole=True))))


def time_engines(
    numbers: str, config: ConfigParser, options: argparse.Namespace
) -> tuple[dict[str, Seconds], list[RunResult]]:
    """Print a row for each engine; return their times, and what stacks or Ray trained."""
    runs, size = runs_of(options.seeds), options.stack_size
    stacks = stacks_of(config, runs, read_inputs(config, whole=True), size)
    engines: dict[str, tuple[Engine, int]] = {
        "sequential": (sequential_engine(), 1),
        "stacked": (stacked_engine(stack_size=size), len(stacks[0])),
    }
    if options.ray:
        engines["ray"] = (ray_engine(TaskResources()), 1)
    durations = {}
    for name, (engine, width) in engines.items():
        duration, finished = run_engine(engine, config, runs)
        if name == "ray":
            duration[1] = np.nan  # other processes train
        durations[f"{name} {numbers}"] = duration
        print_row(f"{name} {numbers}", duration, width, mean_best_epoch(finished))
    return durations, finished


def mean_best_epoch(finished: list[RunResult]) -> float:
    """Return the mean best epoch of the runs; early stop ends them some epochs later."""
    return statistics.mean(
        float(load_checkpoint(one.best_path).content["epoch"]) for one in finished
    )


def print_row(name: str, duration: Seconds, size: int = 1, epochs: float = np.nan) -> None:
    """Print one line."""
    print(
        f"{name:22} {duration[0]:8.1f} s  {duration[1]:8.1f} s of the processor"
        f"  best epoch {epochs:4.1f}  stacks of {size}",
        flush=True,
    )


def print_ratios(durations: dict[str, Seconds]) -> None:
    """Print what the goals are about."""
    for name, other, goal in GOALS:
        if name in durations:
            wall, cpu = durations[name] / durations[other]
            print(f"{name} / {other}: {wall:.2f}, processor {cpu:.2f} (goal: at most {goal})")


def time_stock(config: ConfigParser, options: argparse.Namespace) -> Seconds:
    """Train some runs the stock way; return the time of all."""
    runs = runs_of(options.seeds)
    chosen = runs[: options.stock_runs]

    def train() -> None:
        for seed, fold in chosen:
            loader = training_loader(run_config(config, seed, fold))
            train, valid = (
                recipes.rows_of(loader, torch.from_numpy(indices))
                for indices in (loader.rows, loader.validation_rows)
            )
            stock_training(train, valid, config.config, seed)

    duration, _ = timed(train)
    return duration * len(runs) / len(chosen)


def report_real(task: str, options: argparse.Namespace) -> None:
    """Print accuracies and times of a shipped recipe, stacked and sequential, and their pairs."""
    runs, accuracies = runs_of(options.seeds), {}
    engines = {
        "sequential": sequential_engine(),
        "stacked": stacked_engine(stack_size=options.stack_size),
    }
    with tempfile.TemporaryDirectory() as folder:
        changes = {
            "data_loader.args.data_dir": str(options.real_data),
            "trainer.save_dir": folder,
        }
        config = recipes.quiet_config(recipes.shipped(task, "cross-val.json"), changes)
        for name, engine in engines.items():
            duration, finished = run_engine(engine, config, runs)
            by_run = {(one.seed, one.fold): one.stats["test"]["accuracy"] for one in finished}
            accuracies[name] = [by_run[run] for run in runs]
            mean, deviation = statistics.mean(accuracies[name]), statistics.pstdev(accuracies[name])
            print(f"{task} {name}: accuracy {mean:.4f} +- {deviation:.4f}", end="  ")
            print(f"{duration[0]:.1f} s, {duration[1]:.1f} s of the processor", flush=True)
    pairs = zip(accuracies["stacked"], accuracies["sequential"], strict=True)
    differences = [stacked - sequential for stacked, sequential in pairs]
    error = statistics.stdev(differences) / len(differences) ** 0.5
    mean = statistics.mean(differences)
    print(f"{task} stacked - sequential, {len(runs)} pairs: {mean:+.4f} +- {error:.4f}")


if __name__ == "__main__":
    main()
