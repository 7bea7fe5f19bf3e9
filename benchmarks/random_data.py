"""Data files of random unit embeddings, of any size, in the project's format."""

from pathlib import Path

import numpy as np

from utils.labels import EMBEDDING_SIZE, NUM_FOLDS

DTYPE = np.dtype(
    [
        ("image_path", "U64"),
        ("subject", "U16"),
        ("age", "f4"),
        ("gender", "U1"),
        ("fold", "i1"),
        ("det_score", "f4"),
        ("embedding", "f4", (EMBEDDING_SIZE,)),
    ]
)
CHUNK_ROWS = 16_384


def write_random_imdb_wiki(data_dir: Path, num_rows: int, seed: int = 0) -> None:
    """Write nine tenths of the rows to imdb_crop/data.npy, the others to wiki_crop/data.npy."""
    rng = np.random.default_rng(seed)
    num_imdb, num_people = num_rows * 9 // 10, max(num_rows // 20, 1)
    _write(data_dir / "imdb_crop" / "data.npy", num_imdb, num_people, False, rng)
    _write(data_dir / "wiki_crop" / "data.npy", num_rows - num_imdb, num_people, False, rng)


def write_random_adience(data_dir: Path, num_rows: int, seed: int = 0) -> None:
    """Write rows in five folds of people to Adience/data-aligned.npy."""
    num_people = max(num_rows // 8, NUM_FOLDS)
    path = data_dir / "Adience" / "data-aligned.npy"
    _write(path, num_rows, num_people, True, np.random.default_rng(seed))


def _write(
    path: Path, num_rows: int, num_people: int, has_folds: bool, rng: np.random.Generator
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.lib.format.open_memmap(path, "w+", DTYPE, (num_rows,))
    for start in range(0, num_rows, CHUNK_ROWS):
        rows = array[start : start + CHUNK_ROWS]
        embedding = rng.standard_normal((len(rows), EMBEDDING_SIZE), np.float32)
        people = rng.integers(0, num_people, len(rows))
        rows["embedding"] = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
        rows["subject"] = people.astype("U16")
        rows["age"] = rng.integers(0, 101, len(rows))
        rows["gender"] = rng.choice(["m", "f"], len(rows))
        rows["fold"] = people % NUM_FOLDS if has_folds else -1
        rows["det_score"] = 1
    array.flush()
