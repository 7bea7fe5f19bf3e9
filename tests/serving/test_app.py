import base64
import json
import math
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from flask.cli import FlaskGroup
from helpers import ROOT
from networks import embed
from serving_helpers import (
    BINARY,
    JSON,
    Floats,
    config_of,
    error_of,
    expected_of,
    json_body,
    network,
    original_body,
    pickled,
    post,
    save_model,
    save_original,
    send_picture,
    served_networks,
    serving,
    settings_of,
    statistics_of,
    vectors,
)

from app import create_app
from serving.routes import AgeGenderApp
from utils.errors import CheckpointError, ConfigError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[AgeGenderApp]:
    with serving(folder, max_faces=100, max_mc_samples=50, max_mc_passes=200) as running:
        yield running


@pytest.fixture(scope="module")
def checking_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgeGenderApp]:
    """Serve models that know the embeddings of network 0."""
    folder = tmp_path_factory.mktemp("checking")
    save_model(folder / "age.pth", 101, 1, embeddings=statistics_of(0))
    save_model(folder / "gender.pth", 2, 2, embeddings=statistics_of(0))
    with serving(folder) as running:
        yield running


OF_CONFIDENCE = ("level", "age_intervals", "gender_sets", "covered")
BODIES: dict[str, Callable[[Floats], tuple[bytes, str]]] = {
    "JSON": lambda rows: (json_body(rows), JSON),
    "binary": lambda rows: (rows.astype("<f4").tobytes(), BINARY),
    "original, protocol 3": lambda rows: (original_body(pickled(rows, 3)), JSON),
    "original, protocol 5": lambda rows: (original_body(pickled(rows, 5)), JSON),
}


# --- POST / ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", BODIES)
@pytest.mark.parametrize("num_faces", [1, 3, 64])
def test_answers_are_those_of_the_models_own_forward(
    form: str, num_faces: int, server: AgeGenderApp
) -> None:
    rows = vectors(num_faces)
    response = post(server, *BODIES[form](rows))
    assert (response.status_code, response.mimetype) == (200, JSON)
    content = response.get_json()
    ages, genders = expected_of(rows)
    np.testing.assert_allclose(content["ages"], ages, atol=1e-3)
    assert [list(gender) for gender in content["genders"]] == [["m", "f"]] * num_faces
    got = [list(gender.values()) for gender in content["genders"]]
    np.testing.assert_allclose(got, genders, atol=1e-5)
    assert content["in_distribution"] == [None] * num_faces
    assert list(content) == ["ages", "genders", "in_distribution", *OF_CONFIDENCE]


@pytest.mark.parametrize("form", BODIES)
def test_no_faces_are_empty_lists(form: str, server: AgeGenderApp) -> None:
    response = post(server, *BODIES[form](np.empty((0, 512), np.float32)))
    assert response.status_code == 200
    content = response.get_json()
    assert content.pop("level") == 0.9
    assert content == {
        key: [] for key in ("ages", "genders", "in_distribution", *OF_CONFIDENCE) if key != "level"
    }
    for query, keys in (
        ("?mc_samples=5", 8),
        ("?answer=2022", 3),
        ("?strict=1", 7),
        ("?over=18", 8),
    ):
        content = post(server, json_body([]), query=query).get_json()
        assert len(content) == keys
        assert content.pop("level", 0.9) == 0.9
        assert all(values == [] for values in content.values())


def test_one_bare_vector_is_one_face(server: AgeGenderApp) -> None:
    bare, listed = (
        post(server, json_body(rows)).get_json() for rows in (vectors(1)[0], vectors(1))
    )
    assert bare == listed


def test_the_client_of_2021_gets_what_it_reads(server: AgeGenderApp) -> None:
    """What it sends is encoded as jsonpickle and requests do, and read back as it does."""
    data = vectors(2)
    text = json.dumps(
        {"embeddings": {"py/b64": base64.b64encode(pickled(data, 4)).decode()}}
    )  # jsonpickle.encode
    response = server.test_client().post("/", json=text)  # requests.post(url, json=text)
    answer = json.loads(response.text)
    ages, genders = expected_of(data)
    np.testing.assert_allclose(answer["ages"], ages, atol=1e-3)
    for gender, expected in zip(answer["genders"], genders.tolist(), strict=True):
        assert gender["m"] == pytest.approx(expected[0], abs=1e-5)
        assert gender["f"] == pytest.approx(1 - gender["m"], abs=1e-6)


