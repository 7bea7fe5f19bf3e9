"""Measure insightface as its users call it, in a Python that has it.

    python -m benchmarks.insightface_rate PACK FOLDER SECONDS

It analyses one picture after the other, with the threads that insightface takes by itself; see
`pictures_per_second`.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.pictures_per_second import report_rate


def main(pack: str, folder: str, seconds: float) -> None:
    """Load and measure."""
    from insightface.app import FaceAnalysis

    analysis = FaceAnalysis(pack, allowed_modules=("detection", "recognition"))
    analysis.prepare(ctx_id=0, det_size=(640, 640))

    def analyse(path: Path) -> None:
        with Image.open(path) as picture:
            analysis.get(np.ascontiguousarray(np.asarray(picture)[:, :, ::-1]))

    report_rate(analyse, folder, seconds)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
