from typing import Any, Literal

import pytest

from utils.schema import Part, find_problems, fits, nearest, type_name

HUGE = 10**400
FITS: list[tuple[Any, Any]] = [
    ("a", str),
    ("", str),
    (3, int),
    (-3, int),
    (3, float),
    (3.5, float),
    (True, bool),
    (False, bool | None),
    (None, int | None),
    (None, str | None),
    ("a", str | dict),
    ({}, str | dict),
    ([], list),
    ([1, "a"], list),
    ([0.9, 0.99], tuple[float, float]),
    ([None, 1], tuple[float | None, float]),
    ([1, 2.5], float | list[float]),
    ([], list[float]),
    (2.5, float | list[float]),
    ("cos", Literal["cos", "linear"]),
    ("anything", Any),
    (True, Any),
    (1e308, float),
]
UNFITS: list[tuple[Any, Any]] = [
    (3, str),
    (None, str),
    ("3", int),
    (3.0, int),
    (True, int),
    (False, float),
    (True, int | None),
    ("0.1", float),
    (None, float),
    (float("nan"), float),
    (float("inf"), float),
    (-float("inf"), float | None),
    (HUGE, float),
    (1, bool),
    ("true", bool),
    ([], dict),
    ({}, list),
    ("ab", list),
    ([0.9], tuple[float, float]),
    ([0.9, 0.99, 0.999], tuple[float, float]),
    (["a", "b"], tuple[float, float]),
    ([0.9, float("nan")], tuple[float, float]),
    ([True, False], tuple[float, float]),
    ([1, "a"], list[float]),
    ("tan", Literal["cos", "linear"]),
    (["cos"], Literal["cos", "linear"]),
]


@pytest.mark.parametrize(("value", "expected"), FITS)
def test_a_value_of_the_type_fits(value: Any, expected: Any) -> None:
    assert fits(value, expected)


@pytest.mark.parametrize(("value", "expected"), UNFITS)
def test_a_value_of_another_type_does_not_fit(value: Any, expected: Any) -> None:
    assert not fits(value, expected)


