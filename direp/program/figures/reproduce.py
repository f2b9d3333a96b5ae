"""Figures of reproductions: losses of all seeds, and one seed's maps, weights, graph and way there."""

from collections.abc import Mapping
from typing import Any

import networkx as nx
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from ...plot import trajectory, weight_matrix
from ...plot.style import BLUE, EMPTY, GOLD, GREY, RED, band, canvas, coloured, epochs, legend_below, open_frame, points

_SOLVED = 0.05  # the loss below which a gate counts as solved


def losses(tasks: Mapping[str, Mapping[str, np.ndarray]], document: Mapping[str, Any], few: int) -> Figure:
    """A panel a task, with the loss (epochs x seeds) of every way to learn, and the first `few` seeds thin; and one of
    the shares that solved."""
    rows = -(-(len(tasks) + 1) // 2)
    figure = canvas(4.7, 1.6 * rows)
    axes = figure.subplots(rows, 2, squeeze=False).ravel()
    for axis, (task, curves) in zip(axes, tasks.items(), strict=False):
        for colour, label in coloured(curves):
            values = curves[label]
            axis.plot(np.arange(1, len(values) + 1), values[:, :few], color=colour, lw=0.5, alpha=0.5)
            band(axis, values, colour, label)
        axis.axhline(_SOLVED, color=GREY, ls=":", lw=1)
        axis.set(title=task, xscale="log", xlabel="epoch", ylim=(0, 0.5), ylabel="loss")
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    _shares(axes[len(tasks)], document)
    for axis in axes[: len(tasks) + 1]:
        _small(axis)
    for axis in axes[len(tasks) + 1 :]:
        axis.remove()
    if len(document["labels"]) > 1:
        legend_below(figure, *axes[0].get_legend_handles_labels())
    return figure


def _shares(axis: Axes, document: Mapping[str, Any]) -> None:
    """The share of seeds that solved each task, with intervals, a row a task."""
    tasks = list(dict.fromkeys(task for own in document["runs"].values() for task in own))
    many = len(document["runs"])
    for k, (colour, name) in enumerate(coloured(document["runs"])):
        for task, entry in document["runs"][name].items():
            at = tasks.index(task) + 0.22 * (k - (many - 1) / 2)
            low, high = entry["solved"]["interval"]
            axis.plot([100 * low, 100 * high], [at, at], color=colour, lw=3, alpha=0.5, solid_capstyle="butt")
            axis.plot(100 * entry["solved"]["count"] / entry["seeds"], at, "o", color=colour, ms=4)
    axis.set_yticks(range(len(tasks)), tasks)
    axis.set(title="solved (%)", xlim=(-3, 103), ylim=(len(tasks) - 0.5, -0.5))


def maps(ways: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]]) -> Figure:
    """Outputs over the unit square, a row a way to learn and a column a task; dots are the patterns."""
    tasks = list(dict.fromkeys(task for own in ways.values() for task in own))
    figure = canvas(1.3 * len(tasks) + 0.9, 1.4 * len(ways) + 0.3)
    axes = figure.subplots(len(ways), len(tasks), squeeze=False, sharex=True, sharey=True)
    image: Any = None
    for axis, task in zip(axes[0], tasks, strict=True):
        axis.set_title(task)
    for row, (label, own) in zip(axes, ways.items(), strict=True):
        for axis, task in zip(row, tasks, strict=True):
            values, x, y = own[task]
            side = np.linspace(0, 1, len(values))
            image = axis.pcolormesh(
                side, side, values, cmap="RdBu_r", vmin=0, vmax=1, shading="nearest", rasterized=True
            )
            if values.min() < 0.5 < values.max():
                axis.contour(side, side, values, levels=[0.5], colors="black", linewidths=1)
            for value, colour in ((0, BLUE), (1, RED)):
                points(axis, x[np.round(y) == value], colour, clip_on=False)
            axis.set(aspect="equal", xticks=[0, 1], yticks=[0, 1])
            _small(axis)
        row[0].set_ylabel(label, fontsize=8)
    bar = figure.colorbar(image, ax=axes, ticks=[0, 0.5, 1], fraction=0.05)
    bar.ax.tick_params(labelsize=8)
    bar.set_label("output (dots: targets)", fontsize=8)
    return figure


