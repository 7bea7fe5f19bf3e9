import errno
import json
import os
import random
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import MakeConfig, RunScript
from helpers import (
    TINY,
    Malicious,
    assert_identical,
    read,
    run_dirs,
    save_as_original,
    save_config,
    train,
)
from hostile import rewritten

from model.model import ResMLP
from utils.checkpoint import load_checkpoint, save_checkpoint
from utils.errors import CheckpointError
from utils.scripts import export_model
from utils.weights import load_pretrained, load_weights

ARCH = {"dropout": 0.1, "num_residuals_per_block": 1, "num_blocks": 1, "num_initial_features": 16}
ORIGINAL_KEYS = ["arch", "epoch", "state_dict", "optimizer", "monitor_best", "config"]


def network(num_classes: int = 8, seed: int = 0, **arguments: Any) -> ResMLP:
    torch.manual_seed(seed)
    return ResMLP(**{**ARCH, "num_classes": num_classes, **arguments})


def save(model: ResMLP, path: Path, **others: Any) -> Path:
    save_checkpoint({"state_dict": model.state_dict(), **others}, path)
    return path


# --- what is written ------------------------------------------------------------------------------


def test_the_saved_network_rebuilt_from_its_config_gives_the_same_outputs(
    small_config: MakeConfig,
) -> None:
    config = small_config(**{**TINY, "trainer.monitor": "off"})
    run = train(config)
    content = read(run.fitted.best_path)
    rebuilt = ResMLP(**content["config"]["arch"]["args"])
    rebuilt.load_state_dict(content["state_dict"])
    embeddings = torch.randn(7, 512)
    with torch.no_grad():
        expected = run.fitted.setup.model.eval()(embeddings)
        assert torch.equal(rebuilt.eval()(embeddings), expected)
    assert expected.shape == (7, 101)


def test_a_checkpoint_holds_the_keys_of_the_original_and_beside_them_how_to_go_on(
    small_config: MakeConfig,
) -> None:
    config = small_config(**{**TINY, "trainer.save_period": 1})
    run = train(config)
    content = read(run.save_dir / "checkpoint-epoch2.pth")
    assert list(content)[: len(ORIGINAL_KEYS)] == ORIGINAL_KEYS
    assert (content["arch"], content["epoch"]) == ("ResMLP", 2)
    assert content["monitor_best"] == min(log["val_loss"] for log in run.logs)
    assert type(content["config"]) is dict
    assert content["config"] == json.loads((run.save_dir / "config.json").read_text())
    assert {"resume", "environment"} <= content.keys()


READ_ALONE = """
import sys, torch
content = torch.load(sys.argv[1], weights_only=True)
assert not [name for name in sys.modules if name.split('.')[0] in ('utils', 'base', 'model')]
print(content['arch'], type(content['config']).__name__, len(content['state_dict']))
"""


