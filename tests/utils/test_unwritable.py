"""Every program finds out that it cannot write before it reads its data or does any work."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import MakeConfig, RunScript
from helpers import TINY, run_dirs, signal_at, train
from stored import make_face, store, write_wiki

from cross_val.cross_validate import cross_validate
from extraction import cleaning, convert
from sample.make import make_sample_data
from utils import scripts
from utils.config import ConfigParser
from utils.errors import PathError

NO_DATA = "data_loader.args.data_dir=/no/such/data"


@pytest.fixture
def blocked(tmp_path: Path) -> Path:
    """Return a folder that cannot be made, whoever asks: its place is taken by a file."""
    (tmp_path / "plain").touch()
    return tmp_path / "plain" / "saved"


@pytest.mark.parametrize("script", ["train.py", "cross-val.py", "study.py"])
def test_a_program_that_trains_looks_where_it_writes_before_it_reads(
    script: str, blocked: Path, run_script: RunScript
) -> None:
    outcome = run_script(script, "-o", f"trainer.save_dir={blocked}", "-o", NO_DATA)
    assert outcome.code == 2
    assert outcome.err == (
        f"error: {blocked} cannot be written: {blocked.parent}: not a folder; make it writable, or "
        "name another place\n"
    )


def test_a_search_does_so_too(blocked: Path, run_script: RunScript) -> None:
    outcome = run_script("hp-tuning.py", "-o", f"save_dir={blocked}", "-o", "data_dir=/no/data")
    assert outcome.code == 2
    assert outcome.err.startswith(f"error: {blocked / 'hp-tuning'} cannot be written: ")


def test_an_evaluation_does_so_too(
    small_config: MakeConfig, blocked: Path, run_script: RunScript
) -> None:
    config = small_config(**TINY, **{"trainer.epochs": 1})
    train(config)
    best = run_dirs(config)[0] / "model_best.pth"
    outcome = run_script("test.py", "-r", best, "-o", f"trainer.save_dir={blocked}", "-o", NO_DATA)
    assert outcome.code == 2
    assert outcome.err.startswith(f"error: {blocked} cannot be written: ")


@pytest.mark.parametrize(
    "call",
    [
        scripts.make_sample_data,
        lambda path: scripts.export_model("/no/such.pth", path / "a.pth"),
        lambda path: scripts.export_model("/no/such.pth", path.parent.parent),
        lambda path: scripts.make_ensemble(["/no/such.pth"], path / "a.pth"),
    ],
)
def test_a_command_looks_where_it_writes_before_it_reads(
    call: Callable[[Path], Any], blocked: Path
) -> None:
    with pytest.raises(PathError, match=r"cannot be written|is a folder"):
        call(blocked)


def refuse(*_: Path) -> None:
    raise PathError("cannot be written")


def test_a_cleaning_looks_before_it_reads_the_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_wiki(tmp_path, ["00/a.jpg"])
    store(folder / "00" / "a.jpg", [make_face()])
    monkeypatch.setattr(cleaning, "refuse_unwritable", refuse)
    with pytest.raises(PathError):
        scripts.get_imdb_wiki_clean("wiki", data_dir=tmp_path)
    assert not (folder / "data.npy").exists()


def test_a_conversion_looks_before_it_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wiki_crop").mkdir()
    np.save(tmp_path / "wiki_crop" / "data.npy", np.array([{}], object), allow_pickle=True)
    monkeypatch.setattr(convert, "refuse_unwritable", refuse)
    with pytest.raises(PathError):
        convert.convert("wiki", tmp_path)


@pytest.mark.parametrize("content", ["[]", "[" * 100_000])
def test_a_foreign_state_of_a_sample_is_one_line(content: str, tmp_path: Path) -> None:
    (tmp_path / "sample.json").write_text(content)
    with pytest.raises(ValueError, match=r"sample\.json is"):
        make_sample_data(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["sample.json"]


def full_disk_at(path: Path) -> None:
    raise OSError(28, "No space left on device", str(path))


def test_a_full_disk_says_what_stays(
    cross_val_config: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    program_log: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("base.epoch_files.save_checkpoint", lambda _, path: full_disk_at(path))
    with pytest.raises(OSError, match="No space left"):
        cross_validate(ConfigParser(cross_val_config))
    assert "What was written before stays in" in program_log.text
    assert "The runs that are done stay; the same call goes on" in program_log.text


def test_an_interrupt_is_no_full_disk(
    small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, program_log: pytest.LogCaptureFixture
) -> None:
    signal_at(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        train(small_config(**TINY))
    assert "stays in" not in program_log.text
