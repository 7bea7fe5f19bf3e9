"""How many pictures a second a function does, in a process that another one starts.

It imports nothing but the standard library, for Pythons that have nothing of this project.
"""

import sys
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path


def report_rate(analyse: Callable[[Path], object], folder: str, seconds: float) -> None:
    """Print "ready", wait for a line, analyse pictures of a folder for some time, print the rate.

    The first picture is analysed before, so that nothing is left to load.
    """
    paths = cycle(sorted(Path(folder).iterdir()))
    analyse(next(paths))
    print("ready", flush=True)
    sys.stdin.readline()
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        analyse(next(paths))
        count += 1
    print(count / (time.perf_counter() - start))
