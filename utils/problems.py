"""Checks JSON objects, settings and arguments with pydantic, and says every problem at once.

Write the keys, their types, ranges and defaults as a `JsonObject`:

    class SearchConfig(JsonObject):
        num_samples: int = Field(10, ge=1, le=MOST)
        scheduler: Literal["asha", "fifo"] = "asha"
        limit_data: int | None = None

`read_object(SearchConfig, content, "config of the search")` returns one, or raises a ConfigError:

    config of the search: 2 problems
      num_sample: unknown key, did you mean num_samples?
      scheduler: 'x', expected "asha" or "fifo"

`problems_in(SearchConfig, content)` returns the same problems as a list, to add others to, for
`refuse`. A validator that raises ValueError("is empty, expected a path") gives the line
"save_dir: is empty, expected a path". Dataclasses of pydantic can be checked in the same way:
catch the ValidationError, and take `problems_of(error, Settings, values)`.
"""

import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from utils.errors import ConfigError
from utils.text import cut, nearest, shown

MOST = 2**63 - 1
"""Of whole numbers: what torch and numpy can take."""

UNKNOWN_KEY = "unknown key"
"""What the text of a problem begins with where only the key is wrong."""

MAX_PROBLEMS = 20
"""Lines of an error; a file of another kind can have millions."""

TYPE_NAMES: dict[Any, str] = {
    str: "a string",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    dict: "an object",
    list: "a list",
    tuple: "a list",
    Path: "a path",
    types.NoneType: "null",
}
BOUNDS = {
    "greater_than_equal": "{ge} or more",
    "greater_than": "more than {gt}",
    "less_than_equal": "{le} or less",
    "less_than": "less than {lt}",
    "too_short": "at least {min_length}",
    "too_long": "at most {max_length}",
}
"""What is expected, by pydantic's name of the mistake."""

LIMITS = ("ge", "gt", "le", "lt", "min_length", "max_length")


class JsonObject(BaseModel):
    """A JSON object of known keys: numbers are finite, true is no number, 3.0 no whole number."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, allow_inf_nan=False, arbitrary_types_allowed=True
    )


AnObject = TypeVar("AnObject", bound=BaseModel)


class Problem(NamedTuple):
    """What is wrong at one place; `str` of it is a line for the user.

    Attributes:
        path: the keys down to the place, with dots between.
        text: what was got and what is expected, or what to do.
    """

    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text}" if self.path else self.text


def read_object(model: type[AnObject], content: Any, name: str) -> AnObject:
    """Return the checked object.

    Args:
        model: what is expected.
        content: what was given.
        name: what the user calls it, before the problems.

    Raises:
        ConfigError: names every problem.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise refusal(name, problems_of(error, model, content)) from None


def problems_in(model: type[BaseModel], content: Any, prefix: str = "") -> list[Problem]:
    """List what is wrong with keys, types and ranges.

    Args:
        model: what is expected.
        content: what was given.
        prefix: put before each path, such as "arch.args."
    """
    try:
        model.model_validate(content)
    except ValidationError as error:
        found = problems_of(error, model, content)
        return [Problem(prefix + path, text) for path, text in found]
    return []


def refusal(name: str, problems: Iterable[object]) -> ConfigError:
    """Return the error that says all of at least one problem.

    >>> str(refusal("config", ["seed: -1, expected 0 or more"]))
    'config: seed: -1, expected 0 or more'
    >>> print(refusal("config", ["a: missing", "b: missing"]))
    config: 2 problems
      a: missing
      b: missing
    """
    first, *others = lines = [str(problem) for problem in problems]
    if not others:
        return ConfigError(f"{name}: {first}")
    num_more = len(lines) - MAX_PROBLEMS
    more = [f"and {num_more:,} more"] if num_more > 0 else []
    shown_lines = [f"{name}: {len(lines):,} problems", *lines[:MAX_PROBLEMS], *more]
    return ConfigError("\n  ".join(shown_lines))


