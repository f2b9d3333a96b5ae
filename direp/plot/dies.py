"""Over dies: a histogram of how a network does on each."""

from typing import Any

import numpy as np

from .style import BLUE, GREY, ORANGE, Place, open_frame, place


def dies_histogram(found: Any, ax: Place = None) -> Any:
    """How many dies reach which accuracy (of a regression: which loss), the mean of all, the worst one, and the network
    as it is stored. `found` is what `direp.analysis.on_dies` returns. Returns the axes."""
    (axis,) = place(ax, 4.6, 3.2)
    share = found.by == "accuracy"
    scale = 100.0 if share else 1.0
    values, told = scale * getattr(found, found.by), found.summary()
    count, values = len(values), values[np.isfinite(values)]  # a die that diverged has no loss
    if not len(values):
        raise ValueError(f"dies_histogram: none of {count} dies has a finite {found.by}")
    lost = count - len(values)
    low, high = values.min(), values.max()
    bins: Any = "auto"
    if share:  # whole samples: a bar holds the same number of possible values as the next
        samples = found.samples
        least, most = round(low * samples / 100), round(high * samples / 100)
        width = max(1, -(-(most - least + 1) // 24))
        bins = 100 / samples * (np.arange(least, most + width + 1, width) - 0.5)
    axis.hist(values, bins=bins, color=BLUE, edgecolor="white", linewidth=0.5)
    lines = (("stored", GREY, "-", "as stored"), ("mean", "black", "--", "mean"), ("worst", ORANGE, ":", "worst die"))
    for key, colour, style, label in lines:
        if np.isfinite(told[key]):
            axis.axvline(scale * told[key], color=colour, linestyle=style, linewidth=1.6, label=label)
    unit = "accuracy (%)" if share else "loss"
    axis.set(xlabel=unit, ylabel=f"of {count:,} dies" + (f" ({lost:,} without)" if lost else ""))
    axis.yaxis.get_major_locator().set_params(integer=True)
    open_frame(axis)
    axis.legend(frameon=False, fontsize=8, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return axis
