"""Packs that fit, and packs that do not, each with one line."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from helpers import ROOT
from model_packs import detector, picture, recognizer, save, write_pack

from face_networks import loading, runs
from face_networks.alignment import TEMPLATE
from face_networks.analyzer import FaceAnalyzer
from face_networks.graphs import read_graphs
from face_networks.loading import load_networks
from face_networks.packs import PackError
from face_networks.runs import CPU, CUDA


def load(pack: Path) -> loading.FaceNetworks:
    return load_networks(pack, "cpu", 1)


def other_network(outputs: int = 1, side: int = 112, inputs: int = 1) -> Any:
    """Make a network of flat outputs."""
    from onnx import TensorProto, helper

    def value(name: str, shape: list[Any]) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    names = [f"out{number}" for number in range(outputs)]
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["in0"], [name]) for name in names],
        "other",
        [value(f"in{number}", ["N", 3, side, side]) for number in range(inputs)],
        [value(name, ["N", "D"]) for name in names],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def test_the_other_networks_of_a_pack_are_passed_over(tmp_path: Path) -> None:
    pack = write_pack(tmp_path / "pack")
    for name, side in (("1k3d68", 192), ("2d106det", 192), ("attributes", 96)):
        save(other_network(side=side), pack / f"{name}.onnx")
    save(other_network(inputs=2, side=128), pack / "a_swapper.onnx")
    found = read_graphs(pack)
    assert [graph.path.name for graph in found] == ["detector.onnx", "recognizer.onnx"]


def damage(pack: Path) -> None:
    whole = (pack / "recognizer.onnx").read_bytes()
    (pack / "recognizer.onnx").write_bytes(whole[: len(whole) // 2])


def replace(name: str, **options: Any) -> Callable[[Path], None]:
    make = detector if name == "detector" else recognizer
    return lambda pack: save(make(**options), pack / f"{name}.onnx")


def change(name: str, how: Callable[[Any], object]) -> Callable[[Path], None]:
    def spoil(pack: Path) -> None:
        import onnx

        model = onnx.load(pack / f"{name}.onnx")
        how(model.graph)
        save(model, pack / f"{name}.onnx")

    return spoil


def fewer_landmarks(graph: Any) -> None:
    """Let the detector give the landmarks of one stride in place of another one's."""
    graph.output[8].name = graph.output[6].name + "_again"
    graph.node.add(op_type="Identity", input=[graph.output[6].name], output=[graph.output[8].name])
    del graph.output[6].type.tensor_type.shape.dim[:]


BAD_PACKS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no detector": (lambda pack: (pack / "detector.onnx").unlink(), "has no detector among its 1"),
    "no ArcFace": (lambda pack: (pack / "recognizer.onnx").unlink(), "has no ArcFace network"),
    "no file": (lambda pack: (pack / "detector.onnx").write_bytes(b"no network"), "damaged"),
    "an empty file": (lambda pack: (pack / "detector.onnx").write_bytes(b""), "detector"),
    "half a file": (damage, "recognizer.onnx is no network, or damaged"),
    "no landmarks": (
        replace("detector", kinds=("scores", "boxes")),
        "finds no landmarks: it has 6 outputs, expected 9 or 15",
    ),
    "another width": (replace("recognizer", width=128), "embeddings of 128 numbers, expected 512"),
    "no face network": (
        lambda pack: save(other_network(), pack / "recognizer.onnx"),
        "embeddings of 37632 numbers, expected 512",
    ),
    "no SCRFD": (
        lambda pack: save(other_network(outputs=9), pack / "detector.onnx"),
        "does not work as an SCRFD detector",
    ),
    "other anchors": (
        replace("detector", strides=(8, 16, 64)),
        r"does not work as an SCRFD detector \(200 anchors of stride 32\)",
    ),
    "other landmarks": (
        change("detector", fewer_landmarks),
        r"does not work as an SCRFD detector \(12800 anchors of stride 32\)",
    ),
    "weights alone": (
        change("recognizer", lambda graph: setattr(graph.input[0], "name", "filters")),
        "has no ArcFace network",
    ),
    "a huge input": (
        replace("detector", size=(65536, 65536)),
        r"detector.onnx sees \(65536, 65536\), expected sides of up to 4096",
    ),
    "a manifest": (lambda pack: (pack / "manifest.json").write_text("{}"), "has a manifest.json"),
}


@pytest.mark.parametrize("name", BAD_PACKS)
def test_a_pack_that_does_not_fit_is_one_line(name: str, tmp_path: Path) -> None:
    pack = write_pack(tmp_path / "pack")
    spoil, message = BAD_PACKS[name]
    spoil(pack)
    with pytest.raises(PackError, match=message) as caught:
        load(pack)
    assert "\n" not in str(caught.value)


