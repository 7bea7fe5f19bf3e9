import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from face_helpers import options, write_images, write_wiki
from helpers import ROOT

from base.interrupt import StopRequest
from extraction.container import ContainerError
from extraction.extract import extract
from extraction.options import ExtractionOptions
from extraction.places import Places
from extraction.server_image import IMAGE, PUBLIC_IMAGE
from extraction.servers import ReadyServers, face_servers, ready_servers
from faces.client import FaceServer
from sample.stand_in_server import Behaviour, StandInServer
from utils.cli import Interrupted
from utils.errors import DataError

FAKE_DOCKER = """#!/bin/sh
# Write down the call, then do what the test asks for.
echo "$@" >> "$FAKE_DOCKER_DIR/calls"
case "$1" in
run)
    if [ -f "$FAKE_DOCKER_DIR/refusal" ]; then cat "$FAKE_DOCKER_DIR/refusal" >&2; exit 125; fi
    touch "$FAKE_DOCKER_DIR/started"; echo 0123abcd ;;
inspect) cat "$FAKE_DOCKER_DIR/state" 2>/dev/null || echo true ;;
stop) touch "$FAKE_DOCKER_DIR/stopped" ;;
image) for name; do :; done; grep -qx "$name" "$FAKE_DOCKER_DIR/images" 2>/dev/null ;;
esac
"""


