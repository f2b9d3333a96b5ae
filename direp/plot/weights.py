"""The weights of a network as a matrix."""

from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, SymLogNorm
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from .style import EMPTY, Place, below, beside, place

_FEW = 30  # units that are named one by one
_MOST = 2**26  # entries of a matrix: 512 MiB
_RANGE = 10.0
"""How much larger than a typical weight of the weakest group the largest one may be on a linear scale. On one of ten
times as much, half of that group would share the palest tenth of it, which is hardly to be told from white. Weights
drawn from one normal distribution stay below it: the largest of a million is 7.3 times their median."""


def weight_matrix(network: Any, ax: Place = None, title: str = "weights") -> Axes:
    """Weights as colours, a row for each sender and a column for each receiver, layers marked; and the leaks below.

    Where the largest weight is far above a typical one of the weakest group of synapses (between two layers, or two
    kinds of units), such as weak feedback, the scale of colours is logarithmic, and linear around zero.
    """
    graph = network.graph
    if graph.units * graph.free > _MOST:
        raise ValueError(
            f"weight_matrix: {graph.units:,} x {graph.free:,} entries are too many for a picture; draw some layers, "
            "plt.imshow(network.weight...)"
        )
    shown = np.where(graph.adjacency(), np.asarray(network.matrix, float), np.nan)
    width = float(np.clip(0.4 * graph.free, 4.5, 9))
    height = float(np.clip(0.32 * graph.units, 3.2, 8)) + 1.6
    (axis,) = place(ax, width + 0.8, height)
    groups = layers_of(graph)
    norm = _norm(shown, [stop for _, stop in groups], graph.inputs)
    image = axis.imshow(shown, cmap="RdBu_r", norm=norm, aspect="auto", interpolation="nearest")
    axis.set_facecolor(EMPTY)
    axis.set(ylabel="from", title=title)
    row = below(axis, 0.12, 0.3)
    leak = np.asarray(network.leak, float)
    largest = float(leak.max(initial=0)) or 1.0  # without leak the row is white
    leaks = row.imshow(leak[None], cmap="Greens", aspect="auto", vmin=0, vmax=largest, interpolation="nearest")
    row.set_yticks([0], ["leak"], fontsize=8)
    row.tick_params(axis="y", length=0)
    _bars(axis, row, image, leaks)
    _mark(axis, row, groups, graph)
    return axis


def layers_of(graph: Any) -> list[tuple[str, int]]:
    """Layers, or kinds of units where there are none: their names, and where each one ends."""
    sizes = graph.layers or (graph.inputs, graph.hidden, graph.outputs)
    inner = len(sizes) - 2
    names = ["inputs", *([f"hidden {k + 1}" for k in range(inner)] if inner > 1 else ["hidden"] * inner), "outputs"]
    ends = np.cumsum(sizes).tolist()
    return [(name, end) for name, end, size in zip(names, ends, sizes, strict=True) if size]


def _norm(shown: np.ndarray, ends: list[int], inputs: int) -> Normalize:
    """A scale on which the weakest group of synapses can be seen."""
    sizes = np.abs(shown)
    largest = float(np.nanmax(sizes, initial=0))
    if not largest or not np.isfinite(largest):
        return Normalize(-1, 1)
    typical = largest
    for top, bottom in pairwise([0, *ends]):
        for left, right in pairwise([e - inputs for e in ends]):
            block = sizes[top:bottom, left:right]
            block = block[block > 0]  # which leaves out NaN, too
            typical = min(typical, float(np.median(block))) if block.size else typical
    if largest <= _RANGE * typical:
        return Normalize(-largest, largest)
    return SymLogNorm(max(typical, 1e-4 * largest), vmin=-largest, vmax=largest, base=10)


def _bars(axis: Axes, row: Axes, image: Any, leaks: Any) -> None:
    """What the colours mean, to the right."""
    figure: Any = axis.figure
    norm: Any = image.norm
    label = "weight: red excites,\nblue inhibits, grey is none"
    bar = figure.colorbar(image, cax=beside(axis, 0.15, 0.18))
    if isinstance(norm, SymLogNorm):
        near, largest = float(norm.linthresh), float(norm.vmax or 0)
        powers = 10.0 ** np.arange(np.ceil(np.log10(near)), np.floor(np.log10(largest)) + 1)
        kept = [p for p in powers if p < 0.4 * largest]
        ticks = [*kept, largest]
        bar.ax.yaxis.set_major_locator(FixedLocator([-t for t in reversed(ticks)] + [0.0, *ticks]))
        bar.ax.yaxis.set_minor_locator(NullLocator())
        label += f"\n(linear to ±{near:.2g}, then logarithmic)"
    bar.ax.yaxis.set_major_formatter(lambda value, _: f"{value:.2g}")
    bar.ax.tick_params(labelsize=7)
    bar.set_label(label, fontsize=7)
    bar = figure.colorbar(leaks, cax=beside(row, 0.15, 0.18), ticks=MaxNLocator(2))
    bar.ax.tick_params(labelsize=7)
    bar.set_label("1/time", fontsize=7)


def _mark(axis: Axes, row: Axes, groups: list[tuple[str, int]], graph: Any) -> None:
    """Lines between layers; names of the units, or of the layers where these are many."""
    for _, end in groups[:-1]:
        axis.axhline(end - 0.5, color="black", lw=0.8)
        if end > graph.inputs:
            for each in (axis, row):
                each.axvline(end - graph.inputs - 0.5, color="black", lw=0.8)
    axis.tick_params(labelbottom=False, bottom=False)
    ends = [0, *(end for _, end in groups)]
    middles = {name: (a + b - 1) / 2 for (name, _), (a, b) in zip(groups, pairwise(ends), strict=True)}
    receivers = {name: at - graph.inputs for name, at in middles.items() if at >= graph.inputs}
    top = axis.secondary_xaxis("top")
    crowded = len(receivers) > 3
    top.set_xticks(
        list(receivers.values()), list(receivers), fontsize=8, rotation=30 if crowded else 0,
        ha="left" if crowded else "center",
    )  # fmt: skip
    top.tick_params(length=0)
    if graph.units <= _FEW:
        axis.set_yticks(range(graph.units), graph.names, fontsize=7)
        row.set_xticks(range(graph.free), graph.names[graph.inputs :], fontsize=7, rotation=90)
    else:
        axis.set_yticks(_apart(list(middles.values()), 0.035 * graph.units), list(middles), fontsize=8)
        axis.tick_params(axis="y", length=0)
        row.set_xticks([])
    row.set_xlabel("to")


def _apart(at: list[float], least: float) -> list[float]:
    """Places moved so that labels do not lie on each other: up from the last one."""
    moved = at[:]
    for k in reversed(range(len(at) - 1)):
        moved[k] = min(moved[k], moved[k + 1] - least)
    return moved


def square(who: str, matrix: Any, leak: Any) -> tuple[np.ndarray, np.ndarray]:
    """A matrix of weights, from row to column, and a leak for each unit. Raises `ValueError` if it is not square, or
    has a diagonal."""
    weight = np.asarray(matrix, float)
    if weight.ndim != 2 or weight.shape[0] != weight.shape[1] or np.shape(leak) not in ((), weight.shape[:1]):
        raise ValueError(
            f"{who}: the matrix has shape {weight.shape} and leak {np.shape(leak)}; needed are a square one of weights "
            "between units, and leak=..., one number or one a unit"
        )
    if np.diagonal(weight).any():
        raise ValueError(f"{who}: the matrix has a diagonal; what a unit does to itself is its leak: leak=...")
    return weight, np.broadcast_to(np.asarray(leak, float), len(weight))
