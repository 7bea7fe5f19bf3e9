"""Graphs of ONNX, written node by node: networks, their mean, expected ages, known embeddings."""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faces.out_of_distribution import OutOfDistributionDetector
from model.inference import FoldedNet
from utils.labels import EMBEDDING_SIZE

OPSET, IR_VERSION = 17, 8
"""What onnxruntime reads since 1.12, of 2022."""

INPUT, PROBABILITIES, AGE = "embeddings", "probabilities", "age"
SCORE, KNOWN = "out_of_distribution_score", "in_distribution"
MEANINGS = {
    INPUT: "of unit length, from the face network that the model was trained with",
    PROBABILITIES: "of the classes that the metadata list",
    AGE: "in years, the expectation over the classes",
    SCORE: "on average 1 for embeddings of the face network that the model was trained with",
    KNOWN: "whether the score is one of embeddings of that face network",
}


class OnnxGraph:
    """A graph from embeddings (N, 512) to outputs, to which nodes and weights are added in order.

    Args:
        onnx: the package.
    """

    def __init__(self, onnx: ModuleType) -> None:
        self._onnx = onnx
        self._nodes: list[Any] = []
        self._weights: list[Any] = []
        self._outputs: list[Any] = []

    def add_networks(self, nets: Sequence[FoldedNet], num_classes: int) -> None:
        """Add networks, whose mean probabilities (N, C) are an output."""
        if len(nets) == 1:
            self._add_network(nets[0], PROBABILITIES)
        else:
            members = [self._add_network(net) for net in nets]
            self._add("Mean", *members, name=PROBABILITIES)
        self._add_output(PROBABILITIES, num_classes)

    def add_age(self, years: NDArray[np.float32]) -> None:
        """Add the expectation (N,) over classes that stand for years (C,)."""
        parts = self._add("Mul", PROBABILITIES, self._constant(years))
        self._add_sum(parts, AGE)

    def add_detector(self, detector: OutOfDistributionDetector) -> None:
        """Add the scores (N,) of embeddings, and which (N,) a detector takes for known."""
        directions, centre = self._constant(detector.directions), self._constant(-detector.centre)
        deviations = self._add("Gemm", INPUT, directions, centre)
        squares = self._add("Mul", deviations, deviations)
        self._add_sum(squares, SCORE)
        threshold = self._constant(np.float32(detector.threshold))
        self._add("LessOrEqual", SCORE, threshold, name=KNOWN)
        self._add_output(KNOWN, kind="BOOL")

    def finish(self, version: str, metadata: dict[str, str]) -> Any:
        """Return the graph as a model, which onnx has checked."""
        helper = self._onnx.helper
        inputs = [self._value(INPUT, EMBEDDING_SIZE)]
        model = helper.make_model(
            helper.make_graph(self._nodes, "age_gender", inputs, self._outputs, self._weights),
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="age-gender",
            producer_version=version,
        )
        helper.set_model_props(model, metadata)
        self._onnx.checker.check_model(model, full_check=True)
        return model

    def _add_network(self, net: FoldedNet, name: str = "") -> str:
        x = skip = INPUT
        for layer in net.layers:
            if layer.opens_skip:
                skip = x
            weight, bias = (self._constant(part.numpy()) for part in (layer.weight, layer.bias))
            x = self._add("Gemm", x, weight, bias, transB=1)
            if layer.closes_skip:
                x = self._add("Add", x, skip)
            if layer.has_relu:
                x = self._add("Relu", x)
        return self._add("Softmax", x, name=name, axis=1)

    def _add(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Add a node, and return the name of what it computes."""
        name = name or f"{kind}_{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(kind, inputs, [name], name, **attributes))
        return name

    def _add_sum(self, terms: str, name: str) -> None:
        """Add an output (N,) that sums (N, K)."""
        # A product with a vector would be shorter; onnxruntime 1.22 fails at it for no rows.
        self._add("ReduceSum", terms, self._constant(np.array([1])), name=name, keepdims=0)
        self._add_output(name)

    def _constant(self, values: NDArray[Any] | np.float32) -> str:
        """Add numbers, and return their name."""
        name = f"constant_{len(self._weights)}"
        self._weights.append(self._onnx.numpy_helper.from_array(np.asarray(values), name))
        return name

    def _add_output(self, name: str, *sides: int, kind: str = "FLOAT") -> None:
        self._outputs.append(self._value(name, *sides, kind=kind))

    def _value(self, name: str, *sides: int, kind: str = "FLOAT") -> Any:
        return self._onnx.helper.make_tensor_value_info(
            name, getattr(self._onnx.TensorProto, kind), ["N", *sides], MEANINGS[name]
        )
