import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from conftest import RunScript
from helpers import Outcome
from model_packs import as_file, picture, write_pack
from served import NOWHERE, running_app
from serving_helpers import save_model
from simulated_people import fitted_age, fitted_gender

from photo_client import options as client_options

LOWEST_SCORE = 0.9
"""Between those of the two faces of the first photo."""

PHOTOS = {"a.png": ((15, 4), (5, 8)), "b.png": (), "c.png": ((3, 3),)}


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pack(tmp_path_factory.mktemp("packs") / "little")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Write models with confidence, fitted to faces that the detector was rather sure of."""
    folder = tmp_path_factory.mktemp("models")
    age = {**fitted_age().to_plain(), "lowest_det_score": LOWEST_SCORE}
    gender = fitted_gender().to_plain()
    return {
        "age_model": save_model(folder / "age.pth", 101, 1, confidence=age),
        "gender_model": save_model(folder / "gender.pth", 2, 2, confidence=gender),
        "device": "cpu",
        "threads": 1,
    }


@pytest.fixture(scope="module")
def url(settings: dict[str, Any], pack: Path) -> Iterator[str]:
    """Serve with a face pack, and without a face server."""
    with running_app(settings, face_pack=str(pack)) as address:
        yield address


@pytest.fixture(scope="module")
def plain_url(settings: dict[str, Any], url: str) -> Iterator[str]:
    """Serve without a face pack, beside what answers as a face server."""
    with running_app(settings, f"{url}faces") as address:
        yield address


@pytest.fixture
def local(settings: dict[str, Any], pack: Path) -> tuple[object, ...]:
    """Return the options that name the networks."""
    models = ("--age-model", settings["age_model"], "--gender-model", settings["gender_model"])
    return ("--local", "--face-pack", pack, *models)


@pytest.fixture
def album(tmp_path: Path) -> Path:
    folder = tmp_path / "album"
    folder.mkdir()
    for name, cells in PHOTOS.items():
        (folder / name).write_bytes(as_file(picture(*cells)))
    return folder


def annotated_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def described_by(url: str, photo: Path) -> list[dict[str, Any]]:
    """Return the faces of POST /image."""
    address, headers = (
        f"{url}image?mc_samples=0&over=18,25&level=0.8",
        {"Content-Type": "image/png"},
    )
    with urlopen(Request(address, photo.read_bytes(), headers)) as answer:  # noqa: S310 - our own
        faces: list[dict[str, Any]] = json.load(answer)["faces"]
    return faces


def of_confidence(face: dict[str, Any]) -> list[Any]:
    return [face[name] for name in ("age", "age_interval", "gender_set", "covered", "over")]


def test_every_way_gives_the_same_photos_and_the_same_numbers(
    run_script: RunScript,
    local: tuple[object, ...],
    url: str,
    plain_url: str,
    album: Path,
    tmp_path: Path,
) -> None:
    ways: dict[str, tuple[object, ...]] = {
        "local": local,
        "one server": ("--url-age-gender", url),
        "two servers": ("--url-age-gender", plain_url, "--url-face", f"{url}faces"),
    }
    said, drawn = [], []
    for name, way in ways.items():
        out_dir = tmp_path / name
        asked = ("--over", "18,25", "--level", "0.8", "--json")
        outcome = run_script("client.py", album, "--out-dir", out_dir, *asked, *way)
        assert outcome.code == 0, outcome.err
        said.append(outcome.out.replace(str(out_dir), "out"))
        drawn.append(annotated_in(out_dir))
    assert said[1:] == said[:1] * 2
    assert drawn[1:] == drawn[:1] * 2
    photos = json.loads(said[0])["photos"]
    assert [len(photo["faces"]) for photo in photos] == [2, 0, 1]
    assert {photo["model"] for photo in photos} == {"little"}
    for photo in photos:
        assert [of_confidence(face) for face in photo["faces"]] == [
            of_confidence(face) for face in described_by(url, Path(photo["image_path"]))
        ]
    assert [[face["covered"] for face in photo["faces"]] for photo in photos] == [
        [False, None],
        [],
        [None],
    ]


def test_a_table_with_ranges_needs_no_server(
    run_script: RunScript, local: tuple[object, ...], album: Path
) -> None:
    outcome = run_script("client.py", album / "a.png", "--mc-samples", 8, *local)
    assert outcome.code == 0
    assert outcome.err.startswith("1 of 2 faces (marked ?) are unclear")
    header, first, second = outcome.out.splitlines()
    assert "age, 90 % range  gender" in header
    assert ("  1?  " in first, "  2  " in second) == (True, True)
    assert all(re.search(r"  \d+, \d+-\d+ +(fe)?male", row) for row in (first, second))
    assert (album / "a.ANNOTATED.jpg").is_file()


def test_a_pack_that_the_models_were_not_trained_with_is_told(
    run_script: RunScript, local: tuple[object, ...], album: Path, tmp_path: Path
) -> None:
    extractor = {"imdb": {"model": "buffalo_l"}}
    age = save_model(tmp_path / "age101.pth", 101, extractor=extractor)
    outcome = run_script("client.py", "--image-path", album, *local, "--age-model", age, "--json")
    assert len(json.loads(outcome.out)["photos"]) == 3
    line = "faces come from the network 'little', and age101.pth was trained with 'buffalo_l'"
    assert (outcome.code, outcome.err.count(line)) == (0, 1)


def test_a_server_whose_pack_is_another_one_is_told_too(
    run_script: RunScript, settings: dict[str, Any], pack: Path, album: Path, tmp_path: Path
) -> None:
    extractor = {"imdb": {"model": "buffalo_l"}}
    age = save_model(tmp_path / "age101.pth", 101, extractor=extractor)
    with running_app({**settings, "age_model": age}, face_pack=str(pack)) as address:
        outcome = run_script("client.py", "--image-path", album, "--url-age-gender", address)
    remark = "faces come from the network 'little', and age101.pth was trained with 'buffalo_l'\n"
    assert (outcome.code, outcome.err.count(remark)) == (0, 1)


def refusal(outcome: Outcome) -> str:
    """Check that an outcome is an error in one line, and return that."""
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.count("\n") == 1
    return outcome.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--local", "--url-face", NOWHERE), "--local asks no server: leave --url-face out"),
        (
            ("--local", "--url-face", NOWHERE, "--url-age-gender", NOWHERE),
            "leave --url-face and --url-age-gender out",
        ),
        (("--face-pack", "x"), "without --local, servers have the networks: leave --face-pack out"),
        (("--age-model", "x", "--gender-model", "y"), "leave --age-model and --gender-model out"),
        (("--local", "--age-model", "no.pth"), "no.pth: no age model there"),
    ],
)
def test_options_that_do_not_go_together_are_one_line(
    run_script: RunScript, album: Path, options: tuple[str, ...], message: str
) -> None:
    outcome = run_script("client.py", "--image-path", album, *options)
    assert message in refusal(outcome)


def test_without_the_optional_packages_one_line_says_what_to_install(
    run_script: RunScript,
    local: tuple[object, ...],
    album: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    outcome = run_script("client.py", "--image-path", album, *local)
    assert "`pip install -r requirements-faces.txt`" in refusal(outcome)


def test_a_server_without_a_pack_leaves_the_face_server_where_it_was(
    run_script: RunScript, plain_url: str, album: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("photo_client.client.FACE_URL", NOWHERE)
    outcome = run_script("client.py", "--image-path", album, "--url-age-gender", plain_url)
    assert f"the face server at {NOWHERE} is away" in refusal(outcome)
    assert client_options.FACE_URL == "http://127.0.0.1:10002/"
