"""What a trained network says of every point of a plane."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from .style import BLUE, COLOURS, RED, Place, inches, place, points, tint

_POINTS = 90  # along each side
_MOST = 1000  # samples that are drawn


def decision_map(
    run: Any, ax: Place = None, *, task: Any = None, seed: int | None = None, output: int = 0, title: str = ""
) -> Axes:
    """What the network of a run with two inputs says over the range of its data, in the units of the data.

    Classes have a colour each, the stronger the surer the network is; a single output, one of several labels or a
    number is shown as it is. Samples of the training part are dots. Points that do not settle are marked in black.

    **Arguments:**

    - `run`: a `Run`, or whatever has its `task` and its `predict`.
    - `task`: whose data to cover; by default that of the run. A run that was loaded from its folder alone has none.
    - `seed`: by default the one that does best on validation samples.
    - `output`: which one, where outputs do not stand for classes.
    """
    if task is None and getattr(run, "lost", None):
        raise ValueError("decision_map: the data of a loaded run was not read; give decision_map(run, task=...)")
    task = run.task if task is None else task
    if task.inputs != 2:
        raise ValueError(f"decision_map: task {task.name!r} has {task.inputs} inputs; a plane has two")
    kept = task.preparation
    names = ("first input", "second input") if kept is None or not kept.inputs.named else kept.inputs.names
    if kept is not None and any(column.categories for column in kept.inputs.columns):
        raise ValueError(f"decision_map: task {task.name!r} has a column of words; a plane has two numbers")
    scale, centre = (1.0, 0.0) if kept is None else (kept.inputs.scale, kept.inputs.centre)
    x, y = np.asarray(task.train.x, float) * scale + centre, np.asarray(task.train.y, float)
    low, high = x.min(0), x.max(0)
    margin = 0.1 * np.where(high > low, high - low, 1)
    sides = [np.linspace(a, b, _POINTS) for a, b in zip(low - margin, high + margin, strict=True)]
    grid = np.stack(np.meshgrid(*sides), -1).reshape(-1, 2)
    said = run.predict(grid, seed=seed)
    lost = ~np.asarray(said.settled)
    (axis,) = place(ax, 5.0, 3.9)
    chosen = np.random.default_rng(0).permutation(len(x))[:_MOST]
    draw = _classes if task.kind == "classification" and task.outputs > 1 else _values
    draw(axis, task, sides, said, x[chosen], y[chosen], output)
    note = ""
    if lost.any():
        axis.scatter(*grid[lost].T, s=1, color="black")
        note = f" ({lost.sum()} of {lost.size} points unsettled)"
    axis.set(xlabel=names[0], ylabel=names[1], title=(title or task.name) + note)
    axis.set(xlim=sides[0][[0, -1]], ylim=sides[1][[0, -1]])
    if 0.5 < np.ptp(sides[0]) / np.ptp(sides[1]) < 2:
        axis.set_aspect("equal")
    return axis


def _classes(axis: Axes, task: Any, sides: Any, said: Any, x: np.ndarray, y: np.ndarray, _: int) -> None:
    """A colour a class, mixed with white where two are nearly as strong."""
    outputs = np.asarray(said.outputs, float)
    colours = [COLOURS[k % len(COLOURS)] for k in range(outputs.shape[1])]
    names = task.classes or tuple(map(str, range(outputs.shape[1])))
    best = outputs.argmax(1)
    first, second = np.sort(outputs, 1)[:, -1], np.sort(outputs, 1)[:, -2]
    lead = (first - second) / max(float((first - second).max()), 1e-9)
    shades = np.empty((len(best), 3))
    for k, colour in enumerate(colours):
        shades[best == k] = tint([colour], 0.12 + 0.5 * lead[best == k])
    shape = (len(sides[1]), len(sides[0]))
    axis.pcolormesh(*sides, shades.reshape(*shape, 3), shading="nearest", rasterized=True)
    for k, (colour, name) in enumerate(zip(colours, names, strict=True)):
        if 0 < (best == k).mean() < 1:
            ahead = outputs[:, k] - np.delete(outputs, k, 1).max(1)
            axis.contour(*sides, ahead.reshape(shape), levels=[0], colors="black", linewidths=0.6)
        points(axis, x[y.argmax(1) == k], colour, str(name))
    axis.legend(
        loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=8, title=_target(task), title_fontsize=8
    )


def _values(axis: Axes, task: Any, sides: Any, said: Any, x: np.ndarray, y: np.ndarray, output: int) -> None:
    """One output: between two classes at 1/2, or a number in its own units."""
    shape = (len(sides[1]), len(sides[0]))
    numbers = task.kind == "regression"
    kept = task.preparation
    values, given = np.asarray(said.outputs, float)[:, output], y[:, output]
    if numbers:
        decoded = (lambda outputs: outputs) if kept is None else kept.targets.decode
        values, given = (np.asarray(decoded(v)).reshape(len(v), -1)[:, output] for v in (said.outputs, y))
    low, high = (min(values.min(), given.min()), max(values.max(), given.max())) if numbers else (0, 1)
    look = {"cmap": "viridis" if numbers else "RdBu_r", "vmin": low, "vmax": high}
    image = axis.pcolormesh(*sides, values.reshape(shape), shading="nearest", rasterized=True, **look)
    figure: Any = axis.figure
    names = _target(task).split(", ")
    label = names[output] if output < len(names) and names[output] else "output"
    figure.colorbar(image, ax=axis, label=label if numbers else f"output rate{f', {label}' if names[0] else ''}")
    if numbers:
        axis.scatter(
            *x.T, c=given, s=18, edgecolor="white", linewidth=0.6, zorder=3, cmap="viridis", vmin=low, vmax=high
        )
        return
    if values.min() < 0.5 < values.max():
        axis.contour(*sides, values.reshape(shape), levels=[0.5], colors="black", linewidths=1)
    classes = task.classes if task.kind == "classification" and len(task.classes) == 2 else (0, 1)
    for value, colour in ((0, BLUE), (1, RED)):
        points(axis, x[np.round(given) == value], colour, f"target {classes[value]}")
    axis.legend(
        loc="upper center", bbox_to_anchor=(0, -0.45), bbox_transform=inches(axis, 0.5, 0), ncols=2, frameon=False,
        fontsize=8,
    )  # fmt: skip


def _target(task: Any) -> str:
    """The names of the targets."""
    return "" if task.preparation is None else ", ".join(task.preparation.targets.names)
