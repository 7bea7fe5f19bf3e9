"""Data sets of one's own for tests, as `get_faces_clean` writes them."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from conftest import make_faces, save_faces
from numpy.typing import NDArray


def own_faces(num_faces: int = 200, num_people: int = 40, seed: int = 5) -> NDArray[np.void]:
    """Make faces of known people, without folds."""
    faces = make_faces(num_faces, num_people, seed, is_adience=False)
    faces["subject"] = [f"person {row % num_people}" for row in range(num_faces)]
    return faces


def save_own(data_dir: Path, name: str, faces: NDArray[np.void], **columns: Any) -> NDArray[Any]:
    """Save faces as a set of one's own, some columns changed, or added as text."""
    dtype = list(faces.dtype.descr)
    added = [(key, "U5") for key in columns if key not in (faces.dtype.names or ())]
    changed = np.zeros(len(faces), dtype + added)
    for key in faces.dtype.names or ():
        changed[key] = faces[key]
    for key, values in columns.items():
        changed[key] = values
    save_faces(changed, data_dir / name / "data.npy")
    return changed


def with_own(data_dir: Path, folder: Path, *names: str) -> Path:
    """Copy the known data sets to a folder, and add sets of one's own."""
    shutil.copytree(data_dir, folder)
    for number, name in enumerate(names):
        save_own(folder, name, own_faces(seed=10 + number))
    return folder
