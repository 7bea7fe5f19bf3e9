"""How well embeddings of another network are told from those that a model was trained on.

    python benchmarks/bench_foreign.py DATA_DIR [--photos FILE ...]

DATA_DIR holds `wiki_crop/data.npy` with real embeddings. FILEs are data files of other photographs
that the same network embedded; people who are in them are left out of the training rows. Prints
the share of false alarms and of foreign embeddings that were missed, in percent, the mean of
NUM_SEEDS draws.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from data_loader.faces import Faces, read_faces  # noqa: E402
from utils.network_check import NetworkCheck, rotated  # noqa: E402

NUM_ROWS = (500, 700, 1000, 1500, 2000, 3000, 4500)
NUM_OTHERS = 700
NUM_SEEDS = 5
SAME_PERSON = 0.85
"""Cosine of two embeddings."""
Embeddings = NDArray[np.float32]


def main() -> None:
    """Print one line for every number of rows, for every one-sided choice, for every mixture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--photos", type=Path, nargs="*", default=[])
    arguments = parser.parse_args()
    photos = {path.stem: load(path) for path in arguments.photos}
    faces = read_faces(arguments.data_dir, "wiki")
    is_new = np.ones(len(faces), bool)
    for embeddings in photos.values():
        is_new &= (faces.embedding @ embeddings.T).max(1) < SAME_PERSON
    print(f"{len(faces):,} faces, {int(is_new.sum()):,} without people who are in the photographs")
    for num_rows in NUM_ROWS:
        print_line(f"{num_rows:,} rows", faces.embedding, is_new, photos, num_rows)
    for name, chosen in one_sided(faces).items():
        print_line(name, faces.embedding, is_new & chosen, photos, 3000, ~chosen)
    for percent in (1, 3, 5):
        name = f"{percent} % foreign"
        print_line(name, faces.embedding, is_new, photos, 3000, percent=percent)


def load(path: Path) -> Embeddings:
    """Read the embeddings (N, 512) of a data file."""
    file = np.load(path, mmap_mode="r", allow_pickle=False)
    return np.array(file["embedding"], np.float32)


def one_sided(faces: Faces) -> dict[str, NDArray[np.bool_]]:
    """Choose rows to train on; all others are to be familiar too."""
    return {
        "women only": faces.gender == "f",
        "men only": faces.gender == "m",
        "adults only": faces.age >= 18,
        "under 40 only": faces.age < 40,
    }


def print_line(
    name: str,
    embeddings: Embeddings,
    may_train: NDArray[np.bool_],
    photos: dict[str, Embeddings],
    num_rows: int,
    others: NDArray[np.bool_] | None = None,
    percent: int = 0,
) -> None:
    """Learn from some rows, with a tenth of them for validation; print the means over seeds."""
    lines = []
    start = time.perf_counter()
    for seed in range(NUM_SEEDS):
        rng = np.random.default_rng(seed)
        rows = rng.permutation(np.flatnonzero(may_train))
        held_out = rows[:NUM_OTHERS] if others is None else np.flatnonzero(others)
        rows = rows[NUM_OTHERS:] if others is None else rows
        known = embeddings[rows[: num_rows + num_rows // 10]]
        is_mixed = rng.random(len(known)) < percent / 100
        known[is_mixed] = rotated(known[is_mixed], seed=100 + seed)
        num_valid = len(known) // 11
        check = NetworkCheck.fit(known[num_valid:], known[:num_valid])
        if check is not None:
            lines.append(shares(check, embeddings[held_out], photos, seed))
    seconds = (time.perf_counter() - start) / NUM_SEEDS
    cells = [f"{key} {np.mean([line[key] for line in lines]):.1f}" for key in (lines or [{}])[0]]
    print(f"{name:14} {len(lines)} of {NUM_SEEDS}", *cells, f"({seconds:.2f} s)", sep="  ")


def shares(
    check: NetworkCheck, others: Embeddings, photos: dict[str, Embeddings], seed: int
) -> dict[str, float]:
    """Give the threshold, and percentages: of false alarms, then of foreign ones missed."""
    order = np.random.default_rng(seed).permutation(512)
    signs = np.where(order % 2, 1, -1).astype(np.float32)
    random = np.random.default_rng(seed).standard_normal(others.shape).astype(np.float32)
    foreign = {
        "rotated": rotated(others, seed=200 + seed),
        "the mixed-in network": rotated(others, seed=100 + seed),
        "shuffled": others[:, order],
        "flipped": others * signs,
        "random": random / np.linalg.norm(random, axis=1, keepdims=True),
    }
    familiar = {"other faces": others, **photos}
    alarms = {name: 100 * check.foreign_share(x) for name, x in familiar.items()}
    missed = {f"missed {name}": 100 - 100 * check.foreign_share(x) for name, x in foreign.items()}
    return {"threshold": check.threshold, **alarms, **missed}


if __name__ == "__main__":
    main()
