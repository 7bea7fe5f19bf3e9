"""The folds of a cross-validation: those of the data files, or made so that nobody is in two.

Made folds depend on the faces of a data file alone, not on the seed of a training: all runs and all
processes hold out the same people, and a set keeps its folds when others are added to it.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_loader.data_files import SPLIT, Columns
from data_loader.data_sets import DataPart
from data_loader.people import number_subjects
from utils.errors import DataError
from utils.labels import NO_FOLD, NUM_FOLDS
from utils.runtime import generator
from utils.text import cut, shown

SEED = 42
"""Of made folds; not that of a training."""

OpenedPart = tuple[DataPart, Columns]


@dataclass(frozen=True)
class Folds:
    """The folds of all rows of a data set.

    Attributes:
        of_rows: (N,) int8, -1 for rows that are never held out.
        remarks: what there is to know of them, a line for each part.
    """

    of_rows: NDArray[np.int8]
    remarks: tuple[str, ...] = ()


def find_folds(parts: Sequence[OpenedPart]) -> Folds:
    """Find the folds that can be held out.

    A part keeps its own folds. One without gets as many as the others have, or five, and nobody is
    in two of them. IMDB and WIKI beside any other part are never held out.

    Raises:
        DataError: the parts have different folds, or one has too few people.
    """
    numbers = _own_numbers(parts)
    is_alone = all(_is_imdb_or_wiki(part) for part, _ in parts)
    known: dict[str, int] = {}
    folds: dict[int, NDArray[np.int8]] = {}
    remarks: dict[int, str] = {}
    for at in sorted(range(len(parts)), key=lambda at: not _has_folds(parts[at])):
        part, columns = parts[at]
        if _has_folds(parts[at]) or (_is_imdb_or_wiki(part) and not is_alone):
            folds[at] = columns["fold"].astype(np.int8)
            remarks[at] = _remark_on_own(part, columns)
        else:
            folds[at], remarks[at] = _make(part, columns, numbers, known)
        if remarks[at] and (columns[SPLIT] != "").any():
            remarks[at] += "; its column split is not used"
        if not part.is_known:
            known |= _fold_by_subject(columns["subject"], folds[at])
    order = range(len(parts))
    return Folds(
        np.concatenate([folds[at] for at in order]),
        tuple(remarks[at] for at in order if remarks[at]),
    )


def fold_numbers(folds: NDArray[np.int8]) -> list[int]:
    """Return the numbers of the folds that can be held out, ascending.

    >>> fold_numbers(np.array([2, -1, 0, 2], np.int8))
    [0, 2]
    """
    return [int(number) for number in np.unique(folds) if number != NO_FOLD]


def _is_imdb_or_wiki(part: DataPart) -> bool:
    return part.is_known and not part.is_adience


def _has_folds(opened: OpenedPart) -> bool:
    return bool((opened[1]["fold"] != NO_FOLD).any())


def _own_numbers(parts: Sequence[OpenedPart]) -> list[int]:
    """Return the numbers of the folds of the parts that have some; five where none has."""
    found = {
        part.name: fold_numbers(columns["fold"])
        for part, columns in parts
        if _has_folds((part, columns))
    }
    if len({tuple(numbers) for numbers in found.values()}) > 1:
        each = ", ".join(f"{name} has {_listed(numbers)}" for name, numbers in found.items())
        raise DataError(f"folds of different numbers cannot be held out together: {each}")
    return next(iter(found.values()), list(range(NUM_FOLDS)))


def _listed(numbers: Sequence[int]) -> str:
    return cut(", ".join(map(str, numbers)))


def _make(
    part: DataPart, columns: Columns, numbers: Sequence[int], known: dict[str, int]
) -> tuple[NDArray[np.int8], str]:
    """Make the folds of a part; the people that earlier parts have keep theirs."""
    subjects = columns["subject"]
    people = number_subjects(subjects)
    if people is None:
        people = np.arange(len(subjects))
    counts = np.bincount(people)
    if len(counts) < len(numbers):
        raise DataError(
            f"{part.path}: {len(counts)} people are too few for {len(numbers)} folds; give the "
            "table a column fold, or train without holding out"
        )
    names = np.unique(subjects[subjects != ""])  # numbered in this order
    fixed = {at: known[name] for at, name in enumerate(names.tolist()) if name in known}
    of_people = balance(counts, len(numbers), {at: numbers.index(k) for at, k in fixed.items()})
    folds = np.array(numbers, np.int8)[of_people][people]
    return folds, f"{shown(part.name)[1:-1]}: {len(numbers)} folds made{_how(subjects)}"


def _how(subjects: NDArray[np.str_]) -> str:
    num_unknown = int((subjects == "").sum())
    if num_unknown == len(subjects):
        return " by image, since nobody is known: the same person can be in two of them"
    if num_unknown:
        return f", no person in two of them; {num_unknown:,} faces of unknown people count for one"
    return ", no person in two of them"


def balance(
    counts: NDArray[np.int64], num_folds: int, fixed: dict[int, int] | None = None
) -> NDArray[np.int64]:
    """Assign people to folds of about equally many faces.

    People with most faces come first, and each goes to the smallest fold; among equals chance
    decides.

    Args:
        counts: (P,) faces of each person.
        num_folds: number of folds.
        fixed: the fold of some people.

    Returns:
        the fold of each person (P,), from 0.

    >>> balance(np.array([1, 1, 1, 1, 4]), 2).tolist()
    [1, 1, 1, 1, 0]
    """
    fixed = fixed or {}
    order = generator(SEED, "folds").permutation(len(counts))
    order = order[np.argsort(-counts[order], kind="stable")]
    of_people = np.zeros(len(counts), np.int64)
    sizes = [0] * num_folds
    for person, fold in fixed.items():
        of_people[person] = fold
        sizes[fold] += int(counts[person])
    smallest = [(size, fold) for fold, size in enumerate(sizes)]
    heapq.heapify(smallest)
    for person in order.tolist():
        if person not in fixed:
            size, fold = smallest[0]
            of_people[person] = fold
            heapq.heapreplace(smallest, (size + int(counts[person]), fold))
    return of_people


def _fold_by_subject(subjects: NDArray[np.str_], folds: NDArray[np.int8]) -> dict[str, int]:
    names, first = np.unique(subjects, return_index=True)
    of_names = dict(zip(names.tolist(), folds[first].tolist(), strict=True))
    return {name: fold for name, fold in of_names.items() if name and fold != NO_FOLD}


def _remark_on_own(part: DataPart, columns: Columns) -> str:
    """Say what rows are never held out, and who is in two folds of a table."""
    if part.is_adience:
        return ""
    name, fold, subjects = shown(part.name)[1:-1], columns["fold"], columns["subject"]
    num_never = int((fold == NO_FOLD).sum())
    if num_never == len(fold):
        return f"{name}: trained on in every run, never held out"
    is_known = subjects != ""
    pairs = np.unique(np.stack([_numbers(subjects[is_known]), fold[is_known]]), axis=1)
    num_in_two = int((np.unique(pairs[0], return_counts=True)[1] > 1).sum())
    line = f"{name}: folds {_listed(fold_numbers(fold))} of the table"
    line += f", {num_never:,} faces in no fold are always trained on" if num_never else ""
    return line + (f"; {num_in_two:,} people are in two of them" if num_in_two else "")


def _numbers(names: NDArray[np.str_]) -> NDArray[np.int64]:
    return np.unique(names, return_inverse=True)[1].astype(np.int64)
