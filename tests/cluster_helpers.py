"""Stand-ins for the nodes of a cluster and for the progress of a cross-validation."""

from types import SimpleNamespace
from typing import Any

import pytest

from cluster import session
from cross_val.ray_progress import ProgressActor


def nodes(monkeypatch: pytest.MonkeyPatch, *resources: dict[str, float]) -> None:
    monkeypatch.setattr(session, "_resources", lambda: list(resources))


def noted() -> tuple[Any, ProgressActor]:
    """Return what stands for the actor in a worker, and what it notes."""
    progress = ProgressActor()
    return SimpleNamespace(note=SimpleNamespace(remote=progress.note)), progress
