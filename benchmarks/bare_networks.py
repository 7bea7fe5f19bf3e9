"""Run what no answer can do without, on one core: decode, detector, ArcFace network.

    python -m benchmarks.bare_networks PACK FOLDER SECONDS

Says that it is ready, waits for a line, runs on the pictures of FOLDER for some time, and prints
how many a second. The networks run as their files have them. Nothing is read out of the detector:
what is embedded is the middle of every picture.
"""

import sys
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from face_networks.graphs import Graph, read_graphs


def main(pack: str, folder: str, seconds: float) -> None:
    """Load, wait, measure."""
    cv2.setNumThreads(1)
    detection, recognition = read_graphs(Path(pack))
    detect, embed = opened(detection), opened(recognition)
    paths = cycle(sorted(Path(folder).iterdir()))
    side, _ = recognition.size
    low = (640 - side) // 2

    def analyse() -> None:
        with Image.open(next(paths)) as picture:
            pixels = np.asarray(picture)
        detect(cv2.dnn.blobFromImage(pixels, 1 / 128, mean=(127.5,) * 3))
        middle = pixels[low : low + side, low : low + side]
        embed(cv2.dnn.blobFromImage(np.ascontiguousarray(middle)))

    analyse()
    print("ready", flush=True)
    sys.stdin.readline()
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        analyse()
        count += 1
    print(count / (time.perf_counter() - start))


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
