import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import MakeConfig, RunScript
from helpers import TINY, run_dirs, save_config, train

from face_server.__main__ import main as serve_faces
from photo_client.options import parse_options
from search.space import read_search
from serving.settings import read_settings
from studies.config import StudyConfig
from studies.protocols import StudyPart
from trainer.check import check
from utils import scripts
from utils.config import ConfigParser
from utils.errors import ConfigError, PathError, UserError
from utils.options import read_config
from utils.paths import user_path

UNFIT = {
    "": "is empty, expected a path",
    "  ": "is empty, expected a path",
    "\n": "is empty, expected a path",
    "a\0b": "holds a NUL character",
    "\ud800": r"holds the letter '\ud800'",
    "~nobody-of-this-name/x": "begins with '~nobody-of-this-name'",
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    return folder


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("~", "{home}"),
        ("~/a/b", "{home}/a/b"),
        (Path("~/a"), "{home}/a"),
        ("./~", "~"),
        ("a/~/b", "a/~/b"),
        ("a~", "a~"),
        ("/x", "/x"),
        ("name\udcff", "name\udcff"),
    ],
)
def test_a_tilde_in_front_is_the_home_folder(written: Path | str, meant: str, home: Path) -> None:
    assert user_path(written, "path") == Path(meant.format(home=home))


def test_the_home_folder_of_another_user_is_meant_by_their_name() -> None:
    assert user_path("~root/a", "path") == Path(os.path.expanduser("~root")) / "a"  # noqa: PTH111


@pytest.mark.parametrize("text", UNFIT)
def test_what_no_file_can_be_called_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(PathError) as refusal:
        user_path(text, "--image-path")
    assert str(refusal.value).startswith(f"--image-path {UNFIT[text]}")
    assert len(str(refusal.value).splitlines()) == 1


def test_a_letter_that_this_system_has_no_bytes_for_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "fsencode", lambda text: text.encode("ascii"))
    with pytest.raises(PathError, match=r"'\\xeb'.*\(ascii\); set PYTHONUTF8=1"):
        user_path("Zoë", "path")


def test_a_training_saves_the_paths_that_it_really_used(
    small_config: MakeConfig, home: Path, data_dir: Path
) -> None:
    first = train(small_config(**TINY, **{"trainer.epochs": 1}))
    (home / "data").symlink_to(data_dir)
    (home / "start.pth").symlink_to(first.fitted.best_path)
    config = small_config(
        **TINY,
        **{
            "trainer.epochs": 1,
            "trainer.save_dir": "~/saved",
            "data_loader.args.data_dir": "~/data",
            "checkpoint": "~/start.pth",
        },
    )
    train(config)
    (folder,) = run_dirs({**config, "trainer": {"save_dir": home / "saved"}})
    saved = json.loads((folder / "config.json").read_text())
    assert saved["trainer"]["save_dir"] == str(home / "saved")
    assert saved["data_loader"]["args"]["data_dir"] == str(home / "data")
    assert saved["checkpoint"] == str(home / "start.pth")


PATHS = ("checkpoint", "data_loader.args.data_dir", "trainer.save_dir")


@pytest.mark.parametrize("key", PATHS)
@pytest.mark.parametrize("text", UNFIT)
def test_a_config_with_an_unfit_path_is_refused(
    key: str, text: str, small_config: MakeConfig
) -> None:
    with pytest.raises(ConfigError) as refusal:
        ConfigParser(small_config(**{key: text}), check=check)
    assert str(refusal.value).startswith(f"config: {key}: {UNFIT[text]}")


def test_no_checkpoint_is_null() -> None:
    config = ConfigParser(read_config(None, None, "train.json"), check=check)
    assert config["checkpoint"] is None


def test_a_search_and_a_study_expand_their_paths(home: Path) -> None:
    paths = {"data_dir": "~/data", "save_dir": "~/saved"}
    search = read_search({**read_config(None, None, "hp-tuning.json"), **paths})
    assert search.config["data_dir"] == search.base["data_loader"]["args"]["data_dir"]
    assert search.config["save_dir"] == str(home / "saved")
    with pytest.raises(ConfigError, match="save_dir: is empty"):
        read_search({**read_config(None, None, "hp-tuning.json"), "save_dir": ""})
    study = StudyConfig(
        read_config(None, None, "study.json"),
        [StudyPart("gender", "a")],
        {"trainer.save_dir": "~/saved", "data_loader.args.data_dir": "~/data"},
    )
    assert study.save_dir == home / "saved"
    described = study.describe()["configs"]["gender-a"]
    assert described["data_loader"]["args"]["data_dir"] == str(home / "data")


