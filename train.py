"""Train one network.

python train.py -c train.json
python train.py --task gender -o data_loader.args.dataset=imdb_wiki_adience
python train.py -r saved/models/ResMLP/<run id>/checkpoint-interrupted.pth
"""

from trainer.check import check
from trainer.fit import fit
from utils.cli import run
from utils.config import ConfigParser
from utils.options import script_parser


def main() -> None:
    """Read the command line and train."""
    parser = script_parser(__doc__, default_config="train.json")
    fit(ConfigParser.from_args(parser, check=check))


if __name__ == "__main__":
    run(main)
