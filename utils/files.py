"""JSON, and files that are written whole or not at all."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from utils.errors import ConfigError, PathError
from utils.locks import open_temporary
from utils.log import get_logger
from utils.text import shown

MAX_DEPTH = 64
"""Of JSON; what this project writes is less than a dozen deep."""

TOO_DEEP = f"is nested more than {MAX_DEPTH} deep"


@contextmanager
def atomic_write(path: Path | str, is_new: bool = False) -> Iterator[IO[bytes]]:
    """Open a binary file that replaces `path` when the block ends, and only when it ends well.

    The bytes go to a hidden file in the same folder, reach the disk, and are renamed; a full disk,
    a crash or a kill leaves `path` as it was. Missing folders are made. What a kill leaves of the
    hidden file, `utils.locks.remove_leftovers` removes.

    Args:
        path: of the file.
        is_new: replace nothing.

    Raises:
        FileExistsError: `is_new`, and it is there already.
        OSError: it cannot be written; names `path`, not the hidden file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        temporary, file = open_temporary(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            _give_name(temporary, path, is_new)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno is None or error.filename not in (None, str(temporary)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _give_name(temporary: Path, path: Path, is_new: bool) -> None:
    """Rename a file that is written, while it is held: nobody takes it for a leftover."""
    if is_new:
        try:
            os.link(temporary, path)
            temporary.unlink()
            return
        except FileExistsError:
            raise
        except OSError:  # a file system on which a file has one name
            path.touch(exist_ok=False)
    temporary.replace(path)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def refuse_unwritable(*folders: Path) -> None:
    """Check, before any work, that files can be made in folders; missing ones are not made.

    A file is really made, and removed, in each or in the nearest folder above it: root may write
    what permissions forbid, and nobody may on a read-only disk.

    Raises:
        PathError: they cannot; the message names the first one, and how many more there are.
    """
    folder_of: dict[Path, Path] = {}
    for folder in folders:
        folder_of.setdefault(_nearest(folder), folder)
    problems = {existing: problem for existing in folder_of if (problem := _problem_of(existing))}
    if problems:
        existing, problem = next(iter(problems.items()))
        where = "" if existing == folder_of[existing] else f"{existing}: "
        more = f" (and {len(problems) - 1:,} more)" if len(problems) > 1 else ""
        raise PathError(
            f"{folder_of[existing]} cannot be written: {where}{problem}{more}; make it writable, "
            "or name another place"
        )


def refuse_unwritable_file(path: Path) -> None:
    """Check, before any work, that a file can be written.

    Raises:
        PathError: it cannot, or a folder has its name.
    """
    if path.is_dir():
        raise PathError(f"{path} is a folder, the name of a file to write was expected")
    refuse_unwritable(path.parent)


def _nearest(folder: Path) -> Path:
    return next(one for one in (folder, *folder.parents, Path()) if os.path.lexists(one))


def _problem_of(path: Path) -> str | None:
    """Return why no file can be made in what is there; None where one can."""
    if not path.is_dir():
        return "not a folder"
    try:
        with tempfile.TemporaryFile(dir=path) as file:  # without a name: a kill leaves nothing
            file.write(b"\0")
            file.flush()  # which a full disk does not take
    except OSError as error:
        return error.strerror or str(error)
    return None


class RefusedJsonError(ValueError):
    """JSON that no program here has a use for; the message says what is wrong with it."""


def parse_json(text: str | bytes) -> Any:
    """Parse JSON that may be hostile; bytes may be UTF-8, UTF-16 or UTF-32, with or without a mark.

    Raises:
        RefusedJsonError: it is nested deeper than `MAX_DEPTH`, holds a whole number of thousands of
            digits, or an object names a key twice.
        json.JSONDecodeError: it is no JSON.
        UnicodeDecodeError: it is no text.
    """
    try:
        content = json.loads(text, object_pairs_hook=_without_repeats)
    except (json.JSONDecodeError, UnicodeDecodeError, RefusedJsonError):
        raise
    except RecursionError:
        raise RefusedJsonError(TOO_DEEP) from None
    except ValueError:
        raise RefusedJsonError("holds a whole number of thousands of digits") from None
    if _is_deeper_than(content, MAX_DEPTH):
        raise RefusedJsonError(TOO_DEEP)
    return content


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RefusedJsonError(f"names the key {shown(twice)} twice")
    return content


def _is_deeper_than(content: Any, most: int) -> bool:
    """Go down level by level: what passed the parser may still be too deep to go down in calls."""
    level = [content]
    for _ in range(most + 1):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return False
    return True


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def read_json(path: Path | str) -> Any:
    """Read a JSON file.

    Raises:
        ConfigError: the file is missing, is not JSON, or is refused as by `parse_json`; the message
            names line and column.
    """
    path = Path(path)
    try:
        return parse_json(path.read_bytes())
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
    except RefusedJsonError as error:
        raise ConfigError(f"{path} {error}") from None


def read_json_or_none(path: Path | str) -> Any:
    """Read a JSON file that may be anybody's; None, with a warning, where it is not JSON."""
    try:
        return read_json(path)
    except ConfigError as error:
        get_logger("files").warning(f"{error}: passed over")
        return None


def json_bytes(content: Any) -> bytes:
    r"""Write `content` as indented JSON, in which a file name that is not UTF-8 comes back.

    >>> parse_json(json_bytes("/data/\udcff")) == "/data/\udcff"
    True
    """
    text = json.dumps(content, indent=4, ensure_ascii=False) + "\n"
    return text.encode(errors="backslashreplace")  # just what JSON writes for half a character


def write_json(content: Any, path: Path | str, is_new: bool = False) -> None:
    """Write `content` as indented JSON, whole or not at all.

    Raises:
        FileExistsError: `is_new`, and the file is there already.
    """
    content_bytes = json_bytes(content)
    with atomic_write(path, is_new) as file:
        file.write(content_bytes)


def file_stamps(paths: Iterable[Path]) -> dict[str, list[int]]:
    """Return size and time of change (ns) of those files that are there: both tell versions apart.

    >>> file_stamps([Path("no such file")])
    {}
    """
    status = {str(path): path.stat() for path in paths if path.is_file()}
    return {path: [found.st_size, found.st_mtime_ns] for path, found in status.items()}
