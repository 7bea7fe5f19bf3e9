"""How the pictures of a study look: Okabe and Ito's colours, which all eyes tell apart."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREEN, PURPLE, BLACK = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000"
GREY = "0.45"
MARKS = ((BLUE, "o"), (ORANGE, "s"), (GREEN, "^"), (PURPLE, "D"), (BLACK, "v"))
"""Colour and shape of what is marked, in order; more than five begin anew."""

RARE = 0.005
"""Bins of a smaller share of the predictions are drawn hollow."""


def plain_axes(*areas: "Axes") -> None:
    """Leave only what helps to read values."""
    for area in areas:
        area.spines[["top", "right"]].set_visible(False)
        area.grid(color="0.9", lw=0.7)
        area.set_axisbelow(True)
