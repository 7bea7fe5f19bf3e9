"""The pictures of what a result says of how sure it is."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from confidence.error_rates import DEMANDED
from studies.coverage import COVERED, ConfidenceSummary
from studies.figure_style import BLACK, BLUE, GREY, MARKS, ORANGE, RARE, plain_axes
from studies.groups import age_group_names
from studies.intervals import Interval
from studies.summary import ResultSummary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIDES = {"all": (BLACK, "o", 0.0), "male": (BLUE, "s", -0.25), "female": (ORANGE, "^", 0.25)}
"""Colour, shape, and place beside the line of the age group."""

SCALES = {COVERED: 100, "one_letter": 100, "width": 1}
LABELS = {
    COVERED: "held the truth (%)",
    "one_letter": "one-letter sets (%)",
    "width": "mean width (years)",
}


def coverage(figure: "Figure", result: ResultSummary) -> None:
    """Draw coverage, and width or share of one-letter sets, by age group and gender."""
    found = _confidence_of(result)
    rows = ["all", *age_group_names()]
    areas = figure.subplots(1, 2, sharey=True)
    areas[0].axvline(found.level * 100, color=GREY, ls="--", lw=1)
    for area, name in zip(areas, (COVERED, found.size_name), strict=True):
        for group in found.groups:
            if group.counts:
                _mark(area, rows.index(group.age), group.gender, group.values[name], SCALES[name])
        area.set_xlabel(LABELS[name])
    everybody = zip(areas, (found.covered, found.size), (COVERED, found.size_name), strict=True)
    for area, value, name in everybody:
        _mark(area, 0, "all", Interval(value.mean, value.low, value.high), SCALES[name])
    areas[1].set_xlim(0, None if found.size_name == "width" else 102)
    areas[0].set_yticks(range(len(rows)), rows)
    areas[0].set_ylim(len(rows) - 0.5, -0.5)
    areas[0].set_ylabel("age (years)")
    plain_axes(*areas)
    for name, (colour, mark, _) in SIDES.items():
        areas[0].plot([], [], color=colour, marker=mark, ls="none", label=name)
    figure.legend(
        *areas[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False
    )


def _mark(area: "Axes", row: int, gender: str, value: Interval, scale: float) -> None:
    colour, mark, shift = SIDES[gender]
    if value.low is not None and value.high is not None:
        area.hlines(row + shift, value.low * scale, value.high * scale, color=colour, lw=1.2)
    area.plot(value.value * scale, row + shift, color=colour, marker=mark, ms=4.5, ls="none")


def thresholds(figure: "Figure", result: ResultSummary) -> None:
    """Draw both mistakes at each age against the probability that is demanded."""
    found = _confidence_of(result).thresholds
    left, right = figure.subplots(1, 2)
    for (colour, mark), one in zip(MARKS, found, strict=False):
        label = str(one.errors.threshold)
        _draw_rates(left, one.passed_under, colour, mark, label)
        _draw_rates(right, one.refused_over, colour, mark, label)
    left.set_ylabel("under t, passed (%)")
    right.set_ylabel("t or more, refused (%)")
    for area in (left, right):
        places = range(len(DEMANDED))
        area.set_xticks(places, [f"{one:g}" for one in DEMANDED], fontsize=8)
        area.set_xlabel("demanded probability")
        area.set_ylim(0, None)
    plain_axes(left, right)
    _legend(figure, left)


def _draw_rates(
    area: "Axes", rates: Sequence[Interval], colour: str, mark: str, label: str
) -> None:
    ends = np.array([(rate.value, rate.low, rate.high) for rate in rates], np.float64) * 100
    places = np.arange(len(rates))
    area.fill_between(places, ends[:, 1], ends[:, 2], color=colour, alpha=0.12, lw=0)
    area.plot(places, ends[:, 0], color=colour, marker=mark, ms=4, lw=1.5, label=label)


def over(figure: "Figure", result: ResultSummary) -> None:
    """Draw the share who are t or more against the probability that is given."""
    area = figure.subplots()
    area.plot([0, 1], [0, 1], color=GREY, ls="--", lw=1)
    for (colour, mark), one in zip(MARKS, _confidence_of(result).thresholds, strict=False):
        given = [found.confidence for found in one.reliability]
        share = [found.accuracy for found in one.reliability]
        inside = ["white" if found.share < RARE else colour for found in one.reliability]
        area.plot(given, share, color=colour, lw=1)
        area.scatter(given, share, s=24, color=colour, marker=mark, facecolors=inside, zorder=3)
        area.plot([], [], color=colour, marker=mark, lw=1, label=str(one.errors.threshold))
    area.set_xlabel("probability of being t or more")
    area.set_ylabel("share who are")
    area.set_xlim(-0.02, 1.02)
    area.set_ylim(-0.02, 1.02)
    plain_axes(area)
    _legend(figure, area)


def _legend(figure: "Figure", area: "Axes") -> None:
    handles, labels = area.get_legend_handles_labels()
    figure.legend(
        handles,
        [f"t = {label}" for label in labels],
        loc="outside upper center",
        ncols=5,
        frameon=False,
        columnspacing=1,
        handletextpad=0.4,
    )


def _confidence_of(result: ResultSummary) -> ConfidenceSummary:
    if result.confidence is None:
        raise ValueError(f"nothing is known of how sure {result.task}-{result.protocol} is")
    return result.confidence
