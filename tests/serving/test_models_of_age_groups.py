"""Models of age in groups of years: served, exported and put together."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnxruntime import InferenceSession
from serving_helpers import config_of, network, save_groups_model, save_model, vectors

from serving.loading import load_predictor
from serving.models import load_pair
from utils.checkpoint import save_checkpoint
from utils.errors import CheckpointError
from utils.scripts import export_model, make_ensemble

CPU = torch.device("cpu")
GROUPS = [[0, 2], [3, 9], [10, 19], [20, 69], [70, 90]]
CENTRES = [1, 6, 14.5, 44.5, 80]


@pytest.fixture
def gender(tmp_path: Path) -> Path:
    return save_model(tmp_path / "gender.pth", 2)


def expected_ages(rows: Any, num_groups: int = 5, seed: int = 0) -> Any:
    with torch.no_grad():
        shares = network(num_groups, seed)(torch.from_numpy(rows)).softmax(1).numpy()
    return shares @ np.array(CENTRES)


@pytest.mark.parametrize("name", ["age.pth", "exported.pth", "age.safetensors"])
def test_the_age_is_the_expectation_over_the_centres_of_the_groups(
    name: str, tmp_path: Path, gender: Path
) -> None:
    path = save_groups_model(tmp_path / "age.pth", GROUPS)
    if name != "age.pth":
        export_model(path, tmp_path / name)
    rows = vectors(7)
    with load_predictor(tmp_path / name, gender) as predictor:
        found = predictor.engine.predict(rows).ages
        described = predictor.engine.pair.describe()
    np.testing.assert_allclose(found, expected_ages(rows), rtol=1e-5)
    assert described["age"]["age_groups"] == GROUPS
    assert described["gender"]["age_groups"] is None


def test_health_names_the_groups_of_adience_and_none_for_single_years(
    tmp_path: Path, gender: Path
) -> None:
    for num_classes, first in ((8, [0, 2]), (101, None)):
        age = save_model(tmp_path / "age.pth", num_classes)
        groups = load_pair(age, gender, CPU, torch.float32).age.describe()["age_groups"]
        assert (groups and groups[0]) == first


@pytest.mark.parametrize("num_groups", [2, 8, 101])
def test_groups_count_whatever_their_number(num_groups: int, tmp_path: Path, gender: Path) -> None:
    groups = [[year, year] for year in range(10, 10 + num_groups)]
    age = save_groups_model(tmp_path / "age.pth", groups)
    pair = load_pair(age, gender, CPU, torch.float32)
    assert pair.years.tolist() == list(range(10, 10 + num_groups))


def test_an_onnx_model_of_groups_says_the_same(tmp_path: Path) -> None:
    path = save_groups_model(tmp_path / "age.pth", GROUPS)
    export_model(path, tmp_path / "age.onnx")
    rows = vectors(5)
    session = InferenceSession(tmp_path / "age.onnx", providers=["CPUExecutionProvider"])
    (ages,) = session.run(["age"], {"embeddings": rows})
    np.testing.assert_allclose(ages, expected_ages(rows), rtol=1e-5)
    entries = onnx.load(tmp_path / "age.onnx").metadata_props
    told = {entry.key: json.loads(entry.value) for entry in entries}
    assert (told["classes"], told["class_bounds"]) == (CENTRES, GROUPS)


def test_two_groups_of_ages_are_no_genders(tmp_path: Path, gender: Path) -> None:
    age = save_groups_model(tmp_path / "age.pth", [[0, 17], [18, 100]])
    with pytest.raises(CheckpointError, match="2 classes of ages, a model for gender has 2"):
        load_pair(age, age, CPU, torch.float32)
    export_model(age, tmp_path / "age.onnx")
    answers = InferenceSession(tmp_path / "age.onnx", providers=["CPUExecutionProvider"])
    assert "age" in [output.name for output in answers.get_outputs()]
    with pytest.raises(CheckpointError, match="different classes"):
        make_ensemble([age, gender], tmp_path / "all.pth")


def test_an_ensemble_is_of_the_same_groups(tmp_path: Path, gender: Path) -> None:
    one, same = (save_groups_model(tmp_path / f"{n}.pth", GROUPS, n) for n in (1, 2))
    make_ensemble([one, same], tmp_path / "all.pth")
    pair = load_pair(tmp_path / "all.pth", gender, CPU, torch.float32)
    assert (len(pair.age.nets), pair.years.tolist()) == (2, CENTRES)
    other = save_groups_model(tmp_path / "3.pth", [*GROUPS[:4], [70, 100]], 3)
    with pytest.raises(CheckpointError, match=r"different classes: .*\(70, 90\).* and .*100"):
        make_ensemble([one, other], tmp_path / "mixed.pth")


def test_an_ensemble_that_was_put_together_elsewhere_is_of_the_same_groups(
    tmp_path: Path, gender: Path
) -> None:
    paths = [
        save_groups_model(tmp_path / "1.pth", GROUPS),
        save_groups_model(tmp_path / "2.pth", [*GROUPS[:4], [70, 100]]),
    ]
    members = [torch.load(path, weights_only=True) for path in paths]
    save_checkpoint({"members": members}, tmp_path / "all.pth")
    with pytest.raises(CheckpointError, match="its models have different classes"):
        load_pair(tmp_path / "all.pth", gender, CPU, torch.float32)


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ([[0, 2], [1, 9], [10, 19], [20, 69], [70, 90]], "does not begin after"),
        (GROUPS[:4], "4 groups of ages for 5 classes"),
        ("many", "'many', expected two or more groups"),
        ([[0, float("nan")]] * 5, "is no group"),
    ],
)
@pytest.mark.parametrize("is_beside", [False, True])
def test_damaged_groups_are_refused_in_one_line(
    groups: Any, words: str, is_beside: bool, tmp_path: Path, gender: Path
) -> None:
    config = {**config_of(5), "data_loader": {"args": {"classes": groups}}}
    path = save_model(tmp_path / "age.pth", 5, config=config)
    if is_beside:
        torch.save(network(5).state_dict(), path)
        path.with_suffix(".json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=words) as refusal:
        load_pair(path, gender, CPU, torch.float32)
    assert "\n" not in str(refusal.value)
    assert "age.pth" in str(refusal.value)
