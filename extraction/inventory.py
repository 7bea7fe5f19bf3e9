"""What is there of the images that the labels name: with an answer, without one, or not at all."""

import errno
import os
import posixpath
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from extraction.places import Places
from extraction.stored_answers import answer_suffix
from utils.errors import DataError
from utils.locks import only_one, remove_leftovers
from utils.text import in_one_line

_OF_THE_WHOLE_DISK = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.EFBIG),
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM),
}


def is_of_one_path(error: OSError) -> bool:
    """Return whether other files may well be written although this one cannot."""
    return error.errno not in _OF_THE_WHOLE_DISK


@dataclass(slots=True)
class Inventory:
    """What is there of the images that the labels name.

    Attributes:
        done: paths of images with an answer, also when the image itself is gone.
        missing: paths of images without one.
        absent: paths that name no file.
        unreadable: (path, why) of images in a folder that cannot be read.
    """

    done: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)


def take_inventory(places: Places, paths: Sequence[str], resize: int | None) -> Inventory:
    """Sort the images by what is there, reading each folder once; a path counts once.

    Files that a killed extraction left half-written are removed.
    """
    suffix = answer_suffix(resize)
    inventory = Inventory()
    for folder, paths_by_name in _by_folder(paths).items():
        try:
            present = _names_present(places, folder, suffix) if places.may_hold(folder) else set()
        except (OSError, ValueError) as error:  # ValueError: a name that no file can have
            if isinstance(error, OSError) and not is_of_one_path(error):
                raise
            inventory.unreadable += [(path, in_one_line(error)) for path in paths_by_name.values()]
            continue
        for name, path in paths_by_name.items():
            if name + suffix in present:
                inventory.done.append(path)
            elif name in present:
                inventory.missing.append(path)
            else:
                inventory.absent.append(path)
    return inventory


def _by_folder(paths: Sequence[str]) -> dict[str, dict[str, str]]:
    """Map each folder to its images, by name."""
    folders: dict[str, dict[str, str]] = {}
    for path in paths:
        folder, name = posixpath.split(path)
        folders.setdefault(folder, {})[name] = path
    return folders


def _names_present(places: Places, folder: str, suffix: str) -> set[str]:
    """List the images and the answers of a folder."""
    image_dir = places.image_dir / folder
    answer_dir = places.answer_dir(folder)
    present = _names_in(answer_dir, suffix)
    return present if answer_dir == image_dir else present | _names_of_images(image_dir)


def _names_of_images(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries}
    except (FileNotFoundError, NotADirectoryError):
        return set()


def _names_in(folder: Path, suffix: str) -> set[str]:
    """List a folder, without what is named like an answer and is none."""
    remove_leftovers(folder)
    try:
        with os.scandir(folder) as entries:
            return {
                entry.name
                for entry in entries
                if not entry.name.endswith(suffix) or _is_filled(entry)
            }
    except (FileNotFoundError, NotADirectoryError):
        return set()


def _is_filled(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file() and entry.stat().st_size > 0
    except OSError:
        return False


def only_extraction(dataset_dir: Path) -> AbstractContextManager[None]:
    """Keep a second extraction out of the folder while the block lasts.

    Raises:
        DataError: another extraction is at work there.
    """
    busy = f"{dataset_dir}: another extraction is at work there; wait for its end, or stop it"
    return only_one(dataset_dir, DataError(busy))
