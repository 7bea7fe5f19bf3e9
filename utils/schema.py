"""What the config of a training or cross-validation holds: keys, types, ranges and defaults.

The components that a config names ("type" and "args") are looked up among callables given by the
caller. Their arguments are checked against the callables' own signatures and annotations, so that
this module knows neither torch nor the networks.
"""

import inspect
import math
import os
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, Strict, create_model

from utils.labels import MAX_FOLD, NUM_FOLDS, AgeGroups, read_age_groups
from utils.paths import path_problem
from utils.problems import MOST, JsonObject, Problem, problems_in
from utils.text import shown

MAX_EPOCH = 10**6
"""More pass in no training."""

MAX_REAL = 10**12
"""Of an argument with a fraction: with more, rates and weights leave the range of float32."""

MAX_NAME_BYTES = 255
"""Of the name of a folder, on all usual file systems."""

SECTIONS = ("arch", "data_loader", "optimizer", "lr_scheduler", "loss")
"""The keys whose values name a component."""

REFUSED_LOSSES = {
    "mse": "squared error compares numbers with numbers, the network gives one logit a class",
    "nll_loss": "it expects log-probabilities, the network gives logits",
}


def _folder_name(name: str) -> str:
    problem = path_problem(f"./{name}") if name.strip() else "is empty"
    is_plain = name.isprintable() and not set(name) & set("/\\") and name not in (".", "..")
    if problem or not is_plain or len(os.fsencode(name)) > MAX_NAME_BYTES:
        reason = f"; it {problem}" if problem else ""
        raise ValueError(f"{shown(name)} names folders, so it must be a plain name{reason}")
    return name


def _each_once(values: list[Any]) -> list[Any]:
    if len(set(map(str, values))) < len(values):
        raise ValueError(f"{shown(values)}, one of them occurs twice")
    return values


def _in_range(value: Any) -> Any:
    """Refuse numbers, in lists too, that would leave the range of what computes with them."""
    for number in value if isinstance(value, list) else [value]:
        most = MAX_REAL if isinstance(number, float) else MOST
        if isinstance(number, int | float) and most < abs(number) < math.inf:
            bound = f"{most} or less" if number > 0 else f"-{most} or more"
            raise ValueError(f"{shown(number)}, expected {bound}")
    return value


def _file_path(text: str) -> str:
    if problem := path_problem(text):
        raise ValueError(problem)
    return text


PathText = Annotated[str, AfterValidator(_file_path)]
"""A path in a JSON object."""

AgeGroupList = Annotated[AgeGroups, BeforeValidator(read_age_groups)]
"""Groups of ages in a JSON object."""

EACH_ONCE = AfterValidator(_each_once)
WholeNumber = Annotated[int, Field(ge=-MOST, le=MOST)]
NaturalNumber = Annotated[int, Field(ge=0, le=MOST)]
PositiveNumber = Annotated[int, Field(ge=1, le=MOST)]
Seeds = Annotated[list[NaturalNumber], Field(min_length=1), EACH_ONCE]


class TrainerConfig(JsonObject):
    """The section "trainer"."""

    epochs: Annotated[int, Field(ge=1, le=MAX_EPOCH)]
    save_dir: PathText = "saved/"
    save_period: NaturalNumber = 1
    verbosity: Annotated[int, Field(ge=0, le=2)] = 2
    monitor: str = "off"
    early_stop: NaturalNumber = 0
    tensorboard: bool = False


class TrainingConfig(JsonObject):
    """The config of a training or, with its last two keys, of a cross-validation."""

    name: Annotated[str, AfterValidator(_folder_name)]
    n_gpu: NaturalNumber = 1
    amp: bool = False
    checkpoint: PathText | None = None
    seed: NaturalNumber = 42
    arch: dict[str, Any]
    data_loader: dict[str, Any]
    optimizer: dict[str, Any]
    loss: str | dict[str, Any]
    metrics: Annotated[list[Any], EACH_ONCE]
    lr_scheduler: dict[str, Any] | None = None
    trainer: TrainerConfig
    num_cross_val: Annotated[PositiveNumber, Field(le=MAX_FOLD + 1)] = NUM_FOLDS
    seeds: Seeds = Field([0])


FILLED_IN = ("n_gpu", "amp", "checkpoint", "seed", "lr_scheduler")
"""Keys that every config has once it is read; the others belong to cross-validations."""


class ComponentConfig(JsonObject):
    """A section that names a component."""

    type: Any
    args: dict[str, Any] = Field(default_factory=dict)


