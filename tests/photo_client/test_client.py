import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import RunScript
from face_helpers import vector
from flask import Flask, Response, request
from helpers import ROOT, Outcome
from picture_files import entry, exif, in_jpeg
from PIL import Image
from served import NOWHERE, place_of, running, running_app, save_models, save_photo
from serving_helpers import listening

from faces.wire import encode_faces
from http_client.reply import LONGEST_WAIT_S
from http_client.retry import RetryPolicy
from photo_client import annotate
from photo_client import server as client_server
from photo_client.answers import Wanted
from photo_client.client import run_client
from photo_client.face import SeenFace
from photo_client.options import ClientOptions, parse_options
from photo_client.server import AgeGenderServer, RequestRefusedError
from sample.stand_in_server import Behaviour, StandInServer
from utils.errors import DataError, UserError

Ask = Callable[..., Outcome]
HEALTH: dict[str, Any] = {
    "status": "ok",
    "models": {"age": {"name": "a", "num_classes": 101}, "gender": {"name": "g", "num_classes": 2}},
}
ONE = np.stack([vector(0)])
EIGHT = Wanted(8)


@pytest.fixture(scope="module")
def face_url() -> Iterator[str]:
    with StandInServer(behaviour=Behaviour(model_name="made up")) as server:
        yield server.url


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return save_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def url(settings: dict[str, Any], face_url: str) -> Iterator[str]:
    with running_app(settings, face_url) as address:
        yield address


@pytest.fixture
def ask(run_script: RunScript, face_url: str, url: str) -> Ask:
    """Return a function that runs client.py against the two servers."""

    def run(*paths: Path | str, options: tuple[object, ...] = ()) -> Outcome:
        addresses = ("--url-face", face_url, "--url-age-gender", url)
        return run_script("client.py", "--image-path", *paths, *addresses, *options)

    return run


@pytest.fixture
def serve() -> Iterator[Callable[[Any], str]]:
    """Yield a function that serves an application until the test ends."""
    with ExitStack() as stack:
        yield lambda application: stack.enter_context(running(application))


def answering(*answers: tuple[int, Any, dict[str, str]]) -> Flask:
    """Make a server that answers POST / with these, one after the other, the last for ever."""
    application, left = Flask("answers"), list(answers)

    @application.get("/health")
    def health() -> dict[str, Any]:
        return HEALTH

    @application.post("/")
    def faces() -> Response:
        status, content, headers = left.pop(0) if len(left) > 1 else left[0]
        text = content if isinstance(content, str) else json.dumps(content)
        return Response(text, status, headers, mimetype="application/json")

    return application


GOOD = {
    "ages": [30.0],
    "genders": [{"m": 0.25, "f": 0.75}],
    "uncertainty": [{"age": 1.0, "gender": 0.5}],
    "in_distribution": [True],
}
RANGES = {
    **GOOD,
    "level": 0.9,
    "age_intervals": [[24, 39]],
    "gender_sets": [["m", "f"]],
    "over": [{"18": 0.97, "25": 0.6}],
    "covered": [True],
}


# --- what is seen ---------------------------------------------------------------------------------


def test_a_photo_is_annotated_beside_it_and_listed(ask: Ask, tmp_path: Path) -> None:
    path = save_photo(tmp_path / "photo.jpg", 2)
    outcome = ask(path)
    assert (outcome.code, outcome.err) == (0, "")
    header, *rows = outcome.out.splitlines()
    assert header.split("  ")[0] == "photo"
    assert [row.split()[:2] for row in rows] == [[str(path), "1"], [str(path), "2"]]
    assert all("male" in row and row.count("%") == 1 for row in rows)
    with Image.open(path) as before, Image.open(tmp_path / "photo.ANNOTATED.jpg") as after:
        assert max(after.size) == 1024
        assert after.width / after.height == pytest.approx(before.width / before.height, rel=0.01)
    assert {file.name for file in tmp_path.iterdir()} == {"photo.jpg", "photo.ANNOTATED.jpg"}


