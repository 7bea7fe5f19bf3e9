"""What a GPU makes of stacks, where there is one."""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from base.interrupt import StopRequest
from benchmarks.random_data import write_random_data
from trainer.check import check
from trainer.cross_val import sequential_engine
from trainer.fit import keep_on_device, prepare
from trainer.inputs import read_inputs
from trainer.member import Member
from trainer.stack import Stack
from trainer.stacked_engine import stacked_engine
from trainer.trainer import Trainer
from utils.config import ConfigParser

NUM_ROWS = 398_251
"""Faces of IMDB and WIKI together after cleaning."""

NUM_TRIALS = 16


def report_gpu(data_dir: Path, config: ConfigParser) -> None:
    """Print times on the GPU, and what it spends them on; or that there is none."""
    if not torch.cuda.is_available():
        print("GPU: not measured (there is none here)")
        return
    print(f"GPU: {torch.cuda.get_device_name()}")
    runs = [(seed, fold) for seed in range(5) for fold in range(5)]
    seconds = {}
    for name, engine in {"sequential": sequential_engine(), "stacked": stacked_engine()}.items():
        for amp in (False, True):
            own = ConfigParser(config.config, modification={"amp": amp}, check=check)
            start = time.perf_counter()
            with tqdm(disable=True) as bar:
                list(engine(own, runs, bar, read_inputs(own, whole=True)))
            seconds[name, amp] = time.perf_counter() - start
            print(f"25 runs {name}, amp {amp}: {seconds[name, amp]:.1f} s", flush=True)
    for amp in (False, True):
        ratio = seconds["sequential", amp] / seconds["stacked", amp]
        print(f"stacked, amp {amp}: {ratio:.1f} times as fast (goal: 20, and under 30 s)")
    with tempfile.TemporaryDirectory() as folder:
        write_random_data(Path(folder), NUM_ROWS)
        _report_epochs(Path(folder), config)


def _report_epochs(data_dir: Path, config: ConfigParser) -> None:
    changes = {
        "amp": True,
        "data_loader.args.dataset": "imdb_wiki",
        "data_loader.args.data_dir": str(data_dir),
        "data_loader.args.batch_size": 512,
        "data_loader.args.validation_split": 0,
        "trainer.save_dir": str(data_dir / "saved"),
    }
    own = ConfigParser(config.config, modification=changes, check=check)
    (trainer,) = _trainers(own, 1)
    with StopRequest() as stop:
        keep_on_device(trainer.setup.train_loader, trainer.setup.device)
        seconds = _median_seconds(lambda: trainer.train_epoch(1, stop))
        print(f"an epoch of {NUM_ROWS:,} at batch 512, single: {seconds:.2f} s (goal: under 1)")
        _profile(lambda: trainer.train_epoch(1, stop))
    stack = Stack([Member(trainer) for trainer in _trainers(own, NUM_TRIALS)])
    with StopRequest() as stop:
        seconds = _median_seconds(lambda: stack.train_epoch(stop))
        print(f"{NUM_TRIALS} stacked trials: {seconds:.2f} s an epoch (goal: under 4)")
        _profile(lambda: stack.train_epoch(stop))


def _trainers(config: ConfigParser, number: int) -> list[Trainer]:
    inputs = read_inputs(config, whole=True)
    configs = [
        ConfigParser(config.config, modification={"seed": seed}, check=check)
        for seed in range(number)
    ]
    return [Trainer(prepare(own, inputs), own) for own in configs]


def _median_seconds(epoch: Callable[[], Any]) -> float:
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        epoch()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def _profile(epoch: Callable[[], Any]) -> None:
    """Print the busiest kernels, and the share of the time in which the GPU works at all."""
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU, ProfilerActivity.CUDA]
    start = time.perf_counter()
    with profile(activities=activities) as profiled:
        epoch()
        torch.cuda.synchronize()
    wall_us = (time.perf_counter() - start) * 1e6
    events = sorted(profiled.key_averages(), key=lambda event: -event.self_device_time_total)
    busy_us = sum(event.self_device_time_total for event in events)
    num_launches = sum(e.count for e in events if e.key.startswith("cudaLaunchKernel"))
    print(f"  the GPU is busy {busy_us / wall_us:.0%} of the time, {num_launches:,} launches")
    for event in events[:6]:
        print(f"  {event.self_device_time_total / busy_us:6.1%} {event.count:8,} {event.key[:60]}")