class Component(NamedTuple):
    """A type that a section of a config may name.

    Attributes:
        make: the callable.
        given: parameters that the program passes; a config may not.
        filled: required parameters that the program fills in where a config does not.
    """

    make: Callable[..., Any]
    given: frozenset[str] = frozenset()
    filled: frozenset[str] = frozenset()

    def arguments(self) -> type[JsonObject]:
        """Return what a config may set: the parameters, their types and which must be there."""
        hints, fields = self._hints(), {}
        for name, parameter in inspect.signature(self.make).parameters.items():
            if name not in self.given and parameter.kind is not parameter.VAR_KEYWORD:
                is_needed = parameter.default is parameter.empty and name not in self.filled
                value: Any = Annotated[_of_json(hints.get(name, Any)), BeforeValidator(_in_range)]
                fields[name] = (value, ... if is_needed else None)
        model: type[JsonObject] = create_model("Arguments", __base__=JsonObject, **fields)  # type: ignore[call-overload]
        return model

    def default(self, name: str) -> Any:
        """Return the value of a parameter that a config leaves out."""
        return inspect.signature(self.make).parameters[name].default

    def _hints(self) -> dict[str, Any]:
        """Return the annotations that can be read at run time."""
        target = self.make.__init__ if inspect.isclass(self.make) else self.make
        try:
            return typing.get_type_hints(target, include_extras=True)
        except (NameError, TypeError):  # written for a type checker only
            return {}


Components = Mapping[str, Component]


def _of_json(annotation: Any) -> Any:
    """Return the annotation for a value from JSON, which has lists for tuples."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return typing.Union[tuple(map(_of_json, inner))]  # noqa: UP007 - made at run time
    if origin is Annotated:
        return Annotated[(_of_json(inner[0]), *inner[1:])]
    if origin is tuple:
        return Annotated[tuple[tuple(map(_of_json, inner))], Strict(False)]  # type: ignore[misc]
    return annotation


def find_problems(config: Any, components: Mapping[str, Components]) -> list[Problem]:
    """List what is wrong with keys, types and values.

    Args:
        config: the whole config.
        components: for each section ("arch", "loss", ...), and "metrics", what it may name.
    """
    problems = problems_in(TrainingConfig, config)
    for section in SECTIONS:
        content = config.get(section)
        if isinstance(content, str) and section == "loss":
            content = {"type": content}
        if isinstance(content, dict):
            problems += _component_problems(section, content, components[section])
    metrics, known = config.get("metrics"), components["metrics"]
    return problems + [
        Problem("metrics", f"unknown metric {shown(name)}, known are {_names(known)}")
        for name in (metrics if isinstance(metrics, list) else ())
        if not isinstance(name, str) or name not in known
    ]


def _component_problems(section: str, content: dict[str, Any], known: Components) -> list[Problem]:
    problems = problems_in(ComponentConfig, content, f"{section}.")
    name, arguments = content.get("type"), content.get("args", {})
    if "type" not in content:
        return problems
    if section == "loss" and name in list(REFUSED_LOSSES):
        text = f"{name} does not fit: {REFUSED_LOSSES[name]}; use cse"
        return [*problems, Problem("loss", text)]
    if not isinstance(name, str) or name not in known:
        text = f"unknown type {shown(name)}, known are {_names(known)}"
        return [*problems, Problem(f"{section}.type", text)]
    if isinstance(arguments, dict):
        problems += problems_in(known[name].arguments(), arguments, f"{section}.args.")
    return problems


def _names(known: Components) -> str:
    return ", ".join(sorted(known))


def with_defaults(config: dict[str, Any]) -> dict[str, Any]:
    """Return a config with the keys that it leaves out, in the order of the schema's defaults.

    Numbers of classes that are left out are those of the groups of ages.
    """
    fields = TrainingConfig.model_fields
    filled = {**{key: fields[key].default for key in FILLED_IN}, **config}
    match config:
        case {"data_loader": {"args": {"classes": list(groups)}}}:
            for section in ("data_loader", "arch"):
                filled[section] = _with_argument(config.get(section), "num_classes", len(groups))
    if isinstance(config.get("trainer"), dict):
        fields = TrainerConfig.model_fields
        defaults = {key: field.default for key, field in fields.items() if key != "epochs"}
        filled["trainer"] = {**defaults, **config["trainer"]}
    return filled


def _with_argument(section: Any, name: str, value: Any) -> Any:
    """Return a section with an argument, unless it has that or no arguments."""
    match section:
        case {"args": dict(arguments)}:
            return {**section, "args": {name: value, **arguments}}
    return section
