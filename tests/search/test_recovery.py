"""The state that a search goes on from, looked at before Ray reads it."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from search.recovery import recover
from utils.errors import ConfigError

STAMP = "2026-01-02_03-04-05"
PICKLES = ("tuner.pkl", f"callback-states-{STAMP}.pkl", f"basic-variant-state-{STAMP}.json")
STATE = f"experiment_state-{STAMP}.json"


CONTENT = {"trial_data": [["{}", "{}"]], "runner_data": {}, "stats": {}}


class Harmful:
    """Ends a test that unpickles it."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return pytest.fail, ("it was unpickled",)


def whole_state(folder: Path) -> Path:
    """Write the state of a search, and an older part, which a kill left empty."""
    target = folder / "tune"
    target.mkdir(parents=True)
    for name in PICKLES:
        (target / name).write_bytes(pickle.dumps({"a": [Harmful()] * 10}))
    (target / "experiment_state-2026-01-01_00-00-00.json").write_bytes(b"")
    (target / STATE).write_text(json.dumps(CONTENT))
    return target


def test_a_whole_state_is_gone_on_from_without_being_unpickled(tmp_path: Path) -> None:
    whole_state(tmp_path)
    recover(tmp_path, "tune")


@pytest.mark.parametrize("name", [*PICKLES, STATE])
@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole[:-1],
        lambda whole: whole + b".",
        lambda whole: b"\x00" * len(whole),
        lambda whole: b"[" * 100_000,
    ],
    ids=["empty", "half", "without its end", "more", "zeros", "deep"],
)
def test_a_state_that_is_cut_short_is_one_line_that_names_it(
    name: str, damage: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    path = whole_state(tmp_path) / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ConfigError) as caught:
        recover(tmp_path, "tune")
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["tuner.pkl", STATE])
def test_a_state_of_which_a_part_is_missing_is_refused(name: str, tmp_path: Path) -> None:
    target = whole_state(tmp_path)
    (target / name).unlink()
    with pytest.raises(ConfigError, match="cut short"):
        recover(tmp_path, "tune")


@pytest.mark.parametrize(
    "change",
    [
        {"trial_data": 3},
        {"trial_data": [3]},
        {"trial_data": [["{}"]]},
        {"trial_data": [["{}", 3]]},
        {"runner_data": None},
    ],
    ids=str,
)
def test_json_of_another_form_is_no_state_of_a_search(
    change: dict[str, object], tmp_path: Path
) -> None:
    path = whole_state(tmp_path) / STATE
    path.write_text(json.dumps({**CONTENT, **change}))
    with pytest.raises(ConfigError, match="is damaged"):
        recover(tmp_path, "tune")