def test_json_says_what_the_server_says_of_the_same_photo(
    ask: Ask, url: str, tmp_path: Path
) -> None:
    path = save_photo(tmp_path / "photo.jpg", 2)
    outcome = ask(path, options=("--json", "--mc-samples", 256, "--resize", 1024))
    said = json.loads(outcome.out)
    assert said["max_uncertainty"] == {"age": np.log(101), "gender": np.log(2)}
    (photo,) = said["photos"]
    assert photo["image_path"] == str(path)
    assert photo["annotated_path"] == str(tmp_path / "photo.ANNOTATED.jpg")
    assert photo["model"] == "made up"
    server = AgeGenderServer(url)
    expected = server.estimate(np.stack([vector(0), vector(1)]), Wanted())
    server.close()
    for number, face in enumerate(photo["faces"]):
        assert face["bbox"] == pytest.approx(place_of(number), abs=2)
        assert face["age"] == pytest.approx(expected.ages[number], abs=1)
        assert face["gender"]["m"] == pytest.approx(expected.genders[number].m, abs=0.1)
        assert face["gender"]["m"] + face["gender"]["f"] == pytest.approx(1)
        assert 0 < face["uncertainty"]["age"] <= np.log(101)
        assert face["det_score"] == pytest.approx(0.9, abs=0.02)
        assert face["in_distribution"] is None


def test_the_file_itself_can_be_sent(ask: Ask, tmp_path: Path) -> None:
    path = save_photo(tmp_path / "photo.jpg", 2)
    photo = json.loads(ask(path, options=("--json", "--resize", 0)).out)["photos"][0]
    boxes = [face["bbox"] for face in photo["faces"]]
    assert boxes == [pytest.approx(place_of(number), abs=1.5) for number in range(2)]


def test_a_photo_gets_the_same_answer_each_time_unless_passes_are_asked_for(
    ask: Ask, tmp_path: Path
) -> None:
    path = save_photo(tmp_path / "photo.jpg", 1)
    said = [ask(path, options=("--json",)).out for _ in range(3)]
    assert said[0] == said[1] == said[2]
    assert json.loads(said[0])["photos"][0]["faces"][0]["uncertainty"] is None
    sampled = json.loads(ask(path, options=("--json", "--mc-samples", 4)).out)
    face = sampled["photos"][0]["faces"][0]
    assert face["uncertainty"]["age"] > 0
    assert face["age"] != json.loads(said[0])["photos"][0]["faces"][0]["age"]


def test_photos_are_named_with_the_option_or_without(
    run_script: RunScript, ask: Ask, face_url: str, url: str, tmp_path: Path
) -> None:
    first, second = (save_photo(tmp_path / name, 1) for name in ("a.jpg", "b.jpg"))
    addresses = ("--url-face", face_url, "--url-age-gender", url)
    outcome = run_script("client.py", first, *addresses, second)
    assert (outcome.code, outcome.out) == (0, ask(first, second).out)
    mixed = run_script("client.py", first, "--image-path", second, *addresses)
    assert mixed.out == outcome.out
    nothing = run_script("client.py", *addresses)
    assert nothing.code == 2
    assert nothing.err.startswith("error: nothing to annotate; name photos or clips")


# --- how sure it is -------------------------------------------------------------------------------


@pytest.fixture
def ask_made_up(
    run_script: RunScript, face_url: str, serve: Callable[[Any], str], tmp_path: Path
) -> Ask:
    """Return a function that has a face judged with a made-up answer."""

    def run(answer: dict[str, Any], *options: object, health: Any = HEALTH) -> Outcome:
        application = Flask("made up")
        application.add_url_rule("/health", "health", lambda: health)
        application.add_url_rule("/", "faces", lambda: answer, methods=["POST"])
        path = save_photo(tmp_path / "photo.jpg", 1)
        addresses = ("--url-face", face_url, "--url-age-gender", serve(application))
        return run_script("client.py", path, *addresses, *options)

    return run


def cells(outcome: Outcome) -> list[list[str]]:
    """Return the cells of a table, without the path and the box."""
    return [re.split("  +", line)[1:-1] for line in outcome.out.splitlines()]


