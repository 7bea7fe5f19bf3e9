"""Which code this is: workers on other machines must have the same."""

import functools
import hashlib
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = (
    "base",
    "cluster",
    "cross_val",
    "data_loader",
    "faces",
    "model",
    "search",
    "trainer",
    "utils",
)
"""What a training imports."""


@functools.cache
def code_version() -> str:
    """Return a fingerprint of all that a training runs: our modules, and torch's release."""
    digest = hashlib.sha256()
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).glob("**/*.py")):
            digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return f"{digest.hexdigest()[:12]}, torch {torch.__version__.partition('+')[0]}"
