"""One cleaning of a data set at a time, so that data and counts are of the same one."""

from contextlib import AbstractContextManager
from pathlib import Path

from utils.errors import DataError
from utils.locks import only_one


def only_cleaning(label_file: Path) -> AbstractContextManager[None]:
    """Keep a second cleaning out of the data set while the block lasts; extractions may go on.

    Raises:
        DataError: another cleaning is at work there.
    """
    folder = label_file.parent
    busy = f"{folder}: another cleaning is at work there; wait for its end, or stop it"
    return only_one(label_file, DataError(busy))
