import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import MakeConfig, RunScript
from helpers import (
    TINY,
    Config,
    read,
    run_dirs,
    save_config,
    signal_at,
    start_script,
    train,
    wait_for_line,
)

from base.interrupt import StopRequest
from utils.cli import Interrupted

ENDLESS = {**TINY, "trainer.epochs": 10_000, "trainer.verbosity": 1, "trainer.save_period": 0}


@pytest.fixture(autouse=True)
def _same_handlers_afterwards() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    assert [signal.getsignal(number) for number in numbers] == before


@pytest.mark.usefixtures("hangup")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_becomes_a_note_with_the_exit_code_of_the_shell(number: int, code: int) -> None:
    with StopRequest() as stop:
        assert not stop.is_set
        os.kill(os.getpid(), number)
        assert stop.is_set
        assert stop.exit_code == code


def test_a_second_signal_interrupts_at_once() -> None:
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.is_set
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_the_end_of_the_terminal_stays_ignored_under_nohup() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.is_set
    finally:
        signal.signal(signal.SIGHUP, before)


def test_outside_the_main_thread_nothing_is_installed() -> None:
    handlers: list[object] = []

    def work() -> None:
        with StopRequest() as stop:
            handlers.append(signal.getsignal(signal.SIGINT))
            assert not stop.is_set

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGINT)]


def test_a_training_in_another_thread_runs_to_its_end(small_config: MakeConfig) -> None:
    runs = []
    thread = threading.Thread(target=lambda: runs.append(train(small_config(**TINY))))
    thread.start()
    thread.join()
    assert len(runs[0].logs) == 2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_in_training_saves_first_and_says_how_to_go_on(
    number: int, code: int, small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config(**TINY)
    signal_at(monkeypatch, 2, number)
    with pytest.raises(Interrupted) as caught:
        train(config)
    path = run_dirs(config)[0] / "checkpoint-interrupted.pth"
    assert f"-r {path}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == code
    assert read(path)["resume"]["position"]["batch"] == 2


def finish(checkpoint: Path, epochs: int, run_script: RunScript) -> None:
    """Go on from a checkpoint up to so many epochs."""
    options = ("-o", f"trainer.epochs={epochs}")
    outcome = run_script("train.py", "-r", checkpoint, *options)
    assert (outcome.code, outcome.err) == (0, "")
    best = read(run_dirs(read(checkpoint)["config"])[-1] / "model_best.pth")
    assert best["config"]["trainer"]["epochs"] == epochs


@pytest.mark.parametrize(
    ("number", "code", "num_workers"),
    [(signal.SIGINT, 130, 0), (signal.SIGTERM, 143, 0), (signal.SIGINT, 130, 1)],
)
def test_train_py_heeds_a_signal_with_one_line_and_resumes_to_the_end(
    number: int,
    code: int,
    num_workers: int,
    small_config: MakeConfig,
    tmp_path: Path,
    run_script: RunScript,
) -> None:
    """Ctrl-C goes to the whole group of processes, as a terminal sends it."""
    config = small_config(**{**ENDLESS, "data_loader.args.num_workers": num_workers})
    process = start_script("train.py", "-c", save_config(config, tmp_path), start_new_session=True)
    wait_for_line(process, "epoch 2/")
    os.killpg(process.pid, number)
    out, err = process.communicate()
    assert process.returncode == code
    lines = err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("interrupted")
    assert "Traceback" not in out
    checkpoint = Path(lines[0].split("-r ")[1])
    assert checkpoint.name == "checkpoint-interrupted.pth"
    finish(checkpoint, int(read(checkpoint)["epoch"]) + 2, run_script)


def test_ctrl_c_before_the_training_starts_is_one_line_as_well(
    small_config: MakeConfig,
    tmp_path: Path,
    run_script: RunScript,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("data_loader.data_loaders.read_source", interrupted)
    outcome = run_script("train.py", "-c", save_config(small_config(**TINY), tmp_path))
    assert (outcome.code, outcome.err) == (130, "interrupted\n")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_cross_val_py_heeds_a_signal_and_says_to_call_it_again(
    number: int,
    code: int,
    cross_val_config: Config,
    tmp_path: Path,
    run_script: RunScript,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    signal_at(monkeypatch, 2, number)
    outcome = run_script("cross-val.py", "-c", save_config(cross_val_config, tmp_path))
    assert outcome.code == code
    lines = outcome.err.splitlines()
    assert len(lines) == 1
    assert "call" in lines[0]
    assert " -r " not in lines[0]


def test_cross_val_py_heeds_a_signal_on_the_very_last_batch_of_a_run(
    cross_val_config: Config,
    tmp_path: Path,
    run_script: RunScript,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The run ends, but the next one must not begin."""
    config = save_config(cross_val_config, tmp_path)
    batches = run_script("cross-val.py", "-c", config, "--seed", 9, "--fold", 0)
    assert batches.code == 0
    checkpoint = read(run_dirs(cross_val_config)[0] / "checkpoint-epoch2.pth")
    num_steps = int(next(iter(checkpoint["optimizer"]["state"].values()))["step"])
    num_runs = len(run_dirs(cross_val_config))
    signal_at(monkeypatch, num_steps)
    outcome = run_script("cross-val.py", "-c", config)
    assert outcome.code == 130
    assert len(run_dirs(cross_val_config)) == num_runs + 1


def test_a_stop_ends_a_wait() -> None:
    stop = StopRequest()
    with stop:
        signal.raise_signal(signal.SIGTERM)
        stop.wait(1e6)
    assert stop.is_set
