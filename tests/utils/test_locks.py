import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import ROOT

from utils.errors import UserError
from utils.files import atomic_write, write_json
from utils.locks import Held, hold, hold_left, only_one, open_temporary, remove_leftovers, this_boot

A_DAY_AGO = 25 * 3600

HOLDS = """
import sys
from pathlib import Path
from utils.locks import Held, hold, open_temporary
path = Path(sys.argv[1])
held = hold(path / ".run.lock"), open_temporary(path / "data.npy")
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path: Path) -> "subprocess.Popen[str]":
    """Start a process that holds a lock file and writes a file in the test's folder."""
    process = subprocess.Popen(  # noqa: S603 - this interpreter
        [sys.executable, "-c", HOLDS, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def left_by(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.communicate()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_a_process_writes_stays_as_long_as_it_lives_and_no_longer(
    tmp_path: Path, other: "subprocess.Popen[str]"
) -> None:
    before = names(tmp_path)
    assert len(before) == 2
    remove_leftovers(tmp_path)
    assert hold(tmp_path / ".run.lock") is None
    assert hold_left(tmp_path / ".run.lock", 0) is None
    assert names(tmp_path) == before
    left_by(other)
    remove_leftovers(tmp_path)
    assert names(tmp_path) == [".run.lock"]
    held = hold_left(tmp_path / ".run.lock", time.time())
    assert held is not None
    held.let_go()
    assert names(tmp_path) == []


def test_a_lock_file_is_held_by_one_at_a_time_and_gone_afterwards(tmp_path: Path) -> None:
    path = tmp_path / ".run.lock"
    for _ in range(2):
        held = hold(path)
        assert held is not None
        assert hold(path) is None
        held.let_go()
        assert not path.exists()


def test_a_lock_file_that_was_removed_while_it_was_opened_is_not_taken_for_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between opening and locking, its holder lets go and a third process makes it anew."""
    path = tmp_path / ".run.lock"
    first, third = hold(path), list[Held | None]()
    assert first is not None
    original = fcntl.flock

    def flock(handle: int, operation: int) -> None:
        if not third:
            third.append(None)
            first.let_go()
            third[0] = hold(path)
        original(handle, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    assert hold(path) is None
    assert third[0] is not None


def test_a_file_taken_for_left_before_it_was_locked_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, removed = fcntl.flock, list[bool]()

    def flock(handle: int, operation: int) -> None:
        if not removed:
            removed.append(True)
            remove_leftovers(tmp_path)
            assert names(tmp_path) == []
        original(handle, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    with atomic_write(tmp_path / "data.npy") as file:
        file.write(b"content")
    assert names(tmp_path) == ["data.npy"]


def foreign(folder: Path, age_s: float) -> list[Path]:
    """Write what another machine may be at work on, or left: nobody here holds it."""
    lock, temporary = folder / ".run.lock", folder / f".data.npy.{'0f' * 16}.tmp"
    lock.write_text("0f0f0f0f")
    temporary.touch()
    for path in (lock, temporary):
        os.utime(path, (time.time() - age_s,) * 2)
    return [lock, temporary]


def test_what_another_machine_wrote_stays_for_a_day(tmp_path: Path) -> None:
    lock, temporary = foreign(tmp_path, 3600)
    remove_leftovers(tmp_path)
    assert temporary.exists()
    assert hold_left(lock, lock.stat().st_mtime) is None
    foreign(tmp_path, A_DAY_AGO)
    remove_leftovers(tmp_path)
    assert not temporary.exists()
    assert hold_left(lock, time.time()) is None  # what it guards has changed since
    assert hold_left(lock, lock.stat().st_mtime) is not None


def test_without_locks_everybody_works_and_nobody_removes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", flock)
    held = [hold(tmp_path / ".run.lock") for _ in range(2)]
    assert None not in held
    _, file = open_temporary(tmp_path / "data.npy")
    file.close()
    before = names(tmp_path)
    remove_leftovers(tmp_path)
    assert hold_left(tmp_path / ".run.lock", 0) is None
    assert names(tmp_path) == before
    with only_one(tmp_path, UserError("busy")), only_one(tmp_path, UserError("busy")):
        pass


def test_only_files_that_are_named_like_ours_are_removed(tmp_path: Path) -> None:
    ours = f"{this_boot()}{'0f' * 12}.tmp"
    others = [".data.npy.tmp", f"data.npy.{ours}", f".data.npy.{ours}.old", ".data.npy.0f.tmp"]
    for name in others:
        (tmp_path / name).touch()
    (tmp_path / f".folder.{ours}").mkdir()
    (tmp_path / f".link.{ours}").symlink_to(tmp_path / others[0])
    (tmp_path / f".gone.{ours}").touch()
    (tmp_path / f".a\nb.{ours}").touch()
    remove_leftovers(tmp_path)
    assert names(tmp_path) == sorted([*others, f".folder.{ours}", f".link.{ours}"])
    remove_leftovers(tmp_path / "no such folder")


def test_a_new_file_replaces_nothing_and_is_there_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for has_links in (True, False):
        if not has_links:
            monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(1, "none")))
        path = tmp_path / f"{has_links}.json"
        write_json({"a": 1}, path, is_new=True)
        with pytest.raises(FileExistsError):
            write_json({"a": 2}, path, is_new=True)
        assert path.read_bytes() == b'{\n    "a": 1\n}\n'
    assert names(tmp_path) == ["False.json", "True.json"]


def test_the_name_of_this_machine_is_there_without_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    def read_text(*_: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", read_text)
    assert len(this_boot.__wrapped__()) == 8
