"""The figure of a comparison: learning curves, what was reached with intervals, the angle to the gradient."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .train import Run

__all__ = ["compare_figure"]

_COLOURS = ("#3b6fb6", "#d1742f", "#3a8f5c", "#8a4fa3", "#b03a3a", "#6b6b6b", "#c2a026", "#2aa5a0")


def compare_figure(document: dict[str, Any], runs: Mapping[str, Run]) -> Figure:
    """Loss over epochs (median and 80 % band), solved shares or accuracies, and angles if there was a probe."""
    angles = any(np.isfinite(run.history["cosine"]).any() for run in runs.values())
    figure = Figure(figsize=(4.2 * (3 if angles else 2), 3.5 + 0.12 * len(runs)), layout="constrained")
    axes = figure.subplots(1, 3 if angles else 2)
    whole = next(iter(runs.values())).task.whole
    name = "loss" if whole else "validation_loss"
    for colour, (text, run) in zip(_cycle(len(runs)), runs.items(), strict=True):
        _band(axes[0], run.history[name], colour, text)
        if angles:
            _band(axes[2], np.degrees(np.arccos(np.clip(run.history["cosine"], -1, 1))), colour, text)
    axes[0].set(title=name.replace("_", " "), xlabel="epoch", ylabel="mean cost", yscale="log")
    axes[0].legend(frameon=False, fontsize=7)
    _forest(axes[1], document)
    if angles:
        axes[2].axhline(90, color="grey", ls=":", lw=0.8)
        axes[2].set(title="angle to the exact gradient", xlabel="epoch", ylabel="degrees")
        axes[2].set_ylim(bottom=0)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    seeds = max(len(run.seeds) for run in runs.values())
    figure.suptitle(f"{document['task']}: {seeds} seed{'s' if seeds > 1 else ''} a rule", fontsize=10)
    return figure


def _cycle(count: int) -> list[str]:
    return [_COLOURS[k % len(_COLOURS)] for k in range(count)]


def _band(axis: Axes, values: np.ndarray, colour: str, label: str) -> None:
    epochs = np.arange(1, len(values) + 1)
    known = np.isfinite(values).any(1)
    values, epochs = values[known], epochs[known]
    if not len(values):
        return
    axis.plot(epochs, np.nanmedian(values, 1), color=colour, lw=1.4, label=label)
    if values.shape[1] > 1:
        low, high = np.nanquantile(values, [0.1, 0.9], axis=1)
        axis.fill_between(epochs, low, high, color=colour, alpha=0.18, lw=0)


def _forest(axis: Axes, document: dict[str, Any]) -> None:
    rules = document["rules"]
    solved = all(entry["solved"] is not None for entry in rules.values())
    for k, (colour, entry) in enumerate(zip(_cycle(len(rules)), rules.values(), strict=True)):
        value = entry["solved"] / entry["seeds"] if solved else entry["test_accuracy"]
        low, high = entry["solved_interval"] if solved else entry["test_accuracy_interval"]
        if np.isfinite([low, high]).all():
            axis.plot([100 * low, 100 * high], [k, k], color=colour, lw=3, alpha=0.5, solid_capstyle="butt")
        axis.plot(100 * value, k, "o", color=colour)
    axis.set_yticks(range(len(rules)), list(rules), fontsize=7)
    axis.set_ylim(len(rules) - 0.5, -0.5)
    axis.set(title="solved" if solved else "test accuracy", xlabel="% (with 95 % interval)")
