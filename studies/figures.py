"""The pictures of a result."""

import io
from typing import TYPE_CHECKING

import numpy as np

from studies import confidence_figures
from studies.figure_style import BLUE, GREY, MARKS, ORANGE, RARE, plain_axes
from studies.groups import class_names
from studies.intervals import Floats
from studies.protocols import TASKS
from studies.summary import ResultSummary
from utils.figures import new_figure, optional_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE_INCHES = (5.4, 4.0)
DOTS_PER_INCH = 160

MANY_CLASSES = 8
"""A confusion matrix of more classes has no numbers in its cells."""


def draw(result: ResultSummary) -> dict[str, bytes]:
    """Draw all pictures that a result has the numbers for, as PNG; one that fails is left out."""
    has_numbers = {
        "age": bool(result.error_by_age),
        "learning": bool(result.learning.curves),
        "runs": all(run.fold is not None for run in result.runs),
        "coverage": result.confidence is not None,
        "thresholds": result.confidence is not None and bool(result.confidence.thresholds),
        "over": result.confidence is not None and bool(result.confidence.thresholds),
    }
    drawn = {}
    for name, drawing in DRAWINGS.items():
        if has_numbers.get(name, True):
            with optional_picture(f"{name} of {result.task}-{result.protocol}"):
                figure = new_figure(figsize=SIZE_INCHES, layout="constrained")
                drawing(figure, result)
                buffer = io.BytesIO()
                metadata = {"Software": None}
                figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata=metadata)
                drawn[name] = buffer.getvalue()
    return drawn


def confusion(figure: "Figure", result: ResultSummary) -> None:
    """Draw the share of each true class that was guessed as each class."""
    from matplotlib.colors import Normalize, PowerNorm

    counts = result.confusion.astype(np.float64)
    totals = counts.sum(1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0) * 100
    has_many = len(counts) > MANY_CLASSES
    area = figure.subplots()
    norm = PowerNorm(0.5, 0, max(float(shares.max()), 1)) if has_many else Normalize(0, 100)
    image = area.imshow(shares, cmap="Blues", norm=norm)
    figure.colorbar(image, ax=area, shrink=0.9).set_label("share of the true class (%)")
    if has_many:
        area.plot([0, len(counts) - 1], [0, len(counts) - 1], color=ORANGE, lw=0.8, ls="--")
    else:
        _write_cells(area, shares, class_names(result.task))
    unit = "" if result.task == "gender" else " (years)"
    area.set_xlabel(f"guessed class{unit}")
    area.set_ylabel(f"true class{unit}")


def _write_cells(area: "Axes", shares: Floats, names: list[str]) -> None:
    area.set_xticks(range(len(names)), names, rotation=0 if len(names) < 4 else 40)
    area.set_yticks(range(len(names)), names)
    for (row, column), share in np.ndenumerate(shares):
        area.text(
            column,
            row,
            f"{share:.0f}" if shares[row].any() else "",
            ha="center",
            va="center",
            fontsize=9 if len(names) > 2 else 12,
            color="white" if share > 55 else "0.15",
        )


def reliability(figure: "Figure", result: ResultSummary) -> None:
    """Draw accuracy against confidence, and how many predictions each bin holds."""
    bins = result.reliability
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    top.plot([0, 1], [0, 1], color=GREY, ls="--", lw=1)
    confidence = [one.confidence for one in bins]
    accuracy = [one.accuracy for one in bins]
    top.vlines(confidence, confidence, accuracy, color=ORANGE, lw=1.5)
    top.plot(confidence, accuracy, color=BLUE, lw=1.5)
    inside = ["white" if one.share < RARE else BLUE for one in bins]
    top.scatter(confidence, accuracy, s=28, color=BLUE, facecolors=inside, zorder=3)
    top.set_ylabel("accuracy")
    top.set_ylim(-0.02, 1.02)
    top.set_xlim(-0.02, 1.02)
    ece = result.splits[result.judged].metrics["ece"].mean
    top.set_title(f"expected calibration error {ece:.3f}", loc="left", fontsize=10)
    bottom.bar(
        [one.low for one in bins],
        [one.share * 100 for one in bins],
        width=(bins[0].high - bins[0].low) * 0.92,
        align="edge",
        color=BLUE,
    )
    bottom.set_ylabel("share (%)")
    bottom.set_xlabel("confidence (largest probability)")
    plain_axes(top, bottom)


