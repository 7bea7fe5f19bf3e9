"""Run what no answer can do without, on one core: decode, detector, ArcFace network.

    python -m benchmarks.bare_networks PACK FOLDER SECONDS

The networks run as their files have them. Nothing is read out of the detector: what is embedded is
the middle of every picture. See `pictures_per_second`.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from benchmarks.pictures_per_second import report_rate
from face_networks.graphs import Graph, read_graphs


def main(pack: str, folder: str, seconds: float) -> None:
    """Load and measure."""
    cv2.setNumThreads(1)
    detection, recognition = read_graphs(Path(pack))
    detect, embed = opened(detection), opened(recognition)
    side, _ = recognition.size
    low = (640 - side) // 2

    def analyse(path: Path) -> None:
        with Image.open(path) as picture:
            pixels = np.asarray(picture)
        detect(cv2.dnn.blobFromImage(pixels, 1 / 128, mean=(127.5,) * 3))
        middle = pixels[low : low + side, low : low + side]
        embed(cv2.dnn.blobFromImage(np.ascontiguousarray(middle)))

    report_rate(analyse, folder, seconds)


def opened(graph: Graph) -> Callable[[Any], Any]:
    """Load a network for one thread of the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph.path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda inputs: session.run(None, {name: inputs})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
