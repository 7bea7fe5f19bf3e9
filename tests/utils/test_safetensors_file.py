"""Checkpoints as safetensors: what is written comes back, and what strangers made is refused."""

import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import MakeConfig, RunScript
from helpers import train
from hostile import CONTENTS, content_of
from safetensors.torch import save_file
from serving_helpers import network

from serving.models import load_model
from utils import safetensors_file
from utils.checkpoint import load_checkpoint, save_safetensors
from utils.errors import CheckpointError, UserError

CPU = torch.device("cpu")
ENTRY = safetensors_file.ENTRY


def refusal_of(path: Path) -> str:
    """Return the one line that reading a file ends with, which names it."""
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    text = str(caught.value)
    assert text.isprintable()
    assert len(text) < 500
    assert str(path) in text
    return text


def with_header(path: Path, header: Any, data: bytes = b"") -> Path:
    """Write a file by hand."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def weight(start: int = 0, end: int = 8, kind: str = "F32", shape: Any = (2,)) -> dict[str, Any]:
    return {"dtype": kind, "shape": shape, "data_offsets": [start, end]}


def test_everything_in_a_checkpoint_comes_back(tmp_path: Path) -> None:
    content: dict[str, Any] = {
        "state_dict": {
            "a.weight": torch.arange(6.0).reshape(2, 3).T,
            "a.count": torch.tensor(7),
            "half": torch.ones(3, dtype=torch.bfloat16),
            "none": torch.empty(0, 4),
        },
        "epoch": 3,
        "monitor_best": float("inf"),
        "config": {"name": "Zoë", "checkpoint": None, "arch": {"args": {"dropout": 0.1}}},
        "embeddings": {"centre": torch.ones(2), "threshold": 1.0, "num_rows": 5},
        "extractor": None,
        "environment": {"lists": [1, None, {"of": torch.zeros(1)}]},
    }
    save_safetensors(content, tmp_path / "a.safetensors")
    read = load_checkpoint(tmp_path / "a.safetensors").content
    assert list(read) == list(content)
    for name, expected in content["state_dict"].items():
        assert torch.equal(read["state_dict"][name], expected)
        assert read["state_dict"][name].dtype == expected.dtype
    assert torch.equal(read["embeddings"].pop("centre"), torch.ones(2))
    assert read["embeddings"] == {"threshold": 1.0, "num_rows": 5}
    assert torch.equal(read["environment"]["lists"][2]["of"], torch.zeros(1))
    for name in ("epoch", "monitor_best", "config", "extractor"):
        assert read[name] == content[name]


def test_the_same_checkpoint_gives_the_same_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.safetensors", "b.safetensors")]
    for path in paths:
        save_safetensors(content_of(extractor={"imdb": {"model": "x"}}), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_what_a_file_holds_decides_and_not_its_name(tmp_path: Path) -> None:
    save_safetensors(content_of(epoch=4), tmp_path / "age.pth")
    assert load_checkpoint(tmp_path / "age.pth").content["epoch"] == 4


def test_weights_that_somebody_else_saved_are_a_state_dict(tmp_path: Path) -> None:
    path, weights = tmp_path / "age.safetensors", network().state_dict()
    save_file(weights, path, {"format": "pt"})
    assert load_checkpoint(path).content.keys() == {"state_dict"}
    path.with_suffix(".json").write_text(json.dumps(content_of()["config"]))
    assert load_model("age", path, CPU, torch.float32).num_classes == 101


def test_weights_have_the_names_of_the_network_for_others(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    save_safetensors(content_of(), tmp_path / "age.safetensors")
    net = network(seed=1)
    net.load_state_dict(load_file(tmp_path / "age.safetensors"))


def test_no_flipped_bit_loads_as_something_else(tmp_path: Path) -> None:
    path = tmp_path / "age.safetensors"
    save_safetensors({**content_of(), "epoch": 3}, path)
    whole, before = path.read_bytes(), load_checkpoint(path).content
    rng = random.Random(0)  # noqa: S311 - a test
    header, num_refused = int.from_bytes(whole[:8], "little"), 0
    for place in [*range(8), *(rng.randrange(header) for _ in range(60)), len(whole) - 1, -5000]:
        changed = bytearray(whole)
        changed[place] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        try:
            now = load_checkpoint(path).content
        except CheckpointError:
            num_refused += 1
            continue
        assert {k: v for k, v in now.items() if k != "state_dict"} == {
            k: v for k, v in before.items() if k != "state_dict"
        }
        assert all(torch.equal(v, now["state_dict"][k]) for k, v in before["state_dict"].items())
    assert num_refused > 60


# --- made up -------------------------------------------------------------------------------------

UNWRITABLE = {
    *("sparse weights", "quantized weights", "weights that are nowhere", "complex weights"),
    *("an extractor of tensors", "one weight under many names", "weights of one number"),
}
"""What no safetensors file can hold, or not as it is, or not with every version of the library."""
SLOW = {"an extractor of a million numbers"}


@pytest.mark.parametrize("name", sorted(CONTENTS.keys() - UNWRITABLE - SLOW))
def test_a_made_up_model_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "age.safetensors"
    save_safetensors(CONTENTS[name](), path)
    with pytest.raises(CheckpointError, match=r"age\.safetensors") as caught:
        load_model("age", path, CPU, torch.float32)
    assert "\n" not in str(caught.value)


HEADERS: dict[str, Any] = {
    "no JSON": b"{" * 9,
    "nested without end": b'{"a":' * 5000 + b"1" + b"}" * 5000,
    "a name twice": b'{"a":' + json.dumps(weight()).encode() + b',"a":{}}',
    "overlapping weights": {"a": weight(), "b": weight(4, 12)},
    "a hole between weights": {"a": weight(), "b": weight(12, 20)},
    "weights behind the end": {"a": weight(0, 1 << 40, shape=[1 << 38])},
    "a shape larger than its bytes": {"a": weight(shape=[4])},
    "a shape beyond all numbers": {"a": weight(shape=[1 << 62, 1 << 62])},
    "a negative shape": {"a": weight(shape=[-2])},
    "an unknown kind": {"a": weight(kind="X9")},
    "a kind that torch has not": {"a": weight(kind="F4", shape=[16])},
    "offsets the wrong way round": {"a": weight(8, 0)},
    "a name that clears the screen": {"\x1b[2J": weight(8, 0)},
    "weights that are text": {"a": "text"},
    "metadata that are a number": {"__metadata__": 3, "a": weight()},
    "our metadata, no JSON": {"__metadata__": {ENTRY: "{"}, "a": weight()},
    "our metadata, a list": {"__metadata__": {ENTRY: "[]"}, "a": weight()},
    "our metadata, without a digest": {
        "__metadata__": {ENTRY: '{"checkpoint": {}}'},
        "a": weight(),
    },
    "our metadata, with another digest": {
        "__metadata__": {ENTRY: '{"checkpoint": {"state_dict": {"a": null}}, "sha256": "0"}'},
        "a": weight(),
    },
    "nothing": {},
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_made_up_header_is_refused(name: str, tmp_path: Path) -> None:
    path = with_header(tmp_path / "a.safetensors", HEADERS[name], bytes(8))
    refusal_of(path)


@pytest.mark.parametrize("cut_off", [0, 8, 9, 60, -1])
def test_a_file_that_is_cut_off_is_refused(cut_off: int, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_safetensors(content_of(), path)
    path.write_bytes(path.read_bytes()[:cut_off])
    refusal_of(path)


@pytest.mark.parametrize("length", [1 << 63, (16 << 20) + 1, 100])
def test_a_header_that_claims_too_much_is_refused_unread(
    length: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + b"{}".ljust(50))

    def parse(_: bytes) -> None:
        raise AssertionError("the header was parsed")

    monkeypatch.setattr(safetensors_file, "parse_json", parse)
    assert f"claims {length:,} bytes" in refusal_of(path)


def test_a_giant_file_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safetensors_file, "MAX_BYTES", 1000)
    save_safetensors(content_of(), tmp_path / "a.safetensors")
    assert "at most 1,000 are read" in refusal_of(tmp_path / "a.safetensors")


def test_what_json_cannot_hold_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"write a \.pth file"):
        save_safetensors({**content_of(), "environment": {1j}}, tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_without_the_package_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_safetensors(content_of(), tmp_path / "a.safetensors")
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    expected = r"safetensors is missing; to read .*`pip install -r requirements-export\.txt`"
    with pytest.raises(UserError, match=expected):
        load_checkpoint(tmp_path / "a.safetensors")


# --- where checkpoints are taken -----------------------------------------------------------------


def test_a_training_starts_from_safetensors_as_from_pth(
    small_config: MakeConfig, tmp_path: Path
) -> None:
    first = train(small_config(**{"trainer.epochs": 1}))
    path = tmp_path / "start.safetensors"
    save_safetensors({**load_checkpoint(first.fitted.best_path).content, "resume": {}}, path)
    losses = [
        train(small_config(checkpoint=str(one), **{"trainer.epochs": 1})).logs[0]["loss"]
        for one in (first.fitted.best_path, path)
    ]
    assert losses[0] == losses[1]


def test_scripts_take_it_by_name(
    small_config: MakeConfig, tmp_path: Path, run_script: RunScript
) -> None:
    run = train(small_config(**{"trainer.epochs": 1}))
    path = tmp_path / "moved" / "age.safetensors"
    content = dict(load_checkpoint(run.fitted.best_path).content)
    del content["optimizer"], content["resume"]
    save_safetensors(content, path)
    tested = [run_script("test.py", "-r", one) for one in (run.fitted.best_path, path)]
    assert [outcome.code for outcome in tested] == [0, 0]
    resumed = run_script("train.py", "-r", path)
    assert (resumed.code, "cannot be resumed" in resumed.err) == (2, True)
