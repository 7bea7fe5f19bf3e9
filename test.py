"""Evaluate a checkpoint.

python test.py -r saved/models/ResMLP/<run id>/model_best.pth
python test.py -r models/age.pth -o data_loader.args.dataset=wiki --split all
"""

from trainer.evaluate_checkpoint import add_arguments, check_test, evaluate_checkpoint
from utils.cli import run
from utils.config import ConfigParser
from utils.options import script_parser


def main() -> None:
    """Read the command line and evaluate."""
    parser = script_parser(__doc__, None, resume_help="checkpoint to evaluate")
    add_arguments(parser)
    arguments = parser.parse_args()
    evaluate_checkpoint(ConfigParser.from_args(arguments, check=check_test), arguments.split)


if __name__ == "__main__":
    run(main)
