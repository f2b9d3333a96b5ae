"""Figures over epochs: of one run, and of several side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .style import (
    BANDS,
    BLUE,
    COLOURS,
    GREEN,
    GREY,
    LIGHT,
    LOSS_FLOOR,
    MIDDLES,
    ORANGE,
    PURPLE,
    RED,
    Place,
    coloured,
    epochs,
    legend_below,
    open_frame,
    place,
)
from .style import band as draw_band

# What a panel is called, its unit, and the figures of an epoch that it shows.
PANELS = {
    "loss": ("loss", "mean cost", {"loss": (BLUE, "training"), "validation_loss": (ORANGE, "validation")}),
    "accuracy": (
        "accuracy", "share correct", {"accuracy": (BLUE, "training"), "validation_accuracy": (ORANGE, "validation")},
    ),
    "margin": ("contraction margin", "1/time", {"lowest_margin": (GREEN, "margin")}),
    "alignment": ("angle to the gradient", "degrees", {"angle": (PURPLE, "rule")}),
    "directed": (
        "how directed", "",
        {"antisymmetry": (BLUE, "antisymmetric share"), "agreement": (ORANGE, "cosine of feedback and weights")},
    ),
}  # fmt: skip
SIDE_BY_SIDE = {
    "validation_loss": ("validation loss", "mean cost"),
    "validation_accuracy": ("validation accuracy", "share correct"),
    "lowest_margin": ("contraction margin", "1/time"),
}


def history_of(run: Any) -> dict[str, np.ndarray]:
    """Figures of every epoch, epochs x seeds each: those of a run, or a mapping of such arrays (or rows); and the angle
    between rule and exact gradient (degrees) where half of the seeds or more have one."""
    history = run if isinstance(run, Mapping) else run.history
    tables = {name: np.asarray(values, float) for name, values in history.items()}
    tables = {name: values[:, None] if values.ndim == 1 else values for name, values in tables.items()}
    if "cosine" in tables:
        cosine = tables["cosine"]
        known = np.isfinite(cosine).mean(1, keepdims=True) >= 0.5  # a few seeds that have a gradient left are no median
        tables["angle"] = np.where(known, np.degrees(np.arccos(np.clip(cosine, -1, 1))), np.nan)
    return tables


def learning_curve(
    run: Any, ax: Place = None, panels: Sequence[str] | None = None, *, band: str = "80%", middle: str = "median"
) -> Any:
    """Loss, accuracy, margin, alignment and directedness over epochs; several seeds as median, band and extremes.

    **Arguments:**

    - `run`: a `Run`, a loaded one, or a mapping from names of `Run.history` to arrays, epochs x seeds.
    - `panels`: some of `loss`, `accuracy`, `margin`, `alignment` (measured by `fit(probe=...)`) and `directed`; by
      default those of which the run tells something, in given axes the first of them.
    - `band`: of the seeds, `"80%"` (of them within it), `"quartiles"` or `"range"`. `middle`: `"median"` or `"mean"`.

    Returns the axes: one where one was given, else an array with one a panel.
    """
    _check("learning_curve", band, middle)
    unknown = [key for key in panels or () if key not in PANELS]
    if unknown:
        raise ValueError(f"learning_curve(panels={unknown}) must be some of {', '.join(map(repr, PANELS))}")
    history, task = history_of(run), getattr(run, "task", None)
    whole = task is not None and task.whole
    lines = {key: _lines(history, PANELS[key][2], whole) for key in PANELS if panels is None or key in panels}
    chosen = [key for key in panels or PANELS if lines[key] or panels]
    chosen = chosen[:1] if isinstance(ax, Axes) else chosen
    axes = place(ax, 3.6 * max(len(chosen), 1), 3.2, max(len(chosen), 1))
    for axis, key in zip(axes, chosen, strict=False):
        title, unit, _ = PANELS[key]
        for name, (colour, label) in lines[key].items():
            draw_band(axis, history[name], colour, label, extremes=True, spread=band, middle=middle)
        axis.set(title=title, ylabel=unit)
        epochs(axis)
        open_frame(axis)
        _finish(axis, key, history, task)
        if len(lines[key]) > 1 or key == "directed":
            axis.legend(frameon=False, fontsize=8, loc="lower right" if key in ("accuracy", "directed") else "best")
    if isinstance(ax, Axes):
        return ax
    seeds, failed = getattr(run, "seeds", None), int(np.sum(getattr(run, "failed", 0)))
    axes[0].figure.suptitle(_title(history, task, seeds, failed, f"{middle}, {_said(band)}"), fontsize=11)
    return axes


def _lines(history: dict[str, np.ndarray], named: dict[str, Any], whole: bool) -> dict[str, Any]:
    """The figures of a panel of which some number is known."""
    return {
        name: look
        for name, look in named.items()
        if name in history and np.isfinite(history[name]).any() and not (whole and name.startswith("validation"))
    }


def _finish(axis: Axes, key: str, history: dict[str, np.ndarray], task: Any) -> None:
    """What belongs to one panel alone: a line to cross, and its limits."""
    if key == "loss" and task is not None and task.solved is not None:
        _mark(axis, 0.05, "solved below", GREY, ":")
    if key == "margin":
        _margin(axis, history.get("lowest_margin", np.zeros((0, 1))))
    if key == "alignment":
        axis.set_ylim(bottom=0)
        if axis.get_ylim()[1] > 85:
            _mark(axis, 90, "ascends above", RED, ":")
    if key == "directed":
        agreement = history.get("agreement", np.zeros((0, 1)))
        axis.set_ylim(min(0, 1.1 * float(np.nanmin(agreement, initial=0))), 1.05)


def _margin(axis: Axes, values: np.ndarray) -> None:
    """From zero on, as what rounding does to a margin that is kept is no news; or with the line to stay above."""
    least, most = np.nanmin(values, initial=np.inf), np.nanmax(values, initial=-np.inf)
    if least <= 0:
        _mark(axis, 0, "not certified below", RED, "-")
    elif np.isfinite([least, most]).all():
        axis.set_ylim(0, max(1.3 * float(most), 1e-3))


def _mark(axis: Axes, level: float, text: str, colour: str, style: str) -> None:
    axis.axhline(level, color=colour, ls=style, lw=1)
    axis.annotate(
        text, (1, level), xycoords=("axes fraction", "data"), ha="right", va="bottom", color=colour, fontsize=8
    )


def _check(who: str, band: str, middle: str) -> None:
    for name, given, known in (("band", band, BANDS), ("middle", middle, MIDDLES)):
        if given not in known:
            raise ValueError(f"{who}({name}={given!r}) must be one of {', '.join(map(repr, known))}")


def _said(band: str) -> str:
    return {"80%": "80 % band, extremes", "quartiles": "quartiles, extremes"}.get(band, band)


def _title(history: dict[str, np.ndarray], task: Any, seeds: Any, failed: int, shown: str) -> str:
    count = max((values.shape[1] for values in history.values()), default=0)
    if seeds is not None and count <= 1:
        about = "seed " + ", ".join(map(str, seeds))
    else:
        fewer = f", of which {failed} failed" if failed else ""
        about = f"{count} seeds{fewer}: {shown}" if count > 1 else ""
    name = "" if task is None else task.name
    return f"{name} ({about})" if name and about else name or about


def learning_curves(
    runs: Mapping[str, Any],
    ax: Place = None,
    figures: Sequence[str] | None = None,
    *,
    band: str = "80%",
    middle: str = "median",
) -> Any:
    """Several runs side by side: a panel a figure, a colour a run, the median of its seeds and an 80 % band.

    **Arguments:**

    - `runs`: by name, each as in `learning_curve`.
    - `figures`: names of `Run.history`; by default loss and accuracy on validation samples and the contraction margin,
      those of which some run tells something. `angle` is that of rule and exact gradient, in degrees.
    - `band`, `middle`: as in `learning_curve`.

    Losses have a logarithmic axis, which ends at 1e-6: lower ones are drawn there. A run that does not know a figure
    has no line there. Returns the axes: one where one was given, and then without a legend; else an array, with one
    legend below.
    """
    _check("learning_curves", band, middle)
    histories = {name: history_of(run) for name, run in runs.items()}
    known = [name for name in SIDE_BY_SIDE if any(np.isfinite(h.get(name, np.nan)).any() for h in histories.values())]
    names = [*(figures or known or SIDE_BY_SIDE)]
    names = names[:1] if isinstance(ax, Axes) else names
    axes = place(ax, 3.8 * len(names), 3.2, len(names))
    for axis, name in zip(axes, names, strict=True):
        title, unit = {**SIDE_BY_SIDE, "angle": PANELS["alignment"][:2]}.get(name, (name.replace("_", " "), ""))
        for k, (colour, label) in enumerate(coloured(histories)):
            values = histories[label].get(name, np.zeros((0, 1)))
            values = np.maximum(values, LOSS_FLOOR) if name.endswith("loss") else values
            # Margins that a control keeps are alike and lie on each other: the earlier ones are drawn wider.
            width = 1.5 + (4.0 * (1 - (k + 1) / len(histories)) if name == "lowest_margin" else 0)
            style = ("-", "--", ":", "-.")[k // len(COLOURS) % 4]
            draw_band(axis, values, colour, label, spread=band, middle=middle, ls=style, lw=width)
        axis.set(title=title, ylabel=unit)
        _scale(axis, name)
        epochs(axis)
        open_frame(axis)
    if isinstance(ax, Axes):
        return ax
    legend_below(_figure(axes[0]), *axes[0].get_legend_handles_labels())
    return axes


def _scale(axis: Axes, name: str) -> None:
    known = np.concatenate([np.zeros(0), *(np.asarray(line.get_ydata(), float) for line in axis.lines)])
    if not known.size:
        axis.text(0.5, 0.5, "not measured", ha="center", va="center", color=LIGHT, transform=axis.transAxes)
    elif name.endswith("loss"):
        axis.set_yscale("log")
        axis.set_ylim(bottom=max(axis.get_ylim()[0], LOSS_FLOOR))
        if (known <= LOSS_FLOOR).any():
            axis.set_ylabel(f"{axis.get_ylabel()} (at the bottom: {LOSS_FLOOR:g} or less)".strip())
    elif name == "lowest_margin":
        _margin(axis, known)


def _figure(axis: Axes) -> Figure:
    figure = axis.figure
    assert isinstance(figure, Figure)
    return figure
