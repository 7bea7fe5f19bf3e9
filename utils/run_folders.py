"""Files and folders that are named after the time, and what killed runs leave of theirs.

While a run goes on, it holds the lock file `.<run id>.lock` beside its folder. One that nobody
holds tells of a killed run, whose folders are removed when they hold nothing of worth.
"""

import contextlib
import itertools
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from utils.files import write_json
from utils.locks import Held, hold, hold_left, remove_leftovers

OF_NO_WORTH = ("config.json", "epochs.jsonl", "info.log", "events.out.tfevents.*", ".*.tmp")
"""Files of a run that say nothing without a checkpoint or a result."""


def lock_path(path: Path) -> Path:
    """Return the file that is locked by those at work on `path`."""
    return path.with_name(f".{path.name}.lock")


def locked_path(lock: Path) -> Path:
    """Return the file or folder that a lock file is of.

    >>> locked_path(lock_path(Path("models/run"))) == Path("models/run")
    True
    """
    return lock.with_name(lock.name.removeprefix(".").removesuffix(".lock"))


def claim_folder(parent: Path) -> tuple[Path, Held]:
    """Make a folder named after the time, and hold its lock; the name is nobody else's."""
    return next(filter(None, (_claim(parent / run_id) for run_id in _run_ids())))


def claim_named_folder(folder: Path) -> Held:
    """Make a folder of this name, and hold its lock.

    Raises:
        FileExistsError: it is there already.
    """
    claimed = _claim(folder)
    if claimed is None:
        raise FileExistsError(f"{folder} is there already")
    return claimed[1]


def _claim(folder: Path) -> tuple[Path, Held] | None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    held = hold(lock_path(folder))
    if held is None:
        return None
    try:
        folder.mkdir()
    except FileExistsError:
        held.let_go()
        return None
    except BaseException:
        held.let_go()
        raise
    return folder, held


def write_claimed_json(content: Any, parent: Path, suffix: str) -> Path:
    """Write JSON to a new file named after the time, whole or not at all.

    Returns:
        `parent`/<run id><suffix>.
    """
    for run_id in _run_ids():
        path = parent / f"{run_id}{suffix}"
        with contextlib.suppress(FileExistsError):
            write_json(content, path, is_new=True)
            break
    return path


def _run_ids() -> Iterator[str]:
    stem = datetime.now().strftime("%Y%m%d_%H%M%S")
    yield stem
    yield from (f"{stem}-{count}" for count in itertools.count(2))


def remove_killed_runs(root: Path) -> None:
    """Remove what killed runs left below a save_dir, and what of it holds nothing of worth.

    Runs that go on, checkpoints, results and files that are not ours stay.
    """
    remove_leftovers(root)
    for lock in root.glob(".*.json.lock"):
        with taken_over(lock, []):
            pass
    for lock in root.glob("models/*/.*.lock"):
        folder = locked_path(lock)
        remove_killed(lock, [folder, root / "log" / folder.parent.name / folder.name])


def remove_killed(lock: Path, folders: list[Path]) -> None:
    """Remove a killed run's folders and lock file; of folders that hold more, the leftovers.

    Args:
        lock: its lock file.
        folders: of the run.
    """
    with taken_over(lock, folders) as is_left:
        if is_left:
            discard(folders)


@contextmanager
def taken_over(lock: Path, folders: list[Path]) -> Iterator[bool]:
    """Hold what a killed run left while the block lasts; yield False where it may go on.

    Files that it was writing are removed, and so is the lock file in the end.
    """
    held = hold_left(lock, _changed([lock, *folders, *_files(folders)]))
    if held is None:
        yield False
        return
    try:
        for folder in folders:
            remove_leftovers(folder)
        with contextlib.suppress(OSError):
            yield True
    finally:
        held.let_go()


def discard(folders: list[Path]) -> None:
    """Remove folders of a run, all or none: only if there is nothing of worth in them."""
    files = list(_files(folders))
    if all(map(_is_of_no_worth, files)):
        for file in files:
            file.unlink()
        for folder in reversed(folders):
            with contextlib.suppress(FileNotFoundError):
                folder.rmdir()


def _files(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        if folder.is_dir() and not folder.is_symlink():
            yield from folder.iterdir()


def _is_of_no_worth(path: Path) -> bool:
    is_file = path.is_file() and not path.is_symlink()
    return is_file and any(fnmatch(path.name, pattern) for pattern in OF_NO_WORTH)


def _changed(paths: Iterable[Path]) -> float:
    """Return when the last of those that are there changed, in seconds since 1970."""
    times = [0.0]
    for path in paths:
        with contextlib.suppress(OSError):
            times.append(os.lstat(path).st_mtime)
    return max(times)
