"""How sure a model is stays with it in every format, and is never made up for an ensemble."""

import json
import re
from pathlib import Path
from typing import Any

import onnx
import pytest
from helpers import ROOT
from serving_helpers import save_model
from simulated_people import fitted_age, fitted_gender, simulated_ages

from serving.checkpoints import confidence_of, load_known_members
from utils.checkpoint import load_checkpoint
from utils.errors import CheckpointError
from utils.scripts import export_model, make_ensemble

AGE, GENDER = fitted_age(), fitted_gender()


def age_model(path: Path, seed: int = 0, **others: Any) -> Path:
    return save_model(path, 101, seed, **{"confidence": AGE.to_plain(), **others})


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(("num_classes", "confidence"), [(101, AGE), (2, GENDER)])
def test_an_exported_model_is_as_sure_as_the_checkpoint(
    suffix: str, num_classes: int, confidence: Any, tmp_path: Path
) -> None:
    given = save_model(tmp_path / "in.pth", num_classes, confidence=confidence.to_plain())
    export_model(given, tmp_path / f"out{suffix}")
    assert confidence_of(load_checkpoint(tmp_path / f"out{suffix}")) == confidence


def test_a_model_without_it_has_none_after_export(tmp_path: Path) -> None:
    given = save_model(tmp_path / "in.pth", 101)
    for name in ("out.pth", "out.safetensors"):
        export_model(given, tmp_path / name)
        assert confidence_of(load_checkpoint(tmp_path / name)) is None
    export_model(given, tmp_path / "out.onnx")
    assert "confidence" not in metadata(tmp_path / "out.onnx")


def metadata(path: Path) -> dict[str, Any]:
    return {entry.key: json.loads(entry.value) for entry in onnx.load(path).metadata_props}


def test_a_program_without_this_project_makes_the_same_of_the_metadata(tmp_path: Path) -> None:
    """The code that docs/confidence.md shows, run on one face after the other."""
    export_model(age_model(tmp_path / "in.pth"), tmp_path / "out.onnx")
    told = metadata(tmp_path / "out.onnx")["confidence"]
    assert told == AGE.to_plain()
    text = (ROOT / "docs" / "confidence.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    faces = simulated_ages(30, 5)
    assert faces.genders is not None
    for level in (0.5, 0.9, 0.955):
        intervals = AGE.intervals(faces.probabilities, faces.genders, level)
        over = AGE.over(faces.probabilities, [18])[:, 0]
        for row, p in enumerate(faces.probabilities.astype(float).tolist()):
            given = {"p": p, "gender": int(faces.genders[row]), "level": level, "t": 18}
            names: dict[str, Any] = {**told, **given}
            exec(shown, names)  # noqa: S102 - our own page
            assert list(names["interval"]) == intervals[row].tolist()
            assert names["over_t"] == pytest.approx(over[row])


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_an_ensemble_does_not_take_over_what_its_members_claim(suffix: str, tmp_path: Path) -> None:
    given = [age_model(tmp_path / f"{seed}.pth", seed) for seed in (1, 2)]
    out = tmp_path / f"out{suffix}"
    make_ensemble(given, out)
    assert [confidence_of(member) for member in load_known_members(out)] == [None, None]


def test_an_ensemble_of_one_model_is_that_model(tmp_path: Path) -> None:
    make_ensemble([age_model(tmp_path / "a.pth")], tmp_path / "out.pth")
    (member,) = load_known_members(tmp_path / "out.pth")
    assert confidence_of(member) == AGE


@pytest.mark.parametrize(
    ("confidence", "said"),
    [
        (GENDER.to_plain(), "confidence.kind: 'gender', expected \"age\""),
        (
            {**AGE.to_plain(), "bounds": AGE.bounds[1:]},
            "its confidence is for other classes than its network",
        ),
        ({**AGE.to_plain(), "num_people": -1}, "confidence.num_people: -1, expected 1 or more"),
        ({"radii": ["x" * 10**6]}, "letters, at most"),
        (7, "confidence: 7, expected an object or null"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(confidence: Any, said: str, tmp_path: Path) -> None:
    given = age_model(tmp_path / "in.pth", confidence=confidence)
    with pytest.raises(CheckpointError) as caught:
        export_model(given, tmp_path / "out.pth")
    assert str(given) in str(caught.value)
    assert said in str(caught.value)
    assert not (tmp_path / "out.pth").exists()
