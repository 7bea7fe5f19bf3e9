"""How fast training is, beside a bare loop and beside the stock way, in one run.

    python benchmarks/bench_training.py                       speed, on random embeddings
    python benchmarks/bench_training.py --real_data DATA_DIR  time to quality as well, on real ones

"bare" is forward, backward and fused AdamW over tensors in memory, torch's own dropout, nothing
else. "stock" is what the original project does: dict samples one at a time through a DataLoader
with default collation (the better of 0 and 2 workers), default AdamW, .item() and metrics every
batch. All three see the same network and batch sizes. Each is timed in turns, the median of several
turns counts. Ratios hold, absolute rates are the machine's: look at its load first.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from base.base_trainer import Setup  # noqa: E402
from benchmarks.quality import report_quality, rows_of  # noqa: E402
from benchmarks.random_data import write_random_data  # noqa: E402
from benchmarks.stock import ARCH, DictSamples, network, stock_pass  # noqa: E402
from trainer.check import check  # noqa: E402
from trainer.fit import prepare  # noqa: E402
from trainer.trainer import Trainer  # noqa: E402
from utils.config import ConfigParser  # noqa: E402
from utils.files import read_json  # noqa: E402
from utils.runtime import (  # noqa: E402
    Precision,
    choose_precision,
    cpu_has_bfloat16,
    cpu_rounds_factors,
)

NUM_ROWS = 398_251
"""Faces of IMDB and WIKI together after cleaning."""

LOAD_SCRIPT = """
import sys, time
import torch
from benchmarks.memory import peak_bytes
from data_loader.data_loaders import AgeDataLoader
idle = peak_bytes()
start = time.perf_counter()
loader = AgeDataLoader(sys.argv[1], 128, True, 0.1, 0, "imdb_wiki", 101, training=True)
next(iter(loader))
print(time.perf_counter() - start, (peak_bytes() - idle) / (len(loader.dataset) * 512 * 4))
"""

Epoch = Callable[[], float]
"""Trains some samples and gives their number per second."""


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=NUM_ROWS, help="rows of the data files")
    parser.add_argument("--epoch_rows", type=int, default=65_536, help="rows a timed turn trains")
    parser.add_argument("--turns", type=int, default=5, help="timed turns; their median counts")
    parser.add_argument("--real_data", type=Path, help="data_dir of real embeddings in imdb_wiki")
    arguments = parser.parse_args()
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    print(f"{torch.get_num_threads()} threads, load {load}, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder)
        write_random_data(data_dir, arguments.rows)
        report_loading(data_dir, arguments.rows)
        report_speed(data_dir, arguments.epoch_rows, arguments.turns)
    if arguments.real_data is not None:
        report_quality(arguments.real_data)


def report_loading(data_dir: Path, num_rows: int) -> None:
    """Time a fresh process from data file to first batch, from a warm page cache."""
    runs = []
    for _ in range(3):
        output = subprocess.run(  # noqa: S603 - this very Python
            [sys.executable, "-c", LOAD_SCRIPT, str(data_dir)],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        )
        runs.append([float(word) for word in output.stdout.split()])
    seconds, memory = np.median(runs, axis=0)
    print(f"\n{num_rows:,} rows, data file to first batch: {seconds:.2f} s (goal: under 2)")
    print(
        f"peak memory above idle, as a multiple of the embeddings: {memory:.2f} (goal: under 1.5)"
    )


def report_speed(data_dir: Path, epoch_rows: int, num_turns: int) -> None:
    """Print samples/s of ours, bare and stock by batch size and precision.

    `utils.runtime.choose_precision` follows this table: what it takes for `amp` is starred.
    """
    print(
        f"\nsamples/s, median of {num_turns} turns of {epoch_rows:,} rows; ours is a whole epoch,"
    )
    print("with metrics, logging, a checkpoint, and the validation of a ninth more rows")
    columns = ("batch", "ours", "bare", "stock", "bare/ours", "ours/stock")
    print("".join(f"{column:>11}" for column in columns), "  numbers")
    cases = [(size, numbers) for numbers in cpu_precisions() for size in (64, 128, 256, 512, 2048)]
    for batch_size, numbers in cases:
        setup, ours = our_epoch(data_dir, batch_size, numbers, epoch_rows)
        embeddings, labels = rows_of(setup.train_loader, torch.arange(epoch_rows))
        stocks = [stock_epoch(embeddings, labels, batch_size, workers) for workers in (0, 2)]
        rates = take_turns(
            [ours, bare_epoch(embeddings, labels, batch_size, numbers), *stocks], num_turns
        )
        stock = max(rates[2:])
        cells = [f"{batch_size}", *(f"{rate:,.0f}" for rate in (*rates[:2], stock))]
        cells += [f"{rates[1] / rates[0]:.2f}", f"{rates[0] / stock:.2f}"]
        star = " *" if numbers == choose_precision(True, setup.device, batch_size) else ""
        print("".join(f"{cell:>11}" for cell in cells), f"  {numbers}{star}", flush=True)


def cpu_precisions() -> list[Precision]:
    """List the numbers that this CPU computes with in hardware."""
    precisions = [Precision("cpu", torch.float32)]
    if cpu_has_bfloat16():
        precisions.append(Precision("cpu", torch.bfloat16))
    if cpu_rounds_factors():
        precisions.append(Precision("cpu", torch.bfloat16, rounds_factors=True))
    return precisions


def take_turns(epochs: list[Epoch], num_turns: int) -> list[float]:
    """Time all in turns, after a warm-up turn; give each one's median rate."""
    rates = [[epoch() for epoch in epochs] for _ in range(num_turns + 1)][1:]
    return [statistics.median(column) for column in zip(*rates, strict=True)]