def test_the_table_says_ranges_genders_and_ages_that_are_reached(ask_made_up: Ask) -> None:
    outcome = ask_made_up(RANGES, "--over", "18,25")
    assert (outcome.code, outcome.err) == (0, "")
    assert cells(outcome) == [
        ["face", "age, 90 % range", "gender", "18+", "25+"],
        ["1", "30, 24-39", "male or female", "97 %", "60 %"],
    ]


def test_json_carries_what_the_server_says_of_how_sure_it_is(ask_made_up: Ask) -> None:
    said = json.loads(ask_made_up(RANGES, "--over", "18,25", "--level", "0.95", "--json").out)
    (face,) = said["photos"][0]["faces"]
    assert said["level"] == 0.95
    assert (face["age_interval"], face["gender_set"]) == ([24, 39], ["m", "f"])
    assert (face["over"], face["covered"]) == ({"18": 0.97, "25": 0.6}, True)


@pytest.mark.parametrize(
    ("options", "query"),
    [
        ((), ""),
        (("--level", "0.9"), ""),
        (("--over", "18,25", "--level", "0.8"), "level=0.8&over=18,25"),
        (("--mc-samples", "4", "--over", "21"), "mc_samples=4&over=21"),
    ],
)
def test_a_server_is_asked_for_nothing_that_older_ones_do_not_know_unless_it_is_wanted(
    serve: Callable[[Any], str], face_url: str, tmp_path: Path, options: tuple[str], query: str
) -> None:
    asked: list[str] = []
    application = Flask("asked")
    application.add_url_rule("/health", "health", lambda: HEALTH)

    @application.post("/")
    def faces() -> dict[str, Any]:
        asked.append(request.query_string.decode())
        return RANGES

    path = str(save_photo(tmp_path / "photo.jpg", 1))
    addresses = ("--url-face", face_url, "--url-age-gender", serve(application))
    assert run_client(parse_options("", [path, *addresses, *options])) == 0
    assert asked == [query]


def test_an_older_server_and_models_without_ranges_leave_the_age_and_a_spread(
    ask_made_up: Ask,
) -> None:
    nothing = {name: [None] for name in ("age_intervals", "gender_sets", "over", "covered")}
    for answer in (GOOD, {**GOOD, **nothing}):
        outcome = ask_made_up(answer, "--over", "18")
        assert cells(outcome)[1] == ["1", "30 ± 1", "female 75 %", "-"]
        (face,) = json.loads(ask_made_up(answer, "--json").out)["photos"][0]["faces"]
        assert {face[name] for name in ("age_interval", "gender_set", "over", "covered")} == {None}
    without = {name: value for name, value in GOOD.items() if name != "uncertainty"}
    assert cells(ask_made_up(without))[1] == ["1", "30", "female 75 %"]


def test_a_face_that_the_ranges_do_not_cover_is_marked_and_told(ask_made_up: Ask) -> None:
    outcome = ask_made_up({**RANGES, "covered": [False]})
    assert cells(outcome)[1][0] == "1?"
    assert "1 of 1 faces (marked ?) are unclear" in outcome.err


@pytest.mark.parametrize(("lowest", "covered"), [(0.95, False), (0.5, True), (None, True)])
def test_a_face_of_a_lower_score_than_the_ranges_were_measured_on_is_not_covered(
    ask_made_up: Ask, lowest: float | None, covered: bool
) -> None:
    models = {
        name: {**model, "confidence": {"lowest_det_score": lowest}}
        for name, model in HEALTH["models"].items()
    }
    outcome = ask_made_up(RANGES, "--json", health={"models": models})
    assert json.loads(outcome.out)["photos"][0]["faces"][0]["covered"] is covered


def test_a_photo_without_faces_is_no_failure(ask: Ask, tmp_path: Path) -> None:
    outcome = ask(save_photo(tmp_path / "photo.jpg", 0))
    assert outcome.code == 0
    assert outcome.out.splitlines()[1].split()[1] == "none"
    assert (tmp_path / "photo.ANNOTATED.jpg").is_file()


