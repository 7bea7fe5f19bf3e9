"""Scripts that start Ray, clusters on loopback, and whether anything of them is left."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from helpers import ROOT, Outcome

MARK = "AGE_GENDER_TEST_MARK"
GONE_TIMEOUT_S = 60
START_TIMEOUT_S = 300
"""Generous: Ray starts slowly on a busy machine."""

RAY = str(Path(sys.executable).parent / "ray")


def environment(mark: str, folder: Path | None = None) -> dict[str, str]:
    """Return the environment of marked processes, with one thread and a folder for their files."""
    marked = {**os.environ, "OMP_NUM_THREADS": "1", MARK: mark}
    for name in [name for name in marked if name.startswith("RAY_")]:
        del marked[name]
    return marked if folder is None else {**marked, "TMPDIR": str(folder)}


RAYS_OWN_LINE = re.compile(r"^\[[-\d]+ [\d:,]+ [EW] \d+ \d+\] .*\n", re.MULTILINE)
"""What Ray's core says past all settings when it is stopped amid a task, as it may or may not."""


class Script:
    """A script of ours under way, with all that it starts."""

    def __init__(self, *arguments: object, **variables: str):
        self.mark = uuid.uuid4().hex
        self.process = subprocess.Popen(  # noqa: S603 - our own scripts
            [sys.executable, *map(str, arguments)],
            cwd=ROOT,
            env={**environment(self.mark), **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def wait_for(self, text: str) -> str:
        """Read standard output up to the line that holds `text`; return what came."""
        assert self.process.stdout is not None
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if text in line:
                return "".join(lines)
        raise AssertionError(
            f"{text!r} never came: {''.join(lines)}{self.process.communicate()[1]}"
        )

    def press_ctrl_c(self) -> None:
        """Interrupt the whole group of processes, as a terminal does."""
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self) -> Outcome:
        """Wait for the end."""
        out, err = self.process.communicate(timeout=START_TIMEOUT_S)
        return Outcome(self.process.returncode, out, RAYS_OWN_LINE.sub("", err))

    def left(self) -> list[str]:
        """Wait until nothing of it runs any more; return what still does after long."""
        wait_until(lambda: not marked_processes(self.mark), GONE_TIMEOUT_S)
        return [command for _, command in marked_processes(self.mark)]


def wait_until(is_so: Callable[[], bool], timeout_s: float = START_TIMEOUT_S) -> bool:
    """Wait for what other processes do, which tell nobody; False: it did not come."""
    deadline = time.monotonic() + timeout_s
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def run(*arguments: object, **variables: str) -> Outcome:
    """Run a script to its end; nothing of it may be left."""
    script = Script(*arguments, **variables)
    outcome = script.end()
    assert script.left() == []
    return outcome


def marked_processes(mark: str) -> list[tuple[int, str]]:
    """List (pid, command) of the living processes that inherited a mark."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                found.append((int(folder.name), command))
    return [(pid, command) for pid, command in found if command]


class Node:
    """A node of a cluster, in processes of its own as on a machine of its own."""

    def __init__(self, folder: Path, variables: dict[str, str], *arguments: str):
        self.mark = uuid.uuid4().hex
        self.folder = folder
        folder.mkdir()
        subprocess.run(  # noqa: S603 - Ray of this environment
            [RAY, "start", "--num-cpus=1", "--disable-usage-stats", *arguments],
            env={**environment(self.mark, folder), **variables},
            cwd=ROOT,
            check=True,
            timeout=START_TIMEOUT_S,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill(self) -> None:
        """End the node as a power cut would."""
        for _ in range(3):  # a process may just be starting another
            for pid, _ in marked_processes(self.mark):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


class Cluster:
    """A head and a worker on this machine, with one core each, and what the options add."""

    def __init__(self, folder: Path, *options: str):
        self.folder = folder
        self.options = options
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        self.variables = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid.uuid4().hex}
        self.head = Node(
            folder / "head",
            self.variables,
            *("--head", f"--port={port}", "--include-dashboard=false"),
            *("--node-ip-address=127.0.0.1", f"--temp-dir={folder / 'ray'}"),
            *("--object-store-memory=200000000", *options),
        )
        self.worker = self.add_worker("worker")

    def add_worker(self, name: str) -> Node:
        return Node(
            self.folder / name,
            self.variables,
            *(f"--address={self.address}", "--node-ip-address=127.0.0.1"),
            *("--object-store-memory=200000000", *self.options),
        )


@contextmanager
def cluster_on_loopback(*options: str) -> Iterator[Cluster]:
    """Return a cluster of two nodes; its sockets need a short path.

    Args:
        options: of `ray start`, for both.
    """
    folder = Path(tempfile.mkdtemp(prefix="c", dir="/tmp"))
    cluster = None
    try:
        cluster = Cluster(folder, *options)
        yield cluster
    finally:
        if cluster is not None:
            cluster.worker.kill()
            cluster.head.kill()
        shutil.rmtree(folder, ignore_errors=True)
