"""Checks a whole config before any work, and gathers every problem for one message.

The parts that a config names ("type" and "args") are looked up among callables given by the caller,
and their arguments are checked against the callables' own signatures and annotations, so that this
module knows neither torch nor the networks.
"""

import difflib
import inspect
import math
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from utils.text import cut, shown


class Part(NamedTuple):
    """A type that a section of a config may name.

    Attributes:
        make: the callable.
        given: parameters that the program passes; a config may not.
        filled: required parameters that the program fills in where a config does not.
    """

    make: Callable[..., Any]
    given: frozenset[str] = frozenset()
    filled: frozenset[str] = frozenset()

    def parameters(self) -> dict[str, inspect.Parameter]:
        """List the parameters that a config may set."""
        return {
            name: parameter
            for name, parameter in inspect.signature(self.make).parameters.items()
            if name not in self.given and parameter.kind is not parameter.VAR_KEYWORD
        }

    def hints(self) -> dict[str, Any]:
        """Give the annotations that can be read at run time."""
        target = self.make.__init__ if inspect.isclass(self.make) else self.make
        try:
            return typing.get_type_hints(target)
        except (NameError, TypeError):  # written for a type checker only
            return {}


Parts = Mapping[str, Part]

TOP_LEVEL: dict[str, Any] = {
    "name": str,
    "n_gpu": int,
    "amp": bool,
    "checkpoint": str | None,
    "seed": int,
    "arch": dict,
    "data_loader": dict,
    "optimizer": dict,
    "loss": str | dict,
    "metrics": list,
    "lr_scheduler": dict | None,
    "trainer": dict,
    "num_cross_val": int,
    "seeds": list,
}
TRAINER: dict[str, Any] = {
    "epochs": int,
    "save_dir": str,
    "save_period": int,
    "verbosity": int,
    "monitor": str,
    "early_stop": int,
    "tensorboard": bool,
}
DEFAULTS: dict[str, Any] = {
    "n_gpu": 1,
    "amp": False,
    "checkpoint": None,
    "seed": 42,
    "lr_scheduler": None,
}
TRAINER_DEFAULTS: dict[str, Any] = {
    "save_dir": "saved/",
    "save_period": 1,
    "verbosity": 2,
    "monitor": "off",
    "early_stop": 0,
    "tensorboard": False,
}
LEAST: dict[str, int] = {
    "n_gpu": 0,
    "seed": 0,
    "num_cross_val": 1,
    "trainer.epochs": 1,
    "trainer.save_period": 0,
    "trainer.verbosity": 0,
    "trainer.early_stop": 0,
}
MOST = 2**63 - 1
"""Of whole numbers: what torch and numpy can take."""

REQUIRED = ("name", "arch", "data_loader", "optimizer", "loss", "metrics", "trainer")
REFUSED_LOSSES = {
    "mse": "squared error compares numbers with numbers, the network gives one logit a class",
    "nll_loss": "it expects log-probabilities, the network gives logits",
}


UNKNOWN_KEY = "unknown key"


def find_problems(config: Mapping[str, Any], parts: Mapping[str, Parts]) -> list[str]:
    """List what is wrong with keys, types and values, one line each.

    Args:
        config: the whole config.
        parts: for each section ("arch", "loss", ...) the types it may name.
    """
    problems = [f"{key}: missing" for key in REQUIRED if key not in config]
    problems += _unknown_keys("", config, TOP_LEVEL)
    problems += _wrong_values("", config, TOP_LEVEL)
    trainer = config.get("trainer")
    if isinstance(trainer, dict):
        problems += _unknown_keys("trainer.", trainer, TRAINER)
        problems += _wrong_values("trainer.", trainer, TRAINER)
        if "epochs" not in trainer:
            problems.append("trainer.epochs: missing")
    for section in ("arch", "data_loader", "optimizer", "lr_scheduler", "loss"):
        content = config.get(section)
        if isinstance(content, str):
            content = {"type": content, "args": {}}
        if isinstance(content, dict):
            problems += _part_problems(section, content, parts[section])
    if isinstance(config.get("metrics"), list):
        problems += _list_problems(config["metrics"], parts["metrics"])
    return problems


def nearest(word: str, known: Iterable[str]) -> str:
    """Suggest the known word that looks most like `word`, or list all.

    >>> nearest("epoch", ["epochs", "monitor"])
    'did you mean epochs?'
    >>> nearest("x", ["b", "a"])
    'known are a, b'
    """
    known = sorted(known)
    matches = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {matches[0]}?" if matches else f"known are {', '.join(known)}"


def _unknown_keys(prefix: str, content: Mapping[str, Any], known: Iterable[str]) -> list[str]:
    return [
        f"{prefix}{cut(key)}: {UNKNOWN_KEY}, {nearest(key, known)}"
        for key in content
        if key not in known
    ]


