"""Loads the two networks of a model pack on a device, and tries them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from face_networks.alignment import TEMPLATE
from face_networks.blobs import levels
from face_networks.decoding import SIDE
from face_networks.detection import Detector
from face_networks.embedding import Embedder
from face_networks.graphs import Graph, read_graphs
from face_networks.packs import PackError
from face_networks.runs import Batches, DeviceChoice, Resources, candidates, open_network
from utils.errors import UserError
from utils.labels import EMBEDDING_SIZE
from utils.log import get_logger
from utils.optional_packages import FACES_REQUIREMENTS, optional_package
from utils.text import in_one_line

logger = get_logger("face_networks")
_BLACK = np.zeros((SIDE, SIDE, 3), np.uint8)

BATCHES = {"cpu": 1, "cuda": 16}
"""Inputs of one run by device; a processor is no faster with more."""


class FaceNetworks(NamedTuple):
    """The networks of a pack, ready; threads may use them at once."""

    detector: Detector
    embedder: Embedder
    device: str

    def close(self) -> None:
        """End the threads that gather batches."""
        for network in (self.detector.network, self.embedder.network):
            if isinstance(network, Batches):
                network.close()


def load_networks(folder: Path, device: DeviceChoice, threads: int) -> FaceNetworks:
    """Load the networks of a pack, and let both look at black.

    Args:
        folder: of .onnx files.
        device: "auto" takes a GPU if onnxruntime can use one, and the CPU else; one line says so
            where a GPU was to be expected.
        threads: of one run on the CPU.

    Raises:
        PackError: optional packages, or a network, or the device are missing, or do not fit.
    """
    require_packages()
    graphs = read_graphs(folder)
    *better, last = candidates(device)
    refusals = []
    for chosen in better:
        try:
            return _opened(graphs, chosen, threads)
        except PackError as error:
            refusals.append(error)
    networks = _opened(graphs, last, threads)
    for refusal in refusals:
        logger.warning(f"using the {last}: {refusal}")
    return networks


def require_packages() -> None:
    """Import the optional packages, of which none is to send anything anywhere.

    Raises:
        PackError: one is missing.
    """
    purpose = "to find faces in this process"
    try:
        cv2 = optional_package("cv2", purpose, FACES_REQUIREMENTS)
        for name in ("onnx", "onnxruntime"):
            optional_package(name, purpose, FACES_REQUIREMENTS)
    except UserError as error:
        raise PackError(f"{error}, or build the image with WITH_FACES=1") from None
    cv2.setNumThreads(1)  # threads work on pictures of their own


def _opened(graphs: tuple[Graph, Graph], device: str, threads: int) -> FaceNetworks:
    resources = Resources(device, threads, BATCHES[device])
    return FaceNetworks(_detector(graphs[0], resources), _embedder(graphs[1], resources), device)


def _detector(graph: Graph, resources: Resources) -> Detector:
    """Load a detector, and let it look at black.

    Raises:
        PackError: it cannot be loaded or run, or is no detector.
    """
    height, width = (length or SIDE for length in graph.size)
    # A list of the anchors of all pictures cannot be parted again.
    takes_batches = graph.takes_batches and len(graph.outputs[0]) == 3
    detector = Detector(open_network(graph.path, resources, takes_batches), height, width)
    with _tried(graph, "an SCRFD detector"):
        detector.find(_BLACK)
    return detector


def _embedder(graph: Graph, resources: Resources) -> Embedder:
    """Load an ArcFace network, and let it look at black.

    Raises:
        PackError: it cannot be loaded or run, or gives no 512 numbers.
    """
    batch = resources.batch if graph.takes_batches else 1
    table = levels(0, 1) if graph.normalizes else levels(127.5, 1 / 127.5)
    network = open_network(graph.path, resources, graph.takes_batches)
    embedder = Embedder(network, graph.size[0], table, batch)
    with _tried(graph, "an ArcFace network"):
        vectors = embedder.embed(_BLACK, np.array([TEMPLATE], np.float32))
    if vectors.shape != (1, EMBEDDING_SIZE):
        raise PackError(
            f"{graph.path} gives embeddings of {vectors.shape[-1]} numbers, "
            f"expected {EMBEDDING_SIZE}; use another model pack"
        )
    return embedder


@contextmanager
def _tried(graph: Graph, expected: str) -> Iterator[None]:
    try:
        with np.errstate(all="ignore"):
            yield
    except Exception as error:  # onnxruntime's own, or of shapes
        reason = in_one_line(error)
        raise PackError(f"{graph.path} does not work as {expected} ({reason})") from error
