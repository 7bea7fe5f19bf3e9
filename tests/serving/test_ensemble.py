"""Several models in one file, from their checkpoints to the server's answer."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from serving_helpers import (
    BINARY,
    network,
    post,
    save_model,
    serving,
    statistics_of,
    vectors,
)

from model.mc_dropout import SampledNet
from utils.checkpoint import load_checkpoint, load_members
from utils.errors import CheckpointError, ConfigError
from utils.scripts import make_ensemble

SEEDS = (11, 12, 13)


def checkpoints(folder: Path, num_classes: int = 101, **others: Any) -> list[Path]:
    return [save_model(folder / f"{seed}.pth", num_classes, seed, **others) for seed in SEEDS]


def mean_of_members(num_classes: int, faces: Any) -> torch.Tensor:
    x = torch.from_numpy(faces.copy())
    with torch.no_grad():
        return torch.stack([network(num_classes, seed)(x).softmax(1) for seed in SEEDS]).mean(0)


def test_the_server_answers_with_the_mean_of_the_members(tmp_path: Path) -> None:
    ensemble = tmp_path / "ages.pth"
    assert make_ensemble(checkpoints(tmp_path), ensemble) == 3
    faces = vectors(5)
    with serving(tmp_path, age_model=ensemble) as server:
        answer = post(server, faces.tobytes(), BINARY).get_json()
    years = torch.arange(101.0)
    expected = mean_of_members(101, faces) @ years
    np.testing.assert_allclose(answer["ages"], expected, atol=1e-3)
    assert [list(face["mutual_information"]) for face in answer["uncertainty"]] == [["age"]] * 5
    assert all(face["mutual_information"]["age"] > 0 for face in answer["uncertainty"])


def test_members_share_the_passes_with_dropout(tmp_path: Path) -> None:
    ensemble = tmp_path / "genders.pth"
    make_ensemble(checkpoints(tmp_path, 2), ensemble)
    faces = vectors(2)
    with serving(tmp_path, gender_model=ensemble, max_mc_samples=30_000) as server:
        answer = post(server, faces.tobytes(), BINARY, "?mc_samples=9000").get_json()
        plain = post(server, faces.tobytes(), BINARY).get_json()
    assert [list(face["mutual_information"]) for face in answer["uncertainty"]] == [["gender"]] * 2
    for sampled, of_one_pass in zip(answer["genders"], plain["genders"], strict=True):
        assert sampled["m"] == pytest.approx(of_one_pass["m"], abs=0.1)


def test_a_model_beside_an_ensemble_gets_all_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_ensemble(checkpoints(tmp_path, 2), tmp_path / "genders.pth")
    num_run: Counter[int] = Counter()
    original = SampledNet.passes

    def passes(net: SampledNet, start: Any, num_passes: int) -> torch.Tensor:
        num_run[net.num_classes] += num_passes
        return original(net, start, num_passes)

    monkeypatch.setattr(SampledNet, "passes", passes)
    with serving(tmp_path, gender_model=tmp_path / "genders.pth") as server:
        post(server, vectors(2).tobytes(), BINARY, "?mc_samples=10")
    assert num_run == {101: 10, 2: 3 * 4}


def test_the_results_of_a_cross_validation_stand_for_all_its_models(tmp_path: Path) -> None:
    first, second, third = checkpoints(tmp_path)
    results = {"checkpoints": {"0": {"0": str(first), "1": str(second)}, "1": {"0": str(third)}}}
    path = tmp_path / "results.json"
    path.write_text(json.dumps(results))
    assert make_ensemble(path, tmp_path / "all.pth") == 3


def test_an_ensemble_keeps_the_statistics_of_the_embeddings(tmp_path: Path) -> None:
    make_ensemble(checkpoints(tmp_path, embeddings=statistics_of(1)), tmp_path / "all.pth")
    for member in load_members(tmp_path / "all.pth"):
        assert member.content["embeddings"]["num_rows"] == statistics_of(1)["num_rows"]


def test_an_ensemble_opens_without_this_repository_and_can_be_taken_apart(tmp_path: Path) -> None:
    make_ensemble(checkpoints(tmp_path), tmp_path / "all.pth")
    content = torch.load(tmp_path / "all.pth", weights_only=True)
    assert len(content["members"]) == 3
    make_ensemble([tmp_path / "all.pth", tmp_path / "11.pth"], tmp_path / "more.pth")
    assert len(load_members(tmp_path / "more.pth")) == 4


def test_programs_that_take_one_model_say_so(tmp_path: Path) -> None:
    make_ensemble(checkpoints(tmp_path), tmp_path / "all.pth")
    with pytest.raises(CheckpointError, match="is an ensemble"):
        load_checkpoint(tmp_path / "all.pth")


@pytest.mark.parametrize(
    ("others", "reason"),
    [
        ({"num_classes": 8}, "different classes: 101 and 8"),
        ({"num_classes": 101, "extractor": {"imdb": {"model": "b"}}}, "different networks"),
    ],
)
def test_models_that_do_not_go_together_are_refused(
    tmp_path: Path, others: dict[str, Any], reason: str
) -> None:
    one = save_model(tmp_path / "one.pth", 101, extractor={"imdb": {"model": "a"}})
    other = save_model(tmp_path / "other.pth", **others)
    with pytest.raises(CheckpointError, match=reason):
        make_ensemble([one, other], tmp_path / "all.pth")
    assert not (tmp_path / "all.pth").exists()


@pytest.mark.parametrize("content", ['{"stats": {}}', '{"checkpoints": {}}'])
def test_a_file_that_names_no_checkpoints_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(content)
    with pytest.raises(CheckpointError, match="names no checkpoints"):
        make_ensemble(path, tmp_path / "all.pth")


@pytest.mark.parametrize(
    "content",
    [
        *("[]", "null", '{"checkpoints": 3}', '{"checkpoints": {"0": "a.pth"}}'),
        *('{"checkpoints": {"0": {"0": 3}}}', '{"checkpoints": {"0": {"0": "a\\u0000"}}}'),
        "[" * 100_000,
    ],
)
def test_results_of_another_form_are_refused_in_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        make_ensemble(path, tmp_path / "all.pth")
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("members", [[], [3], "x", [{}]])
def test_a_damaged_ensemble_is_refused(tmp_path: Path, members: Any) -> None:
    torch.save({"members": members}, tmp_path / "all.pth")
    with pytest.raises(CheckpointError, match=r"all\.pth"):
        load_members(tmp_path / "all.pth")
