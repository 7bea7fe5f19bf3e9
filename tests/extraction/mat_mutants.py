"""Reads the labels of files with changed bytes, in a process that each of them may end.

Usage: mat_mutants.py plain|compressed|"compressed after the change" SEED COUNT FOLDER, where FOLDER
holds a whole wiki.mat. Prints the number of the mutant at hand, which is the last where one ends
the process, and at the end how many were read and how many refused.
"""

import random
import resource
import struct
import sys
import zlib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from extraction.imdb_wiki import read_labels
from utils.errors import DataError

HEADER_BYTES = 128
MAX_BYTES = 4 << 30
WORDS = (0, 1, 2, 14, 15, 0x80, 0x10000, 2**31 - 8, 2**31 - 1, 2**31, 2**32 - 1)


def mutant(whole: bytes, rng: random.Random) -> bytes:
    """Change bytes, bits and words behind the header."""
    changed = bytearray(whole)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(HEADER_BYTES, len(whole) - 4)
        match rng.randrange(3):
            case 0:
                changed[at] = rng.randrange(256)
            case 1:
                changed[at] ^= 1 << rng.randrange(8)
            case _:
                struct.pack_into("<I", changed, at - at % 4, rng.choice(WORDS))
    return bytes(changed)


def main(form: str, seed: str, count: str, folder: str) -> None:
    """Read the mutants."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_BYTES, MAX_BYTES))
    path = Path(folder) / "wiki.mat"
    whole, rng, num_refused = path.read_bytes(), random.Random(int(seed)), 0  # noqa: S311
    for number in range(int(count)):
        content = mutant(whole, rng)
        if form == "compressed after the change":
            inner = zlib.compress(content[HEADER_BYTES:])
            content = content[:HEADER_BYTES] + struct.pack("<II", 15, len(inner)) + inner
        path.write_bytes(content)
        print(number, flush=True)
        try:
            read_labels(path.parent, "wiki")
        except DataError as error:
            num_refused += 1
            if len(str(error)) > 400 or "\n" in str(error):
                raise
    print(int(count) - num_refused, num_refused)


if __name__ == "__main__":
    main(*sys.argv[1:])
