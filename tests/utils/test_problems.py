from typing import Annotated, Any, Literal

import pytest
from pydantic import ConfigDict, Field, ValidationError, field_validator
from pydantic.dataclasses import dataclass

from utils.errors import ConfigError
from utils.problems import (
    MOST,
    JsonObject,
    problems_in,
    problems_of,
    read_object,
    type_name,
)
from utils.text import nearest


class Inner(JsonObject):
    width: int
    depth: Annotated[int, Field(ge=1)] | None = None


class Outer(JsonObject):
    rate: float = 0.5
    count: int = Field(1, ge=1, le=MOST)
    patience: int | None = None
    rates: float | list[float] = 0.5
    scheduler: Literal["asha", "fifo"] = "asha"
    target: str | dict[str, Any] = ""
    seeds: list[Annotated[int, Field(ge=0)]] = Field(default_factory=list)
    amp: bool = False
    folder: str = "a"
    inner: Inner | None = None
    by_name: dict[str, Inner] = Field(default_factory=dict)

    @field_validator("folder")
    @classmethod
    def _is_given(cls, folder: str) -> str:
        if not folder:
            raise ValueError("is empty, expected a path")
        return folder


GOOD: list[dict[str, Any]] = [
    {},
    {"rate": 3, "count": MOST, "patience": None, "rates": [1, 2.5], "target": {"a": 1}},
    {"rates": [], "seeds": [0, 1], "amp": True, "inner": {"width": -3}},
    {"rate": 1e308, "by_name": {"a": {"width": 3, "depth": 1}}, "inner": None},
]
HUGE = 10**5000
BAD: list[tuple[dict[str, Any], str]] = [
    ({"rate": True}, "rate: True, expected a number"),
    ({"rate": None}, "rate: null, expected a number"),
    ({"rate": "0.1"}, "rate: '0.1', expected a number"),
    ({"rate": float("nan")}, "rate: nan is not finite, expected a number"),
    ({"rate": -float("inf")}, "rate: -inf is not finite, expected a number"),
    ({"rate": HUGE}, "rate: a number of thousands of digits, expected a number"),
    ({"count": HUGE}, f"count: a number of thousands of digits, expected {MOST} or less"),
    ({"count": 0}, "count: 0, expected 1 or more"),
    ({"count": 3.0}, "count: 3.0, expected a whole number"),
    ({"count": True}, "count: True, expected a whole number"),
    ({"count": "3"}, "count: '3', expected a whole number"),
    ({"patience": "x"}, "patience: 'x', expected a whole number or null"),
    ({"rates": ["a"]}, "rates: ['a'], expected a number or a list [a number]"),
    ({"rates": True}, "rates: True, expected a number or a list [a number]"),
    ({"scheduler": "x"}, 'scheduler: \'x\', expected "asha" or "fifo"'),
    ({"scheduler": ["asha"]}, 'scheduler: [\'asha\'], expected "asha" or "fifo"'),
    ({"target": 3}, "target: 3, expected a string or an object"),
    ({"seeds": [1, -1]}, "seeds.1: -1, expected 0 or more"),
    ({"seeds": {}}, "seeds: {}, expected a list [a whole number]"),
    ({"amp": 1}, "amp: 1, expected true or false"),
    ({"amp": "true"}, "amp: 'true', expected true or false"),
    ({"folder": ""}, "folder: is empty, expected a path"),
    ({"inner": []}, "inner: [], expected an object or null"),
    ({"inner": {}}, "inner.width: missing"),
    ({"inner": {"width": 1, "dept": 1}}, "inner.dept: unknown key, did you mean depth?"),
    ({"inner": {"width": 1, "depth": 0}}, "inner.depth: 0, expected 1 or more"),
    ({"by_name": {"a": {"width": ""}}}, "by_name.a.width: '', expected a whole number"),
    ({"by_name": {"a": {"x": 1, "width": 1}}}, "by_name.a.x: unknown key, known are depth, width"),
    ({"cuont": 1}, "cuont: unknown key, did you mean count?"),
]


