"""What can be told of the face server's image without building it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from dockerfiles import instructions, with_gpu
from helpers import ROOT

INSTRUCTIONS = instructions("face_server/Dockerfile")
COPIES = [line.split()[1:] for line in INSTRUCTIONS if line.startswith("COPY ")]


def test_the_image_starts_from_a_base_that_can_be_chosen() -> None:
    assert INSTRUCTIONS[:1] == ["ARG BASE_IMAGE=python:3.11-slim"]
    assert "FROM ${BASE_IMAGE}" in INSTRUCTIONS


def test_the_server_does_not_run_as_root() -> None:
    users = [line for line in INSTRUCTIONS if line.startswith("USER ")]
    assert users == ["USER app"]
    assert INSTRUCTIONS.index("USER app") < len(INSTRUCTIONS) - 1


def test_the_image_has_a_health_check_and_keeps_the_packs_outside() -> None:
    assert any(line.startswith("HEALTHCHECK ") and "/health" in line for line in INSTRUCTIONS)
    assert "VOLUME /home/app/.insightface" in INSTRUCTIONS


def test_the_modules_that_are_copied_are_all_that_the_server_imports(tmp_path: Path) -> None:
    for *sources, folder in COPIES:
        (tmp_path / folder).mkdir(exist_ok=True)
        for source in sources:
            for path in ROOT.glob(source):
                shutil.copy(path, tmp_path / folder)
    code = "import face_server.__main__ as m, face_server.app, sys; m.parse_arguments([])"
    code += "; sys.exit('torch' in sys.modules)"
    outcome = subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (outcome.returncode, outcome.stderr) == (0, "")


def test_the_image_for_gpus_differs_in_its_onnxruntime_and_its_device_alone() -> None:
    both = set(INSTRUCTIONS) & set(instructions("face_server/Dockerfile-cuda"))
    others = [line for line in instructions("face_server/Dockerfile-cuda") if line not in both]
    install, variables, entry = others
    assert len(both) == len(INSTRUCTIONS) - 2
    assert "pip install --no-cache-dir -r face_server/requirements.txt" in install
    assert variables.startswith("ENV NVIDIA_VISIBLE_DEVICES=all ")
    assert entry == INSTRUCTIONS[-2].replace('"]', '", "--device", "cuda"]')
    assert with_gpu("face_server/Dockerfile-cuda", "face_server/requirements.txt") == [
        "onnxruntime-gpu[cuda,cudnn]>=1.31,<2"
    ]


def test_every_requirement_has_bounds_and_a_reason() -> None:
    text = (ROOT / "face_server" / "requirements.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert len(lines) > 5
    for line in lines:
        assert re.fullmatch(r"[a-z-]+>=[0-9.]+,<[0-9.]+ +# .+", line), line


def test_both_servers_are_composed_for_this_machine_alone() -> None:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    ports = re.findall(r'- "(\S+:\d+:\d+)"', text)
    published = ("10002:10002", "10012:10002", "10003:10003")
    assert ports == [f"${{BIND_ADDRESS:-127.0.0.1}}:{both}" for both in published]
    assert "FACE_SERVER_URL: http://${FACE_SERVER:-face-server}:10002/" in text
    assert "./models:/app/models" in text
    assert "condition: service_healthy" in text


def test_the_face_server_on_a_gpu_is_composed_on_request_alone() -> None:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    services = re.split(r"(?m)^  (?=\S)", text)
    (on_gpu,) = (service for service in services if "profiles:" in service)
    assert on_gpu.startswith("face-server-cuda:")
    assert "profiles: [cuda]" in on_gpu
    assert "dockerfile: face_server/Dockerfile-cuda" in on_gpu
    assert "capabilities: [gpu]" in on_gpu
