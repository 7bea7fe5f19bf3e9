"""Reads Dockerfiles."""

import re
import subprocess

from helpers import ROOT


def instructions(dockerfile: str) -> list[str]:
    """Return the instructions of a Dockerfile, one a line."""
    text = (ROOT / dockerfile).read_text(encoding="utf-8")
    lines = re.sub(r"\\\n\s*", "", re.sub(r"(?m)^#.*\n", "", text)).splitlines()
    return [line for line in lines if line]


def with_gpu(dockerfile: str, requirements: str) -> list[str]:
    """Return the requirements that an image for GPUs changes, as it changes them."""
    (edit,) = re.findall(r"sed -i '(.*?)'", "\n".join(instructions(dockerfile)))
    content = (ROOT / requirements).read_text(encoding="utf-8")
    command = ["sed", edit]
    done = subprocess.run(command, input=content, capture_output=True, text=True, check=True)  # noqa: S603
    changed = set(done.stdout.splitlines()) - set(content.splitlines())
    return [line.partition(" ")[0] for line in changed]
