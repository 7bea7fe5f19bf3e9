"""Imports go down only, from the scripts to `utils`."""

import ast
import subprocess
import sys
from collections.abc import Iterator

import pytest
from helpers import ROOT

BELOW = {
    "utils": {"utils"},
    "confidence": {"utils", "confidence"},
    "http_client": {"utils", "http_client"},
    "faces": {"utils", "http_client", "faces"},
    "base": {"utils", "faces", "base"},
    "data_loader": {"utils", "faces", "base", "data_loader"},
    "model": {"utils", "base", "model"},
    "extraction": {"utils", "http_client", "faces", "base", "data_loader", "extraction"},
    "sample": {"utils", "faces", "base", "data_loader", "extraction", "sample"},
    "face_networks": {"utils", "http_client", "faces", "face_networks"},
    "face_server": {"utils", "faces", "face_networks", "face_server"},
    "serving": {
        "utils",
        "confidence",
        "http_client",
        "faces",
        "face_networks",
        "base",
        "model",
        "serving",
    },
    "photo_client": {
        "utils",
        "http_client",
        "faces",
        "face_networks",
        "serving",
        "photo_client",
    },
    "trainer": {"utils", "confidence", "faces", "base", "data_loader", "model", "trainer"},
    "cluster": {"utils", "cluster"},
    "cross_val": {
        "utils",
        "base",
        "data_loader",
        "model",
        "trainer",
        "cluster",
        "cross_val",
    },
    "search": {"utils", "base", "data_loader", "model", "trainer", "cluster", "search"},
    "studies": {
        "utils",
        "confidence",
        "base",
        "data_loader",
        "model",
        "trainer",
        "cross_val",
        "studies",
    },
}
"""What the modules of each folder may import of this project."""

SCRIPT_IN_UTILS = "utils/scripts.py"
IMPORT_TORCH = {"utils/checkpoint.py", "utils/weights.py"}
PROJECT = {*BELOW, "app", "client", "train", "test", "tests", "conftest", "helpers", "benchmarks"}
MODULES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in BELOW
    for path in (ROOT / folder).glob("**/*.py")
)


def is_for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def imports(node: ast.AST, into_functions: bool) -> Iterator[str]:
    """Return the imported modules by their first name, those for type checkers aside."""
    if isinstance(node, ast.Import):
        yield from (alias.name.partition(".")[0] for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "relative imports hide the layer"
        yield str(node.module).partition(".")[0]
    for child in ast.iter_child_nodes(node):
        is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if not is_for_type_checkers(child) and (into_functions or not is_function):
            yield from imports(child, into_functions)


def parse(module: str) -> ast.Module:
    return ast.parse((ROOT / module).read_text(encoding="utf-8"))


def of_module(module: str, into_functions: bool) -> set[str]:
    return set(imports(parse(module), into_functions))


def test_the_modules_are_found() -> None:
    assert len(MODULES) > 30
    assert "trainer/fit.py" in MODULES


def test_imports_are_seen_wherever_they_stand() -> None:
    text = """
import a.b
from c.d import e
if TYPE_CHECKING:
    import hidden
try:
    import f
except ImportError:
    import g
def late():
    if True:
        import h
class Holder:
    import i
    def method(self):
        from j import k
"""
    tree = ast.parse(text)
    assert set(imports(tree, into_functions=True)) == {"a", "c", "f", "g", "h", "i", "j"}
    assert set(imports(tree, into_functions=False)) == {"a", "c", "f", "g", "i"}


@pytest.mark.parametrize("module", [module for module in MODULES if module != SCRIPT_IN_UTILS])
def test_a_module_imports_nothing_from_above_it(module: str) -> None:
    folder = module.partition("/")[0]
    assert of_module(module, into_functions=True) & PROJECT <= BELOW[folder]


@pytest.mark.parametrize(
    "module",
    [name for name in MODULES if name.startswith("utils/") and name not in IMPORT_TORCH],
)
def test_a_helper_does_not_make_its_caller_import_torch(module: str) -> None:
    """A module of ours that imports torch counts as torch."""
    found = of_module(module, into_functions=False)
    assert "torch" not in found
    text = (ROOT / module).read_text(encoding="utf-8")
    for other in IMPORT_TORCH:
        name = other.removesuffix(".py").replace("/", ".")
        lines = [line for line in text.splitlines() if line.startswith(f"from {name} ")]
        assert lines == []


def test_helpers_load_without_torch() -> None:
    names = [
        name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for name in MODULES
        if name.startswith("utils/") and name not in IMPORT_TORCH
    ]
    code = f"import sys, {', '.join(names)}; sys.exit('torch' in sys.modules)"
    outcome = subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (outcome.returncode, outcome.stderr) == (0, "")


SCRIPTS = ["train.py", "test.py", "cross-val.py", "hp-tuning.py", "study.py", "client.py"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_is_short(script: str) -> None:
    assert len((ROOT / script).read_text(encoding="utf-8").splitlines()) <= 60


def test_only_one_module_saves_or_loads_with_torch() -> None:
    users = {
        module
        for module in MODULES
        for node in ast.walk(parse(module))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("torch.save", "torch.load")
    }
    assert users == {"utils/checkpoint.py"}
