"""JSON, and files that are written whole or not at all."""

import contextlib
import fcntl
import json
import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from utils.errors import ConfigError, UserError


@contextmanager
def atomic_write(path: Path | str) -> Iterator[IO[bytes]]:
    """Open a binary file that replaces `path` when the block ends, and only when it ends well.

    The bytes go to a hidden file in the same folder, reach the disk, and are renamed; a full disk,
    a crash or a kill leaves `path` as it was. Missing folders are made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name[:50]}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def only_one(path: Path, busy: UserError) -> Iterator[None]:
    """Hold the lock of an existing file or folder while the block lasts.

    A kill lets go of it. On a file system without locks everybody holds it.

    Raises:
        UserError: `busy`, when another process or block holds it.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            _lock(handle, busy)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, busy: UserError) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise busy from None


def remove_leftovers(path: Path | str) -> None:
    """Delete what killed programs left of `atomic_write` to this path; none may be at work."""
    path = Path(path)
    for leftover in path.parent.glob(f".{path.name[:50]}.{'[0-9a-f]' * 32}.tmp"):
        leftover.unlink(missing_ok=True)


def read_json(path: Path | str) -> Any:
    """Read a JSON file.

    Raises:
        ConfigError: the file is missing or is not JSON; the message names line and column.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise ConfigError(f"{path} is a folder, a JSON file was expected") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not a text file, JSON was expected") from None
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{path} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from None


def write_json(content: Any, path: Path | str) -> None:
    """Write `content` as indented JSON, whole or not at all."""
    text = json.dumps(content, indent=4, ensure_ascii=False) + "\n"
    with atomic_write(path) as file:
        file.write(text.encode())


def file_stamps(paths: Iterable[Path]) -> dict[str, list[int]]:
    """Give size and time of change (ns) of those files that are there: another pair, another file.

    >>> file_stamps([Path("no such file")])
    {}
    """
    status = {str(path): path.stat() for path in paths if path.is_file()}
    return {path: [found.st_size, found.st_mtime_ns] for path, found in status.items()}
