"""How runs are divided over the GPUs and CPUs of a cluster, and trained as stacks, without Ray."""

import itertools
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from cluster_helpers import nodes, noted
from diverging import diverging_run_config
from helpers import Config

from cluster.code import code_version
from cluster.session import TaskResources
from cross_val import stacked_engine as engine_module
from cross_val.cross_validate import cross_validate
from cross_val.division import divide
from cross_val.ray_engine import _ClusterRuns, describe_progress
from cross_val.ray_runs import PackedRun, RunOutcome, TaskSettings, run_remotely
from cross_val.runs import RunKey, evaluate_best
from cross_val.stacked_engine import by_fold, split_evenly, stacked_engine
from trainer.check import check
from trainer.data import read_inputs
from utils.config import ConfigParser
from utils.errors import ClusterError, ConfigError, DivergedError

RUNS: list[RunKey] = list(itertools.product(range(5), range(5)))
CPUS = {"CPU": 4.0}
ONE_GPU = {"CPU": 4.0, "GPU": 1.0}
TWO_GPUS = {"CPU": 8.0, "GPU": 2.0}

# --- what a task takes ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("machines", "gpus", "stack_size", "expected"),
    [
        ([CPUS], None, None, "4 runs at once, each on 1 CPUs and 0 GPUs"),
        ([CPUS], None, 1, "4 runs at once, each on 1 CPUs and 0 GPUs"),
        ([CPUS], None, 9, "3 at once, each up to 9 runs in stacks on 1 CPUs and 0 GPUs"),
        ([CPUS], 0, 2, "4 at once, each up to 2 runs in stacks on 1 CPUs and 0 GPUs"),
        ([ONE_GPU], None, None, "1 at once, each up to 25 runs in stacks on 1 CPUs and 1 GPUs"),
        ([ONE_GPU], 0, None, "4 runs at once, each on 1 CPUs and 0 GPUs"),
        ([TWO_GPUS], None, None, "2 at once, each up to 13 runs in stacks on 1 CPUs and 1 GPUs"),
        ([TWO_GPUS], 1, None, "2 at once, each up to 13 runs in stacks on 1 CPUs and 1 GPUs"),
        ([TWO_GPUS], None, 4, "2 at once, each up to 4 runs in stacks on 1 CPUs and 1 GPUs"),
        ([TWO_GPUS], None, 1, "8 runs at once, each on 1 CPUs and 0.25 GPUs"),
        ([TWO_GPUS], 0.5, None, "4 runs at once, each on 1 CPUs and 0.5 GPUs"),
        ([TWO_GPUS], 0.5, 5, "4 at once, each up to 5 runs in stacks on 1 CPUs and 0.5 GPUs"),
        ([TWO_GPUS, ONE_GPU, CPUS], None, None, "3 at once, each up to 9 runs in stacks on"),
    ],
)
def test_a_whole_gpu_takes_a_stack_and_everything_less_a_run(
    machines: list[dict[str, float]],
    gpus: float | None,
    stack_size: int | None,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nodes(monkeypatch, *machines)
    division = divide(RUNS, TaskResources(1, gpus), stack_size, n_gpu=1)
    assert str(division).startswith(expected)
    together = list(itertools.chain(*division.parts))
    assert together == (by_fold(RUNS) if division.is_stacked else RUNS)
    assert division.is_stacked == ("stack" in expected)


def test_a_config_without_a_gpu_takes_none(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes(monkeypatch, TWO_GPUS)
    assert str(divide(RUNS, TaskResources(), None, n_gpu=0)) == (
        "8 runs at once, each on 1 CPUs and 0 GPUs"
    )
    assert divide(RUNS, TaskResources(), 2, n_gpu=0).share.gpus == 0
    assert not divide(RUNS, TaskResources(1, 1), None, n_gpu=0).is_stacked


def test_runs_of_a_fold_share_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """They have as many batches, so that most of a stack is alike."""
    nodes(monkeypatch, CPUS)
    parts = divide(RUNS, TaskResources(), 5, n_gpu=0).parts
    assert [{fold for _, fold in part} for part in parts] == [{0}, {1}, {2}, {3}, {4}]


def test_only_gpus_that_have_the_cores_count(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes(monkeypatch, {"CPU": 4, "GPU": 8})
    assert len(divide(RUNS, TaskResources(2), None, n_gpu=1).parts) == 2
    nodes(monkeypatch, {"CPU": 2, "GPU": 1}, {"CPU": 8})
    with pytest.raises(ConfigError, match="no machine has 8 CPUs and 1 GPUs"):
        divide(RUNS, TaskResources(8), None, n_gpu=1)


def test_a_run_left_over_is_trained_as_the_others_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """A study that goes on must not end with runs of another engine."""
    nodes(monkeypatch, TWO_GPUS)
    for stack_size in (None, 4):
        division = divide(RUNS[:1], TaskResources(), stack_size, n_gpu=1)
        assert (division.is_stacked, division.parts) == (True, [[(0, 0)]])


@pytest.mark.parametrize(
    ("num_parts", "sizes"),
    [(1, [25]), (2, [13, 12]), (8, [4, 3, 3, 3, 3, 3, 3, 3]), (25, [1] * 25), (40, [1] * 25)],
)
def test_parts_are_of_like_sizes(num_parts: int, sizes: list[int]) -> None:
    parts = split_evenly(RUNS, num_parts)
    assert [len(part) for part in parts] == sizes
    assert list(itertools.chain(*parts)) == RUNS


def test_the_bar_tells_few_runs_by_name_and_many_by_number() -> None:
    assert describe_progress({}, 20) == ""
    assert "0/3" in describe_progress(dict.fromkeys(RUNS[:4], 1), 20)
    assert len(describe_progress(dict.fromkeys(RUNS * 4, 1), 20)) < 50


class FakeRay:
    """A Ray whose references are the outcomes themselves, in one-element tuples."""

    exceptions = SimpleNamespace(RayTaskError=KeyError, RayError=KeyError)

    def wait(self, references: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
        return references[:1], references[1:]

    def get(self, reference: Any) -> Any:
        return list(reference)


def test_failures_of_later_tasks_are_told_and_the_first_is_raised(
    monkeypatch: pytest.MonkeyPatch, program_log: pytest.LogCaptureFixture
) -> None:
    study: Any = object.__new__(_ClusterRuns)
    first, second = DivergedError("seed 0, fold 1: NaN"), DivergedError("seed 3, fold 2: NaN")
    study.__dict__ |= {"ray": FakeRay(), "waiting": [], "_show": lambda _: None, "_start": list}
    study.under_way = {(first,): [(0, 1)], (second,): [(3, 2)]}
    with pytest.raises(DivergedError, match="seed 0, fold 1"):
        list(study.run(None, SimpleNamespace(is_set=False)))
    assert program_log.messages == [str(first), str(second)]


# --- a stack on a worker -------------------------------------------------------------------------


def remote(config: Config) -> tuple[dict[RunKey, RunOutcome], dict[RunKey, int]]:
    """Return the outcomes of four runs in a stack, and the epochs that were told."""
    actor, progress = noted()
    parsed = ConfigParser(config, check=check)
    settings = TaskSettings(parsed.config, 1, code_version(), is_stacked=True)
    runs = [(0, 0), (0, 1), (1, 0), (1, 1)]
    outcomes = run_remotely(settings, runs, read_inputs(parsed, whole=True), actor)
    return dict(zip(runs, outcomes, strict=True)), progress.read()


def test_a_stack_on_a_worker_gives_the_numbers_of_the_stacked_engine_and_all_files(
    cross_val_config: Config,
) -> None:
    outcomes, epochs = remote(cross_val_config)
    assert epochs == dict.fromkeys(outcomes, 2)
    parsed = ConfigParser(cross_val_config, check=check)
    expected = cross_validate(parsed, engine=stacked_engine(threads=1))
    for (seed, fold), sent in outcomes.items():
        assert isinstance(sent, PackedRun)
        assert sent.result.stats == {
            split: values[str(fold)] for split, values in expected["stats"][str(seed)].items()
        }
        assert sent.result.environment == expected["environment"]
        assert {"config.json", "model_best.pth"} <= sent.models.keys()
        assert b"epoch 2/2" in sent.log["info.log"]


def test_a_run_that_diverges_does_not_take_its_stack_along(
    cross_val_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "run_config", diverging_run_config)
    outcomes, _ = remote(cross_val_config)
    diverged = outcomes.pop((0, 1))
    assert isinstance(diverged, DivergedError)
    assert str(diverged).startswith("seed 0, fold 1: ")
    assert all(isinstance(outcome, PackedRun) for outcome in outcomes.values())


def fails_after_the_first(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Let no run be evaluated but one."""
    calls = itertools.count()

    def failing(*arguments: Any) -> Any:
        if next(calls):
            raise error
        return evaluate_best(*arguments)

    monkeypatch.setattr(engine_module, "evaluate_best", failing)


@pytest.mark.parametrize(
    ("error", "expected", "text"),
    [
        (OSError(28, "No space left on device"), OSError, "No space left"),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."),
            ClusterError,
            "CUDA out of memory: take a smaller --stack_size",
        ),
    ],
)
def test_what_ends_a_stack_comes_back_for_the_runs_that_were_not_done(
    error: Exception,
    expected: type[Exception],
    text: str,
    cross_val_config: Config,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fails_after_the_first(monkeypatch, error)
    first, *others = remote(cross_val_config)[0].values()
    assert isinstance(first, PackedRun)
    assert [type(other) for other in others] == [expected] * 3
    assert all(text in str(other) for other in others)
