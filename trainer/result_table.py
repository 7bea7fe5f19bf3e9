"""The table that test.py prints: a row for each data set."""

from collections.abc import Mapping, Sequence
from typing import Any

from data_loader.extractors import dataset_title
from utils.text import cut, in_columns

MAX_EXTRACTOR = 40
HEADER = ("data set", "split", "rows", "people", "extractor")


def result_table(results: Sequence[Mapping[str, Any]], metrics: Sequence[str]) -> list[str]:
    """Lay out what `evaluate_on` found, a line for each data set.

    Args:
        results: of each data set, at least one.
        metrics: names of the columns of numbers.
    """
    return in_columns([(*HEADER, *metrics), *(_row(result, metrics) for result in results)])


def _row(result: Mapping[str, Any], metrics: Sequence[str]) -> tuple[str, ...]:
    fold = result["test_cross_val"]
    split = f"fold {fold}" if result["split"] == "test" and fold is not None else result["split"]
    return (
        dataset_title(result["dataset"], result["extractor"]),
        split,
        f"{result['num_samples']:,}",
        f"{result['num_people']:,}" if result["num_people"] else "-",
        cut(networks(result["extractor"]), MAX_EXTRACTOR),
        *(f"{result[name]:.4f}" for name in metrics),
    )


def networks(extractors: Mapping[str, Any]) -> str:
    """Return what made embeddings, in short: the models, or the servers that name none.

    >>> networks({"imdb": {"server": "a", "model": "buffalo_s"}, "wiki": {"server": "a"}})
    'buffalo_s, a'
    >>> networks({})
    '-'
    """
    records = [record for record in extractors.values() if isinstance(record, dict)]
    names = [str(record.get("model") or record.get("server") or "-") for record in records]
    return ", ".join(dict.fromkeys(names)) or "-"
