"""Which runs of a cross-validation share a task of Ray, and what a task takes of a machine."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cluster.session import SHARE_OF_GPU, TaskResources, has_gpus, num_at_once, refuse_too_much
from cross_val.runs import RunKey
from cross_val.stacked_engine import by_fold, split_evenly


@dataclass(frozen=True)
class Division:
    """The tasks of a cross-validation.

    Attributes:
        share: what each takes of a machine; its GPUs are a number.
        parts: the runs of each.
        is_stacked: the runs of a task are trained as one network; else there is one in each.
    """

    share: TaskResources
    parts: list[list[RunKey]]
    is_stacked: bool

    def __str__(self) -> str:
        resources = self.share.resources()
        num_tasks = min(num_at_once(resources), len(self.parts))
        each = f"{resources['CPU']:g} CPUs and {resources['GPU']:g} GPUs"
        if not self.is_stacked:
            return f"{num_tasks} runs at once, each on {each}"
        size = max(map(len, self.parts))
        return f"{num_tasks} at once, each up to {size} runs in stacks on {each}"


def divide(
    runs: Sequence[RunKey], share: TaskResources, stack_size: int | None, n_gpu: int
) -> Division:
    """Divide runs over a cluster.

    Args:
        runs: all that are missing.
        share: what the user wants a task to take.
        stack_size: most runs of a task; None gives each whole GPU as many as any other, and one
            run to everything less.
        n_gpu: of the config; 0 trains on CPUs, whatever there is.

    Raises:
        ConfigError: no machine has what a task takes.
    """
    share = replace(share, gpus=_gpus_of_a_task(share, stack_size, n_gpu))
    refuse_too_much(share, ("--cpus", "--gpus"))
    is_stacked = share.gpus == 1 and n_gpu > 0 if stack_size is None else stack_size > 1
    num_parts = len(runs)
    if is_stacked:
        num_parts = -(-num_parts // stack_size) if stack_size else num_at_once(share.resources())
    in_order = by_fold(runs) if is_stacked else runs
    return Division(share, split_evenly(in_order, num_parts), is_stacked)


def _gpus_of_a_task(share: TaskResources, stack_size: int | None, n_gpu: int) -> float:
    if share.gpus is not None:
        return share.gpus
    if n_gpu == 0 or not has_gpus():
        return 0
    return SHARE_OF_GPU if stack_size == 1 else 1
