"""Models in other formats: what comes out says what the checkpoint says."""

import json
import os
import re
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from dockerfiles import instructions
from failing_disks import full_disk
from helpers import ROOT
from networks import embed
from serving_helpers import (
    BINARY,
    Floats,
    config_of,
    network,
    post,
    save_model,
    save_original,
    serving,
    statistics_of,
    vectors,
)

from faces.out_of_distribution import OutOfDistributionDetector
from model.inference import FoldedNet
from serving import onnx_model
from serving.models import ServedModel, load_model
from serving.onnx_graph import OnnxGraph
from utils.checkpoint import save_checkpoint
from utils.errors import CheckpointError, PathError, UserError
from utils.labels import class_years
from utils.scripts import export_model, make_ensemble

CPU = torch.device("cpu")
Source = tuple[str, Path]


def _gender(folder: Path, _: pytest.MonkeyPatch) -> Path:
    return save_model(folder / "in.pth", 2, embeddings=statistics_of(0), extractor={"imdb": {}})


def _age8(folder: Path, _: pytest.MonkeyPatch) -> Path:
    return save_model(folder / "in.pth", 8)


def _age101(folder: Path, _: pytest.MonkeyPatch) -> Path:
    arguments = {"num_residuals_per_block": 2, "num_blocks": 2}
    content = {
        "config": config_of(101, **arguments),
        "state_dict": network(101, **arguments).state_dict(),
        "optimizer": {"state": {}},
        "resume": {"epoch": 1},
        "embeddings": statistics_of(0),
        "extractor": {"imdb": {"model": "buffalo_l"}},
    }
    save_checkpoint(content, folder / "in.pth")
    return folder / "in.pth"


def _ensemble(folder: Path, _: pytest.MonkeyPatch) -> Path:
    given = [save_model(folder / f"{n}.pth", 101, n, embeddings=statistics_of(0)) for n in (1, 2)]
    make_ensemble(given, folder / "in.pth")
    return folder / "in.pth"


def _original(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return save_original(folder / "in.pth", 101, 3, monkeypatch, num_residuals_per_block=1)


def _weights_alone(folder: Path, _: pytest.MonkeyPatch) -> Path:
    torch.save(network(2).state_dict(), folder / "in.pth")
    (folder / "in.json").write_text(json.dumps(config_of(2)))
    return folder / "in.pth"


SOURCES = {
    "gender": _gender,
    "age in 8 classes": _age8,
    "age in 101 classes": _age101,
    "an ensemble": _ensemble,
    "the original project's": _original,
    "weights alone": _weights_alone,
}


@pytest.fixture(params=SOURCES)
def source(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Source:
    """Return "age" or "gender", and the file of such a model."""
    name = request.param
    path = SOURCES[name](tmp_path, monkeypatch)
    return "gender" if name in ("gender", "weights alone") else "age", path


def load(kind: str, path: Path) -> ServedModel:
    return load_model(kind, path, CPU, torch.float32)


def run(path: Path, embeddings: Floats) -> dict[str, Any]:
    session = onnxruntime.InferenceSession(path)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"embeddings": embeddings}), strict=True))


def probabilities_of(model: ServedModel, embeddings: Floats) -> Floats:
    x = torch.from_numpy(embeddings)
    return torch.stack([net(x).softmax(1) for net in model.nets]).mean(0).numpy()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt"])
def test_a_model_in_another_format_is_served_as_the_checkpoint_is(
    suffix: str, source: Source
) -> None:
    kind, path = source
    out = path.with_name(f"out{suffix}")
    export_model(path, out)
    before, after, faces = load(kind, path), load(kind, out), vectors(7)
    for one, other in zip(before.nets, after.nets, strict=True):
        assert torch.equal(one(torch.from_numpy(faces)), other(torch.from_numpy(faces)))
    assert {**after.describe(), "name": "", "version": ""} == {
        **before.describe(),
        "name": "",
        "version": "",
    }
    assert (before.detector is None) == (after.detector is None)
    if before.detector and after.detector:
        assert np.array_equal(before.detector.scores(faces), after.detector.scores(faces))


def test_what_went_through_safetensors_comes_back_as_pth(source: Source) -> None:
    kind, path = source
    there, back, direct = (path.with_name(name) for name in ("t.safetensors", "b.pth", "d.pth"))
    export_model(path, there)
    export_model(there, back)
    export_model(path, direct)
    read = [torch.load(one, weights_only=True) for one in (back, direct)]
    assert set(read[0]) == set(read[1])
    assert (
        load(kind, back).describe()["network_check"] == load(kind, path).describe()["network_check"]
    )


