import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import MakeConfig, RunScript
from helpers import TINY, Config, Malicious, save_config, start_script, train


class Bench:
    """A folder with a good config, a good checkpoint, and bad ones, for one bad command line."""

    def __init__(self, folder: Path, config: Config, study: Config, data_dir: Path):
        self.folder = folder
        self.config = save_config(config, folder)
        (folder / "study").mkdir()
        self.study = save_config(study, folder / "study")
        self.data_dir = data_dir
        self.best = train(config).fitted.best_path

    def file(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path

    def changed_data(self, change: Callable[[Any], Any]) -> Path:
        """Copy the data, with the file of wiki changed."""
        folder = self.folder / "changed"
        shutil.copytree(self.data_dir, folder)
        path = folder / "wiki_crop" / "data.npy"
        changed = change(np.load(path))
        path.unlink()
        if isinstance(changed, bytes):
            path.write_bytes(changed)
        else:
            np.save(path, changed, allow_pickle=True)
        return folder


@pytest.fixture
def bench(small_config: MakeConfig, data_dir: Path, tmp_path: Path) -> Bench:
    study = small_config("cross-val.json", **TINY)
    return Bench(tmp_path, small_config(**TINY), study, data_dir)


def with_embedding(value: float) -> Callable[[Any], Any]:
    def change(faces: Any) -> Any:
        faces["embedding"][7] = value
        return faces

    return change


def narrow(faces: Any) -> Any:
    dtype = [(name, faces.dtype[name]) for name in faces.dtype.names[:-1]]
    other = np.zeros(len(faces), [*dtype, ("embedding", "f4", (256,))])
    for name, _ in dtype:
        other[name] = faces[name]
    return other


def set_options(*assignments: str) -> list[str]:
    return [part for assignment in assignments for part in ("-o", assignment)]


LOADER = "data_loader.args"
Arguments = Callable[[Bench], list[object]]
BAD: dict[str, tuple[str, Arguments, str]] = {
    # train.py: files
    "no config": ("train.py", lambda b: ["-c", "none.json"], "none.json"),
    "config that is no JSON": (
        "train.py",
        lambda b: ["-c", b.file("a.json", b'{\n  "name": ,\n}')],
        "line 2, column 11",
    ),
    "config that is a list": ("train.py", lambda b: ["-c", b.file("a.json", b"[]")], "object"),
    "config that is a folder": ("train.py", lambda b: ["-c", b.folder], "folder"),
    "config that is no text": ("train.py", lambda b: ["-c", b.best], "text"),
    "no data": (
        "train.py",
        lambda b: ["-c", b.config, "--data_dir", b.folder / "none"],
        "get_imdb_wiki_clean",
    ),
    "data cut off": (
        "train.py",
        lambda b: [
            *("-c", b.config, "--data_dir"),
            b.changed_data(lambda _: (b.data_dir / "wiki_crop/data.npy").read_bytes()[:-100]),
        ],
        "damaged",
    ),
    "data that are no npy": (
        "train.py",
        lambda b: ["-c", b.config, "--data_dir", b.changed_data(lambda _: b"hello, world")],
        "data.npy",
    ),
    "data of something else": (
        "train.py",
        lambda b: ["-c", b.config, "--data_dir", b.changed_data(lambda _: np.zeros((3, 512)))],
        "fields",
    ),
    "embeddings of 256 numbers": (
        "train.py",
        lambda b: ["-c", b.config, "--data_dir", b.changed_data(narrow)],
        "(512,)",
    ),
    "a NaN embedding": (
        "train.py",
        lambda b: ["-c", b.config, "--data_dir", b.changed_data(with_embedding(float("nan")))],
        "row 7",
    ),
    "a zero embedding": (
        "train.py",
        lambda b: ["-c", b.config, "--data_dir", b.changed_data(with_embedding(0))],
        "row 7",
    ),
    "a malicious pickle as data": (
        "train.py",
        lambda b: [
            *("-c", b.config, "--data_dir"),
            b.changed_data(lambda _: np.array(Malicious(b.folder / "trace"), object)),
        ],
        "data.npy",
    ),
    # train.py: the config
    "unknown data set": (
        "train.py",
        lambda b: ["-c", b.config, *set_options(f"{LOADER}.dataset=celeba")],
        "celeba",
    ),
    "unknown fold": (
        "train.py",
        lambda b: [
            *("-c", b.config),
            *set_options(f"{LOADER}.dataset=Adience", f"{LOADER}.test_cross_val=5"),
        ],
        "test_cross_val: 5, expected 4 or less",
    ),
    "sum of a data set and nothing": (
        "train.py",
        lambda b: ["-c", b.config, *set_options(f"{LOADER}.dataset=wiki+")],
        "no name of a data set",
    ),
    "classes that do not fit the network": (
        "train.py",
        lambda b: [
            *("-c", b.config),
            *set_options(f"{LOADER}.num_classes=8", 'metrics=["accuracy"]'),
        ],
        "num_classes",
    ),
    "classes that no loader has": (
        "train.py",
        lambda b: [
            *("-c", b.config),
            *set_options(
                f"{LOADER}.num_classes=9", "arch.args.num_classes=9", 'metrics=["accuracy"]'
            ),
        ],
        "8 or 101",
    ),
    "a batch of one under batch norm": (
        "train.py",
        lambda b: ["-c", b.config, "--bs", "1"],
        "batch",
    ),
    "one row under batch norm": (
        "train.py",
        lambda b: [
            *("-c", b.config),
            *set_options(f"{LOADER}.limit_data=1", f"{LOADER}.validation_split=0"),
        ],
        "batch norm",
    ),
    "an empty split": (
        "train.py",
        lambda b: ["-c", b.config, *set_options(f"{LOADER}.validation_split=0.001")],
        "validation_split",
    ),
    "a split that leaves nothing": (
        "train.py",
        lambda b: ["-c", b.config, *set_options(f"{LOADER}.validation_split=300")],
        "validation_split",
    ),
    "subjects where none are known": (
        "train.py",
        lambda b: ["-c", b.config, *set_options(f"{LOADER}.validation_by=subject")],
        "subject",
    ),
    "unknown key": (
        "train.py",
        lambda b: ["-c", b.config, *set_options("trainer.epoch=3")],
        "epochs",
    ),
    "unknown task": ("train.py", lambda b: ["-c", b.config, "--task", "age"], "age9"),
    "assignment without a value": (
        "train.py",
        lambda b: ["-c", b.config, "-o", "amp"],
        "KEY=VALUE",
    ),
    "unknown optimizer": (
        "train.py",
        lambda b: ["-c", b.config, *set_options("optimizer.type=Adamw")],
        "AdamW",
    ),
    "a rate that is no rate": ("train.py", lambda b: ["-c", b.config, "--lr", "-1"], "-1"),
    "a rate far too high": (
        "train.py",
        lambda b: [
            *("-c", b.config, "--lr", "1e12"),
            *set_options("optimizer.args.weight_decay=1e12"),
        ],
        "epoch 1, batch",
    ),
    "a GPU by name": ("train.py", lambda b: ["-c", b.config, "-d", "first"], "-d first"),
    "a device index that hides everything": (
        "train.py",
        lambda b: ["-c", b.config, "-d", ""],
        "-d",
    ),
    "folder that cannot be made": (
        "train.py",
        lambda b: [
            *("-c", b.config),
            *set_options(f"trainer.save_dir={b.file('plain', b'')}/saved"),
        ],
        "plain",
    ),
    # train.py: checkpoints
    "no checkpoint to resume": ("train.py", lambda b: ["-r", b.folder / "none.pth"], "none.pth"),
    "folder as a checkpoint": ("train.py", lambda b: ["-r", b.folder], "a checkpoint was expected"),
    "text as a checkpoint": (
        "train.py",
        lambda b: ["-r", b.file("text.pth", b"hello")],
        "text.pth",
    ),
    "no checkpoint to start from": (
        "train.py",
        lambda b: ["-c", b.config, *set_options("checkpoint=none.pth")],
        "none.pth",
    ),
    "checkpoint of another network to start from": (
        "train.py",
        lambda b: [
            *("-c", b.config),
            *set_options(f"checkpoint={b.best}", "arch.args.num_blocks=2"),
        ],
        "num_blocks",
    ),
    # test.py
    "test without a checkpoint": ("test.py", lambda b: ["-c", b.config], "-r"),
    "test without anything": ("test.py", lambda b: [], "-r"),
    "test of no checkpoint": ("test.py", lambda b: ["-r", "none.pth"], "none.pth"),
    "test of an empty file": ("test.py", lambda b: ["-r", b.file("a.pth", b"")], "a.pth"),
    "test of a checkpoint cut off": (
        "test.py",
        lambda b: ["-r", b.file("a.pth", b.best.read_bytes()[:5000])],
        "damaged",
    ),
    "test of a cut-off checkpoint beside its config": (
        "test.py",
        lambda b: ["-r", _cut(b.best), "--split", "val"],
        "model_best.pth",
    ),
    "test of validation rows that are not": (
        "test.py",
        lambda b: ["-r", b.best, "--split", "val", *set_options(f"{LOADER}.validation_split=0")],
        "validation_split",
    ),
    "test of a fold that is not": (
        "test.py",
        lambda b: ["-r", b.best, "--split", "test"],
        "fold",
    ),
    "test of an unknown fold": (
        "test.py",
        lambda b: [
            *("-r", b.best, "--split", "test"),
            *set_options(f"{LOADER}.dataset=Adience", f"{LOADER}.test_cross_val=7"),
        ],
        "test_cross_val: 7, expected 4 or less",
    ),
    "test of another network": (
        "test.py",
        lambda b: ["-r", b.best, *set_options("arch.args.num_residuals_per_block=1")],
        "does not fit",
    ),
    "test of another task": (
        "test.py",
        lambda b: ["-r", b.best, "--task", "gender"],
        "does not fit",
    ),
    # cross-val.py
    "study without folds": (
        "cross-val.py",
        lambda b: ["-c", b.config],
        "num_cross_val and seeds",
    ),
    "study of more folds than there are": (
        "cross-val.py",
        lambda b: ["-c", b.study, *set_options("num_cross_val=6")],
        "Adience has 5 folds",
    ),
    "study of an unknown fold": (
        "cross-val.py",
        lambda b: ["-c", b.study, "--fold", 5],
        "--fold 5",
    ),
    "study of a seed below 0": ("cross-val.py", lambda b: ["-c", b.study, "--seed=-1"], "--seed"),
    "study without seeds": ("cross-val.py", lambda b: ["-c", b.study, "-o", "seeds=[]"], "seeds"),
    "study that resumes": ("cross-val.py", lambda b: ["-c", b.study, "-r", b.best], "called again"),
    "study with a fold twice over": (
        "cross-val.py",
        lambda b: ["-c", b.study, "-o", "num_cross_val=6"],
        "num_cross_val",
    ),
}


def _cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:5000])
    return path


