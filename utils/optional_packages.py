"""Packages that need not be installed: imported where they are used, named when missing."""

import os
from importlib import import_module
from types import ModuleType

from utils.errors import UserError

EXPORT_REQUIREMENTS = "requirements-export.txt"
"""Packages that write and read models in formats other than torch's own."""

FACES_REQUIREMENTS = "requirements-faces.txt"
"""Packages that find faces in this process, and read clips."""


def optional_package(name: str, purpose: str, requirements: str) -> ModuleType:
    """Import a package, or a module of it, that need not be installed, and let it tell nobody.

    Args:
        name: of the module.
        purpose: what it is for, beginning with "to".
        requirements: the file that lists the package.

    Raises:
        UserError: it is missing; says what to install.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # onnxruntime looks once, when imported
    try:
        return import_module(name)
    except ImportError as error:
        missing = (error.name or "").partition(".")[0] or error
        raise UserError(
            f"{missing} is missing; {purpose}, `pip install -r {requirements}`"
        ) from None
