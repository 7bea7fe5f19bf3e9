"""What a cleaning came to: a table, and a picture of the ages by gender."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from extraction.adience import CLASS_LABELS
from extraction.cleaned import Tally
from extraction.cleaned_files import writing
from utils.figures import new_figure
from utils.files import atomic_write
from utils.labels import ADIENCE_CENTRES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

YEARS_A_ROW = 10
GENDERS = {"f": "female", "m": "male"}
COLOURS = {"f": "#D55E00", "m": "#0072B2"}
"""Vermillion and blue, which the colour-blind tell apart too (Okabe and Ito 2008)."""

INK, GRID = "#333333", "#DDDDDD"
LABEL_WIDTH, CELL_WIDTH = 28, 10


def table(tally: Tally, name: str) -> str:
    """Lay out the counts: removed by cause, then kept by age and gender, with shares."""
    num_images = tally.num_kept + tally.removed.total()
    rows: list[tuple[str, ...]] = [(name, "images", "share")]
    causes = [(f"  {cause.replace('_', ' ')}", tally.removed[cause]) for cause in tally.causes]
    for label, count in (*causes, ("  kept", tally.num_kept), ("  all", num_images)):
        rows.append((label, f"{count:,}", _share(count, num_images)))
    return "\n".join(map(_line, [*rows, ("",), *_kept_rows(tally)]))


def _kept_rows(tally: Tally) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("age of the faces kept", *GENDERS.values(), "both", "share")]
    for label, first, last in (*_age_rows(tally), ("all", -1.0, float("inf"))):
        counts = [
            sum(tally.num_of(gender, age) for age in tally.ages() if first <= age <= last)
            for gender in GENDERS
        ]
        cells = [f"{count:,}" for count in (*counts, sum(counts))]
        rows.append((f"  {label}", *cells, _share(sum(counts), tally.num_kept)))
    shares = [_share(tally.num_of(gender), tally.num_kept) for gender in GENDERS]
    return [*rows, ("  share", *shares)]


def _age_rows(tally: Tally) -> list[tuple[str, float, float]]:
    """Give label, first and last age of every row: the eight classes, or decades up to the last."""
    if tally.is_adience:
        labels = map(_class_name, CLASS_LABELS)
        return [(label, age, age) for label, age in zip(labels, ADIENCE_CENTRES, strict=True)]
    starts = range(0, int(max(tally.ages(), default=0)) + 1, YEARS_A_ROW)
    ends = [start + YEARS_A_ROW - 1 for start in starts]
    return [(f"{start} to {end}", start, end) for start, end in zip(starts, ends, strict=True)]


def _class_name(label: str) -> str:
    """Write the label of a class as words.

    >>> _class_name("(25, 32)")
    '25 to 32'
    """
    return label.strip("()").replace(", ", " to ")


def _share(count: int, total: int) -> str:
    return f"{100 * count / total:.1f} %" if total else "-"


def _line(cells: Sequence[str]) -> str:
    rest = "".join(cell.rjust(CELL_WIDTH) for cell in cells[1:])
    return (cells[0].ljust(LABEL_WIDTH) + rest).rstrip()


def plot_ages(tally: Tally, title: str, path: Path) -> None:
    """Draw how many faces of each gender and age are kept, as a PNG of 1600 x 900 pixels.

    Raises:
        DataError: the file cannot be written.
    """
    figure = _draw_ages(tally, title)
    with writing(path), atomic_write(path) as file:
        figure.savefig(file, format="png", metadata={"Software": None})


def _draw_ages(tally: Tally, title: str) -> "Figure":
    figure = new_figure(figsize=(8, 4.5), dpi=200, layout="constrained")
    axes = figure.add_subplot()
    if tally.is_adience:
        _draw_classes(axes, tally)
    else:
        _draw_years(axes, tally)
    axes.set_title(title, loc="left", color=INK, fontweight="bold")
    axes.set_ylabel("faces", color=INK)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(colors=INK, length=0)
    axes.legend(labelcolor=INK, facecolor="white", edgecolor="none", framealpha=1)
    return figure


def _draw_classes(axes: "Axes", tally: Tally) -> None:
    """Draw the eight classes as pairs of bars with their counts."""
    for number, gender in enumerate(GENDERS):
        counts = [tally.num_of(gender, age) for age in ADIENCE_CENTRES]
        places = [place + (number - 0.5) * 0.42 for place in range(len(counts))]
        bars = axes.bar(places, counts, 0.4, color=COLOURS[gender], label=_legend(tally, gender))
        axes.bar_label(bars, [f"{count:,}" for count in counts], fontsize=7, color=INK, padding=2)
    axes.set_xticks(range(len(CLASS_LABELS)), list(map(_class_name, CLASS_LABELS)))
    axes.set_xlabel("age class in years", color=INK)


def _draw_years(axes: "Axes", tally: Tally) -> None:
    """Draw whole years as two outlines that lie over each other."""
    edges = [year - 0.5 for year in range(102)]
    for gender in GENDERS:
        counts = [tally.num_of(gender, age) for age in range(101)]
        axes.stairs(counts, edges, fill=True, color=COLOURS[gender], alpha=0.18, zorder=2)
        label = _legend(tally, gender)
        axes.stairs(counts, edges, color=COLOURS[gender], linewidth=1.8, label=label, zorder=3)
    axes.set_xlim(-0.5, 100.5)
    axes.set_ylim(bottom=0)
    axes.set_xticks(range(0, 101, 10))
    axes.set_xlabel("age in years", color=INK)


def _legend(tally: Tally, gender: str) -> str:
    count = tally.num_of(gender)
    return f"{GENDERS[gender]}, {count:,} ({_share(count, tally.num_kept)})"
