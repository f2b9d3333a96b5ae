"""How much of the region in which the local rule descends is proved: one and two hidden units, against an oracle.

python benchmarks/region.py        # prints a Markdown table, draws docs/images/region_*.png; about two minutes
"""

import sys
import time
from pathlib import Path

import jax
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

import direp
from direp.certificates.region.box import Box
from direp.certificates.region.region import Region, certify_region

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests"))
from region_oracle import settled_sign  # noqa: E402

COLOURS = {"proved": "#3b6fb6", "refuted": "#d1742f", "flat": "#3a8f5c", "edge": "#a9d0ba", "undecided": "#ffffff"}
PIXELS = 100


def one_hidden(outflow: str) -> Box:
    """Forward and backward weight, the hidden leak and the input vary."""
    graph = direp.Graph.complete(1, 1, 1)
    forth, back = ((-1.5, 1.5), (-1.5, 1.5)) if outflow == "none" else ((-0.4, 1.25), (-0.5, 2.5))
    bias, leak_o = (0.2, 3.0) if outflow == "none" else (0.0, 2.0)
    ends = [
        direp.Network(
            graph, direp.Projected(outflow=outflow), np.array([[0.3, 1.0], [0, forth[k]], [back[k], 0]]),
            leak=[(0.5, 0.7)[k], leak_o], bias=bias,
        )
        for k in (0, 1)
    ]  # fmt: skip
    x = (0.7, 1.0) if outflow == "none" else (0.4, 0.5)
    return Box(*ends, [x[0]], [x[1]])


def two_hidden(outflow: str) -> Box:
    """Both feedback weights and both lateral weights vary."""
    graph = direp.Graph.complete(1, 2, 1)
    back, side = ((-1.5, 1.5), (-0.5, 0.5)) if outflow == "none" else ((-0.5, 2.5), (-0.25, 0.5))
    forth = (0.8, 0.5) if outflow == "none" else (0.6, -0.3)
    ends = [
        direp.Network(
            graph, direp.Projected(outflow=outflow),
            np.array([[0.4, 0.3, 1.0], [0, side[k], forth[0]], [side[k], 0, forth[1]], [back[k], back[k], 0]]),
            leak=[1.0, 1.0, 3.0 if outflow == "none" else 2.0], bias=0.2 if outflow == "none" else 0.05,
        )
        for k in (0, 1)
    ]  # fmt: skip
    return Box(*ends, [0.8], [0.8])


CASES = {"one_hidden": (one_hidden, (0, 1), ("forward weight f", "backward weight b")),
         "two_hidden": (two_hidden, (2, 3), ("feedback to h0", "feedback to h1"))}  # fmt: skip


def truth(box: Box, values: np.ndarray) -> np.ndarray:
    """1 where the rule descends, -1 where it ascends, 0 without gradient, NaN where it did not settle."""
    flat = np.repeat(box.least[None], len(values), 0)
    flat[:, box.varying] = values
    network, graph = box.low, box.low.graph
    weight, bias, leak, x = np.split(flat, np.cumsum([graph.units * graph.free, graph.free, graph.free]), 1)
    cosine, good, _ = settled_sign(
        "projected", "identity", network.neuron.outflow.name, graph.adjacency(), graph.bias,
        weight.reshape(-1, graph.units, graph.free), bias, leak, x,
    )  # fmt: skip
    return np.where(good, np.nan_to_num(np.sign(cosine)), np.nan)


def measure(name: str, outflow: str) -> Region:
    box = CASES[name][0](outflow)
    begun = time.process_time()
    region = certify_region(box)
    seconds = time.process_time() - begun
    rng = np.random.default_rng(0)
    low, high = box.least[box.varying], box.most[box.varying]
    values = low + (high - low) * rng.random((50_000, len(low)))
    sign, found = truth(box, values), region.find(values)
    reliable = sign > 0
    wrong = int(((found == "proved") & (sign <= 0)).sum() + ((found == "refuted") & (sign >= 0)).sum())
    shares = " | ".join(f"{100 * region.shares[k]:.2f}" for k in ("proved", "refuted", "flat", "edge", "undecided"))
    label = f"{name.replace('_', ' ')}, {outflow}"
    print(
        f"| {label} | {', '.join(region.coordinates)} | {region.effort:,} | {seconds:.1f} | "
        f"{shares} | {100 * region.captured:.1f} | {100 * (found == 'proved')[reliable].mean():.1f} | {wrong} |",
        flush=True,
    )
    return region


