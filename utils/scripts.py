"""The commands that users call by name: python3 -c "from utils.scripts import ...; ...".

A script, at the top of the layers: it may import everything, and does so late, so that a command
loads only what it needs.
"""

from pathlib import Path

from utils.log import get_logger, log_to_console

TRAINING_ONLY = ("optimizer", "resume")
"""What going on with a training needs, and using the network does not."""


def make_sample_data(out_dir: Path | str = "data/sample") -> None:
    """Write a small synthetic stand-in for Adience, IMDB and WIKI, in the layout of the downloads.

    Takes some seconds; a folder that is complete is left as it is. See README.txt in the folder.
    """
    from data_loader import sample

    sample.make_sample_data(out_dir)


def export_model(checkpoint: Path | str, out_path: Path | str) -> None:
    """Write a checkpoint's network for use: weights and config, without optimizer and random state.

    Args:
        checkpoint: a checkpoint of ours or of the original project.
        out_path: file to write, such as models/age.pth.

    Raises:
        CheckpointError: the checkpoint is missing, damaged or foreign.
    """
    from utils.checkpoint import load_checkpoint, save_checkpoint

    log_to_console()
    loaded = load_checkpoint(checkpoint)
    kept = {key: value for key, value in loaded.content.items() if key not in TRAINING_ONLY}
    save_checkpoint({**kept, "config": loaded.config}, Path(out_path))
    size = Path(out_path).stat().st_size / 2**20
    get_logger("export").info(f"{out_path}: {size:.1f} MiB, from {checkpoint}")