def test_the_client_of_2022_gets_what_it_reads(server: AgeGenderApp) -> None:
    data = vectors(2)
    text = json.dumps({"embeddings": {"py/b64": base64.b64encode(pickled(data, 4)).decode()}})
    answer = server.test_client().post("/?answer=2022", json=text).get_json()
    ages, genders = expected_of(data)
    age, gender = served_networks()
    with torch.no_grad():
        rows = [net(torch.from_numpy(data)).softmax(1).double() for net in (age, gender)]
    entropies = [-(p * p.log()).sum(1) for p in rows]
    for number in range(2):
        assert list(answer["ages"][number]) == ["mean", "entropy"]
        assert answer["ages"][number]["mean"] == pytest.approx(float(ages[number]), abs=1e-3)
        assert answer["ages"][number]["entropy"] == pytest.approx(
            float(entropies[0][number]), abs=1e-4
        )
        assert list(answer["genders"][number]) == ["m", "f", "entropy"]
        assert answer["genders"][number]["m"] == pytest.approx(float(genders[number, 0]), abs=1e-5)
        assert answer["genders"][number]["entropy"] == pytest.approx(
            float(entropies[1][number]), abs=1e-4
        )


def test_passes_with_dropout_give_their_mean_and_its_entropy(server: AgeGenderApp) -> None:
    rows = vectors(3)
    content = post(server, json_body(rows), query="?mc_samples=50").get_json()
    assert list(content) == ["ages", "genders", "uncertainty", "in_distribution", *OF_CONFIDENCE]
    plain = post(server, json_body(rows)).get_json()
    assert content["ages"] != plain["ages"]
    np.testing.assert_allclose(content["ages"], plain["ages"], atol=2)
    for gender, uncertainty in zip(content["genders"], content["uncertainty"], strict=True):
        entropy = -sum(p * math.log(p) for p in gender.values())
        assert uncertainty["gender"] == pytest.approx(entropy, abs=1e-4)
        assert 0 < uncertainty["age"] < math.log(101)
    assert "uncertainty" not in post(server, json_body(rows), query="?mc_samples=0").get_json()


def test_other_lengths_are_taken_with_normalize_only(server: AgeGenderApp) -> None:
    expected = post(server, json_body(vectors(2))).get_json()
    body = json_body(vectors(2) * 20)
    assert "?normalize=1 accepts" in error_of(post(server, body), 400)
    assert "?normalize=1 accepts" in error_of(post(server, body, query="?normalize=0"), 400)
    got = post(server, body, query="?normalize=1").get_json()
    np.testing.assert_allclose(got["ages"], expected["ages"], atol=1e-3)


def test_vectors_of_another_network_are_told_and_refused_where_that_is_asked_for(
    checking_server: AgeGenderApp,
) -> None:
    rows = np.concatenate([embed(0, 3, seed=7), embed(1, 2, seed=7)])
    verdicts = [True] * 3 + [False] * 2
    for query in ("", "?mc_samples=3", "?answer=2022"):
        content = post(checking_server, json_body(rows), query=query).get_json()
        assert content["in_distribution"] == verdicts
    for query in ("?strict=1", "?strict=1&mc_samples=3"):
        text = error_of(post(checking_server, json_body(rows), query=query), 422)
        assert text.startswith("2 of the vectors, the first that of face 3, are not of the network")
    assert post(checking_server, json_body(rows[:3]), query="?strict=1").status_code == 200


def test_where_no_model_can_tell_strict_refuses_nothing(server: AgeGenderApp) -> None:
    response = post(server, json_body(vectors(1)), query="?strict=1")
    assert response.get_json()["in_distribution"] == [None]


