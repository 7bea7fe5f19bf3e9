"""What the tests of the server share: tiny models that nobody trained, and requests as clients make
them."""

import base64
import json
import pickle
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from http.client import HTTPConnection
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import save_as_original
from networks import embed
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from werkzeug.test import TestResponse

from app import create_app
from faces.out_of_distribution import OutOfDistributionDetector
from model.model import ResMLP
from sample.grid_faces import GRID_SIZE, GridFace, draw_picture
from serving import http_server
from serving.routes import AgeGenderApp
from serving.settings import ServerSettings
from utils.checkpoint import save_checkpoint
from utils.labels import EMBEDDING_SIZE

JSON = "application/json"
BINARY = "application/octet-stream"
NOWHERE = "http://127.0.0.1:9/"
SMALL = {"dropout": 0.2, "num_residuals_per_block": 0, "num_blocks": 2}
Floats = NDArray[np.float32]


def network(num_classes: int = 101, seed: int = 0, **arguments: Any) -> ResMLP:
    """Make a network with weights, and statistics of its batch norms, that differ everywhere."""
    torch.manual_seed(seed)
    net = ResMLP(**{**SMALL, "num_initial_features": 512, "num_classes": num_classes, **arguments})
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d):
            for values in (module.weight, module.bias, module.running_mean, module.running_var):
                assert values is not None
                nn.init.uniform_(values, 0.5, 1.5)
    return net.eval()


def config_of(num_classes: int = 101, **arguments: Any) -> dict[str, Any]:
    given = {**SMALL, "num_initial_features": 512, "num_classes": num_classes, **arguments}
    return {"arch": {"type": "ResMLP", "args": given}}


def save_groups_model(path: Path, groups: list[list[int]], seed: int = 0, **others: Any) -> Path:
    """Write a checkpoint of age in groups of years."""
    config = {**config_of(len(groups)), "data_loader": {"args": {"classes": groups}}}
    return save_model(path, len(groups), seed, config=config, **others)


def save_model(path: Path, num_classes: int, seed: int = 0, **others: Any) -> Path:
    """Write a checkpoint as training does; `others` are further entries."""
    content = {
        "config": config_of(num_classes),
        "state_dict": network(num_classes, seed).state_dict(),
        **others,
    }
    save_checkpoint(content, path)
    return path


def save_original(
    path: Path, num_classes: int, seed: int, monkeypatch: pytest.MonkeyPatch, **arguments: Any
) -> Path:
    """Write a checkpoint as the original project published its own."""
    content = {
        "arch": "ResMLP",
        "epoch": 5,
        "state_dict": network(num_classes, seed, **arguments).state_dict(),
        "optimizer": {},
        "monitor_best": 1.5,
        "config": config_of(num_classes, **arguments),
    }
    return save_as_original(content, path, monkeypatch)


def settings_of(folder: Path, **changes: Any) -> dict[str, Any]:
    """Write both models, and give the settings that serve them."""
    served_networks()  # here, where no other thread draws random numbers
    age, gender = folder / "age.pth", folder / "gender.pth"
    if not age.exists():
        save_model(age, 101, seed=1)
        save_model(gender, 2, seed=2)
    fixed = {"device": "cpu", "threads": 1, "mc_precision": "float32"}
    if "face_pack" not in changes:
        fixed["face_server_url"] = NOWHERE
    return {"age_model": age, "gender_model": gender, **fixed, **changes}


@contextmanager
def serving(folder: Path, **changes: Any) -> Iterator[AgeGenderApp]:
    """Make an application, and end its threads afterwards."""
    server = create_app(settings_of(folder, **changes))
    server.testing = True
    try:
        yield server
    finally:
        server.close()


@cache
def statistics_of(number: int) -> dict[str, Any]:
    """Return what training stores of the embeddings of the made-up face network of a number."""
    check = OutOfDistributionDetector.fit(embed(number, 2500))
    assert check is not None
    return check.to_plain()


def vectors(num_faces: int, seed: int = 0) -> Floats:
    """Draw embeddings (N, 512) of unit length."""
    rows = np.random.default_rng(seed).standard_normal((num_faces, EMBEDDING_SIZE))
    unit: Floats = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit


@cache
def served_networks() -> tuple[ResMLP, ResMLP]:
    """Return the networks of the models that `settings_of` writes."""
    return network(101, 1), network(2, 2)


def expected_of(embeddings: Floats) -> tuple[Tensor, Tensor]:
    """Return ages (N,) and genders (N, 2) that the models of `settings_of` say by their modules."""
    age, gender = served_networks()
    x = torch.from_numpy(embeddings.copy())
    with torch.no_grad():
        return age(x).softmax(1) @ torch.arange(101.0), gender(x).softmax(1)


def json_body(embeddings: Any) -> bytes:
    content = embeddings.tolist() if isinstance(embeddings, np.ndarray) else embeddings
    return json.dumps({"embeddings": content}).encode()


