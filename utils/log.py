"""Logging: one logger tree, a console that does not break progress bars, a file a run.

The file of a run gets every line; the console those that the verbosity lets through.
"""

import contextlib
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import MemoryHandler
from pathlib import Path
from typing import Literal

from tqdm import tqdm

from utils.text import encodable

ROOT = "age_gender"
LEVELS = {0: logging.WARNING, 1: logging.INFO, 2: logging.DEBUG}
Stream = Literal["stdout", "stderr"]
_console_levels: dict[str, int] = {}


def get_logger(name: str, verbosity: int | None = None) -> logging.Logger:
    """Return the logger of one part of the program.

    Args:
        name: of the part, such as "trainer".
        verbosity: what the console shows of it: 0 warnings only, 1 results, 2 details as well; None
            leaves that as it is, results at first.
    """
    logger = logging.getLogger(f"{ROOT}.{name}")
    logger.setLevel(logging.DEBUG)
    if verbosity is not None:
        _console_levels[logger.name] = LEVELS[verbosity]
    return logger


def is_for_console(record: logging.LogRecord) -> bool:
    """Return whether the verbosity lets a line through to the console."""
    return record.levelno >= _console_levels.get(record.name, logging.INFO)


class _Console(logging.Handler):
    """Prints above the progress bars; a console that is gone ends no work."""

    def __init__(self, stream: Stream) -> None:
        super().__init__()
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        stream = getattr(sys, self._stream)
        if stream is None:
            return
        with contextlib.suppress(OSError):
            tqdm.write(encodable(self.format(record), stream), file=stream)
            stream.flush()


def log_to_console(stream: Stream = "stdout") -> None:
    """Show the program's log lines on standard output or error; called once by a script."""
    root = logging.getLogger(ROOT)
    root.setLevel(logging.DEBUG)
    root.propagate = False
    console = _Console(stream)
    console.addFilter(is_for_console)
    root.handlers = [console]


class RunLog:
    """Keeps the program's log lines until their file is known, and then writes them there."""

    def __init__(self) -> None:
        self._memory = MemoryHandler(10_000, flushLevel=logging.CRITICAL + 1, flushOnClose=False)

    def write_to(self, path: Path) -> None:
        """Write what was kept, and all that comes, to a file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        file = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self._memory.setTarget(file)
        self._memory.capacity = 1  # from now on line by line
        self._memory.flush()


@contextmanager
def run_log(name: str | None = None) -> Iterator[RunLog]:
    """Collect the log lines of the program, or of one part, as long as the block lasts."""
    log = RunLog()
    root = logging.getLogger(ROOT if name is None else f"{ROOT}.{name}")
    root.addHandler(log._memory)
    try:
        yield log
    finally:
        root.removeHandler(log._memory)
        if log._memory.target is not None:
            log._memory.target.close()
        log._memory.close()
