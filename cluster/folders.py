"""The files of a run, sent from the machine that trained it."""

from pathlib import Path

from utils.config import ConfigParser, claim_path

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
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def keep_run(config: ConfigParser, models: Files, log: Files) -> Path:
    """Write the files of a run that was trained elsewhere below this config's save_dir.

    Args:
        config: of the run; it decides where.
        models: config.json and the checkpoints.
        log: log and TensorBoard events.

    Returns:
        The run's folder.
    """
    save_dir = claim_path(config.models_dir, as_folder=True)
    here = ConfigParser(config.config, run_id=save_dir.name, folder=config.folder)
    unpack(models, save_dir)
    unpack(log, here.log_dir)
    return save_dir
