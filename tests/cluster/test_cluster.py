"""What surrounds Ray, without Ray."""

import argparse
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from cluster_helpers import nodes, noted
from helpers import ROOT, Config

from base.device import limited_threads
from cluster import code, session
from cluster.code import code_version
from cluster.folders import keep_run, pack
from cluster.probe import node_problems
from cluster.session import TaskResources, num_at_once, ray_session, refuse_too_much
from cross_val.cross_validate import cross_validate
from cross_val.options import add_arguments, engine_of
from cross_val.ray_engine import ray_engine
from cross_val.ray_runs import TaskSettings, run_remotely
from cross_val.runs import Engine, sequential_engine
from data_loader.data_loaders import AgeDataLoader
from data_loader.faces import LoadedFaces, read_source
from data_loader.selection import Selection
from trainer.data import NO_INPUTS, read_inputs
from utils.config import ConfigParser
from utils.errors import ClusterError, ConfigError
from utils.locks import hold, this_boot
from utils.run_folders import lock_path

# --- data read once ------------------------------------------------------------------------------


def loader(data_dir: Path, source: LoadedFaces | None, **changes: Any) -> AgeDataLoader:
    arguments: Config = {
        "data_dir": str(data_dir),
        "batch_size": 32,
        "shuffle": True,
        "validation_split": 0.1,
        "num_workers": 0,
        "dataset": "Adience",
        "num_classes": 8,
        "training": True,
        **changes,
    }
    return AgeDataLoader(**arguments, source=source)


def read_only(source: LoadedFaces) -> LoadedFaces:
    """Make the arrays what they are in Ray's object store."""
    for column in vars(source.faces).values():
        column.flags.writeable = False
    return source


@pytest.mark.parametrize(
    "changes",
    [{}, {"test_cross_val": 2}, {"test_cross_val": 2, "training": False}, {"limit_data": 50}],
)
def test_shared_data_give_the_batches_of_data_read_from_the_file(
    changes: Config, data_dir: Path
) -> None:
    shared = loader(data_dir, read_only(read_source(data_dir, "Adience")), **changes)
    alone = loader(data_dir, None, **changes)
    assert shared.extractors == alone.extractors
    for ours, theirs in zip(shared, alone, strict=True):
        assert all(map(torch.equal, ours, theirs))


def test_shared_data_are_not_copied(data_dir: Path) -> None:
    source = read_only(read_source(data_dir, "Adience"))
    dataset: Any = loader(data_dir, source).dataset
    assert dataset.embeddings.data_ptr() == source.faces.embedding.ctypes.data


def test_data_read_for_one_selection_serve_it_without_a_copy_and_no_other(data_dir: Path) -> None:
    selection = Selection(limit=40, seed=3)
    source = read_source(data_dir, "Adience", selection)
    assert source.rows(Selection(limit=40, seed=3)) is None
    with pytest.raises(ValueError, match="limit=41"):
        source.rows(Selection(limit=41, seed=3))
    assert source.num_bytes() > 40 * 512 * 4


def test_a_selection_of_all_rows_does_not_depend_on_the_seed() -> None:
    assert Selection(seed=1).chooses_like(Selection(seed=2))
    assert not Selection(limit=1, seed=1).chooses_like(Selection(limit=1, seed=2))
    assert not Selection("train", 0).chooses_like(Selection())


