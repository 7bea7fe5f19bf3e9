"""Results files that a cross-validation did not leave as they are."""

import copy
import json
import random
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import pytest
from helpers import Config

from cross_val.cross_validate import cross_validate
from cross_val.results import SPLITS
from cross_val.runs import RunKey, RunResult
from trainer.check import check
from trainer.data import SharedInputs
from utils.config import ConfigParser

NAMES = ("loss", "accuracy", "one_off_accuracy", "mae")
FUZZ_SEED, NUM_CHANGED = 7, 60
ANYTHING: tuple[Any, ...] = (
    *(None, True, 0, -1, 2**70, 1e308, float("nan"), "", "0", "train", [], [[]], {}, {"0": {}}),
    *({"train": 3}, {"test": {"0": {"loss": 1.0}}}, {"x": {"y": {"z": 1}}}, [1, "a"]),
)


def engine(
    config: ConfigParser, runs: Sequence[RunKey], bar: Any, inputs: SharedInputs
) -> Generator[RunResult, None, None]:
    """Train nothing."""
    for seed, fold in runs:
        stats = {split: dict.fromkeys(NAMES, seed + fold / 10) for split in SPLITS}
        yield RunResult(seed, fold, stats, Path("best.pth"), {"torch": "2"})


def study(config: Config) -> dict[str, Any]:
    return cross_validate(ConfigParser(config, check=check), engine=engine)


def whole_file(config: Config) -> tuple[Path, dict[str, Any]]:
    study(config)
    (path,) = Path(config["trainer"]["save_dir"]).glob("*_cross-val-results.json")
    return path, json.loads(path.read_text(encoding="utf-8"))


def places_in(content: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List the keys that lead to every value."""
    items = content.items() if isinstance(content, dict) else ()
    return [below for k, v in items for below in ((*place, k), *places_in(v, (*place, k)))]


def put(content: Any, place: tuple[Any, ...], value: Any) -> None:
    for key in place[:-1]:
        content = content[key]
    content[place[-1]] = value


def assert_whole(results: dict[str, Any]) -> None:
    """Compare with what the engine gives, whatever was there before."""
    assert set(results["stats"]) >= {"0", "1"}
    for seed in (0, 1):
        for split in SPLITS:
            for fold in (0, 1):
                assert set(results["stats"][str(seed)][split][str(fold)]) == set(NAMES)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("stats", "0"), 3.0),
        (("stats", "0"), None),
        (("stats", "0", "train"), {}),
        (("stats", "0", "val"), []),
        (("stats", "1", "test", "0"), {"loss": 1.0}),
        (("stats", "1", "train", "1", "mae"), "low"),
        (("stats", "1", "train", "1", "mae"), float("nan")),
        (("stats", "1", "train", "x"), {"loss": 1.0}),
        (("stats", "seeds"), {}),
        (("environment",), None),
        (("checkpoints",), {}),
        (("checkpoints", "0"), "a.pth"),
        (("checkpoints", "0", "0"), 3),
        (("other_environments",), {"0": 3}),
    ],
    ids=str,
)
def test_a_results_file_with_parts_missing_or_of_another_kind_is_made_whole_or_passed_over(
    place: tuple[str, ...], value: Any, cross_val_config: Config
) -> None:
    path, content = whole_file(cross_val_config)
    put(content, place, value)
    path.write_text(json.dumps(content))
    assert_whole(study(cross_val_config))


def test_no_summary_is_taken_from_a_file(cross_val_config: Config) -> None:
    path, content = whole_file(cross_val_config)
    kept = {key: value for key, value in content["stats"].items() if not key.endswith("_mean")}
    path.write_text(json.dumps({**content, "stats": kept}))
    assert_whole(study(cross_val_config))


def test_anything_in_a_results_file_ends_in_whole_results(cross_val_config: Config) -> None:
    path, content = whole_file(cross_val_config)
    places = [place for place in places_in(content) if place[0] not in ("config", "inputs")]
    rng = random.Random(FUZZ_SEED)  # noqa: S311 - a test
    print(f"seed {FUZZ_SEED}")
    for _ in range(NUM_CHANGED):
        changed = copy.deepcopy(content)
        put(changed, rng.choice(places), rng.choice(ANYTHING))
        path.write_text(json.dumps(changed))
        assert_whole(study(cross_val_config))
        for left in path.parent.glob("*_cross-val-results.json"):
            left.unlink()
