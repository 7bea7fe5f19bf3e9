"""What a cleaning tells: a table, a picture of the ages by gender, the answers of no use."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from extraction.adience import CLASS_LABELS
from extraction.cleaning_rules import CleaningCounts
from extraction.data_file import writing
from extraction.extraction_report import write_reasons
from extraction.stored_answers import UnusableError
from utils.figures import new_figure
from utils.files import atomic_write
from utils.labels import ADIENCE_CENTRES
from utils.log import get_logger

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

YEARS_A_ROW = 10
GENDER_WORDS = {"f": "female", "m": "male"}
NOT_KNOWN = {"": "not known"}
COLOURS = {"f": "#D55E00", "m": "#0072B2"}
"""Vermillion and blue, which the colour-blind tell apart too (Okabe and Ito 2008)."""

INK, GRID = "#333333", "#DDDDDD"
LABEL_WIDTH, CELL_WIDTH = 28, 10
MAX_NAMED = 5
"""Files of no use that are named on the screen; all are in the list."""

_logger = get_logger("cleaning")


def table(counts: CleaningCounts, name: str) -> str:
    """Lay out the counts: removed by cause, then kept by age and gender, with shares."""
    num_images = counts.num_kept + counts.removed.total()
    rows: list[tuple[str, ...]] = [(name, "images", "share")]
    causes = [(f"  {cause.replace('_', ' ')}", counts.removed[cause]) for cause in counts.causes]
    for label, count in (*causes, ("  kept", counts.num_kept), ("  all", num_images)):
        rows.append((label, f"{count:,}", _share(count, num_images)))
    return "\n".join(map(_line, [*rows, ("",), *_kept_rows(counts)]))


def _gender_words(counts: CleaningCounts) -> dict[str, str]:
    """Return the words for the genders that the faces kept have."""
    words = GENDER_WORDS if any(map(counts.num_of, GENDER_WORDS)) else {}
    return words | NOT_KNOWN if counts.num_of("") else words


def _kept_rows(counts: CleaningCounts) -> list[tuple[str, ...]]:
    words = _gender_words(counts)
    together = "both" if words == GENDER_WORDS else "all"
    rows: list[tuple[str, ...]] = [("age of the faces kept", *words.values(), together, "share")]
    for label, ages in _rows_of_ages(counts):
        numbers = [sum(counts.kept[gender, age] for age in ages) for gender in words]
        cells = [f"{number:,}" for number in (*numbers, sum(numbers))]
        rows.append((f"  {label}", *cells, _share(sum(numbers), counts.num_kept)))
    shares = [_share(counts.num_of(gender), counts.num_kept) for gender in words]
    return [*rows, ("  share", *shares)]


def _rows_of_ages(counts: CleaningCounts) -> list[tuple[str, Collection[float | None]]]:
    """List the label of each row and the ages that it counts; None for an age not known."""
    known = counts.ages()
    rows: list[tuple[str, Collection[float | None]]] = [
        (label, [age for age in known if first <= age < end])
        for label, first, end in _age_rows(counts)
    ]
    if counts.num_without_age():
        rows.append(("not known", [None]))
    return [*rows, ("all", [*known, None])]


def _age_rows(counts: CleaningCounts) -> list[tuple[str, float, float]]:
    """List label, first age and end of each row: the eight classes, or decades up to the last."""
    if counts.is_adience:
        labels = map(_class_name, CLASS_LABELS)
        return [(label, age, age + 1) for label, age in zip(labels, ADIENCE_CENTRES, strict=True)]
    starts = range(0, int(max(counts.ages(), default=-1)) + 1, YEARS_A_ROW)
    ends = [start + YEARS_A_ROW for start in starts]
    return [(f"{start} to {end - 1}", start, end) for start, end in zip(starts, ends, strict=True)]


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


def plot_ages(counts: CleaningCounts, title: str, path: Path) -> None:
    """Draw how many faces of each gender and age are kept, as a PNG of 1600 x 900 pixels.

    Raises:
        DataError: the file cannot be written.
    """
    figure = _draw_ages(counts, title)
    with writing(path), atomic_write(path) as file:
        figure.savefig(file, format="png", metadata={"Software": None})


def _draw_ages(counts: CleaningCounts, title: str) -> "Figure":
    figure = new_figure(figsize=(8, 4.5), dpi=200, layout="constrained")
    axes = figure.add_subplot()
    if counts.is_adience:
        _draw_classes(axes, counts)
    else:
        _draw_years(axes, counts)
    axes.set_title(title, loc="left", color=INK, fontweight="bold")
    axes.set_ylabel("faces", color=INK)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(colors=INK, length=0)
    axes.legend(labelcolor=INK, facecolor="white", edgecolor="none", framealpha=1)
    return figure


def _draw_classes(axes: "Axes", counts: CleaningCounts) -> None:
    """Draw the eight classes as pairs of bars with their counts."""
    for shift, gender in zip((-0.21, 0.21), GENDER_WORDS, strict=True):
        heights = [counts.num_of(gender, age) for age in ADIENCE_CENTRES]
        centres = [index + shift for index in range(len(heights))]
        label = _legend(counts, gender)
        bars = axes.bar(centres, heights, 0.4, color=COLOURS[gender], label=label)
        texts = [f"{height:,}" for height in heights]
        axes.bar_label(bars, texts, fontsize=7, color=INK, padding=2)
    axes.set_xticks(range(len(CLASS_LABELS)), list(map(_class_name, CLASS_LABELS)))
    axes.set_xlabel("age class in years", color=INK)


def _draw_years(axes: "Axes", counts: CleaningCounts) -> None:
    """Draw whole years, to which others are rounded down, as outlines that lie over each other."""
    last = max(100, int(counts.ages()[-1]))
    edges = [year - 0.5 for year in range(last + 2)]
    for gender in _gender_words(counts):
        heights = [0] * (last + 1)
        for age in counts.ages():
            heights[int(age)] += counts.num_of(gender, age)
        colour, label = COLOURS.get(gender, INK), _legend(counts, gender)
        axes.stairs(heights, edges, fill=True, color=colour, alpha=0.18, zorder=2)
        axes.stairs(heights, edges, color=colour, linewidth=1.8, label=label, zorder=3)
    axes.set_xlim(-0.5, last + 0.5)
    axes.set_ylim(bottom=0)
    axes.set_xticks(range(0, last + 1, 10))
    num_left_out = counts.num_without_age()
    left_out = f"; {num_left_out:,} faces without an age are not drawn" if num_left_out else ""
    axes.set_xlabel(f"age in years{left_out}", color=INK)


def _legend(counts: CleaningCounts, gender: str) -> str:
    """Count the faces drawn, which are those with an age."""
    count = counts.num_of(gender) - counts.kept[gender, None]
    num_drawn = counts.num_kept - counts.num_without_age()
    return f"{_gender_words(counts)[gender]}, {count:,} ({_share(count, num_drawn)})"


def report_unusable(unusable: Sequence[UnusableError], path: Path, remove_corrupt: bool) -> None:
    """Log the stored answers of no use, and list them; without any there is no list.

    Args:
        unusable: the answers, with the reason.
        path: of the list, CSV with the columns path and reason.
        remove_corrupt: delete the corrupt answers, so that the next extraction makes them.

    Raises:
        DataError: the list cannot be written, or a file not be deleted.
    """
    with writing(path):
        if not unusable:
            path.unlink(missing_ok=True)
            return
        write_reasons([(error.path.as_posix(), str(error)) for error in unusable], path)
    for error in unusable[:MAX_NAMED]:
        _logger.warning(f"{error.path} {error}")
    _logger.warning(f"{path} lists {len(unusable):,} files that are of no use")
    corrupt = [error.path for error in unusable if error.is_corrupt]
    if corrupt and not remove_corrupt:
        _logger.warning("remove_corrupt=True deletes the corrupt ones; then extract again")
    elif corrupt:
        for found in corrupt:
            with writing(found):
                found.unlink(missing_ok=True)
        _logger.warning(f"{len(corrupt):,} corrupt files were deleted; extract again, then clean")
