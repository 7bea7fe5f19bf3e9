"""What can be told of the server's images without building them."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dockerfiles import instructions, with_gpu
from helpers import ROOT

DOCKERFILES = ("Dockerfile", "Dockerfile-cuda")


def copies(dockerfile: str) -> list[list[str]]:
    text = (ROOT / dockerfile).read_text(encoding="utf-8")
    return [line.split() for line in re.findall(r"(?m)^COPY (.*)$", text)]


def test_the_folders_that_are_copied_are_all_that_the_server_imports(tmp_path: Path) -> None:
    for *sources, _ in copies("Dockerfile"):
        for source in sources:
            path = ROOT / source
            if path.is_dir():
                shutil.copytree(path, tmp_path / source, ignore=shutil.ignore_patterns("static"))
            else:
                shutil.copy(path, tmp_path / source)
    code = "import app, serving.export; app.settings_from_arguments([], None)"
    outcome = subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (outcome.returncode, outcome.stderr) == (0, "")


def test_both_images_copy_the_same() -> None:
    assert copies("Dockerfile") == copies("Dockerfile-cuda")


def test_the_image_for_gpus_differs_in_what_runs_on_them_alone() -> None:
    on_cpu, on_gpu = map(instructions, DOCKERFILES)
    both = set(on_cpu) & set(on_gpu)
    assert [line.split()[0] for line in on_cpu if line not in both] == ["ARG", "RUN"]
    assert [line.split()[0] for line in on_gpu if line not in both] == ["ARG", "RUN", "ENV"]
    assert with_gpu("Dockerfile-cuda", "requirements-faces.txt") == ["onnxruntime-gpu>=1.31,<2"]


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_an_image_with_faces_has_a_folder_for_packs_that_the_server_may_write(
    dockerfile: str,
) -> None:
    lines = instructions(dockerfile)
    assert "ARG WITH_FACES=" in lines
    faces = 'if [ -n "$WITH_FACES" ]; then pip install --no-cache-dir -r requirements-faces.txt; fi'
    assert any(line.startswith("RUN ") and faces in line for line in lines)
    assert any("install --directory --owner server /app/.insightface" in line for line in lines)
    assert any(line.startswith("ENV ") and "HOME=/app " in line for line in lines)


@pytest.mark.parametrize(
    "dockerfile", [*DOCKERFILES, "face_server/Dockerfile", "face_server/Dockerfile-cuda"]
)
def test_what_is_copied_is_not_ignored(dockerfile: str) -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    for *sources, _ in copies(dockerfile):
        assert {source.partition("/")[0] for source in sources} <= allowed
