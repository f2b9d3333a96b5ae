"""Legends that fit, however many and long their names are."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.legend import Legend

_LEAST = 12  # characters that a name keeps


def shortened(text: str, most: int) -> str:
    """A text of at most so many characters: its middle left out, as names often differ at either end."""
    if len(text) <= most:
        return text
    kept = most - 1
    return f"{text[: kept - kept // 2]}…{text[-(kept // 2) :]}"


def legend_below(figure: Figure, handles: Sequence[Any], labels: Sequence[str], fontsize: float = 8) -> Legend:
    """One legend for a figure, below it: in as many columns as fit, names shortened if not even one does. The figure
    grows by its height."""
    labels, columns = [str(label) for label in labels], min(len(labels), 4)
    while True:
        legend = figure.legend(
            handles, labels, loc="outside lower center", ncols=max(columns, 1), frameon=False, fontsize=fontsize
        )
        box, longest = legend.get_window_extent(), len(max(labels, key=len, default=""))
        if box.width <= figure.bbox.width or (columns <= 1 and longest <= _LEAST):
            break
        legend.remove()
        if columns > 1:
            columns -= 1
        else:
            labels = [shortened(label, max(int(0.9 * longest), _LEAST)) for label in labels]
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + box.height / figure.dpi)
    return legend
