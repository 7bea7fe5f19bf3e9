"""One cleaning of a data set at a time, so that data and counts are of the same one."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from utils.errors import DataError


@contextmanager
def only_cleaning(label_file: Path) -> Iterator[None]:
    """Keep a second cleaning out of the data set while the block lasts; extractions may go on.

    Raises:
        DataError: another cleaning is at work there.
    """
    with label_file.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(
                f"{label_file.parent}: another cleaning is at work there; wait for its end, or "
                "stop it"
            ) from None
        except OSError:  # a file system without locks
            pass
        yield
