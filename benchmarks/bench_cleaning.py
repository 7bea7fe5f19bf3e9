"""How long the cleaning of IMDB takes and how much memory it needs, on made-up embeddings.

    python benchmarks/bench_cleaning.py                       all 460,723 entries: 2 GB of files
    python benchmarks/bench_cleaning.py --num_entries 46072   a tenth

Writes `imdb.mat` with all its fields and a file of embeddings for every image, then cleans them in
a process of its own: once in whole, for time and the highest memory, and a sample of the files by
themselves. No pictures are written, since the cleaning opens none.
"""

import argparse
import os
import pickle
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import savemat
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from extraction.embeddings import EmbeddingStore  # noqa: E402

NUM_ENTRIES = 460_723
NUM_FACES = {1: 0.87, 2: 0.06, 3: 0.02, 0: 0.03, -1: 0.02}
"""Shares of the files with so many faces; -1: no file."""

MATLAB_1940, NUM_DAYS = 708_572, 14_000
NUM_TIMED = 5000

CLEAN_SCRIPT = """
import sys, time
from benchmarks.memory import peak_bytes
from utils.scripts import get_imdb_wiki_clean
idle = peak_bytes()
start = time.perf_counter()
get_imdb_wiki_clean("imdb", data_dir=sys.argv[1])
seconds = time.perf_counter() - start
peak = peak_bytes()
print(seconds, peak - idle)
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--num_entries", type=int, default=NUM_ENTRIES, help="entries of imdb.mat")
    parser.add_argument("--folder", type=Path, help="where to write the files for a while")
    arguments = parser.parse_args()
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    print(f"{os.cpu_count()} cores, load {load}")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        data_dir = Path(folder)
        paths = write_dataset(data_dir / "imdb_crop", arguments.num_entries)
        report_files(data_dir / "imdb_crop", paths)
        report_cleaning(data_dir, arguments.num_entries)


def write_dataset(folder: Path, num_entries: int) -> list[str]:
    """Write the .mat file and the embeddings; return the paths of the images."""
    rng = np.random.default_rng(0)
    for number in range(100):
        (folder / f"{number:02}").mkdir(parents=True)
    paths = [
        f"{n % 100:02}/nm{n % 20_284:07}_rm{n:010}_1950-1-1_2000.jpg" for n in range(num_entries)
    ]
    years = rng.integers(1980, 2015, num_entries)
    fields = {
        "dob": MATLAB_1940 + rng.integers(0, NUM_DAYS, (1, num_entries)).astype(np.int32),
        "photo_taken": years[None].astype(np.uint16),
        "full_path": _cells(paths),
        "gender": rng.choice([0.0, 1.0, np.nan], (1, num_entries), p=[0.42, 0.56, 0.02]),
        "name": _cells([f"Some Body {n % 20_284}" for n in range(num_entries)]),
        "face_location": _cells([np.array([[1.0, 2.0, 3.0, 4.0]])] * num_entries),
        "face_score": rng.random((1, num_entries)),
        "second_face_score": rng.random((1, num_entries)),
        "celeb_names": _cells([f"Some Body {n}" for n in range(20_284)]),
        "celeb_id": np.arange(num_entries)[None] % 20_284 + 1.0,
    }
    savemat(folder / "imdb.mat", {"imdb": fields}, do_compression=True)
    for path in tqdm(paths, desc="embeddings", unit="file"):
        _write_faces(folder / f"{path}.RESIZED.pkl", rng)
    return paths


def _cells(contents: list[Any]) -> np.ndarray[Any, Any]:
    cells = np.empty((1, len(contents)), object)
    for number, content in enumerate(contents):
        cells[0, number] = content
    return cells


def _write_faces(path: Path, rng: np.random.Generator) -> None:
    num_faces = int(rng.choice(list(NUM_FACES), p=list(NUM_FACES.values())))
    if num_faces < 0:
        return
    faces = []
    for _ in range(num_faces):
        vector = rng.standard_normal(512, dtype=np.float32)
        faces.append(
            {
                "bbox": rng.uniform(0, 640, 4),
                "det_score": np.float64(rng.uniform(0.895, 1)),
                "landmark": rng.uniform(0, 640, (5, 2)),
                "normed_embedding": vector / np.linalg.norm(vector),
            }
        )
    path.write_bytes(pickle.dumps(faces, protocol=4))


def report_files(folder: Path, paths: list[str]) -> None:
    """Print how long a file takes by itself."""
    store = EmbeddingStore(folder, 640)
    there = [path for path in paths[: 2 * NUM_TIMED] if store.has(path)][:NUM_TIMED]
    start = time.perf_counter()
    for path in there:
        store.read(path)
    print(f"a file of embeddings: {1000 * (time.perf_counter() - start) / len(there):.3f} ms")


def report_cleaning(data_dir: Path, num_entries: int) -> None:
    """Print time and highest memory of the whole cleaning."""
    done = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, "-c", CLEAN_SCRIPT, str(data_dir)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, num_bytes = map(float, done.stdout.splitlines()[-1].split())
    num_kept = len(np.load(data_dir / "imdb_crop" / "data.npy", mmap_mode="r"))
    print(
        f"{num_entries:,} entries, {num_kept:,} kept: {seconds:.0f} s "
        f"({1000 * seconds / num_entries:.3f} ms an entry); highest memory "
        f"{num_bytes / 1e6:.0f} MB, {num_bytes / (2048 * num_kept):.2f} x the embeddings kept"
    )


if __name__ == "__main__":
    main()
