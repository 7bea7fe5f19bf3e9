"""Run the study: gender, age in 8 and in 101 classes, each by four protocols, and its report.

python study.py
python study.py --only age8,d
python study.py --only gender,c --data_dir data/sample -o 'seeds=[0]' -o trainer.epochs=2
"""

from cross_val.options import add_arguments as add_engine_arguments
from cross_val.options import engine_name, engine_of
from studies.config import StudyConfig
from studies.protocols import PROTOCOLS, TASKS
from studies.report import console_table, write_report
from studies.runs import run_study
from studies.summary import summarise
from utils.cli import run
from utils.log import get_logger
from utils.options import script_parser


def main() -> None:
    """Read the command line, run what is missing of the study, and write its report."""
    parser = script_parser(
        __doc__, "study.json", resume_help="not here: the same call again goes on by itself"
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="WORDS",
        help=f"of these tasks and protocols alone ({', '.join((*TASKS, *PROTOCOLS))}; with commas, "
        "or several times); c brings a",
    )
    add_engine_arguments(parser)
    arguments = parser.parse_args()
    config = StudyConfig.from_args(arguments)
    first = config.of(config.parts[0])
    engine, name = engine_of(arguments, first), engine_name(arguments, first)
    folder = run_study(config, engine, name)
    logger = get_logger("study")
    logger.info("Judging what was run: metrics, intervals, groups, leakage, pictures")
    summary = summarise(folder)
    paths = write_report(summary, folder)
    logger.info(console_table(summary))
    logger.info(f"Written: {', '.join(map(str, paths))}")


if __name__ == "__main__":
    run(main)
