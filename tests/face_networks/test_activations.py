from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from face_networks.activations import with_fast_prelus

SHAPES = {"a channel": (3, 1, 1), "one": (1,), "a number": (3, 8, 8)}


def network(shape: tuple[int, ...], is_input: bool = False, opset: int = 17) -> Any:
    """Make y = PReLU(PReLU(x)), with the same slopes, of which some are negative or above 1."""
    from onnx import TensorProto, helper, numpy_helper

    slopes = np.random.default_rng(0).uniform(-1, 2, shape).astype(np.float32)
    nodes = [
        helper.make_node("PRelu", ["x", "slope"], ["middle"]),
        helper.make_node("PRelu", ["middle", "slope"], ["y"]),
    ]
    values = {"x": [1, 3, 8, 8], "slope": list(shape), "y": [1, 3, 8, 8]}
    x, slope, y = (
        helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in values.items()
    )
    weights = [] if is_input else [numpy_helper.from_array(slopes, "slope")]
    graph = helper.make_graph(nodes, "prelus", [x, slope] if is_input else [x], [y], weights)
    version = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=version, ir_version=9)


def run(model: Path | bytes, x: Any) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_network_with_its_prelus_written_otherwise_computes_the_same(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    import onnx

    path = tmp_path / "network.onnx"
    path.write_bytes(network(shape).SerializeToString())
    written = with_fast_prelus(path)
    assert isinstance(written, bytes)
    kinds = [node.op_type for node in onnx.load_from_string(written).graph.node]
    assert "PRelu" not in kinds
    x = np.random.default_rng(1).standard_normal((1, 3, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(run(written, x), run(path, x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("options", [{"is_input": True}, {"opset": 6}])
def test_slopes_that_are_not_known_or_mean_something_else_stay(
    options: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "network.onnx"
    path.write_bytes(network((3, 1, 1), **options).SerializeToString())
    assert with_fast_prelus(path) == path


def test_weights_in_another_file_stay_there(tmp_path: Path) -> None:
    import onnx

    path = tmp_path / "network.onnx"
    onnx.save(
        network((3, 1, 1)), path, save_as_external_data=True, location="weights", size_threshold=0
    )
    assert with_fast_prelus(path) == path


def set_slopes(model: Any, slopes: Any) -> None:
    from onnx import numpy_helper

    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(slopes, "slope"))


def set_domain(model: Any, domain: str) -> None:
    for node in model.graph.node:
        node.domain = domain


OTHERS: dict[str, Callable[[Any], object]] = {
    "slopes of a thousand": lambda model: set_slopes(model, np.full((3, 1, 1), 1e3, np.float32)),
    "whole slopes": lambda model: set_slopes(model, np.full((3, 1, 1), 2)),
    "the name is taken": lambda model: setattr(model.graph.output[0], "name", "middle_added"),
    "an operator of others": lambda model: set_domain(model, "others"),
    "no operators": lambda model: model.ClearField("opset_import"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_would_not_compute_the_same_stays(name: str, tmp_path: Path) -> None:
    model = network((3, 1, 1))
    OTHERS[name](model)
    model.graph.node[1].output[0] = model.graph.output[0].name
    path = tmp_path / "network.onnx"
    path.write_bytes(model.SerializeToString())
    assert with_fast_prelus(path) == path


def test_operators_under_their_long_name_are_written_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "network.onnx"
    model = network((3, 1, 1))
    model.opset_import[0].domain = "ai.onnx"
    path.write_bytes(model.SerializeToString())
    written = with_fast_prelus(path)
    x = np.random.default_rng(1).standard_normal((1, 3, 8, 8)).astype(np.float32)
    assert isinstance(written, bytes)
    np.testing.assert_allclose(run(written, x), run(path, x), rtol=1e-5, atol=1e-6)
