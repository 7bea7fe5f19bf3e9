"""Configs of the original project, brought to today's keys."""

from typing import Any

from utils.errors import ConfigError
from utils.text import shown

JULY_2021_KEYS = ("last_activation", "min_bound", "max_bound", "only_MLP")


def from_original(config: dict[str, Any]) -> dict[str, Any]:
    """Rewrite what only the original's configs hold; any other config comes back as it is.

    Its July 2021 form has last_activation, min_bound, max_bound and only_MLP in the network's
    arguments; there num_blocks n means max(n, 1). Its saved configs also hold
    data_loader.args.training, which the program decides.

    Raises:
        ConfigError: a last_activation that is not null, which no network here has.
    """
    arch = config.get("arch")
    if isinstance(arch, dict) and isinstance(arch.get("args"), dict):
        config = {**config, "arch": {**arch, "args": _arch_from_july_2021(arch["args"])}}
    loader = config.get("data_loader")
    if isinstance(loader, dict) and isinstance(loader.get("args"), dict):
        arguments = {key: value for key, value in loader["args"].items() if key != "training"}
        config = {**config, "data_loader": {**loader, "args": arguments}}
    return config


def _arch_from_july_2021(arguments: dict[str, Any]) -> dict[str, Any]:
    if not any(key in arguments for key in JULY_2021_KEYS):
        return arguments
    if arguments.get("last_activation") is not None:
        raise ConfigError(
            f"arch.args.last_activation: {shown(arguments['last_activation'])} is not supported "
            "(it belongs to the original's regression trials); set it to null"
        )
    kept = {key: value for key, value in arguments.items() if key not in JULY_2021_KEYS}
    if isinstance(kept.get("num_blocks"), int):
        kept["num_blocks"] = max(kept["num_blocks"], 1)
    if arguments.get("only_MLP"):
        kept |= {"add_residual": False, "add_IC": False}
    if kept.get("dropout") is None:
        kept["dropout"] = 0.0
    return kept
