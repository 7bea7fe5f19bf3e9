"""What Ray's engines cost and gain, beside runs one after the other, in one run.

    python benchmarks/bench_ray.py

Speed: the runs of a cross-validation on random data of Adience's size, each of some ten seconds or
more. "ray": as many at once as there are cores, one thread each; "1 thread", "all threads": one
after the other. The clock of each engine starts when its first run begins and stops when its last
one ends, so that the start of Ray and of its workers, which is shown beside it, does not count. All
take turns; the median of their ratios counts.

Memory: proportional set size (each shared page counted once) of Ray's processes and the driver's
while 1, 2, ... trials of a search train on 398,251 faces; what each further trial adds.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.random_data import write_random_data  # noqa: E402
from utils.runtime import usable_cpus  # noqa: E402

NUM_ROWS = 398_251
"""Faces of IMDB and WIKI together after cleaning."""

ADIENCE_ROWS = 17_055
"""Faces of Adience after cleaning."""


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=3, help="timed turns; the median counts")
    parser.add_argument("--epochs", type=int, default=20, help="of a run")
    parser.add_argument("--seeds", type=int, default=2, help="of the study: times two folds")
    parser.add_argument("--rows", type=int, default=NUM_ROWS, help="of the search's data")
    parser.add_argument("--skip_memory", action="store_true")
    arguments = parser.parse_args()
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    print(f"{usable_cpus()} cores, load {load}")
    with tempfile.TemporaryDirectory() as folder:
        report_speed(Path(folder), arguments.turns, arguments.epochs, arguments.seeds)
        if not arguments.skip_memory:
            report_memory(Path(folder), arguments.rows)


def report_speed(folder: Path, num_turns: int, num_epochs: int, num_seeds: int) -> None:
    """Time the engines in turns."""
    write_adience(folder)
    engines = {
        "ray": ["--engine", "ray"],
        "1 thread": ["--cpus", "1"],
        "all threads": ["--cpus", str(usable_cpus())],
    }
    turns = []
    for turn in range(num_turns):
        seconds = {}
        for name, options in engines.items():
            save_dir = folder / f"{name}-{turn}".replace(" ", "-")
            config = study(folder, save_dir, num_epochs, num_seeds)
            wall_s, seconds[name] = timed_study(config, options, save_dir)
            rate = 2 * num_seeds / seconds[name]
            print(
                f"turn {turn + 1}, {name:12} {2 * num_seeds} runs in {seconds[name]:6.1f} s "
                f"({1 / rate:.1f} s a run), start and end {wall_s - seconds[name]:5.1f} s",
                flush=True,
            )
        turns.append(seconds)
    for name, goal in (("1 thread", "1.6 or more"), ("all threads", "1 or more")):
        ratio = statistics.median(turn[name] / turn["ray"] for turn in turns)
        print(f"ray is {ratio:.2f} x as fast as one after the other, {name} (goal: {goal})")


def write_adience(folder: Path) -> None:
    """Write random faces of Adience's size, in five folds, from those of a random wiki."""
    write_random_data(folder / "raw", ADIENCE_ROWS * 10 // 9 + 1)
    faces = np.load(folder / "raw" / "imdb_crop" / "data.npy")[:ADIENCE_ROWS]
    faces["fold"] = np.arange(len(faces)) % 5
    faces["subject"] = np.arange(len(faces)) // 5 % (len(faces) // 20)
    faces["fold"] = faces["subject"].astype(int) % 5
    path = folder / "Adience" / "data-aligned.npy"
    path.parent.mkdir()
    np.save(path, faces, allow_pickle=False)


def study(folder: Path, save_dir: Path, num_epochs: int, num_seeds: int) -> dict[str, Any]:
    """Give the shipped cross-validation on the random faces, with the original's network."""
    config: dict[str, Any] = json.loads((ROOT / "cross-val.json").read_text(encoding="utf-8"))
    config |= {"n_gpu": 0, "seeds": list(range(num_seeds)), "num_cross_val": 2}
    config["amp"] = False
    config["arch"]["args"] |= {"num_residuals_per_block": 1, "dropout": 0.05}
    config["data_loader"]["args"]["data_dir"] = str(folder)
    config["trainer"] |= {"save_dir": str(save_dir), "epochs": num_epochs}
    return config


def timed_study(config: dict[str, Any], options: list[str], save_dir: Path) -> tuple[float, float]:
    """Run a study in a process of its own; give its whole time and that of its runs."""
    path = save_dir.with_suffix(".json")
    path.write_text(json.dumps(config), encoding="utf-8")
    start = time.perf_counter()
    subprocess.run(  # noqa: S603 - our own script
        [sys.executable, "cross-val.py", "-c", str(path), *options],
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    wall_s = time.perf_counter() - start
    begins, ends = [], []
    for log in save_dir.glob("log/*/*/info.log"):
        begins.append(first_time(log))
        ends.append(log_end(log))
    return wall_s, max(ends) - min(begins)


def first_time(log: Path) -> float:
    """Read when a run began from the first line of its log."""
    stamp = log.read_text(encoding="utf-8")[: len("2026-01-01 00:00:00,000")]
    whole, _, thousandths = stamp.partition(",")
    return time.mktime(time.strptime(whole, "%Y-%m-%d %H:%M:%S")) + int(thousandths) / 1000


def log_end(log: Path) -> float:
    """Read when a run ended from the last stamped line of its log."""
    lines = [line for line in log.read_text(encoding="utf-8").splitlines() if line[:2] == "20"]
    whole, _, rest = lines[-1].partition(",")
    return time.mktime(time.strptime(whole, "%Y-%m-%d %H:%M:%S")) + int(rest[:3]) / 1000


def report_memory(folder: Path, num_rows: int) -> None:
    """Print the memory of searches with 1 and 2 trials at once."""
    write_random_data(folder / "large", num_rows)
    print(f"\nPSS of all processes of a search on {num_rows:,} faces")
    before = 0.0
    for num_trials in (1, 2):
        used = peak_pss(folder, num_trials)
        added = f", {used - before:.2f} GiB more (goal: under 0.35)" if before else ""
        print(f"{num_trials} trials at once: {used:.2f} GiB{added}", flush=True)
        before = used


def peak_pss(folder: Path, num_trials: int) -> float:
    """Run a search of so many trials at once; give the highest sum of PSS in GiB."""
    mark = f"{os.getpid()}-{num_trials}"
    options = {
        "data_dir": str(folder / "large"),
        "num_samples": num_trials,
        "max_num_epochs": 1,
        "scheduler": "fifo",
        "gpus_per_trial": 0,
        "save_dir": str(folder / "searches"),
    }
    process = subprocess.Popen(  # noqa: S603 - our own script
        [
            *(sys.executable, "hp-tuning.py"),
            *(part for key, value in options.items() for part in ("-o", f"{key}={value}")),
        ],
        cwd=ROOT,
        env={**os.environ, "BENCH_RAY_MARK": mark},
        stdout=subprocess.DEVNULL,
    )
    marked = f"BENCH_RAY_MARK={mark}".encode()
    return watched(process, lambda: sum_pss(marked, num_trials)) / 2**30


def watched(process: "subprocess.Popen[bytes]", measure: Callable[[], float]) -> float:
    """Give the highest value until the process ends, which must end well."""
    highest = 0.0
    while process.poll() is None:
        highest = max(highest, measure())
        time.sleep(0.5)
    assert process.returncode == 0
    return highest


def sum_pss(mark: bytes, num_trials: int) -> float:
    """Add up the PSS in bytes of all processes whose environment holds a mark.

    0 until so many trials have begun: the driver then has let go of the data it read.
    """
    total, num_begun = 0, 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark not in (folder / "environ").read_bytes().split(b"\0"):
                continue
            num_begun += b"train" in (folder / "cmdline").read_bytes().split(b"\0")[0]
            lines = (folder / "smaps_rollup").read_text(encoding="ascii").splitlines()
        except OSError:  # gone meanwhile
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total * 1024.0 if num_begun >= num_trials else 0.0


if __name__ == "__main__":
    main()
