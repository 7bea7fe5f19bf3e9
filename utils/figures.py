"""Pictures of results: drawn wherever the program runs, and left out where that fails."""

import contextlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from utils.log import get_logger
from utils.text import cut

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BACKEND = "MPLBACKEND"
FAILURES = (
    *(ArithmeticError, AttributeError, ImportError, LookupError, MemoryError),
    *(OSError, RuntimeError, TypeError, ValueError),
)
"""What drawing and writing a picture may raise: no library, fonts, memory or disk; bad numbers."""


def new_figure(**options: Any) -> "Figure":
    """Make a figure that writes PNG files, without a window or state beside it.

    Args:
        options: of matplotlib's Figure.
    """
    _import_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(**options)
    FigureCanvasAgg(figure)
    return figure


def _import_matplotlib() -> None:
    """Import matplotlib, which refuses to be imported where MPLBACKEND names what it lacks.

    A notebook sets it to a backend of its own. Where matplotlib knows it, it has its effect.
    """
    if "matplotlib" in sys.modules:
        return
    backend = os.environ.pop(BACKEND, None)
    try:
        import matplotlib as mpl
    finally:
        if backend is not None:
            os.environ[BACKEND] = backend
    if backend:
        with contextlib.suppress(ValueError):
            mpl.rcParams["backend"] = backend


@contextmanager
def optional_picture(name: object) -> Iterator[None]:
    """Let a block that draws a picture fail with a warning: the results are written before it.

    Args:
        name: of the picture.
    """
    try:
        yield
    except FAILURES as error:
        reason = cut(" ".join(f"{type(error).__name__}: {error}".split()), 200)
        get_logger("pictures").warning(f"{name} is left out, it cannot be drawn ({reason})")
