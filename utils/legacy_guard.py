"""What every reader of the original project's files shares: the refusal, limits, whole files."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from utils.errors import UserError

MAX_DEPTH = 64
FREE_BYTES = 1 << 20


class RefusedError(Exception):
    """The data are not what the project's files hold; `refused_as` adds the file's name."""


def refuse(what: str) -> NoReturn:
    """Raise a RefusedError that says `what` was found and what to do."""
    raise RefusedError(f"{what}; get the file again from where it came, or leave it alone")


def check_plain(root: Any, leaves: Collection[type], num_bytes: int) -> None:
    """Check that a value is dicts, lists and tuples of `leaves`, not deep, small when written out.

    Goes level by level, so that neither depth nor a reference cycle nor shared references, which
    double with every level, cost more than the limit.

    Args:
        root: what a machine returned.
        leaves: the types of the values that hold no others.
        num_bytes: the size of the pickle, the measure of "small".

    Raises:
        RefusedError: anything else, or nested too deep, or unfolding to too many values.
    """
    level = [] if type(root) in leaves else [root]
    num_left = FREE_BYTES + num_bytes
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for container in level:
            num_left -= _num_items(container)
            if num_left < 0:
                refuse("unfolds to far more values than it holds")
            values = container.values() if type(container) is dict else container
            inner += [value for value in values if type(value) not in leaves]
        level = inner
    if level:
        refuse(f"is nested more than {MAX_DEPTH} levels deep, or holds itself")


def _num_items(container: Any) -> int:
    if type(container) not in (dict, list, tuple):
        refuse(f"holds an object of the kind {type(container).__name__} where values belong")
    return 1 + len(container)


@contextmanager
def refused_as(error: type[UserError], label: object) -> Iterator[None]:
    """Turn a refusal inside the block into `error`, one line that begins with the file's name."""
    try:
        yield
    except RefusedError as refusal:
        raise error(f"{label} {refusal}") from None


def read_whole(path: Path, error: type[UserError], max_bytes: int | None = None) -> bytes:
    """Read a regular file.

    Raises:
        UserError: of the kind `error`: no such file, unreadable, or longer than `max_bytes`.
    """
    if not path.is_file():
        raise error(f"{path}: no such file" if not path.exists() else f"{path} is no regular file")
    try:
        check_size(path.stat().st_size, path, error, max_bytes)
        return path.read_bytes()
    except OSError as problem:
        raise error(f"{path} cannot be read: {problem.strerror}") from None


def check_size(
    num_bytes: int, label: object, error: type[UserError], max_bytes: int | None
) -> None:
    """Check that something of `num_bytes` may be read.

    Raises:
        UserError: of the kind `error`; there are more than `max_bytes`.
    """
    if max_bytes is not None and num_bytes > max_bytes:
        raise error(f"{label} is larger than {max_bytes} bytes, the most that is accepted here")
