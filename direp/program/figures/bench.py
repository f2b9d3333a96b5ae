"""The figure of a benchmark: what is compared, as bars, and how the cost of sparse networks grows."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...plot.style import BLUE, GREY, ORANGE, canvas, open_frame


def bench_figure(document: dict[str, Any]) -> Figure:
    """Ratios as bars on a logarithmic axis; and, if measured, seconds over synapses for sparse networks."""
    timings = document["timings"]
    compared = [timing for timing in timings if timing["ratio"] is not None]
    sparse = [timing for timing in timings if timing["part"] == "sparse"]
    panels = [_ratios] * bool(compared) + [_scaling] * bool(sparse)
    figure = canvas(1.0 + 5.6 * max(len(panels), 1), 1.6 + 0.38 * max(len(compared), 6))
    for draw, axis in zip(panels, figure.subplots(1, max(len(panels), 1), squeeze=False)[0], strict=False):
        axis.tick_params(labelsize=8)
        draw(axis, compared if draw is _ratios else sparse)
        open_frame(axis)
    about = document["machine"]
    figure.suptitle(f"{about['processor']}, {about['cores']} cores, {about['date']}", fontsize=9)
    return figure


def _ratios(axis: Axes, compared: list[dict[str, Any]]) -> None:
    names = [f"{timing['name']}\nagainst {timing['against'].split(',')[0]}" for timing in compared]
    bars = axis.barh(names, [timing["ratio"] for timing in compared], color=BLUE)
    axis.bar_label(bars, [f"{timing['ratio']:.3g}" for timing in compared], padding=3, fontsize=8)
    axis.axvline(1, color=GREY, linewidth=1, linestyle=":")
    axis.set(xscale="log", xlabel="times as fast as what it is compared with")
    axis.margins(x=0.2)
    axis.invert_yaxis()
    axis.tick_params(axis="y", labelsize=7)


def _scaling(axis: Axes, sparse: list[dict[str, Any]]) -> None:
    for start, label, colour in (("field", "direp, field evaluation", BLUE), ("SciPy", "SciPy, CSR product", ORANGE)):
        rows = [timing for timing in sparse if timing["name"].startswith(start)]
        synapses = [_count(timing["name"]) for timing in rows]
        axis.plot(synapses, [timing["seconds"] for timing in rows], "o-", color=colour, label=label)
    first = [timing for timing in sparse if timing["name"].startswith("field")][-1]
    most = _count(first["name"])
    line = [most / 1000, most]
    axis.plot(line, [first["seconds"] * n / most for n in line], ":", color=GREY, label="linear")
    axis.set(xscale="log", yscale="log", xlabel="synapses", ylabel="seconds")
    axis.legend(frameon=False, fontsize=8)


def _count(name: str) -> int:
    """The number of synapses in a name such as `field evaluation, 2,000 synapses, 100 units`."""
    before = name.split(" synapses")[0]
    return int(before[before.index(", ") + 2 :].replace(",", ""))
