"""Intervals, sets and thresholds are those of the confidence in the checkpoint, everywhere."""

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import embed
from serving_helpers import (
    BINARY,
    JSON,
    Floats,
    encoded,
    error_of,
    grids,
    json_body,
    original_body,
    pickled,
    post,
    save_model,
    send_picture,
    serving,
    settings_of,
    statistics_of,
    vectors,
)
from simulated_people import BOUNDS, fitted_age, fitted_gender, simulated_ages

from confidence.age import AgeConfidence
from sample.stand_in_server import StandInServer
from serving import load_predictor
from serving.face_confidence import ConfidenceQuery
from serving.predictor import Predictor
from serving.routes import AgeGenderApp
from utils.errors import UserError

AGE, GENDER = fitted_age(), fitted_gender()
LETTERS = np.array(["m", "f"])
EDGE = 0.9
"""The stand-in face server is about so sure of each face."""


def write(folder: Path, **others: Any) -> Path:
    """Write models with confidence, which know the embeddings of network 0; `others` change it."""
    entries = {"age": AGE.to_plain(), "gender": GENDER.to_plain(), **others}
    known = {"embeddings": statistics_of(0)} if entries.pop("detector", True) else {}
    folder.mkdir(exist_ok=True)
    save_model(folder / "age.pth", 101, 1, confidence=entries["age"], **known)
    save_model(folder / "gender.pth", 2, 2, confidence=entries["gender"], **known)
    return folder


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with StandInServer() as faces:
        yield faces.url


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def server(folder: Path, url: str) -> Iterator[AgeGenderApp]:
    with serving(folder, face_server_url=url) as running:
        yield running


@pytest.fixture(scope="module")
def predictor(folder: Path, url: str) -> Iterator[Predictor]:
    settings = settings_of(folder)
    paths = settings["age_model"], settings["gender_model"]
    with load_predictor(*paths, face_server_url=url, device="cpu", threads=1) as loaded:
        yield loaded


def ask(server: AgeGenderApp, rows: Floats, query: str = "") -> dict[str, Any]:
    response = post(server, json_body(rows), query=query)
    assert response.status_code == 200, response.data
    content: dict[str, Any] = response.get_json()
    return content


def of_confidence(content: dict[str, Any]) -> dict[str, Any]:
    names = ("level", "age_intervals", "gender_sets", "covered", "over")
    return {name: content[name] for name in names if name in content}


# --- the numbers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
def test_answers_are_those_of_the_confidence_in_the_checkpoints(
    level: float, server: AgeGenderApp
) -> None:
    rows = vectors(50)
    content = ask(server, rows, f"?level={level}&over=18,25,60")
    assert content["level"] == level
    said = server.engine.predict(rows)
    genders = said.gender.probabilities
    expected = AGE.intervals(said.age.probabilities, genders.argmax(1), level)
    assert content["age_intervals"] == expected.tolist()
    sets = GENDER.sets(genders, level)
    assert content["gender_sets"] == [LETTERS[in_set].tolist() for in_set in sets]
    over = AGE.over(said.age.probabilities, [18, 25, 60]).tolist()
    assert content["over"] == [dict(zip(("18", "25", "60"), row, strict=True)) for row in over]


def test_the_level_is_0_9_and_no_age_is_asked_for_unless_a_request_says_so(
    server: AgeGenderApp,
) -> None:
    assert of_confidence(ask(server, vectors(3))) == of_confidence(
        {**ask(server, vectors(3), "?level=0.9"), "level": 0.9}
    )
    assert "over" not in ask(server, vectors(3))


BODIES: dict[str, Callable[[Floats], tuple[bytes, str]]] = {
    "binary": lambda rows: (rows.astype("<f4").tobytes(), BINARY),
    "original": lambda rows: (original_body(pickled(rows)), JSON),
}


@pytest.mark.parametrize("form", BODIES)
def test_every_kind_of_body_gets_the_same(form: str, server: AgeGenderApp) -> None:
    rows, query = vectors(7), "?level=0.8&over=18"
    response = post(server, *BODIES[form](rows), query=query)
    assert response.get_json() == ask(server, rows, query)


def test_a_face_gets_the_same_alone_and_among_others(server: AgeGenderApp) -> None:
    rows, query = vectors(7), "?level=0.8&over=18"
    together = of_confidence(ask(server, rows, query))
    for number in range(len(rows)):
        alone = of_confidence(ask(server, rows[number : number + 1], query))
        assert alone["age_intervals"] == [together["age_intervals"][number]]
        assert alone["gender_sets"] == [together["gender_sets"][number]]
        assert alone["over"][0]["18"] == pytest.approx(together["over"][number]["18"], abs=1e-5)


def test_passes_with_dropout_change_nothing_of_it(server: AgeGenderApp) -> None:
    rows = vectors(5)
    plain, sampled = (ask(server, rows, f"?over=18&mc_samples={n}") for n in (0, 3))
    assert sampled["ages"] != plain["ages"]
    assert of_confidence(sampled) == of_confidence(plain)


