"""Who is at work on a file or folder, and what is left of those who were killed.

A lock of the operating system is held as long as its process lives: what nobody holds may be
removed. Locks do not always reach other machines that share a folder. What another machine, or this
one before it started anew, wrote counts as left only when nothing of it changed for a day as well.
"""

import contextlib
import fcntl
import functools
import hashlib
import os
import platform
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from utils.errors import UserError

OTHER_MACHINE_S = 24 * 3600
"""How long nothing may have changed before what another machine wrote counts as left."""

POLL_S = 0.2
"""Seconds between two looks at a lock that another process holds."""

_TEMPORARY = re.compile(r"\..+\.([0-9a-f]{8})[0-9a-f]{24}\.tmp", re.DOTALL)


@contextmanager
def only_one(path: Path, busy: UserError) -> Iterator[None]:
    """Hold the lock of an existing file or folder while the block lasts.

    A kill lets go of it. On a file system without locks everybody holds it.

    Raises:
        UserError: `busy`, when another process or block holds it.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        if _try_lock(handle) is False:
            raise busy
        yield
    finally:
        os.close(handle)


@dataclass(frozen=True)
class Held:
    """A lock file that this process holds; it is removed when the lock is let go.

    As a context manager it is held while the block lasts.
    """

    path: Path
    handle: int

    def let_go(self) -> None:
        """Remove the file, and let others have the lock."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        os.close(self.handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.let_go()


def hold(path: Path) -> Held | None:
    """Make a lock file and hold it; None where another process or block does.

    On a file system without locks everybody holds it.

    Raises:
        OSError: the file cannot be made, or is a link: what it names would be written.
    """
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        is_held = _try_lock(handle) is not False
        if is_held and _is_at(handle, path):  # else somebody removed it before it was locked
            os.pwrite(handle, this_boot().encode(), 0)
            return Held(path, handle)
        os.close(handle)
        if not is_held:
            return None


def hold_when_free(
    path: Path, before_wait: Callable[[], object], wait: Callable[[float], object] = time.sleep
) -> Held:
    """Make a lock file and hold it, as soon as nobody else does.

    Args:
        path: of the lock file.
        before_wait: called once if another process or block holds it.
        wait: how to wait some seconds.
    """
    held = hold(path)
    if held is None:
        before_wait()
    while held is None:
        wait(POLL_S)
        held = hold(path)
    return held


def hold_left(path: Path, changed: float) -> Held | None:
    """Hold a lock file that a killed process left; None where it may still be at work.

    Args:
        path: of the lock file.
        changed: when what it guards changed last, in seconds since 1970.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return None
    with contextlib.suppress(OSError):
        boot = os.pread(handle, 8, 0).decode(errors="replace")
        if _try_lock(handle) and _is_at(handle, path) and _is_left(boot, changed):
            return Held(path, handle)
    os.close(handle)
    return None


def open_temporary(path: Path) -> tuple[Path, IO[bytes]]:
    """Open a new hidden file beside `path`, which is held until it is closed."""
    while True:
        temporary = path.with_name(f".{path.name[:50]}.{this_boot()}{uuid.uuid4().hex[8:]}.tmp")
        file = temporary.open("xb")
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink > 0:  # else taken for left before it was locked
            return temporary, file
        file.close()


def remove_leftovers(folder: Path) -> None:
    """Delete what killed programs left of files that they were writing into a folder.

    What somebody may still be writing stays, and so does what cannot be removed.
    """
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            match = _TEMPORARY.fullmatch(entry.name)
            if match and entry.is_file(follow_symlinks=False):
                _remove_left(Path(entry.path), match[1])


def _remove_left(path: Path, boot: str) -> None:
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        try:
            changed = os.fstat(handle).st_mtime
            if _try_lock(handle) and _is_at(handle, path) and _is_left(boot, changed):
                path.unlink()
        finally:
            os.close(handle)


def _try_lock(handle: int) -> bool | None:
    """Lock an open file; False where another one has it, None where there are no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_at(handle: int, path: Path) -> bool:
    """Return whether an open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(handle), os.lstat(path))
    except FileNotFoundError:
        return False


def _is_left(boot: str, changed: float) -> bool:
    return boot == this_boot() or time.time() - changed > OTHER_MACHINE_S


@functools.cache
def this_boot() -> str:
    """Return eight digits for this machine since it started; its containers have the same."""
    try:
        name = Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:  # no Linux
        name = platform.node()
    return hashlib.sha256(name.encode()).hexdigest()[:8]
