"""Writes the PReLUs of a network as operators that a processor runs faster.

onnxruntime's PRelu takes one number after the other; Relu, Mul and Add take as many at once as the
processor can. An ArcFace network spends up to half its time there.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FIRST_OPSET_THAT_BROADCASTS = 9
STANDARD_DOMAINS = ("", "ai.onnx")
MAX_SLOPE = 4.0
"""Of larger slopes the two parts nearly cancel out, with digits; trained ones are small."""


def with_fast_prelus(path: Path) -> Path | bytes:
    """Return the network of a file with its PReLUs (arXiv 1502.01852) written otherwise.

    PReLU(x) = slope * x + (1 - slope) * ReLU(x).

    Returns:
        The network; or the path, when there is nothing to write otherwise, or not with these names.
    """
    import onnx

    model = onnx.load(path, load_external_data=False)
    slopes = _slopes(model)
    if not slopes:
        return path
    nodes = list(model.graph.node)
    del model.graph.node[:]
    for node in nodes:
        is_written = _is_prelu(node) and node.input[1] in slopes
        model.graph.node.extend(_nodes(node) if is_written else [node])
    written: bytes = model.SerializeToString()
    return written if _has_own_names(model.graph) else path


def _has_own_names(graph: Any) -> bool:
    weights = [weight.name for weight in graph.initializer]
    inputs = {value.name for value in graph.input}.difference(weights)
    names = [*weights, *inputs, *(name for node in graph.node for name in node.output if name)]
    return len(set(names)) == len(names)


def _slopes(model: Any) -> Mapping[str, npt.NDArray[Any]]:
    """Add 1 - slope to the weights for every slope that is one of them; return those slopes."""
    from onnx import external_data_helper, numpy_helper

    weights = {weight.name: weight for weight in model.graph.initializer}
    opsets = [one.version for one in model.opset_import if one.domain in STANDARD_DOMAINS]
    is_apart = any(map(external_data_helper.uses_external_data, weights.values()))
    if is_apart or max(opsets, default=0) < FIRST_OPSET_THAT_BROADCASTS:
        return {}
    used = {node.input[1] for node in model.graph.node if _is_prelu(node)}
    arrays = {name: numpy_helper.to_array(weights[name]) for name in used & weights.keys()}
    slopes = {name: slope for name, slope in arrays.items() if _is_usual(slope)}
    for name, slope in slopes.items():
        rest = np.asarray(1 - slope, slope.dtype)
        model.graph.initializer.append(numpy_helper.from_array(rest, f"{name}_rest"))
    return slopes


def _is_prelu(node: Any) -> bool:
    return node.op_type == "PRelu" and node.domain in STANDARD_DOMAINS


def _is_usual(slope: npt.NDArray[Any]) -> bool:
    return slope.dtype.kind == "f" and bool((np.abs(slope) <= MAX_SLOPE).all())


def _nodes(node: Any) -> Iterator[Any]:
    from onnx import helper

    (x, slope), (y,) = node.input, node.output
    yield helper.make_node("Relu", [x], [f"{y}_positive"])
    yield helper.make_node("Mul", [f"{y}_positive", f"{slope}_rest"], [f"{y}_added"])
    yield helper.make_node("Mul", [x, slope], [f"{y}_sloped"])
    yield helper.make_node("Add", [f"{y}_sloped", f"{y}_added"], [y])
