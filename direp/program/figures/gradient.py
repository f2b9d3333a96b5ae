"""The figure of gradient estimates against the exact gradient."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from ...plot.style import EMPTY, canvas, coloured, open_frame


def gradient_figure(document: dict[str, Any]) -> Figure:
    """Cosine to the exact gradient, in all and by groups of synapses; and how the errors shrink with the nudge."""
    groups = list(next(iter(document["rules"].values()))["groups"])
    orders = document["order"]
    width, height = 4.2 + 0.62 * len(groups), 2.3 + 0.36 * max(len(document["rules"]), 6)
    figure = canvas(width + (4.0 if orders else 0), height)
    axes = np.atleast_1d(figure.subplots(1, 2 if orders else 1, width_ratios=[width, 4.0] if orders else None))
    _cosines(figure, axes[0], document, groups)
    if orders:
        _errors(axes[1], orders)
    count = len(document["per_seed"])
    kind = "trained" if document["at"] == "trained" else "untrained"
    networks = f"one {kind} network" if count == 1 else f"mean of {count} {kind} networks"
    figure.suptitle(f"{document['task']}: {networks}, {document['samples']} samples", fontsize=10)
    return figure


def _cosines(figure: Figure, axis: Axes, document: dict[str, Any], groups: list[str]) -> None:
    rules = document["rules"]
    table = np.array(
        [[entry["cosine"], *(entry["groups"][group]["cosine"] for group in groups)] for entry in rules.values()], float
    ).reshape(len(rules), 1 + len(groups))
    image = axis.imshow(table, cmap="RdBu", vmin=-1, vmax=1, aspect="auto")
    axis.set_facecolor(EMPTY)
    axis.set_xticks(range(table.shape[1]), ["all", *groups], rotation=35, ha="right", fontsize=7)
    axis.set_yticks(range(len(rules)), list(rules), fontsize=8)
    for (row, column), value in np.ndenumerate(table):
        dark = np.isfinite(value) and abs(value) > 0.6
        text = f"{value:.2f}" if np.isfinite(value) else "none"
        axis.text(column, row, text, ha="center", va="center", fontsize=7, color="white" if dark else "black")
    axis.axvline(0.5, color="black", lw=1.2)
    axis.set_title("cosine to the exact gradient (1 exact, below 0 ascends)", fontsize=9)
    bar = figure.colorbar(image, ax=axis, fraction=0.04, ticks=[-1, 0, 1])
    bar.ax.tick_params(labelsize=7)


def _errors(axis: Axes, orders: dict[str, Any]) -> None:
    """Against the exact gradient where the rule reaches it, else against the rule's own limit."""
    handles = []
    for k, (colour, name) in enumerate(coloured(orders)):
        order = orders[name]
        against = "exact" if "exact" in order else "limit"
        # Rules that agree lie on each other: the earlier ones are drawn wider, so that all can be seen.
        width = 1.2 + 1.6 * (len(orders) - 1 - k)
        for kind, style in (("one-sided", "-"), ("centred", "--")):
            errors = np.array([error or np.nan for error in order[against][kind]["errors"]], float)
            axis.loglog(order["betas"], errors, style, color=colour, lw=width, marker="o", ms=width + 2)
        slopes = ", ".join(_slope(order[against][kind]["order"]) for kind in ("one-sided", "centred"))
        end = "the exact gradient" if against == "exact" else "its limit"
        handles.append(Line2D([], [], color=colour, lw=3, label=f"{name}: {slopes} (to {end})"))
    betas = next(iter(orders.values()))["betas"]
    axis.xaxis.set_major_locator(FixedLocator(betas))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xticklabels([f"{beta:g}" for beta in sorted(betas, reverse=True)], fontsize=7)
    axis.tick_params(axis="y", labelsize=7)
    axis.set_xlabel("nudge beta", fontsize=8)
    axis.set_title("relative error; one-sided solid, centred dashed", fontsize=9)
    open_frame(axis)
    axis.legend(
        handles=handles, frameon=False, fontsize=7, loc="upper center", bbox_to_anchor=(0.45, -0.16), handlelength=1.2,
        title="slopes: one-sided, centred", title_fontsize=7,
    )  # fmt: skip


def _slope(order: float | None) -> str:
    return "not clear" if order is None else f"{order:.2f}"
