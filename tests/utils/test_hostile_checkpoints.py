import json
import math
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import MakeConfig, RunScript
from helpers import read, save_as_original, save_config, train
from hostile import CONTENTS, MADE_UP, Content, bomb, content_of, rewritten, with_arch, write
from serving_helpers import save_model

from model.arguments import expected_weights
from model.model import ResMLP
from serving.models import load_model
from utils.checkpoint import load_checkpoint, load_members
from utils.config import ConfigParser
from utils.errors import CheckpointError
from utils.scripts import export_model, make_ensemble

CPU = torch.device("cpu")
pytestmark = pytest.mark.filterwarnings("ignore:.*(sparse|quantize|deprecat|Sparse).*")


@pytest.fixture
def nothing_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no network be made; what the sizes of a file ask for then costs nothing."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a layer was built")

    monkeypatch.setattr(torch.nn.Linear, "__init__", refuse)


def refusal_of(call: Callable[[], Any], path: Path) -> str:
    """Return the one line that a call ends with, which names the file."""
    with pytest.raises(CheckpointError) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 1000
    assert str(path) in text
    return text


def saved(name: str, make: Callable[[], Content], folder: Path) -> Path:
    return write(make(), folder / "age.pth")


@pytest.mark.parametrize("name", MADE_UP)
def test_a_made_up_model_is_refused_by_the_server_before_anything_is_built(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    path = saved(name, MADE_UP[name], tmp_path)
    request.getfixturevalue("nothing_is_built")
    refusal_of(lambda: load_model("age", path, CPU, torch.float32), path)


@pytest.mark.parametrize("name", MADE_UP)
def test_a_made_up_model_is_neither_exported_nor_taken_into_an_ensemble(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    path = saved(name, MADE_UP[name], tmp_path)
    whole = save_model(tmp_path / "whole.pth", 101)
    request.getfixturevalue("nothing_is_built")
    refusal_of(lambda: export_model(path, tmp_path / "out.pth"), path)
    refusal_of(lambda: make_ensemble([whole, path], tmp_path / "out.pth"), path)
    assert not (tmp_path / "out.pth").exists()


def test_damaged_statistics_are_not_passed_on(tmp_path: Path) -> None:
    path = write(content_of(embeddings={"method": "another"}), tmp_path / "age.pth")
    assert "damaged" in refusal_of(lambda: export_model(path, tmp_path / "out.pth"), path)
    assert "damaged" in refusal_of(lambda: make_ensemble(path, tmp_path / "out.pth"), path)


OF_THE_NETWORK = [
    name
    for name in CONTENTS
    if not name.startswith(("an extractor", "a temperature", "statistics", "a config without"))
]


@pytest.mark.parametrize("name", OF_THE_NETWORK)
def test_a_made_up_checkpoint_ends_scripts_with_one_line(
    name: str, small_config: MakeConfig, tmp_path: Path, run_script: RunScript
) -> None:
    """What only the server shows is not looked at by a training that starts from the weights."""
    content = CONTENTS[name]()
    config = small_config()
    for part, value in content["config"].items() if isinstance(content["config"], dict) else ():
        config[part] = value
    content["config"] = content["config"] and config
    path = write({**content, "resume": {}}, tmp_path / "age.pth")
    for script in ("train.py", "test.py"):
        outcome = run_script(script, "-r", path)
        assert outcome.code == 2, outcome.err
        assert "Traceback" not in outcome.err
        assert len(outcome.err.splitlines()) <= 3  # the problems of a config, one line each
    assert not (tmp_path / "saved").exists()


@pytest.mark.parametrize("script", ["train.py", "test.py"])
def test_a_network_that_is_larger_than_its_weights_is_not_built(
    script: str,
    small_config: MakeConfig,
    tmp_path: Path,
    run_script: RunScript,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = small_config(**{"arch.args.num_residuals_per_block": 50})
    path = write({**content_of(config=config), "resume": {}}, tmp_path / "age.pth")
    original = ConfigParser.init_obj

    def init_obj(self: ConfigParser, name: str, *args: Any, **kwargs: Any) -> Any:
        assert name != "arch", "the network was built"
        return original(self, name, *args, **kwargs)

    monkeypatch.setattr(ConfigParser, "init_obj", init_obj)
    outcome = run_script(script, "-r", path)
    assert (outcome.code, len(outcome.err.splitlines())) == (2, 1)
    assert "does not fit the network" in outcome.err


WEIGHTS = [name for name in CONTENTS if "weight" in name or "epoch" in name or "variance" in name]


@pytest.mark.parametrize("name", WEIGHTS)
def test_no_training_starts_from_made_up_weights(
    name: str, small_config: MakeConfig, tmp_path: Path
) -> None:
    path = saved(name, CONTENTS[name], tmp_path)
    arch = content_of()["config"]["arch"]
    refusal_of(lambda: train(small_config(arch=arch, checkpoint=str(path))), path)
    assert not (tmp_path / "saved").exists()


def test_a_config_of_a_million_residuals_is_refused_before_anything_is_built(
    small_config: MakeConfig, tmp_path: Path, run_script: RunScript
) -> None:
    config = small_config(**{"arch.args.num_residuals_per_block": 10**6})
    outcome = run_script("train.py", "-c", save_config(config, tmp_path))
    assert (outcome.code, len(outcome.err.splitlines())) == (2, 1)
    assert "too large" in outcome.err


@pytest.mark.parametrize("num_residuals", [0, 1, 3])
@pytest.mark.parametrize("num_blocks", [0, 1, 4])
@pytest.mark.parametrize("add_IC", [True, False])
def test_the_weights_told_from_the_arguments_are_those_of_the_network(
    num_residuals: int, num_blocks: int, add_IC: bool
) -> None:
    arguments: dict[str, Any] = {
        "dropout": 0.1,
        "num_residuals_per_block": num_residuals,
        "num_blocks": num_blocks,
        "num_classes": 8,
        "num_initial_features": 36,
        "add_IC": add_IC,
    }
    state = ResMLP(**arguments).state_dict()
    assert [tuple(weight) for weight in expected_weights(arguments)] == [
        (name, tuple(weight.shape), weight.is_floating_point()) for name, weight in state.items()
    ]


# --- the zip -------------------------------------------------------------------------------------


def test_a_record_of_zeros_is_refused_without_being_inflated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bomb(tmp_path / "age.pth", 16 << 20)

    def inflate(*_: Any) -> bytes:
        raise AssertionError("a record was inflated")

    monkeypatch.setattr(zipfile.ZipFile, "open", inflate)
    assert "compressed" in refusal_of(lambda: load_checkpoint(path), path)


def test_a_giant_pickle_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("utils.legacy.torch_zip.MAX_PICKLE_BYTES", 100)
    path = save_model(tmp_path / "age.pth", 101)
    assert "at most 100 are read" in refusal_of(lambda: load_checkpoint(path), path)


@pytest.mark.parametrize("form", ["ours", "an ensemble", "the original's"])
def test_no_flipped_bit_loads_as_other_weights(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_model(tmp_path / "age.pth", 101)
    if form == "an ensemble":
        make_ensemble([path, path], path)
    elif form == "the original's":
        content = read(path) | {"arch": "ResMLP", "epoch": 1, "optimizer": {}, "monitor_best": 0.5}
        save_as_original(content, path, monkeypatch)
    whole, before = path.read_bytes(), [one.state_dict for one in load_members(path)]
    rng, num_refused = random.Random(0), 0  # noqa: S311 - a test
    for _ in range(60):
        changed = bytearray(whole)
        changed[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        try:
            members = load_members(path)
        except CheckpointError:
            num_refused += 1
            continue
        for old, new in zip(before, (one.state_dict for one in members), strict=True):
            assert all(torch.equal(old[name], new[name]) for name in old)
    assert num_refused > 30


def test_a_storage_that_claims_more_than_its_record_is_refused(tmp_path: Path) -> None:
    path = write({"state_dict": {"a": torch.ones(16)}}, tmp_path / "age.pth")

    def claim_more(name: str, record: bytes) -> bytes:
        return record.replace(b"K\x10", b"M\x00\x10") if name.endswith("data.pkl") else record

    path.write_bytes(rewritten(path.read_bytes(), claim_more))
    assert "does not fit" in refusal_of(lambda: load_checkpoint(path), path)


def test_other_kinds_of_real_numbers_are_weights_too(tmp_path: Path) -> None:
    for dtype in (torch.float64, torch.bfloat16, torch.float16):
        content = content_of()
        content["state_dict"] = {
            name: weight.to(dtype) if weight.is_floating_point() else weight.int()
            for name, weight in content["state_dict"].items()
        }
        path = write(content, tmp_path / "age.pth")
        assert load_model("age", path, CPU, torch.float32).num_classes == 101


def test_parameters_and_empty_settings_are_read(tmp_path: Path) -> None:
    path = tmp_path / "age.pth"
    net = ResMLP(**content_of()["config"]["arch"]["args"])
    torch.save({**net.state_dict(), **dict(net.named_parameters())}, path)
    path.with_suffix(".json").write_text(json.dumps(content_of()["config"]))
    assert load_model("age", path, CPU, torch.float32).num_classes == 101


def test_a_network_of_the_largest_size_is_told_apart_from_a_larger_one() -> None:
    largest = with_arch(num_blocks=0, num_classes=(1 << 31) // 512)["config"]["arch"]["args"]
    assert math.prod(next(expected_weights(largest)).shape) == 1 << 31
    with pytest.raises(ValueError, match="too large"):
        expected_weights({**largest, "num_classes": largest["num_classes"] + 1})
