"""Paths as users write them: `~` is the home folder, and what cannot name a file is refused."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from utils.errors import PathError

CONFIG_PATHS = ("checkpoint", "data_loader.args.data_dir", "trainer.save_dir")
"""Keys of a config whose values are paths."""


def user_path(path: Path | str, name: str) -> Path:
    """Return the path that a user means, with `~` and `~user` replaced by home folders.

    Args:
        path: as written.
        name: what the user calls it: an option, an argument, an environment variable.

    Raises:
        PathError: no file can have this path.
    """
    return Path(user_text(path, name))


def user_text(path: Path | str, name: str) -> str:
    """Return the same as `user_path` as text, which keeps a slash at the end."""
    if problem := path_problem(path):
        raise PathError(f"{name} {problem}")
    return os.path.expanduser(path)  # noqa: PTH111 - pathlib would take "./~" for "~"


def path_problem(path: object) -> str | None:
    r"""Return why no file can have this path, as words behind its name; None where one can.

    >>> path_problem("a/b") is None, path_problem(" "), path_problem("a\0b")
    (True, 'is empty, expected a path', 'holds a NUL character, which no path can')
    """
    if not isinstance(path, Path | str):
        return f"is {type(path).__name__}, expected a path"
    text = str(path)
    if not text.strip():
        return "is empty, expected a path"
    if "\0" in text:
        return "holds a NUL character, which no path can"
    try:
        os.fsencode(text)
    except UnicodeEncodeError as error:
        remedy = "" if error.encoding == "utf-8" else "; set PYTHONUTF8=1"
        letter = ascii(text[error.start])
        return f"holds the letter {letter}, which no file name here can ({error.encoding}){remedy}"
    if text.startswith("~") and os.path.expanduser(text) == text:  # noqa: PTH111 - as above
        user = text.partition("/")[0]
        return f"begins with {user!r}, which is nobody's home folder here; write './{user}...'"
    return None


def expand_paths(config: dict[str, Any], keys: Iterable[str] = CONFIG_PATHS) -> None:
    """Replace `~` in the values of a config that are paths; what is no path stays as it is.

    Args:
        config: nested dicts; changed in place.
        keys: of the paths, with dots between the levels.
    """
    for key in keys:
        *parents, last = key.split(".")
        section: Any = config
        for parent in parents:
            section = section.get(parent) if isinstance(section, dict) else None
        value = section.get(last) if isinstance(section, dict) else None
        if isinstance(value, str) and path_problem(value) is None:
            section[last] = os.path.expanduser(value)  # noqa: PTH111 - as above
