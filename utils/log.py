"""Logging: one logger tree, a console that does not break progress bars, a file a run."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

ROOT = "age_gender"
LEVELS = {0: logging.WARNING, 1: logging.INFO, 2: logging.DEBUG}


def get_logger(name: str, verbosity: int | None = None) -> logging.Logger:
    """Give the logger of one part of the program.

    Args:
        name: of the part, such as "trainer".
        verbosity: 0 warnings only, 1 results, 2 details as well; None leaves the level as it is.
    """
    logger = logging.getLogger(f"{ROOT}.{name}")
    if verbosity is not None:
        logger.setLevel(LEVELS[verbosity])
    return logger


class _Console(logging.Handler):
    """Prints above the progress bars."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stdout)
        sys.stdout.flush()


def log_to_console() -> None:
    """Show the program's log lines on standard output; called once by a script."""
    root = logging.getLogger(ROOT)
    root.setLevel(logging.INFO)
    root.propagate = False
    root.handlers = [_Console()]


@contextmanager
def log_to_file(path: Path) -> Iterator[None]:
    """Append the program's log lines to a file as well, as long as the block lasts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger(ROOT)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()
