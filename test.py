"""Evaluate a checkpoint.

python test.py -r saved/models/ResMLP/<run id>/model_best.pth
python test.py -r models/age.pth --dataset wiki --split all
python test.py -r saved/models/ResMLP/<run id>/model_best.pth --dataset utkface --dataset Adience
python test.py -r models/age.pth --dataset wiki --scores scores.json
"""

from serving.scores import refuse_scores, write_scores
from trainer.evaluate_checkpoint import add_arguments, check_test, evaluate_on
from utils.cli import run
from utils.config import ConfigParser
from utils.log import get_logger
from utils.options import script_parser
from utils.paths import user_path


def main() -> None:
    """Read the command line and evaluate."""
    parser = script_parser(__doc__, None, resume_help="checkpoint to evaluate")
    add_arguments(parser)
    parser.add_argument(
        "--scores",
        metavar="FILE",
        help="also write accuracy and mae as serving/registry.json (.json) or a model card (.md) "
        "has them",
    )
    arguments = parser.parse_args()
    config = ConfigParser.from_args(arguments, check=check_test)
    scores = None if arguments.scores is None else user_path(arguments.scores, "--scores")
    if scores is not None:
        refuse_scores(scores, config["metrics"])
    results = evaluate_on(config, arguments.dataset, arguments.split)
    if scores is not None:
        write_scores(results, scores)
        get_logger("test").info(f"Scores: {scores}")


if __name__ == "__main__":
    run(main)
