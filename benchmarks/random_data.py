"""Data files of random unit embeddings, of any size, in the project's format."""

from pathlib import Path

import numpy as np

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
    for name, count in (("imdb", num_imdb), ("wiki", num_rows - num_imdb)):
        path = data_dir / f"{name}_crop" / "data.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        array = np.lib.format.open_memmap(path, "w+", DTYPE, (count,))
        for start in range(0, count, CHUNK_ROWS):
            rows = array[start : start + CHUNK_ROWS]
            embedding = rng.standard_normal((len(rows), 512), np.float32)
            rows["embedding"] = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
            rows["subject"] = rng.integers(0, max(num_rows // 20, 1), len(rows)).astype("U16")
            rows["age"] = rng.integers(0, 101, len(rows))
            rows["gender"] = rng.choice(["m", "f"], len(rows))
            rows["fold"] = -1
            rows["det_score"] = 1
        array.flush()
