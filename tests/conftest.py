"""Shared by all tests: one thread, small data files, and the shipped configs made small.

- `data_dir`: a folder with the data files of Adience (300 rows, 60 people, five folds), imdb (200)
  and wiki (100). Written once a session: copy a file before changing it.
- `small_config("train.json", **{"trainer.epochs": 3})`: the content of a shipped config, made
  small and redirected: it reads `data_dir` and writes below the test's own `tmp_path`.
"""

import copy
import json
import logging
import os
import runpy
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import ROOT, TINY, Outcome, record_rates
from numpy.typing import NDArray

from utils import log

ADIENCE_YEARS = (1.0, 5.0, 10.0, 17.5, 28.5, 40.5, 50.5, 80.0)
MakeConfig = Callable[..., dict[str, Any]]
RunScript = Callable[..., Outcome]

torch.set_num_threads(1)
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # of networks that tests run by themselves


def make_faces(num_faces: int, num_people: int, seed: int, is_adience: bool) -> NDArray[np.void]:
    """Make the array of a data file; the embeddings tell gender and age, with noise.

    Outside Adience the people are unknown and the ages are whole years.
    """
    rng = np.random.default_rng(seed)
    person = np.arange(num_faces) % num_people
    is_female = rng.permutation(num_people)[person] % 2 == 1
    years = rng.choice(ADIENCE_YEARS, num_faces) if is_adience else rng.integers(0, 101, num_faces)
    directions = np.random.default_rng(0).normal(size=(2, 512))  # the same in every data set
    signal = np.stack([is_female - 0.5, years / 50 - 1], 1) @ directions
    noise = rng.normal(size=(num_people, 512))[person] + rng.normal(size=(num_faces, 512))
    vectors = signal + 0.5 * noise
    dtype = [
        ("image_path", "U40"),
        ("subject", "U12"),
        ("age", "f4"),
        ("gender", "U1"),
        ("fold", "i1"),
        ("det_score", "f4"),
        ("embedding", "f4", (512,)),
    ]
    faces = np.zeros(num_faces, dtype)
    faces["subject"] = [f"{number:08}@N00" for number in person] if is_adience else ""
    folders = faces["subject"] if is_adience else ["00"] * num_faces
    faces["image_path"] = [f"{folder}/{row}.jpg" for row, folder in enumerate(folders)]
    faces["age"] = years
    faces["gender"] = np.where(is_female, "f", "m")
    faces["fold"] = person % 5 if is_adience else -1
    faces["det_score"] = rng.uniform(0.9, 1, num_faces)
    faces["embedding"] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return faces


def save_faces(faces: NDArray[np.void], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, faces, allow_pickle=False)


def set_dotted(config: dict[str, Any], path: str, value: Any) -> None:
    """Set config["a"]["b"] for "a.b"."""
    *parents, last = path.split(".")
    for key in parents:
        config = config[key]
    config[last] = value


def pytest_configure(config: pytest.Config) -> None:
    """Give a process of pytest-xdist pytest's own arguments; its are those of `python -c`."""
    sys.argv = getattr(config, "workerinput", {}).get("mainargv", sys.argv)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests of Ray to the front, and say which tests share a process of pytest-xdist.

    Ray takes all cores and the longest: its tests run one after the other, beside the others. A
    file stays whole, so that what its tests share is made once.
    """
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    for item in items:
        is_slow = item.get_closest_marker("slow") is not None
        group = "slow" if is_slow else item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Replace what is not UTF-8 in a report, such as a name logged: pytest-xdist refuses it."""
    report = yield
    return _in_utf8(report)


def _in_utf8(value: Any) -> Any:
    match value:
        case str():
            return value.encode(errors="replace").decode()
        case dict():
            return {key: _in_utf8(one) for key, one in value.items()}
        case list() | tuple():
            return type(value)(map(_in_utf8, value))
    return value


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Undo what a script's log set-up leaves, so that `caplog` works in any order of tests."""
    root = logging.getLogger("age_gender")
    handlers, propagate = list(root.handlers), root.propagate
    yield
    root.handlers, root.propagate = handlers, propagate
    log._console_levels.clear()
    for name in [name for name in logging.root.manager.loggerDict if name.startswith(root.name)]:
        logging.getLogger(name).setLevel(logging.NOTSET)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Fail a test that leaves torch another number of threads: later ones met other last bits."""
    yield
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert threads == 1


@pytest.fixture
def hangup() -> Iterator[None]:
    """Let SIGHUP have its effect, which under nohup it has not."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    save_faces(make_faces(300, 60, 1, is_adience=True), folder / "Adience" / "data-aligned.npy")
    save_faces(make_faces(200, 200, 2, is_adience=False), folder / "imdb_crop" / "data.npy")
    save_faces(make_faces(100, 100, 3, is_adience=False), folder / "wiki_crop" / "data.npy")
    return folder


@pytest.fixture
def small_config(data_dir: Path, tmp_path: Path) -> MakeConfig:
    """Return a factory of shipped configs for small trainings; overrides are by dotted path."""

    def make(name: str = "train.json", /, **overrides: Any) -> dict[str, Any]:
        config: dict[str, Any] = json.loads((ROOT / name).read_text(encoding="utf-8"))
        small = {
            "n_gpu": 0,
            "arch.args.num_residuals_per_block": 1,
            "arch.args.num_blocks": 1,
            "data_loader.args.data_dir": str(data_dir),
            "data_loader.args.batch_size": 64,
            "trainer.epochs": 2,
            "trainer.save_dir": str(tmp_path / "saved"),
            "trainer.tensorboard": False,
            "trainer.verbosity": 0,
        }
        for path, value in {**small, **overrides}.items():
            set_dotted(config, path, copy.deepcopy(value))
        return config

    return make


@pytest.fixture
def program_log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Capture the program's log lines, whether or not a script set its console up before."""
    root = logging.getLogger(log.ROOT)
    before = root.handlers, root.propagate, root.level
    root.handlers, root.propagate = [caplog.handler], False
    root.setLevel(logging.DEBUG)
    caplog.handler.addFilter(log.is_for_console)
    yield caplog
    caplog.handler.removeFilter(log.is_for_console)
    root.handlers, root.propagate = before[:2]
    root.setLevel(before[2])


@pytest.fixture
def run_script(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    program_log: pytest.LogCaptureFixture,
) -> RunScript:
    """Return a function that runs a script in this process, as its command line would."""

    def run(name: str, *arguments: object) -> Outcome:
        monkeypatch.chdir(ROOT)
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        capsys.readouterr()
        code: Any = 0
        try:
            runpy.run_path(str(ROOT / name), run_name="__main__")
        except SystemExit as end:
            code = end.code
        return Outcome(code, *capsys.readouterr())

    return run


@pytest.fixture
def cross_val_config(small_config: MakeConfig) -> dict[str, Any]:
    """Return the config of a cross-validation of 2 seeds x 2 folds with a tiny network."""
    changes = {
        **TINY,
        "num_cross_val": 2,
        "seeds": [0, 1],
        "metrics": ["accuracy", "one_off_accuracy", "mae"],
        "trainer.save_period": 1,
    }
    return small_config("cross-val.json", **changes)


@pytest.fixture
def rates() -> Iterator[list[float]]:
    """Learning rate of every optimizer step of the test."""
    yield from record_rates()
