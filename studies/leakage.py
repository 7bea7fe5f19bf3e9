"""What a split lets through: people on both sides, and faces that are nearly the same picture."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_loader.faces import Faces, read_faces
from studies.comparisons import Spread
from studies.metrics import FaceScores, Ints, score
from studies.predictions import FaceInfo
from studies.protocols import BY_IMAGE, StudyPart
from studies.results import StudyResult, read_result
from utils.errors import UserError

NEAR_COSINE = 0.9
"""From here on two embeddings are taken to be of nearly the same picture of one person."""

BLOCK_ROWS = 2048
"""Rows compared with as many others at a time: 16 MiB of cosines."""

NUM_NAMED = 20
"""Subjects and pairs that are listed by name."""


# --- subjects and rows on both sides --------------------------------------------------------------


@dataclass(frozen=True)
class SharedRows:
    """What two splits of a run have in common.

    Attributes:
        names: the first of the subjects on both sides.
        rows: of the data set, on both sides.
        unknown: faces of either split whose subject is not known.
        runs: how many of `of_runs` share anything.
    """

    splits: tuple[str, str]
    subjects: int
    names: list[str]
    rows: int
    unknown: int
    runs: int = 1
    of_runs: int = 1


def shared_between_splits(splits: Mapping[str, FaceInfo]) -> list[SharedRows]:
    """Look for subjects and rows on both sides of any two splits of one run."""
    names = {split: faces.known_subjects for split, faces in splits.items()}
    found = []
    for pair in combinations(splits, 2):
        one, other = (splits[split] for split in pair)
        common = np.intersect1d(names[pair[0]], names[pair[1]])
        found.append(
            SharedRows(
                splits=pair,
                subjects=len(common),
                names=common[:NUM_NAMED].tolist(),
                rows=len(np.intersect1d(one.row, other.row)),
                unknown=sum(int((faces.subject == "").sum()) for faces in (one, other)),
            )
        )
    return found


def worst_of_runs(found: Sequence[Sequence[SharedRows]]) -> list[SharedRows]:
    """Keep, for each pair of splits, the run that shares most, and count those that share."""
    kept = []
    for of_runs in zip(*found, strict=True):
        worst = max(of_runs, key=lambda one: (one.subjects, one.rows))
        num_sharing = sum(bool(one.subjects or one.rows) for one in of_runs)
        kept.append(replace(worst, runs=num_sharing, of_runs=len(of_runs)))
    return kept


# --- validation by image --------------------------------------------------------------------------


@dataclass(frozen=True)
class Optimism:
    """Accuracy on the validation rows, on the test fold, and the former minus the latter."""

    num_runs: int
    val: Spread
    test: Spread
    optimism: Spread


@dataclass(frozen=True)
class ImageComparison:
    """Validation drawn by image beside validation drawn by subject, on the same folds."""

    task: str
    image: Optimism
    subject: Optimism


def compare_by_image(
    folder: Path, task: str, by_subject: Mapping[str, Sequence[Mapping[str, float]]]
) -> list[ImageComparison]:
    """Compare validation by image with validation by subject.

    Args:
        folder: of the study.
        task: whose protocol d to compare.
        by_subject: metrics of each run of that result, by split.

    Returns:
        nothing where the variant was not run.
    """
    variant = read_result(folder, StudyPart(task, "d", BY_IMAGE))
    if variant is None or not {"val", "test"} <= {*variant.splits} & {*by_subject}:
        return []
    image = {
        split: [
            score(predictions, task).values["accuracy"].mean()
            for predictions in variant.read_predictions(folder, split)
        ]
        for split in ("val", "test")
    }
    subject = {split: [run["accuracy"] for run in by_subject[split]] for split in image}
    return [ImageComparison(task, _optimism(**image), _optimism(**subject))]


def _optimism(val: Sequence[float], test: Sequence[float]) -> Optimism:
    difference = np.array(val) - np.array(test)
    spreads = (
        Spread(float(np.mean(values)), float(np.std(values))) for values in (val, test, difference)
    )
    return Optimism(len(val), *spreads)


# --- near-duplicates ------------------------------------------------------------------------------


@dataclass(frozen=True)
class DuplicatePair:
    """Two faces of different folds that are nearly the same: the lower row first."""

    rows: list[int]
    folds: list[int]
    subjects: list[str]
    cosine: float


@dataclass(frozen=True)
class DuplicateEffect:
    """Accuracy of a result with and without the faces that have near-duplicates, mean over runs.

    Attributes:
        faces: that were left out; None where the data file is not the one that was judged.
        without: accuracy of the faces that are left; None where a run has none.
    """

    task: str
    protocol: str
    num_runs: int
    faces: int | None = None
    accuracy: float | None = None
    without: float | None = None
    difference: float | None = None


@dataclass(frozen=True)
class DuplicateCheck:
    """A search for near-duplicates across the folds of Adience: "checked", or why not."""

    status: str


@dataclass(frozen=True)
class FoundDuplicates(DuplicateCheck):
    """How many pairs, faces in pairs, and faces in all; the nearest pairs; the effects."""

    pairs: int
    faces: int
    of_faces: int
    examples: list[DuplicatePair]
    effects: list[DuplicateEffect]


def check_duplicates(
    judged: Sequence[tuple[StudyResult, Sequence[FaceScores]]],
) -> DuplicateCheck:
    """Look for near-duplicates in the data file, and measure what they do to results.

    Args:
        judged: results with folds, and the scores of their test folds.
    """
    status = "no result with folds was run"
    for result, _ in judged:
        settings = result.config.get("data_loader", {}).get("args", {})
        try:
            faces = read_faces(str(settings.get("data_dir", "")), "Adience")
        except UserError as error:
            status = f"not checked: {error}"
        else:
            return _find_duplicates(faces, judged)
    return DuplicateCheck(status)


def _find_duplicates(
    faces: Faces, judged: Sequence[tuple[StudyResult, Sequence[FaceScores]]]
) -> FoundDuplicates:
    pairs, cosines = near_duplicates(faces.embedding, faces.fold)
    rows = np.unique(pairs)
    examples = [
        DuplicatePair(
            pair.tolist(), faces.fold[pair].tolist(), faces.subject[pair].tolist(), float(cosine)
        )
        for pair, cosine in zip(pairs[:NUM_NAMED], cosines[:NUM_NAMED], strict=True)
    ]
    effects = []
    for result, runs in judged:
        is_same_file = all(_is_of(run.faces, faces) for run in runs)
        effect: dict[str, Any] = without_rows(runs, rows) if is_same_file else {}
        effects.append(DuplicateEffect(result.task, result.protocol, len(runs), **effect))
    return FoundDuplicates("checked", len(pairs), len(rows), len(faces), examples, effects)


def near_duplicates(
    embeddings: NDArray[np.float32], fold: NDArray[np.int8], threshold: float = NEAR_COSINE
) -> tuple[Ints, NDArray[np.float32]]:
    """Find pairs of faces of different folds whose embeddings are nearly the same.

    Args:
        embeddings: (N, D), of any length but zero.
        fold: (N,).
        threshold: least cosine.

    Returns:
        rows (P, 2), the lower row first, and cosines (P,), the highest first.
    """
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    found = list(_near_blocks(unit.astype(np.float32), fold, threshold))
    pairs = np.concatenate([rows for rows, _ in found]) if found else np.empty((0, 2), np.int64)
    cosines = np.concatenate([values for _, values in found]) if found else np.empty(0, np.float32)
    order = np.argsort(-cosines, kind="stable")
    return pairs[order], cosines[order]


def _near_blocks(
    unit: NDArray[np.float32], fold: NDArray[np.int8], threshold: float
) -> Iterator[tuple[Ints, NDArray[np.float32]]]:
    starts = range(0, len(unit), BLOCK_ROWS)
    for top in starts:
        for left in starts[top // BLOCK_ROWS :]:
            rows, columns = slice(top, top + BLOCK_ROWS), slice(left, left + BLOCK_ROWS)
            cosines = unit[rows] @ unit[columns].T
            one, other = np.nonzero(cosines >= threshold)
            values = cosines[one, other]
            one, other = one + top, other + left
            is_new = (one < other) & (fold[one] != fold[other])
            if is_new.any():
                yield np.stack([one[is_new], other[is_new]], 1), values[is_new]


def without_rows(runs: Sequence[FaceScores], rows: Ints) -> dict[str, Any]:
    """Measure the accuracy of runs with and without some of their rows; see `DuplicateEffect`."""
    judged = np.intersect1d(np.concatenate([run.faces.row for run in runs]), rows)
    correct = [run.values["accuracy"] for run in runs]
    kept = [
        values[~np.isin(run.faces.row, rows)] for run, values in zip(runs, correct, strict=True)
    ]
    accuracy = float(np.mean([values.mean() for values in correct]))
    found: dict[str, Any] = {"faces": len(judged), "accuracy": accuracy}
    if all(len(values) for values in kept):
        without = float(np.mean([values.mean() for values in kept]))
        found |= {"without": without, "difference": without - accuracy}
    return found


def _is_of(judged: FaceInfo, faces: Faces) -> bool:
    """Check whether the rows of a run are those of the data file as it is now."""
    row = judged.row
    if row.max() >= len(faces) or row.min() < 0:
        return False
    same_age = np.array_equal(faces.age[row], judged.age)
    return same_age and np.array_equal(faces.gender[row], judged.gender)