def test_the_annotated_photo_has_nothing_of_the_metadata(ask: Ask, tmp_path: Path) -> None:
    path = save_photo(tmp_path / "photo.jpg", 1)
    with Image.open(path) as picture:
        exif = picture.getexif()
        exif[0x010E] = "where I live"
        picture.save(path, exif=exif, comment=b"secret", quality=75)
    assert ask(path).code == 0
    content = (tmp_path / "photo.ANNOTATED.jpg").read_bytes()
    assert b"where I live" not in content
    assert b"secret" not in content


def test_foreign_vectors_are_marked_in_the_table_and_told(
    run_script: RunScript, face_url: str, serve: Callable[[Any], str], tmp_path: Path
) -> None:
    address = serve(answering((200, {**GOOD, "in_distribution": [False]}, {})))
    path = save_photo(tmp_path / "photo.jpg", 1)
    outcome = run_script(
        "client.py", "--image-path", path, "--url-face", face_url, "--url-age-gender", address
    )
    assert outcome.code == 0
    assert outcome.out.splitlines()[1].split()[1:5] == ["1!", "30", "±", "1"]
    assert "1 of 1 faces (marked !) cannot be trusted" in outcome.err


# --- several photos -------------------------------------------------------------------------------


def test_a_folder_is_done_with_a_progress_bar_and_again_without_its_own_output(
    ask: Ask, tmp_path: Path
) -> None:
    for number in range(3):
        save_photo(tmp_path / "album" / f"{number}" / "photo.jpg", 1)
    for _ in range(2):
        outcome = ask(tmp_path / "album")
        assert outcome.code == 0
        assert "photos: 100%" in outcome.err
        assert len(outcome.out.splitlines()) == 1 + 3
    assert len(list((tmp_path / "album").rglob("*.ANNOTATED.jpg"))) == 3


def test_a_pattern_is_written_to_another_folder(ask: Ask, tmp_path: Path) -> None:
    for number in range(2):
        save_photo(tmp_path / f"{number}.jpg", 1)
    outcome = ask(tmp_path / "?.jpg", options=("--out-dir", tmp_path / "out"))
    assert outcome.code == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "0.ANNOTATED.jpg",
        "1.ANNOTATED.jpg",
    }


