"""What is drawn of a result, in Okabe and Ito's colours, which all eyes tell apart."""

from typing import TYPE_CHECKING, Any

import numpy as np

from studies.groups import class_names
from studies.wording import MAIN

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, PURPLE, BLACK = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000"
GREY = "0.45"
SEED_MARKS = ((BLUE, "o"), (ORANGE, "s"), (GREEN, "^"), (PURPLE, "D"), (BLACK, "v"))
"""Colour and shape of each seed's marks; further seeds begin anew."""

RARE = 0.005
"""Bins of a smaller share of the predictions are drawn hollow."""

MANY_CLASSES = 8
"""A confusion matrix of more classes has no numbers in its cells."""

Entry = dict[str, Any]


def _plain_axes(area: "Axes") -> None:
    """Leave only what helps to read values."""
    area.spines[["top", "right"]].set_visible(False)
    area.grid(color="0.9", lw=0.7)
    area.set_axisbelow(True)


def confusion(figure: "Figure", entry: Entry) -> None:
    """Draw the share of each true class that was guessed as each class."""
    from matplotlib.colors import Normalize, PowerNorm

    counts = np.array(entry["confusion"], np.float64)
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
        _write_cells(area, shares, class_names(entry["task"]))
    unit = "" if entry["task"] == "gender" else " (years)"
    area.set_xlabel(f"guessed class{unit}")
    area.set_ylabel(f"true class{unit}")


def _write_cells(area: "Axes", shares: Any, names: list[str]) -> None:
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


def reliability(figure: "Figure", entry: Entry) -> None:
    """Draw accuracy against confidence, and how many predictions each bin holds."""
    bins = entry["reliability"]
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    top.plot([0, 1], [0, 1], color=GREY, ls="--", lw=1)
    confidence = [one["confidence"] for one in bins]
    accuracy = [one["accuracy"] for one in bins]
    top.vlines(confidence, confidence, accuracy, color=ORANGE, lw=1.5)
    top.plot(confidence, accuracy, color=BLUE, lw=1.5)
    is_rare = np.array([one["share"] < RARE for one in bins])
    faces = np.where(is_rare, "white", BLUE)
    top.scatter(confidence, accuracy, s=28, color=BLUE, facecolors=faces.tolist(), zorder=3)
    top.set_ylabel("accuracy")
    top.set_ylim(-0.02, 1.02)
    top.set_xlim(-0.02, 1.02)
    ece = entry["splits"][entry["judged"]]["metrics"]["ece"]["mean"]
    top.set_title(f"expected calibration error {ece:.3f}", loc="left", fontsize=10)
    width = bins[0]["high"] - bins[0]["low"]
    bottom.bar(
        [one["low"] for one in bins],
        [one["share"] * 100 for one in bins],
        width=width * 0.92,
        align="edge",
        color=BLUE,
    )
    bottom.set_ylabel("share (%)")
    bottom.set_xlabel("confidence (largest probability)")
    _plain_axes(top)
    _plain_axes(bottom)


def risk(figure: "Figure", entry: Entry) -> None:
    """Draw the mean error of the faces that are kept when the most uncertain are set aside."""
    found = entry["risk_coverage"]
    area = figure.subplots()
    coverage = np.array(found["coverage"]) * 100
    scale = 100 if entry["task"] == "gender" else 1
    area.fill_between(
        coverage,
        np.array(found["low"]) * scale,
        np.array(found["high"]) * scale,
        color=BLUE,
        alpha=0.2,
        lw=0,
    )
    area.plot(coverage, np.array(found["risk"]) * scale, color=BLUE, lw=1.8)
    area.set_xlim(0, 100)
    area.set_ylim(0, None)
    area.set_xlabel("faces kept, the surest first (%)")
    area.set_ylabel("wrong guesses (%)" if entry["task"] == "gender" else "mean error (years)")
    _plain_axes(area)


