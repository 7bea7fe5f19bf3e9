"""Ray: started on this machine and stopped again, or a cluster that runs already.

Nothing of Ray is imported before a session begins, so that programs without one need no Ray.
"""

import argparse
import contextlib
import math
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.code import ROOT, code_version
from cluster.probe import node_problems
from utils.errors import ClusterError, ConfigError
from utils.log import get_logger
from utils.runtime import available_cores
from utils.text import in_one_line, shown

SHARE_OF_GPU = 0.25
"""Of a GPU a training takes where nothing else is asked for: so small a network leaves room."""

CONNECT_TIMEOUT_S = 5
LINKS = Path("/tmp")  # noqa: S108 - mkdtemp makes a folder of our own in it
STORE_MARGIN_BYTES = 512 * 2**20
"""Room in the object store beside the data: checkpoints on their way."""

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # a training without a GPU sees none
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_worker_niceness": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "0",  # what a kill can lose: what came after the last report
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a trial that failed reports no loss
}
"""Settings that Ray reads from the environment when it is imported or started."""

PRIVATE = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # on any system: stay on loopback
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
}
"""Keeps a Ray of our own, which runs what it is told, to this machine and this process."""


TOKEN_HINT = " (it lets in who has its token: RAY_AUTH_TOKEN, or ~/.ray/auth_token)"  # noqa: S105 - says where it is


@dataclass(frozen=True)
class TaskResources:
    """What one training takes of a machine.

    Attributes:
        cpus: cores, and threads of torch.
        gpus: GPUs or a fraction of one; None: a quarter where there are any.
    """

    cpus: int = 1
    gpus: float | None = None

    def __post_init__(self) -> None:
        if self.cpus < 1:
            raise ConfigError(f"cpus {self.cpus}: expected 1 or more")
        if self.gpus is not None and (self.gpus < 0 or not math.isfinite(self.gpus)):
            raise ConfigError(f"gpus {self.gpus}: expected 0 or more")
        if self.gpus is not None and self.gpus > 1:
            raise ConfigError(
                f"gpus {self.gpus}: one training uses one GPU or a fraction of it, expected 0 to 1"
            )

    def resources(self) -> dict[str, float]:
        """Return what Ray sets aside for one training, once `refuse_too_much` has passed."""
        gpus = self.gpus
        if gpus is None:
            gpus = SHARE_OF_GPU if has_gpus() else 0
        return {"CPU": self.cpus, "GPU": gpus}


def add_address(parser: argparse.ArgumentParser) -> None:
    """Add the option that names a running cluster."""
    parser.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="of a running Ray cluster (default: RAY_ADDRESS, else a Ray of its own on this "
        "machine)",
    )


def address_of(option: str | None) -> str | None:
    """Return the address of the cluster to use, from the option or RAY_ADDRESS; None for none."""
    address = option or os.environ.get("RAY_ADDRESS") or "local"
    return None if address == "local" else address


@contextmanager
def ray_session(
    folder: Path, address: str | None, store_bytes: int, needs_tune: bool = False
) -> Iterator[Any]:
    """Return Ray, connected; leave nothing running that was not before.

    Args:
        folder: for the temporary files of a Ray of our own, gone afterwards.
        address: host:port of a running cluster; None starts Ray on all cores of this machine.
        store_bytes: of the data that will be shared.
        needs_tune: import Ray Tune as well, which takes longer than all the rest of Ray.

    Raises:
        ConfigError: Ray is not installed, or takes no folder of this name.
        ClusterError: there is no cluster at the address, or one of its nodes is unfit.
    """
    _refuse_foreign_letters(folder)
    for name, value in (QUIET | ({} if address else PRIVATE)).items():
        os.environ.setdefault(name, value)
    ray = _import_ray(needs_tune)
    with contextlib.ExitStack() as stack:
        if address is None:
            options = stack.enter_context(_local_options(folder, store_bytes))
        else:
            options = {"address": _reachable(address)}
        stack.callback(ray.shutdown)
        _connect(ray, options)
        if address is not None:
            refuse_unfit_nodes(ray)
        yield ray


def _refuse_foreign_letters(folder: Path) -> None:
    try:
        str(folder.resolve()).encode()
    except UnicodeEncodeError:
        raise ConfigError(
            f"{folder.parent}: Ray takes no folder whose name is not UTF-8; take another save_dir"
        ) from None