# --- what a training takes -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("share", "complaint"),
    [
        ({"cpus": 0}, "cpus 0: expected 1"),
        ({"gpus": -1.0}, "gpus -1.0: expected 0"),
        ({"gpus": float("nan")}, "gpus nan"),
        ({"gpus": 1.5}, "gpus 1.5: one training uses one GPU"),
    ],
)
def test_a_share_that_cannot_be_is_refused(share: Config, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        TaskResources(**share)


def test_trainings_fill_every_node(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes(monkeypatch, {"CPU": 5}, {"CPU": 4, "GPU": 1}, {})
    assert num_at_once(TaskResources(2, 0).resources()) == 4
    assert num_at_once(TaskResources(1, 0.25).resources()) == 4
    assert num_at_once(TaskResources(1).resources()) == 4


def test_a_gpu_is_taken_in_part_where_there_is_any(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes(monkeypatch, {"CPU": 4, "GPU": 1})
    assert TaskResources(1).resources() == {"CPU": 1, "GPU": 0.25}
    nodes(monkeypatch, {"CPU": 4})
    assert TaskResources(1).resources() == {"CPU": 1, "GPU": 0}


@pytest.mark.parametrize(
    ("share", "complaint"),
    [
        (TaskResources(5, 0), "--cpus 5: no machine has more than 4 CPUs"),
        (TaskResources(1, 1.0), None),
        (TaskResources(4, 1.0), "no machine has 4 CPUs and 1 GPUs"),
    ],
)
def test_more_than_any_one_machine_has_is_refused(
    share: TaskResources, complaint: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes(monkeypatch, {"CPU": 4}, {"CPU": 2, "GPU": 1})
    if complaint is None:
        refuse_too_much(share, ("--cpus", "--gpus"))
        return
    with pytest.raises(ConfigError, match=complaint):
        refuse_too_much(share, ("--cpus", "--gpus"))


# --- nodes and addresses -------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["nowhere", "host:port", "ray://127.0.0.1:1", ":", "a/b:1"])
def test_an_address_of_another_form_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="expected HOST:PORT"):
        session._reachable(address)


def test_an_address_where_nobody_listens_is_one_line() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(ClusterError, match=r"no Ray cluster at .*ray start --head"):
            session._reachable(address)


class FakeRay:
    """A cluster whose nodes answer what they are told to."""

    class exceptions:  # noqa: N801 - Ray's name
        RayError = RuntimeError

    def __init__(self, **answers: Any):
        self.answers = answers
        self.noticed_deaths: list[str] = []

    def nodes(self) -> list[dict[str, Any]]:
        names = {name: f"address-of-{name}" for name in self.answers}
        return [
            {
                "NodeID": name,
                "NodeManagerAddress": address,
                "Alive": name not in self.noticed_deaths,
            }
            for name, address in names.items()
        ]

    def get(self, name: str, timeout: float) -> Any:
        answer = self.answers[name]
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_every_unfit_node_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.probe._look_from", lambda ray, name, marker: name)
    fit, unseeing = ("v1", True), ("v1", False)
    assert node_problems(FakeRay(a=fit, b=fit), "v1", None) == []
    ray = FakeRay(a=fit, b=("v2", True), c=("none: No module named 'cluster'", True), d=unseeing)
    other, none, blind = node_problems(ray, "v1", "/here/config.json")
    assert "address-of-b has another version of the code (v2; here v1)" in other
    assert "address-of-c" in none
    assert "No module named" in none
    assert "address-of-d does not see /here/config.json" in blind
    monkeypatch.setattr("cluster.probe.DEATH_S", 0)
    monkeypatch.setattr("cluster.probe.POLL_S", 0)
    (dead,) = node_problems(FakeRay(a=RuntimeError()), "v1", None)
    assert "address-of-a does not answer" in dead


def test_a_node_that_died_a_moment_ago_is_told_and_does_not_matter(
    monkeypatch: pytest.MonkeyPatch, program_log: pytest.LogCaptureFixture
) -> None:
    ray = FakeRay(a=("v1", True), b=RuntimeError())

    def look(ray: FakeRay, name: str, marker: str | None) -> str:
        if name == "b":
            ray.noticed_deaths.append(name)
        return name

    monkeypatch.setattr("cluster.probe._look_from", look)
    assert node_problems(ray, "v1", None) == []
    assert "node address-of-b has died" in program_log.text


def test_the_version_follows_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = []
    for text in ("a = 1\n", "a = 2\n", "a = 1\n"):
        (tmp_path / "utils").mkdir(exist_ok=True)
        (tmp_path / "utils" / "one.py").write_text(text)
        monkeypatch.setattr(code, "ROOT", tmp_path)
        versions.append(code_version.__wrapped__())
    assert versions[0] == versions[2] != versions[1]
    assert torch.__version__.partition("+")[0] in versions[0]


def test_ray_missing_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(ConfigError, match="this needs Ray"),
        ray_session(tmp_path / "ray", None, 0),
    ):
        pass


def test_the_next_engine_removes_the_session_of_a_killed_one(
    tmp_path: Path, cross_val_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes on stays; Ray itself is missing, so that nothing is started."""
    monkeypatch.setitem(sys.modules, "ray", None)
    config = ConfigParser(cross_val_config)
    save_dir = Path(config["trainer"]["save_dir"])
    killed, live = save_dir / ".ray-killed", save_dir / ".ray-live"
    for folder in (killed, live):
        (folder / "session_1").mkdir(parents=True)
    lock_path(killed).write_text(this_boot())
    held = hold(lock_path(live))
    assert held is not None
    with pytest.raises(ConfigError, match="this needs Ray"):
        list(ray_engine(TaskResources())(config, [(0, 0)], None, NO_INPUTS))
    assert sorted(save_dir.iterdir()) == sorted([live, lock_path(live)])


def test_programs_do_not_load_ray_before_they_need_it() -> None:
    code_text = """
import sys, runpy
sys.argv = ["x", "-h"]
for name in ("cross-val.py", "hp-tuning.py", "train.py", "test.py"):
    try:
        runpy.run_path(name, run_name="__main__")
    except SystemExit:
        pass
sys.exit("ray" in sys.modules)
"""
    outcome = subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, "-c", code_text], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (outcome.returncode, outcome.stderr) == (0, "")


# --- engines -------------------------------------------------------------------------------------


def chosen(config: Config, *options: str) -> Engine:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return engine_of(parser.parse_args(options), ConfigParser(config))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--cpus", "0"), "cpus 0"),
        (("--gpus", "0.5"), "--gpus is for --engine ray"),
        (("--stack_size", "2"), "--stack_size is for --engine stacked and ray"),
        (("--engine", "stacked", "--stack_size", "0"), "--stack_size 0: expected 1 or more"),
        (("--engine", "ray", "--stack_size", "-1"), "--stack_size -1: expected 1 or more"),
        (("--engine", "sequential", "--address", "a:1"), "--address is for --engine ray"),
    ],
)
def test_options_of_the_other_engine_are_refused(
    options: tuple[str, ...], complaint: str, cross_val_config: Config
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        chosen(cross_val_config, *options)


def test_an_address_means_the_engine_that_can_use_it(cross_val_config: Config) -> None:
    far = chosen(cross_val_config, "--address", "127.0.0.1:1")
    assert far.__module__ == "cross_val.ray_engine"


def test_threads_are_limited_and_recorded(cross_val_config: Config) -> None:
    config = ConfigParser({**cross_val_config, "seeds": [0], "num_cross_val": 1})
    before = torch.get_num_threads()
    results = cross_validate(config, engine=sequential_engine(threads=2))
    assert results["environment"]["num_threads"] == 2
    assert torch.get_num_threads() == before
    with limited_threads(None):
        assert torch.get_num_threads() == before


# --- a run on a worker ---------------------------------------------------------------------------


def remote(config: Config, version: str | None = None) -> Any:
    inputs = read_inputs(ConfigParser(config), whole=True)
    settings = TaskSettings(ConfigParser(config).config, 1, version or code_version())
    (outcome,) = run_remotely(settings, [(1, 0)], inputs, noted()[0])
    return outcome


def test_a_worker_gives_back_the_numbers_and_the_files_of_its_run(
    cross_val_config: Config, tmp_path: Path
) -> None:
    alone = cross_validate(ConfigParser(cross_val_config), seed=1, fold=0)
    sent = remote(cross_val_config)
    assert sent.result.stats == {
        split: alone["stats"]["1"][split]["0"] for split in sent.result.stats
    }
    here = ConfigParser(cross_val_config, folder=tmp_path / "kept")
    folder = keep_run(here, sent.models, sent.log)
    assert pack(folder) == sent.models
    assert {"config.json", "model_best.pth"} <= sent.models.keys()
    log = tmp_path / "kept" / "log" / cross_val_config["name"] / folder.name / "info.log"
    assert "Best epoch" in log.read_text(encoding="utf-8")
    assert not list(sent.result.best_path.parents[3].glob("models")), "temporary files are left"


def test_a_worker_with_another_version_of_the_code_says_so(cross_val_config: Config) -> None:
    error = remote(cross_val_config, version="another")
    assert isinstance(error, ClusterError)
    assert "another version of the code" in str(error)


def test_a_full_disk_of_a_worker_comes_back_as_an_error(
    cross_val_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("base.epoch_files.save_checkpoint", full)
    error = remote(cross_val_config)
    assert isinstance(error, OSError)
    assert "No space left" in str(error)


def test_the_actor_knows_the_newest_epoch_of_each_run() -> None:
    _, progress = noted()
    for epoch in (1, 2):
        progress.note((0, 1), epoch)
    progress.note((0, 2), 1)
    assert progress.read() == {(0, 1): 2, (0, 2): 1}
