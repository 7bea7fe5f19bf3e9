"""What tests with a real model pack share, and what those need that compare with insightface.

FACE_SERVER_PYTHON names a Python with insightface (and flask, waitress and jsonpickle, for the
server in ../shared); without it, this Python has to have them.
"""

import os
import subprocess
import sys
from functools import cache

from helpers import ROOT

SHARED = ROOT.parent / "shared"
PACK = SHARED / "face-server" / "models" / "tiny"
RAW = SHARED / "data" / "raw" / "data"
PYTHON = os.environ.get("FACE_SERVER_PYTHON", sys.executable)


def lack_of_pack() -> str | None:
    """Return why a test cannot run that needs a real pack and real photos."""
    there = PACK.is_dir() and RAW.is_dir()
    return None if there else "needs the model pack and the photos in ../shared"


@cache
def lack_of_insightface() -> str | None:
    """Return why a test cannot run that needs insightface beside these."""
    code = "import insightface, onnxruntime, jsonpickle, flask, waitress"
    command = [PYTHON, "-W", "ignore", "-c", code]
    try:
        outcome = subprocess.run(command, capture_output=True, check=False)  # noqa: S603
    except OSError:
        return f"FACE_SERVER_PYTHON is {PYTHON}, which does not run"
    if outcome.returncode:
        return "needs insightface and jsonpickle, in the Python that FACE_SERVER_PYTHON names"
    return lack_of_pack()
