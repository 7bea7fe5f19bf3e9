"""All trials of a search in one picture."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.outcome import TrialOutcome
from search.space import BOUNDS, PARAMETERS, Search
from utils.figures import new_figure
from utils.files import atomic_write

COLOURS = "viridis_r"
"""Dark is good; read alike by all eyes, and in grey."""

BEST_COLOUR = "#d55e00"


@dataclass(frozen=True)
class Axis:
    """One searched parameter.

    Attributes:
        name: of the parameter.
        heights: (N,) of each trial's value, from 0 to 1: choices at equal distances, what
            lies between bounds on a logarithmic scale.
        ticks: heights and what to write there.
    """

    name: str
    heights: NDArray[np.float64]
    ticks: list[tuple[float, str]]


def plot(outcomes: list[TrialOutcome], search: Search, path: Path) -> None:
    """Draw loss against each parameter, and all parameters of each trial as parallel coordinates.

    Args:
        outcomes: finished, the best first.
        search: what was searched.
        path: of the PNG.
    """
    names = search.searched or list(PARAMETERS)
    axes = [_axis(name, search.config[name], outcomes) for name in names]
    losses = np.array([outcome.best["val_loss"] for outcome in outcomes])
    figure = new_figure(figsize=(max(1.9 * len(axes), 7), 8.5), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=[1.25, 1])  # type: ignore[misc]
    _parallel(top, axes, losses)
    _scatter(bottom, axes, losses)
    config = search.config
    task = f"{config['gender_or_age']} in {config['num_classes']} classes"
    top.suptitle(f"{len(outcomes)} trials on {config['dataset']}, {task}: dark is good")
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=130)


def _axis(name: str, values: list[Any], outcomes: list[TrialOutcome]) -> Axis:
    found = [outcome.values[name] for outcome in outcomes]
    if name in BOUNDS and len(values) == 2:
        low, high = np.log(values)
        shares = np.linspace(0, 1, 3)
        labels = [f"{value:.2g}" for value in np.exp(low + shares * (high - low))]
        heights = (np.log(found) - low) / (high - low)
        return Axis(name, heights, list(zip(shares.tolist(), labels, strict=True)))
    choices = sorted(values)
    shares = np.linspace(0, 1, len(choices)) if len(choices) > 1 else np.array([0.5])
    ticks = [(float(share), f"{choice:g}") for share, choice in zip(shares, choices, strict=True)]
    return Axis(name, np.array([shares[choices.index(value)] for value in found]), ticks)


def _ranks(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rank the losses from 1, the best, to 0: one bad trial must not hide the rest."""
    return 1 - np.arange(len(losses)) / max(len(losses) - 1, 1)


def _parallel(figure: Any, axes: list[Axis], losses: NDArray[np.float64]) -> None:
    import matplotlib as mpl

    area = figure.subplots()
    ranks = _ranks(losses)
    lines = np.stack([*(axis.heights for axis in axes), ranks], 1)
    colours = mpl.colormaps[COLOURS](ranks)
    for row in reversed(range(len(losses))):  # the best on top
        area.plot(lines[row], color=colours[row], lw=3 if row == 0 else 1.1, alpha=0.85)
    ends = [(1.0, f"{losses[0]:.4f}"), (0.0, f"{losses[-1]:.4f}")]
    for column, ticks in enumerate([*(axis.ticks for axis in axes), ends]):
        for height, text in ticks:
            area.text(column, height, f" {text}", fontsize=8, va="center", bbox=_paper())
    area.set_xticks(range(len(axes) + 1), [*(axis.name for axis in axes), "rank by\nval_loss"])
    area.set_yticks([])
    area.set_xlim(-0.1, len(axes) + 0.35)
    area.grid(axis="x", color="0.6")
    area.set_frame_on(False)


def _paper() -> dict[str, Any]:
    """Put white behind a number that lines cross."""
    return {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.6}


def _scatter(figure: Any, axes: list[Axis], losses: NDArray[np.float64]) -> None:
    areas = np.atleast_1d(figure.subplots(1, len(axes), sharey=True))
    for area, axis in zip(areas, axes, strict=True):
        area.scatter(axis.heights, losses, c=_ranks(losses), cmap=COLOURS, s=22, zorder=3)
        area.scatter(axis.heights[0], losses[0], marker="*", s=170, c=BEST_COLOUR, zorder=4)
        area.set_xticks([height for height, _ in axis.ticks], [text for _, text in axis.ticks])
        area.set_xlim(-0.12, 1.12)
        area.set_xlabel(axis.name)
        area.grid(color="0.9")
    areas[0].set_ylabel("val_loss of the best epoch\n(the star is the best trial)")
