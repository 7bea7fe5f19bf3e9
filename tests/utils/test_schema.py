from typing import Any

import pytest

from utils.schema import Component, find_problems


class Net:
    def __init__(self, width: int, rate: float = 0.1):
        self.width, self.rate = width, rate


def loss_of(output: float, target: float, smoothing: float = 0.0) -> float:
    return output + target + smoothing


COMPONENTS = {
    "arch": {"Net": Component(Net)},
    "data_loader": {"Net": Component(Net)},
    "optimizer": {"Net": Component(Net)},
    "lr_scheduler": {"Net": Component(Net, filled=frozenset({"width"}))},
    "loss": {"loss_of": Component(loss_of, given=frozenset({"output", "target"}))},
    "metrics": {"hits": Component(loss_of), "errors": Component(loss_of)},
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


def lines(config: dict[str, Any]) -> list[str]:
    return [str(problem) for problem in find_problems(config, COMPONENTS)]


def test_a_good_config_has_no_problems() -> None:
    assert find_problems(good_config(), COMPONENTS) == []
    config = good_config() | {
        "loss": {"type": "loss_of", "args": {"smoothing": 0.1}},
        "lr_scheduler": {"type": "Net"},
        "seeds": [0],
        "num_cross_val": 5,
        "metrics": [],
    }
    assert find_problems(config, COMPONENTS) == []


MISSING = object()
# (path, value put there, the problem)
BAD_VALUES: list[tuple[str, Any, str]] = [
    ("name", MISSING, "name: missing"),
    ("trainer", MISSING, "trainer: missing"),
    ("trainer.epochs", MISSING, "trainer.epochs: missing"),
    ("name", 3, "name: 3, expected a string"),
    ("nmae", "a", "nmae: unknown key, did you mean name?"),
    ("trainer.epoch", 3, "trainer.epoch: unknown key, did you mean epochs?"),
    ("trainer.epochs", 0, "trainer.epochs: 0, expected 1 or more"),
    ("trainer.epochs", "3", "trainer.epochs: '3', expected a whole number"),
    ("trainer.epochs", None, "trainer.epochs: null, expected a whole number"),
    ("trainer.early_stop", -1, "trainer.early_stop: -1, expected 0 or more"),
    ("trainer", [], "trainer: [], expected an object"),
    ("seed", -1, "seed: -1, expected 0 or more"),
    ("seed", 2**63, f"seed: {2**63}, expected {2**63 - 1} or less"),
    ("seed", 1.5, "seed: 1.5, expected a whole number"),
    ("n_gpu", True, "n_gpu: True, expected a whole number"),
    ("amp", 1, "amp: 1, expected true or false"),
    ("metrics", "hits", "metrics: 'hits', expected a list"),
    ("metrics", ["hit"], "metrics: unknown metric 'hit', known are errors, hits"),
    ("metrics", [["hits"]], "metrics: unknown metric ['hits'], known are errors, hits"),
    ("metrics", [{}], "metrics: unknown metric {}, known are errors, hits"),
    ("metrics", ["hits", "hits"], "metrics: ['hits', 'hits'], one of them occurs twice"),
    ("arch", None, "arch: null, expected an object"),
    ("arch", {}, "arch.type: missing"),
    ("arch.type", ["Net"], "arch.type: unknown type ['Net'], known are Net"),
    ("arch.type", "Nets", "arch.type: unknown type 'Nets', known are Net"),
    ("arch.arg", {}, "arch.arg: unknown key, did you mean args?"),
    ("arch.args", None, "arch.args: null, expected an object"),
    ("arch.args", {}, "arch.args.width: missing"),
    ("arch.args.width", 3.5, "arch.args.width: 3.5, expected a whole number"),
    ("arch.args.rat", 0.1, "arch.args.rat: unknown key, did you mean rate?"),
    ("arch.args.rate", float("inf"), "arch.args.rate: inf is not finite, expected a number"),
    ("loss", 3, "loss: 3, expected a string or an object"),
    ("loss", "los", "loss.type: unknown type 'los', known are loss_of"),
    ("loss", {"type": []}, "loss.type: unknown type [], known are loss_of"),
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
    assert lines(config) == [problem]


@pytest.mark.parametrize(
    ("name", "reason"), [("mse", "one logit a class"), ("nll_loss", "log-probabilities")]
)
def test_losses_that_do_not_fit_logits_are_refused_with_the_reason(name: str, reason: str) -> None:
    for loss in (name, {"type": name, "args": {}}):
        (problem,) = find_problems(good_config() | {"loss": loss}, COMPONENTS)
        assert reason in problem.text
        assert problem.text.endswith("use cse")


def test_all_mistakes_are_found_at_once() -> None:
    config = good_config() | {"amp": "yes", "metrics": ["x"], "loss": "mse", "extra": 1}
    del config["name"]
    config["trainer"] = {"epochs": -1, "save_dir": None}
    config["arch"] = {"type": "Net", "args": {"width": "wide", "depth": 3}}
    assert len(find_problems(config, COMPONENTS)) == 9