@pytest.mark.parametrize("query", ["?mc_samples=x", "?strict=yes", "?answer=2023", "?other=1"])
def test_a_query_that_is_not_understood_is_refused(query: str, server: AgeGenderApp) -> None:
    error_of(post(server, json_body(vectors(1)), query=query), 400)


def test_wrong_bodies_and_types_are_refused_and_the_server_goes_on(server: AgeGenderApp) -> None:
    good = json_body(vectors(1))
    for body, kind, status in (
        (b"", JSON, 400),
        (b"{", JSON, 400),
        (b"\x00" * 2047, BINARY, 400),
        (json_body([[float("nan")] * 512]), JSON, 400),
        (good, "text/plain", 415),
        (good, "", 415),
        (good, "application/x-www-form-urlencoded", 415),
        ({"embeddings": "x"}, "multipart/form-data", 415),
    ):
        error_of(post(server, body, kind), status)
        assert post(server, good).status_code == 200
    assert post(server, good, "application/json; charset=utf-8").status_code == 200
    assert post(server, good, "Application/JSON").status_code == 200


def test_a_hostile_pickle_is_refused_and_runs_nothing(server: AgeGenderApp, tmp_path: Path) -> None:
    target = tmp_path / "ran"
    hostile = b"\x80\x02cos\nsystem\nX" + len(f"touch {target}").to_bytes(4, "little")
    hostile += f"touch {target}".encode() + b"\x85R."
    error_of(post(server, original_body(hostile)), 400)
    assert not target.exists()
    assert post(server, json_body(vectors(1))).status_code == 200


# --- models ---------------------------------------------------------------------------------------


def test_an_age_model_of_eight_classes_gives_the_expectation_over_their_centres(
    tmp_path: Path,
) -> None:
    save_model(tmp_path / "age.pth", 8, seed=5)
    save_model(tmp_path / "gender.pth", 2, seed=2)
    with serving(tmp_path) as running:
        got = post(running, json_body(vectors(4))).get_json()["ages"]

    with torch.no_grad():
        probabilities = network(8, 5)(torch.from_numpy(vectors(4))).softmax(1).numpy()
    expected = probabilities @ [1, 5, 10, 17.5, 28.5, 40.5, 50.5, 80]
    np.testing.assert_allclose(got, expected, atol=1e-3)


def test_the_published_files_of_the_original_are_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_original(tmp_path / "age.pth", 101, 1, monkeypatch)
    save_original(tmp_path / "gender.pth", 2, 2, monkeypatch)
    with serving(tmp_path) as running:
        content = post(running, json_body(vectors(3))).get_json()
    ages, _ = expected_of(vectors(3))
    np.testing.assert_allclose(content["ages"], ages, atol=1e-3)


def test_weights_with_their_config_beside_them_are_served(tmp_path: Path) -> None:
    age, gender = served_networks()
    for name, net, num_classes in (("age", age, 101), ("gender", gender, 2)):
        torch.save(net.state_dict(), tmp_path / f"{name}.pth")
        (tmp_path / f"{name}.json").write_text(json.dumps(config_of(num_classes)))
    with serving(tmp_path) as running:
        content = post(running, json_body(vectors(3))).get_json()
    np.testing.assert_allclose(content["ages"], expected_of(vectors(3))[0], atol=1e-3)


def test_a_missing_model_ends_in_one_line(
    folder: Path, tmp_path: Path, run_script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = tmp_path / "none.pth"
    with pytest.raises(CheckpointError, match="no age model there"):
        create_app(settings_of(folder, age_model=missing))
    monkeypatch.setenv("AGE_MODEL", str(missing))
    outcome = run_script("app.py")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"error: {missing}: no age model there. ")
    assert outcome.err.count("\n") == 1
    assert "export_model" in outcome.err


def test_mixed_up_files_and_wrong_settings_are_refused(folder: Path) -> None:
    settings = settings_of(folder)
    swapped = {"age_model": settings["gender_model"], "gender_model": settings["age_model"]}
    with pytest.raises(CheckpointError, match="mixed up"):
        create_app({**settings, **swapped})
    with pytest.raises(ConfigError, match="color: unknown key, known are age_model"):
        create_app({**settings, "color": "red"})