def test_a_network_that_tells_no_shape_of_its_output_is_taken(tmp_path: Path) -> None:
    pack = write_pack(tmp_path / "pack")
    change("recognizer", lambda graph: graph.output[0].type.tensor_type.ClearField("shape"))(pack)
    assert load(pack).embedder.batch == 1


def test_a_face_without_a_direction_is_an_error_not_an_answer(tmp_path: Path) -> None:
    embedder = load(write_pack(tmp_path / "pack")).embedder
    for value in (0, np.nan, np.inf):
        vectors = [np.full((1, 512), value, np.float32)]
        embedder.network = lambda _, vectors=vectors: vectors  # type: ignore[misc]
        with pytest.raises(ValueError, match="vectors of zeros"):
            embedder.embed(np.asarray(picture((1, 1))), np.array([TEMPLATE], np.float32))


@pytest.mark.parametrize("output", ["scores", "boxes", "landmarks"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_no_face(output: str, value: float, tmp_path: Path) -> None:
    detector = load(write_pack(tmp_path / "pack")).detector
    outputs = [np.array(one) for one in detector.network(np.zeros((1, 3, 640, 640), np.float32))]
    for scores in outputs[:3]:
        scores[0, 7] = 0.9
    detector.network = lambda _: outputs
    assert len(detector.find(np.asarray(picture()))) == 3
    outputs[3 * ["scores", "boxes", "landmarks"].index(output)][0, 7, -1] = value
    assert len(detector.find(np.asarray(picture()))) == 2


@pytest.mark.parametrize("missing", ["cv2", "onnx", "onnxruntime"])
def test_without_the_optional_packages_one_line_says_what_to_install(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(PackError, match=r"`pip install -r requirements-faces\.txt`"):
        load(tmp_path)
    with pytest.raises(PackError, match=f"^{missing} is missing"):  # nothing is downloaded first
        FaceAnalyzer("a pack that would be looked for")


def test_networks_that_normalize_by_themselves_get_plain_levels(tmp_path: Path) -> None:
    vectors = []
    for normalizes in (False, True):
        pack = write_pack(tmp_path / str(normalizes))
        save(recognizer(normalizes=normalizes), pack / "recognizer.onnx")
        pixels = np.asarray(picture((1, 1), (2, 2)))
        vectors.append(load(pack).embedder.embed(pixels, np.array([TEMPLATE], np.float32)))
    one, other = vectors
    np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("strides", [(8, 16, 32), (8, 16, 32, 64, 128)])
def test_detectors_of_both_layouts_and_of_free_size_work(
    strides: tuple[int, ...], tmp_path: Path
) -> None:
    pack = write_pack(tmp_path / "pack")
    save(detector(strides=strides, size=("h", "w")), pack / "detector.onnx")
    networks = load(pack)
    assert len(networks.detector.find(np.asarray(picture((3, 4), (9, 9))))) == 2


class Session:
    """Stands for a session of onnxruntime that finds no GPU: as it does, it goes on without."""

    def __init__(self, model: Any, options: Any, providers: list[str]):
        del providers
        self._session = REAL_SESSION(model, options, providers=[CPU])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


REAL_SESSION = onnxruntime.InferenceSession


def test_a_gpu_that_cannot_be_used_is_one_line_and_the_cpu_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program_log: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr("onnxruntime.InferenceSession", Session)
    pack = write_pack(tmp_path / "pack")
    assert load_networks(pack, "auto", 1).device == "cpu"
    assert [record.levelname for record in program_log.records] == ["WARNING"]
    assert "using the cpu: onnxruntime found no GPU that it can use" in program_log.text
    with pytest.raises(PackError, match="found no GPU"):
        load_networks(pack, "cuda", 1)


def test_batches_are_used_where_both_networks_take_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(loading.BATCHES, "cpu", 4)
    for batched in (False, True):
        networks = load(write_pack(tmp_path / str(batched), batched=batched))
        assert isinstance(networks.detector.network, runs.Batches) == batched
        assert isinstance(networks.embedder.network, runs.Batches)
        assert networks.embedder.batch == 4
        networks.close()


def test_onnxruntime_tells_nobody_and_leaves_no_files(tmp_path: Path) -> None:
    """Its own default is to keep an identifier of the machine, and to send what runs."""
    pack, home = write_pack(tmp_path / "pack"), tmp_path / "home"
    home.mkdir()
    code = "import sys; from pathlib import Path; from face_networks.loading import load_networks"
    code += "; load_networks(Path(sys.argv[1]), 'cpu', 1)"
    environment = {"HOME": str(home), "PATH": os.environ["PATH"]}
    command = [sys.executable, "-c", code, str(pack)]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)  # noqa: S603 - this interpreter
    assert list(home.rglob("*")) == []
