"""Tells what the .onnx files of a model pack are: a detector, an ArcFace network, or neither."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from face_networks.detection import LAYOUTS
from face_networks.packs import PackError

MANIFEST = "manifest.json"
FEWEST_OUTPUTS_OF_A_DETECTOR = 5
MIN_CROP_SIDE, CROP_SIDE_STEP = 112, 16
OTHER_SIDES = (96, 192)
"""Of what a pack's networks for attributes and for more landmarks see."""

MAX_SIDE = 4096
"""Of what a network sees: its input takes 200 MB."""

_NODES_OF_PREPROCESSING = 8
_SUBTRACTS, _MULTIPLIES = ("Sub", "_minus"), ("Mul", "_mul")


@dataclass(frozen=True, slots=True)
class Graph:
    """What a network's file tells of it.

    Attributes:
        path: of the file.
        inputs: the shape of each input, None where it is free.
        outputs: the shape of each output, likewise.
        normalizes: the first nodes bring levels of 0 to 255 to the range that the rest expects.
    """

    path: Path
    inputs: Sequence[tuple[int | None, ...]]
    outputs: Sequence[tuple[int | None, ...]]
    normalizes: bool

    @property
    def takes_batches(self) -> bool:
        """Whether the number of inputs is free, and every output has one entry for each."""
        return all(shape[:1] == (None,) for shape in (*self.inputs, *self.outputs))

    @property
    def is_detector(self) -> bool:
        """Whether it has as many outputs as only detectors have."""
        return len(self.outputs) >= FEWEST_OUTPUTS_OF_A_DETECTOR

    @property
    def is_recognizer(self) -> bool:
        """Whether it sees squares as ArcFace networks do."""
        side, width = self.size
        return (
            [len(shape) for shape in self.inputs] == [4]
            and not self.is_detector
            and side == width
            and side not in OTHER_SIDES
            and side >= MIN_CROP_SIDE
            and side % CROP_SIDE_STEP == 0
        )

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of what it sees, in pixels; 0 where that is free."""
        shape = self.inputs[0] if self.inputs else ()
        height, width = (*shape, None, None, None, None)[2:4]
        return height or 0, width or 0


def read_graphs(folder: Path) -> tuple[Graph, Graph]:
    """Return the detector and the ArcFace network of a pack: the first of each, by name.

    Raises:
        PackError: a file is damaged, or one of the two is missing, or unlike what is run here.
    """
    if (folder / MANIFEST).exists():
        raise PackError(
            f"{folder} has a {MANIFEST}, which this program cannot follow; "
            "expected a folder of .onnx files alone"
        )
    graphs = [read_graph(path) for path in sorted(folder.glob("*.onnx"))]
    for graph in graphs:
        if max(graph.size) > MAX_SIDE:
            raise PackError(f"{graph.path} sees {graph.size}, expected sides of up to {MAX_SIDE}")
    detector = next((graph for graph in graphs if graph.is_detector), None)
    recognizer = next((graph for graph in graphs if graph.is_recognizer), None)
    if detector is None or recognizer is None:
        missing = "detector" if detector is None else "ArcFace network"
        raise PackError(
            f"the model pack {folder} has no {missing} among its {len(graphs)} .onnx files"
        )
    if len(detector.outputs) not in LAYOUTS:
        expected = " or ".join(map(str, LAYOUTS))
        raise PackError(
            f"the detector {detector.path} finds no landmarks: it has {len(detector.outputs)} "
            f"outputs, expected {expected} (scores, boxes and landmarks of SCRFD)"
        )
    return detector, recognizer


def read_graph(path: Path) -> Graph:
    """Read what a network's file tells of it, without its weights in other files.

    Raises:
        PackError: it is no such file, or damaged.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        graph = onnx.load(path, load_external_data=False).graph
    except (DecodeError, OSError) as error:
        raise PackError(f"{path} is no network, or damaged ({error}); get it again") from None
    if not graph.input or not graph.output:  # of an empty file too
        raise PackError(f"{path} is no network, or damaged; get it again")
    weights = {weight.name for weight in graph.initializer}
    names = [node.name for node in graph.node[:_NODES_OF_PREPROCESSING]]
    return Graph(
        path=path,
        inputs=[_shape(value) for value in graph.input if value.name not in weights],
        outputs=[_shape(value) for value in graph.output],
        normalizes=all(
            any(name.startswith(kinds) for name in names) for kinds in (_SUBTRACTS, _MULTIPLIES)
        ),
    )


def _shape(value: Any) -> tuple[int | None, ...]:
    sizes = (size.dim_value for size in value.type.tensor_type.shape.dim)
    return tuple(size if size > 0 else None for size in sizes)