@pytest.mark.parametrize("num_faces", [0, 1, 7])
def test_an_onnx_model_says_what_torch_says(num_faces: int, source: Source) -> None:
    kind, path = source
    out = path.with_suffix(".onnx")
    export_model(path, out)
    model, faces = load(kind, path), vectors(num_faces)
    answers, expected = run(out, faces), probabilities_of(model, faces)
    assert answers["probabilities"].shape == (num_faces, model.num_classes)
    np.testing.assert_allclose(answers["probabilities"], expected, atol=1e-5)
    assert ("age" in answers) == (kind == "age")
    if kind == "age":
        years = class_years(model.num_classes)
        assert answers["age"].shape == (num_faces,)
        np.testing.assert_allclose(answers["age"], expected @ years, rtol=1e-5, atol=1e-5)
    assert ("in_distribution" in answers) == (model.detector is not None)
    if model.detector is not None:
        scores = model.detector.scores(faces)
        np.testing.assert_allclose(answers["out_of_distribution_score"], scores, rtol=1e-5)


@pytest.mark.parametrize("add_residual", [True, False])
@pytest.mark.parametrize("add_IC", [True, False])
@pytest.mark.parametrize(("num_residuals", "num_blocks"), [(0, 0), (0, 1), (3, 2)])
def test_every_architecture_becomes_a_graph(
    num_residuals: int, num_blocks: int, add_IC: bool, add_residual: bool, tmp_path: Path
) -> None:
    arguments: dict[str, Any] = {
        "num_residuals_per_block": num_residuals,
        "num_blocks": num_blocks,
        "add_IC": add_IC,
        "add_residual": add_residual,
    }
    net = network(8, **arguments)
    content = {"config": config_of(8, **arguments), "state_dict": net.state_dict()}
    save_checkpoint(content, tmp_path / "a.pth")
    export_model(tmp_path / "a.pth", tmp_path / "a.onnx")
    faces = vectors(5)
    with torch.no_grad():
        expected = net(torch.from_numpy(faces)).softmax(1).numpy()
    np.testing.assert_allclose(
        run(tmp_path / "a.onnx", faces)["probabilities"], expected, atol=1e-5
    )


def test_a_graph_tells_embeddings_of_other_networks(tmp_path: Path) -> None:
    export_model(_gender(tmp_path, pytest.MonkeyPatch()), tmp_path / "a.onnx")
    rows = np.concatenate([embed(0, 20, seed=3), embed(1, 20, seed=3)])
    known = run(tmp_path / "a.onnx", rows)["in_distribution"]
    detector = OutOfDistributionDetector.from_checkpoint({"embeddings": statistics_of(0)})
    assert detector is not None
    assert known.tolist() == detector.is_in_distribution(rows).tolist()
    assert known.tolist() == [True] * 20 + [False] * 20


def test_a_graph_says_what_it_is(tmp_path: Path) -> None:
    """For programs that have the file and nothing of this project."""
    export_model(_age101(tmp_path, pytest.MonkeyPatch()), tmp_path / "age.onnx")
    model = onnx.load(tmp_path / "age.onnx")
    onnx.checker.check_model(model, full_check=True)
    told = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert told["version"] == project["version"] == model.producer_version
    assert told["classes"] == list(range(101))
    assert told["arch"][0]["num_residuals_per_block"] == 2
    assert told["extractor"] == {"imdb": {"model": "buffalo_l"}}
    assert told["out_of_distribution"]["num_rows"] == statistics_of(0)["num_rows"]
    assert all(value.doc_string for value in (*model.graph.input, *model.graph.output))
    assert [(one.domain, one.version) for one in model.opset_import] == [("", 17)]


def test_the_classes_of_genders_are_letters(tmp_path: Path) -> None:
    export_model(_gender(tmp_path, pytest.MonkeyPatch()), tmp_path / "gender.onnx")
    entries = onnx.load(tmp_path / "gender.onnx").metadata_props
    assert {one.key: one.value for one in entries}["classes"] == '["m", "f"]'


def test_the_same_model_gives_the_same_file(tmp_path: Path) -> None:
    path = _age101(tmp_path, pytest.MonkeyPatch())
    for suffix in (".onnx", ".safetensors"):
        for name in ("a", "b"):
            export_model(path, tmp_path / f"{name}{suffix}")
        a, b = ((tmp_path / f"{name}{suffix}").read_bytes() for name in ("a", "b"))
        assert a == b


def test_an_ensemble_is_written_in_every_format(tmp_path: Path) -> None:
    members = [save_model(tmp_path / f"{n}.pth", 8, n) for n in (1, 2, 3)]
    faces = vectors(4)
    for name in ("all.pth", "all.safetensors", "all.onnx"):
        assert make_ensemble(members, tmp_path / name) == 3
    of_zip, of_safetensors = (
        probabilities_of(load("age", tmp_path / name), faces)
        for name in ("all.pth", "all.safetensors")
    )
    assert np.array_equal(of_zip, of_safetensors)
    answers = run(tmp_path / "all.onnx", faces)
    np.testing.assert_allclose(answers["probabilities"], of_zip, atol=1e-5)