@pytest.mark.parametrize("case", BAD)
def test_a_bad_command_line_ends_with_code_2_and_one_line(
    case: str, bench: Bench, run_script: RunScript, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    script, arguments, hint = BAD[case]
    outcome = run_script(script, *arguments(bench))
    assert outcome.code == 2, outcome
    assert outcome.err.startswith("error: ")
    assert outcome.err.count("error:") == 1
    assert len(outcome.err.splitlines()) == 1, outcome.err
    assert hint in outcome.err
    assert "Traceback" not in outcome.err + outcome.out
    assert not (bench.folder / "trace").exists()


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("train.py", ["--epochs", "3"]),
        ("train.py", ["--lr", "fast"]),
        ("test.py", ["-r", "x.pth", "--split", "validation"]),
        ("cross-val.py", ["--fold", "first"]),
    ],
)
def test_an_option_that_is_not_one_is_explained_with_the_usage(
    script: str, arguments: list[str], run_script: RunScript
) -> None:
    outcome = run_script(script, *arguments)
    assert outcome.code == 2
    assert outcome.err.startswith("usage: ")
    assert outcome.err.count("error:") == 1


@pytest.mark.parametrize("script", ["train.py", "test.py", "cross-val.py"])
def test_help_shows_the_commands_to_type(script: str, run_script: RunScript) -> None:
    outcome = run_script(script, "--help")
    assert outcome.code == 0
    assert f"python {script}" in outcome.out
    assert "--task" in outcome.out


def test_several_problems_of_a_config_come_in_one_message(
    bench: Bench, run_script: RunScript
) -> None:
    options = set_options("trainer.epoch=3", "loss=mse", "metrics=[1]")
    outcome = run_script("train.py", "-c", bench.config, *options)
    assert outcome.code == 2
    assert outcome.err.startswith("error: config: ")
    assert outcome.err.count("error:") == 1
    for problem in ("trainer.epoch", "mse", "metrics"):
        assert problem in outcome.err


def test_an_error_in_a_process_of_its_own_is_one_line_and_code_2(tmp_path: Path) -> None:
    process = start_script("test.py", "-r", tmp_path / "none.pth")
    out, err = process.communicate()
    assert (process.returncode, out) == (2, "")
    assert err == f"error: {tmp_path / 'none.pth'}: no such checkpoint\n"


def test_the_payload_that_is_refused_as_data_does_run_in_an_ordinary_reader(
    tmp_path: Path,
) -> None:
    np.save(tmp_path / "data.npy", np.array(Malicious(tmp_path / "trace"), object))
    np.load(tmp_path / "data.npy", allow_pickle=True).item().close()
    assert (tmp_path / "trace").exists()
