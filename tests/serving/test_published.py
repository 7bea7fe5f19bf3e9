import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from file_server import FileServer, file_server
from helpers import ROOT, Malicious
from serving_helpers import json_body, post, save_original, serving, vectors

from http_client.download import MIRROR, DownloadError, download
from http_client.retry import RetryPolicy
from serving import published, registry
from serving.export import write_model
from serving.models import load_model
from serving.network_check import mismatch, networks_of
from serving.published import CARD_NAME
from serving.registry import extractor_of, find_published, published_models
from utils.errors import CheckpointError, ConfigError, PathError, UserError
from utils.files import write_json
from utils.scripts import get_models

NAMES = ("age.pth", "gender.pth")
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
SHIPPED = json.loads((ROOT / "serving" / "registry.json").read_text())["original"]
DOCS = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")


def file_entry(server: FileServer, name: str) -> dict[str, Any]:
    content = server.files[f"/{name}"]
    return {
        "url": f"{server.url}/{name}",
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def entry_of(server: FileServer) -> dict[str, Any]:
    """Return what a registry says of the models that a server has."""
    files = {kind: file_entry(server, f"{kind}.pth") for kind in ("age", "gender")}
    return {**SHIPPED, "licence": "made for this test", "files": files}


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (MIRROR, *PROXIES, *map(str.upper, PROXIES)):
        monkeypatch.delenv(name, raising=False)
    at_once = partial(download, retry=RetryPolicy((0.0, 0.0)))
    monkeypatch.setattr(published, "download", at_once)


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return models in the form of the original project's, by their paths on a server."""
    folder = tmp_path_factory.mktemp("originals")
    with pytest.MonkeyPatch.context() as patch:
        save_original(folder / "age.pth", 101, 1, patch)
        save_original(folder / "gender.pth", 2, 2, patch)
    return {f"/{name}": (folder / name).read_bytes() for name in NAMES}


@pytest.fixture
def registry_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return where this test's registry is read, once it is written."""
    path = tmp_path / "registry.json"
    monkeypatch.setattr(registry, "_REGISTRY", path)
    published_models.cache_clear()
    yield path
    published_models.cache_clear()


@pytest.fixture
def server(originals: dict[str, bytes], registry_path: Path) -> Iterator[FileServer]:
    """Serve models that are known as "original"."""
    with file_server(dict(originals)) as running:
        write_json({"original": entry_of(running)}, registry_path)
        yield running


def contents(folder: Path) -> dict[str, bytes]:
    """Return what lies in a folder, without lock files and the model card."""
    kept = [path for path in folder.iterdir() if path.suffix not in (".lock", ".md")]
    return {path.name: path.read_bytes() for path in kept}


def whole(originals: dict[str, bytes], *names: str) -> dict[str, bytes]:
    return {name: originals[f"/{name}"] for name in names}


# --- what is fetched ------------------------------------------------------------------------------


def test_published_models_are_fetched_once_and_can_be_served(
    server: FileServer, originals: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "models"
    paths = get_models("original", out)
    assert paths == {"age": out / "age.pth", "gender": out / "gender.pth"}
    assert contents(out) == whole(originals, *NAMES)
    assert get_models("original", str(out)) == paths
    assert server.asked == [("/age.pth", None), ("/gender.pth", None)]
    with serving(out) as running:
        assert len(post(running, json_body(vectors(2))).get_json()["ages"]) == 2


def test_the_model_card_is_printed_and_kept(
    server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "models"
    get_models("original", out)
    card = (out / CARD_NAME).read_text()
    assert card in capsys.readouterr().out
    for words in (
        "- Licence: made for this test.\n",
        "- Trained on: imdb, wiki, Adience.\n",
        "- Embeddings: of tae898/face-detection-recognition (arcface_r100_v1). ",
        "buffalo_l, these models make confident nonsense.\n",
        "    docker run -it --rm -p 127.0.0.1:10002:10002 tae898/face-detection-recognition\n",
        f"    python app.py --age-model {out}/age.pth --gender-model {out}/gender.pth\n",
        *(f"  - {score}\n" for score in find_published("original").scores),
    ):
        assert words in card


def test_a_model_card_that_is_there_stays(
    server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / CARD_NAME).write_text("mine")
    get_models("original", tmp_path)
    assert (tmp_path / CARD_NAME).read_text() == "mine"
    assert f"{tmp_path / CARD_NAME} is there already, and stays as it is" in capsys.readouterr().out


def test_in_the_folder_of_the_server_no_options_are_needed(
    server: FileServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert get_models()["age"] == Path("models/age.pth")
    assert "    python app.py\n" in capsys.readouterr().out
    get_models()
    assert "models/age.pth: is there already, and can be opened\n" in capsys.readouterr().out
    assert len(server.asked) == 2


@pytest.mark.parametrize("by", ["url", "variable"])
def test_a_mirror_has_them_by_their_names(
    by: str, server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files = {f"/kept{path}": content for path, content in server.files.items()}
    if by == "variable":
        monkeypatch.setenv(MIRROR, f"{server.url}/kept")
    get_models("original", tmp_path / "models", f"{server.url}/kept" if by == "url" else None)
    assert [path for path, _ in server.asked] == ["/kept/age.pth", "/kept/gender.pth"]


# --- faults ---------------------------------------------------------------------------------------


def test_a_download_that_breaks_off_goes_on_and_is_whole(
    server: FileServer, originals: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "models"
    server.breaks_after = [1000] * 3
    with pytest.raises(DownloadError, match=r"broke off; .* call again to go on"):
        get_models("original", out)
    assert contents(out) == {".age.pth.part": originals["/age.pth"][:3000]}
    get_models("original", out)
    assert contents(out) == whole(originals, *NAMES)
    assert server.asked[3] == ("/age.pth", "bytes=3000-")


def test_what_was_fetched_before_a_fault_is_kept(
    server: FileServer, originals: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "models"
    del server.files["/gender.pth"]
    with pytest.raises(DownloadError, match=r"/gender\.pth cannot be fetched: HTTP 404: Not Found"):
        get_models("original", out)
    kept = contents(out)
    assert kept.pop(".gender.pth.part", b"") == b""
    assert kept == whole(originals, "age.pth")


def test_other_bytes_are_refused_and_nothing_is_left(server: FileServer, tmp_path: Path) -> None:
    server.files["/age.pth"] = server.files["/age.pth"][::-1]
    with pytest.raises(DownloadError, match="another file: its SHA-256 is") as caught:
        get_models("original", tmp_path / "models")
    assert "\n" not in str(caught.value)
    assert contents(tmp_path / "models") == {}


def test_of_a_slow_server_nothing_has_a_name_before_it_is_whole(
    server: FileServer, originals: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "models"
    server.waits_after = [5000]
    with ThreadPoolExecutor(1) as thread:
        fetching = thread.submit(get_models, "original", out)
        assert server.waiting.wait(60)
        assert "age.pth" not in contents(out)
        server.goes_on.set()
        fetching.result()
    assert contents(out) == whole(originals, *NAMES)


def test_a_server_that_falls_silent_is_given_up(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("http_client.web._SILENCE_S", 0.05)
    server.waits_after = [5000] * 3
    with pytest.raises(DownloadError, match=r"silence for 0\.05 s; check the network"):
        get_models("original", tmp_path / "models")
    server.goes_on.set()
    assert list(contents(tmp_path / "models")) == [".age.pth.part"]


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_asked(
    server: FileServer, tmp_path: Path
) -> None:
    (tmp_path / "plain").touch()
    with pytest.raises(PathError, match=r"models cannot be written: .*: not a folder"):
        get_models("original", tmp_path / "plain" / "models")
    assert server.asked == []


def test_what_is_no_model_is_not_run(
    server: FileServer, registry_path: Path, tmp_path: Path
) -> None:
    torch.save({"state_dict": Malicious(tmp_path / "ran")}, tmp_path / "bad.pth")
    server.files["/gender.pth"] = (tmp_path / "bad.pth").read_bytes()
    write_json({"original": entry_of(server)}, registry_path)
    with pytest.raises(CheckpointError, match=r"gender\.pth"):
        get_models("original", tmp_path / "models")
    assert not (tmp_path / "ran").exists()


COMMAND = """
import sys
from pathlib import Path
import serving.registry
serving.registry._REGISTRY = Path(sys.argv[1])
sys.argv[1:] = []
from utils.scripts import get_models
get_models('original')
"""


def test_two_processes_at_once_fetch_each_file_once(
    server: FileServer, originals: dict[str, bytes], registry_path: Path, tmp_path: Path
) -> None:
    server.waits_after = [5000]
    call = [sys.executable, "-c", COMMAND, str(registry_path)]
    given: dict[str, Any] = {
        "cwd": tmp_path,
        "env": {**os.environ, "PYTHONPATH": str(ROOT)},
        "text": True,
    }
    with ThreadPoolExecutor(2) as threads:
        run = partial(subprocess.run, call, capture_output=True, check=False, **given)
        first, second = threads.submit(run), threads.submit(run)
        assert server.waiting.wait(60)
        server.goes_on.set()
        outcomes = [first.result(), second.result()]
    for outcome in outcomes:
        assert outcome.returncode == 0, outcome.stderr
        assert "models/gender.pth: " in outcome.stdout
        assert "\n    python client.py --image-path photo.jpg\n" in outcome.stdout
    assert sorted(path for path, _ in server.asked) == ["/age.pth", "/gender.pth"]
    assert contents(tmp_path / "models") == whole(originals, *NAMES)


# --- what is there already ------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["file", "link", "dangling link", "folder"])
@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_the_users_own_is_left_alone(
    form: str, name: str, server: FileServer, tmp_path: Path
) -> None:
    own, taken = tmp_path / "own.pth", tmp_path / "models" / name
    taken.parent.mkdir()
    if form == "file":
        taken.write_bytes(b"trained for days")
    elif form == "folder":
        taken.mkdir()
    else:
        taken.symlink_to(own)
        if form == "link":
            own.write_bytes(b"trained for days")
    with pytest.raises(PathError, match=f"{name} is another file than .* out_dir=") as caught:
        get_models("original", taken.parent)
    assert "\n" not in str(caught.value)
    assert server.asked == []
    assert [path.name for path in taken.parent.iterdir()] == [name]
    if form in ("file", "link"):
        assert taken.read_bytes() == b"trained for days"


# --- the registry ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [("orginal", r"'orginal' is no published model, did you mean original\?"), (7, "known are")],
)
def test_an_unknown_name_is_refused(name: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        get_models(name)


def test_the_registry_pins_the_files_of_the_original_project() -> None:
    known = find_published("original")
    assert {kind: (file.size, file.sha256) for kind, file in known.files.items()} == {
        "age": (10102899, "17284eda9460207e70d64a7c5eea261c64a33aa4d0a9462876848651acf28019"),
        "gender": (10619971, "9bc2eec922345967f6b815e8263310a43636c81eb99f5796ab2e0cfd6cdebcc9"),
    }
    place = "https://github.com/tae898/age-gender/raw/[0-9a-f]{40}/models/"
    for kind, file in known.files.items():
        assert re.fullmatch(f"{place}{kind}\\.pth", file.url)


def test_every_published_file_comes_over_tls_and_is_known_once() -> None:
    files = [file for models in published_models().values() for file in models.files.values()]
    assert all(file.url.startswith("https://") for file in files)
    assert len({file.sha256 for file in files}) == len(files)


def test_the_documentation_has_the_scores_of_the_registry() -> None:
    for models in published_models().values():
        for score in models.scores:
            value = str(score).removeprefix(f"{score.task} {score.metric} ").partition(" (")[0]
            assert re.search(rf"\| {score.task} .*\| {value} \|", DOCS), score


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"licence": None}, r"models\.original\.licence: null"),
        ({"trained_on": []}, r"models\.original\.trained_on"),
        ({"files": {"race": {}}}, r"models\.original\.files"),
        ({"files": {"age": {"url": "file:///a.pth", "size": 1, "sha256": "0" * 64}}}, "url"),
        ({"files": {"age": {"url": "http://a/b.pth", "size": 0, "sha256": "0" * 64}}}, "size"),
        ({"files": {"age": {"url": "http://a/b.pth", "size": 1, "sha256": "0" * 63}}}, "sha256"),
        ({"color": "red"}, r"models\.original\.color: unknown key"),
    ],
)
def test_an_entry_of_another_form_is_refused(
    change: dict[str, Any], words: str, registry_path: Path
) -> None:
    write_json({"original": {**SHIPPED, **change}}, registry_path)
    with pytest.raises(ConfigError, match=words):
        published_models()


def test_a_score_says_what_it_counts() -> None:
    score = registry.ReportedScore(task="age", metric="mae", value=4.7, on="faces")
    assert str(score) == "age mae 4.70 years (faces)"


@pytest.mark.parametrize("is_exported", [False, True])
def test_a_published_model_names_the_network_it_needs(
    is_exported: bool, server: FileServer, tmp_path: Path
) -> None:
    path = get_models("original", tmp_path)["age"]
    if is_exported:
        write_model(path, tmp_path / "small.pth")
        path = tmp_path / "small.pth"
    model = load_model("age", path, torch.device("cpu"), torch.float32)
    warning = mismatch("buffalo_l", {"age.pth": networks_of(model.extractor)})
    assert warning is not None
    assert "age.pth was trained with 'arcface_r100_v1'" in warning
    assert extractor_of("0" * 64) == {}
