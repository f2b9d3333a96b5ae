"""The figure of a comparison: learning curves, what was reached with intervals, the angle to the gradient."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ...analysis import solved_by
from ...training import Run

__all__ = ["compare_figure"]

_COLOURS = ("#3b6fb6", "#d1742f", "#3a8f5c", "#8a4fa3", "#b03a3a", "#6b6b6b", "#c2a026", "#2aa5a0")
_FLOOR = 1e-4  # a lower loss is no news, and zero has no logarithm


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
    figure = Figure(figsize=(3.7 * len(panels), 3.3 + 0.2 * len(runs)), layout="constrained")
    axes = figure.subplots(1, len(panels))
    for draw, axis in zip(panels, axes, strict=True):
        draw(axis)
        axis.spines[["top", "right"]].set_visible(False)
        axis.title.set_fontsize(10)
        axis.tick_params(labelsize=8)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    seeds = max(len(run.seeds) for run in runs.values())
    figure.suptitle(f"{document['task']}: {seeds} seed{'s' if seeds > 1 else ''} a rule", fontsize=11)
    return figure


def _coloured(names: Any) -> list[tuple[str, Any]]:
    return [(_COLOURS[k % len(_COLOURS)], name) for k, name in enumerate(names)]


def _losses(axis: Axes, runs: Mapping[str, Run]) -> None:
    name = "loss" if next(iter(runs.values())).task.whole else "validation_loss"
    for colour, text in _coloured(runs):
        _band(axis, np.maximum(runs[text].history[name], _FLOOR), colour, text)
    axis.set(title=f"{name.replace('_', ' ')} (median, 80 % band)", xlabel="epoch", ylabel="mean cost", yscale="log")
    axis.set_ylim(bottom=max(axis.get_ylim()[0], _FLOOR))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))


def _solved(axis: Axes, runs: Mapping[str, Run]) -> None:
    for k, (colour, text) in enumerate(_coloured(runs)):
        shares = 100 * np.mean(solved_by(runs[text]), 1)
        # Curves that agree lie on each other: the earlier ones are drawn wider.
        axis.plot(np.arange(1, len(shares) + 1), shares, color=colour, lw=1.4 + 0.8 * (len(runs) - 1 - k))
    axis.set(title="seeds solved so far", xlabel="epoch", ylabel="%", ylim=(-3, 103))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))


def _angles(axis: Axes, runs: Mapping[str, Run]) -> None:
    for colour, text in _coloured(runs):
        cosine = runs[text].history["cosine"]
        # Where most seeds have no gradient left, the few others are no median.
        cosine = np.where(np.isfinite(cosine).mean(1, keepdims=True) >= 0.5, cosine, np.nan)
        _band(axis, np.degrees(np.arccos(np.clip(cosine, -1, 1))), colour, text)
    axis.axhline(90, color="grey", ls=":", lw=0.8)
    axis.set(title="angle to the exact gradient", xlabel="epoch", ylabel="degrees")
    axis.set_ylim(bottom=-2)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))


def _band(axis: Axes, values: np.ndarray, colour: str, label: str) -> None:
    epochs = np.arange(1, len(values) + 1)
    known = np.isfinite(values).any(1)
    values, epochs = values[known], epochs[known]
    if not len(values):
        axis.plot([], [], color=colour, lw=1.4, label=label)
        return
    axis.plot(epochs, np.nanmedian(values, 1), color=colour, lw=1.4, label=label)
    if values.shape[1] > 1:
        low, high = np.nanquantile(values, [0.1, 0.9], axis=1)
        axis.fill_between(epochs, low, high, color=colour, alpha=0.12, lw=0)


def _forest(axis: Axes, document: dict[str, Any]) -> None:
    rules = document["rules"]
    solved = all(entry["solved"] is not None for entry in rules.values())
    for k, (colour, text) in enumerate(_coloured(rules)):
        entry = rules[text]
        value = entry["solved"] / entry["seeds"] if solved else entry["test_accuracy"]
        low, high = entry["solved_interval"] if solved else entry["test_accuracy_interval"]
        if np.isfinite([low, high]).all():
            axis.plot([100 * low, 100 * high], [k, k], color=colour, lw=3, alpha=0.5, solid_capstyle="butt")
        axis.plot(100 * value, k, "o", color=colour)
    axis.set_yticks(range(len(rules)), list(rules))
    axis.set_ylim(len(rules) - 0.5, -0.5)
    axis.set(title="solved" if solved else "test accuracy", xlabel="% (with 95 % interval)")
