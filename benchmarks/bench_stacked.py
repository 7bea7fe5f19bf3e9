"""How fast the runs of a cross-validation train as one network, beside one by one.

    python benchmarks/bench_stacked.py                                   25 runs, some 10 minutes
    python benchmarks/bench_stacked.py --ray                             through Ray as well
    python benchmarks/bench_stacked.py --rows 2000 --seeds 1 --epochs 2     a first look

Random embeddings of Adience's size, the original's settings for age in 8 classes. "sequential",
"stacked" and "ray" are cross-val.py's engines, with everything from reading the data to the results
of a run; Ray has one thread a run, and is started and stopped. Processor time stands beside the
time on the clock, since a busy machine stretches the latter. All this is on the CPU; the engines
are timed on a GPU as well where there is one. Ratios hold, absolute times are the machine's.
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
from benchmarks.measuring import Seconds, timed
from benchmarks.random_data import write_random_adience
from cluster.session import TaskResources
from cross_val.ray_engine import ray_engine
from cross_val.runs import Engine, RunResult, sequential_engine
from cross_val.stacked_engine import stacked_engine, stacks_of
from trainer.data import read_inputs
from utils.checkpoint import load_checkpoint
from utils.config import ConfigParser
from utils.labels import NUM_FOLDS

GOALS = (
    ("stacked float32", "sequential float32", 1.1),
    ("stacked amp", "sequential float32", 0.85),
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
    parser.add_argument("--stack_size", type=int, help="default: what the engine chooses")
    parser.add_argument("--ray", action="store_true", help="time Ray's engine as well")
    options = parser.parse_args()
    measuring.print_machine()
    with tempfile.TemporaryDirectory() as folder:
        write_random_adience(Path(folder), options.rows)
        cases = {"float32": (False, 0)}
        if cpu_has_bfloat16():
            cases["amp"] = (True, 0)
        if torch.cuda.is_available():
            print(f"GPU: {torch.cuda.get_device_name()}")
            cases |= {"float32 GPU": (False, 1), "amp GPU": (True, 1)}
        durations: dict[str, Seconds] = {}
        for name, (amp, num_gpus) in cases.items():
            config = random_config(Path(folder), amp, num_gpus, options)
            durations |= time_engines(name, config, options)
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


def time_engines(
    numbers: str, config: ConfigParser, options: argparse.Namespace
) -> dict[str, Seconds]:
    """Print a row for each engine; return their times."""
    runs = [(seed, fold) for seed in range(options.seeds) for fold in range(NUM_FOLDS)]
    size = options.stack_size
    stacks = stacks_of(config, runs, read_inputs(config, whole=True), size)
    engines: dict[str, tuple[Engine, int]] = {
        "sequential": (sequential_engine(), 1),
        "stacked": (stacked_engine(stack_size=size), len(stacks[0])),
    }
    if options.ray:
        engines["ray"] = (ray_engine(TaskResources()), 1)
    durations = {}
    for name, (engine, width) in engines.items():
        with tqdm(disable=True) as bar:
            duration, finished = timed(
                lambda: list(engine(config, runs, bar, read_inputs(config, whole=True)))  # noqa: B023
            )
        if name == "ray":
            duration[1] = np.nan  # other processes train
        durations[f"{name} {numbers}"] = duration
        print_row(f"{name} {numbers}", duration, width, mean_best_epoch(finished))
    return durations


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


if __name__ == "__main__":
    main()