def test_config_and_checkpoint_are_found_at_home(
    small_config: MakeConfig, home: Path, run_script: RunScript
) -> None:
    config = small_config(**TINY, **{"trainer.epochs": 1})
    save_config(config, home)
    assert run_script("train.py", "-c", "~/config.json").code == 0
    (folder,) = run_dirs(config)
    folder.rename(home / "run")
    outcome = run_script("test.py", "-r", "~/run/model_best.pth")
    assert outcome.code == 0
    (results,) = Path(config["trainer"]["save_dir"]).glob("*_test-results.json")
    assert json.loads(results.read_text())["checkpoint"] == str(home / "run" / "model_best.pth")


@pytest.mark.parametrize(
    ("script", "arguments", "name"),
    [
        ("train.py", ["-c", ""], "-c"),
        ("train.py", ["-r", " "], "-r"),
        ("test.py", ["-r", ""], "-r"),
        ("train.py", ["--data_dir", ""], "config: data_loader.args.data_dir:"),
        ("cross-val.py", ["-o", "trainer.save_dir="], "config: trainer.save_dir:"),
        ("cross-val.py", ["-c", ""], "-c"),
        ("client.py", ["--image-path", ""], "--image-path"),
        ("client.py", ["--image-path", "a.jpg", "--out-dir", ""], "--out-dir"),
        ("app.py", ["--age-model", ""], "settings of the server: --age-model:"),
    ],
)
def test_an_empty_path_on_the_command_line_is_refused(
    script: str, arguments: list[str], name: str, run_script: RunScript
) -> None:
    outcome = run_script(script, *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == f"error: {name} is empty, expected a path\n"


@pytest.mark.parametrize(
    "call",
    [
        lambda: scripts.make_sample_data(""),
        lambda: scripts.export_model("", "b.pth"),
        lambda: scripts.export_model("a.pth", ""),
        lambda: scripts.make_ensemble(["a.pth", " "], "b.pth"),
        lambda: scripts.make_ensemble("a.pth", ""),
        lambda: scripts.get_Adience_clean("aligned", data_dir=""),
        lambda: scripts.get_imdb_wiki_clean("wiki", data_dir=""),
        lambda: scripts.extract_Adience_arcface("aligned", data_dir=""),
        lambda: scripts.extract_imdb_wiki_arcface("wiki", data_dir=""),
        lambda: scripts.convert_original_data("wiki", ""),
        lambda: serve_faces(["--pack", ""]),
    ],
)
def test_an_empty_path_in_a_call_is_refused(
    call: Callable[[], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="is empty, expected a path"):
        call()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "call",
    [
        lambda: scripts.get_Adience_clean("aligned", data_dir="~/d"),
        lambda: scripts.get_imdb_wiki_clean("wiki", data_dir="~/d"),
        lambda: scripts.extract_Adience_arcface("aligned", data_dir="~/d"),
        lambda: scripts.extract_imdb_wiki_arcface("wiki", data_dir="~/d"),
        lambda: scripts.convert_original_data("wiki", "~/d"),
        lambda: scripts.export_model("~/d/a.pth", "~/b.pth"),
        lambda: scripts.make_ensemble("~/d/a.pth", "~/b.pth"),
    ],
)
def test_a_tilde_in_a_call_is_the_home_folder(call: Callable[[], Any], home: Path) -> None:
    with pytest.raises(UserError, match=f"{home}/d/"):
        call()


def test_the_client_takes_paths_at_home(home: Path) -> None:
    options = parse_options(None, ["--image-path", "~/a.jpg", "~/b/*.jpg", "--out-dir", "~/out"])
    assert options.image_path == [f"{home}/a.jpg", f"{home}/b/*.jpg"]
    assert options.out_dir == home / "out"


def test_models_of_the_server_are_found_at_home(home: Path) -> None:
    settings = read_settings({"gender_model": Path("~/g.pth")}, {"AGE_MODEL": "~/a.pth"})
    assert (settings.age_model, settings.gender_model) == (f"{home}/a.pth", f"{home}/g.pth")
    with pytest.raises(ConfigError, match="AGE_MODEL: is empty"):
        read_settings({}, {"AGE_MODEL": ""})


def test_a_resumed_search_without_a_name_is_no_wish_for_the_newest() -> None:
    from search.options import what_to_search

    arguments = argparse.Namespace(device=None, address=None, resume="")
    with pytest.raises(PathError, match="--resume is empty"):
        what_to_search(arguments)
