"""Which files of a folder the client takes for photos, and why it leaves out the others."""

import os
from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path

from faces.pictures import HEIC_REMEDY, HEIC_SUFFIXES, SUFFIXES

ANNOTATED = ".ANNOTATED"
_HIDDEN = "hidden"
_NUM_NAMED = 8
"""Reasons that are named, the most frequent ones; the rest is counted."""


def is_annotated(path: Path) -> bool:
    """Tell whether the client wrote this file.

    >>> is_annotated(Path("a/b.ANNOTATED.jpg")), is_annotated(Path("a/b.jpg"))
    (True, False)
    """
    return path.stem.endswith(ANNOTATED)


def why_left_out(path: Path) -> str | None:
    """Tell why a file of a folder is no photo to annotate; None if it is one."""
    suffix = path.suffix.lower()
    if path.name.startswith("."):
        return _HIDDEN
    if suffix in HEIC_SUFFIXES:
        return f"HEIC ({HEIC_REMEDY})"
    if suffix not in SUFFIXES:
        return f"not a picture by its name ({suffix[:12] or 'no suffix'})"
    if is_annotated(path):
        return "annotated by this program"
    if not _holds(path.is_file):
        return "a link to nothing" if path.is_symlink() else "no regular file"
    return None


def photos_below(folder: Path, left_out: Counter[str]) -> list[Path]:
    """List the photos of a folder and of all below it, linked folders too, each folder once.

    Args:
        folder: where to begin.
        left_out: gets the number of the other files by why they are none, and of the folders that
            are hidden or cannot be read.
    """
    photos: list[Path] = []
    for files in _folders(folder, left_out):
        for path in files:
            reason = why_left_out(path)
            if reason is None:
                photos.append(path)
            else:
                left_out[reason] += 1
    return sorted(photos)


def _folders(top: Path, left_out: Counter[str]) -> Iterator[list[Path]]:
    """List the files of each folder; linked ones come last, under the first of their names."""
    seen: set[str] = set()
    waiting, linked = [top], deque[Path]()
    while waiting or linked:
        folder = waiting.pop() if waiting else linked.popleft()
        real = os.path.realpath(folder)
        if real in seen:
            continue
        seen.add(real)
        try:
            entries = sorted(folder.iterdir())
        except OSError as error:
            left_out[f"folder that cannot be read ({error.strerror})"] += 1
            continue
        below = [path for path in entries if _holds(path.is_dir)]
        is_folder = set(below)
        yield [path for path in entries if path not in is_folder]
        for path in below:
            if path.name.startswith("."):
                left_out["hidden folder"] += 1
            else:
                (linked if path.is_symlink() else waiting).append(path)


def _holds(check: Callable[[], bool]) -> bool:
    """Ask about a path; what cannot be looked at is neither a file nor a folder."""
    try:
        return check()
    except OSError:
        return False


def in_words(left_out: Counter[str]) -> str:
    """Write how many files were left out, by why, in one line; empty for none.

    >>> in_words(Counter({"hidden": 2, "not a picture by its name (.txt)": 3}))
    'left out: 3 not a picture by its name (.txt), 2 hidden'
    """
    frequent = left_out.most_common(_NUM_NAMED)
    named = [f"{count:,} {reason}" for reason, count in frequent]
    num_others = left_out.total() - sum(count for _, count in frequent)
    if num_others:
        named.append(f"{num_others:,} of other kinds")
    return f"left out: {', '.join(named)}" if named else ""
