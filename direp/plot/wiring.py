"""A network as a graph: units as dots, synapses as arrows."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.patches import FancyArrowPatch
from matplotlib.patheffects import withStroke

from .style import GREEN, GREY, Place, beside, place
from .weights import layers_of, square

_NAMED = 40  # units that are named one by one
_MOST = 2000  # units


def directed_graph(network: Any, ax: Place = None, *, leak: Any = None, most: int = 150, title: str = "") -> Axes:
    """Units as dots, inputs left and outputs right, synapses as arrows in the colour and width of their weights.

    Layers are columns; hidden units without layers stand on a circle. The area of a dot is the leak of its unit; inputs
    are squares. Of more than `most` synapses the strongest ones are drawn, and the title says so.

    **Arguments:**

    - `network`: a network; or a square matrix of weights, from row to column, whose units stand on a circle, with
      `leak`, one a unit.
    """
    weight, leaks, names, columns = _read(network, leak)
    source, target = np.nonzero(weight)
    strength = weight[source, target]
    strongest = np.argsort(-np.abs(strength), kind="stable")[:most][::-1]  # the strongest last, on top
    at, away = _positions(columns)
    area = _areas(leaks, len(at))
    (axis,) = place(ax, 5.2, 3.9)
    limit = float(np.abs(strength).max(initial=0)) or 1.0
    look = ScalarMappable(Normalize(-limit, limit), "RdBu_r")
    x, y = at.T.tolist()
    radius = (np.sqrt(area) / 2).tolist()
    for k in strongest.tolist():
        i, j, share = int(source[k]), int(target[k]), abs(float(strength[k])) / limit
        axis.add_patch(FancyArrowPatch(
            (x[i], y[i]), (x[j], y[j]), connectionstyle=f"arc3,rad={0.35 if x[i] == x[j] else 0.12}",
            arrowstyle="-|>", mutation_scale=4 + 5 * share, lw=0.3 + 1.7 * share, color=look.to_rgba(strength[k]),
            shrinkA=radius[i], shrinkB=radius[j] + 0.5, zorder=2 + share / 2,
        ))  # fmt: skip
    clamped = np.isnan(leaks)
    for chosen, shape, colour in ((clamped, "s", GREY), (~clamped, "o", GREEN)):
        axis.scatter(*at[chosen].T, s=area[chosen], marker=shape, color=colour, edgecolor="white", lw=0.5, zorder=3)
    _name(axis, at, away, area, names, columns)
    figure: Any = axis.figure
    bar = figure.colorbar(look, cax=beside(axis, 0.1, 0.12))
    bar.ax.tick_params(labelsize=7)
    bar.set_label("weight: red excites, blue inhibits", fontsize=7)
    count = f"strongest {most:,} of {len(strength):,} synapses" if most < len(strength) else ""
    axis.set_title(f"{title} ({count})" if title and count else title or count, fontsize=10)
    axis.set(xticks=[], yticks=[], xlim=(at[:, 0].min() - 0.3, at[:, 0].max() + 0.3), ylim=(-0.08, 1.08))
    axis.set_xlabel(f"area of a dot: leak, at most {np.nanmax(leaks, initial=0):.3g} (1/time)", fontsize=7)
    axis.spines[:].set_visible(False)
    return axis


def _read(network: Any, leak: Any) -> tuple[np.ndarray, np.ndarray, list[str], list[tuple[str, np.ndarray, bool]]]:
    """Weights (units x units), leaks (NaN of inputs), names of units; groups from left to right, each with its units,
    and whether they stand on a circle."""
    if not hasattr(network, "graph"):
        weight, leaks = square("directed_graph", network, 1.0 if leak is None else leak)
        return weight, leaks, [str(k) for k in range(len(weight))], [("units", np.arange(len(weight)), True)]
    graph = network.graph
    if graph.units > _MOST:
        raise ValueError(f"directed_graph: {graph.units:,} units are too many for a picture, which holds {_MOST:,}")
    weight = np.zeros((graph.units, graph.units))
    weight[:, graph.inputs :] = np.where(graph.adjacency(), np.asarray(network.matrix, float), 0)
    leaks = np.concatenate([np.full(graph.inputs, np.nan), np.asarray(network.leak, float)])
    columns, begin = [], 0
    for name, end in layers_of(graph):
        columns.append((name, np.arange(begin, end), graph.layers is None and name == "hidden"))
        begin = end
    return weight, leaks, list(graph.names), columns


def _positions(columns: list[tuple[str, np.ndarray, bool]]) -> tuple[np.ndarray, np.ndarray]:
    """Where units stand, and in which direction of each there is room for its name."""
    at, away = [], []
    for k, (_, units, circle) in enumerate(columns):
        n = len(units)
        if circle and n > 1:
            angle = np.pi / 2 - 2 * np.pi * np.arange(n) / n
            out = np.stack([np.cos(angle), np.sin(angle)], 1)
            at.append([k, 0.5] + out * [0.5, 0.5])
            away.append(out)
        else:
            at.append(np.stack([np.full(n, float(k)), 1 - (np.arange(n) + 0.5) / n], 1))
            side = -1.0 if k == 0 else 1.0
            inner = 0 < k < len(columns) - 1
            away.append(np.tile([0.0, 1.0] if inner else [side, 0.0], (n, 1)))
    return np.concatenate(at), np.concatenate(away)


def _areas(leaks: np.ndarray, units: int) -> np.ndarray:
    """Points squared: as the leaks, of which the smallest can still be seen."""
    largest = float(np.clip(2000 / units, 20, 150))
    share = leaks / (float(np.nanmax(leaks, initial=0)) or 1.0)
    return np.where(np.isnan(leaks), 0.4, np.maximum(share, 0.06)) * largest


def _name(axis: Axes, at: np.ndarray, away: np.ndarray, area: np.ndarray, names: list[str], columns: Any) -> None:
    """The units, or what stands where, where these are many."""
    if len(at) > _NAMED:
        for k, (name, units, _) in enumerate(columns):
            axis.text(k, 1.03, f"{len(units)} {name}", ha="center", va="bottom", fontsize=8)
        return
    halo = [withStroke(linewidth=2, foreground="white")]
    for k, name in enumerate(names):
        x, y = away[k] * (area[k] ** 0.5 / 2 + 3)
        ha = "center" if abs(x) < 2 else "left" if x > 0 else "right"
        va = "center" if abs(y) < 2 else "bottom" if y > 0 else "top"
        axis.annotate(
            name, at[k], (x, y), textcoords="offset points", ha=ha, va=va, fontsize=7, path_effects=halo, zorder=4
        )
