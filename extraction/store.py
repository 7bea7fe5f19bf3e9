"""The files of answers beside the images: named, written whole or not at all, read, listed."""

import fcntl
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from extraction.embeddings import AS_IT_WAS_SUFFIX, RESIZED_SUFFIX
from extraction.face_pickle import pickle_faces
from utils.errors import DataError
from utils.face_client import Face

_TEMPORARY_SUFFIX = ".pkl-part"


def answer_suffix(resize: int | None) -> str:
    """Give what the name of an image's answer ends in.

    >>> answer_suffix(640), answer_suffix(None)
    ('.RESIZED.pkl', '.pkl')
    """
    return RESIZED_SUFFIX if resize else AS_IT_WAS_SUFFIX


def answer_path(image_path: Path, resize: int | None) -> Path:
    """Name the file of an image's answer, which lies beside the image."""
    return image_path.with_name(image_path.name + answer_suffix(resize))


def write_answer(path: Path, faces: Sequence[Face] | None) -> None:
    """Write the faces, or that the server could not use the image (None), whole or not at all.

    Threads may call this at once. What a kill leaves behind, `take_inventory` removes.
    """
    part = path.parent / f".{path.name[:50]}.{threading.get_ident()}{_TEMPORARY_SUFFIX}"
    try:
        with part.open("wb", buffering=0) as file:
            file.write(pickle_faces(faces))
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@dataclass(slots=True)
class Inventory:
    """What is there of the images that the labels name.

    Attributes:
        done: paths of images with an answer.
        missing: paths of images without one.
        absent: paths that name no file.
    """

    done: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)


def take_inventory(dataset_dir: Path, paths: Sequence[str], resize: int | None) -> Inventory:
    """Sort the images by what is there, reading each folder once; a path counts once.

    Files that a killed extraction left half-written are removed.
    """
    suffix = answer_suffix(resize)
    inventory = Inventory()
    for folder, names in _by_folder(paths).items():
        present = _names_in(dataset_dir / folder) if _is_inside(folder) else set()
        for name in names:
            path = f"{folder}/{name}" if folder else name
            if name not in present:
                inventory.absent.append(path)
            elif name + suffix in present:
                inventory.done.append(path)
            else:
                inventory.missing.append(path)
    return inventory


def _by_folder(paths: Sequence[str]) -> dict[str, list[str]]:
    folders: dict[str, list[str]] = {}
    for path in dict.fromkeys(paths):
        folder, _, name = path.rpartition("/")
        folders.setdefault(folder, []).append(name)
    return folders


def _is_inside(folder: str) -> bool:
    """Tell whether a folder of the labels stays inside the data set."""
    path = PurePosixPath(folder)
    return not path.is_absolute() and ".." not in path.parts


def _names_in(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            names = {entry.name for entry in entries}
    except (FileNotFoundError, NotADirectoryError):
        return set()
    for name in [name for name in names if name.endswith(_TEMPORARY_SUFFIX)]:
        (folder / name).unlink(missing_ok=True)
    return names


@contextmanager
def only_extraction(dataset_dir: Path) -> Iterator[None]:
    """Keep a second extraction out of the folder while the block lasts.

    Raises:
        DataError: another extraction is at work there.
    """
    handle = os.open(dataset_dir, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DataError(
            f"{dataset_dir}: another extraction is at work there; wait for its end, or stop it"
        ) from None
    except OSError:  # a file system without locks
        pass
    try:
        yield
    finally:
        os.close(handle)
