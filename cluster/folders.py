"""The files of a run, sent from the machine that trained it."""

from pathlib import Path

from utils.config import ConfigParser
from utils.files import atomic_write
from utils.run_folders import claim_folder

Files = dict[str, bytes]
"""Content by path below the folder."""


def pack(folder: Path) -> Files:
    """Read all files below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.glob("**/*"))
        if path.is_file()
    }


def unpack(files: Files, folder: Path) -> None:
    """Write what `pack` read.

    Raises:
        OSError: the disk is full.
    """
    for name, content in files.items():
        with atomic_write(folder / name) as file:
            file.write(content)


def keep_run(config: ConfigParser, models: Files, log: Files) -> Path:
    """Write the files of a run that was trained elsewhere below this config's save_dir.

    Args:
        config: of the run; it decides where.
        models: config.json and the checkpoints.
        log: log and TensorBoard events.

    Returns:
        The run's folder.
    """
    save_dir, held = claim_folder(config.models_dir)
    with held:
        here = ConfigParser(config.config, run_id=save_dir.name, folder=config.folder)
        unpack(log, here.log_dir)
        unpack(models, save_dir)
    return save_dir
