"""How many seeds succeed, with intervals."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from .style import BLUE, Place, open_frame, place, shortened


def success_rates(found: Mapping[str, Any], ax: Place = None, title: str = "") -> Axes:
    """The share of seeds that succeed, by name, with Wilson's interval (95 %) and the counts.

    `found`: by name a run whose task knows what counts as solved, whether each seed succeeded (a row of booleans), or
    counts `(solved, of)`.
    """
    from scipy.stats import binomtest  # a second

    counts = {str(name): _counted(str(name), each) for name, each in found.items()}
    (axis,) = place(ax, 4.6, 0.9 + 0.36 * max(len(counts), 1))
    for k, (solved, of) in enumerate(counts.values()):
        interval = binomtest(solved, of).proportion_ci(method="wilson")
        ends = 100 * np.array([interval.low, interval.high])
        axis.plot(ends, [k, k], color=BLUE, lw=6, alpha=0.4, solid_capstyle="butt")
        axis.plot(100 * solved / of, k, "o", color=BLUE, ms=4)
    names = [f"{shortened(name, 28)}\n{solved:,} of {of:,}" for name, (solved, of) in counts.items()]
    axis.set_yticks(range(len(counts)), names, fontsize=8)
    axis.set(ylim=(len(counts) - 0.5, -0.5), xlim=(-2, 102), xlabel="seeds (%), 95 % interval", title=title)
    axis.grid(axis="x", color="#e6e6e6", lw=0.6)
    axis.set_axisbelow(True)
    open_frame(axis)
    return axis


def _counted(name: str, found: Any) -> tuple[int, int]:
    solved = getattr(found, "solved", found)
    values = np.asarray(() if solved is None else solved)
    if values.dtype == bool and values.ndim == 1 and values.size:
        return int(values.sum()), int(values.size)
    if values.shape == (2,) and values.dtype.kind in "iu" and 0 <= values[0] <= values[1] and values[1] > 0:
        return int(values[0]), int(values[1])
    raise ValueError(
        f"success_rates: {name!r} has no seeds that succeed or fail; give a run of a task that counts as solved, "
        "a row of booleans, or counts (solved, of)"
    )
