"""The original project's pickled files: `<image>.pkl`, `data.npy`, and those in requests."""

import pickletools
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from utils.errors import DataError
from utils.labels import NUM_FOLDS
from utils.legacy.refusal import read_whole, refuse, refused_as
from utils.legacy.stand_ins import DATA_NAMES, LEAVES, OBJECT_NAMES
from utils.legacy.unpickler import PlainUnpickler
from utils.npy import read_npy_header


def load_pickle(content: bytes, max_opcodes: int | None = None) -> Any:
    """Read a pickle of plain values and numpy arrays, protocol 2 to 5.

    Args:
        content: the pickle.
        max_opcodes: a pickle of more opcodes is refused before it is read; None for any number.

    Returns:
        dicts, lists, tuples, str, int, float, bool, None, bytes, numpy scalars and writable arrays;
        a pathlib path is a str.

    Raises:
        DataError: the pickle is damaged, or holds anything else.
    """
    with refused_as(DataError, "the pickle"):
        if max_opcodes is not None and _has_more_opcodes(content, max_opcodes):
            refuse(f"has more than {max_opcodes:,} parts")
        return PlainUnpickler(content, DATA_NAMES).read_plain(LEAVES)


def _has_more_opcodes(content: bytes, most: int) -> bool:
    try:
        return len(list(islice(pickletools.genops(content), most + 1))) > most
    except (ValueError, DeprecationWarning) as problem:  # the latter where warnings are errors
        refuse(f"is damaged or cut short ({type(problem).__name__})")


def load_pickled_npy(path: Path) -> list[dict[str, Any]] | dict[int, list[dict[str, Any]]]:
    """Read the records of an `np.save`d object array.

    Returns:
        the dicts of a 1-d array (IMDB, WIKI), or the {fold: [dict, ...]} of a 0-d array (Adience),
        folds in 0..4. What a dict holds is not checked here, beyond being plain values and arrays.

    Raises:
        DataError: the file is missing, damaged, no object array, or holds anything else.
    """
    content = read_whole(path, DataError)
    header = read_npy_header(path)
    with refused_as(DataError, path):
        if header.dtype != object or len(header.shape) > 1:
            refuse(f"is an .npy file, but not of pickled records: it holds {header.dtype}")
        root = PlainUnpickler(content, OBJECT_NAMES, header.num_bytes).read_plain(LEAVES)
        if type(root) is not np.ndarray or root.dtype != object or root.shape != header.shape:
            refuse(f"does not hold the objects of shape {header.shape} that its header announces")
        return _dicts(root.tolist()) if root.shape else _by_fold(root.item())


def _by_fold(folds: Any) -> dict[int, list[dict[str, Any]]]:
    if type(folds) is not dict:
        refuse(f"holds one {type(folds).__name__}, a dict of folds was expected")
    for fold in folds:
        if fold not in range(NUM_FOLDS):
            refuse(f"holds a fold {fold!r:.50}, 0 to {NUM_FOLDS - 1} were expected")
    return {fold: _dicts(folds[fold]) for fold in sorted(folds)}


def _dicts(records: Any) -> list[dict[str, Any]]:
    if type(records) is not list or not set(map(type, records)) <= {dict}:
        refuse("holds something else than a list of dicts, one a face")
    return records
