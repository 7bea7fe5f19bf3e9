"""What trainings read, read beforehand so that many can share it."""

from dataclasses import dataclass

from data_loader.data_loaders import folds_to_read
from data_loader.faces import ALL_ROWS, FaceSource, Selection, read_source
from utils.checkpoint import Checkpoint, load_checkpoint
from utils.config import ConfigParser


@dataclass(frozen=True)
class SharedInputs:
    """What a training need not read itself; None where it does.

    Attributes:
        source: the data set.
        pretrained: the checkpoint to start from.
    """

    source: FaceSource | None = None
    pretrained: Checkpoint | None = None


NO_INPUTS = SharedInputs()


def read_inputs(config: ConfigParser, whole: bool) -> SharedInputs:
    """Read what trainings of this config read.

    Args:
        config: checked.
        whole: read all rows of the data set; False reads those that a training uses.

    Raises:
        UserError: data or checkpoint are unfit; the message says what to do.
    """
    arguments = config["data_loader"]["args"]
    dataset, selection = arguments["dataset"], ALL_ROWS
    if not whole:
        folds = folds_to_read(dataset, True, arguments.get("test_cross_val"))
        selection = Selection(folds, arguments.get("limit_data"), config["seed"])
    source = read_source(arguments["data_dir"], dataset, selection)
    path = config["checkpoint"]
    return SharedInputs(source, None if path is None else load_checkpoint(path))
