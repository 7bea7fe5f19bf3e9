"""The command line of study.py."""

import argparse

from cross_val.options import add_arguments as add_engine_arguments
from cross_val.options import engine_name, engine_of
from studies.config import StudyConfig
from studies.model_card import write_model_card
from studies.protocols import PROTOCOLS, TASKS
from studies.report import REPORT_NAME, table, write_report
from studies.runs import run_study
from utils.log import get_logger
from utils.options import script_parser


def main(description: str | None) -> None:
    """Read the command line, run what is missing of the study, and write its report.

    Args:
        description: what `-h` says.
    """
    arguments = _parser(description).parse_args()
    config = StudyConfig.from_args(arguments)
    first = config.of(config.parts[0])
    engine = engine_of(arguments, first)
    folder = run_study(config, lambda _: engine, engine_name(arguments, first))
    logger = get_logger("study")
    logger.info("Judging what was run: metrics, intervals, groups, leakage, pictures")
    logger.info(table(write_report(folder)))
    logger.info(f"Written: {folder / REPORT_NAME}, {write_model_card(folder)}")


def _parser(description: str | None) -> argparse.ArgumentParser:
    parser = script_parser(
        description, "study.json", resume_help="not here: the same call again goes on by itself"
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
    return parser
