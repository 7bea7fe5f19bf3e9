"""What a killed search leaves, made whole: Ray copies its state file by file, not at once."""

import shutil
from pathlib import Path

from cluster.session import remove_session
from utils.errors import ConfigError
from utils.files import parse_json
from utils.run_folders import discard, locked_path, taken_over

STAGED = "session_*/artifacts/*/*/driver_artifacts/[!.]*state*-*"
"""State of the search, of what draws the values, of the display; a hidden file is half written."""

STATE = "experiment_state-*.json"


def recover(folder: Path, tune_name: str) -> None:
    """Take the state that a killed call had not copied yet, and clear away its other files.

    Args:
        folder: of the search, at which nobody else is.
        tune_name: of Ray's folder in it.

    Raises:
        ConfigError: the state was cut short, and nothing better is left.
    """
    target = folder / tune_name
    _end_sessions(folder, target)
    states = sorted(target.glob(STATE))
    if target.exists() and not (states and _is_whole(states[-1])):
        raise ConfigError(
            f"{target}: the state of the search was cut short when it was killed; begin a new one"
        )


def remove_killed_searches(parent: Path, tune_name: str) -> None:
    """Remove what killed searches left of Ray, and folders of those whose first trial never began.

    Args:
        parent: of the folders.
        tune_name: of Ray's folder in each.
    """
    for lock in parent.glob(".*.lock"):
        folder = locked_path(lock)
        with taken_over(lock, [folder]) as is_left:
            if is_left:
                _end_sessions(folder, folder / tune_name)
            if is_left and not (folder / tune_name).exists():
                discard([folder])


def _end_sessions(folder: Path, target: Path) -> None:
    """Take the state that sessions of Ray had not copied to `target` yet, and remove them."""
    for left in folder.glob(".ray-*"):
        for path in left.glob(STAGED) if target.exists() else ():
            if _is_whole(path):
                shutil.copy2(path, target / path.name)
        remove_session(left)


def _is_whole(path: Path) -> bool:
    """Look into a state file; that of the search is JSON, the others are pickles by any name."""
    content = path.read_bytes()
    if not path.match(STATE):
        return bool(content)
    try:
        parse_json(content)
    except ValueError:
        return False
    return True
