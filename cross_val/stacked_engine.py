"""Cross-validation whose runs are trained together, as stacks."""

import itertools
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch

from base.device import choose_device, environment, free_bytes, limited_threads, precision_of
from base.epoch_files import BEST_NAME, Log
from cross_val.member import StackMember
from cross_val.runs import Engine, RunKey, RunResult, evaluate_best, run_config
from cross_val.stack import Stack
from model.model import ResMLP
from trainer.data import SharedInputs
from trainer.fit import begin
from utils.config import ConfigParser
from utils.errors import DivergedError
from utils.log import get_logger, run_log

COPIES = 10
"""Numbers kept for each weight: itself, its gradient, one to work with, two moments (of a member's
own optimizer, and stacked), and weight and moments of the best epoch."""

ACTIVATION_COPIES = 6
"""Numbers kept for each activation of a batch between forward and backward pass."""

CPU_BYTES = 256 * 2**20
"""What a stack on a CPU may take: larger ones fall out of the caches, and gain nothing."""

FREE_SHARE = 0.8
"""Of a GPU's free memory, what a stack may take."""

OnEpoch = Callable[[RunKey, int, int], None]
"""Takes a run, the epochs that it has done, and the number of runs in its stack."""


def stacked_engine(threads: int | None = None, stack_size: int | None = None) -> Engine:
    """Make the engine that trains runs together, in this process.

    Args:
        threads: of torch; None leaves their number as it is.
        stack_size: most runs at once; never more than fit the device.
    """

    def run(
        config: ConfigParser, runs: Sequence[RunKey], bar: Any, inputs: SharedInputs
    ) -> Generator[RunResult, None, None]:
        def tell(_: RunKey, epoch: int, num_left: int) -> None:
            bar.set_postfix_str(f"{num_left} at once, epoch {epoch}")

        diverged: list[str] = []
        with limited_threads(threads):
            for _, outcome in train_stacks(config, runs, inputs, tell, stack_size):
                if isinstance(outcome, RunResult):
                    yield outcome
                else:
                    diverged.append(str(outcome))
                    get_logger("cross-val").warning(diverged[-1])
        if diverged:
            raise DivergedError("; ".join(diverged))

    return run


def train_stacks(
    config: ConfigParser,
    runs: Sequence[RunKey],
    inputs: SharedInputs,
    on_epoch: OnEpoch,
    stack_size: int | None = None,
) -> Generator[tuple[RunKey, RunResult | DivergedError], None, None]:
    """Train runs, one stack after the other; yield each with what became of it when it ends.

    Args:
        config: of the cross-validation.
        runs: seeds and folds.
        inputs: what was read before.
        on_epoch: called after every epoch of every run.
        stack_size: most runs at once; never more than fit the device.
    """
    device, line = choose_device(config["n_gpu"])
    stacks = stacks_of(config, runs, inputs, stack_size)
    precision = precision_of(config, device)
    get_logger("cross-val").info(
        f"{line}, {precision}; runs at once: {len(stacks[0])}, stacks: {len(stacks)}"
    )
    for stack in stacks:
        for member in _train(config, stack, inputs, on_epoch):
            seed, fold = run_of(member)
            if member.error is None:
                yield (seed, fold), _finished(member, inputs)
            else:
                yield (seed, fold), DivergedError(f"seed {seed}, fold {fold}: {member.error}")


def stacks_of(
    config: ConfigParser,
    runs: Sequence[RunKey],
    inputs: SharedInputs,
    stack_size: int | None = None,
) -> list[list[RunKey]]:
    """Divide runs into stacks, as `train_stacks` does; the first is as large as any."""
    device, _ = choose_device(config["n_gpu"])
    size = min(stack_size or len(runs), most_members(config, device, inputs))
    return split_evenly(by_fold(runs), -(-len(runs) // size))


def by_fold(runs: Sequence[RunKey]) -> list[RunKey]:
    """Sort runs so that neighbours have as many batches, and more members of a stack are alike.

    >>> by_fold([(0, 0), (0, 1), (1, 0), (1, 1)])
    [(0, 0), (1, 0), (0, 1), (1, 1)]
    """
    return sorted(runs, key=lambda run: run[1])


def split_evenly(runs: Sequence[RunKey], num_parts: int) -> list[list[RunKey]]:
    """Cut runs into parts whose sizes differ by one at most; no part is empty.

    >>> split_evenly([(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)], 2)
    [[(0, 0), (0, 1), (1, 0)], [(1, 1), (2, 0)]]
    """
    size, num_larger = divmod(len(runs), num_parts)
    ends = [part * size + min(part, num_larger) for part in range(num_parts + 1)]
    parts = [list(runs[start:end]) for start, end in itertools.pairwise(ends)]
    return [part for part in parts if part]


def most_members(config: ConfigParser, device: torch.device, inputs: SharedInputs) -> int:
    """Estimate how many runs fit in one stack, at least 1."""
    with torch.device("meta"):
        net = ResMLP(**config["arch"]["args"])
    num_features = sum(len(x) for name, x in net.named_parameters() if name.endswith("bias"))
    num_samples = config["data_loader"]["args"]["batch_size"]
    per_member = 4 * COPIES * net.num_parameters()
    if device.type == "cpu":
        return max(1, CPU_BYTES // per_member)
    per_member += 4 * ACTIVATION_COPIES * num_features * num_samples
    free = FREE_SHARE * free_bytes(device)
    free -= 0 if inputs.source is None else inputs.source.num_bytes()
    return max(1, int(free // per_member))


def _train(
    config: ConfigParser, runs: Sequence[RunKey], inputs: SharedInputs, on_epoch: OnEpoch
) -> Generator[StackMember, None, None]:
    with ExitStack() as files:
        members = [_begin(config, run, inputs, files) for run in runs]
        num_left = len(members)

        def tell(run: RunKey, log: Log) -> None:
            on_epoch(run, int(log["epoch"]), num_left)

        for run, member in zip(runs, members, strict=True):
            member.trainer.on_epoch = partial(tell, run)
        for member in Stack(members).train():
            num_left -= 1
            yield member


def _begin(
    config: ConfigParser, run: RunKey, inputs: SharedInputs, files: ExitStack
) -> StackMember:
    """Make a run's folders and trainer, whose epochs are told in its own log only."""
    own = run_config(config, *run)
    files.enter_context(own.running())
    with run_log() as log:
        trainer = begin(own, log, inputs)
    name = f"trainer.{own.save_dir.name}"
    trainer.logger = own.get_logger(name, verbosity=0)
    files.enter_context(run_log(name)).write_to(own.log_dir / "info.log")
    get_logger("checkpoint", verbosity=0)  # what it says of the weights was said once
    return StackMember(trainer)


def run_of(member: StackMember) -> RunKey:
    """Return which run a member is."""
    config = member.trainer.config
    return config["seed"], config["data_loader"]["args"]["test_cross_val"]


def _finished(member: StackMember, inputs: SharedInputs) -> RunResult:
    trainer = member.trainer
    seed, fold = run_of(member)
    best_path = trainer.config.save_dir / BEST_NAME
    stats = evaluate_best(trainer.config, trainer.setup, best_path, inputs)
    made_by = environment(trainer.setup.precision) | {"engine": "stacked"}
    return RunResult(seed, fold, stats, best_path, made_by)
