"""Axes to draw in, and what many of them hold: epochs, and bands over seeds."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation, blended_transform_factory

Place = Axes | Figure | None
"""Where to draw: in given axes; in an empty `Figure`, which is then filled; by default in a new figure of pyplot."""

LOSS_FLOOR = 1e-6  # a lower loss is drawn here: it is no news, and zero has no logarithm


def canvas(width: float = 6.4, height: float = 4.8) -> Figure:
    """A figure that no window knows."""
    return Figure(figsize=(width, height), layout="constrained")


def place(ax: Place, width: float, height: float, columns: int = 1) -> np.ndarray:
    """So many axes side by side: those given, or new ones in a figure of this size (inches)."""
    if isinstance(ax, Axes):
        return np.array([ax], object)
    if ax is None:
        import matplotlib.pyplot as plt  # here alone, as it chooses a window system

        ax = plt.figure(figsize=(width, height), layout="constrained")
    else:
        ax.set_size_inches(width, height)
    return ax.subplots(1, columns, squeeze=False)[0]


def inches(axis: Axes, x: float, y: float) -> Any:
    """Coordinates in inches from a point of the axes, such as (1, 0), the lower right corner."""
    figure: Any = axis.figure
    corner: Any = axis.transAxes
    return figure.dpi_scale_trans + ScaledTranslation(x, y, corner)


def beside(axis: Axes, start: float, width: float, **more: Any) -> Axes:
    """Axes to the right of others, as high as these: from `start` on, in inches, which a layout can reckon with."""
    place = blended_transform_factory(inches(axis, 1, 0), axis.transAxes)
    return axis.inset_axes((start, 0, width, 1), transform=place, **more)


def below(axis: Axes, start: float, height: float, **more: Any) -> Axes:
    """Axes below others, as wide as these: from `start` inches on."""
    place = blended_transform_factory(axis.transAxes, inches(axis, 0, 0))
    return axis.inset_axes((0, -start - height, 1, height), transform=place, **more)


_UNDATED: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}


def save(figure: Figure, path: Path, formats: Sequence[str] = ("png",)) -> None:
    """Write a figure under this name, once in every format; the same figure gives the same file. A file is begun when
    all of it is drawn."""
    for kind in formats:
        path.with_suffix(f".{kind}").write_bytes(written(figure, kind))


def written(figure: Figure, kind: str) -> bytes:
    """The content of such a file."""
    file = io.BytesIO()
    with rc_context({"svg.hashsalt": "direp"}):
        figure.savefig(file, format=kind, dpi=130, metadata=_UNDATED.get(kind))
    return file.getvalue()


def open_frame(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)


def epochs(axis: Axes) -> None:
    """Epochs along the axis."""
    axis.set_xlabel("epoch")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5, min_n_ticks=1))


BANDS = {"80%": (0.1, 0.9), "quartiles": (0.25, 0.75), "range": (0.0, 1.0)}
MIDDLES = {"median": np.nanmedian, "mean": np.nanmean}


def band(
    axis: Axes,
    values: np.ndarray,
    colour: str,
    label: str,
    *,
    extremes: bool = False,
    spread: str = "80%",
    middle: str = "median",
    **line: Any,
) -> None:
    """Over epochs (rows) the median or mean of all seeds (columns), a band (one of `BANDS`, by quantiles) and, if
    asked, the extremes; what is not known is left out."""
    known = np.isfinite(values).any(1)
    values, at = values[known], np.arange(1, len(values) + 1)[known]
    marker = "o" if len(values) == 1 else None  # one point makes no line
    centre = MIDDLES[middle](values, 1) if len(values) else []
    look: dict[str, Any] = {"lw": 1.5} | line
    axis.plot(at, centre, color=colour, marker=marker, label=label, **look)
    if len(values) and values.shape[1] > 1:
        low, high = np.nanquantile(values, BANDS[spread], axis=1)
        axis.fill_between(at, low, high, color=colour, alpha=0.18, lw=0)
        for most in (np.nanmin, np.nanmax) if extremes else ():
            axis.plot(at, most(values, 1), color=colour, lw=0.5, alpha=0.6)


def points(axis: Axes, at: np.ndarray, colour: Any, label: str = "", **more: Any) -> None:
    """Samples as dots with a white rim, the smaller the more there are."""
    size = float(np.clip(280 / max(len(at), 1), 9, 70))
    rim = 1.5 if size > 30 else 0.5
    axis.scatter(*at.T, s=size, color=colour, edgecolor="white", linewidth=rim, label=label, zorder=3, **more)


def discs(axis: Axes, centre: np.ndarray, radius: np.ndarray, colour: str, label: str) -> None:
    """Discs of the complex plane with real centres, the fainter the more there are."""
    many = len(centre) > 40
    place: dict[str, Any] = {
        "units": "xy", "offsets": np.stack([centre, 0 * centre], 1), "offset_transform": axis.transData,
    }  # fmt: skip
    for look in ({"facecolor": colour, "alpha": min(0.12, 3 / len(centre))},
                 {"facecolor": "none", "alpha": 0.25 if many else 0.8, "lw": 0.8}):  # fmt: skip
        size = (2 * radius, 2 * radius, np.zeros_like(radius))
        axis.add_collection(EllipseCollection(*size, edgecolor=colour, **look, **place))
    axis.plot([], [], "o", mfc="none", mec=colour, ms=9, label=label)