def test_the_command_of_flask_serves_it_and_shows_an_error_as_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runner = CliRunner()
    monkeypatch.chdir(ROOT)
    for name, value in settings_of(folder).items():
        monkeypatch.setenv(name.upper(), str(value))
    arguments = ["--app", "app", "routes"]
    outcome = runner.invoke(FlaskGroup(), arguments)
    assert outcome.exit_code == 0, outcome.output
    assert "/health" in outcome.output
    monkeypatch.setenv("AGE_MODEL", str(tmp_path / "none.pth"))
    outcome = runner.invoke(FlaskGroup(), [*arguments[:2], "run", "-p", "0"])
    assert outcome.exit_code == 1
    assert "no age model there" in outcome.output
    assert "Traceback" not in outcome.output


# --- the other addresses --------------------------------------------------------------------------


def test_health_tells_models_and_limits(checking_server: AgeGenderApp) -> None:
    content = checking_server.test_client().get("/health").get_json()
    assert content["status"] == "ok"
    for kind, num_classes in (("age", 101), ("gender", 2)):
        model = content["models"][kind]
        assert (model["name"], model["num_classes"]) == (f"{kind}.pth", num_classes)
        assert len(model["version"]) == 12
        assert model["network_check"]["threshold"] > 0
    assert content["limits"] == {
        "max_body_bytes": 16 * 2**20,
        "max_faces": 8192,
        "max_mc_samples": 1024,
        "max_mc_passes": 2**18,
    }
    assert content["device"] == "cpu"


