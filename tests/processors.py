"""Stand-ins for the kinds of processors that differ in what `amp` can mean on them."""

from dataclasses import dataclass

import pytest

from base import device as device_module


@dataclass(frozen=True)
class Processor:
    """What the two questions about a processor's bfloat16 are answered with."""

    name: str
    has_bfloat16: bool
    rounds_factors: bool

    def stand_in(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let the rest of a test run as if on this processor."""
        monkeypatch.setattr(device_module, "cpu_has_bfloat16", lambda: self.has_bfloat16)
        monkeypatch.setattr(device_module, "cpu_rounds_factors", lambda: self.rounds_factors)

    def __str__(self) -> str:
        return self.name


AMX = Processor("AMX", has_bfloat16=True, rounds_factors=True)
AVX512_BF16 = Processor("AVX512-BF16", has_bfloat16=True, rounds_factors=False)
NEITHER = Processor("neither", has_bfloat16=False, rounds_factors=False)
ALL = (AMX, AVX512_BF16, NEITHER)
