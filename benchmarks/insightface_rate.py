"""Measure insightface as its users call it, in a Python that has it; of this project, nothing.

    python benchmarks/insightface_rate.py PACK FOLDER SECONDS

Says that it is ready, waits for a line, analyses the pictures of FOLDER for some time, one after
the other, with the threads that insightface takes by itself, and prints how many a second.
"""

import sys
import time
from itertools import cycle
from pathlib import Path

import numpy as np
from PIL import Image


def main(pack: str, folder: str, seconds: float) -> None:
    """Load, wait, measure."""
    from insightface.app import FaceAnalysis

    analysis = FaceAnalysis(pack, allowed_modules=("detection", "recognition"))
    analysis.prepare(ctx_id=0, det_size=(640, 640))
    paths = cycle(sorted(Path(folder).iterdir()))

    def analyse() -> None:
        with Image.open(next(paths)) as picture:
            analysis.get(np.ascontiguousarray(np.asarray(picture)[:, :, ::-1]))

    analyse()
    print("ready", flush=True)
    sys.stdin.readline()
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        analyse()
        count += 1
    print(count / (time.perf_counter() - start))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
