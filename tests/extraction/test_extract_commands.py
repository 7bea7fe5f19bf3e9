import subprocess
import sys
import time
from pathlib import Path

import pytest
from face_helpers import stored, write_wiki
from helpers import ROOT

from sample.stand_in_server import Behaviour, StandInServer
from utils import scripts
from utils.errors import DataError

NUM_IMAGES = 60


def command(call: str) -> "subprocess.Popen[str]":
    """Run a call of utils.scripts as users type it."""
    return subprocess.Popen(  # noqa: S603 - this interpreter
        [sys.executable, "-c", f"from utils.scripts import *; {call}"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_after_kill_9_the_next_call_does_only_what_is_missing(tmp_path: Path) -> None:
    write_wiki(tmp_path / "wiki_crop", NUM_IMAGES)
    folder = tmp_path / "wiki_crop"
    with StandInServer(behaviour=Behaviour(service_ms=10, slots=2)) as server:
        call = (
            f"extract_imdb_wiki_arcface('wiki', docker_port={server.url!r}, resize=None, "
            f"data_dir={str(tmp_path)!r})"
        )
        with command(call) as process:
            while len(list(folder.glob("*/*.pkl"))) < 10:
                assert process.poll() is None
                time.sleep(0.002)
            process.kill()
        done = list(folder.glob("*/*.pkl"))
        assert 10 <= len(done) < NUM_IMAGES
        assert all(len(stored(path)) == 1 for path in done)
        with command(call) as process:
            out, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert f"done before {len(done):>22,}".split() in [line.split() for line in out.splitlines()]
    assert len(list(folder.glob("*/*.pkl"))) == NUM_IMAGES
    assert not list(folder.glob("*/.*"))
    assert "wiki_crop: 100%" in errors


ERRORS = [
    ("extract_imdb_wiki_arcface('imdb', data_dir='/nowhere')", "imdb.mat: no such file"),
    ("extract_imdb_wiki_arcface('faces')", "dataset is 'faces', expected one of imdb, wiki"),
    ("extract_Adience_arcface('aligned', resize=-1)", "arguments: resize: -1, expected 0 or more"),
    ("get_Adience_clean('aligned', data_dir='/nowhere')", "fold_0_data.txt"),
    ("export_model('/nowhere/a.pth', 'b.pth')", "/nowhere/a.pth"),
]


def test_an_error_that_a_user_can_mend_is_one_line_and_exit_code_2() -> None:
    processes = [command(call) for call, _ in ERRORS]
    for process, (_, words) in zip(processes, ERRORS, strict=True):
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 2
        assert errors.startswith("error: ")
        assert words in errors
        assert errors.count("\n") == 1


def test_called_from_a_program_the_errors_are_exceptions(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"wiki\.mat"):
        scripts.extract_imdb_wiki_arcface("wiki", data_dir=tmp_path)
    with pytest.raises(DataError, match="fold_0"):
        scripts.extract_Adience_arcface("raw", data_dir=tmp_path)
