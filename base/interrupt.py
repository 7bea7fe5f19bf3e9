"""Ctrl-C, SIGTERM and SIGHUP, heeded between two batches."""

import signal
import threading
import time
from types import FrameType

LOOK_S = 0.1
"""Seconds between two looks for a signal, which does not end a sleep."""


def _signals() -> list[int]:
    """List the signals that ask for a stop; Windows has no SIGHUP."""
    numbers: list[int] = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    return numbers


class StopRequest:
    """Turns the first Ctrl-C or SIGTERM into a note to stop; the second Ctrl-C interrupts at once.

    The end of the terminal (SIGHUP) counts as well, unless it is ignored, as under nohup.

    Use as a context manager; outside the main thread, which alone receives signals, it does
    nothing.

    Inside another one, a signal is noted by both: what runs several trainings knows as well.

    Attributes:
        signal_number: of the signal that came; None so far.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._previous: dict[int, signal._HANDLER] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            for number in _signals():
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.signal_number is not None:
            raise KeyboardInterrupt
        self.signal_number = number
        outer = getattr(self._previous[number], "__self__", None)
        if isinstance(outer, StopRequest) and not outer.is_set:
            outer._note(number, None)

    @property
    def is_set(self) -> bool:
        """True once a signal came."""
        return self.signal_number is not None

    def wait(self, seconds: float) -> None:
        """Wait; a stop ends it early."""
        end = time.monotonic() + seconds
        while not self.is_set and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, LOOK_S))

    @property
    def exit_code(self) -> int:
        """The shell's exit code for the signal."""
        return 128 + (self.signal_number or signal.SIGINT)
