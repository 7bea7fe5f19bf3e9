"""What the command lines of programs that may use Ray share."""

import argparse

from base.device import choose_device
from cluster.session import TaskResources, add_address, address_of
from cross_val.runs import Engine, sequential_engine
from cross_val.stacked_engine import stacked_engine
from utils.config import ConfigParser
from utils.errors import ConfigError
from utils.log import get_logger

ENGINES = ("sequential", "stacked", "ray")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of cross-validation that say where its runs are trained."""
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        help="sequential: one run after the other in this process (default on a CPU); stacked: as "
        "many as fit the device as one network (default on a GPU); ray: as many at once as there "
        "is room for, each in a process, or a stack on each GPU (default with --address)",
    )
    parser.add_argument(
        "--cpus",
        type=int,
        metavar="N",
        help="cores a run or stack (ray: default 1), or all runs (default: all)",
    )
    parser.add_argument(
        "--gpus",
        type=float,
        metavar="X",
        help="GPU a run or stack, or a fraction of one (ray; default: where there are any, a whole "
        "one, or a quarter with --stack_size 1)",
    )
    parser.add_argument(
        "--stack_size",
        type=int,
        metavar="N",
        help="most runs trained together as one network, never more than fit the device (default: "
        "what fits; ray: on whole GPUs all runs divided evenly, else 1)",
    )
    add_address(parser)


def engine_of(arguments: argparse.Namespace, config: ConfigParser) -> Engine:
    """Make the engine that the command line asks for, or the one that suits the device.

    Raises:
        ConfigError: options that only another engine has, or that cannot be.
    """
    share = TaskResources(1 if arguments.cpus is None else arguments.cpus, arguments.gpus)
    name = engine_name(arguments, config)
    _check_stack_size(arguments.stack_size, name)
    if arguments.engine is None:
        get_logger("cross-val").info(f"Engine: {name}, as --engine says nothing else")
    if name == "ray":
        from cross_val.ray_engine import ray_engine

        return ray_engine(share, address_of(arguments.address), arguments.stack_size)
    for option in ("gpus", "address"):
        if getattr(arguments, option) is not None:
            raise ConfigError(
                f"--{option} is for --engine ray; n_gpu and -d choose the device of --engine {name}"
            )
    if name == "stacked":
        return stacked_engine(arguments.cpus, arguments.stack_size)
    return sequential_engine(arguments.cpus)


def _check_stack_size(stack_size: int | None, engine: str) -> None:
    if stack_size is None:
        return
    if stack_size < 1:
        raise ConfigError(f"--stack_size {stack_size}: expected 1 or more")
    if engine == "sequential":
        raise ConfigError(
            "--stack_size is for --engine stacked and ray; sequential trains one run after the "
            "other"
        )


def engine_name(arguments: argparse.Namespace, config: ConfigParser) -> str:
    """Return the name of the engine that is asked for, or else of the one that suits the device."""
    if arguments.engine is not None:
        return str(arguments.engine)
    if arguments.address:
        return "ray"
    device, _ = choose_device(config["n_gpu"])
    return "stacked" if device.type == "cuda" else "sequential"