def problems_of(error: ValidationError, model: Any, content: Any) -> list[Problem]:
    """List the problems that pydantic found, one for each path.

    Args:
        error: raised for the content.
        model: what was expected; a model or a pydantic dataclass.
        content: what was given.
    """
    found: dict[str, str] = {}
    for details in error.errors(include_url=False):
        path, value = _locate(details, content)
        text = _explain(dict(details), _type_at(model, path), _type_at(model, path[:-1]), value)
        found.setdefault(".".join(cut(str(key)) for key in path), text)
    return [Problem(path, text) for path, text in found.items()]


def type_name(expected: Any) -> str:
    """Return a type in the words of a JSON user.

    >>> type_name(int | None), type_name(tuple[float, float])
    ('a whole number or null', 'a list [a number, a number]')
    """
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if origin is typing.Annotated:
        return type_name(arguments[0])
    if origin in (types.UnionType, typing.Union):
        return " or ".join(dict.fromkeys(filter(None, map(type_name, arguments))))
    if origin is typing.Literal:
        return " or ".join(f'"{choice}"' for choice in arguments)
    if origin in (tuple, list):
        inner = ", ".join(filter(None, map(type_name, arguments)))
        return f"a list [{inner}]" if inner else "a list"
    is_object = isinstance(expected, type) and issubclass(expected, BaseModel)
    return TYPE_NAMES.get(dict if is_object else origin or expected, "")


def _locate(details: Any, content: Any) -> tuple[tuple[str | int, ...], Any]:
    """Follow the path to a mistake; what leads nowhere in it names a choice between types."""
    path: list[str | int] = []
    for depth, key in enumerate(details["loc"], 1):
        may_be_missing = depth == len(details["loc"])
        if isinstance(content, Mapping) and (key in content or may_be_missing):
            content = content.get(key)
        elif isinstance(content, list | tuple) and key in range(len(content)):
            content = content[key]
        else:
            break
        path.append(key)
    return tuple(path), content


def _type_at(model: Any, path: Iterable[str | int]) -> Any:
    """Return the annotation of the key that a path ends at; None where there is none."""
    for key in path:
        options = [option for option in _options(model) if option is not types.NoneType]
        model = next(filter(None, (_type_below(option, key) for option in options)), None)
    return model


def _options(expected: Any) -> tuple[Any, ...]:
    origin = typing.get_origin(expected)
    if origin is typing.Annotated:
        return _options(typing.get_args(expected)[0])
    if origin in (types.UnionType, typing.Union):
        return tuple(inner for option in typing.get_args(expected) for inner in _options(option))
    return (expected,)


def _type_below(option: Any, key: str | int) -> Any:
    fields = _fields(option)
    arguments = typing.get_args(option)
    if key in fields:
        return fields[key].annotation
    if typing.get_origin(option) is tuple and isinstance(key, int) and key < len(arguments):
        return arguments[key]
    return arguments[-1] if arguments else None


def _fields(model: Any) -> dict[Any, Any]:
    options = (getattr(option, "__pydantic_fields__", {}) for option in _options(model))
    return {name: field for fields in options for name, field in fields.items()}


def _explain(details: dict[str, Any], expected: Any, parent: Any, value: Any) -> str:
    kind, context = details["type"], details.get("ctx", {})
    got = "null" if value is None else shown(value)
    if kind == "missing" and value is None:
        return "missing"
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{UNKNOWN_KEY}, {nearest(str(details['loc'][-1]), _fields(parent))}"
    if kind == "value_error":
        return str(context["error"])
    if kind in BOUNDS:
        limits = {key: int(n) if n == int(n) else n for key, n in context.items() if key in LIMITS}
        return f"{got}, expected {BOUNDS[kind].format(**limits)}"
    if kind == "finite_number":
        return f"{got} is not finite, expected a number"
    return f"{got}, expected {type_name(expected) or details['msg']}"
