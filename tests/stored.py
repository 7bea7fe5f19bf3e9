"""What the tests of the cleaning share: face dicts, stored answers, small data sets."""

import json
import os
import pickle
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import savemat

from extraction.adience import COLUMNS
from utils.labels import NUM_FOLDS

RESIZED, AS_IT_WAS = ".RESIZED.pkl", ".pkl"
Label = tuple[str, str]
"""Age and gender as a fold file of Adience holds them."""


def vector(seed: int = 0) -> NDArray[np.float32]:
    numbers = np.random.default_rng(seed).standard_normal(512)
    return (numbers / np.linalg.norm(numbers)).astype(np.float32)


def make_face(
    det_score: float = 0.95, centre: tuple[float, float] = (320, 320), seed: int = 0
) -> dict[str, Any]:
    """Make a face as the face server describes it, 100 pixels wide and 120 high."""
    x, y = centre
    return {
        "bbox": np.array([x - 50, y - 60, x + 50, y + 60], np.float64),
        "det_score": np.float64(det_score),
        "landmark": np.full((5, 2), 300.0),
        "normed_embedding": vector(seed),
    }


def store(image_path: Path, answer: object, suffix: str = RESIZED, protocol: int = 4) -> Path:
    """Store the face server's answer for an image."""
    path = Path(f"{image_path}{suffix}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(answer, protocol=protocol))
    return path


def write_folds(folder: Path, *rows_of_folds: Sequence[tuple[str, ...]], end: str = "\n") -> Path:
    """Write five fold files; a row is user_id, original_image, face_id, age, gender."""
    folder.mkdir(parents=True, exist_ok=True)
    for fold in range(NUM_FOLDS):
        rows = rows_of_folds[fold] if fold < len(rows_of_folds) else []
        lines = ["\t".join(COLUMNS), *("\t".join((*row, *"0000000")) for row in rows)]
        (folder / f"fold_{fold}_data.txt").write_bytes((end.join(lines) + end).encode())
    return folder


def adience_path(name: str, user_id: str = "7@N01") -> str:
    return f"aligned/{user_id}/landmark_aligned_face.1.{name}"


def write_adience(data_dir: Path, labels: dict[str, Label]) -> Path:
    """Write an Adience folder whose fold 0 holds these images; return the images' folder."""
    rows = [("7@N01", name, "1", *label) for name, label in labels.items()]
    write_folds(data_dir / "Adience", rows)
    return data_dir / "Adience"


def serial(year: int, month: int, day: int) -> int:
    """Count days as MATLAB does: datenum(1970, 1, 1) is 719529."""
    return 719529 + (date(year, month, day) - date(1970, 1, 1)).days


def cells(*contents: object) -> NDArray[np.object_]:
    row = np.empty((1, len(contents)), object)
    for number, content in enumerate(contents):
        row[0, number] = content
    return row


def write_wiki(data_dir: Path, paths: Sequence[str], **changes: object) -> Path:
    """Write a wiki_crop folder: everybody is a man who was 20 in 2000, if not changed."""
    folder = data_dir / "wiki_crop"
    folder.mkdir(parents=True, exist_ok=True)
    fields: dict[str, object] = {
        "dob": np.full((1, len(paths)), serial(1980, 1, 1), np.int32),
        "photo_taken": np.full((1, len(paths)), 2000, np.uint16),
        "full_path": cells(*paths),
        "gender": np.ones((1, len(paths))),
        "name": cells(*["Ann"] * len(paths)),
    }
    savemat(folder / "wiki.mat", {"wiki": fields | changes})
    return folder


def load(path: Path) -> NDArray[np.void]:
    array: NDArray[np.void] = np.load(path, allow_pickle=False)
    return array


def meta_data(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


class Opens:
    """Makes a file when a reader that runs what it reads unpickles it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)
