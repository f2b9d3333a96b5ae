"""The figure of a sweep: for every setting that differs, the validation figure over its values."""

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from ...plot.style import BLUE, LIGHT, ORANGE, canvas, legend_below, open_frame

_ROW = 4  # panels side by side
_FEW = 8  # so many values stand side by side, in place of an axis of numbers


def sweep_figure(document: dict[str, Any]) -> Figure:
    """A panel a setting: a dot for each candidate, its 95 % interval over seeds, the chosen one marked. Numbers over
    decades have a logarithmic axis. Where nothing but seeds differ, a dot for each of them."""
    names = [name for name in document["swept"] if name != "seeds"]
    figure_name = document["objective"].partition("_")[2]
    candidates = document["candidates"]
    rows = -(-max(len(names), 1) // _ROW)
    columns = -(-max(len(names), 1) // rows)
    figure = canvas(max(3.4 * columns, 4.5), 3.2 * rows)
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axis, name in zip(axes.flat, names, strict=False):
        _panel(axis, name, [each["settings"][name] for each in candidates], candidates, figure_name)
    if not names:
        _seeds(axes.flat[0], document, figure_name)
    for axis in axes.flat[max(len(names), 1) :]:
        axis.remove()
    part = "" if document["all_patterns"] else "validation "
    for row in axes:
        row[0].set_ylabel(part + (f"{figure_name} (%)" if figure_name == "accuracy" else f"{figure_name} (mean cost)"))
    values = np.array([line for line in _means(candidates, figure_name) if math.isfinite(line)])
    if figure_name == "loss" and _decades(values):
        axes.flat[0].set_yscale("log")
    seeds = max(each["seeds"] for each in candidates)
    title = f"{_stem(document['task'])}: {len(candidates)} setting{'s' * (len(candidates) > 1)}"
    title += f" (mean of {seeds} seeds, 95 % interval)" if seeds > 1 else ""
    figure.suptitle(title if names else _stem(document["task"]), fontsize=11)
    if names:
        legend_below(figure, *axes.flat[0].get_legend_handles_labels())
    return figure


def _stem(task: str) -> str:
    return task.replace("\\", "/").rpartition("/")[2]


def _means(candidates: list[dict[str, Any]], name: str) -> list[float]:
    scale = 100 if name == "accuracy" else 1
    means = [each["validation"][name]["mean"] for each in candidates]
    return [math.nan if mean is None else scale * mean for mean in means]


def _panel(axis: Axes, name: str, values: list[Any], candidates: list[dict[str, Any]], figure: str) -> None:
    places, labels = _places(values)
    means = _means(candidates, figure)
    scale = 100 if figure == "accuracy" else 1
    for place, each in zip(places, candidates, strict=True):
        interval = each["validation"][figure]["interval"]
        if interval is not None:
            axis.plot([place] * 2, [scale * end for end in interval], color=LIGHT, lw=1, alpha=0.5, zorder=1)
    size = float(np.clip(400 / len(candidates), 10, 45))
    axis.scatter(places[1:], means[1:], s=size, color=BLUE, alpha=0.6, lw=0, label="others", zorder=2)
    axis.scatter(
        places[:1], means[:1], s=90, color=ORANGE, edgecolor="white", linewidth=1, zorder=3, label="chosen",
    )  # fmt: skip
    if labels is not None:
        axis.set_xticks(range(len(labels)), labels)
        axis.set_xlim(-0.6, len(labels) - 0.4)
    elif _decades(np.array(values, float)):
        axis.set_xscale("log")
        near = max(values) < 100 * min(values)
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if near else (1,)))
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_xlabel(name.replace("_", " "))
    open_frame(axis)


def _places(values: list[Any]) -> tuple[list[float], list[str] | None]:
    """Where values stand along the axis: numbers as they are; few, or other ones, side by side, with dots spread
    around each."""
    numbers: list[Any] = [value[0] if isinstance(value, list) and len(value) == 1 else value for value in values]
    plain = all(isinstance(value, int | float) and not isinstance(value, bool) for value in numbers)
    if plain and len({*numbers}) > _FEW:
        return [float(value) for value in numbers], None
    labels = [f"{value:g}" if plain else _label(value) for value in numbers]
    order = dict(zip(labels, numbers, strict=True))
    distinct = sorted(order, key=lambda label: order[label]) if plain else [*order]
    seen = dict.fromkeys(distinct, 0)
    places = []
    for label in labels:
        seen[label] += 1
        # The golden ratio spreads however many there are evenly.
        aside = 0.5 * (seen[label] * 0.6180339887 % 1 - 0.5) if labels.count(label) > 1 else 0.0
        places.append(distinct.index(label) + aside)
    return places, distinct


def _label(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _decades(values: np.ndarray) -> bool:
    return len(values) > 0 and bool((values > 0).all()) and values.max() >= 10 * values.min()


def _seeds(axis: Axes, document: dict[str, Any], name: str) -> None:
    scale = 100 if name == "accuracy" else 1
    each = [seed for entry in document["trials"] for seed in entry.get("per_seed", ())]
    values = [math.nan if seed[name] is None else scale * seed[name] for seed in each]
    axis.scatter([seed["seed"] for seed in each], values, color=BLUE, s=20)
    axis.set_xlabel("seed")
    open_frame(axis)
