"""Disks that take nothing more, as monkeypatches."""

import errno
import os
import tempfile
from pathlib import Path
from typing import Any


def full_disk(*_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def read_only(*folders: Path) -> Any:
    """Make files as on a disk that some folders of are read-only, whoever asks."""
    real = tempfile.TemporaryFile

    def make(*arguments: Any, **options: Any) -> Any:
        if options["dir"] in folders:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real(*arguments, **options)

    return make
