"""How fast training is, beside a bare loop and beside the stock way, in one run.

    python benchmarks/bench_training.py                                      about 10 minutes
    python benchmarks/bench_training.py --rows 20000 --epoch_rows 8192 --turns 1     a first look

Random embeddings, as many as IMDB and WIKI have.

"bare" is forward, backward and fused AdamW over tensors in memory, torch's own dropout, nothing
else. "stock" is what the original does: dict samples one at a time through a DataLoader with
default collation (the better of 0 and 2 workers), default AdamW, .item() and metrics every batch.
All three see the same network and batch sizes. Each is timed in turns, the median of several turns
counts. Ratios hold, absolute rates are the machine's: look at its load first.
"""

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

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from base.base_trainer import Setup
from base.device import Precision, choose_precision, cpu_has_bfloat16, cpu_rounds_factors
from benchmarks import measuring, recipes
from benchmarks.random_data import write_random_imdb_wiki
from benchmarks.stock import DictSamples, stock_epoch, stock_network
from trainer.fit import prepare
from trainer.trainer import Trainer

NETWORK = recipes.original("age101")["arch"]["args"]
BATCH_SIZES = (64, 128, 256, 512, 2048)
COLUMNS = ("batch", "ours", "bare", "stock", "bare/ours", "ours/stock")

LOAD_SCRIPT = """
import sys, time
import torch
from benchmarks.measuring import resident_bytes
from data_loader.data_loaders import AgeDataLoader
idle = resident_bytes(peak=True)
start = time.perf_counter()
loader = AgeDataLoader(sys.argv[1], 128, True, 0.1, 0, "imdb_wiki", 101, training=True)
next(iter(loader))
seconds = time.perf_counter() - start
print(seconds, (resident_bytes(peak=True) - idle) / (len(loader.dataset) * 512 * 4))
"""

Epoch = Callable[[], float]
"""Trains some samples and returns their number per second."""


def main() -> None:
    """Measure and print the tables."""
    parser = measuring.benchmark_parser(__doc__)
    parser.add_argument(
        "--rows", type=int, default=measuring.NUM_FACES, help="rows of the data files"
    )
    parser.add_argument("--epoch_rows", type=int, default=65_536, help="rows a timed turn trains")
    parser.add_argument("--turns", type=int, default=5, help="timed turns; their median counts")
    arguments = parser.parse_args()
    measuring.print_machine()
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder)
        write_random_imdb_wiki(data_dir, arguments.rows)
        report_loading(data_dir, arguments.rows)
        report_speed(data_dir, arguments.epoch_rows, arguments.turns)


def report_loading(data_dir: Path, num_rows: int) -> None:
    """Time a fresh process from data file to first batch, from a warm page cache."""
    command = [sys.executable, "-c", LOAD_SCRIPT, str(data_dir)]
    runs = []
    for _ in range(3):
        output = subprocess.check_output(command, cwd=measuring.ROOT, text=True)  # noqa: S603
        runs.append([float(word) for word in output.split()])
    seconds, memory = np.median(runs, axis=0)
    print(f"\n{num_rows:,} rows, data file to first batch: {seconds:.2f} s (goal: under 2)")
    print(
        f"peak memory above idle, as a multiple of the embeddings: {memory:.2f} (goal: under 1.5)"
    )


def report_speed(data_dir: Path, epoch_rows: int, num_turns: int) -> None:
    """Print samples/s of ours, bare and stock by batch size and precision.

    `base.device.choose_precision` follows this table: what it takes for `amp` is starred.
    """
    print(
        f"\nsamples/s, median of {num_turns} turns of {epoch_rows:,} rows; ours is a whole epoch,"
    )
    print("with metrics, logging, a checkpoint, and the validation of a ninth more rows")
    print("".join(f"{column:>11}" for column in COLUMNS), "  numbers")
    cases = [(size, precision) for precision in cpu_precisions() for size in BATCH_SIZES]
    for batch_size, precision in cases:
        setup, ours = our_epoch(data_dir, batch_size, precision, epoch_rows)
        train = recipes.rows_of(setup.train_loader, torch.arange(epoch_rows))
        stocks = [timed_stock_epoch(*train, batch_size, workers) for workers in (0, 2)]
        epochs = [ours, bare_epoch(*train, batch_size, precision), *stocks]
        our_rate, bare, *stock = measuring.medians_in_turns(epochs, num_turns)
        cells = [f"{batch_size}", *(f"{rate:,.0f}" for rate in (our_rate, bare, max(stock)))]
        cells += [f"{bare / our_rate:.2f}", f"{our_rate / max(stock):.2f}"]
        star = " *" if precision == choose_precision(True, setup.device, batch_size) else ""
        print("".join(f"{cell:>11}" for cell in cells), f"  {precision}{star}", flush=True)


def cpu_precisions() -> list[Precision]:
    """List the numbers that this CPU computes with in hardware."""
    precisions = [Precision("cpu", torch.float32)]
    if cpu_has_bfloat16():
        precisions.append(Precision("cpu", torch.bfloat16))
    if cpu_rounds_factors():
        precisions.append(Precision("cpu", torch.bfloat16, rounds_factors=True))
    return precisions


def our_epoch(
    data_dir: Path, batch_size: int, precision: Precision, num_rows: int
) -> tuple[Setup, Epoch]:
    """Make a trainer from the shipped config; a turn is one whole epoch of it."""
    changes = {
        "amp": False,
        "arch.args": NETWORK,
        "data_loader.args.data_dir": str(data_dir),
        "data_loader.args.batch_size": batch_size,
        "data_loader.args.limit_data": int(num_rows / 0.9) + 1,
        "lr_scheduler": {"type": "ExponentialLR", "args": {"gamma": 0.9}},
        "trainer.save_dir": str(data_dir / "saved"),
        "trainer.tensorboard": True,
        "trainer.epochs": 1,
    }
    config = recipes.quiet_config(recipes.shipped("age101"), changes)
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
    model = stock_network(NETWORK)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, fused=True)

    def epoch() -> float:
        order = torch.randperm(len(labels))
        start = time.perf_counter()
        for indices in torch.split(order, batch_size):
            x, y = embeddings.index_select(0, indices), labels.index_select(0, indices)
            with precision.autocast():
                loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            with precision.backward():
                loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return len(labels) / (time.perf_counter() - start)

    return epoch


def timed_stock_epoch(
    embeddings: Tensor, labels: Tensor, batch_size: int, num_workers: int
) -> Epoch:
    """Make the stock way's epoch, without validation, over a quarter of the rows."""
    quarter = len(labels) // 4
    samples = DictSamples(embeddings[:quarter], labels[:quarter])
    loader = DataLoader(samples, batch_size, shuffle=True, num_workers=num_workers)
    model = stock_network(NETWORK)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)

    def epoch() -> float:
        start = time.perf_counter()
        stock_epoch(model, loader, optimizer)
        return quarter / (time.perf_counter() - start)

    return epoch


if __name__ == "__main__":
    main()
