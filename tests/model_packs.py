"""Model packs of tiny networks: to them, a white cell of a picture is a face."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from face_networks.alignment import TEMPLATE

SIDE = 640
CELL = 32
BOX = (1.0, 1.5, 2.0, 2.5)
"""How far a face reaches from the corner of its cell to the left, up, right and down, in cells."""

LANDMARKS = (TEMPLATE - TEMPLATE.mean(0)) / CELL
"""Where the landmarks of a face are from the corner of its cell, in cells."""


def picture(*cells: tuple[int, int], size: tuple[int, int] = (SIDE, SIDE)) -> Image.Image:
    """Draw a black picture with faces at cells (column, row), each with a pattern around it."""
    rng = np.random.default_rng(0)
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    for column, row in cells:
        rows, columns = slice(row * CELL, (row + 1) * CELL), slice(column * CELL, None)
        pixels[rows, columns][:, :CELL] = rng.integers(230, 256, (CELL, CELL, 3))
    return Image.fromarray(pixels)


def as_file(image: Image.Image, kind: str = "PNG") -> bytes:
    stream = BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


def write_pack(folder: Path, batched: bool = False) -> Path:
    """Write a pack of both networks; batched ones take several inputs at once."""
    folder.mkdir(parents=True)
    save(detector(batched=batched), folder / "detector.onnx")
    save(recognizer(), folder / "recognizer.onnx")
    return folder


def save(model: Any, path: Path) -> None:
    path.write_bytes(model.SerializeToString())


def detector(
    batched: bool = False,
    size: Sequence[int | str] = (SIDE, SIDE),
    kinds: Sequence[str] = ("scores", "boxes", "landmarks"),
    strides: Sequence[int] = (8, 16, CELL),
) -> Any:
    """Make a detector as SCRFD is laid out, whose score is the brightness of a cell."""
    from onnx import TensorProto, helper

    num_anchors = 2 if len(strides) == 3 else 1
    nodes, weights, outputs = [], [], []
    numbers = {"scores": (0.0,), "boxes": BOX, "landmarks": tuple(LANDMARKS.ravel())}
    batch = "N" if batched else 1
    for kind in kinds:
        for stride in strides:
            name, length = f"{kind}_{stride}", len(numbers[kind])
            filters = np.zeros((num_anchors * length, 3, stride, stride), np.float32)
            bias = np.tile(np.array(numbers[kind], np.float32), num_anchors)
            if kind == "scores" and stride == CELL:
                filters[0] = 1 / filters[0].size
            weights += [_tensor(f"{name}_filters", filters), _tensor(f"{name}_bias", bias)]
            weights.append(_tensor(f"{name}_shape", np.array([0, -1, length])))
            inputs = ["picture", f"{name}_filters", f"{name}_bias"]
            nodes += [
                helper.make_node("Conv", inputs, [f"{name}_map"], strides=[stride, stride]),
                helper.make_node("Transpose", [f"{name}_map"], [f"{name}_last"], perm=[0, 2, 3, 1]),
                helper.make_node("Reshape", [f"{name}_last", f"{name}_shape"], [name]),
            ]
            shape = [batch, "anchors", length]
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    value = helper.make_tensor_value_info("picture", TensorProto.FLOAT, [batch, 3, *size])
    return _model(nodes, value, outputs, weights)


def recognizer(width: int = 512, side: int = 112, normalizes: bool = False) -> Any:
    """Make a network that embeds a crop by differences of its brightness."""
    from onnx import TensorProto, helper

    steps = side // 16
    rng = np.random.default_rng(1)
    filters = rng.standard_normal((2, 3, steps, steps)).astype(np.float32)
    mixing = rng.standard_normal((512, width)).astype(np.float32)
    weights = [_tensor("filters", filters), _tensor("mixing", mixing)]
    nodes, name = [], "crop"
    if normalizes:
        weights += [_tensor("mean", np.float32(127.5)), _tensor("scale", np.float32(1 / 127.5))]
        nodes += [
            helper.make_node("Sub", ["crop", "mean"], ["even"], name="Sub_0"),
            helper.make_node("Mul", ["even", "scale"], ["scaled"], name="Mul_1"),
        ]
        name = "scaled"
    nodes += [
        helper.make_node("Conv", [name, "filters"], ["map"], strides=[steps, steps]),
        helper.make_node("Flatten", ["map"], ["flat"]),
        helper.make_node("MatMul", ["flat", "mixing"], ["embedding"]),
    ]
    value = helper.make_tensor_value_info("crop", TensorProto.FLOAT, ["N", 3, side, side])
    output = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", width])
    return _model(nodes, value, [output], weights)


def _tensor(name: str, array: Any) -> Any:
    from onnx import numpy_helper

    return numpy_helper.from_array(np.asarray(array), name)


def _model(nodes: list[Any], value: Any, outputs: list[Any], weights: list[Any]) -> Any:
    from onnx import helper

    graph = helper.make_graph(nodes, "tiny", [value], outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
