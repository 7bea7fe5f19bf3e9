"""Evaluate a checkpoint.

python test.py -r saved/models/ResMLP/<run id>/model_best.pth
python test.py -r models/age.pth --dataset wiki --split all
python test.py -r saved/models/ResMLP/<run id>/model_best.pth --dataset utkface --dataset Adience
"""

from trainer.evaluate_checkpoint import add_arguments, check_test, evaluate_on
from utils.cli import run
from utils.config import ConfigParser
from utils.options import script_parser


def main() -> None:
    """Read the command line and evaluate."""
    parser = script_parser(__doc__, None, resume_help="checkpoint to evaluate")
    add_arguments(parser)
    arguments = parser.parse_args()
    config = ConfigParser.from_args(arguments, check=check_test)
    evaluate_on(config, arguments.dataset, arguments.split)


if __name__ == "__main__":
    run(main)
