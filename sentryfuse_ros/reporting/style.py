"""Colours and the look of figures, in one place for pages, pictures and the terminal."""

from __future__ import annotations

from typing import Any, NamedTuple

INK, FAINT, PALE = "#1d2a35", "#8a97a3", "#b8c2cc"
BLUE, ORANGE, RED, GREEN = "#1d3557", "#c8641b", "#c8374b", "#2f8f4e"
BY_MISSING = ("#1d3557", "#3a9b57", "#e07a1f", "#d1495b", "#7f1d1d")  # by number of missing sensors; the last for more
# Okabe and Ito 2008: seven colours and grey that colour-blind people can tell apart, too.
CLASS_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#F0E442", "#CC79A7", "#56B4E9", "#D55E00")
OTHER_CLASS = "#999999"
FIGURE_STYLE: dict[Any, Any] = {  # matplotlib's rcParams
    "font.size": 10,
    "font.family": "DejaVu Sans",
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "path",  # the page looks the same whatever fonts are installed
    "svg.hashsalt": "sentryfuse",  # the ids in a figure are the same every time
}


class StateColour(NamedTuple):
    """Colour of a state in figures, and its name in the terminal (rich)."""

    figure: str
    terminal: str


STATE_COLOURS = {
    "NEVER_SEEN": StateColour("#d9d9d9", "bright_black"),
    "OK": StateColour("#3a9b57", "green"),
    "LATE": StateColour("#e3b505", "yellow"),
    "STALE": StateColour("#d1495b", "red"),
    "FROZEN": StateColour("#9b5de5", "magenta"),
    "INVALID": StateColour("#7f1d1d", "red"),
    "RECOVERING": StateColour("#4ea8de", "cyan"),
    "IMPLAUSIBLE": StateColour("#c2410c", "dark_orange3"),
    "DISABLED": StateColour("#8a97a3", "bright_black"),
    "ASLEEP": StateColour("#b8c2cc", "bright_black"),
}


BRANCH_COLOURS = {  # of a camera's stream
    "reuse": StateColour("#b8d8c0", "green"),
    "light": StateColour("#e09f3e", "yellow"),
    "full": StateColour("#1d3557", "blue"),
}


def plain(text: str) -> str:
    """A name to be drawn as it is: dollar signs do not begin mathematics."""
    return text.replace("$", r"\$")