def our_epoch(
    data_dir: Path, batch_size: int, precision: Precision, num_rows: int
) -> tuple[Setup, Epoch]:
    """Make a trainer from the shipped config; a turn is one whole epoch of it."""
    config = ConfigParser(
        read_json(ROOT / "train.json"),
        modification={
            "amp": False,
            "arch.args": ARCH,
            "data_loader.args.data_dir": str(data_dir),
            "data_loader.args.batch_size": batch_size,
            "data_loader.args.limit_data": int(num_rows / 0.9) + 1,
            "lr_scheduler": {"type": "ExponentialLR", "args": {"gamma": 0.9}},
            "trainer.save_dir": str(data_dir / "saved"),
            "trainer.verbosity": 0,
            "trainer.early_stop": 0,
            "trainer.epochs": 1,
        },
        check=check,
    )
    setup = replace(prepare(config), precision=precision)
    config.create_run()
    trainer = Trainer(setup, config)

    def epoch() -> float:
        start = time.perf_counter()
        trainer.train()
        trainer.epochs += 1
        return setup.train_loader.n_samples / (time.perf_counter() - start)

    return setup, epoch


def bare_epoch(embeddings: Tensor, labels: Tensor, batch_size: int, precision: Precision) -> Epoch:
    """Make the floor: nothing but forward, backward and the fused optimizer."""
    model = network(nn.Dropout)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, fused=True)

    def epoch() -> float:
        order = torch.randperm(len(labels))
        start = time.perf_counter()
        for rows in torch.split(order, batch_size):
            x, y = embeddings.index_select(0, rows), labels.index_select(0, rows)
            with precision.autocast():
                loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            with precision.backward():
                loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return len(labels) / (time.perf_counter() - start)

    return epoch


def stock_epoch(embeddings: Tensor, labels: Tensor, batch_size: int, workers: int) -> Epoch:
    """Make the stock way's epoch, without validation, over a quarter of the rows."""
    quarter = len(labels) // 4
    samples = DictSamples(embeddings[:quarter], labels[:quarter])
    loader = DataLoader(samples, batch_size, shuffle=True, num_workers=workers)
    model = network(nn.Dropout)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)

    def epoch() -> float:
        start = time.perf_counter()
        stock_pass(model, loader, optimizer)
        return quarter / (time.perf_counter() - start)

    return epoch


if __name__ == "__main__":
    main()
