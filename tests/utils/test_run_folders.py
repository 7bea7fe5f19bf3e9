import signal
from pathlib import Path
from typing import Any

import pytest
from conftest import MakeConfig
from helpers import TINY, run_dirs, save_config, signal_at, start_script, train, wait_for_line

from cross_val.cross_validate import cross_validate
from cross_val.stack import Stack
from cross_val.stacked_engine import stacked_engine
from trainer.check import check
from utils.cli import Interrupted
from utils.config import ConfigParser
from utils.errors import DivergedError
from utils.files import write_json
from utils.locks import this_boot
from utils.run_folders import claim_folder, lock_path, remove_killed_runs


def killed_run(root: Path, name: str = "1", **files: str) -> tuple[Path, Path]:
    """Write what a killed run leaves; give its folder and its log's."""
    folder, log = root / "models" / "age" / name, root / "log" / "age" / name
    for path in (folder, log):
        path.mkdir(parents=True)
    write_json({}, folder / "config.json")
    (log / "info.log").write_text("a line")
    (log / "events.out.tfevents.1.host").touch()
    (folder / f".model_best.pth.{this_boot()}{'0f' * 12}.tmp").touch()
    for file, content in files.items():
        (folder / file.replace("__", ".")).write_text(content)
    lock_path(folder).write_text(this_boot())
    return folder, log


def test_a_killed_run_without_a_checkpoint_is_removed_with_its_log(tmp_path: Path) -> None:
    killed_run(tmp_path, epochs__jsonl="{}\n")
    remove_killed_runs(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["age", "age", "log", "models"]


@pytest.mark.parametrize("worth", ["model_best__pth", "checkpoint-epoch1__pth", "notes__txt"])
def test_a_killed_run_that_holds_something_of_worth_stays_but_for_half_written_files(
    tmp_path: Path, worth: str
) -> None:
    folder, log = killed_run(tmp_path, **{worth: "x"})
    remove_killed_runs(tmp_path)
    assert {path.name for path in folder.iterdir()} == {"config.json", worth.replace("__", ".")}
    assert len(list(log.iterdir())) == 2
    assert not lock_path(folder).exists()


def test_a_foreign_file_in_the_log_or_a_folder_keeps_both(tmp_path: Path) -> None:
    for number, below in enumerate(("a file", "a folder/a file"), 1):
        folder, log = killed_run(tmp_path, str(number))
        (log / below).parent.mkdir(exist_ok=True)
        (log / below).touch()
        remove_killed_runs(tmp_path)
        assert (folder / "config.json").exists()
        assert (log / "info.log").exists()


def test_a_link_to_a_run_elsewhere_is_not_followed(tmp_path: Path) -> None:
    folder, _ = killed_run(tmp_path / "elsewhere")
    link = tmp_path / "here" / "models" / "age" / "1"
    link.parent.mkdir(parents=True)
    link.symlink_to(folder)
    lock_path(link).write_text(this_boot())
    remove_killed_runs(tmp_path / "here")
    assert (folder / "config.json").exists()
    assert link.is_symlink()


def test_runs_that_ended_or_go_on_or_are_of_older_programs_stay(tmp_path: Path) -> None:
    older, _ = killed_run(tmp_path, "older")
    lock_path(older).unlink()
    live, held = claim_folder(tmp_path / "models" / "age")
    remove_killed_runs(tmp_path)
    assert older.exists()
    assert live.exists()
    held.let_go()
    remove_killed_runs(tmp_path)
    assert live.exists()


def test_the_lock_file_of_a_killed_cross_validation_is_removed_and_the_results_stay(
    tmp_path: Path,
) -> None:
    results = tmp_path / "1_cross-val-results.json"
    write_json({"stats": {}}, results)
    lock_path(results).write_text(this_boot())
    remove_killed_runs(tmp_path)
    assert list(tmp_path.iterdir()) == [results]


def tiny(small_config: MakeConfig, **changes: Any) -> dict[str, Any]:
    return small_config(**{**TINY, "trainer.verbosity": 1, **changes})


def test_the_next_training_removes_what_a_killed_one_left(
    small_config: MakeConfig, tmp_path: Path
) -> None:
    """It is stopped in its first epoch, of over a hundred batches, and killed there."""
    config = tiny(small_config)
    small = tiny(small_config, **{"data_loader.args.batch_size": 2, "optimizer.args.lr": 1e-300})
    process = start_script("train.py", "-c", save_config(small, tmp_path))
    wait_for_line(process, "Run: ")
    process.send_signal(signal.SIGSTOP)
    (folder,) = [path for path in run_dirs(config) if path.is_dir()]
    had_best = (folder / "model_best.pth").exists()
    first = train(config).save_dir
    assert folder.is_dir()  # it may go on
    process.kill()
    process.communicate()
    second = train(config).save_dir
    assert set(run_dirs(config)) == {*([folder] if had_best else []), first, second}
    assert len(list((tmp_path / "saved" / "log" / "ResMLP").iterdir())) == len(run_dirs(config))


def test_a_stack_that_is_interrupted_leaves_no_empty_run_folders(
    cross_val_config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = stop_at_the_third_step(monkeypatch)
    with pytest.raises(Interrupted):
        cross_validate(ConfigParser(cross_val_config, check=check), engine=stacked_engine())
    assert len(steps) == 3
    assert run_dirs(cross_val_config) == []


def stop_at_the_third_step(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Ask a stack for a stop; give the list of its steps."""
    original, steps = Stack._differentiate, list[int]()

    def differentiate(self: Any, members: slice, rows: Any, stop: Any) -> Any:
        steps.append(1)
        if len(steps) == 3:
            stop.signal_number = signal.SIGINT
        return original(self, members, rows, stop)

    monkeypatch.setattr(Stack, "_differentiate", differentiate)
    return steps


def test_a_training_that_is_interrupted_keeps_its_checkpoint(
    small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(small_config)
    signal_at(monkeypatch, 2)
    with pytest.raises(Interrupted):
        train(config)
    (folder,) = run_dirs(config)
    assert (folder / "checkpoint-interrupted.pth").is_file()


def test_a_run_that_diverged_keeps_its_log(
    small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(small_config)
    with monkeypatch.context() as patch:
        patch.setattr("trainer.trainer.Trainer._train_batch", diverge)
        with pytest.raises(DivergedError):
            train(config)
    (folder,) = run_dirs(config)
    train(config)
    assert folder in run_dirs(config)


def diverge(*_: Any) -> None:
    raise DivergedError("the loss became nan")