def test_intervals_grow_with_the_level_and_fewer_reach_a_higher_age(server: AgeGenderApp) -> None:
    rows = vectors(40)
    intervals = [ask(server, rows, f"?level={p}")["age_intervals"] for p in (0.5, 0.8, 0.9, 0.99)]
    for inner, outer in itertools.pairwise(intervals):
        assert all(b[0] <= a[0] <= a[1] <= b[1] for a, b in zip(inner, outer, strict=True))
    assert intervals[0] != intervals[-1]
    sets = [ask(server, rows, f"?level={p}")["gender_sets"] for p in (0.5, 0.99)]
    assert all(set(a) <= set(b) for a, b in zip(*sets, strict=True))
    ages = range(5, 101, 5)
    for face in ask(server, rows, f"?over={','.join(map(str, ages))}")["over"]:
        assert list(face) == [str(age) for age in ages]
        assert list(face.values()) == sorted(face.values(), reverse=True)


@pytest.mark.parametrize(("seed", "letter", "width"), [(2, "f", 100), (3, "m", 0)])
def test_the_interval_of_a_group_is_that_of_the_predicted_gender(
    seed: int, letter: str, width: int, tmp_path: Path
) -> None:
    group = {"start": 0.0, "end": 1000.0, "num_people": 500}
    narrow = {**group, "gender": 0, "radii": [0.0] * 50}
    wide = {**group, "gender": 1, "radii": [0.5] * 50}
    write(tmp_path, age={**AGE.to_plain(), "groups": [narrow, wide]})
    save_model(tmp_path / "gender.pth", 2, seed)
    with serving(tmp_path) as server:
        content = ask(server, vectors(20))
    assert {max(one, key=one.__getitem__) for one in content["genders"]} == {letter}
    assert {last - first for first, last in content["age_intervals"]} == {width}


# --- what is not known ----------------------------------------------------------------------------


def test_models_without_confidence_say_null_and_old_keys_stay(tmp_path: Path) -> None:
    with serving(write(tmp_path, age=None, gender=None)) as server:
        for query in ("", "?over=18", "?over=18&mc_samples=2"):
            content = ask(server, embed(0, 2, seed=3), query)
            of_it = of_confidence(content)
            assert of_it.pop("level") == 0.9
            assert list(of_it.values()) == [[None, None]] * (4 if "over" in query else 3)
        health = server.test_client().get("/health").get_json()
        assert [health["models"][kind]["confidence"] for kind in ("age", "gender")] == [None] * 2
        assert server.test_client().get("/error-rates").get_json() == {"error_rates": []}


@pytest.mark.parametrize(("kind", "known"), [("age", "gender_sets"), ("gender", "age_intervals")])
def test_of_one_model_with_confidence_all_is_told(kind: str, known: str, tmp_path: Path) -> None:
    with serving(write(tmp_path, **{kind: None})) as server:
        content = ask(server, embed(0, 2, seed=3), "?over=18")
    unknown = {"age_intervals", "gender_sets"} - {known}
    assert content[unknown.pop()] == [None, None]
    assert None not in content[known]
    assert content["covered"] == [True, True]
    assert (content["over"] == [None, None]) == (kind == "age")


def test_a_level_that_too_few_people_allow_is_null_and_nothing_is_covered(tmp_path: Path) -> None:
    few = simulated_ages(30, 1)
    few_people = AgeConfidence.fit(few, BOUNDS).to_plain()
    with serving(write(tmp_path, age=few_people, gender=None)) as server:
        rows = embed(0, 2, seed=3)
        content = ask(server, rows, "?level=0.99&over=18")
        assert content["age_intervals"] == content["covered"] == content["over"] == [None, None]
        content = ask(server, rows, "?level=0.9")
        assert None not in content["age_intervals"]
        assert content["covered"] == [True, True]


def test_the_answer_of_2022_stays_as_it_was(server: AgeGenderApp) -> None:
    content = ask(server, vectors(2), "?answer=2022")
    assert list(content) == ["ages", "genders", "in_distribution"]
    assert [list(age) for age in content["ages"]] == [["mean", "entropy"]] * 2


@pytest.mark.parametrize("path", ["/", "/image"])
@pytest.mark.parametrize("query", ["?level=1", "?level=90", "?over=0", "?over=18,,25", "?over=a"])
def test_what_is_out_of_range_is_400_and_says_what_is_not(
    path: str, query: str, server: AgeGenderApp
) -> None:
    name = query[1:].partition("=")[0]
    is_picture = path == "/image"
    response = (
        send_picture(server, encoded(grids(1)), query)
        if is_picture
        else post(server, json_body(vectors(1)), query=query)
    )
    text = error_of(response, 400)
    assert text.startswith(f"{name} is ")
    assert "expected" in text


# --- whom it holds for ----------------------------------------------------------------------------


