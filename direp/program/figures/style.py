"""One palette and one style for all figures."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

BLUE, ORANGE, GREEN, PURPLE, RED, GREY, GOLD, TEAL = COLOURS = (
    "#3b6fb6", "#d1742f", "#3a8f5c", "#8a4fa3", "#b03a3a", "#6b6b6b", "#c2a026", "#2aa5a0",
)  # fmt: skip
LIGHT, EMPTY = "#9aa0a6", "#e6e6e6"  # what is only beside the point; where there is no value


def canvas(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), layout="constrained")


def save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=130)


def coloured(names: Any) -> list[tuple[str, Any]]:
    """A colour for each name, in their order."""
    return [(COLOURS[k % len(COLOURS)], name) for k, name in enumerate(names)]


def open_frame(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)


def epochs(axis: Axes) -> None:
    """Epochs along the axis."""
    axis.set_xlabel("epoch")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5, min_n_ticks=1))


def band(axis: Axes, values: np.ndarray, colour: str, label: str, *, extremes: bool = False) -> None:
    """Over epochs (rows) the median of all seeds (columns), an 80 % band and, if asked, the extremes; what is not known
    is left out."""
    known = np.isfinite(values).any(1)
    values, at = values[known], np.arange(1, len(values) + 1)[known]
    marker = "o" if len(values) == 1 else None  # one point makes no line
    axis.plot(at, np.nanmedian(values, 1) if len(values) else [], color=colour, lw=1.5, marker=marker, label=label)
    if len(values) and values.shape[1] > 1:
        low, high = np.nanquantile(values, [0.1, 0.9], axis=1)
        axis.fill_between(at, low, high, color=colour, alpha=0.18, lw=0)
        for most in (np.nanmin, np.nanmax) if extremes else ():
            axis.plot(at, most(values, 1), color=colour, lw=0.5, alpha=0.6)
