"""Two nodes on this machine: the worker dies half-way, or both say that they have a GPU."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from helpers import Config, save_config
from ray_helpers import Cluster, Script, cluster_on_loopback, run, wait_until
from ray_studies import in_process, results_of
from small_search import by_values, save, small_search, trials_of

from cross_val.stacked_engine import stacked_engine

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with cluster_on_loopback() as nodes:
        yield nodes


def nodes_that_ran(config: Config, cluster: Cluster) -> set[str]:
    """Read from the logs of the runs which nodes' folders they were trained in."""
    logs = (Path(config["trainer"]["save_dir"]) / "log").glob("**/info.log")
    texts = [path.read_text(encoding="utf-8") for path in logs]
    names = ("head", "worker", "second")
    return {name for name in names for text in texts if f"{cluster.folder / name}/" in text}


def num_finished(config: Config) -> int:
    """Count the runs whose results are written."""
    return len(json.dumps(results_of(config)["checkpoints"]).split(".pth")) - 1


def test_a_study_and_a_search_survive_the_death_of_a_node_with_the_same_numbers(
    cluster: Cluster, cross_val_config: Config, data_dir: Path, tmp_path: Path
) -> None:
    """25 runs first; their worker dies, and another takes its place for the search."""
    study = {**cross_val_config, "num_cross_val": 5, "seeds": [0, 1, 2, 3, 4]}
    study["trainer"]["epochs"] = 8
    path = save_config(study, tmp_path)
    script = Script("cross-val.py", "-c", path, "--address", cluster.address, **cluster.variables)
    assert wait_until(lambda: nodes_that_ran(study, cluster) == {"head", "worker"})
    assert wait_until(lambda: num_finished(study) >= 2)  # logs are there before results are
    cluster.worker.kill()
    num_done = num_finished(study)
    outcome = script.end()
    assert (outcome.code, outcome.err) == (0, "")
    assert 2 <= num_done < 25
    assert results_of(study)["stats"] == in_process(study, tmp_path)["stats"]
    assert script.left() == []

    cluster.worker = cluster.add_worker("second")
    search = {**small_search(data_dir, tmp_path / "searched"), "num_samples": 6}
    (tmp_path / "search").mkdir()
    search["max_num_epochs"] = 10
    variables = {**cluster.variables, "RAY_ADDRESS": cluster.address}
    script = Script("hp-tuning.py", "-c", save(search, tmp_path / "search"), **variables)
    script.wait_for("1 of 6")
    scratch = cluster.folder / "second"
    assert wait_until(lambda: any(scratch.glob("*/models/*/*/checkpoint-epoch*")))
    cluster.worker.kill()
    outcome = script.end()
    assert (outcome.code, outcome.err) == (0, "")
    trials = trials_of(search)
    assert any(scratch.glob("*/models")), "the worker did not die in the middle of a trial"
    alone = {**search, "save_dir": str(tmp_path / "alone")}
    local = Script("hp-tuning.py", "-c", save(alone, tmp_path / "search"))
    assert local.end().code == 0
    assert by_values(trials) == by_values(trials_of(alone))


@pytest.mark.skipif(
    torch.cuda.is_available(), reason="the GPUs are made up, and trained for on CPUs"
)
def test_every_gpu_of_a_cluster_takes_a_stack(cross_val_config: Config, tmp_path: Path) -> None:
    cross_val_config["n_gpu"] = 1
    with cluster_on_loopback("--num-gpus=1") as cluster:
        options = ("-c", save_config(cross_val_config, tmp_path), "--address", cluster.address)
        outcome = run("cross-val.py", *options, **cluster.variables)
        assert (outcome.code, outcome.err) == (0, "")
        assert nodes_that_ran(cross_val_config, cluster) == {"head", "worker"}
    assert "Ray: 2 at once, each up to 2 runs in stacks on 1 CPUs and 1 GPUs" in outcome.out
    results = results_of(cross_val_config)
    assert results["environment"]["engine"] == "stacked"
    expected = in_process(cross_val_config, tmp_path, stacked_engine(threads=1))
    assert results["stats"] == expected["stats"]
