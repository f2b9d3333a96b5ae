"""Where networks came to rest, and the ways there."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from .style import (
    BLUE,
    COLOURS,
    EMPTY,
    GREY,
    LIGHT,
    ORANGE,
    PURPLE,
    RED,
    WARM,
    Place,
    beside,
    coloured,
    inches,
    open_frame,
    place,
)

_FEW = 60  # rows with a bar each
_ENDS = {"converged": BLUE, "steps exhausted": ORANGE, "non-finite": RED, "cycling": PURPLE}


def settling(settled: Any, ax: Place = None, title: str = "") -> Axes:
    """The rates of all units (columns) at which samples (rows) came to stand; beside them how many steps each sample
    took, in the colour of how it ended."""
    rate = np.asarray(settled.rate, float)
    rate = rate.reshape(-1, rate.shape[-1])
    steps, ends = np.asarray(settled.steps).ravel(), settled.ends
    count, units = rate.shape
    (axis,) = place(ax, float(np.clip(0.3 * units, 3.6, 7)) + 2.4, float(np.clip(0.22 * count, 2.4, 6)) + 1.2)
    shown = np.where(np.isfinite(rate), rate, np.nan)
    least, most = np.nanmin(shown, initial=0), np.nanmax(shown, initial=1e-9)
    signed = least < 0
    limit = max(-least, most)
    look = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit} if signed else {"cmap": WARM, "vmin": 0, "vmax": most}
    image = axis.imshow(shown, aspect="auto", interpolation="nearest", **look)
    axis.set_facecolor(EMPTY)
    axis.set(xlabel="free unit", ylabel="sample")
    axis.set_title(title or settled.summary().split("; ")[0], fontsize=10, x=0, ha="left")  # over the bars, too
    for side, size in ((axis.xaxis, units), (axis.yaxis, count)):
        if size <= 20:
            side.set_ticks(range(size))
    bars = beside(axis, 0.12, 1.1, sharey=axis)
    colours = np.full(count, GREY, object)
    for name, rows in ends.items():
        colours[rows] = _ENDS.get(name, GREY)
    bars.barh(np.arange(count), np.maximum(steps, 0), height=0.8 if count <= _FEW else 1.0, color=colours.tolist())
    bars.tick_params(labelleft=False, left=count <= _FEW)
    bars.set(xlabel="steps", xlim=(0, max(1.05 * float(steps.max(initial=1)), 1)))
    bars.xaxis.set_major_locator(MaxNLocator(2, integer=True, prune="lower"))  # zero would meet the last unit
    open_frame(bars)
    figure: Any = axis.figure
    figure.colorbar(image, cax=beside(axis, 1.4, 0.16), label="rate")
    _name_ends(axis, ends)
    return axis


def _name_ends(axis: Axes, ends: dict[str, np.ndarray]) -> None:
    """What the colours of the bars say, where not all samples settled."""
    if [*ends] in ([], ["converged"]):
        return
    handles = [Line2D([], [], color=_ENDS.get(name, GREY), lw=5) for name in ends]
    names = [f"{rows.sum()} {name}" for name, rows in ends.items()]
    axis.legend(
        handles, names, loc="upper left", bbox_to_anchor=(0, -0.5), bbox_transform=inches(axis, 0, 0), borderaxespad=0,
        ncols=2, frameon=False, fontsize=8, handlelength=0.8,
    )  # fmt: skip


def trajectory(
    paths: Any, ax: Place = None, *, sample: int = 0, times: Any = None, units: Sequence[int] | None = None
) -> Axes:
    """States of free units over time, one phase after the other, each on its own clock until nothing is seen to move.

    **Arguments:**

    - `paths`: what `direp.trajectory` returns: with a rule several phases, else an array (time x batch x free), which
      `times` belong to.
    - `sample`: which one of the batch. `units`: some free units, by number; by default all. Up to eight have a colour
      each; of more, outputs do.
    """
    phases = _phases(paths, times)
    names = [str(name) for name in getattr(paths, "units", range(next(iter(phases.values()))[1].shape[-1]))]
    chosen = list(range(len(names))) if units is None else [int(k) for k in units]
    samples = next(iter(phases.values()))[1].shape[1]
    for what, count, given in (("sample", samples, [sample]), ("units", len(names), chosen)):
        if any(not 0 <= k < count for k in given):
            raise ValueError(
                f"plot.trajectory({what}={given[0] if what == 'sample' else given}): there are {count}, from 0 on"
            )
    first_output = len(names) - getattr(paths, "outputs", 0)
    colours = _unit_colours(chosen, first_output)
    (axis,) = place(ax, 3.2 + 1.9 * len(phases), 3.6)
    begin, ticks, labels = 0.0, [], []
    shown = {name: _moving(time, states[:, sample][:, chosen]) for name, (time, states) in phases.items()}
    width = max(float(phases[name][0][last]) for name, last in shown.items()) or 1.0
    for number, (name, (time, states)) in enumerate(phases.items()):
        last = shown[name]
        length = float(time[last]) or 1.0
        stretch = width / length  # every phase has the same room
        at = begin + stretch * time[: last + 1]
        for k in chosen:
            strong = k in colours
            axis.plot(
                at, states[: last + 1, sample, k], color=colours.get(k, LIGHT), lw=1.8 if strong else 0.7,
                zorder=3 if strong else 2, label=names[k] if strong and not number else None,
            )  # fmt: skip
        if number:
            axis.axvline(begin, color=GREY, lw=0.8, ls=":")
        axis.annotate(
            name, (begin + width / 2, 1.01), xycoords=("data", "axes fraction"), ha="center", va="bottom", fontsize=8
        )
        ticks += [begin + 0.5 * width, begin + width]
        labels += [f"{0.5 * length:.2g}", f"{length:.2g}" + (" | 0" if number < len(phases) - 1 else "")]
        begin += width
    if len(colours) < len(chosen):
        axis.plot([], [], color=LIGHT, lw=0.7, label="others")
    axis.set_xticks(ticks, labels, fontsize=7)
    axis.set(xlim=(0, begin), xlabel="time in the phase", ylabel="state")
    open_frame(axis)
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8, handlelength=1.2)
    return axis


def _phases(paths: Any, times: Any) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Times and states (time x batch x free) of every phase, by name."""
    if hasattr(paths, "phases"):
        return {name: (np.asarray(p.times, float), np.asarray(p.states, float)) for name, p in paths.phases.items()}
    states = np.asarray(paths, float)
    if states.ndim != 3:
        raise ValueError(f"plot.trajectory(paths=...) has shape {states.shape}; needed is time x batch x free")
    return {"": (np.arange(len(states), dtype=float) if times is None else np.asarray(times, float), states)}


def _unit_colours(chosen: list[int], first_output: int) -> dict[int, str]:
    strong = chosen if len(chosen) <= len(COLOURS) else [k for k in chosen if k >= first_output][: len(COLOURS)]
    return {k: colour for colour, k in coloured(strong)}


def _moving(times: np.ndarray, states: np.ndarray) -> int:
    """The last time that is worth showing: a bit after everything is within a hundredth of its end."""
    away = np.abs(states - states[-1]).max(1, initial=0)
    moving = np.flatnonzero(away > 0.01 * max(float(np.ptp(states, axis=0).max(initial=0)), 1e-12))
    last = int(1.25 * moving[-1]) + 1 if len(moving) else len(times) - 1
    return min(max(last, min(4, len(times) - 1)), len(times) - 1)
