"""What the command lines of programs that may use Ray share."""

import argparse

from cluster.session import Share, address_of
from trainer.cross_val import Engine, sequential_engine
from utils.errors import ConfigError

ENGINES = ("sequential", "ray")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of cross-validation that say where its runs are trained."""
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        help="sequential: one run after the other in this process (default); ray: as many at once "
        "as there is room for (default with --address)",
    )
    parser.add_argument(
        "--cpus", type=int, metavar="N", help="cores a run (ray: default 1; sequential: all)"
    )
    parser.add_argument(
        "--gpus",
        type=float,
        metavar="X",
        help="GPU a run, or a fraction of one (ray; default: a quarter where there is any)",
    )
    add_address(parser)


def add_address(parser: argparse.ArgumentParser) -> None:
    """Add the option that names a running cluster."""
    parser.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="of a running Ray cluster (default: RAY_ADDRESS, else a Ray of its own on this "
        "machine)",
    )


def engine_of(arguments: argparse.Namespace) -> Engine:
    """Make the engine that the command line asks for.

    Raises:
        ConfigError: options that only the other engine has.
    """
    share = Share(1 if arguments.cpus is None else arguments.cpus, arguments.gpus)
    if (arguments.engine or ("ray" if arguments.address else "sequential")) == "ray":
        from cluster.cross_val import ray_engine

        return ray_engine(share, address_of(arguments.address))
    for name in ("gpus", "address"):
        if getattr(arguments, name) is not None:
            raise ConfigError(f"--{name} is for --engine ray; n_gpu and -d choose the device here")
    return sequential_engine(arguments.cpus)
