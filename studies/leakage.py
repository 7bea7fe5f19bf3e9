"""What a split lets through: people on both sides, and faces that are nearly the same picture."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_loader.faces import Faces, read_faces
from studies.metrics import Identity, Ints, Scores, score
from studies.protocols import BY_IMAGE
from studies.results import Result, read_result
from utils.errors import UserError

Summary = dict[str, Any]

NEAR_COSINE = 0.9
"""From here on two embeddings are taken to be of nearly the same picture of one person."""

BLOCK_ROWS = 2048
"""Rows compared with as many others at a time: 16 MiB of cosines."""

NUM_NAMED = 20
"""Subjects and pairs that are listed by name."""


def shared_between_splits(splits: dict[str, Identity]) -> list[dict[str, Any]]:
    """Look for subjects and rows on both sides of any two splits of one run.

    Returns:
        one {"splits": [one, other], "subjects": how many, "names": the first of them,
        "rows": rows of the data set on both sides, "unknown": faces whose subject is not known}
        a pair of splits.
    """
    names = {split: _names(faces) for split, faces in splits.items()}
    found = []
    for one, other in combinations(splits, 2):
        common = np.intersect1d(names[one], names[other])
        found.append(
            {
                "splits": [one, other],
                "subjects": len(common),
                "names": common[:NUM_NAMED].tolist(),
                "rows": len(np.intersect1d(splits[one].row, splits[other].row)),
                "unknown": sum(int((splits[split].subject == "").sum()) for split in (one, other)),
            }
        )
    return found


def _names(faces: Identity) -> NDArray[np.str_]:
    known = faces.subject != ""
    named = np.strings.add(np.strings.add(faces.source[known], "/"), faces.subject[known])
    return np.unique(named)


def worst_of_runs(found: Sequence[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Keep, for each pair of splits, the run that shares most; "runs" counts those that share."""
    kept = []
    for of_runs in zip(*found, strict=True):
        worst = max(of_runs, key=lambda one: (one["subjects"], one["rows"]))
        num_sharing = sum(bool(one["subjects"] or one["rows"]) for one in of_runs)
        kept.append(worst | {"runs": num_sharing, "of_runs": len(of_runs)})
    return kept


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


def without_rows(runs: Sequence[Scores], rows: Ints) -> dict[str, Any]:
    """Measure the accuracy of runs with and without some of their rows.

    Returns:
        {"faces": rows that any run was asked about, "accuracy", "without": means over runs, and
        "difference" of the latter to the former; None where nothing is left}.
    """
    asked = np.intersect1d(np.concatenate([run.faces.row for run in runs]), rows)
    correct = [run.values["accuracy"] for run in runs]
    kept = [
        values[~np.isin(run.faces.row, rows)] for run, values in zip(runs, correct, strict=True)
    ]
    accuracy = float(np.mean([values.mean() for values in correct]))
    if not all(len(values) for values in kept):
        return {"faces": len(asked), "accuracy": accuracy, "without": None, "difference": None}
    without = float(np.mean([values.mean() for values in kept]))
    return {
        "faces": len(asked),
        "accuracy": accuracy,
        "without": without,
        "difference": without - accuracy,
    }


def compare_by_image(folder: Path, task: str, runs_by_subject: list[Summary]) -> list[Summary]:
    """Compare validation by image with validation by subject, on the same folds.

    Args:
        folder: of the study.
        task: whose protocol d to compare.
        runs_by_subject: "runs" of its entry in the summary.

    Returns:
        one {"task", "image", "subject"}, each of the latter with mean and population std of
        "val", "test" and "optimism", the former minus the latter; nothing where the variant was
        not run.
    """
    variant = read_result(folder, task, "d", BY_IMAGE)
    if variant is None or not {"val", "test"} <= set(variant.splits):
        return []
    runs = [
        {
            split: float(score(one, task).values["accuracy"].mean())
            for split, one in zip(("val", "test"), both, strict=True)
        }
        for both in zip(variant.read("val"), variant.read("test"), strict=True)
    ]
    ours = [
        {split: run["splits"][split]["accuracy"] for split in ("val", "test")}
        for run in runs_by_subject
    ]
    return [{"task": task, "image": _optimism(runs), "subject": _optimism(ours)}]


def _optimism(runs: list[dict[str, float]]) -> Summary:
    """Tell by how much validation promises more than the test holds."""
    val = np.array([run["val"] for run in runs])
    test = np.array([run["test"] for run in runs])
    columns = {"val": val, "test": test, "optimism": val - test}
    return {"num_runs": len(runs)} | {
        name: {"mean": float(values.mean()), "std": float(values.std())}
        for name, values in columns.items()
    }


class Duplicates:
    """Near-duplicates across the folds of Adience, looked for once, and what they do to results.

    Attributes:
        found: {"status": "checked", or why not; "pairs", "faces", "examples", "effects"}.
    """

    def __init__(self) -> None:
        self.found: Summary = {"status": "no result with folds was run"}
        self._faces: Faces | None = None
        self._rows: NDArray[np.int64] | None = None

    def add(self, result: Result, judged: Sequence[Scores]) -> None:
        """Look at a cross-validated result."""
        if result.judged != "test":
            return
        if self._rows is None:
            self._look(result)
        if self._rows is None or self._faces is None:
            return
        if not all(_is_of(run, self._faces) for run in judged):
            effect: Summary = {"faces": None, "accuracy": None, "without": None, "difference": None}
        else:
            effect = without_rows(judged, self._rows)
        self.found["effects"].append(
            {"task": result.task, "protocol": result.protocol, "num_runs": len(judged)} | effect
        )

    def _look(self, result: Result) -> None:
        data_dir = str(result.config.get("data_loader", {}).get("args", {}).get("data_dir", ""))
        try:
            faces = read_faces(data_dir, "Adience")
        except UserError as error:
            self.found = {"status": f"not checked: {error}"}
            return
        pairs, cosines = near_duplicates(faces.embedding, faces.fold)
        self._faces, self._rows = faces, np.unique(pairs)
        self.found = {
            "status": "checked",
            "pairs": len(pairs),
            "faces": len(self._rows),
            "of_faces": len(faces),
            "examples": [
                {
                    "rows": [int(one), int(other)],
                    "folds": [int(faces.fold[one]), int(faces.fold[other])],
                    "subjects": [str(faces.subject[one]), str(faces.subject[other])],
                    "cosine": float(cosine),
                }
                for (one, other), cosine in zip(pairs[:NUM_NAMED], cosines[:NUM_NAMED], strict=True)
            ],
            "effects": [],
        }


def _is_of(run: Scores, faces: Faces) -> bool:
    """Tell whether the rows of a run are those of the data file as it is now."""
    row = run.faces.row
    if row.max() >= len(faces) or row.min() < 0:
        return False
    same_age = np.array_equal(faces.age[row], run.faces.age)
    return same_age and np.array_equal(faces.gender[row], run.faces.gender)