def raster(region: Region, axes: tuple[int, int], grid: list[np.ndarray]) -> np.ndarray:
    """For each pixel of a plane the share of each verdict along all other coordinates."""
    size = (region.box.most - region.box.least)[region.box.varying]
    out = []
    for name in COLOURS:
        low, high = region.boxes[name]
        volume = np.delete((high - low) / size, axes, 1).prod(1)
        spans = [
            (np.searchsorted(g, low[:, a]), np.searchsorted(g, high[:, a])) for g, a in zip(grid, axes, strict=True)
        ]
        total = np.zeros((PIXELS + 1, PIXELS + 1))
        for sign, i, j in ((1, 0, 0), (-1, 0, 1), (-1, 1, 0), (1, 1, 1)):
            np.add.at(total, (spans[0][i], spans[1][j]), sign * volume)
        out.append(total.cumsum(0).cumsum(1)[:-1, :-1])
    return np.stack(out, -1)


def dense(box: Box, axes: tuple[int, int], grid: list[np.ndarray], each: int = 6) -> np.ndarray:
    """The same from the oracle, on a dense grid."""
    low, high = box.least[box.varying], box.most[box.varying]
    lines = [low[k] + (high[k] - low[k]) * (np.arange(each) + 0.5) / each for k in range(len(low))]
    for a, line in zip(axes, grid, strict=True):
        lines[a] = line
    mesh = np.stack(np.meshgrid(*lines, indexing="ij"), -1)
    sign = np.concatenate([truth(box, part) for part in np.array_split(mesh.reshape(-1, len(low)), 24)])
    sign = np.moveaxis(sign.reshape(mesh.shape[:-1]), axes, (0, 1)).reshape(PIXELS, PIXELS, -1)
    one = [(sign > 0), (sign < 0), (sign == 0), np.zeros_like(sign, bool), np.isnan(sign)]
    return np.stack([part.mean(-1) for part in one], -1)


def draw(name: str, regions: dict[str, Region]) -> Figure:
    _, axes, labels = CASES[name]
    figure = Figure(figsize=(8.2, 8.0), layout="constrained")
    panels = figure.subplots(2, 2)
    palette = np.array([to_rgb(colour) for colour in COLOURS.values()])
    for column, (outflow, region) in enumerate(regions.items()):
        low, high = region.box.least[region.box.varying], region.box.most[region.box.varying]
        grid = [low[a] + (high[a] - low[a]) * (np.arange(PIXELS) + 0.5) / PIXELS for a in axes]
        seen, known = dense(region.box, axes, grid), raster(region, axes, grid)
        for row, (shares, title) in enumerate(((seen, "measured on a grid"), (known, "proved"))):
            axis = panels[row, column]
            extent = (low[axes[0]], high[axes[0]], low[axes[1]], high[axes[1]])
            axis.imshow(
                np.clip(np.swapaxes(shares @ palette, 0, 1), 0, 1), origin="lower", extent=extent, aspect="auto"
            )
            for share, style in ((seen[..., 1], "-"), (seen[..., 0] + seen[..., 2], "--")):
                if share.max() > 0.05 > share.min():
                    axis.contour(*grid, share.T, levels=[0.05], colors="white", linewidths=1.2, linestyles=style)
            axis.set(xlabel=labels[0], ylabel=labels[1], title=f"outflow {outflow}: {title}")
    names = ("descends", "ascends", "no gradient", "descends or no gradient", "open")
    handles = [Patch(facecolor=c, edgecolor="grey", label=n) for c, n in zip(COLOURS.values(), names, strict=True)]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    others = ", ".join(n for k, n in enumerate(next(iter(regions.values())).coordinates) if k not in axes)
    figure.suptitle(
        f"Colours mix by their shares over {others}. White lines, measured: where 5 % of these\n"
        "ascend (solid) and where 5 % still do not (dashed)", fontsize=10,
    )  # fmt: skip
    return figure


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    print("| box | what varies | boxes | CPU s | proved % | refuted % | no gradient % | edge % | open % | bracket % | "
          "of the reliable % | wrong |")  # fmt: skip
    print("|" + "---|" * 12)
    for name in CASES:
        regions = {outflow: measure(name, outflow) for outflow in ("none", "signed")}
        draw(name, regions).savefig(ROOT / "docs" / "images" / f"region_{name}.png", dpi=110)


if __name__ == "__main__":
    main()
