"""Search hyper-parameters with Ray Tune: by default on all cores and GPUs of this machine.

python hp-tuning.py -c hp-tuning.json
python hp-tuning.py --task gender -o dataset=Adience -o num_samples=50
python hp-tuning.py --resume
"""

from cluster.session import add_address
from search.options import NEWEST, what_to_search
from search.run import search_parameters
from utils.cli import run
from utils.options import script_parser


def main() -> None:
    """Read the command line and search."""
    resume = {"nargs": "?", "const": NEWEST, "metavar": "FOLDER"}
    parser = script_parser(
        __doc__,
        "hp-tuning.json",
        resume_help="go on with an interrupted search: this one, or the newest of the same config",
        resume_options=resume,
    )
    add_address(parser)
    search, address, folder = what_to_search(parser.parse_args())
    search_parameters(search, address, folder)


if __name__ == "__main__":
    run(main)
