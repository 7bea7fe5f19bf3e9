"""What a pickle is read with: the allow-list's entries and the state between two opcodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from utils.legacy_guard import FREE_BYTES, refuse

_BYTES_PER_BYTE = 16


@dataclass(frozen=True, slots=True, eq=False)
class Allowed:
    """What stands for a name in the data: our function for REDUCE and one for NEWOBJ, if any."""

    label: str
    call: Callable[[Machine, tuple[Any, ...]], Any] | None = None
    new: Callable[[Machine, tuple[Any, ...]], Any] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Pending:
    """An object that has no value before its BUILD; `slot` is the memo's place for it."""

    slot: int
    build: Callable[[Machine, Any], Any]


Names: TypeAlias = Mapping[tuple[str, str], Allowed]


class Machine:
    """The state while one pickle is read.

    Args:
        data: the file; the pickle may start anywhere in it and ends with it.
        names: the allow-list, (module, name) to what stands for it.
        persistent: turns a persistent id into a value; without it such an id is refused.
    """

    __slots__ = ("budget", "data", "marks", "memo", "names", "persistent", "stack")

    def __init__(
        self, data: bytes, names: Names, persistent: Callable[[Machine, Any], Any] | None = None
    ) -> None:
        self.data = data
        self.names = names
        self.persistent = persistent
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: list[Any] = []
        self.budget = FREE_BYTES + _BYTES_PER_BYTE * len(data)

    def spend(self, num_bytes: int) -> None:
        """Pay for memory that the data made us use.

        Raises:
            RefusedError: the data ask for far more than their own size.
        """
        self.budget -= num_bytes
        if self.budget < 0:
            refuse("unfolds to far more than its own size")

    def pop_mark(self) -> list[Any]:
        """Take everything above the last mark off the stack."""
        mark = self.marks.pop()
        items = self.stack[mark:]
        del self.stack[mark:]
        return items