def original_body(pickled: bytes) -> bytes:
    """Encode as jsonpickle and requests do in the original's clients of 2021 and 2022."""
    inner = json.dumps({"embeddings": {"py/b64": base64.b64encode(pickled).decode("ascii")}})
    return json.dumps(inner).encode()


def pickled(embeddings: Any, protocol: int = 4) -> bytes:
    return pickle.dumps(embeddings, protocol)


def post(server: AgeGenderApp, body: Any, kind: str = JSON, query: str = "") -> TestResponse:
    return server.test_client().post(f"/{query}", data=body, content_type=kind)


def send_picture(
    server: AgeGenderApp, content: bytes, query: str = "", field: str = "image"
) -> TestResponse:
    body, kind = form_of(content, field)
    return server.test_client().post(f"/image{query}", data=body, content_type=kind)


def form_of(content: bytes, field: str = "image") -> tuple[bytes, str]:
    """Encode a file as a browser does, in memory; give body and Content-Type."""
    head = f'--y\r\nContent-Disposition: form-data; name="{field}"; filename="secret-name.jpg"\r\n'
    body = head.encode() + b"Content-Type: image/jpeg\r\n\r\n" + content + b"\r\n--y--\r\n"
    return body, "multipart/form-data; boundary=y"


def picture_json(content: bytes, prefix: str = "data:image/jpeg;base64,") -> bytes:
    """Encode a file as clients of deepface's server do."""
    text = prefix + base64.b64encode(content).decode("ascii")
    return json.dumps({"img": text, "actions": ["age", "gender"], "align": True}).encode()


def error_of(response: TestResponse, status: int) -> str:
    """Check that an answer is an error in JSON, in one line, and give its text."""
    assert (response.status_code, response.mimetype) == (status, JSON), response.data[:200]
    content = response.get_json()
    assert list(content) == ["error"]
    text: str = content["error"]
    assert "\n" not in text
    assert "Traceback" not in text
    assert 10 < len(text) < 700
    return text


def grids(num_faces: int, gap: int = 16) -> Any:
    """Draw a picture that the stand-in face server finds faces in: `vectors(num_faces)`."""
    step = GRID_SIZE[0] + gap
    faces = [
        GridFace(embedding, 0.9, (gap + number * step, gap))
        for number, embedding in enumerate(vectors(num_faces))
    ]
    size = (gap + max(1, num_faces) * step, GRID_SIZE[1] + 4 * gap)
    return draw_picture(faces, size, (30, 40, 50))


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """Return a picture as the bytes of a file."""
    stream = BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


OK = b'{"ok": true}'


def respond(start_response: Callable[..., Any], content: bytes = OK) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", JSON), ("Content-Length", str(len(content)))])
    return [content]


def echo(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer with the number of bytes that came."""
    size = len(environ["wsgi.input"].read())
    return respond(start_response, json.dumps({"size": size}).encode())


class Listening:
    """waitress with an application, in a thread of this process."""

    def __init__(self, port: int, stopped: list[int], thread: threading.Thread) -> None:
        self.port, self._stopped, self.thread = port, stopped, thread
        self.ended: list[str] = []

    def stop(self) -> None:
        """Do what SIGTERM does."""
        self._stopped.append(15)

    def connect(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.port, timeout=20)

    def ask(self, body: bytes | None = None, kind: str = JSON, path: str = "/") -> tuple[int, Any]:
        """Ask over a new connection; give status and content."""
        connection = self.connect()
        try:
            connection.request(
                "POST" if body is not None else "GET", path, body, {"Content-Type": kind}
            )
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()


@contextmanager
def listening(
    application: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, **changes: Any
) -> Iterator[Listening]:
    """Serve as app.py does, but for the signals, which only a process of its own can get."""
    stopped: list[int] = []
    ready = threading.Event()
    found: list[http_server.Sockets] = []
    original = http_server._listen

    @contextmanager
    def no_signals() -> Iterator[list[int]]:
        yield stopped

    def listen(app: Any, settings: ServerSettings, sockets: http_server.Sockets) -> Any:
        server = original(app, settings, sockets)
        found.append(sockets)
        ready.set()
        return server

    with monkeypatch.context() as patch:
        patch.setattr(http_server, "_stop_signals", no_signals)
        patch.setattr(http_server, "_listen", listen)
        patch.setattr(http_server, "LOOP_S", 0.02)
        ended: list[str] = []
        arguments = [application, ServerSettings(port=0, **changes), lambda: ended.append("ended")]
        if isinstance(application, AgeGenderApp):
            arguments.append(application.metrics.count_refusal)
        thread = threading.Thread(target=http_server.serve, args=arguments, daemon=True)
        thread.start()
        assert ready.wait(20)
        running = Listening(http_server._listeners(found[0])[0].effective_port, stopped, thread)
        running.ended = ended
        try:
            yield running
        finally:
            running.stop()
            thread.join(20)
            assert not thread.is_alive()