def _import_ray(needs_tune: bool) -> Any:
    try:
        import ray

        if needs_tune:
            import ray.tune  # missing where only Ray's core is installed
    except ImportError as error:
        raise ConfigError(f"this needs Ray ({error}): pip install -r requirements.txt") from None
    return ray


def _connect(ray: Any, options: dict[str, Any]) -> None:
    from ray.job_config import JobConfig

    get_logger("cluster").debug(f"Ray {ray.__version__}: {options}")
    try:
        ray.init(
            **options,
            job_config=JobConfig(_py_driver_sys_path=[str(ROOT)]),
            include_dashboard=False if options["address"] == "local" else None,
            log_to_driver=False,
            logging_level="ERROR",
        )
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        reason = in_one_line(error, 300)
        hint = "" if options["address"] == "local" else TOKEN_HINT
        raise ClusterError(f"Ray, {options['address']}: {reason}{hint}") from None


@contextmanager
def _local_options(folder: Path, store_bytes: int) -> Iterator[dict[str, Any]]:
    """Make the temporary folder of a Ray of our own, under a short name: sockets need one."""
    folder = folder.resolve()
    folder.mkdir(parents=True)
    link = Path(tempfile.mkdtemp(prefix="ray-", dir=LINKS)) / "r"
    before = os.environ.get("TMPDIR")
    try:
        link.symlink_to(folder, target_is_directory=True)
        os.environ["TMPDIR"] = str(link)
        yield {
            "address": "local",
            "num_cpus": available_cores(),
            "object_store_memory": store_bytes + STORE_MARGIN_BYTES,
            "_temp_dir": str(link),
        }
    finally:
        os.environ.pop("TMPDIR")
        if before is not None:
            os.environ["TMPDIR"] = before
        remove_session(folder)


def remove_session(folder: Path) -> None:
    """Remove the temporary folder of a Ray of our own that has ended, and the links to it."""
    for link in LINKS.glob("ray-*/r"):
        with contextlib.suppress(OSError):
            if link.readlink() == folder.resolve():
                shutil.rmtree(link.parent)
    shutil.rmtree(folder, ignore_errors=True)


def _reachable(address: str) -> str:
    """Check that somebody listens, since Ray itself tries for long minutes."""
    if address == "auto":
        return address
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or "/" in host:
        raise ConfigError(
            f"--address or RAY_ADDRESS {shown(address)}: expected HOST:PORT, as ray start --head "
            "shows it"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_TIMEOUT_S).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"no Ray cluster at {address} ({error}): start one with ray start --head, or leave "
            "--address and RAY_ADDRESS out to run on this machine"
        ) from None
    return address


def num_at_once(resources: dict[str, float]) -> int:
    """Count the trainings that fit the cluster at once.

    Args:
        resources: of one training; see `TaskResources.resources`.
    """
    wanted = {name: amount for name, amount in resources.items() if amount > 0}
    return sum(
        min(int(node.get(name, 0) / amount + 1e-6) for name, amount in wanted.items())
        for node in _resources()
    )


def has_gpus() -> bool:
    """Return whether any machine of the cluster has a GPU."""
    return any(node.get("GPU", 0) for node in _resources())


def _resources() -> list[dict[str, float]]:
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def refuse_too_much(share: TaskResources, names: tuple[str, str]) -> None:
    """Refuse a share that no machine has, which Ray would wait for without end.

    Args:
        share: of one training.
        names: what the user calls its CPUs and GPUs.

    Raises:
        ConfigError: no machine has so much.
    """
    nodes = _resources()
    for key, wanted, name in (("CPU", share.cpus, names[0]), ("GPU", share.gpus or 0, names[1])):
        most = max((node.get(key, 0) for node in nodes), default=0)
        if wanted > most:
            raise ConfigError(
                f"{name} {wanted:g}: no machine has more than {most:g} {key}s; take fewer"
            )
    if not any(
        node.get("CPU", 0) >= share.cpus and node.get("GPU", 0) >= (share.gpus or 0)
        for node in nodes
    ):
        raise ConfigError(f"no machine has {share.cpus} CPUs and {share.gpus:g} GPUs; take fewer")


def refuse_unfit_nodes(ray: Any, marker: Path | None = None) -> None:
    """Refuse a cluster with a node that has not this very code.

    Args:
        ray: connected.
        marker: file that every node must see; None asks for none.

    Raises:
        ClusterError: names every node that is unfit, and why.
    """
    problems = node_problems(ray, code_version(), None if marker is None else str(marker))
    if problems:
        raise ClusterError("; ".join(problems))