class FakeDocker:
    """A docker on the PATH that writes down its calls."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        program = folder / "docker"
        program.write_text(FAKE_DOCKER)
        program.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def refuses_with(self, words: str) -> None:
        (self.folder / "refusal").write_text(words)

    def has_images(self, *names: str) -> None:
        (self.folder / "images").write_text("".join(f"{name}\n" for name in names))

    @property
    def runs(self) -> list[str]:
        return [call for call in self.calls if call.startswith("run ")]

    def container_is(self, state: str) -> None:
        (self.folder / "state").write_text(state)

    @contextmanager
    def serving(self, port: int, **behaviour: Any) -> Iterator[StandInServer]:
        """Serve on the port from the moment that the container is started."""
        (self.folder / "started").unlink(missing_ok=True)  # of a container before
        server = StandInServer(port, behaviour=Behaviour(**behaviour))
        server.socket.close()  # the port is free until then
        running = threading.Event()

        def start() -> None:
            while not (self.folder / "started").exists():
                time.sleep(0.002)
            with StandInServer(port, behaviour=Behaviour(**behaviour)):
                running.wait()

        thread = threading.Thread(target=start)
        thread.start()
        try:
            yield server
        finally:
            (self.folder / "started").touch()
            running.set()
            thread.join()


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDocker:
    folder = tmp_path / "docker"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_DOCKER_DIR", str(folder))
    return FakeDocker(folder)


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number: int = listener.getsockname()[1]
        return number


def ready(*addresses: int | str, stop: StopRequest | None = None, **changes: Any) -> Any:
    servers = [FaceServer(address, 5) for address in addresses]
    return ready_servers(servers, options(*addresses, **changes), stop or StopRequest())


def test_a_server_that_answers_is_used_and_no_container_started(docker: FakeDocker) -> None:
    with StandInServer(behaviour=Behaviour(model_name="tiny")) as running:
        with ready(running.url) as found:
            assert isinstance(found, ReadyServers)
            assert (found.description, found.model) == (running.url, "tiny")
        assert running.num_requests == 1
    assert docker.calls == []


def test_a_server_that_stumbles_is_asked_again(docker: FakeDocker) -> None:
    with StandInServer(behaviour=Behaviour(fail_every=1)) as running:
        with pytest.raises(ContainerError, match="is no face server"), ready(running.url):
            pass
        assert running.num_requests == 4
    with StandInServer(behaviour=Behaviour(garbage_every=2)) as running:
        for _ in range(2):
            with ready(running.url):
                pass


def test_a_container_is_started_awaited_and_stopped(docker: FakeDocker, port: int) -> None:
    with docker.serving(port), ready(port) as found:
        assert found.description == PUBLIC_IMAGE
        assert found.servers[0].probe().faces == []
        assert "stop 0123abcd" not in docker.calls
    (run,) = docker.runs
    stop = docker.calls[-1]
    assert run.startswith("run --detach --rm --name age-gender-")
    assert run.endswith(f"-p 127.0.0.1:{port}:10002 {PUBLIC_IMAGE}")
    assert stop == "stop 0123abcd"


@pytest.mark.parametrize(
    ("cuda", "image", "end"),
    [
        (True, None, f"--gpus all {PUBLIC_IMAGE}-cuda"),
        (True, "mine:1", "--gpus all mine:1"),
        (False, "mine:1", ":10002 mine:1"),
    ],
)
def test_the_image_and_the_gpus_can_be_chosen(
    docker: FakeDocker, port: int, cuda: bool, image: str | None, end: str
) -> None:
    with docker.serving(port), ready(port, cuda=cuda, docker_image=image):
        pass
    assert docker.runs[0].endswith(end)


def test_the_container_is_stopped_after_an_error(docker: FakeDocker, port: int) -> None:
    def fail() -> None:
        raise RuntimeError("of the extraction")

    with pytest.raises(RuntimeError), docker.serving(port), ready(port):
        fail()
    assert docker.calls[-1] == "stop 0123abcd"


def test_the_container_is_stopped_when_it_does_not_answer(docker: FakeDocker, port: int) -> None:
    with (
        pytest.raises(ContainerError, match=rf"did not answer at http://127.0.0.1:{port}/ within"),
        ready(port, start_timeout_s=0.03),
    ):
        pass
    assert docker.calls[-1] == "stop 0123abcd"


@pytest.mark.parametrize("state", ["false", "Error: No such object: 0123abcd"])
def test_a_container_that_ended_is_not_waited_for(
    docker: FakeDocker, port: int, state: str
) -> None:
    docker.container_is(state)
    if state != "false":
        program = docker.folder / "docker"
        program.write_text(FAKE_DOCKER.replace("|| echo true", ">&2; exit 1"))
        docker.container_is(state)
        program.write_text(FAKE_DOCKER.replace("2>/dev/null || echo true", ">&2"))
    with pytest.raises(ContainerError) as caught, ready(port, start_timeout_s=60):
        pass
    assert "ended before" in str(caught.value)
    assert f"docker run --rm -p 127.0.0.1:{port}:10002 {PUBLIC_IMAGE}`" in str(caught.value)


def test_a_stop_while_the_container_starts_is_heeded(docker: FakeDocker, port: int) -> None:
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted) as caught, ready(port, stop=stop):
            pass
    assert caught.value.exit_code == 143
    assert docker.calls[-1].startswith("stop age-gender-")


OURS = (
    "--pull never -v face-models:/home/app/.insightface "
    "--env=DOWNLOAD_MIRROR --env=HTTPS_PROXY --env=NO_PROXY face-server"
)


@pytest.mark.parametrize(
    ("changes", "end"),
    [
        ({}, f":10002 {OURS}"),
        ({"cuda": True}, f":10002 --gpus all {OURS}-cuda"),
        ({"docker_image": "mine:1"}, ":10002 mine:1"),
    ],
)
def test_our_image_is_started_where_it_is(
    docker: FakeDocker, port: int, changes: dict[str, Any], end: str
) -> None:
    docker.has_images("face-server", "face-server-cuda")
    with docker.serving(port), ready(port, **changes) as found:
        assert found.description == end.rsplit(maxsplit=1)[-1]
    assert docker.runs[0].endswith(end)


def test_our_image_is_started_when_it_is_named(docker: FakeDocker, port: int) -> None:
    with docker.serving(port), ready(port, docker_image="face-server"):
        pass
    assert docker.runs[0].endswith(OURS)
    docker.refuses_with("docker: Error response from daemon: No such image: face-server:latest.")
    build = "`docker build -f face_server/Dockerfile -t face-server .`"
    with pytest.raises(ContainerError, match=re.escape(build)), ready(port, docker_image=IMAGE):
        pass


def test_the_log_says_which_image_is_started_and_why(
    docker: FakeDocker, port: int, program_log: pytest.LogCaptureFixture
) -> None:
    with docker.serving(port), ready(port):
        pass
    assert f"starting the image {PUBLIC_IMAGE}, since there is no face-server" in program_log.text
    docker.has_images("face-server")
    with docker.serving(port), ready(port):
        pass
    assert "starting the image face-server, which is on this machine" in program_log.text


@pytest.mark.parametrize("cuda", [False, True])
def test_where_the_public_image_cannot_be_had_it_says_how_to_build_ours(
    docker: FakeDocker, port: int, cuda: bool
) -> None:
    end = "-cuda" if cuda else ""
    docker.refuses_with(
        f"Unable to find image '{PUBLIC_IMAGE}{end}:latest' locally\n"
        "docker: Error response from daemon: Get https://registry/v2/: dial tcp: no such host."
    )
    with pytest.raises(ContainerError) as caught, ready(port, cuda=cuda):
        pass
    assert f"get the image with `docker pull {PUBLIC_IMAGE}{end}`" in str(caught.value)
    build = f"`docker build -f face_server/Dockerfile{end} -t face-server{end} .`"
    assert f"begin with our own, which is used once {build} has built it" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("before", "cuda", "end"),
    [
        ({"server": PUBLIC_IMAGE}, False, PUBLIC_IMAGE),
        ({"server": PUBLIC_IMAGE}, True, f"{PUBLIC_IMAGE}-cuda"),
        ({"server": f"{PUBLIC_IMAGE}-cuda"}, False, PUBLIC_IMAGE),
        ({"server": "http://127.0.0.1:10002/"}, False, PUBLIC_IMAGE),
        ({}, False, PUBLIC_IMAGE),
        ({"server": "mine:1"}, False, "mine:1"),
        ({"server": "face-server"}, False, OURS),
        ({"server": "face-server", "model": "buffalo_l"}, True, f"{OURS}-cuda --pack buffalo_l"),
        ({"server": "http://gpu-box/", "model": "antelopev2"}, False, f"{OURS} --pack antelopev2"),
    ],
)
def test_an_extraction_goes_on_with_the_image_of_its_network(
    docker: FakeDocker, port: int, before: dict[str, str], cuda: bool, end: str
) -> None:
    docker.has_images("face-server", "face-server-cuda")
    servers = [FaceServer(port, 5)]
    chosen = options(port, cuda=cuda)
    with docker.serving(port), ready_servers(servers, chosen, StopRequest(), before):
        pass
    assert docker.runs[0].endswith(f" {end}")


def test_where_its_image_cannot_be_had_it_says_how_to_begin_anew(
    docker: FakeDocker, port: int
) -> None:
    docker.refuses_with("Unable to find image\nError: pull access denied")
    servers = [FaceServer(port, 5)]
    words = r"move the \.pkl files and extractor\.json, of its network, away, and begin with"
    with (
        pytest.raises(ContainerError, match=words),
        ready_servers(servers, options(port), StopRequest(), {"server": PUBLIC_IMAGE}),
    ):
        pass


REFUSALS = [
    ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock.", "start Docker"),
    ("docker: permission denied while trying to connect", "group docker"),
    ("Bind for 0.0.0.0:1 failed: port is already allocated", "another port with docker_port="),
    ("listen tcp4 0.0.0.0:1: bind: address already in use.", "another port with docker_port="),
    ("Unable to find image 'x' locally\nError: pull access denied", "docker pull tae898/face"),
    ("could not select device driver with capabilities: [[gpu]]", "cuda=False"),
    ("something new", "docker said: something new"),
    ("", "docker said: nothing"),
]


@pytest.mark.parametrize(("words", "remedy"), REFUSALS)
def test_what_docker_refuses_is_one_line_with_what_to_do(
    docker: FakeDocker, port: int, words: str, remedy: str
) -> None:
    docker.refuses_with(words)
    with pytest.raises(ContainerError) as caught, ready(port):
        pass
    assert remedy in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [call.split()[0] for call in docker.calls] == ["image", "run"]


def test_without_docker_it_says_so(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with (
        pytest.raises(ContainerError, match=r"docker is not installed; .*python -m face_"),
        ready(port),
    ):
        pass


def test_no_container_is_started_for_a_url(docker: FakeDocker, port: int) -> None:
    url = f"http://127.0.0.1:{port}/"
    words = rf"no face server answers at {url} \(nothing listens there\); start it"
    with pytest.raises(ContainerError, match=words), ready(url):
        pass
    assert docker.calls == []


def test_a_port_that_something_else_has_is_one_line(docker: FakeDocker, port: int) -> None:
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Other(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_error(404)

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", port), Other) as other:
        threading.Thread(target=other.serve_forever, args=(0.01,), daemon=True).start()
        words = r"is no face server \(HTTP 404: Not Found\); stop it, or"
        with pytest.raises(ContainerError, match=words), ready(port):
            pass
        other.shutdown()
    assert docker.calls == []


def test_with_several_servers_those_that_answer_are_enough(
    docker: FakeDocker, port: int, program_log: pytest.LogCaptureFixture
) -> None:
    with StandInServer() as running, ready(port, running.url) as found:
        assert [server.url for server in found.servers][1] == running.url
    assert "does not answer; it is used as soon as it does" in program_log.text
    assert docker.calls == []


def test_a_server_that_is_too_busy_to_answer_is_no_reason_for_a_container(
    docker: FakeDocker,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        words = r"something listens at .* did not answer within 0\.05 s; is it busy"
        servers = [FaceServer(port, 0.05)]
        with (
            pytest.raises(ContainerError, match=words),
            ready_servers(servers, options(port), StopRequest()),
        ):
            pass
    assert docker.calls == []


@pytest.mark.parametrize("given", ["http://me:secret@a/", 10002.0, None, b"x", [[1]], [True]])
def test_what_is_no_address_is_one_error(given: Any) -> None:
    with pytest.raises(DataError) as caught:
        face_servers(ExtractionOptions(docker_port=given))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        [],
        [10002, 10002],
        [10002, "http://localhost:10002"],
        ["http://a", "HTTP://A:80/"],
        ["https://a:443/x", "https://a/x"],
    ],
)
def test_no_server_and_one_twice_are_refused(given: list[int | str]) -> None:
    with pytest.raises(DataError, match="each once"):
        face_servers(ExtractionOptions(docker_port=given))


def test_one_server_or_several_are_taken() -> None:
    (one,) = face_servers(ExtractionOptions(docker_port=10002))
    assert (one.url, one.is_port) == ("http://127.0.0.1:10002/", True)
    both = face_servers(ExtractionOptions(docker_port=["http://a", 7]))
    assert [server.url for server in both] == ["http://a/", "http://127.0.0.1:7/"]


def test_an_extraction_runs_in_its_container(docker: FakeDocker, port: int, tmp_path: Path) -> None:
    paths = write_images(tmp_path / "set", 4)
    with docker.serving(port):
        counts = extract(Places(tmp_path / "set"), paths, options(port))
    assert counts.num_now == 4
    assert f'"server": "{PUBLIC_IMAGE}"' in (tmp_path / "set" / "extractor.json").read_text()
    assert docker.calls[-1] == "stop 0123abcd"


@pytest.mark.parametrize("resize", [None, 640])
def test_a_data_set_keeps_the_network_of_the_answers_that_are_there(
    docker: FakeDocker, port: int, tmp_path: Path, resize: int | None
) -> None:
    """Resized or not: cleaning falls back on answers to images that were sent as they are."""
    dataset_dir = tmp_path / "set"
    paths = write_images(dataset_dir, 4)
    with docker.serving(port):
        extract(Places(dataset_dir), paths[:2], options(port, resize=None))
    docker.has_images("face-server")
    (docker.folder / "started").unlink()
    with docker.serving(port):
        counts = extract(Places(dataset_dir), paths, options(port, resize=resize))
    assert counts.num_now == (4 if resize else 2)
    assert [run.split()[-1] for run in docker.runs] == [PUBLIC_IMAGE] * 2


def test_a_data_set_of_the_original_project_keeps_its_network(
    docker: FakeDocker, port: int, tmp_path: Path
) -> None:
    dataset_dir = tmp_path / "set"
    paths = write_images(dataset_dir, 2)
    with StandInServer() as running:
        extract(Places(dataset_dir), paths, options(running.url, resize=None))
    (dataset_dir / "extractor.json").unlink()
    docker.has_images("face-server")
    with docker.serving(port):
        extract(Places(dataset_dir), paths, options(port, resize=640))
    assert docker.runs[0].endswith(PUBLIC_IMAGE)


def test_nothing_is_started_when_nothing_is_missing(docker: FakeDocker, tmp_path: Path) -> None:
    paths = write_images(tmp_path / "set", 2)
    with StandInServer() as running:
        extract(Places(tmp_path / "set"), paths, options(running.url))
    assert extract(Places(tmp_path / "set"), paths, options(1)).num_before == 2
    assert docker.calls == []


def start_command(folder: Path, port: int) -> "subprocess.Popen[str]":
    code = (
        "from utils.scripts import extract_imdb_wiki_arcface as e;"
        f"e('wiki', docker_port={port}, data_dir={str(folder)!r}, resize=None)"
    )
    return subprocess.Popen(  # noqa: S603 - this interpreter
        [sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.usefixtures("hangup")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_container_is_stopped_after_ctrl_c(
    docker: FakeDocker, port: int, tmp_path: Path, number: int
) -> None:
    write_wiki(tmp_path / "wiki_crop", 40)
    with (
        docker.serving(port, service_ms=100, slots=1),
        start_command(tmp_path, port) as process,
    ):
        while not list(tmp_path.glob("wiki_crop/*/*.pkl")):
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(number)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert errors.endswith("the same command goes on from here\n")
    assert docker.calls[-1] == "stop 0123abcd"
    assert 0 < len(list(tmp_path.glob("wiki_crop/*/*.pkl"))) < 40
