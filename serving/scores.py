"""What test.py measures, in the form in which scores of published models are known.

`--scores scores.json` writes what an entry of `registry.json` has under "scores", and
`--scores scores.md` the lines that a model card has.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from serving.registry import ReportedScore
from utils.errors import ConfigError, PathError
from utils.files import atomic_write, refuse_unwritable_file, write_json
from utils.labels import age_classes_of

METRICS: tuple[Literal["accuracy", "mae"], ...] = ("accuracy", "mae")
"""Those that the registry knows."""

SUFFIXES = (".json", ".md")
SPLITS = {"train": "the rows trained on", "all": "all rows"}


def refuse_scores(path: Path, metrics: Sequence[str]) -> None:
    """Check, before any work, that there will be scores, and a file for them.

    Raises:
        PathError: the file cannot be written, or is of no known format.
        ConfigError: none of the metrics is one of the registry's.
    """
    refuse_unwritable_file(path)
    if path.suffix.lower() not in SUFFIXES:
        got = path.suffix or "none"
        raise PathError(f"{path}: the suffix says the format; expected .json or .md, got {got}")
    if not set(metrics) & set(METRICS):
        raise ConfigError(
            f"--scores writes accuracy and mae, and metrics are {', '.join(metrics) or 'none'}: "
            "add -o 'metrics=[\"accuracy\"]'"
        )


def write_scores(results: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the scores of test results, as a list in JSON or as lines of Markdown.

    Args:
        results: as `trainer.evaluate_checkpoint.evaluate_on` returns them.
        path: of the file; it is replaced.
    """
    scores = [score for result in results for score in scores_of(result)]
    if path.suffix.lower() == ".json":
        write_json([score.model_dump() for score in scores], path)
        return
    with atomic_write(path) as file:
        file.write("".join(f"- {score}\n" for score in scores).encode())


def scores_of(result: Mapping[str, Any]) -> Iterator[ReportedScore]:
    """Yield the accuracy and the mean absolute error of test results."""
    is_age = age_classes_of(result["config"]) is not None
    rows = _rows(result)
    for metric in METRICS:
        if metric in result:
            yield ReportedScore(
                task="age" if is_age else "gender",
                metric=metric,
                value=round(result[metric], 4),
                on=rows,
            )


def _rows(result: Mapping[str, Any]) -> str:
    """Describe the rows that were tested, and the classes of their ages."""
    fold, people, split = result["test_cross_val"], result["num_people"], result["split"]
    held_out = "the split for tests" if fold is None else f"fold {fold} held out"
    by = result["config"]["data_loader"]["args"].get("validation_by", "image")
    known = result["seen"]["trained"] if split != "train" else 0
    parts = [
        " ".join(result["dataset"].split()),
        f"validation rows drawn by {by}" if split == "val" else SPLITS.get(split, held_out),
        f"{result['num_samples']:,} faces" + (f" of {people:,} people" if people else ""),
        f"{known:,} of them trained on" if known else "",
        _classes(result["config"]),
    ]
    return ", ".join(filter(None, parts))


def _classes(config: Mapping[str, Any]) -> str:
    classes = age_classes_of(config)
    match classes:
        case None:
            return ""
        case int():
            return f"in {classes} classes"
        case _:
            youngest, oldest = ("-".join(map(str, group)) for group in (classes[0], classes[-1]))
            return f"in {len(classes)} groups from {youngest} to {oldest}"