def test_a_checkpoint_opens_with_weights_only_where_this_repository_is_not(
    small_config: MakeConfig, tmp_path: Path
) -> None:
    run = train(small_config(**TINY))
    outcome = subprocess.run(  # noqa: S603 - this interpreter, without paths of ours
        [sys.executable, "-I", "-W", "error", "-c", READ_ALONE, str(run.fitted.best_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.stderr == ""
    assert outcome.stdout.split() == [
        "ResMLP",
        "dict",
        str(len(read(run.fitted.best_path)["state_dict"])),
    ]


def test_an_exported_model_keeps_weights_and_config_and_drops_what_training_needs(
    small_config: MakeConfig, tmp_path: Path
) -> None:
    run = train(small_config(**TINY))
    export_model(run.fitted.best_path, tmp_path / "models" / "age.pth")
    exported, best = read(tmp_path / "models" / "age.pth"), read(run.fitted.best_path)
    assert_identical(dict(exported["state_dict"]), dict(best["state_dict"]))
    assert exported["config"] == best["config"]
    assert not {"optimizer", "resume"} & exported.keys()


# --- a disk that is full --------------------------------------------------------------------------


def fill_disk(monkeypatch: pytest.MonkeyPatch, num_files: int) -> None:
    """Let so many files above 100 kB reach the disk, and no more."""
    original, left = os.fsync, [num_files]

    def fsync(handle: int) -> None:
        if os.fstat(handle).st_size > 100_000:
            left[0] -= 1
            if left[0] < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(handle)

    monkeypatch.setattr(os, "fsync", fsync)


def test_a_checkpoint_that_finds_no_room_leaves_the_old_one_and_no_rubbish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = {"num_initial_features": 512}
    path = save(network(seed=1, **wide), tmp_path / "model_best.pth")
    before = path.read_bytes()
    fill_disk(monkeypatch, 0)
    with pytest.raises(OSError, match="No space left") as caught:
        save(network(seed=2, **wide), path)
    assert caught.value.filename == str(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["model_best.pth"]


def test_train_py_on_a_full_disk_ends_with_code_2_and_goes_on_from_the_last_checkpoint(
    small_config: MakeConfig,
    tmp_path: Path,
    run_script: RunScript,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each epoch writes two files: there is room for those of the first, and one more."""
    config = small_config(**{**TINY, "trainer.save_period": 1, "trainer.monitor": "off"})
    config["trainer"].update(epochs=3)
    whole = train(config)
    path = save_config(config, tmp_path)
    with monkeypatch.context() as patch:
        fill_disk(patch, 3)
        outcome = run_script("train.py", "-c", path)
    assert outcome.code == 2
    assert outcome.err.startswith("error: ")
    assert len(outcome.err.splitlines()) == 1
    assert "model_best.pth" in outcome.err
    assert "No space left" in outcome.err
    save_dir = run_dirs(config)[-1]
    assert read(save_dir / "model_best.pth")["epoch"] == 1
    assert not [file for file in save_dir.iterdir() if file.suffix == ".tmp"]
    assert run_script("train.py", "-r", save_dir / "checkpoint-epoch2.pth").code == 0
    resumed = run_dirs(config)[-1]
    assert_identical(read(resumed / "model_best.pth"), read(whole.fitted.best_path))


# --- what is read ---------------------------------------------------------------------------------


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none\.pth: no such checkpoint"):
        load_checkpoint(tmp_path / "none.pth")


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def zipped(path: Path, records: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, record in records.items():
            archive.writestr(name, record)
    return path


def saved(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def truncated(path: Path) -> Path:
    whole = save(network(), path).read_bytes()
    return written(path, whole[: len(whole) * 2 // 3])


FOREIGN: dict[str, Callable[[Path], Path]] = {
    "empty": lambda path: written(path, b""),
    "text": lambda path: written(path, b"age, gender\n"),
    "truncated": truncated,
    "zip of something else": lambda path: zipped(path, {"a/b.txt": b"hello"}),
    "zip with a broken pickle": lambda path: zipped(path, {"a/data.pkl": b"\x80\x02}.q"}),
    "tensor": lambda path: saved(path, torch.zeros(3)),
    "list": lambda path: saved(path, [1, 2]),
    "nothing": lambda path: saved(path, {}),
    "weights that are a list": lambda path: saved(path, {"state_dict": [1]}),
    "whole module": lambda path: saved(path, torch.nn.Linear(2, 2)),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_file_that_is_no_checkpoint_is_an_error_of_one_line_that_names_it(
    kind: str, tmp_path: Path
) -> None:
    path = FOREIGN[kind](tmp_path / "model_best.pth")
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_alone_are_a_checkpoint_without_anything_else(tmp_path: Path) -> None:
    path = saved(tmp_path / "age.pth", network().state_dict())
    checkpoint = load_checkpoint(path)
    load_weights(network(), checkpoint)
    assert list(checkpoint.content) == ["state_dict"]
    with pytest.raises(CheckpointError, match="no config inside"):
        _ = checkpoint.config


@pytest.mark.parametrize("seed", range(3))
def test_a_checkpoint_with_flipped_bytes_loads_or_is_a_checkpoint_error(
    seed: int, tmp_path: Path
) -> None:
    """Nothing but a CheckpointError may come out of reading and loading, checksums being right."""
    path = tmp_path / "model_best.pth"
    content = save(network(), path, config={"arch": {"args": ARCH}}, epoch=3).read_bytes()
    rng = random.Random(seed)  # noqa: S311 - a test

    def flip(name: str, record: bytes) -> bytes:
        changed = bytearray(record)
        for _ in range(rng.choice([1, 1, 3]) if name.endswith("data.pkl") else 0):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        return bytes(changed)

    errors = 0
    for _ in range(200):
        path.write_bytes(rewritten(content, flip))
        try:
            load_weights(network(), load_checkpoint(path))
        except CheckpointError:
            errors += 1
    assert errors > 0


def test_a_malicious_checkpoint_is_refused_and_runs_nothing(
    tmp_path: Path, run_script: RunScript
) -> None:
    trace = tmp_path / "trace"
    path = saved(tmp_path / "age.pth", {"state_dict": {}, "config": Malicious(trace)})
    torch.load(path, weights_only=False)["config"].close()
    assert trace.exists()  # the payload does run where it is let
    trace.unlink()
    with pytest.raises(CheckpointError):
        load_checkpoint(path)
    for name in ("train.py", "test.py"):
        outcome = run_script(name, "-r", path)
        assert (outcome.code, len(outcome.err.splitlines())) == (2, 1)
    assert not trace.exists()


# --- weights that fit, or do not ------------------------------------------------------------------


def test_weights_are_loaded_whole(tmp_path: Path) -> None:
    source, target = network(seed=1), network(seed=2)
    load_weights(target, load_checkpoint(save(source, tmp_path / "a.pth")))
    assert_identical(dict(target.state_dict()), dict(source.state_dict()))


@pytest.mark.parametrize("load", [load_weights, load_pretrained])
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"num_blocks": 2}, "lacks blocks"),
        ({"num_blocks": 0}, "blocks"),
        ({"num_residuals_per_block": 0}, "blocks"),
        ({"num_initial_features": 32}, "shape"),
        ({"add_IC": False}, "norm_layer"),
    ],
)
def test_weights_of_another_network_are_explained(
    load: Callable[..., None], arguments: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    config = {"arch": {"type": "ResMLP", "args": {**ARCH, "num_classes": 8}}}
    checkpoint = load_checkpoint(save(network(), tmp_path / "a.pth", config=config))
    target = network(**arguments)
    before = {name: weight.clone() for name, weight in target.state_dict().items()}
    with pytest.raises(CheckpointError, match=complaint) as caught:
        load(target, checkpoint)
    assert str(tmp_path / "a.pth") in str(caught.value)
    assert "'num_blocks': 1" in str(caught.value)  # what it was trained with
    assert_identical(dict(target.state_dict()), before)


def test_pretrained_weights_for_other_classes_keep_all_but_the_last_layer_and_say_so(
    tmp_path: Path, program_log: pytest.LogCaptureFixture
) -> None:
    source, target = network(101, seed=1), network(8, seed=2)
    fresh = {name: weight.clone() for name, weight in target.state_dict().items()}
    load_pretrained(target, load_checkpoint(save(source, tmp_path / "a.pth")))
    *kept, weight, bias = target.state_dict()
    for name in kept:
        assert torch.equal(target.state_dict()[name], source.state_dict()[name]), name
    for name in (weight, bias):
        assert torch.equal(target.state_dict()[name], fresh[name]), name
    (line,) = program_log.messages
    assert "101 classes" in line
    assert "8" in line
    assert "last layer" in line


def test_pretrained_weights_for_the_same_classes_are_taken_whole_and_in_silence(
    tmp_path: Path, program_log: pytest.LogCaptureFixture
) -> None:
    source, target = network(seed=1), network(seed=2)
    load_pretrained(target, load_checkpoint(save(source, tmp_path / "a.pth")))
    assert_identical(dict(target.state_dict()), dict(source.state_dict()))
    assert program_log.messages == []


@pytest.mark.parametrize("load", [load_weights, load_pretrained])
@pytest.mark.parametrize("damage", ["weight", "bias", "number"])
def test_a_last_layer_that_is_not_whole_is_explained(
    load: Callable[..., None], damage: str, tmp_path: Path
) -> None:
    source = network(101)
    weights: dict[str, Any] = dict(source.state_dict())
    *_, weight, bias = weights
    if damage == "number":
        weights[weight] = 3
    else:
        del weights[weight if damage == "weight" else bias]
    save_checkpoint({"state_dict": weights}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"a\.pth (does not fit|is damaged)"):
        load(network(8), load_checkpoint(tmp_path / "a.pth"))


@pytest.mark.parametrize("form", ["ours", "exported", "original"])
def test_a_training_starts_from_the_checkpoint_of_its_config(
    form: str,
    small_config: MakeConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At a rate that is 0 in float32, without batch norm, the weights stay as loaded."""
    still = {
        **TINY,
        "arch.args.add_IC": False,
        "optimizer.args.lr": 1e-300,
        "optimizer.args.weight_decay": 0.0,
        "lr_scheduler": None,
        "trainer.epochs": 1,
    }
    first = train(small_config(**still))
    path = first.fitted.best_path
    expected = read(path)["state_dict"]
    if form == "exported":
        export_model(path, tmp_path / "age.pth")
        path = tmp_path / "age.pth"
    if form == "original":
        path = save_as_original(read(path), tmp_path / "age.pth", monkeypatch)
    run = train(small_config(**{**still, "checkpoint": str(path), "seed": 7}))
    assert_identical(dict(read(run.fitted.best_path)["state_dict"]), dict(expected))


def test_a_training_for_8_classes_starts_from_a_checkpoint_for_101(
    small_config: MakeConfig, program_log: pytest.LogCaptureFixture
) -> None:
    path = train(small_config(**TINY)).fitted.best_path
    eight = {
        "arch.args.num_classes": 8,
        "data_loader.args.num_classes": 8,
        "metrics": ["accuracy"],
        "checkpoint": str(path),
    }
    run = train(small_config(**{**TINY, **eight, "trainer.verbosity": 1}))
    assert f"Weights from {path}" in program_log.messages
    assert read(run.fitted.best_path)["state_dict"]["blocks.1.bias"].shape == (8,)
    assert any(
        "all weights but the last layer's are taken" in line for line in program_log.messages
    )


def test_a_checkpoint_of_the_original_cannot_be_resumed_and_the_key_to_use_is_named(
    small_config: MakeConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run_script: RunScript,
) -> None:
    run = train(small_config(**TINY))
    path = save_as_original(read(run.fitted.best_path), tmp_path / "age.pth", monkeypatch)
    outcome = run_script("train.py", "-r", path)
    assert outcome.code == 2
    assert "original" in outcome.err
    assert f"-o checkpoint={path}" in outcome.err
    assert len(outcome.err.splitlines()) == 1


def test_a_checkpoint_of_the_original_is_evaluated_as_ours_is(
    small_config: MakeConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run_script: RunScript,
) -> None:
    run = train(small_config(**TINY))
    path = save_as_original(read(run.fitted.best_path), tmp_path / "age.pth", monkeypatch)
    outcome = run_script("test.py", "-r", path, "--split", "val")
    assert (outcome.code, outcome.err) == (0, "")
    (results,) = (tmp_path / "saved").glob("*_test-results.json")
    assert json.loads(results.read_text())["loss"] == run.fitted.best_log["val_loss"]
