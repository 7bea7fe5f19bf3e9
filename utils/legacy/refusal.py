"""What every reader of foreign files shares: the refusal, and files read whole."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from utils.errors import UserError


class RefusedError(Exception):
    """The data are not what the project's files hold; `refused_as` adds the file's name."""


def refuse(what: str) -> NoReturn:
    """Raise a RefusedError that says `what` was found and what to do."""
    raise RefusedError(f"{what}; get the file again from where it came, or leave it alone")


@contextmanager
def refused_as(error: type[UserError], label: object) -> Iterator[None]:
    """Turn a refusal inside the block into `error`, one line that begins with the file's name."""
    try:
        yield
    except RefusedError as refusal:
        raise error(f"{label} {refusal}") from None


def read_whole(path: Path, error: type[UserError]) -> bytes:
    """Read a regular file.

    Raises:
        UserError: of the kind `error`: no such file, or unreadable.
    """
    if not path.is_file():
        raise error(f"{path} is no regular file" if path.exists() else f"{path}: no such file")
    try:
        return path.read_bytes()
    except OSError as problem:
        raise error(f"{path} cannot be read: {problem.strerror}") from None
