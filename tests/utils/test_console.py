import errno
import io
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import MakeConfig
from helpers import ROOT, TINY, read, run_dirs, save_config, train

from utils.cli import Console, lasting_consoles, run
from utils.log import get_logger, log_to_console, run_log
from utils.text import encodable

ODD = "caf\xe9 \udcff ± 年"


class Broken(io.StringIO):
    """A stream that takes nothing."""

    def __init__(self, code: int):
        super().__init__()
        self.code = code

    def write(self, _: str) -> int:
        raise OSError(self.code, os.strerror(self.code))


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "cp1252", "utf-16"])
def test_every_text_can_be_written_in_every_encoding(encoding: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding)
    Console(stream).write(ODD)
    stream.flush()
    assert encodable("plain ± text", io.StringIO()) == "plain ± text"


def test_a_name_that_is_not_utf_8_shows_its_bytes() -> None:
    assert encodable("a\udcffb", io.TextIOWrapper(io.BytesIO(), "utf-8")) == r"a\udcffb"


@pytest.mark.parametrize(("code", "exit_code"), [(errno.EPIPE, 141), (errno.ENOSPC, 2)])
def test_work_goes_on_when_nobody_takes_its_output(
    code: int, exit_code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def main() -> None:
        print("first")
        get_logger("part").info("a line")
        done.append("all")

    monkeypatch.setattr(sys, "stdout", Broken(code))
    with pytest.raises(SystemExit) as end:
        run(main)
    assert (done, end.value.code) == (["all"], exit_code)


def test_a_lost_error_output_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Broken(errno.EPIPE))
    run(lambda: print("progress", file=sys.stderr))


def test_streams_that_are_closed_from_the_start_lead_to_nowhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    with lasting_consoles() as out:
        print("lost")
        print("lost", file=sys.stderr)
        assert out.loss is None
    assert sys.stdout is None


def test_a_log_line_outside_of_a_script_survives_the_console(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log_to_console()
    ascii_only = io.TextIOWrapper(io.BytesIO(), "ascii")
    streams: list[Any] = [ascii_only, Broken(errno.EPIPE), None]
    for stream in streams:
        monkeypatch.setattr(sys, "stdout", stream)
        get_logger("part").info(ODD)
    assert isinstance(ascii_only.buffer, io.BytesIO)
    assert ascii_only.buffer.getvalue() == b"caf\\xe9 \\udcff \\xb1 \\u5e74\n"


def test_a_log_file_takes_names_that_are_not_utf_8(tmp_path: Path) -> None:
    logging.getLogger("age_gender").setLevel(logging.DEBUG)
    with run_log() as log:
        get_logger("part").info(ODD)
        log.write_to(tmp_path / "info.log")
    text = (tmp_path / "info.log").read_text(encoding="utf-8")
    assert "café \\udcff ± 年" in text


@pytest.fixture
def config_path(small_config: MakeConfig, tmp_path: Path) -> Path:
    return save_config(small_config(**TINY, **{"trainer.verbosity": 2}), tmp_path)


def shell(
    command: str, config_path: Path, **environment: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S602 - our own script, redirected
        f"{sys.executable} train.py -c {config_path} {command}",
        shell=True,
        executable="/bin/bash",
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("redirection", "code"),
    [
        ("2>&1 | true; exit ${PIPESTATUS[0]}", 141),
        (">&-", 0),
        (">&- 2>&- <&-", 0),
        pytest.param(
            "> /dev/full 2> /dev/full",
            2,
            marks=pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux"),
        ),
    ],
)
def test_a_training_ends_well_on_a_console_that_is_gone(
    redirection: str, code: int, config_path: Path, small_config: MakeConfig
) -> None:
    done = shell(redirection, config_path)
    (folder,) = run_dirs(small_config())
    assert read(folder / "model_best.pth")["epoch"] in (1, 2)
    assert len((folder / "epochs.jsonl").read_text().splitlines()) == 2
    assert (done.returncode, done.stderr) == (code, "")


def test_a_training_shows_and_stores_any_name_on_a_console_of_ascii(
    small_config: MakeConfig, tmp_path: Path
) -> None:
    save_dir = tmp_path / os.fsdecode(b"caf\xe9 \xff")
    config = small_config(
        **TINY, **{"trainer.save_dir": str(save_dir), "trainer.tensorboard": True}
    )
    config["trainer"]["verbosity"] = 2
    done = shell("", save_config(config, tmp_path), PYTHONIOENCODING="ascii:strict")
    assert done.returncode == 0, done.stderr
    assert r"caf\udce9 \udcff/models" in done.stdout
    assert "Traceback" not in done.stderr
    (folder,) = run_dirs(config)
    checkpoint = read(folder / "model_best.pth")
    assert checkpoint["config"]["trainer"]["save_dir"] == str(save_dir)
    again = train(config, folder / "model_best.pth")
    assert again.save_dir.parent == folder.parent
