"""What units look for in an image: their weights from the pixels."""

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize

from .style import EMPTY, Place, beside, place

_NAMED = 7  # images in a row whose units are named
_MOST = 2**26  # weights


def receptive_fields(
    network: Any,
    ax: Place = None,
    *,
    shape: tuple[int, int] | None = None,
    most: int = 25,
    units: str = "hidden",
    title: str = "",
) -> Axes:
    """The weights from all inputs to a unit as an image, for the `most` units with the largest ones (by the root of the
    sum of squares), largest first; red excites, blue inhibits, on one scale.

    **Arguments:**

    - `network`: a network, or a matrix of weights, inputs x units.
    - `shape`: height and width of an image, such as (8, 8); by default a square.
    - `units`: `"hidden"` or `"outputs"`.
    """
    weight, names = _read(network, units)
    inputs = len(weight)
    side = round(inputs**0.5)
    shape = (side, side) if shape is None else shape
    if shape[0] * shape[1] != inputs:
        raise ValueError(f"receptive_fields(shape={shape}) makes {shape[0] * shape[1]} pixels of {inputs} inputs")
    size = np.sqrt(np.nansum(weight**2, 0))
    chosen = [int(k) for k in np.argsort(-size, kind="stable")[:most] if size[k] > 0]
    if not chosen:
        raise ValueError(f"receptive_fields(units={units!r}): no weight from an input reaches one of them")
    high = shape[0] / shape[1]  # of an image, over its width
    columns = int(np.ceil((len(chosen) * high) ** 0.5))
    rows = -(-len(chosen) // columns)
    named = columns <= _NAMED
    gap = 0.34 if named else 0.1
    (axis,) = place(ax, 4.4, float(np.clip(0.5 + 3.6 * rows * (high + gap) / (1.1 * columns), 1.2, 8)))
    limit = float(np.nanmax(np.abs(weight[:, chosen])))
    look: dict[str, Any] = {"cmap": colormaps["RdBu_r"].with_extremes(bad=EMPTY), "norm": Normalize(-limit, limit)}
    for number, k in enumerate(chosen):
        row, column = divmod(number, columns)
        left, top = 1.1 * column, row * (high + gap)
        axis.imshow(
            weight[:, k].reshape(shape), extent=(left, left + 1, top + high, top), interpolation="nearest", **look
        )
        if named:
            axis.text(left + 0.5, top - 0.04, names[k], ha="center", va="bottom", fontsize=6)
    axis.set(xlim=(-0.05, 1.1 * columns - 0.05), ylim=(rows * (high + gap) - gap + 0.05, -gap if named else -0.05))
    axis.set(xticks=[], yticks=[], aspect="equal")
    axis.spines[:].set_visible(False)
    count = f"{len(chosen)} of {len(size)} {'hidden units' if units == 'hidden' else units}"
    axis.set_title(title or (count if len(chosen) < len(size) else ""), fontsize=10)
    figure: Any = axis.figure
    bar = figure.colorbar(axis.images[0], cax=beside(axis, 0.1, 0.12))
    bar.ax.tick_params(labelsize=7)
    bar.set_label("weight from a pixel", fontsize=7)
    return axis


def _read(network: Any, units: str) -> tuple[np.ndarray, list[str]]:
    """Weights from inputs (rows) to the units, NaN where there is no synapse; and their names."""
    if units not in ("hidden", "outputs"):
        raise ValueError(f"receptive_fields(units={units!r}) must be 'hidden' or 'outputs'")
    if hasattr(network, "graph"):
        graph = network.graph
        if graph.inputs * graph.free > _MOST:
            raise ValueError(
                f"receptive_fields: {graph.inputs:,} x {graph.free:,} weights are too many to look through; give the "
                "weights of some units, inputs x units"
            )
        place = slice(0, graph.hidden) if units == "hidden" else slice(graph.hidden, None)
        matrix = np.asarray(network.matrix, float)[: graph.inputs]
        weight = np.where(graph.adjacency()[: graph.inputs], matrix, np.nan)
        return weight[:, place], list(graph.names[graph.inputs :][place])
    weight = np.asarray(network, float)
    if weight.ndim != 2:
        raise ValueError(f"receptive_fields of a matrix of shape {weight.shape}; needed is inputs x units")
    return weight, [str(k) for k in range(weight.shape[1])]
