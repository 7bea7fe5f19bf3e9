import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import save_as_original
from networks import embed
from processors import ALL, Processor
from serving_helpers import (
    config_of,
    network,
    save_model,
    save_original,
    statistics_of,
    vectors,
)

from serving.models import choose_mc_dtype, choose_served_device, load_model, load_pair
from utils.checkpoint import save_checkpoint
from utils.errors import CheckpointError, ConfigError, UserError

CPU = torch.device("cpu")


def load(kind: str, path: Path) -> Any:
    return load_model(kind, path, CPU, torch.float32)


def assert_answers_as(net: torch.nn.Module, path: Path, kind: str = "age") -> None:
    x = torch.from_numpy(vectors(5))
    with torch.no_grad():
        expected = net.eval()(x).softmax(1)
    torch.testing.assert_close(load(kind, path).nets[0](x).softmax(1), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("kind", "num_classes"), [("age", 101), ("age", 8), ("gender", 2)])
def test_a_checkpoint_of_ours_is_served(kind: str, num_classes: int, tmp_path: Path) -> None:
    path = save_model(tmp_path / "m.pth", num_classes)
    assert_answers_as(network(num_classes), path, kind)
    model = load(kind, path)
    description = model.describe()
    assert (description["name"], description["num_classes"]) == ("m.pth", num_classes)
    assert re.fullmatch("[0-9a-f]{12}", description["version"])
    assert description["network_check"] is None
    assert json.dumps(description)


@pytest.mark.parametrize("arguments", [{}, {"num_residuals_per_block": 1}, {"add_IC": False}])
def test_a_file_that_the_original_published_is_served(
    arguments: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_original(tmp_path / "age.pth", 101, 3, monkeypatch, **arguments)
    assert_answers_as(network(101, 3, **arguments), path)


def test_a_file_of_the_original_of_july_2021_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = {"last_activation": None, "min_bound": None, "max_bound": None}
    config = config_of(2, num_blocks=0, **others)
    content = {
        "arch": "ResMLP",
        "epoch": 1,
        "optimizer": {},
        "monitor_best": 0.5,
        "config": config,
        "state_dict": network(2, 0, num_blocks=1).state_dict(),
    }
    path = save_as_original(content, tmp_path / "gender.pth", monkeypatch)
    assert_answers_as(network(2, 0, num_blocks=1), path, "gender")


def test_weights_alone_are_served_with_their_config_beside_them(tmp_path: Path) -> None:
    path = tmp_path / "age.pth"
    torch.save(network(101, 4).state_dict(), path)
    with pytest.raises(CheckpointError, match=r"age\.pth holds weights alone; .* as age\.json"):
        load("age", path)
    (tmp_path / "age.json").write_text(json.dumps(config_of(101)))
    assert_answers_as(network(101, 4), path)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "is not JSON"),
        ("[]", "expected a config, an object"),
        ("{}", "no arch of type ResMLP"),
        ('{"arch": {"type": "CNN", "args": {}}}', "no arch of type ResMLP"),
        ('{"arch": {"type": "ResMLP", "args": []}}', "no arch of type ResMLP"),
        ('{"arch": {"type": "ResMLP", "args": {"x": 1}}}', "arch.args of its config"),
        (json.dumps(config_of(101, dropout=2)), "dropout: 2, expected less than 1"),
        (json.dumps(config_of(101, dropout="x")), "arch.args of its config"),
        (json.dumps(config_of(101, num_blocks=1)), "does not fit the network"),
        (json.dumps(config_of(101, last_activation="tanh")), "last_activation"),
    ],
)
def test_a_config_beside_weights_that_does_not_fit_is_refused_in_one_line(
    text: str, complaint: str, tmp_path: Path
) -> None:
    torch.save(network(101).state_dict(), tmp_path / "age.pth")
    (tmp_path / "age.json").write_text(text)
    with pytest.raises(UserError, match=complaint) as refusal:
        load("age", tmp_path / "age.pth")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("kind", "num_classes", "expected"),
    [("age", 2, "8 or 101"), ("age", 100, "8 or 101"), ("gender", 101, "2"), ("gender", 3, "2")],
)
def test_a_model_of_another_number_of_classes_is_refused(
    kind: str, num_classes: int, expected: str, tmp_path: Path
) -> None:
    path = save_model(tmp_path / "m.pth", num_classes)
    pattern = f"{num_classes} classes, a model for {kind} has {expected}; are the two files mixed"
    with pytest.raises(CheckpointError, match=pattern):
        load(kind, path)


