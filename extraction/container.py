"""The container of the face server: started when no server answers, stopped at the end."""

import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from base.interrupt import StopRequest
from extraction.options import ExtractionOptions
from extraction.server_image import ServerImage
from faces.client import AnswerError, FaceAnswer, FaceServer, ServerAwayError
from utils.cli import Interrupted
from utils.errors import UserError
from utils.log import get_logger

CONTAINER_PORT = 10002
STOP_TIMEOUT_S = 60.0
POLL_S = 0.5

logger = get_logger("extraction")

_REMEDIES = (
    (("cannot connect to the docker daemon", "is the docker daemon running"), "start Docker"),
    (("permission denied",), "add yourself to the group docker, or call this as root"),
    (
        ("port is already allocated", "address already in use"),
        "another program has the port: stop it, or take another port with docker_port=",
    ),
    (
        ("unable to find image", "pull access denied", "no such image", "manifest unknown"),
        "{remedy}",
    ),
    (
        ("could not select device driver", "unknown flag: --gpus", "nvidia"),
        "install the NVIDIA container toolkit, or use cuda=False",
    ),
)


class ContainerError(UserError):
    """The face server's container cannot be started."""


@contextmanager
def containers(
    servers: Sequence[FaceServer],
    image: ServerImage,
    options: ExtractionOptions,
    stop: StopRequest,
) -> Iterator[list[FaceAnswer]]:
    """Run a container for each server, all on this machine, while the block lasts.

    Yields each one's first answer.

    Raises:
        ContainerError: one cannot be started, or does not answer in time.
        Interrupted: a stop was asked for meanwhile.
    """
    if shutil.which("docker") is None:
        raise ContainerError(
            f"no face server answers at {servers[0].url}, and docker is not installed; install "
            "Docker, or start a face server yourself (`python -m face_server`), and name its port "
            "or URL with docker_port="
        )
    with ExitStack() as stack:
        running = [
            stack.enter_context(_container(server, image, options, stop)) for server in servers
        ]
        yield [
            _first_answer(server, container, image, options, stop)
            for server, container in zip(servers, running, strict=True)
        ]


def is_image_here(name: str) -> bool:
    """Check whether docker has an image on this machine; False if docker does not answer."""
    done = _docker("image", "inspect", "--format", "{{.Id}}", name)
    return done is not None and done.returncode == 0


@contextmanager
def _container(
    server: FaceServer, image: ServerImage, options: ExtractionOptions, stop: StopRequest
) -> Iterator[str]:
    """Start a container for the port of `server`, and stop it in any case; yields its id."""
    name = f"age-gender-{server.port}-{os.getpid()}"
    command = _command(server, image, options, ("--detach", "--rm", "--name", name))
    logger.info(
        f"no face server answers at {server.url}: starting the image {image.name}, {image.reason}"
    )
    try:
        container = _start(command, image, stop) or name
    except KeyboardInterrupt:  # docker may have started it all the same
        _stop(name)
        raise
    try:
        yield container
    finally:
        _stop(container)


def _command(
    server: FaceServer, image: ServerImage, options: ExtractionOptions, manner: Sequence[str]
) -> list[str]:
    """Return what starts an image, on a port of this machine alone: it may run what it is sent."""
    command = ["docker", "run", *manner, "-p", f"127.0.0.1:{server.port}:{CONTAINER_PORT}"]
    command += ["--gpus", "all"] if options.cuda else []
    return [*command, *image.options, image.name, *image.arguments]


def _start(command: list[str], image: ServerImage, stop: StopRequest) -> str:
    """Run `docker run`, in a session of its own so that Ctrl-C is ours alone; return the id."""
    with subprocess.Popen(  # noqa: S603 - docker, with arguments and no shell
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            out, err = _communicate(process, stop)
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        raise ContainerError(_explain(err or out, image))
    return out.strip().splitlines()[-1] if out.strip() else ""


def _communicate(process: "subprocess.Popen[str]", stop: StopRequest) -> tuple[str, str]:
    while True:
        _check(stop)
        try:
            return process.communicate(timeout=POLL_S)
        except subprocess.TimeoutExpired:
            continue


def _explain(output: str, image: ServerImage) -> str:
    """Make one line of what docker said, with what to do."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    said = next((line for line in lines if "rror" in line), lines[0] if lines else "nothing")
    start = f"docker cannot start {image.name}"
    for signs, remedy in _REMEDIES:
        if any(sign in output.lower() for sign in signs):
            return f"{start}: {remedy.format(remedy=image.remedy)} (docker said: {said})"
    return f"{start} (docker said: {said})"


def _first_answer(
    server: FaceServer,
    container: str,
    image: ServerImage,
    options: ExtractionOptions,
    stop: StopRequest,
) -> FaceAnswer:
    """Wait until a container answers a small image."""
    deadline = time.monotonic() + options.start_timeout_s
    while True:
        _check(stop)
        try:
            return server.probe()
        except (AnswerError, ServerAwayError) as error:
            problem = error
        if _has_ended(container):
            raise ContainerError(
                f"the container {image.name} ended before it answered; see why with "
                f"`{shlex.join(_command(server, image, options, ('--rm',)))}`"
            )
        if time.monotonic() > deadline:
            raise ContainerError(
                f"the container {image.name} did not answer at {server.url} within "
                f"{options.start_timeout_s:g} s ({problem}); give it more time with "
                "start_timeout_s="
            )
        time.sleep(options.start_poll_s)


def _has_ended(container: str) -> bool:
    """Return whether a container is known to run no more."""
    done = _docker("inspect", "--format", "{{.State.Running}}", container)
    return done is not None and (done.stdout.strip() == "false" or "no such" in done.stderr.lower())


def _stop(container: str) -> None:
    done = _docker("stop", container)
    if done is None or done.returncode != 0:
        said = "no answer" if done is None else done.stderr.strip()
        if "no such container" not in said.lower():
            logger.warning(f"docker could not stop the container {container}: {said}")


def _docker(*arguments: str) -> "subprocess.CompletedProcess[str] | None":
    """Run a docker command; None when it does not end."""
    try:
        return subprocess.run(  # noqa: S603 - docker, with arguments and no shell
            ["docker", *arguments],  # noqa: S607 - wherever the user has it
            capture_output=True,
            text=True,
            check=False,
            timeout=STOP_TIMEOUT_S,
            start_new_session=True,
        )
    except (subprocess.TimeoutExpired, OSError):
        return None


def _check(stop: StopRequest) -> None:
    if stop.is_set:
        raise Interrupted("interrupted; no image was sent", stop.exit_code)