def _wrong_values(
    prefix: str, content: Mapping[str, Any], expected: Mapping[str, Any]
) -> list[str]:
    problems = []
    for key, value in content.items():
        path = prefix + key
        if key in expected and not fits(value, expected[key]):
            problems.append(f"{path}: {_show(value)}, expected {type_name(expected[key])}")
        elif path in LEAST and value < LEAST[path]:
            problems.append(f"{path}: {shown(value)}, expected {LEAST[path]} or more")
        elif type(value) is int and abs(value) > MOST:
            problems.append(f"{path}: {shown(value)}, expected {MOST} or less")
    return problems


def _part_problems(section: str, content: dict[str, Any], known: Parts) -> list[str]:
    name, arguments = content.get("type"), content.get("args", {})
    problems = _unknown_keys(f"{section}.", content, ("type", "args"))
    if not isinstance(name, str):
        return [*problems, f"{section}.type: {_show(name)}, expected one of {_names(known)}"]
    if section == "loss" and name in REFUSED_LOSSES:
        return [*problems, f"loss: {name} does not fit: {REFUSED_LOSSES[name]}; use cse"]
    if name not in known:
        return [*problems, f"{section}.type: unknown type {shown(name)}, known are {_names(known)}"]
    if not isinstance(arguments, dict):
        return [*problems, f"{section}.args: {_show(arguments)}, expected an object"]
    return problems + _argument_problems(f"{section}.args.", arguments, known[name])


def _argument_problems(prefix: str, arguments: dict[str, Any], part: Part) -> list[str]:
    parameters = part.parameters()
    problems = _unknown_keys(prefix, arguments, parameters)
    hints = part.hints()
    problems += _wrong_values(prefix, arguments, {k: hints[k] for k in parameters if k in hints})
    problems += [
        f"{prefix}{name}: missing"
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty and name not in {*arguments, *part.filled}
    ]
    return problems


def _list_problems(metrics: list[Any], known: Parts) -> list[str]:
    return [
        f"metrics: unknown metric {shown(name)}, known are {_names(known)}"
        for name in metrics
        if not isinstance(name, str) or name not in known
    ] + (["metrics: a metric is named twice"] if len(set(map(str, metrics))) < len(metrics) else [])


def _names(known: Iterable[str]) -> str:
    return ", ".join(sorted(known))


def fits(value: Any, expected: Any) -> bool:
    """Tell whether a JSON value is of the expected type; numbers must be finite.

    >>> fits(3, float), fits(True, int), fits(None, int | None), fits([0.9], tuple[float, float])
    (True, False, True, False)
    """
    if isinstance(value, bool):
        return any(option in (bool, Any) for option in _options(expected))
    return any(_fits_one(value, option) for option in _options(expected))


def _options(expected: Any) -> tuple[Any, ...]:
    is_union = isinstance(expected, types.UnionType) or typing.get_origin(expected) is typing.Union
    return typing.get_args(expected) if is_union else (expected,)


def _fits_one(value: Any, option: Any) -> bool:
    origin = typing.get_origin(option) or option
    if origin is typing.Literal:
        return value in typing.get_args(option)
    if origin in (tuple, list):
        return isinstance(value, list) and _items_fit(value, option)
    if origin is float:
        return isinstance(value, int | float) and abs(value) <= sys.float_info.max
    if origin in (str, int, dict, type(None)):
        return isinstance(value, origin)
    if origin is bool:
        return False
    return option is Any


def _items_fit(values: list[Any], option: Any) -> bool:
    expected = typing.get_args(option)
    if not expected:
        return True
    if typing.get_origin(option) is list:
        return all(fits(value, expected[0]) for value in values)
    return len(values) == len(expected) and all(map(fits, values, expected))


def type_name(expected: Any) -> str:
    """Name a type as a JSON user would.

    >>> type_name(int | None), type_name(tuple[float, float])
    ('a whole number or null', 'a list [a number, a number]')
    """
    names = {
        str: "a string",
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        dict: "an object",
        list: "a list",
        tuple: "a list",
        type(None): "null",
    }
    known = []
    for option in _options(expected):
        origin = typing.get_origin(option) or option
        if origin is typing.Literal:
            known.append(" or ".join(f'"{choice}"' for choice in typing.get_args(option)))
        elif origin in (tuple, list) and typing.get_args(option):
            known.append(f"a list [{', '.join(map(type_name, typing.get_args(option)))}]")
        elif origin in names and names[origin] not in known:
            known.append(names[origin])
    return " or ".join(known)


def _show(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} is not finite"
    return f"{shown(value)} is {type(value).__name__}"