def test_a_photo_that_fails_is_reported_and_the_others_go_on(ask: Ask, tmp_path: Path) -> None:
    save_photo(tmp_path / "a.jpg", 1)
    whole = save_photo(tmp_path / "b.jpg", 1).read_bytes()
    (tmp_path / "c\x1b[31m.jpg").write_bytes(b"no picture")
    (tmp_path / "d.jpg").write_bytes(whole[: len(whole) // 2])
    save_photo(tmp_path / "e.jpg", 1)
    outcome = ask(tmp_path)
    assert outcome.code == 1
    assert "c\\x1b[31m.jpg: not an image" in outcome.err
    assert "d.jpg: truncated or damaged image" in outcome.err
    assert "2 of 5 photos failed" in outcome.err
    assert "\x1b[31m" not in outcome.out
    assert sum(" failed " in line for line in outcome.out.splitlines()) == 2
    assert len(list(tmp_path.glob("*.ANNOTATED.jpg"))) == 3
    assert not list(tmp_path.glob(".*"))


def test_a_photo_whose_metadata_is_odd_is_annotated(ask: Ask, tmp_path: Path) -> None:
    whole = save_photo(tmp_path / "a.jpg", 1).read_bytes()
    numbers = exif(entry(0x010F, 5, 1, b"\0\0\0\x26"), entry(0x0112, 3, 1, b"\0\1\0\0"))
    (tmp_path / "a.jpg").write_bytes(in_jpeg(whole, b"Exif\0\0" + numbers + bytes(8)))
    (tmp_path / "b.jpg").write_bytes(whole[:-2])
    outcome = ask(tmp_path)
    assert outcome.code == 0
    assert [row.split()[1] for row in outcome.out.splitlines()[1:]] == ["1", "1"]


def test_failures_are_counted_by_their_kind_and_files_that_are_left_out_by_why(
    ask: Ask, tmp_path: Path
) -> None:
    whole = save_photo(tmp_path / "a.jpg", 1).read_bytes()
    for name, content in (("b.jpg", whole[:500]), ("c.jpg", whole[:600]), ("d.jpg", b"no picture")):
        (tmp_path / name).write_bytes(content)
    for name in ("e.heic", "f.txt", "g\x1b[31m.t\x1b"):
        (tmp_path / name).write_bytes(b"x")
    outcome = ask(tmp_path)
    assert outcome.code == 1
    assert "3 of 4 photos failed (2 truncated or damaged image, 1 not an image)" in outcome.err
    assert "1 HEIC (convert it to JPEG)" in outcome.err
    assert "1 not a picture by its name (.txt)" in outcome.err
    assert "\x1b" not in outcome.err


@pytest.mark.parametrize("error", [ZeroDivisionError("x"), MemoryError(), OSError("broken")])
def test_whatever_drawing_raises_fails_one_photo_and_the_others_go_on(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        save_photo(tmp_path / name, 2 if name == "b.jpg" else 1)

    def annotated(photo: Image.Image, guesses: Sequence[SeenFace]) -> Image.Image:
        if len(guesses) == 2:
            raise error
        return annotate.annotated(photo, guesses)

    monkeypatch.setattr("photo_client.annotator.annotated", annotated)
    outcome = ask(tmp_path)
    kind = f"cannot be annotated ({type(error).__name__})"
    assert outcome.code == 1
    assert f"b.jpg: {kind}" in outcome.err
    assert f"1 of 3 photos failed (1 {kind})" in outcome.err
    assert len(list(tmp_path.glob("*.ANNOTATED.jpg"))) == 2


def test_a_name_that_is_too_long_for_the_annotated_photo_fails_the_photo(
    ask: Ask, tmp_path: Path
) -> None:
    save_photo(tmp_path / f"{'x' * 250}.jpg", 1)
    save_photo(tmp_path / "y.jpg", 1)
    outcome = ask(tmp_path)
    assert outcome.code == 1
    assert "1 of 2 photos failed (1 cannot be written)" in outcome.err


def test_json_holds_the_failures_too(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    save_photo(tmp_path / "b.jpg", 1)
    outcome = ask(tmp_path, options=("--json",))
    first, second = json.loads(outcome.out)["photos"]
    assert outcome.code == 1
    assert first == {"image_path": str(tmp_path / "a.jpg"), "error": "empty file"}
    assert len(second["faces"]) == 1


def test_a_folder_that_cannot_be_written_is_found_before_the_first_request(
    ask: Ask, tmp_path: Path
) -> None:
    path = save_photo(tmp_path / "photo.jpg", 1)
    (tmp_path / "file").write_text("no folder")
    options = ("--out-dir", tmp_path / "file", "--url-face", "http://127.0.0.1:9/")
    outcome = ask(path, options=options)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"error: {tmp_path / 'file'} cannot be written: ")


# --- servers that are away, busy, or others -------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--url-face", f"the face server at {NOWHERE} is away (nothing listens there)"),
        ("--url-age-gender", f"the age-gender server at {NOWHERE} is away (nothing listens there)"),
    ],
)
def test_a_server_that_is_away_is_one_line(
    ask: Ask, tmp_path: Path, option: str, message: str
) -> None:
    outcome = ask(save_photo(tmp_path / "photo.jpg", 1), options=(option, NOWHERE))
    assert outcome.code == 2
    assert outcome.err.startswith(f"error: {message}")
    assert option in outcome.err
    assert "start it with `python " in outcome.err
    assert "ask no server with --local" in outcome.err
    assert outcome.err.count("\n") == 1


def test_servers_that_are_swapped_are_told_apart(
    ask: Ask, url: str, face_url: str, tmp_path: Path
) -> None:
    path = save_photo(tmp_path / "photo.jpg", 1)
    swapped = ask(path, options=("--url-age-gender", face_url))
    assert (swapped.code, "is this the age-gender server?" in swapped.err) == (2, True)
    swapped = ask(path, options=("--url-face", url))
    assert (swapped.code, "is no face server" in swapped.err) == (2, True)


def test_what_was_seen_before_a_server_went_away_is_printed(
    run_script: RunScript, url: str, tmp_path: Path
) -> None:
    for number in range(3):
        save_photo(tmp_path / f"{number}.jpg", 1)
    with StandInServer(behaviour=Behaviour(exit_after=3)) as server:  # the probe, and two photos
        outcome = run_script(
            "client.py", "--image-path", tmp_path, "--url-face", server.url, "--url-age-gender", url
        )
    assert outcome.code == 2
    assert f"the face server at {server.url} is away" in outcome.err
    assert len(outcome.out.splitlines()) == 1 + 2
    assert len(list(tmp_path.glob("*.ANNOTATED.jpg"))) == 2


def test_a_failure_of_the_face_server_that_passes_is_tried_again(
    run_script: RunScript, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("photo_client.face_server.RETRY", RetryPolicy((0.0,) * 30))
    for number in range(6):
        save_photo(tmp_path / f"{number}.jpg", 1)
    with StandInServer(behaviour=Behaviour(fail_every=3, garbage_every=4)) as server:
        outcome = run_script(
            "client.py", "--image-path", tmp_path, "--url-face", server.url, "--url-age-gender", url
        )
    assert outcome.code == 0
    assert server.num_requests > 7


def test_a_busy_server_is_waited_for_as_long_as_it_says(serve: Callable[[Any], str]) -> None:
    waits: list[float] = []
    busy = [(429, {"error": "busy"}, {"Retry-After": text}) for text in ("2", "500", "soon")]
    server = AgeGenderServer(serve(answering(*busy, (200, GOOD, {}))), wait=waits.append)
    assert server.estimate(ONE, EIGHT).ages == [30.0]
    server.close()
    assert waits == [2, LONGEST_WAIT_S, 1.0]


def test_a_server_that_is_busy_from_the_start_is_not_taken_for_another(
    serve: Callable[[Any], str],
) -> None:
    application = Flask("busy")
    application.add_url_rule("/health", "health", lambda: ({"error": "busy"}, 429))
    server = AgeGenderServer(serve(application), wait=lambda _: None)
    with pytest.raises(UserError, match=r"stays busy \(HTTP 429: busy\)"):
        server.health()
    server.close()


def test_a_server_that_stays_busy_fails_the_photo(serve: Callable[[Any], str]) -> None:
    waits: list[float] = []
    server = AgeGenderServer(serve(answering((429, {"error": "busy"}, {}))), wait=waits.append)
    with pytest.raises(RequestRefusedError, match="HTTP 429: busy"):
        server.estimate(ONE, EIGHT)
    server.close()
    assert waits == [1.0] * 4


def test_the_reason_of_a_refusal_is_shown(serve: Callable[[Any], str]) -> None:
    refusal: tuple[int, Any, dict[str, str]] = (
        422,
        {"error": "the vectors are of another network"},
        {},
    )
    server = AgeGenderServer(serve(answering(refusal)))
    with pytest.raises(RequestRefusedError, match="HTTP 422: the vectors are of another network"):
        server.estimate(ONE, Wanted())
    server.close()


FOREIGN = [
    "<html>hello</html>",
    "[" * 100_000,
    [],
    {"ages": [30]},
    {**GOOD, "ages": [30, 31]},
    {**GOOD, "ages": ["30"]},
    {**GOOD, "ages": [True]},
    {**GOOD, "genders": [{"m": None}]},
    {**GOOD, "genders": {"m": 1}},
    {**GOOD, "uncertainty": [{"age": float("nan"), "gender": 0.1}]},
    {**GOOD, "in_distribution": ["yes"]},
    {**GOOD, "in_distribution": [True, True]},
    {**GOOD, "covered": [True, True]},
    {**GOOD, "age_intervals": [[24]]},
    {**GOOD, "age_intervals": [[24, None]]},
    {**GOOD, "gender_sets": [["x"]]},
    {**GOOD, "over": [{"18": "likely"}]},
]


@pytest.mark.parametrize("content", FOREIGN, ids=range(len(FOREIGN)))
def test_an_answer_of_another_form_is_no_answer(serve: Callable[[Any], str], content: Any) -> None:
    server = AgeGenderServer(serve(answering((200, content, {}))))
    with pytest.raises(UserError, match="is no age-gender server"):
        server.estimate(ONE, EIGHT)
    server.close()


def test_the_proxy_of_the_shell_is_not_asked(
    serve: Callable[[Any], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", NOWHERE)
    monkeypatch.setenv("no_proxy", "")
    server = AgeGenderServer(serve(answering((200, GOOD, {}))))
    assert server.estimate(ONE, EIGHT).ages == [30.0]
    server.close()


STATUSES: list[tuple[int, dict[str, str], str]] = [
    (404, {}, "404 Not Found, from http://127.0.0.1:PORT/: is this the age-gender server?"),
    (401, {}, "401 Unauthorized, from"),
    (407, {}, "407 Proxy Authentication Required, from"),
    (302, {"Location": "/health"}, "302 Found, to http://127.0.0.1:PORT/health; give that address"),
    (308, {"Location": "https://a/faces/"}, "308 Permanent Redirect, to https://a/faces/; give"),
    (301, {"Location": "http://user:secret@a/"}, "301 Moved Permanently, from"),
    (301, {"Location": "http://a/" + "x" * 999}, "301 Moved Permanently, from"),
    (599, {}, "599 unknown status, from"),
]


@pytest.mark.parametrize(("status", "headers", "message"), STATUSES)
@pytest.mark.parametrize("content", ["<html>hello</html>", {"detail": "Not Found"}, {"error": ""}])
def test_any_other_status_is_named_and_no_redirect_is_followed(
    serve: Callable[[Any], str], status: int, headers: dict[str, str], message: str, content: Any
) -> None:
    url = serve(answering((status, content, headers)))
    server = AgeGenderServer(url)
    with pytest.raises(UserError) as caught:
        server.estimate(ONE, Wanted())
    server.close()
    assert str(caught.value).startswith(message.replace("http://127.0.0.1:PORT/", url))
    assert "--url-age-gender" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_server_or_proxy_that_is_busy_for_now_is_asked_again(
    serve: Callable[[Any], str], status: int
) -> None:
    waits: list[float] = []
    busy: tuple[int, Any, dict[str, str]] = (status, "<html>Bad Gateway</html>", {})
    server = AgeGenderServer(serve(answering(busy, busy, (200, GOOD, {}))), wait=waits.append)
    assert server.estimate(ONE, EIGHT).ages == [30.0]
    server.close()
    assert waits == [1.0] * 2


def test_a_face_server_that_stays_busy_is_not_taken_for_another(
    run_script: RunScript,
    url: str,
    serve: Callable[[Any], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("photo_client.face_server.RETRY", RetryPolicy((0.0,)))
    face_url = serve(answering((504, "<html>", {"Retry-After": "0"})))
    path = save_photo(tmp_path / "photo.jpg", 1)
    outcome = run_script(
        "client.py", "--image-path", path, "--url-face", face_url, "--url-age-gender", url
    )
    assert outcome.code == 2
    assert f"the face server at {face_url} stays busy (HTTP 504: Gateway Timeout)" in outcome.err


def test_the_face_server_is_waited_for_as_long_as_it_says(
    serve: Callable[[Any], str], url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    waits: list[float] = []
    busy: tuple[int, Any, dict[str, str]] = (503, "", {"Retry-After": "7"})
    face_url = serve(answering(busy, (200, encode_faces([]), {})))
    options = ClientOptions([str(save_photo(tmp_path / "photo.jpg", 1))], face_url, url)
    assert run_client(options, waits.append) == 0
    assert waits == [7]


def test_a_proxy_whose_server_stays_away_is_named(serve: Callable[[Any], str]) -> None:
    server = AgeGenderServer(serve(answering((502, "<html>", {}))), wait=lambda _: None)
    with pytest.raises(RequestRefusedError, match="HTTP 502: Bad Gateway"):
        server.estimate(ONE, EIGHT)
    server.close()


def test_an_endless_answer_is_cut(
    serve: Callable[[Any], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_server, "MAX_ANSWER_BYTES", 2**17)
    server = AgeGenderServer(serve(answering((200, " " * 2**20, {}))))
    with pytest.raises(UserError, match="more than 131072 bytes"):
        server.estimate(ONE, Wanted())
    server.close()


def test_an_address_below_a_path_works(serve: Callable[[Any], str]) -> None:
    application, inner = Flask("below"), answering((200, GOOD, {}))
    application.add_url_rule("/faces/health", "health", lambda: HEALTH)
    view = inner.view_functions["faces"]
    application.add_url_rule("/faces/", "faces", view, methods=["POST"])
    server = AgeGenderServer(serve(application) + "faces")
    assert server.health().num_ages == 101
    assert server.estimate(ONE, EIGHT).genders[0].m == 0.25
    server.close()


@pytest.mark.parametrize(
    "address",
    [
        *("localhost", "localhost:port", "ftp://a/", "http://", "100030", "http://[::1/"),
        *("http://user:secret@a/", "user:secret@a:7", "http://user:secret@[a/", "//u:secret@a/"),
    ],
)
def test_a_wrong_address_is_an_error_that_shows_a_right_one(address: str) -> None:
    with pytest.raises(DataError, match=r"such as .http://127\.0\.0\.1:10003/") as caught:
        AgeGenderServer(address)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("path", ["faces", "faces/", "faces/?x=1"])
def test_an_address_may_lack_its_scheme_and_have_a_path(
    serve: Callable[[Any], str], path: str
) -> None:
    application = Flask("below")
    application.add_url_rule("/faces/health", "health", lambda: HEALTH)
    server = AgeGenderServer(serve(application).removeprefix("http://") + path)
    assert server.health().num_ages == 101
    server.close()


@pytest.mark.parametrize("form", ["http://[::1]:{}", "[::1]:{}/", "HTTP://[0:0::1]:{}/"])
def test_servers_on_ipv6_are_asked(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not has_ipv6():
        pytest.skip("needs the address ::1")
    with listening(answering((200, GOOD, {})), monkeypatch, host="::1") as listener:
        server = AgeGenderServer(form.format(listener.port))
        assert server.health().num_ages == 101
        assert server.estimate(ONE, EIGHT).ages == [30.0]
        server.close()


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


# --- the command line -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--resize", "-1"), "--resize is -1, expected 0 to 2048"),
        (("--resize", "9999"), "--resize is 9999"),
        (("--mc-samples", "-1"), "--mc-samples is -1, expected 0 or more"),
        (("--mc-samples", "99999"), "--mc-samples is 99999, the server takes up to"),
        (("--timeout", "0"), "--timeout is 0, expected more than 0 seconds"),
        (("--timeout", "nan"), "--timeout is nan"),
        (("--level", "90"), "level is 90.0, expected a number from 0.5 to 0.99"),
        (("--over", "18,x"), "argument --over: '18,x', expected at most 20 whole years from 1"),
        (("--over", "18,999"), "over is 18,999, expected at most 20 whole years from 1 to 100"),
    ],
)
def test_an_option_out_of_its_range_is_an_error(
    ask: Ask, tmp_path: Path, options: tuple[str, str], message: str
) -> None:
    outcome = ask(save_photo(tmp_path / "photo.jpg", 1), options=options)
    assert outcome.code == 2
    assert f"error: {message}" in outcome.err


def test_the_script_is_short_and_starts_without_torch() -> None:
    assert len((ROOT / "client.py").read_text(encoding="utf-8").splitlines()) <= 60
    code = "import sys, client; sys.exit('torch' in sys.modules)"
    outcome = subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (outcome.returncode, outcome.stderr) == (0, "")