@pytest.mark.parametrize("content", GOOD)
def test_what_fits_has_no_problems(content: dict[str, Any]) -> None:
    assert problems_in(Outer, content) == []
    assert isinstance(read_object(Outer, content, "x"), Outer)


@pytest.mark.parametrize(("content", "line"), BAD)
def test_one_mistake_is_one_line_with_its_path(content: dict[str, Any], line: str) -> None:
    assert [str(problem) for problem in problems_in(Outer, content)] == [line]
    with pytest.raises(ConfigError) as refusal:
        read_object(Outer, content, "the config")
    assert str(refusal.value) == f"the config: {line}"


def test_of_thousands_of_mistakes_the_first_are_said() -> None:
    with pytest.raises(ConfigError) as refusal:
        read_object(Outer, {f"key{n}": n for n in range(10_000)}, "the config")
    first, *lines = str(refusal.value).splitlines()
    assert first.endswith("problems")
    assert (len(lines), lines[-1][:7]) == (21, "  and 9")


def test_all_mistakes_are_said_at_once() -> None:
    with pytest.raises(ConfigError) as refusal:
        read_object(Outer, {"rate": "x", "inner": {"depth": 0}, "amp": 1}, "the config")
    assert str(refusal.value).splitlines() == [
        "the config: 4 problems",
        "  rate: 'x', expected a number",
        "  amp: 1, expected true or false",
        "  inner.width: missing",
        "  inner.depth: 0, expected 1 or more",
    ]


def test_what_is_no_object_is_said() -> None:
    assert [str(problem) for problem in problems_in(Outer, "x")] == ["'x', expected an object"]


def test_long_keys_and_values_are_cut() -> None:
    (problem,) = problems_in(Outer, {"x" * 5000: 1})
    assert len(problem.path) == 80
    (problem,) = problems_in(Outer, {"rate": "x" * 5000})
    assert len(str(problem)) < 120


def test_a_prefix_is_put_before_each_path() -> None:
    assert [problem.path for problem in problems_in(Inner, {}, "arch.args.")] == ["arch.args.width"]


@dataclass(config=ConfigDict(extra="forbid"))
class Settings:
    port: Annotated[int, Field(ge=0)] = 3


def test_dataclasses_of_pydantic_have_the_same_lines() -> None:
    values: dict[str, Any] = {"prt": 3, "port": "x"}
    with pytest.raises(ValidationError) as caught:
        Settings(**values)
    assert [str(problem) for problem in problems_of(caught.value, Settings, values)] == [
        "port: 'x', expected a whole number",
        "prt: unknown key, did you mean port?",
    ]


@pytest.mark.parametrize(
    ("expected", "name"),
    [
        (str, "a string"),
        (bool, "true or false"),
        (int, "a whole number"),
        (float, "a number"),
        (dict, "an object"),
        (list, "a list"),
        (Inner, "an object"),
        (str | dict | None, "a string or an object or null"),
        (tuple[float, int], "a list [a number, a whole number]"),
        (float | list[float], "a number or a list [a number]"),
        (Annotated[int, Field(ge=1)] | None, "a whole number or null"),
        (Literal["cos", "linear"], '"cos" or "linear"'),
    ],
)
def test_a_type_is_named_as_a_json_user_would(expected: Any, name: str) -> None:
    assert type_name(expected) == name


@pytest.mark.parametrize(
    ("word", "known", "answer"),
    [
        ("epoch", ["epochs", "monitor"], "did you mean epochs?"),
        ("batchsize", ["batch_size", "data_dir"], "did you mean batch_size?"),
        ("x", ["b", "a"], "known are a, b"),
    ],
)
def test_an_unknown_word_gets_the_nearest_known_one_or_all(
    word: str, known: list[str], answer: str
) -> None:
    assert nearest(word, known) == answer
