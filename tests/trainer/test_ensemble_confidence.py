"""How sure an ensemble is, fitted to people by the models that do not know them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import MakeConfig
from helpers import Config, by_subject, read, train

from confidence.age import AgeConfidence
from confidence.rows import JudgedRows
from data_loader.faces import read_faces
from model.model import ResMLP
from serving.checkpoints import confidence_of, load_known_members
from trainer.fit import FitResult
from utils.errors import CheckpointError, DataError
from utils.labels import ages_to_classes, class_bounds
from utils.scripts import export_model, make_ensemble


def fitted(small_config: MakeConfig, **overrides: Any) -> FitResult:
    changes = {"data_loader.args.validation_split": 0.3, "trainer.epochs": 1, **overrides}
    return train(by_subject(small_config, **changes)).fitted


def probabilities_of(path: Path, embeddings: np.ndarray) -> np.ndarray:
    content = read(path)
    net = ResMLP(**content["config"]["arch"]["args"])
    net.load_state_dict(content["state_dict"])
    with torch.no_grad():
        return np.asarray(net.eval()(torch.from_numpy(embeddings)).softmax(1))


def by_hand(members: Sequence[FitResult], data_dir: Path) -> AgeConfidence:
    """Judge one face after the other by the models that were not trained on its person."""
    faces = read_faces(data_dir, "Adience")
    said = [probabilities_of(one.best_path, faces.embedding) for one in members]
    known = []
    for one in members:
        loader: Any = one.setup.train_loader
        known.append(set(loader.source.faces.subject[loader.dataset.face_indices(loader.rows)]))
    rows, means = [], []
    for row, subject in enumerate(faces.subject):
        new_to = [k for k in range(len(members)) if subject not in known[k]]
        if new_to:
            rows.append(row)
            means.append(np.mean([said[k][row] for k in new_to], axis=0))
    genders = (faces.gender[rows] == "f").astype(np.int64)
    labels = ages_to_classes(faces.age[rows], 101)
    judged = JudgedRows(np.array(means), labels, faces.subject[rows], genders)
    return AgeConfidence.fit(judged, class_bounds(101))


def test_people_are_judged_by_the_models_that_do_not_know_them(
    small_config: MakeConfig, data_dir: Path, tmp_path: Path
) -> None:
    members = [fitted(small_config, seed=seed) for seed in (1, 2, 3)]
    out = tmp_path / "age.pth"
    assert make_ensemble([one.best_path for one in members], out, data_dir) == 3
    confidence = confidence_of(load_known_members(out)[0])
    expected = by_hand(members, data_dir)
    assert isinstance(confidence, AgeConfidence)
    assert confidence.num_people == expected.num_people > 30
    assert confidence.radii == pytest.approx(expected.radii, abs=1e-6)


def test_models_of_other_folds_judge_the_people_of_each(
    small_config: MakeConfig, data_dir: Path, tmp_path: Path
) -> None:
    """Although validation by image leaves nobody new but in the fold held out."""
    image = {"data_loader.args.validation_by": "image", "data_loader.args.validation_split": 0.05}
    fold = "data_loader.args.test_cross_val"
    paths = [fitted(small_config, **image, **{fold: number}).best_path for number in (0, 3)]
    make_ensemble(paths, tmp_path / "age.safetensors", data_dir)
    confidence = confidence_of(load_known_members(tmp_path / "age.safetensors")[0])
    assert confidence is not None
    assert confidence.num_people == 24


def test_without_the_data_nothing_is_promised(small_config: MakeConfig, tmp_path: Path) -> None:
    paths = [fitted(small_config, seed=seed).best_path for seed in (1, 2)]
    make_ensemble(paths, tmp_path / "age.pth")
    assert read(tmp_path / "age.pth").get("confidence") is None


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            {"data_loader.args.validation_by": "image", "data_loader.args.validation_split": 0.02},
            "was trained on by all models",
        ),
        (
            {"data_loader.args.dataset": "wiki", "data_loader.args.validation_by": "image"},
            "nothing can be promised",
        ),
    ],
)
def test_what_cannot_be_known_is_refused_and_nothing_is_written(
    overrides: Config, said: str, small_config: MakeConfig, data_dir: Path, tmp_path: Path
) -> None:
    first = {} if "wiki" in overrides.values() else overrides
    paths = [
        fitted(small_config, **first).best_path,
        fitted(small_config, seed=2, **overrides).best_path,
    ]
    with pytest.raises(CheckpointError, match=said):
        make_ensemble(paths, tmp_path / "age.pth", data_dir)
    assert not (tmp_path / "age.pth").exists()


def test_weights_that_started_elsewhere_promise_nothing(
    small_config: MakeConfig, data_dir: Path, tmp_path: Path
) -> None:
    first = fitted(small_config).best_path
    second = fitted(small_config, checkpoint=str(first)).best_path
    with pytest.raises(CheckpointError, match="which may know anybody"):
        make_ensemble([first, second], tmp_path / "age.pth", data_dir)


def test_missing_data_are_named(small_config: MakeConfig, tmp_path: Path) -> None:
    path = fitted(small_config).best_path
    with pytest.raises(DataError, match="no such data file"):
        make_ensemble(path, tmp_path / "age.pth", tmp_path / "nowhere")


def test_a_model_that_went_on_with_other_data_promises_nothing(
    small_config: MakeConfig, data_dir: Path, tmp_path: Path
) -> None:
    """Nor does it where it was exported."""
    first = fitted(small_config, **{"trainer.save_period": 1}).best_path
    config = read(first)["config"]
    config["trainer"]["epochs"] = 2
    second = train({**config, "seed": 43}, first.with_name("checkpoint-epoch1.pth")).fitted
    export_model(second.best_path, tmp_path / "one.safetensors")
    make_ensemble(tmp_path / "one.safetensors", tmp_path / "two.pth")
    for path in (second.best_path, tmp_path / "one.safetensors", tmp_path / "two.pth"):
        with pytest.raises(CheckpointError, match="other data than it began with"):
            make_ensemble(path, tmp_path / "age.pth", data_dir)
