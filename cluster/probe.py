"""Looks at every node of a cluster, before any training starts there."""

import time
from typing import Any

from utils.log import get_logger

TIMEOUT_S = 120
"""For a worker to start and to import torch, on a busy machine."""

DEATH_S = 60
"""In which Ray notices that a node is dead, with room to spare."""

POLL_S = 1.0


def node_problems(ray: Any, version: str, marker: str | None) -> list[str]:
    """List what is wrong with the nodes, one line each; one that has just died is none of them.

    Args:
        ray: connected.
        version: the code that each must have.
        marker: file that each must see; None asks for none.
    """
    nodes = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}
    looks = {node_id: _look_from(ray, node_id, marker) for node_id in nodes}
    problems = []
    for node_id, look in looks.items():
        name = nodes[node_id]["NodeManagerAddress"]
        try:
            found, sees_marker = ray.get(look, timeout=TIMEOUT_S)
        except ray.exceptions.RayError as error:
            if _dies(ray, node_id):
                get_logger("cluster").warning(f"node {name} has died; the others do its work")
            else:
                problems.append(f"node {name} does not answer ({type(error).__name__})")
            continue
        if found != version:
            problems.append(
                f"node {name} has another version of the code ({found}; here {version}): copy the "
                "repository there, to the same folder, and install its requirements"
            )
        elif not sees_marker:
            problems.append(
                f"node {name} does not see {marker}: put save_dir on storage that all nodes share"
            )
    return problems


def _dies(ray: Any, node_id: str) -> bool:
    """Wait for Ray to notice the death of a node; False if it lives on."""
    deadline = time.monotonic() + DEATH_S
    while True:
        if not any(node["NodeID"] == node_id and node["Alive"] for node in ray.nodes()):
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)


def _look_from(ray: Any, node_id: str, marker: str | None) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    strategy = NodeAffinitySchedulingStrategy(node_id, soft=False)
    return ray.remote(num_cpus=0, scheduling_strategy=strategy)(_looker()).remote(marker)


def _looker() -> Any:
    """Make a function that travels whole: the node may lack the module it is from."""

    def look(marker: str | None) -> tuple[str, bool]:
        import os

        try:
            from cluster.code import code_version

            version = code_version()
        except ImportError as error:
            version = f"none: {error}"
        return version, marker is None or os.path.exists(marker)  # noqa: PTH110 - stands alone

    return look
