"""The tables and the figure of `sharpness.py`."""

import math
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from sharpness_networks import TIMES_EDGE, Ensemble
from sharpness_simulation import INPUTS, STARTS

import direp

CRITERIA = ("local leak", "rows", "Perron", "spectral", "symmetric", "circle", "LMI", "vertices")


@dataclass
class Verdicts:
    """How one network fared."""

    scale: float  # of its weights, in units of the edge
    proved: dict[str, float]  # criterion to rate
    outcome: str
    refuted: bool  # by the library's own search
    helped: bool  # by it, given the inputs at which the simulation did not settle

    @property
    def settles(self) -> bool:
        return self.outcome in ("one", "slow")


def wilson(hits: int, count: int, z: float = 1.96) -> tuple[float, float]:
    share, scale = hits / count, 1 + z**2 / count
    centre = (share + z**2 / (2 * count)) / scale
    half = z * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / scale
    return max(centre - half, 0.0), min(centre + half, 1.0)


def applies(name: str, ensemble: Ensemble) -> bool:
    """Whether a criterion is tried at all: of states in a box, and of many units, some are not."""
    free = name not in ("circle", "vertices") or not ensemble.neuron.bounded
    return free and (name != "vertices" or ensemble.units <= direp.Vertices().up_to)


def row(ensemble: Ensemble, edge: float, networks: list[Verdicts]) -> str:
    count = len(networks)
    shares = [
        sum(name in each.proved for each in networks) / count if applies(name, ensemble) else math.nan
        for name in CRITERIA
    ]
    shares += [np.mean([bool(each.proved) for each in networks]), np.mean([each.settles for each in networks])]
    settling = [each for each in networks if each.settles]
    proved = sum(bool(each.proved) for each in settling)
    low, high = wilson(proved, len(settling)) if settling else (0.0, 1.0)
    of_these = f"{proved} of {len(settling)} ({low:.0%} to {high:.0%})"
    refuted = np.mean([each.refuted for each in networks])
    numbers = " | ".join("-" if math.isnan(share) else f"{share:.0%}" for share in shares)
    return (
        f"| {ensemble.label} | {ensemble.units} | {ensemble.density:g} | {ensemble.inhibitory:g} | {edge:.2g} "
        f"| {count} | {numbers} | {of_these} | {refuted:.0%} |"
    )


def remarks(results: dict[Ensemble, list[Verdicts]]) -> list[str]:
    """What was counted over all ensembles."""
    every = [each for networks in results.values() for each in networks]

    def count(one: str, other: str) -> str:
        both = sum(one in each.proved for each in every)
        lost = sum(one in each.proved and other not in each.proved for each in every)
        return f"{lost} of {both}"

    slow = sum(each.outcome == "slow" for each in every)
    open_ = sum(each.settles and not each.proved and not each.refuted for each in every)
    hidden = sum(each.settles and each.refuted for each in every)
    unproved = sum(not each.settles and not each.refuted for each in every)
    ties = sum("LMI" in each.proved and "Perron" not in each.proved for each in every)
    named = sum(not each.settles and not each.refuted and each.helped for each in every)
    low, high = TIMES_EDGE[[0, -1]]
    return [
        f"- Leak 1; weights of size |N(0, 1)| times {low:g} to {high:g} edges, {len(TIMES_EDGE)} values equally often. "
        "The edge of an ensemble is the scale at which half of its networks lose the stability of their unsaturated "
        "state (where nothing can, that of the same ensemble without outflow). Every unit has an input of its own.",
        f"- Seen to settle: to one equilibrium from {STARTS} random starts at each of {INPUTS} inputs, one of them the "
        "worst that was found; no proof, and at most too high. Refuted: by the library's own search. Any: "
        "compartmental too.",
        f"- {len(every)} networks. Nothing that is proved was seen not to settle, and nothing that is proved was "
        "refuted (the script stops if so).",
        "- Proved by the first and not by the second (of those proved by the first): "
        f"local leak, Perron: {count('local leak', 'Perron')}; rows, Perron: {count('rows', 'Perron')}; "
        f"symmetric, LMI: {count('symmetric', 'LMI')}; Perron, LMI: {count('Perron', 'LMI')}. "
        f"LMI proves {ties} that Perron does not. Perron, spectral: {count('Perron', 'spectral')}; spectral, LMI: "
        f"{count('spectral', 'LMI')}; LMI, circle: {count('LMI', 'circle')}. Vertices: up to 8 units.",
        f"- Seen to settle, neither proved nor refuted: {open_}. Seen to settle at all inputs tried, yet refuted by "
        f"the library's search: {hidden}. Seen not to settle, yet not refuted: {unproved}, of which {named} are "
        "refuted once the search is given the simulation's inputs. Still slowing down when the simulation ended, and "
        f"counted as settling: {slow}.",
    ]


def draw(results: dict[Ensemble, list[Verdicts]]) -> Figure:
    """Shares against the weight scale: a panel an ensemble, a line a criterion, and what in fact settles."""
    # The wide ones below, so that lines which coincide can all be seen.
    styles = {
        "LMI": ("#3b6fb6", "-", 3.4),
        "circle": ("#1f9aa8", (0, (4, 1.6)), 1.9),
        "spectral": ("#b6547f", "-", 1.9),
        "Perron": ("#3a8f5c", "-", 3.4),
        "symmetric": ("#8a63b0", (0, (5, 1.4, 1, 1.4)), 1.7),
        "rows": ("#e0b25c", "-", 3.4),
        "local leak": ("#a8431f", (0, (1, 1.2)), 1.7),
    }
    shown = {ensemble: networks for ensemble, networks in results.items() if ensemble.panel}
    figure = Figure(figsize=(8.4, 6.0), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True, sharey=True)
    for axis, (ensemble, networks) in zip(axes.flat, shown.items(), strict=True):
        at = [[each for each in networks if each.scale == g] for g in TIMES_EDGE]
        settled = [sum(each.settles for each in group) for group in at]
        bounds = np.array([wilson(hits, len(group)) for hits, group in zip(settled, at, strict=True)]).T
        axis.fill_between(TIMES_EDGE, *bounds, color="#9aa0a6", alpha=0.25, lw=0)
        for name, (colour, dashes, width) in styles.items():
            share = [np.mean([name in each.proved for each in group]) for group in at]
            axis.plot(TIMES_EDGE, share, color=colour, ls=dashes, lw=width, label=f"proved: {name}")
        seen = np.divide(settled, [len(group) for group in at])
        axis.plot(TIMES_EDGE, seen, "o-", color="#202124", lw=1.0, ms=3.5, label="seen to settle (95 % band)", zorder=4)
        axis.set_title(ensemble.panel, fontsize=10)
        axis.set(ylim=(-0.04, 1.04), xlim=(0.1, 1.55), xticks=(0.25, 0.5, 0.75, 1.0, 1.25, 1.5))
        axis.spines[["top", "right"]].set_visible(False)
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    for axis in axes[-1]:
        axis.set_xlabel("size of the weights, in units of the edge")
    for axis in axes[:, 0]:
        axis.set_ylabel("share of networks")
    units = {f"{ensemble.units} units" for ensemble in shown}
    figure.suptitle(f"Random networks of {', '.join(units)}, complete graph, leak 1", fontsize=11)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, fontsize=9, loc="outside lower center", ncols=3)
    return figure
