import base64
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from faces.wire import FACE_FIELDS, encode_request
from sample.grid_faces import GRID_SIZE, GridFace, draw_picture, encode_picture, unit
from sample.stand_in_server import SYNTHETIC_MODEL, Behaviour, StandInServer

REPOSITORY = Path(__file__).resolve().parents[2]
SIZE = (2 * GRID_SIZE[0] + 48, GRID_SIZE[1] + 32)
CORNERS = ((16, 8), (GRID_SIZE[0] + 32, 8))
SCORES = (0.75, 0.95)


def vectors(num_faces: int) -> list[npt.NDArray[np.float32]]:
    rng = np.random.default_rng(5)
    return [unit(rng.standard_normal(512)) for _ in range(num_faces)]


def picture(num_faces: int) -> Image.Image:
    faces = [
        GridFace(*content)
        for content in zip(vectors(num_faces), SCORES[:num_faces], CORNERS[:num_faces], strict=True)
    ]
    return draw_picture(faces, SIZE, (30, 40, 50))


def jpeg(num_faces: int = 1, mode: str = "RGB") -> bytes:
    return encode_picture(picture(num_faces), mode)


@dataclass
class Answer:
    status: int
    content_type: str
    text: str

    def content(self) -> Any:
        return json.loads(self.text)

    def faces(self) -> list[dict[str, Any]]:
        """Read the arrays of the faces, trusting the server."""
        dtypes: list[str] = []
        return [
            {name: self._array(face[name]["py/reduce"], dtypes) for name in FACE_FIELDS}
            for face in self.content()["face_detection_recognition"]
        ]

    @staticmethod
    def _array(parts: list[Any], dtypes: list[str]) -> Any:
        *rest, last = parts
        dtype, content = [part for part in last["py/tuple"] if isinstance(part, dict)][-2:]
        if "py/reduce" in dtype:
            name = dtype["py/reduce"][1]["py/tuple"][0]
        else:
            name = {4: "f8", 8: "f4"}[dtype["py/id"]]
        shape = last["py/tuple"][1]["py/tuple"] if len(rest) > 1 else ()
        return np.frombuffer(base64.b64decode(content["py/b64"]), f"<{name}").reshape(shape)


def connect(url: str) -> HTTPConnection:
    address = urlsplit(url)
    assert address.hostname
    return HTTPConnection(address.hostname, address.port, timeout=10)


