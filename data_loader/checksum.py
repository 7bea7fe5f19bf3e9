"""The checksum of a data file, which stands in the meta data beside it.

Cleaning writes it, and it is checked when a program first reads the file: a bit that changed on the
way or on the disk would train as well as any other.
"""

import zlib
from functools import lru_cache
from pathlib import Path

from data_loader.data_sets import DataPart
from utils.errors import DataError
from utils.files import read_json
from utils.text import shown

KEY = "crc32"
CHUNK_BYTES = 1 << 20


def crc32_of(path: Path) -> str:
    """Return the CRC-32 of a file's bytes in hexadecimal; the fastest that finds any damage."""
    value = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            value = zlib.crc32(chunk, value)
    return f"{value:08x}"


def refuse_changed(part: DataPart) -> None:
    """Compare a data file with the checksum in its meta data, where there is one.

    Raises:
        DataError: they differ.
        ConfigError: the meta data are no JSON.
    """
    content = read_json(part.meta_data) if part.meta_data.is_file() else None
    if not isinstance(content, dict) or KEY not in content:
        return
    status = part.path.stat()
    found = _crc32_of_version(part.path, status.st_size, status.st_mtime_ns)
    if content[KEY] != found:
        raise DataError(
            f"{part.path} is not what was written: its CRC-32 is {found}, expected "
            f"{shown(content[KEY])} ({part.meta_data.name}); copy it again, or clean the data set "
            f"anew; if it was changed on purpose, take {KEY!r} out of {part.meta_data.name}"
        )


@lru_cache(maxsize=64)
def _crc32_of_version(path: Path, num_bytes: int, changed_ns: int) -> str:
    """Return the CRC-32 of a version of a file, which size and time of change tell from others."""
    return crc32_of(path)