def test_health_fails_when_the_models_do_not_answer(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(folder) as running:
        client = running.test_client()
        assert client.get("/health").status_code == 200
        with monkeypatch.context() as patch:
            patch.setattr(running.engine, "_predict", lambda _: 1 / 0)
            error_of(client.get("/health"), 503)
        assert client.get("/health").status_code == 200
    error_of(client.get("/health"), 503)  # closed


def test_the_page_and_its_parts_are_there(server: AgeGenderApp) -> None:
    for path, kinds in (
        ("/", {"text/html"}),
        ("/static/page.css", {"text/css"}),
        ("/static/page.js", {"text/javascript", "application/javascript"}),
    ):
        with server.test_client().get(path) as response:
            assert (response.status_code, response.mimetype in kinds) == (200, True)


@pytest.mark.parametrize(
    "path",
    [
        "/none",
        "/static//page.js",
        "/static/../app.py",
        "/static/none.js",
        "/%ff",
        "/image/x",
    ],
)
def test_an_unknown_path_is_404_in_json(path: str, server: AgeGenderApp) -> None:
    error_of(server.test_client().get(path), 404)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/", {"GET", "HEAD", "OPTIONS", "POST"}),
        ("DELETE", "/health", {"GET", "HEAD", "OPTIONS"}),
        ("GET", "/image", {"OPTIONS", "POST"}),
        ("POST", "/static/page.css", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_a_wrong_method_is_405_in_json_and_says_which_are_right(
    method: str, path: str, allowed: set[str], server: AgeGenderApp
) -> None:
    response = server.test_client().open(path, method=method)
    error_of(response, 405)
    assert set(response.headers["Allow"].split(", ")) == allowed


@pytest.mark.parametrize("path", ["/", "/health", "/static/page.js", "/none"])
def test_every_answer_carries_the_headers_that_guard_the_page(
    path: str, server: AgeGenderApp
) -> None:
    with server.test_client().get(path) as response:
        headers = response.headers
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Permissions-Policy"] == "camera=(self), microphone=()"
    assert headers["Cache-Control"] in ("no-store", "no-cache")
    assert "Set-Cookie" not in headers


# --- limits ---------------------------------------------------------------------------------------


def test_over_a_limit_is_413(server: AgeGenderApp) -> None:
    good = json_body(vectors(1))
    assert "101 faces, at most 100" in error_of(post(server, json_body(vectors(101))), 413)
    assert "mc_samples is 51, at most 50" in error_of(
        post(server, good, query="?mc_samples=51"), 413
    )
    text = error_of(post(server, json_body(vectors(5)), query="?mc_samples=41"), 413)
    assert text == "5 faces x 41 passes, at most 200 in all"
    assert post(server, json_body(vectors(5)), query="?mc_samples=40").status_code == 200


def test_a_body_over_the_limit_is_413(folder: Path) -> None:
    with serving(folder, max_body_bytes=4096) as running:
        assert post(running, vectors(2).tobytes(), BINARY).status_code == 200
        for path in ("/", "/image"):
            kind = BINARY if path == "/" else "multipart/form-data; boundary=x"
            body = vectors(2).tobytes() + b"x"
            response = running.test_client().post(path, data=body, content_type=kind)
            assert "the body is too large, at most 4,096 bytes" in error_of(response, 413)


def test_one_request_more_than_may_be_is_told_to_come_back(folder: Path) -> None:
    with serving(folder, max_queue=1, max_images=1) as running:
        client = running.test_client()
        with running.requests.entered(), running.pictures.entered():
            for response in (
                post(running, json_body(vectors(1))),
                send_picture(running, b"x"),
            ):
                assert error_of(response, 429) == "busy: 1 at once, as many as may be; try again"
                assert int(response.headers["Retry-After"]) >= 1
            assert client.get("/health").status_code == 200
        assert post(running, json_body(vectors(1))).status_code == 200


def test_places_are_given_back_after_errors(folder: Path) -> None:
    with serving(folder, max_queue=1, max_images=1) as running:
        for _ in range(3):
            error_of(post(running, b"{"), 400)
            error_of(send_picture(running, b"x"), 400)
        assert post(running, json_body(vectors(1))).status_code == 200


# --- what must not happen -------------------------------------------------------------------------


def test_an_error_of_the_program_is_one_line_without_what_was_sent(
    folder: Path, monkeypatch: pytest.MonkeyPatch, program_log: pytest.LogCaptureFixture
) -> None:
    def predict(embeddings: Any, *_: Any, **__: Any) -> Any:
        raise RuntimeError(f"bad numbers {embeddings.tolist()}")

    with serving(folder) as running:
        program_log.clear()
        with monkeypatch.context() as patch:
            patch.setattr(running.engine, "predict", predict)
            text = error_of(post(running, json_body(vectors(1))), 503)
        assert post(running, json_body(vectors(1))).status_code == 200
    assert text == "the server failed on this request; it goes on with others"
    (line,) = [record.getMessage() for record in program_log.records]
    assert line.startswith("RuntimeError at ")
    assert "test_app.py:" in line
    assert "bad numbers" not in line
    assert program_log.records[0].exc_info is None


def test_nothing_of_a_body_reaches_log_or_answer(
    server: AgeGenderApp, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(0)
    secret = "0.1234567891"  # noqa: S105 - a number of a vector
    rows = vectors(2).tolist()
    answers = b""
    for body in (
        json.dumps({"embeddings": rows}).replace("[[", f"[[{secret}, "),
        json.dumps({"embeddings": rows}).replace("[[", f"[[NaN, {secret}"),
        json.dumps({"embeddings": [secret] * 512}),
        json.dumps({secret: rows}),
        json.dumps(json.dumps({"embeddings": {"py/b64": secret}})),
        json.dumps({"embeddings": rows}),
    ):
        answers += post(server, body).data
    answers += send_picture(server, b"\xff\xd8\xff\xe0 secret picture").data
    written = answers.decode() + caplog.text + "".join(capsys.readouterr())
    assert "0.12345" not in written
    assert "secret" not in written


def test_nothing_is_written_to_a_disk(
    server: AgeGenderApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a temporary file")

    for name in ("TemporaryFile", "NamedTemporaryFile", "SpooledTemporaryFile", "mkstemp"):
        monkeypatch.setattr(tempfile, name, refuse)
    assert post(server, json_body(vectors(100))).status_code == 200
    error_of(send_picture(server, b"\xff\xd8" + bytes(3_000_000)), 400)