def test_files_that_are_mixed_up_are_noticed(tmp_path: Path) -> None:
    age, gender = save_model(tmp_path / "a.pth", 101), save_model(tmp_path / "g.pth", 2)
    with pytest.raises(CheckpointError, match=r"g\.pth: 2 classes.*mixed up"):
        load_pair(gender, age, CPU, torch.float32)


def test_a_network_for_other_vectors_is_refused(tmp_path: Path) -> None:
    content = {
        "config": config_of(2, num_initial_features=128),
        "state_dict": network(2, num_initial_features=128).state_dict(),
    }
    save_checkpoint(content, tmp_path / "g.pth")
    with pytest.raises(CheckpointError, match="takes 128 numbers a face, expected 512"):
        load("gender", tmp_path / "g.pth")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(value: float, tmp_path: Path) -> None:
    net = network(2)
    with torch.no_grad():
        next(net.parameters())[3] = value
    content = {"config": config_of(2), "state_dict": net.state_dict()}
    save_checkpoint(content, tmp_path / "g.pth")
    with pytest.raises(CheckpointError, match=r"g\.pth: holds weights that are no finite"):
        load("gender", tmp_path / "g.pth")


@pytest.mark.parametrize("kind", ["age", "gender"])
def test_a_model_that_is_missing_is_explained_in_one_line(kind: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as refusal:
        load(kind, tmp_path / "none.pth")
    text = str(refusal.value)
    assert "\n" not in text
    download = "get_models('original')"
    for word in (f"--{kind}-model", "train.py", "export_model", f"published {kind}.pth", download):
        assert word in text


def test_a_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no age model there"):
        load("age", tmp_path)


def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path) -> None:
    path = save_model(tmp_path / "age.pth", 101)
    content = path.read_bytes()
    for damaged in (b"", b"x", content[:1000], content[: len(content) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"age\.pth") as refusal:
            load("age", path)
        assert "\n" not in str(refusal.value)


def test_a_pair_tells_the_years_of_its_age_classes(tmp_path: Path) -> None:
    gender = save_model(tmp_path / "g.pth", 2)
    for num_classes, years in (
        (101, list(range(101))),
        (8, [1, 5, 10, 17.5, 28.5, 40.5, 50.5, 80]),
    ):
        age = save_model(tmp_path / "a.pth", num_classes)
        pair = load_pair(age, gender, CPU, torch.float32)
        assert pair.years.tolist() == years
        assert pair.is_in_distribution(vectors(2)) is None
        assert pair.age.version != pair.gender.version


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_served_device("auto") == choose_served_device("cpu") == CPU
    with pytest.raises(ConfigError, match="torch finds no GPU; take auto or cpu"):
        choose_served_device("cuda")


@pytest.mark.parametrize("processor", ALL, ids=str)
def test_passes_are_in_bfloat16_where_the_processor_multiplies_it(
    processor: Processor, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor.stand_in(monkeypatch)
    fast = torch.bfloat16 if processor.has_bfloat16 else torch.float32
    assert choose_mc_dtype("auto", CPU) is fast
    assert choose_mc_dtype("bfloat16", CPU) is torch.bfloat16
    assert choose_mc_dtype("float32", CPU) is torch.float32


def test_both_models_must_know_a_vector_and_one_check_is_enough_where_they_are_the_same(
    tmp_path: Path,
) -> None:
    age = save_model(tmp_path / "a.pth", 101, embeddings=statistics_of(0))
    rows = np.concatenate([embed(0, 20, seed=1), embed(1, 20, seed=1)])
    for gender_network, num_checks, num_known in ((None, 1, 20), (0, 1, 20), (1, 2, 0)):
        others: dict[str, Any] = (
            {} if gender_network is None else {"embeddings": statistics_of(gender_network)}
        )
        gender = save_model(tmp_path / "g.pth", 2, **others)
        pair = load_pair(age, gender, CPU, torch.float32)
        assert len(pair.detectors) == num_checks
        familiar = pair.is_in_distribution(rows)
        assert familiar is not None
        assert familiar.tolist() == [True] * num_known + [False] * (40 - num_known)


def test_damaged_statistics_are_refused(tmp_path: Path) -> None:
    path = save_model(tmp_path / "a.pth", 101, embeddings={"method": "another"})
    with pytest.raises(CheckpointError, match=r"a\.pth: .* damaged or of another version"):
        load("age", path)
