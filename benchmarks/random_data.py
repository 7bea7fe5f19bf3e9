"""Data files of random unit embeddings, of any size, in the project's format."""

from pathlib import Path

import numpy as np

from utils.sizes import NUM_FOLDS

DTYPE = np.dtype(
    [
        ("image_path", "U64"),
        ("subject", "U16"),
        ("age", "f4"),
        ("gender", "U1"),
        ("fold", "i1"),
        ("det_score", "f4"),
        ("embedding", "f4", (512,)),
    ]
)
CHUNK_ROWS = 16_384


def write_random_data(data_dir: Path, num_rows: int, seed: int = 0) -> None:
    """Write `num_rows` rows: nine tenths to imdb_crop/data.npy, the rest to wiki_crop/data.npy."""
    rng = np.random.default_rng(seed)
    num_imdb = num_rows * 9 // 10
    for name, count in (("imdb_crop", num_imdb), ("wiki_crop", num_rows - num_imdb)):
        _write(data_dir / name / "data.npy", count, max(num_rows // 20, 1), rng)


def write_random_adience(data_dir: Path, num_rows: int, seed: int = 0) -> None:
    """Write `num_rows` rows in five folds of people to Adience/data-aligned.npy."""
    path = data_dir / "Adience" / "data-aligned.npy"
    _write(path, num_rows, max(num_rows // 8, NUM_FOLDS), np.random.default_rng(seed))
    faces = np.lib.format.open_memmap(path, "r+")
    faces["fold"] = faces["subject"].astype(int) % NUM_FOLDS
    faces.flush()


def _write(path: Path, num_rows: int, num_people: int, rng: np.random.Generator) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.lib.format.open_memmap(path, "w+", DTYPE, (num_rows,))
    for start in range(0, num_rows, CHUNK_ROWS):
        rows = array[start : start + CHUNK_ROWS]
        embedding = rng.standard_normal((len(rows), 512), np.float32)
        rows["embedding"] = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
        rows["subject"] = rng.integers(0, num_people, len(rows)).astype("U16")
        rows["age"] = rng.integers(0, 101, len(rows))
        rows["gender"] = rng.choice(["m", "f"], len(rows))
        rows["fold"] = -1
        rows["det_score"] = 1
    array.flush()
