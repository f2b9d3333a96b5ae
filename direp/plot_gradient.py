"""Figures of rules held against the exact gradient."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

__all__ = ["gradient_figure"]

_COLOURS = ("#3b6fb6", "#d1742f", "#3a8f5c", "#8a4fa3", "#b03a3a", "#6b6b6b", "#c2a026", "#2aa5a0")


def gradient_figure(document: dict[str, Any]) -> Figure:
    """Cosine to the exact gradient, in all and by groups of synapses; and how the errors shrink with the nudge."""
    rules = {name: entry for name, entry in document["rules"].items() if entry["cosine"] is not None}
    rules = rules or document["rules"]
    groups = list(next(iter(document["rules"].values()))["groups"])
    table = np.array(
        [[entry["cosine"], *(entry["groups"][group]["cosine"] for group in groups)] for entry in rules.values()], float
    ).reshape(len(rules), 1 + len(groups))
    figure = Figure(figsize=(5.6 + 0.7 * len(groups), 1.6 + 0.38 * max(len(rules), 5)), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1 + len(groups), 4])
    image = left.imshow(table, cmap="RdBu", vmin=-1, vmax=1, aspect="auto")
    left.set_xticks(range(table.shape[1]), ["all", *groups], rotation=35, ha="right", fontsize=7)
    left.set_yticks(range(len(rules)), list(rules), fontsize=8)
    for (row, column), value in np.ndenumerate(table):
        dark = np.isfinite(value) and abs(value) > 0.6
        text = f"{value:.2f}" if np.isfinite(value) else "zero"
        left.text(column, row, text, ha="center", va="center", fontsize=7, color="white" if dark else "black")
    left.axvline(0.5, color="black", lw=0.8)
    left.set_title("cosine to the exact gradient", fontsize=10)
    figure.colorbar(image, ax=left, fraction=0.04)
    for (name, order), colour in zip(document["order"].items(), _COLOURS, strict=False):
        for kind, style in (("one-sided", "o-"), ("centred", "s--")):
            errors = [error for error in order[kind]["errors"] if error]
            if len(errors) == len(order["betas"]):
                right.loglog(order["betas"], errors, style, color=colour, ms=3, lw=1.2, label=f"{name}, {kind}")
    right.set(xlabel="nudge beta", title="error against the limit")
    right.title.set_fontsize(10)
    right.spines[["top", "right"]].set_visible(False)
    if right.lines:
        right.legend(frameon=False, fontsize=6, loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2)
    seeds = len(document["per_seed"])
    networks = "1 network" if seeds == 1 else f"mean of {seeds} networks"
    figure.suptitle(f"{document['task']}: {networks}, {document['samples']} samples", fontsize=10)
    return figure
