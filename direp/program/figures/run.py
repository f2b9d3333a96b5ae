"""Figures. Each function returns a matplotlib figure and draws nothing on a screen."""

from itertools import pairwise

import equinox as eqx
import numpy as np
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ...model import Network
from ...settling import settle
from ...training import Run
from .style import BLUE, EMPTY, GREEN, GREY, ORANGE, RED, band, canvas, epochs, open_frame

_SHOWN = {
    "validation_loss": (ORANGE, "validation"),
    "validation_accuracy": (ORANGE, "validation"),
    "lowest_margin": (GREEN, "margin"),
    "antisymmetry": (BLUE, "antisymmetric share"),
    "agreement": (ORANGE, "cosine of feedback and weights"),
}


def learning_curve(run: Run) -> Figure:
    """Loss, accuracy, margin and directedness over epochs; several seeds as median, 80 % band and extremes."""
    history = run.history
    panels: list[tuple[str, str, tuple[str, ...]]] = [("loss", "mean cost", ("loss", "validation_loss"))]
    if run.task.kind != "regression":
        panels.append(("accuracy", "share correct", ("accuracy", "validation_accuracy")))
    panels.append(("contraction margin", "1/time", ("lowest_margin",)))
    if np.isfinite(history["antisymmetry"]).any():  # or there are no synapses between free units
        panels.append(("how directed", "", ("antisymmetry", "agreement")))
    figure = canvas(3.6 * len(panels), 3.2)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (title, unit, names) in zip(axes, panels, strict=True):
        for name in names:
            if run.task.whole and name.startswith("validation"):
                continue
            if not np.isfinite(history[name]).any():
                continue
            colour, label = _SHOWN.get(name, (BLUE, "training"))
            band(axis, history[name], colour, label, extremes=True)
        axis.set(title=title, ylabel=unit)
        epochs(axis)
        open_frame(axis)
    last = len(history["loss"])
    if run.task.solved is not None:
        axes[0].axhline(0.05, color=GREY, ls=":", lw=1)
        axes[0].annotate("solved below", (last, 0.05), ha="right", va="bottom", color=GREY, fontsize=8)
    shown = {title: axis for (title, *_), axis in zip(panels, axes, strict=True)}
    margin, directed = shown["contraction margin"], shown.get("how directed")
    if history["lowest_margin"].min() <= 0:
        margin.axhline(0, color=RED, lw=1)
        margin.annotate("not certified below", (last, 0), ha="right", va="bottom", color=RED, fontsize=8)
    else:
        margin.set_ylim(0, max(1.3 * float(history["lowest_margin"].max()), 1e-3))
    if directed is not None:
        directed.set_ylim(min(0, 1.1 * float(np.nanmin(history["agreement"], initial=0))), 1.05)
        directed.legend(frameon=False, fontsize=8, loc="lower right")
    if not run.task.whole:
        axes[0].legend(frameon=False)
    seeds = f"{len(run.seeds)} seeds: median, 80 % band, extremes" if len(run.seeds) > 1 else "seed " + str(*run.seeds)
    figure.suptitle(f"{run.task.name} ({seeds})", fontsize=11)
    return figure


def weight_matrix(network: Network, title: str = "") -> Figure:
    """Weights as colours, a row for each sender and a column for each receiver; and the leaks below."""
    graph, matrix = network.graph, np.asarray(network.matrix)
    shown = np.where(graph.adjacency(), matrix, np.nan)
    limit = max(float(np.nanmax(np.abs(shown))), 1e-9)
    small = graph.units <= 30
    width = float(np.clip(0.4 * graph.free, 4.5, 9))
    height = float(np.clip(0.32 * graph.units, 3.2, 8)) + 1.1
    figure = canvas(width, height)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[max(graph.units, 6), max(1.0, graph.units / 12)])
    norm = TwoSlopeNorm(0, -limit, limit)
    image = top.imshow(shown, cmap="RdBu_r", norm=norm, aspect="auto", interpolation="nearest")
    top.set_facecolor(EMPTY)
    for border in (graph.inputs, graph.inputs + graph.hidden):
        top.axhline(border - 0.5, color="black", lw=0.8)
    for axis in (top, bottom):
        axis.axvline(graph.hidden - 0.5, color="black", lw=0.8)
    figure.colorbar(image, ax=top, label="weight (red excites, blue inhibits)", fraction=0.05)
    leaks = bottom.imshow(np.asarray(network.leak)[None], cmap="Greens", aspect="auto", vmin=0, interpolation="nearest")
    figure.colorbar(leaks, ax=bottom, label="leak", fraction=0.05, ticks=MaxNLocator(2))
    bottom.set_yticks([])
    top.set(ylabel="from", title=title or "weights")
    bottom.set(xlabel="to")
    if small:
        top.set_yticks(range(graph.units), graph.names, fontsize=7)
        bottom.set_xticks(range(graph.free), graph.names[graph.inputs :], fontsize=7, rotation=90)
    else:
        bounds = [0, graph.inputs, graph.inputs + graph.hidden, graph.units]
        middles = [(a + b) / 2 for a, b in pairwise(bounds)]
        kinds = [
            (m, k)
            for m, k, a, b in zip(middles, ("inputs", "hidden", "outputs"), bounds, bounds[1:], strict=False)
            if a < b
        ]
        top.set_yticks([m for m, _ in kinds], [k for _, k in kinds], rotation=90, va="center")
        bottom.set_xticks([m - graph.inputs for m, k in kinds if k != "inputs"], [k for _, k in kinds if k != "inputs"])
    return figure


def decision_map(network: Network, run: Run, title: str = "") -> Figure:
    """The first output over the unit square of a two-input task. Points that do not settle are marked in black."""
    ticks = np.linspace(-0.1, 1.1, 97)
    grid = np.stack(np.meshgrid(ticks, ticks), -1).reshape(-1, 2)
    settled = eqx.filter_jit(settle)(network, grid, method=run.trainer.method, stop=run.trainer.stop)
    output = np.asarray(network.outputs(settled.state))[:, 0].reshape(len(ticks), -1)
    figure = canvas(4.6, 3.8)
    axis = figure.subplots()
    image = axis.pcolormesh(ticks, ticks, output, cmap="RdBu_r", vmin=0, vmax=1, shading="nearest", rasterized=True)
    if output.min() < 0.5 < output.max():
        axis.contour(ticks, ticks, output, levels=[0.5], colors="black", linewidths=1)
    lost = ~np.asarray(settled.converged)
    note = ""
    if lost.any():
        axis.scatter(*grid[lost].T, s=1, color="black")
        note = f" ({lost.sum()} of {lost.size} points unsettled)"
    x, y = run.task.train
    for value, face in ((0, BLUE), (1, RED)):
        chosen = x[np.round(y[:, 0]) == value]
        axis.scatter(*chosen.T, s=70, color=face, edgecolor="white", linewidth=1.5, label=f"target {value}", zorder=3)
    figure.colorbar(image, label="output rate")
    axis.set(xlabel="first input", ylabel="second input", title=(title or run.task.name) + note, aspect="equal")
    return figure
