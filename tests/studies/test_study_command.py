import json
from pathlib import Path
from typing import Any

import pytest
from conftest import RunScript
from helpers import ROOT
from small_study import options, study_config, write_data

from studies.config import StudyConfig
from studies.protocols import TASKS, StudyPart, select
from trainer.check import check
from utils.config import ConfigParser
from utils.errors import ConfigError
from utils.files import read_json
from utils.options import task_settings

# --- --only ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["gender", "a"], ["gender-a"]),
        (["gender,d"], ["gender-d"]),
        (["gender", "c"], ["gender-a", "gender-c"]),
        (["a,age8,gender"], ["gender-a", "age8-a"]),
        (["age8"], ["age8-a", "age8-b", "age8-c", "age8-d", "age8-d-by-image"]),
        (["age8,d"], ["age8-d", "age8-d-by-image"]),
        (["b"], ["gender-b", "age8-b", "age101-b"]),
    ],
)
def test_only_names_tasks_protocols_and_what_they_need(
    words: list[str], expected: list[str]
) -> None:
    assert [part.name for part in select(words)] == expected


def test_without_only_there_are_twelve_results_and_one_to_compare_with() -> None:
    names = [part.name for part in select([])]
    assert len(names) == 13
    assert set(names) == {*(f"{t}-{p}" for t in TASKS for p in "abcd"), "age8-d-by-image"}
    assert all(names.index(f"{task}-a") < names.index(f"{task}-c") for task in TASKS)


# --- the config -----------------------------------------------------------------------------------


def shipped(changes: dict[str, Any]) -> StudyConfig:
    return StudyConfig(read_json(ROOT / "study.json"), select([]), changes)


@pytest.mark.parametrize("part", select([]), ids=lambda part: part.name)
def test_the_shipped_study_trains_each_task_by_its_recipe(part: StudyPart) -> None:
    config = shipped({}).of(part).config
    recipe = task_settings(part.task, "Adience" if part.protocol == "d" else "imdb_wiki")
    if part.is_cross_validated:  # the ages of Adience are class centres: hard targets fit
        recipe["loss"] = "cse"
    modified = ConfigParser(config, modification=recipe, check=check)
    assert modified.config == config
    arguments = config["data_loader"]["args"]
    dataset = {"a": "imdb_wiki", "b": "imdb_wiki_adience"}.get(part.protocol, "Adience")
    assert arguments["dataset"] == dataset
    assert arguments["validation_by"] == ("image" if part.variant else "subject")
    if part.is_cross_validated:
        assert (config["seeds"], config["num_cross_val"]) == ([0, 1, 2, 3, 4], 5)