@pytest.mark.parametrize(
    ("expected", "name"),
    [
        (str, "a string"),
        (bool, "true or false"),
        (int, "a whole number"),
        (float, "a number"),
        (dict, "an object"),
        (list, "a list"),
        (str | dict | None, "a string or an object or null"),
        (tuple[float, int], "a list [a number, a whole number]"),
        (float | list[float], "a number or a list [a number]"),
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


class Net:
    def __init__(self, width: int, rate: float = 0.1):
        self.width, self.rate = width, rate


def loss_of(output: float, target: float, smoothing: float = 0.0) -> float:
    return output + target + smoothing


PARTS = {
    "arch": {"Net": Part(Net)},
    "data_loader": {"Net": Part(Net)},
    "optimizer": {"Net": Part(Net)},
    "lr_scheduler": {"Net": Part(Net, filled=frozenset({"width"}))},
    "loss": {"loss_of": Part(loss_of, given=frozenset({"output", "target"}))},
    "metrics": {"hits": Part(loss_of), "errors": Part(loss_of)},
}


def good_config() -> dict[str, Any]:
    return {
        "name": "a",
        "arch": {"type": "Net", "args": {"width": 3}},
        "data_loader": {"type": "Net", "args": {"width": 3, "rate": 1}},
        "optimizer": {"type": "Net", "args": {"width": 3}},
        "loss": "loss_of",
        "metrics": ["hits"],
        "trainer": {"epochs": 3},
    }


def test_a_good_config_has_no_problems() -> None:
    assert find_problems(good_config(), PARTS) == []
    config = good_config() | {
        "loss": {"type": "loss_of", "args": {"smoothing": 0.1}},
        "lr_scheduler": {"type": "Net"},
        "seeds": [0],
        "num_cross_val": 5,
        "metrics": [],
    }
    assert find_problems(config, PARTS) == []


MISSING = object()
# (path, value put there, the problem)
BAD_VALUES: list[tuple[str, Any, str]] = [
    ("name", MISSING, "name: missing"),
    ("trainer", MISSING, "trainer: missing"),
    ("trainer.epochs", MISSING, "trainer.epochs: missing"),
    ("name", 3, "name: 3 is int, expected a string"),
    ("nmae", "a", "nmae: unknown key, did you mean name?"),
    ("trainer.epoch", 3, "trainer.epoch: unknown key, did you mean epochs?"),
    ("trainer.epochs", 0, "trainer.epochs: 0, expected 1 or more"),
    ("trainer.epochs", "3", "trainer.epochs: '3' is str, expected a whole number"),
    ("trainer.epochs", None, "trainer.epochs: null, expected a whole number"),
    ("trainer.early_stop", -1, "trainer.early_stop: -1, expected 0 or more"),
    ("trainer", [], "trainer: [] is list, expected an object"),
    ("seed", -1, "seed: -1, expected 0 or more"),
    ("seed", 2**63, f"seed: {2**63}, expected {2**63 - 1} or less"),
    ("seed", 1.5, "seed: 1.5 is float, expected a whole number"),
    ("n_gpu", True, "n_gpu: True is bool, expected a whole number"),
    ("amp", 1, "amp: 1 is int, expected true or false"),
    ("metrics", "hits", "metrics: 'hits' is str, expected a list"),
    ("metrics", ["hit"], "metrics: unknown metric 'hit', known are errors, hits"),
    ("metrics", [["hits"]], "metrics: unknown metric ['hits'], known are errors, hits"),
    ("metrics", [{}], "metrics: unknown metric {}, known are errors, hits"),
    ("metrics", ["hits", "hits"], "metrics: a metric is named twice"),
    ("arch", None, "arch: null, expected an object"),
    ("arch", {}, "arch.type: null, expected one of Net"),
    ("arch.type", ["Net"], "arch.type: ['Net'] is list, expected one of Net"),
    ("arch.type", "Nets", "arch.type: unknown type 'Nets', known are Net"),
    ("arch.arg", {}, "arch.arg: unknown key, did you mean args?"),
    ("arch.args", None, "arch.args: null, expected an object"),
    ("arch.args", {}, "arch.args.width: missing"),
    ("arch.args.width", 3.5, "arch.args.width: 3.5 is float, expected a whole number"),
    ("arch.args.rat", 0.1, "arch.args.rat: unknown key, did you mean rate?"),
    ("arch.args.rate", float("inf"), "arch.args.rate: inf is not finite, expected a number"),
    ("loss", 3, "loss: 3 is int, expected a string or an object"),
    ("loss", "los", "loss.type: unknown type 'los', known are loss_of"),
    ("loss", {"type": []}, "loss.type: [] is list, expected one of loss_of"),
    (
        "loss",
        {"type": "loss_of", "args": {"target": 1}},
        "loss.args.target: unknown key, known are smoothing",
    ),
]


@pytest.mark.parametrize(("path", "value", "problem"), BAD_VALUES)
def test_one_mistake_is_one_problem_that_names_its_place(
    path: str, value: Any, problem: str
) -> None:
    config: dict[str, Any] = good_config()
    place = config
    *parents, last = path.split(".")
    for key in parents:
        place = place[key]
    place[last] = value
    if value is MISSING:
        del place[last]
    assert find_problems(config, PARTS) == [problem]


@pytest.mark.parametrize(
    ("name", "reason"), [("mse", "one logit a class"), ("nll_loss", "log-probabilities")]
)
def test_losses_that_do_not_fit_logits_are_refused_with_the_reason(name: str, reason: str) -> None:
    for loss in (name, {"type": name, "args": {}}):
        (problem,) = find_problems(good_config() | {"loss": loss}, PARTS)
        assert reason in problem
        assert problem.endswith("use cse")


def test_all_mistakes_are_found_at_once() -> None:
    config = good_config() | {"amp": "yes", "metrics": ["x"], "loss": "mse", "extra": 1}
    del config["name"]
    config["trainer"] = {"epochs": -1, "save_dir": None}
    config["arch"] = {"type": "Net", "args": {"width": "wide", "depth": 3}}
    assert len(find_problems(config, PARTS)) == 9
