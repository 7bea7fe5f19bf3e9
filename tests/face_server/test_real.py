"""The face server with a real model pack, beside the server with the container's contract that the
project's tests have at hand, which runs insightface.
"""

import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT
from with_insightface import PACK, PYTHON, RAW, SHARED, lack_of_insightface, lack_of_pack

from extraction.extractor import read_extractors
from faces.client import AnswerError, Face, FaceServer
from utils.scripts import extract_Adience_arcface

OTHER_SERVER = SHARED / "face-server" / "serve.py"
NUM_PHOTOS = 12
ROWS_A_FOLD = 3


@contextmanager
def running(
    *command: str, python: str = sys.executable
) -> Iterator[tuple[FaceServer, "subprocess.Popen[str]"]]:
    """Run a server that prints its URL at the end of a line when it is ready."""
    arguments = [python, "-W", "ignore", *command]
    with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True) as program:  # noqa: S603
        try:
            assert program.stdout is not None
            line = next(line for line in program.stdout if "http://" in line)
            server = FaceServer(line.split()[-1])
            yield server, program
            server.close()
        finally:
            program.kill()


@pytest.fixture(scope="module")
def server() -> Iterator[FaceServer]:
    if reason := lack_of_pack():
        pytest.skip(reason)
    with running("-m", "face_server", "--port", "0", "--pack", str(PACK)) as (started, _):
        yield started


@pytest.fixture(scope="module")
def other_server(server: FaceServer) -> Iterator[FaceServer]:
    if reason := lack_of_insightface():
        pytest.skip(reason)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with running(str(OTHER_SERVER), "--port", str(port), python=PYTHON) as (started, _):
        yield started


def photos() -> list[Path]:
    """Take the first photos of every data set."""
    folders = [RAW / name for name in ("Adience", "imdb_crop", "wiki_crop")]
    found = [sorted(folder.rglob("*.jpg"))[: NUM_PHOTOS // 3] for folder in folders]
    return [path for paths in found for path in paths]


def faces_of(server: FaceServer, photo: Path) -> list[Face] | None:
    try:
        return server.ask(photo.read_bytes()).faces
    except AnswerError:
        return None


def test_real_photos_have_the_faces_that_the_other_server_finds(
    server: FaceServer, other_server: FaceServer
) -> None:
    num_faces = 0
    for photo in photos():
        expected = faces_of(other_server, photo)
        if expected is None:  # not RGB, or damaged
            continue
        found = faces_of(server, photo)
        assert found is not None
        assert len(found) == len(expected)
        for face, other in zip(found, expected, strict=True):
            assert face.embedding @ other.embedding > 0.999
            assert face.det_score == pytest.approx(other.det_score, abs=1e-4)
            np.testing.assert_allclose(face.bbox, other.bbox, atol=0.05)
            np.testing.assert_allclose(face.landmark, other.landmark, atol=0.05)
            num_faces += 1
    assert num_faces >= NUM_PHOTOS // 2


def test_the_answer_names_the_pack(server: FaceServer) -> None:
    assert server.probe().model == "tiny"
    assert server.probe().faces == []


def test_extraction_works_and_records_the_pack(server: FaceServer, tmp_path: Path) -> None:
    adience = tmp_path / "Adience"
    shutil.copytree(RAW / "Adience" / "aligned", adience / "aligned")
    for path in RAW.glob("Adience/fold_*_data.txt"):
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        (adience / path.name).write_text("".join(lines[: ROWS_A_FOLD + 1]), encoding="utf-8")
    extract_Adience_arcface("aligned", docker_port=server.url, resize=640, data_dir=tmp_path)
    assert len(list(adience.rglob("*.RESIZED.pkl"))) > 2 * ROWS_A_FOLD
    (extractor,) = read_extractors(adience)
    assert (extractor["model"], extractor["resize"]) == ("tiny", 640)


def test_sigterm_ends_the_server_well(server: FaceServer) -> None:
    command = ("-m", "face_server", "--port", "0", "--pack", str(PACK))
    with running(*command) as (_, program):
        program.send_signal(signal.SIGTERM)
        assert program.wait(timeout=30) == 0
