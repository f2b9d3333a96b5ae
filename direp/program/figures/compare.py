"""The figure of a comparison: learning curves, what was reached with intervals, the angle to the gradient."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...analysis import solved_by
from ...plot import learning_curves
from ...plot.style import GREY, canvas, coloured, epochs, legend_below, open_frame
from ...training import Run


def compare_figure(document: dict[str, Any], runs: Mapping[str, Run]) -> Figure:
    """Over epochs the loss (median and 80 % band), the share of seeds solved and the angle, where there is such; and
    what was reached, with intervals."""
    task = next(iter(runs.values())).task
    panels: list[Callable[[Axes], None]] = [lambda axis: _losses(axis, runs)]
    if task.solved is not None:
        panels.append(lambda axis: _solved(axis, runs))
    if any(np.isfinite(run.history["cosine"]).any() for run in runs.values()):
        panels.append(lambda axis: _angles(axis, runs))
    panels.append(lambda axis: _forest(axis, document))
    figure = canvas(3.7 * len(panels), 3.4)
    axes = figure.subplots(1, len(panels))
    for draw, axis in zip(panels, axes, strict=True):
        draw(axis)
        open_frame(axis)
        axis.title.set_fontsize(10)
        axis.tick_params(labelsize=8)
    seeds = max(len(run.seeds) for run in runs.values())
    figure.suptitle(f"{document['task']}: {seeds} seed{'s' if seeds > 1 else ''} a rule", fontsize=11)
    legend_below(figure, *axes[0].get_legend_handles_labels())
    return figure


def _losses(axis: Axes, runs: Mapping[str, Run]) -> None:
    name = "loss" if next(iter(runs.values())).task.whole else "validation_loss"
    learning_curves(runs, axis, (name,))
    axis.set(title=f"{name.replace('_', ' ')} (median, 80 % band)", ylabel="mean cost")


def _solved(axis: Axes, runs: Mapping[str, Run]) -> None:
    for k, (colour, text) in enumerate(coloured(runs)):
        shares = 100 * np.mean(solved_by(runs[text]), 1)
        # Curves that agree lie on each other: the earlier ones are drawn wider.
        axis.plot(np.arange(1, len(shares) + 1), shares, color=colour, lw=1.4 + 0.8 * (len(runs) - 1 - k))
    axis.set(title="seeds solved so far", ylabel="%", ylim=(-3, 103))
    epochs(axis)


def _angles(axis: Axes, runs: Mapping[str, Run]) -> None:
    learning_curves(runs, axis, ("angle",))
    axis.axhline(90, color=GREY, ls=":", lw=0.8)
    axis.set(title="angle to the exact gradient", ylabel="degrees")
    axis.set_ylim(bottom=-2)


def _forest(axis: Axes, document: dict[str, Any]) -> None:
    rules = document["rules"]
    solved = all(entry["solved"] is not None for entry in rules.values())
    for k, (colour, text) in enumerate(coloured(rules)):
        entry = rules[text]
        value = entry["solved"] / entry["seeds"] if solved else entry["test_accuracy"]
        low, high = entry["solved_interval"] if solved else entry["test_accuracy_interval"]
        if np.isfinite([low, high]).all():
            axis.plot([100 * low, 100 * high], [k, k], color=colour, lw=3, alpha=0.5, solid_capstyle="butt")
        axis.plot(100 * value, k, "o", color=colour)
    axis.set_yticks(range(len(rules)), list(rules))
    axis.set_ylim(len(rules) - 0.5, -0.5)
    axis.set(title="solved" if solved else "test accuracy", xlabel="% (with 95 % interval)")