def test_options_change_all_parts_or_those_of_one_protocol() -> None:
    config = shipped({"trainer.epochs": 3, "protocols.c.optimizer.args.lr": 0.5, "seeds": [7]})
    for part in select([]):
        content = config.of(part).config
        assert content["trainer"]["epochs"] == 3
        rate = 0.5 if part.protocol == "c" else 0.0015
        assert content["optimizer"]["args"]["lr"] == rate
        assert content.get("seeds") == ([7] if part.is_cross_validated else None)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--only", "genre"], "--only genre: no task or protocol, did you mean gender?"),
        (["-r", "model.pth"], "goes on by itself"),
        (["--task", "age8"], "use --only age8"),
        (["-o", "pretraining_seeds=[]"], "pretraining_seeds: [], expected at least 1"),
        (["-o", "pretraining_seeds=[1,1]"], "pretraining_seeds: [1, 1], one of them occurs twice"),
        (["-o", "protocols.e.trainer.epochs=1"], "expected protocols.<a, b, c or d>"),
        (["-o", "protocols=1"], "expected protocols.<a, b, c or d>"),
        (["-o", "data_loader.args.dataset=wiki"], "need the folds of Adience"),
        (["-o", "data_loader.args.classes=[[0,9],[10,99]]"], "a study judges age in 8 and in 101"),
        (["-o", "trainer.epochs=0"], "gender-a: config: trainer.epochs: 0, expected 1 or more"),
        (["-o", "seeds=[0,0]"], "seeds: [0, 0], one of them occurs twice"),
        (["--gpus", "1"], "--gpus is for --engine ray"),
        (["--engine", "sequential", "--stack_size", "2"], "--stack_size is for --engine stacked"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(
    words: list[str], complaint: str, run_script: RunScript, tmp_path: Path
) -> None:
    data_dir = write_data(tmp_path / "data")
    outcome = run_script("study.py", *options(data_dir, tmp_path / "saved"), *words)
    assert outcome.code == 2
    assert complaint in outcome.err
    assert "Traceback" not in outcome.err
    assert not (tmp_path / "saved").exists()


@pytest.mark.parametrize("key", ["pretraining_seeds", "protocols", "seeds", "num_cross_val"])
def test_a_missing_key_of_the_study_is_named(key: str) -> None:
    content = {k: v for k, v in read_json(ROOT / "study.json").items() if k != key}
    with pytest.raises(ConfigError, match=f"{key}: missing"):
        StudyConfig(content, select([]), {})


@pytest.mark.parametrize(
    ("changes", "complaints"),
    [
        ({"protocols": []}, ["protocols: []"]),
        ({"protocols": {"a": {}, "b": {}, "c": {}}}, ["protocols.d: missing"]),
        ({"protocols": {name: {} for name in "abcde"}}, ["protocols.e: unknown key"]),
        ({"pretraining_seeds": [-1], "protocols": 1}, ["pretraining_seeds.0: -1", "protocols: 1"]),
        ({"pretraining_seeds": 0}, ["pretraining_seeds: 0, expected a list"]),
        ({"trainr": {}}, ["gender-a: config: trainr: unknown key, did you mean trainer?"]),
    ],
)
def test_all_problems_of_the_file_are_told_at_once(
    changes: dict[str, Any], complaints: list[str]
) -> None:
    with pytest.raises(ConfigError) as refusal:
        StudyConfig(read_json(ROOT / "study.json") | changes, select([]), {})
    assert all(complaint in str(refusal.value) for complaint in complaints)


def test_only_the_parts_asked_for_must_have_a_sound_config(tmp_path: Path) -> None:
    soft = {"loss": {"type": "cse", "args": {"soft_ordinal_years": 2.0}}}
    study_config(tmp_path, tmp_path, "age8,d", **soft).describe()
    with pytest.raises(ConfigError, match=r"gender-d: .*genders have no order"):
        study_config(tmp_path, tmp_path, "gender,d", **soft)


# --- the whole command ----------------------------------------------------------------------------


def test_the_command_runs_what_is_asked_for_and_writes_report_and_model_card(
    tmp_path: Path, run_script: RunScript
) -> None:
    words = options(write_data(tmp_path / "data"), tmp_path / "saved")
    outcome = run_script("study.py", "--only", "gender", "--only", "d", *words)
    assert outcome.code == 0
    (folder,) = (tmp_path / "saved" / "study").iterdir()
    summary = read_json(folder / "summary.json")
    (own,) = [entry for entry in summary["results"] if entry["is_run"]]
    assert (own["task"], own["protocol"]) == ("gender", "d")
    lines = [line for line in outcome.out.splitlines() if line.startswith("gender (d)")]
    line, held = lines
    assert "held, of 90 %" in held
    accuracy = own["splits"]["test"]["metrics"]["accuracy"]["mean"]
    assert f"{accuracy:.4f}" in line
    assert "<html" in (folder / "report.html").read_text(encoding="utf-8")
    assert (folder / "MODEL_CARD.md").is_file()


# --- the original's hyper-parameters --------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_the_originals_config_of_a_task_trains_and_cross_validates(
    task: str, data_dir: Path, tmp_path: Path, run_script: RunScript
) -> None:
    path = f"configs/original/{task}.json"
    small = ("--data_dir", data_dir, "-o", f"trainer.save_dir={tmp_path}", "-o", "trainer.epochs=1")
    trained = run_script("train.py", "-c", path, *small)
    assert (trained.code, trained.err) == (0, "")
    (save_dir,) = (tmp_path / "models" / "ResMLP").iterdir()
    ran = json.loads((save_dir / "config.json").read_text(encoding="utf-8"))
    assert ran["data_loader"]["args"]["num_classes"] == {"gender": 2, "age8": 8}.get(task, 101)
    crossed = run_script("cross-val.py", "-c", path, *small, "--seed", "0", "--fold", "1")
    assert (crossed.code, crossed.err) == (0, "")


@pytest.mark.parametrize("task", TASKS)
def test_the_originals_configs_hold_its_published_hyper_parameters(task: str) -> None:
    content = read_json(ROOT / "configs" / "original" / f"{task}.json")
    published = {
        "gender": (4, 512, 0.0243983281217744, 0.004735384181058588, 0.06620420614596553),
    }.get(task, (2, 128, 0.0011670137678831, 0.00012337159555124116, 0.3947943239814273))
    arch, optimizer = content["arch"]["args"], content["optimizer"]["args"]
    assert (arch["dropout"], arch["num_residuals_per_block"]) == (0.05, 1)
    assert published == (
        arch["num_blocks"],
        content["data_loader"]["args"]["batch_size"],
        optimizer["lr"],
        optimizer["weight_decay"],
        content["lr_scheduler"]["args"]["gamma"],
    )
