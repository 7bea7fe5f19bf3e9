"""The original project's data files have the names of ours: they are kept under another name."""

import filecmp
import os
import shutil
from pathlib import Path

from data_loader.data_files import holds_objects
from utils.errors import DataError
from utils.files import atomic_write

BACKUP_SUFFIX = ".original.npy"


def backup_of_original(path: Path) -> Path | None:
    """Return the file that is to keep the original project's `path`; None when it is not theirs.

    Raises:
        DataError: that file is there already and holds something else.
    """
    if not _is_original(path):
        return None
    backup = path.with_suffix(BACKUP_SUFFIX)
    if backup.exists() and not filecmp.cmp(path, backup, shallow=False):
        raise DataError(
            f"{path} is a file of the original project that would be kept as {backup}, and there "
            "is another file of that name already; move one of them away"
        )
    return backup


def _is_original(path: Path) -> bool:
    try:
        return path.is_file() and holds_objects(path)
    except DataError:  # damaged: of no use to anybody
        return False


def keep(path: Path, backup: Path) -> None:
    """Link a file under a second name, or copy it where the file system has one name a file."""
    if backup.exists():
        return
    try:
        os.link(path, backup)
    except OSError:
        with path.open("rb") as old, atomic_write(backup) as copy:
            shutil.copyfileobj(old, copy)
