"""What a killed search leaves, made whole: Ray copies its state file by file, not at once."""

import collections
import pickletools
import shutil
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from cluster.session import remove_session
from utils.errors import ConfigError
from utils.files import parse_json
from utils.problems import JsonObject, problems_in
from utils.run_folders import discard, locked_path, taken_over

STAGED = "session_*/artifacts/*/*/driver_artifacts/[!.]*state*-*"
"""State of the search, of what draws the values, of the display; a hidden file is half written."""

STATE = "experiment_state-*.json"
TUNER = "tuner.pkl"
"""What to search, and how: written first, and needed to go on."""


class _SearchState(JsonObject):
    """What Ray writes of a search; of a trial, two texts that are JSON themselves."""

    model_config = ConfigDict(extra="ignore")

    trial_data: list[Annotated[list[str], Field(min_length=2, max_length=2)]]
    runner_data: dict[str, Any]


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
    if not target.exists():
        return
    states = sorted(target.glob(STATE))
    stamp = states[-1].stem.partition("-")[2] if states else ""
    needed = [target / TUNER, *target.glob(f"[!.]*state*-{stamp}.*")]
    damaged = [path for path in needed if not _is_whole(path)]
    if damaged or not states:
        what = damaged[0] if damaged else target / STATE
        raise ConfigError(
            f"{what}: the state of the search was cut short when it was killed, or is damaged; "
            "begin a new one, without --resume"
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
    """Look into a state file; that of the search is JSON, the others are pickles by any name.

    A pickle is walked from step to step, none of which is done.
    """
    try:
        content = path.read_bytes()
        if path.match(STATE):
            return not problems_in(_SearchState, parse_json(content))
        steps = collections.deque(pickletools.genops(content), maxlen=1)
        return steps[0][2] == len(content) - 1
    except (OSError, ValueError, IndexError):
        return False