def test_a_face_of_another_network_is_not_covered(server: AgeGenderApp) -> None:
    rows = np.concatenate([embed(0, 2, seed=7), embed(1, 2, seed=7)])
    content = ask(server, rows)
    assert content["in_distribution"] == content["covered"] == [True, True, False, False]
    assert None not in content["age_intervals"]


def test_without_a_check_of_the_network_nobody_can_tell(tmp_path: Path) -> None:
    with serving(write(tmp_path, detector=False)) as server:
        content = ask(server, vectors(2))
    assert content["covered"] == [None, None]
    assert None not in content["age_intervals"]


@pytest.mark.parametrize(("lowest", "is_covered"), [(EDGE - 0.2, None), (EDGE + 0.05, False)])
def test_a_face_that_the_detector_is_less_sure_of_than_of_those_fitted_to_is_not_covered(
    lowest: float, is_covered: bool | None, tmp_path: Path, url: str
) -> None:
    """Of the detector that finds faces in pictures; POST / knows none."""
    age = {**AGE.to_plain(), "lowest_det_score": lowest}
    with serving(write(tmp_path, age=age, detector=False), face_server_url=url) as server:
        faces = send_picture(server, encoded(grids(2)), "?mc_samples=0").get_json()["faces"]
        assert [face["covered"] for face in faces] == [is_covered] * 2
        assert ask(server, vectors(2))["covered"] == [None, None]
        health = server.test_client().get("/health").get_json()["models"]
    assert health["age"]["confidence"]["lowest_det_score"] == lowest


# --- pictures, and from Python --------------------------------------------------------------------


def test_a_picture_says_of_each_face_what_its_embedding_gets(
    server: AgeGenderApp, predictor: Predictor
) -> None:
    picture = encoded(grids(3))
    content = send_picture(server, picture, "?mc_samples=0&level=0.8&over=18,25").get_json()
    assert content["level"] == 0.8
    faces = predictor(picture, mc_samples=0, level=0.8, over=(18, 25))
    said = [
        {"bbox": one.pop("box"), **one} for one in json.loads(json.dumps(list(map(asdict, faces))))
    ]
    assert said == content["faces"]
    found = predictor.find(_prepared(picture))
    sent = ask(server, found.embeddings, "?level=0.8&over=18,25")
    for number, face in enumerate(content["faces"]):
        assert face["age_interval"] == sent["age_intervals"][number]
        assert face["gender_set"] == sent["gender_sets"][number]
        assert face["over"] == sent["over"][number]
        assert face["covered"] == sent["covered"][number] is False  # of no network at all


def _prepared(picture: bytes) -> Any:
    from faces.photo import prepare

    return prepare(picture, 640)


def test_from_python_embeddings_get_what_post_gets(
    server: AgeGenderApp, predictor: Predictor
) -> None:
    rows = vectors(3)
    content = ask(server, rows, "?level=0.7&over=21")
    for number, one in enumerate(predictor.predict_embeddings(rows, 0, level=0.7, over=[21])):
        assert one.age_interval == tuple(content["age_intervals"][number])
        assert one.gender_set == tuple(content["gender_sets"][number])
        assert one.over == content["over"][number]
    (one,) = predictor.predict_embeddings(rows[:1], 5)
    assert one.over is None
    assert one.age_interval == tuple(ask(server, rows[:1])["age_intervals"][0])


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ({"level": 0.3}, "level is 0.3, expected a number from 0.5 to 0.99, such as 0.9"),
        ({"level": "0.9"}, "level is '0.9', expected a number"),
        ({"level": float("nan")}, "level is nan, expected a number"),
        ({"over": [18, 0]}, "over is 18,0, expected at most 20 whole years from 1 to 100"),
        ({"over": [18.5]}, "over is 18.5, expected"),
        ({"over": [True]}, "over is True, expected"),
        ({"over": range(1, 22)}, "over is 1,2,3"),
    ],
)
def test_from_python_too_a_number_out_of_range_is_refused(
    asked: dict[str, Any], complaint: str, predictor: Predictor
) -> None:
    with pytest.raises(UserError, match=complaint):
        predictor(grids(1), **asked)


def test_twenty_ages_are_not_too_many() -> None:
    assert len(ConfidenceQuery(over=tuple(range(1, 21))).over) == 20


# --- what is known of the models ------------------------------------------------------------------


def test_whom_it_was_fitted_to_and_how_often_it_is_wrong_can_be_asked(
    server: AgeGenderApp,
) -> None:
    client = server.test_client()
    models = client.get("/health").get_json()["models"]
    for kind, fitted in (("age", AGE), ("gender", GENDER)):
        assert models[kind]["confidence"] == {
            "num_faces": fitted.num_faces,
            "num_people": fitted.num_people,
            "lowest_det_score": None,
        }
    rates = client.get("/error-rates").get_json()["error_rates"]
    assert rates == json.loads(json.dumps(AGE.to_plain()["error_rates"]))
    assert [one["threshold"] for one in rates] == [13, 16, 18, 21, 25]