def risk(figure: "Figure", result: ResultSummary) -> None:
    """Draw the mean error of the faces that are kept when the most uncertain are set aside."""
    found = result.risk_coverage
    is_gender = result.task == "gender"
    scale = 100 if is_gender else 1
    coverage = found.coverage * 100
    area = figure.subplots()
    area.fill_between(coverage, found.low * scale, found.high * scale, color=BLUE, alpha=0.2, lw=0)
    area.plot(coverage, found.risk * scale, color=BLUE, lw=1.8)
    area.set_xlim(0, 100)
    area.set_ylim(0, None)
    area.set_xlabel("faces kept, the surest first (%)")
    area.set_ylabel("wrong guesses (%)" if is_gender else "mean error (years)")
    plain_axes(area)


def error_by_age(figure: "Figure", result: ResultSummary) -> None:
    """Draw mean absolute error and bias by true age, and how many faces there are."""
    bands = result.error_by_age
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    age = [band.age for band in bands]
    bars = np.array([[band.mae - band.low, band.high - band.mae] for band in bands]).T
    top.axhline(0, color=GREY, lw=0.8)
    top.errorbar(
        age,
        [band.mae for band in bands],
        bars,
        color=BLUE,
        marker="o",
        ms=5,
        lw=1.5,
        capsize=2.5,
        label="mean absolute error",
    )
    bias = [band.bias for band in bands]
    top.plot(age, bias, color=ORANGE, marker="s", ms=4, lw=1.2, ls="--", label="bias")
    top.set_ylabel("error (years)")
    top.legend(frameon=False)
    bottom.bar(age, [band.faces for band in bands], width=3, color=BLUE)
    bottom.set_ylabel("faces")
    bottom.set_xlabel("true age (years)")
    plain_axes(top, bottom)


def learning(figure: "Figure", result: ResultSummary) -> None:
    """Draw training and validation values of every epoch."""
    epochs, curves = result.learning.epochs, result.learning.curves
    panels = [
        (label, name)
        for label, name in (("loss (nats)", "loss"), ("accuracy", "accuracy"))
        if {name, f"val_{name}"} & set(curves)
    ]
    areas = np.atleast_1d(figure.subplots(1, len(panels)))
    for area, (label, name) in zip(areas, panels, strict=True):
        for key, split, colour, style in (
            (name, "training", BLUE, "-"),
            (f"val_{name}", "validation", ORANGE, "--"),
        ):
            if key in curves:
                curve = curves[key]
                area.fill_between(epochs, curve.low, curve.high, color=colour, alpha=0.2, lw=0)
                area.plot(epochs, curve.mean, color=colour, ls=style, lw=1.8, label=split)
        area.set_xlabel("epoch")
        area.set_ylabel(label)
        area.xaxis.get_major_locator().set_params(integer=True)
    plain_axes(*areas)
    areas[0].legend(frameon=False)


def runs(figure: "Figure", result: ResultSummary) -> None:
    """Draw the metric that the original project publishes, of every run by fold and seed."""
    area = figure.subplots()
    metric = TASKS[result.task].main
    values = {
        (run.seed, run.fold): run.splits["test"][metric] * 100
        for run in result.runs
        if run.fold is not None
    }
    folds = sorted({fold for _, fold in values})
    _mark_seeds(area, values, folds)
    for index, fold in enumerate(folds):
        mean = np.mean([value for (_, of_fold), value in values.items() if of_fold == fold])
        area.hlines(mean, index - 0.4, index + 0.4, color="0.75", lw=5, zorder=1)
    area.axhline(float(np.mean(list(values.values()))), color=GREY, ls="--", lw=1)
    area.set_xticks(range(len(folds)), [str(fold) for fold in folds])
    area.set_xlabel("held-out fold")
    area.set_ylabel(f"test accuracy{', relaxed' if metric == 'accuracy_relaxed' else ''} (%)")
    plain_axes(area)
    area.grid(axis="x", visible=False)
    figure.legend(
        *area.get_legend_handles_labels(),
        loc="outside upper center",
        ncols=5,
        frameon=False,
        columnspacing=1,
        handletextpad=0.1,
    )


def _mark_seeds(area: "Axes", values: dict[tuple[int, int], float], folds: list[int]) -> None:
    seeds = sorted({seed for seed, _ in values})
    for index, seed in enumerate(seeds):
        colour, mark = MARKS[index % len(MARKS)]
        shift = (index - (len(seeds) - 1) / 2) * 0.6 / max(len(seeds), 1)
        have = [fold for fold in folds if (seed, fold) in values]
        area.scatter(
            [folds.index(fold) + shift for fold in have],
            [values[seed, fold] for fold in have],
            color=colour,
            marker=mark,
            s=32,
            label=f"seed {seed}",
            zorder=3,
        )


DRAWINGS = {
    "confusion": confusion,
    "reliability": reliability,
    "coverage": confidence_figures.coverage,
    "thresholds": confidence_figures.thresholds,
    "over": confidence_figures.over,
    "risk": risk,
    "age": error_by_age,
    "learning": learning,
    "runs": runs,
}