def weights(networks: Mapping[str, Any]) -> Figure:
    """The weight matrix of each network, one below the other."""
    figure = canvas(4.7, 3.7 * len(networks))
    axes = figure.subplots(len(networks), 1, squeeze=False).ravel()
    for axis, (label, network) in zip(axes, networks.items(), strict=True):
        weight_matrix(network, axis, label)
        axis.title.set_fontsize(9)
    return figure


def graphs(networks: Mapping[str, Any]) -> Figure:
    """The graph of each network: units on a circle, the width of a synapse is that of its weight."""
    figure = canvas(3.4, 3.5 * len(networks))
    axes = figure.subplots(len(networks), 1, squeeze=False)[:, 0]
    for axis, (label, network) in zip(axes, networks.items(), strict=True):
        _graph(axis, network)
        axis.set_title(label, fontsize=9)
    return figure


def _graph(axis: Axes, network: Any) -> None:
    graph, drawn = network.graph, nx.DiGraph()
    names = {**dict(enumerate(graph.names)), **({"bias": "1"} if graph.bias else {})}
    fills = [EMPTY] * graph.inputs + ["white"] * graph.hidden + [GOLD] * graph.outputs + [EMPTY] * graph.bias
    matrix, exists = np.asarray(network.matrix, float), graph.adjacency()
    synapses = {(int(i), graph.inputs + int(j)): matrix[i, j] for i, j in np.argwhere(exists)}
    if graph.bias:
        synapses |= {("bias", graph.inputs + j): value for j, value in enumerate(np.asarray(network.bias, float))}
    synapses = dict(sorted(synapses.items(), key=lambda item: abs(item[1])))  # the strongest on top
    drawn.add_nodes_from(names)
    drawn.add_edges_from(synapses)
    weights = np.array([*synapses.values()])
    look: dict[str, Any] = {"ax": axis, "node_size": 330}
    places = nx.circular_layout(drawn)
    nx.draw_networkx_nodes(drawn, places, node_color=fills, edgecolors="black", linewidths=0.8, **look)
    nx.draw_networkx_labels(drawn, places, names, ax=axis, font_size=7)
    nx.draw_networkx_edges(
        drawn, places, [*synapses], edge_color=np.where(weights > 0, RED, BLUE).tolist(), arrowsize=6,
        width=(0.2 + 2.2 * np.abs(weights) / (np.abs(weights).max() or 1.0)).tolist(),
        connectionstyle="arc3,rad=0.12", **look,
    )  # fmt: skip
    axis.set_axis_off()
    axis.set_aspect("equal")
    axis.margins(0.08)


def convergence(ways: Mapping[str, Any]) -> Figure:
    """States over both phases, and weights over epochs; a row a way to learn."""
    figure = canvas(4.9, 2.2 * len(ways))
    axes = figure.subplots(len(ways), 2, squeeze=False, width_ratios=[3, 2])
    for row, (label, found) in zip(axes, ways.items(), strict=True):
        trajectory(found.paths, row[0])
        row[0].set_title(label, fontsize=9, loc="left", pad=16)
        row[1].plot(found.epochs, found.weights, color=BLUE, lw=0.6, alpha=0.7)
        row[1].set(ylabel="weights and biases")
        epochs(row[1])
        for axis in row:
            _small(axis)
    return figure


def _small(axis: Axes) -> None:
    open_frame(axis)
    axis.title.set_fontsize(9)
    axis.tick_params(labelsize=8)
    axis.xaxis.label.set_fontsize(8)
    axis.yaxis.label.set_fontsize(8)
