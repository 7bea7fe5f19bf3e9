"""How sure a trained network is, in the checkpoint of its best epoch."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import MakeConfig, make_faces, save_faces
from helpers import (
    TINY,
    Config,
    Run,
    assert_identical,
    by_subject,
    read,
    run_dirs,
    signal_at,
    train,
)

from confidence.age import AgeConfidence
from confidence.gender import GenderConfidence
from confidence.rows import JudgedRows
from cross_val.stacked_engine import train_stacks
from model.model import ResMLP
from trainer.data import read_inputs
from trainer.fit import FitResult
from utils.checkpoint import load_checkpoint
from utils.cli import Interrupted
from utils.config import ConfigParser
from utils.labels import class_bounds


def for_gender(config: Config) -> Config:
    config["data_loader"]["type"] = "GenderDataLoader"
    config["metrics"] = ["accuracy"]
    for section in ("data_loader", "arch"):
        config[section]["args"]["num_classes"] = 2
    return config


def stored(run: Run) -> dict[str, Any]:
    content: dict[str, Any] = read(run.fitted.best_path)["confidence"]
    return content


def judged_by_hand(fitted: FitResult) -> JudgedRows:
    """Judge the rows validated on by the weights in the file, with nothing of the trainer."""
    content = read(fitted.best_path)
    net = ResMLP(**content["config"]["arch"]["args"])
    net.load_state_dict(content["state_dict"])
    valid, source = fitted.setup.valid_loader, getattr(fitted.setup.train_loader, "source", None)
    assert valid is not None
    assert source is not None
    with torch.no_grad():
        logits = net.eval()(torch.from_numpy(source.faces.embedding[valid.rows]))
    labels = torch.cat([labels for _, labels in valid]).numpy()
    people = source.faces.subject[valid.rows]
    genders = (source.faces.gender[valid.rows] == "f").astype(np.int64)
    det_scores = source.faces.det_score[valid.rows]
    return JudgedRows(logits.softmax(1).numpy(), labels, people, genders, det_scores)


def test_the_intervals_of_a_training_are_those_of_its_best_epoch_on_other_people(
    small_config: MakeConfig,
) -> None:
    """The best epoch is the first, so that the network at the end is another one."""
    run = train(by_subject(small_config, **{"trainer.monitor": "max val_loss"}))
    assert run.fitted.best_log["epoch"] == 1
    rows = judged_by_hand(run.fitted)
    assert rows.num_people == 30
    assert stored(run) == AgeConfidence.fit(rows, class_bounds(101)).to_plain()


def test_the_checkpoint_knows_how_sure_the_detector_was_of_these_faces(
    small_config: MakeConfig,
) -> None:
    run = train(by_subject(small_config))
    scores = judged_by_hand(run.fitted).det_scores
    assert scores is not None
    assert stored(run)["lowest_det_score"] == sorted(scores.tolist())[len(scores) // 100]


def test_a_gender_model_has_sets(small_config: MakeConfig) -> None:
    run = train(for_gender(by_subject(small_config)))
    assert stored(run) == GenderConfidence.fit(judged_by_hand(run.fitted)).to_plain()


def test_nothing_is_kept_of_faces_or_people(small_config: MakeConfig) -> None:
    """Numbers alone; the names of subjects are strings."""

    def leaves(value: Any) -> list[Any]:
        if isinstance(value, dict | list):
            inner = value.values() if isinstance(value, dict) else value
            return [leaf for one in inner for leaf in leaves(one)]
        return [value]

    plain = stored(train(by_subject(small_config)))
    assert {leaf for leaf in leaves(plain) if isinstance(leaf, str)} == {"age"}


def test_the_same_training_gives_the_same_bits(small_config: MakeConfig) -> None:
    one, other = (stored(train(by_subject(small_config))) for _ in range(2))
    assert_identical(one, other)


def test_a_resumed_training_gives_the_same_bits(
    small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = by_subject(small_config, **{"trainer.epochs": 3})
    whole = train(config)
    with monkeypatch.context() as patch:
        signal_at(patch, 4)
        with pytest.raises(Interrupted):
            train(config)
    path = run_dirs(config)[-1] / "checkpoint-interrupted.pth"
    assert "confidence" not in read(path)
    assert_identical(stored(train(config, path)), stored(whole))


def test_a_run_killed_at_its_end_gets_it_when_it_is_resumed(
    small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = by_subject(small_config, **{"trainer.save_period": 1})
    with monkeypatch.context() as patch:
        patch.setattr(AgeConfidence, "fit", kill)
        with pytest.raises(KeyboardInterrupt):
            train(config)
    (folder,) = run_dirs(config)
    assert "confidence" not in read(folder / "model_best.pth")
    assert stored(train(config, folder / "checkpoint-epoch2.pth"))["num_people"] == 30


def kill(*_: Any) -> None:
    raise KeyboardInterrupt


def test_runs_of_a_stack_have_it_too(cross_val_config: Config) -> None:
    config = ConfigParser(cross_val_config)
    inputs = read_inputs(config, whole=True)
    runs = [(0, 0), (1, 0)]
    for _, outcome in train_stacks(config, runs, inputs, lambda *_: None):
        assert not isinstance(outcome, Exception)
        content = load_checkpoint(outcome.best_path).content
        confidence = AgeConfidence.from_checkpoint(content)
        assert confidence is not None
        assert len(confidence.bounds) == 8


def messages(log: pytest.LogCaptureFixture) -> list[str]:
    lines = [record.getMessage() for record in log.records if record.levelno == logging.INFO]
    return [line for line in lines if "ntervals" in line]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"data_loader.args.validation_by": "image"}, "validation split by image may hold"),
        ({"data_loader.args.validation_split": 0}, "there are no validation rows"),
        (
            {"data_loader.args.dataset": "wiki", "data_loader.args.validation_by": "auto"},
            "validation split by image may hold",
        ),
    ],
)
def test_nothing_is_promised_where_people_may_be_known(
    overrides: Config,
    said: str,
    small_config: MakeConfig,
    program_log: pytest.LogCaptureFixture,
) -> None:
    run = train(by_subject(small_config, **overrides))
    assert "confidence" not in read(run.fitted.best_path)
    (line,) = messages(program_log)
    assert line.startswith("No intervals: ")
    assert said in line


def test_images_of_nobody_known_do_not_count(
    small_config: MakeConfig, tmp_path: Path, program_log: pytest.LogCaptureFixture
) -> None:
    faces = make_faces(300, 60, 1, is_adience=True)
    faces["subject"][faces["subject"] > "00000029"] = ""
    save_faces(faces, tmp_path / "Adience" / "data-aligned.npy")
    run = train(by_subject(small_config, **{"data_loader.args.data_dir": str(tmp_path)}))
    rows = judged_by_hand(run.fitted)
    is_known = rows.people != ""
    assert 0 < is_known.sum() < len(is_known)
    assert stored(run)["num_faces"] == is_known.sum()
    expected = f"fitted to {rows.part(is_known).num_people} people who are not trained on"
    assert expected in messages(program_log)[0]


def test_few_people_are_said_to_be_too_few(
    small_config: MakeConfig, program_log: pytest.LogCaptureFixture
) -> None:
    """Sixty people in all, of whom six or twelve are validated on."""
    for share, is_few in ((0.1, True), (0.2, False)):
        run = train(by_subject(small_config, **{"data_loader.args.validation_split": share}))
        assert (messages(program_log)[-1].endswith("too few for 90 %, which needs 9")) == is_few
        assert (stored(run)["radii"][40] is None) == is_few


def test_weights_that_may_know_the_people_promise_nothing(
    small_config: MakeConfig, program_log: pytest.LogCaptureFixture
) -> None:
    first = train(by_subject(small_config))
    config = by_subject(small_config, checkpoint=str(first.fitted.best_path))
    assert "confidence" not in read(train(config).fitted.best_path)
    assert "may be trained on the people validated on" in messages(program_log)[-1]


def test_weights_of_another_data_set_do_not_know_the_people(small_config: MakeConfig) -> None:
    wiki = {"data_loader.args.dataset": "wiki", "data_loader.args.validation_by": "image"}
    first = train(by_subject(small_config, **wiki))
    config = by_subject(small_config, checkpoint=str(first.fitted.best_path))
    assert stored(train(config))["num_people"] == 30
    again = {**wiki, "checkpoint": str(first.fitted.best_path)}
    second = train(by_subject(small_config, **again))
    config = by_subject(small_config, checkpoint=str(second.fitted.best_path))
    assert "confidence" not in read(train(config).fitted.best_path)


def test_a_training_that_goes_on_with_another_split_promises_nothing(
    small_config: MakeConfig, program_log: pytest.LogCaptureFixture
) -> None:
    config = by_subject(small_config, **{"trainer.save_period": 1})
    first = train(config)
    path = first.save_dir / "checkpoint-epoch1.pth"
    again = train({**config, "seed": 43}, path)
    assert "confidence" not in read(again.fitted.best_path)
    assert "may have been trained on before" in messages(program_log)[-1]


def test_the_shipped_config_validates_on_other_people_where_they_are_known(
    small_config: MakeConfig,
) -> None:
    run = train(small_config(**{**TINY, "data_loader.args.dataset": "Adience"}))
    assert stored(run)["num_people"] == 6
    assert run.fitted.setup.train_loader.split.by == "subject"


def test_nor_does_one_that_goes_on_after_that_with_no_change(small_config: MakeConfig) -> None:
    """What the first part was trained on stands in no config any more."""
    config = by_subject(small_config, **{"trainer.save_period": 1, "trainer.epochs": 3})
    first = train(config)
    changed = {**config, "seed": 43}
    second = train(changed, first.save_dir / "checkpoint-epoch1.pth")
    third = train(changed, second.save_dir / "checkpoint-epoch2.pth")
    assert "confidence" not in read(third.fitted.best_path)
    started = train({**config, "checkpoint": str(third.fitted.best_path)})
    assert "confidence" not in read(started.fitted.best_path)


@pytest.mark.parametrize("dataset", ["Adience", "wiki"])
def test_one_that_goes_on_promises_what_its_start_allows(
    dataset: str, small_config: MakeConfig, program_log: pytest.LogCaptureFixture
) -> None:
    of_start = {"data_loader.args.dataset": dataset, "data_loader.args.validation_by": "image"}
    start = train(by_subject(small_config, **of_start)).fitted.best_path
    config = by_subject(small_config, checkpoint=str(start), **{"trainer.save_period": 1})
    first = train(config)
    path = first.save_dir / "checkpoint-epoch1.pth"
    again = read(train(config, path).fitted.best_path)
    assert again.get("confidence") == read(first.fitted.best_path).get("confidence")
    assert ("confidence" in again) == (dataset == "wiki")
    start.unlink()
    assert "confidence" not in read(train(config, path).fitted.best_path)
    assert "may be trained on the people validated on" in messages(program_log)[-1]