def error_by_age(figure: "Figure", entry: Entry) -> None:
    """Draw mean absolute error and bias by true age, and how many faces there are."""
    bands = entry["error_by_age"]
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    age = np.array([band["age"] for band in bands])
    error = np.array([band["mae"] for band in bands])
    reach = np.array([[band["mae"] - band["low"], band["high"] - band["mae"]] for band in bands])
    top.axhline(0, color=GREY, lw=0.8)
    top.errorbar(
        age,
        error,
        reach.T,
        color=BLUE,
        marker="o",
        ms=5,
        lw=1.5,
        capsize=2.5,
        label="mean absolute error",
    )
    top.plot(
        age,
        [band["bias"] for band in bands],
        color=ORANGE,
        marker="s",
        ms=4,
        lw=1.2,
        ls="--",
        label="bias",
    )
    top.set_ylabel("error (years)")
    top.legend(frameon=False)
    bottom.bar(age, [band["faces"] for band in bands], width=3, color=BLUE)
    bottom.set_ylabel("faces")
    bottom.set_xlabel("true age (years)")
    _plain_axes(top)
    _plain_axes(bottom)


def learning(figure: "Figure", entry: Entry) -> None:
    """Draw training and validation values of every epoch."""
    epochs, curves = entry["learning"]["epochs"], entry["learning"]["curves"]
    panels = [
        (what, name)
        for what, name in (("loss (nats)", "loss"), ("accuracy", "accuracy"))
        if {name, f"val_{name}"} & set(curves)
    ]
    areas = np.atleast_1d(figure.subplots(1, len(panels)))
    for area, (what, name) in zip(areas, panels, strict=True):
        for key, label, colour, style in (
            (name, "training", BLUE, "-"),
            (f"val_{name}", "validation", ORANGE, "--"),
        ):
            if key in curves:
                curve = curves[key]
                area.fill_between(
                    epochs, curve["low"], curve["high"], color=colour, alpha=0.2, lw=0
                )
                area.plot(epochs, curve["mean"], color=colour, ls=style, lw=1.8, label=label)
        area.set_xlabel("epoch")
        area.set_ylabel(what)
        area.xaxis.get_major_locator().set_params(integer=True)
        _plain_axes(area)
    areas[0].legend(frameon=False)


def runs(figure: "Figure", entry: Entry) -> None:
    """Draw the test accuracy of every run, by fold and seed."""
    area = figure.subplots()
    runs = entry["runs"]
    metric = MAIN[entry["task"]]
    seeds = sorted({run["seed"] for run in runs})
    folds = sorted({run["fold"] for run in runs})
    accuracy = {(run["seed"], run["fold"]): run["splits"]["test"]["accuracy"] * 100 for run in runs}
    _mark_seeds(area, accuracy, seeds, folds)
    for place, fold in enumerate(folds):
        mean = np.mean([value for (_, of_fold), value in accuracy.items() if of_fold == fold])
        area.hlines(mean, place - 0.4, place + 0.4, color="0.75", lw=5, zorder=1)
    area.axhline(np.mean(list(accuracy.values())), color=GREY, ls="--", lw=1)
    area.set_xticks(range(len(folds)), [str(fold) for fold in folds])
    area.set_xlabel("held-out fold")
    is_relaxed = metric == "accuracy_relaxed"
    area.set_ylabel(f"test accuracy{', relaxed' if is_relaxed else ''} (%)")
    _plain_axes(area)
    area.grid(axis="x", visible=False)
    figure.legend(
        *area.get_legend_handles_labels(),
        loc="outside upper center",
        ncols=5,
        frameon=False,
        columnspacing=1,
        handletextpad=0.1,
    )


def _mark_seeds(
    area: "Axes", accuracy: dict[tuple[int, int], float], seeds: list[int], folds: list[int]
) -> None:
    for place, seed in enumerate(seeds):
        colour, mark = SEED_MARKS[place % len(SEED_MARKS)]
        shift = (place - (len(seeds) - 1) / 2) * 0.6 / max(len(seeds), 1)
        have = [fold for fold in folds if (seed, fold) in accuracy]
        area.scatter(
            [folds.index(fold) + shift for fold in have],
            [accuracy[seed, fold] for fold in have],
            color=colour,
            marker=mark,
            s=32,
            label=f"seed {seed}",
            zorder=3,
        )
