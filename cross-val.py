"""Cross-validate on Adience: seeds x folds, continued where a call before this one stopped.

python cross-val.py
python cross-val.py --task gender -o checkpoint=saved/models/ResMLP/<run id>/model_best.pth
python cross-val.py --seed 3 --fold 2
python cross-val.py --engine stacked
python cross-val.py --engine ray
"""

from cross_val.cross_validate import add_arguments, cross_validate
from cross_val.options import add_arguments as add_engine_arguments
from cross_val.options import engine_of
from trainer.check import check
from utils.cli import run
from utils.config import ConfigParser
from utils.options import script_parser


def main() -> None:
    """Read the command line and run what is missing."""
    parser = script_parser(
        __doc__, "cross-val.json", resume_help="not here: the same call again goes on by itself"
    )
    add_arguments(parser)
    add_engine_arguments(parser)
    arguments = parser.parse_args()
    config = ConfigParser.from_args(arguments, check=check)
    engine = engine_of(arguments, config)
    cross_validate(config, arguments.seed, arguments.fold, arguments.anew, engine)


if __name__ == "__main__":
    run(main)