def send(connection: HTTPConnection, body: bytes, method: str = "POST") -> Answer:
    connection.request(method, "/", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    kind = response.headers.get_content_type()
    return Answer(response.status, kind, response.read().decode())


def post(server: StandInServer, image: bytes) -> Answer:
    connection = connect(server.url)
    try:
        return send(connection, encode_request(image))
    finally:
        connection.close()


@pytest.fixture(scope="module")
def server() -> Iterator[StandInServer]:
    with StandInServer() as running:
        yield running


def test_a_face_comes_back_with_its_vector_score_box_and_landmarks(server: StandInServer) -> None:
    answer = post(server, jpeg())
    assert (answer.status, answer.content_type) == (200, "text/html")
    (face,) = answer.faces()
    assert face["normed_embedding"].dtype == np.float32
    assert face["normed_embedding"] @ vectors(1)[0] > 0.999
    assert np.linalg.norm(face["normed_embedding"]) == pytest.approx(1, abs=1e-5)
    assert face["det_score"] == pytest.approx(SCORES[0], abs=0.01)
    box = np.array([*CORNERS[0], CORNERS[0][0] + GRID_SIZE[0], CORNERS[0][1] + GRID_SIZE[1]])
    assert face["bbox"].dtype == np.float64
    assert np.abs(face["bbox"] - box).max() <= 2
    assert face["landmark"].shape == (5, 2)
    assert (face["landmark"] > box[:2]).all()
    assert (face["landmark"] < box[2:]).all()


def test_a_padded_resized_and_compressed_picture_keeps_its_vector(server: StandInServer) -> None:
    original = picture(1)
    side = max(original.size)
    canvas = Image.new("RGB", (side, side))
    canvas.paste(original, ((side - original.width) // 2, (side - original.height) // 2))
    stream = BytesIO()
    canvas.resize((640, 640), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=75)
    (face,) = post(server, stream.getvalue()).faces()
    assert face["normed_embedding"] @ vectors(1)[0] > 0.98


def test_several_faces_come_the_best_score_first(server: StandInServer) -> None:
    first, second = post(server, jpeg(2)).faces()
    assert first["det_score"] > second["det_score"]
    assert first["normed_embedding"] @ vectors(2)[1] > 0.999
    assert second["normed_embedding"] @ vectors(2)[0] > 0.999


def test_a_picture_without_a_grid_has_no_face(server: StandInServer) -> None:
    assert post(server, jpeg(0)).content() == {"face_detection_recognition": []}


@pytest.mark.parametrize("seed", [0, 1])
def test_noise_and_bright_areas_are_no_faces(server: StandInServer, seed: int) -> None:
    noise = np.random.default_rng(seed).integers(0, 256, (300, 300, 3), np.uint8)
    noise[40 : 40 + GRID_SIZE[1] // 2, 40 : 40 + GRID_SIZE[0] // 2] = 255 * seed
    stream = BytesIO()
    Image.fromarray(noise).save(stream, "PNG")
    assert post(server, stream.getvalue()).content() == {"face_detection_recognition": []}


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_a_picture_of_another_mode_is_answered_with_null(server: StandInServer, mode: str) -> None:
    answer = post(server, jpeg(1, mode))
    assert answer.status == 200
    assert answer.content() == {"face_detection_recognition": None}


@pytest.mark.parametrize("image", [b"", b"not an image", jpeg()[:1000]])
def test_an_unreadable_image_is_answered_with_an_error_page(
    server: StandInServer, image: bytes
) -> None:
    answer = post(server, image)
    assert (answer.status, answer.content_type) == (500, "text/html")
    assert "<h1>Internal Server Error</h1>" in answer.text


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"1", b'"1"', b'"[]"', b'{"image": {}}', json.dumps('{"image": 1}').encode()],
)
def test_a_body_that_is_no_request_is_refused_and_the_connection_lives(
    server: StandInServer, body: bytes
) -> None:
    connection = connect(server.url)
    assert send(connection, body).status == 400
    assert send(connection, encode_request(jpeg())).status == 200
    connection.close()


def test_only_post_is_answered(server: StandInServer) -> None:
    connection = connect(server.url)
    assert send(connection, b"", "GET").status == 501
    connection.close()


def test_one_connection_serves_many_pictures() -> None:
    with StandInServer() as server:
        connection = connect(server.url)
        bodies = [encode_request(jpeg(num_faces)) for num_faces in (1, 0, 2)]
        num_faces = [len(send(connection, body).faces()) for body in bodies]
        connection.close()
        assert num_faces == [1, 0, 2]
        assert (server.num_requests, server.num_connections) == (3, 1)


def test_the_block_ends_although_a_connection_stays_open() -> None:
    with StandInServer() as server:
        connection = connect(server.url)
        assert send(connection, encode_request(jpeg())).status == 200
    with pytest.raises((HTTPException, OSError)):
        send(connection, encode_request(jpeg()))
    connection.close()


def test_faults_come_at_their_turn() -> None:
    with StandInServer(behaviour=Behaviour(fail_every=2, garbage_every=3)) as server:
        answers = [post(server, jpeg()) for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 503, 200, 503]
    assert len(answers[0].faces()) == 1
    assert answers[2].content() == {"face_detection_recognition": [{"bbox": 1}]}


def test_the_key_and_the_model_name_are_answered() -> None:
    with StandInServer(behaviour=Behaviour(key="fa_results", model_name="tiny")) as server:
        content = post(server, jpeg()).content()
    assert list(content) == ["fa_results", "model"]
    assert content["model"] == "tiny"


def test_a_server_that_is_to_die_drops_the_request_and_stops_listening() -> None:
    with StandInServer(behaviour=Behaviour(exit_after=1)) as server:
        assert post(server, jpeg()).status == 200
        for _ in range(2):
            with pytest.raises((HTTPException, OSError)):
                post(server, jpeg())
        assert server.num_requests == 2


def test_pictures_sent_at_once_are_all_answered_with_their_own_faces() -> None:
    counts: dict[int, int] = {}
    busy = StandInServer(behaviour=Behaviour(slots=2, service_ms=1))

    def work(number: int) -> None:
        counts[number] = len(post(busy, jpeg(number % 3)).faces())

    with busy:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert counts == {number: number % 3 for number in range(12)}


@pytest.fixture
def heeded_interrupt() -> Iterator[None]:
    """Let programs heed Ctrl-C, which those that a shell starts in the background ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeded_interrupt")
def test_the_program_serves_under_a_name_of_its_own_until_interrupted() -> None:
    command = [sys.executable, "-m", "sample.stand_in_server", "--port", "0"]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as program:  # noqa: S603
        try:
            assert program.stdout is not None
            connection = connect(program.stdout.readline().split()[-1])
            answer = send(connection, encode_request(jpeg()))
            assert len(answer.faces()) == 1
            assert answer.content()["model"] == SYNTHETIC_MODEL
            connection.close()
            program.send_signal(signal.SIGINT)
            assert program.wait(timeout=60) == 0
        finally:
            program.kill()


def test_a_port_in_use_is_one_line_and_exit_code_2(server: StandInServer) -> None:
    port = str(urlsplit(server.url).port)
    command = [sys.executable, "-m", "sample.stand_in_server", "--port", port]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)  # noqa: S603
    assert result.returncode == 2
    assert "in use" in result.stderr
    assert "Traceback" not in result.stderr