def test_the_server_answers_with_safetensors(tmp_path: Path) -> None:
    age = save_model(tmp_path / "in.pth", 101, embeddings=statistics_of(0))
    export_model(age, tmp_path / "age.safetensors")
    answers = []
    for path in (age, tmp_path / "age.safetensors"):
        with serving(tmp_path, age_model=path) as server:
            answers.append(post(server, vectors(3).tobytes(), BINARY).get_json())
            health = server.test_client().get("/health").get_json()["models"]["age"]
            assert health["name"] == path.name
            assert re.fullmatch("[0-9a-f]{12}", health["version"])
    assert answers[0] == answers[1]


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["age.tflite", "age", "age.onnx.gz", ".onnx"])
def test_another_suffix_is_refused_before_anything_is_read(name: str, tmp_path: Path) -> None:
    for write in (export_model, make_ensemble):
        with pytest.raises(PathError, match=r"expected \.pth, \.safetensors or \.onnx, got"):
            write(tmp_path / "missing.pth", tmp_path / name)


@pytest.mark.parametrize(
    ("suffix", "package"), [(".onnx", "onnx"), (".safetensors", "safetensors")]
)
def test_a_missing_package_is_named_before_anything_is_read(
    suffix: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    expected = rf"{package} is missing; to write .*`pip install -r requirements-export\.txt`"
    with pytest.raises(UserError, match=expected):
        export_model(tmp_path / "missing.pth", tmp_path / f"a{suffix}")


def test_without_onnxruntime_a_graph_is_written_and_said_not_to_be_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    export_model(save_model(tmp_path / "a.pth", 2), tmp_path / "a.onnx")
    onnx.checker.check_model(tmp_path / "a.onnx")
    assert "a.onnx is not compared with torch: onnxruntime is missing" in capsys.readouterr().out


add_networks = OnnxGraph.add_networks


def _add_changed(graph: OnnxGraph, nets: list[FoldedNet], num_classes: int) -> None:
    for net in nets:
        last = net.layers[-1]
        net.layers[-1] = replace(last, bias=last.bias + torch.linspace(0, 1e-3, num_classes))
    add_networks(graph, nets, num_classes)


def test_a_graph_that_answers_otherwise_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OnnxGraph, "add_networks", _add_changed)
    with pytest.raises(CheckpointError, match=r"a\.onnx is not written: its probabilities would"):
        export_model(save_model(tmp_path / "a.pth", 2), tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()


def test_a_model_larger_than_a_file_can_be_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_model, "MAX_BYTES", 1000)
    with pytest.raises(CheckpointError, match=r"an ONNX file holds at most 1,000"):
        export_model(save_model(tmp_path / "a.pth", 2), tmp_path / "a.onnx")


def test_a_graph_is_no_checkpoint_and_a_torch_zip_of_that_name_is_one(tmp_path: Path) -> None:
    source = save_model(tmp_path / "a.pth", 2)
    export_model(source, tmp_path / "a.onnx")
    with pytest.raises(CheckpointError, match=r"a\.onnx is an ONNX file, .*\.pth or \.safetensors"):
        load("gender", tmp_path / "a.onnx")
    assert load("gender", source.rename(tmp_path / "b.onnx")).num_classes == 2


def test_a_model_of_no_task_is_no_graph(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="7 classes"):
        export_model(save_model(tmp_path / "a.pth", 7), tmp_path / "a.onnx")


@pytest.mark.parametrize("suffix", [".onnx", ".safetensors"])
def test_what_was_there_survives_a_disk_that_is_full(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / f"out{suffix}"
    source = save_model(tmp_path / "a.pth", 2)
    out.write_bytes(b"before")
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match=f"out{suffix}"):
        export_model(source, out)
    assert out.read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pth", out.name]


# --- the packages, and the example of the documentation -------------------------------------------


def requirements(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    found = (re.match(r"([a-z-]+)([>=<,.0-9]+)", line) for line in lines)
    return {one[1]: one[2] for one in found if one}


def test_a_package_has_one_range() -> None:
    export, faces = requirements("requirements-export.txt"), requirements("requirements-faces.txt")
    shared = export.keys() & faces.keys()
    assert shared == {"onnx", "onnxruntime"}
    assert {name: export[name] for name in shared} == {name: faces[name] for name in shared}


@pytest.mark.parametrize("dockerfile", ["Dockerfile", "Dockerfile-cuda"])
def test_the_images_read_safetensors(dockerfile: str) -> None:
    command = "grep -h '# serving' requirements.txt requirements-export.txt > serving.txt"
    assert any(command in line for line in instructions(dockerfile))
    text = (ROOT / "requirements-export.txt").read_text(encoding="utf-8")
    assert [line.split(">")[0] for line in text.splitlines() if "# serving" in line] == [
        "safetensors"
    ]


def test_the_example_of_the_documentation_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
    section = text.partition("### Formats")[2].partition("\n## ")[0]
    (example,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    export_model(save_model(tmp_path / "a.pth", 101), tmp_path / "models" / "age.onnx")
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    exec(compile(example, "docs/serving.md", "exec"), {})  # noqa: S102 - our own
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7
    assert all(re.fullmatch(r"\d+\.\d years, most likely \d+", line) for line in lines)
