"""What test.py finds of the intervals, sets and thresholds that a checkpoint promises."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch import nn

from base.base_data_loader import BaseDataLoader
from confidence.error_rates import DEMANDED
from confidence.gender import GenderConfidence
from confidence.measured import (
    MeasuredAges,
    MeasuredCoverage,
    MeasuredGenders,
    measure_ages,
    measure_genders,
)
from confidence.reading import read_confidence
from data_loader.faces import Faces
from trainer.confidence import KnownPeople
from utils.checkpoint import Checkpoint
from utils.log import get_logger
from utils.text import in_columns

Measured = MeasuredAges | MeasuredGenders

MEASURED_COLUMNS = ("held_at_90", "interval_years", "one_gender")
"""Names of the numbers in the table of test.py."""

SHOWN = (0.5, 0.9, 0.99)
"""Demanded probabilities that are printed; the results file has all."""


def measure_confidence(
    checkpoint: Checkpoint, model: nn.Module, loader: BaseDataLoader, faces: Faces
) -> Measured | None:
    """Measure what a checkpoint promises of its answers, at 90 %.

    Args:
        checkpoint: that may hold confidence.
        model: its network.
        loader: of the rows to measure on.
        faces: behind them.

    Returns:
        None where the checkpoint promises nothing.

    Raises:
        CheckpointError: what it promises is damaged.
    """
    confidence = read_confidence(checkpoint, checkpoint.age_classes)
    if confidence is None:
        return None
    known = KnownPeople.of(loader, loader.rows, faces)
    rows = replace(known, people=_people(known.people)).judged_by(model)
    if isinstance(confidence, GenderConfidence):
        return measure_genders(confidence, rows)
    return measure_ages(confidence, rows)


def _people(subjects: NDArray[np.str_]) -> NDArray[np.str_]:
    """Take each face of nobody known for a person of its own."""
    alone = [f"/{row}" for row in range(len(subjects))]
    return np.where(subjects == "", alone, subjects)


def columns_of(measured: Measured | None) -> dict[str, float]:
    """Return the numbers that go into the table, by their names there."""
    match measured:
        case MeasuredAges(intervals=intervals, mean_years=float(years)) if intervals:
            return {"held_at_90": intervals.coverage, "interval_years": years}
        case MeasuredGenders(sets=sets, single_share=float(share)) if sets:
            return {"held_at_90": sets.coverage, "one_gender": share}
    return {}


def report_confidence(
    title: str, measured: Measured | None, has_seen: bool, has_groups: bool
) -> None:
    """Log what was found, and warn of a promise that is broken.

    Args:
        title: of the data set.
        measured: what was found; None for nothing.
        has_seen: the promise was fitted to some of these rows.
        has_groups: the ages of some are known as groups that are not the classes of the model.
    """
    logger = get_logger("test")
    match measured:
        case MeasuredAges(intervals=found):
            if found is not None:
                width = f", {measured.mean_years:.1f} years wide"
                logger.info(f"{title}: the intervals hold the age of {_shares(found)}{width}")
            for line in _error_table(measured):
                logger.info(line)
        case MeasuredGenders(sets=found):
            if found is not None:
                sizes = f"; {measured.single_share:.1%} have one gender{_single(measured)}"
                logger.info(f"{title}: the sets hold the gender of {_shares(found)}{sizes}")
        case _:
            return
    if isinstance(measured, MeasuredAges) and has_groups:
        logger.info(
            f"{title}: ages of Adience are known as groups, and the middle of each counts as the "
            "age: how often intervals hold the true ages cannot be told from them"
        )
    elif found is not None and found.is_too_low:
        logger.warning(
            f"{title}: 90 % were promised and {found.coverage:.1%} are held, too few for chance: "
            "these faces are not like those that the promise was fitted to"
        )
    if has_seen:
        logger.info(f"{title}: intervals and sets were fitted to some of these rows")


def _shares(found: MeasuredCoverage) -> str:
    interval = f"95 % interval {found.low:.1%} to {found.high:.1%}"
    return f"{found.coverage:.1%} of {found.num_people:,} people ({interval}; 90 % were promised)"


def _single(measured: MeasuredGenders) -> str:
    right = measured.single_coverage
    return "" if right is None else f", which is right for {right:.1%}"


def _error_table(measured: MeasuredAges) -> Sequence[str]:
    if not measured.error_rates:
        return []
    places = [DEMANDED.index(demanded) for demanded in SHOWN]
    passed = (f"passed at {demanded:.0%}" for demanded in SHOWN)
    refused = (f"refused at {demanded:.0%}" for demanded in SHOWN)
    header = ("age", "people under", *passed, "people over", *refused)
    rows = [
        (
            str(rates.threshold),
            f"{rates.num_people_under:,}",
            *(f"{rates.by_probability.passed_under[place]:.1%}" for place in places),
            f"{rates.num_people_over:,}",
            *(f"{rates.by_probability.refused_over[place]:.1%}" for place in places),
        )
        for rates in measured.error_rates
    ]
    return in_columns([header, *rows])
