"""How sharp are the certificates? Random networks around the edge: how many are proved, how many settle.

python benchmarks/sharpness.py                  # the tables of docs/results.md and docs/images/sharpness.png
python benchmarks/sharpness.py --networks 20    # fewer networks an ensemble
python benchmarks/sharpness.py --quick          # a minute, for a look; writes no figure unless --figure names one

The Markdown goes to standard output, progress to standard error. It stops with an error if a proof is contradicted:
by a simulation, by a counter-example, or by a sharper criterion that fails where a coarser one proves.
"""

import argparse
import dataclasses
import math
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from matplotlib.figure import Figure

import direp
from direp.certificates.convergence.cascade import CASCADE
from direp.certificates.convergence.system import System
from direp.program.build import arguments, load_task
from direp.program.presets import preset

TIMES_EDGE = np.round(np.arange(0.15, 1.51, 0.15), 2)  # weights, in units of the ensemble's edge
CRITERIA = ("local leak", "rows", "Perron", "symmetric", "LMI")
STARTS, INPUTS = 32, 8


@dataclass(frozen=True)
class Ensemble:
    """Random networks: every synapse exists with probability `density` and is inhibitory with another."""

    kind: str
    outflow: str
    units: int
    density: float
    inhibitory: float
    panel: str = ""  # title of its panel in the figure; such ensembles have more networks

    @property
    def neuron(self) -> direp.Projected | direp.Rate:
        if self.kind == "Rate":
            return direp.Rate(direp.activation.tanh, outflow=self.outflow)
        return direp.Projected(outflow=self.outflow)

    @property
    def label(self) -> str:
        name = "Rate(tanh)" if self.kind == "Rate" else self.kind
        return f"`{name}`" if self.outflow == "none" else f"`{name}`, {self.outflow} outflow"

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Weights of size |N(0, 1)|; entry (i, j) is that from unit i to unit j."""
        shape = (self.units, self.units)
        sign = np.where(rng.random(shape) < self.inhibitory, -1.0, 1.0)
        weight = np.where(rng.random(shape) < self.density, sign * np.abs(rng.normal(size=shape)), 0.0)
        np.fill_diagonal(weight, 0.0)
        return weight

    def edge(self) -> float:
        """The weight scale at which half of the networks with leak 1 lose the stability of their unsaturated state."""
        scales = []
        for k in range(400):
            weight = self.draw(np.random.default_rng((1, k)))
            lost = weight.sum(1) if self.outflow == "signed" else np.zeros(self.units)
            growth = np.linalg.eigvals(weight.T - np.diag(lost)).real.max()
            scales.append(1 / growth if growth > 1e-9 else math.inf)
        return float(np.median(scales))


ENSEMBLES = (
    Ensemble("Projected", "none", 5, 1.0, 0.0),
    Ensemble("Projected", "none", 5, 1.0, 0.5),
    Ensemble("Projected", "none", 10, 1.0, 0.0, "Projected, excitatory"),
    Ensemble("Projected", "none", 10, 1.0, 0.5, "Projected, half inhibitory"),
    Ensemble("Projected", "none", 10, 1.0, 1.0),
    Ensemble("Projected", "none", 20, 0.2, 0.5),
    Ensemble("Projected", "none", 20, 1.0, 0.5),
    Ensemble("Projected", "signed", 10, 1.0, 0.0),
    Ensemble("Projected", "signed", 10, 1.0, 0.5, "Projected, signed outflow, half inhibitory"),
    Ensemble("Projected", "signed", 10, 0.2, 0.5),
    Ensemble("Rate", "none", 5, 1.0, 0.5),
    Ensemble("Rate", "none", 10, 1.0, 0.5, "Rate(tanh), half inhibitory"),
    Ensemble("Rate", "none", 10, 1.0, 1.0),
    Ensemble("Rate", "none", 20, 0.2, 0.5),
)


# What in fact happens: simulation without the library


@dataclass(frozen=True)
class Dynamics:
    """The flow of a network with leak 1, in plain NumPy; a row a trajectory, `u` its input current."""

    weight: np.ndarray
    total_leak: np.ndarray
    boxed: bool

    @classmethod
    def of(cls, ensemble: Ensemble, weight: np.ndarray) -> "Dynamics":
        lost = weight.sum(1) if ensemble.outflow == "signed" else 0.0
        return cls(weight, np.ones(len(weight)) + lost, ensemble.kind == "Projected")

    def flow(self, s: np.ndarray, u: np.ndarray) -> np.ndarray:
        drive = s @ self.weight + u
        return (drive if self.boxed else np.tanh(drive)) - self.total_leak * s

    def clip(self, s: np.ndarray) -> np.ndarray:
        return np.clip(s, 0.0, 1.0) if self.boxed else s

    def residual(self, s: np.ndarray, u: np.ndarray) -> np.ndarray:
        """The largest entry of every trajectory's flow, without what the faces of the box hold back."""
        flow = self.flow(s, u)
        if self.boxed:
            flow = np.where(((s <= 0) & (flow < 0)) | ((s >= 1) & (flow > 0)), 0.0, flow)
        return np.abs(flow).max(1)

    def step(self, s: np.ndarray, u: np.ndarray, h: float) -> np.ndarray:
        """Runge-Kutta of order 4: Euler would need tiny steps to tell a slow spiral from a cycle."""
        k1 = self.flow(s, u)
        k2 = self.flow(self.clip(s + h / 2 * k1), u)
        k3 = self.flow(self.clip(s + h / 2 * k2), u)
        k4 = self.flow(self.clip(s + h * k3), u)
        return self.clip(s + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4))

    def inputs(self, rng: np.random.Generator) -> np.ndarray:
        """Currents: none, halves, two random, three that make the middle or a random state an equilibrium, and the
        worst: one that saturates some units for good, so that the others have an equilibrium as unstable as can be."""
        n = len(self.total_leak)
        drawn = [np.zeros(n), np.full(n, 0.5), *rng.random((2, n))]
        for spread in (0.0, 0.3, 0.8):
            s = spread * (rng.random(n) - 0.5) + 0.5 if self.boxed else spread * (2 * rng.random(n) - 1)
            wanted = self.total_leak * s
            drawn.append((wanted if self.boxed else np.arctanh(wanted)) - s @ self.weight)
        free, side = self.worst_block(), np.where(rng.random(n) < 0.5, -1.0, 1.0)
        current = np.where(free, 0.0, side * (6 + np.abs(self.weight).sum(0) + np.abs(self.total_leak)))
        s = np.where(free, 0.0, side) * (0.5 if self.boxed else 1.0) + (0.5 if self.boxed else 0.0)
        drawn.append(current + (self.total_leak * s if self.boxed else 0.0) - s @ self.weight)
        return np.stack(drawn)

    def worst_block(self) -> np.ndarray:
        """The units, the others saturated, whose Jacobian grows fastest; found by adding and removing one at a time."""
        jacobian = self.weight.T - np.diag(self.total_leak)

        def growth(free: np.ndarray) -> float:
            return float(np.linalg.eigvals(jacobian[np.ix_(free, free)]).real.max()) if free.any() else -math.inf

        best = np.ones(len(jacobian), bool)
        while True:
            near = best ^ np.eye(len(jacobian), dtype=bool)
            rates = [growth(free) for free in near]
            if max(rates) <= growth(best) + 1e-9:
                return best
            best = near[int(np.argmax(rates))]

    def outcome(self, inputs: np.ndarray, rng: np.random.Generator, window: float = 100.0, windows: int = 10) -> str:
        """`"one"` equilibrium at every input, two ends `"apart"` at one input, or a start that keeps `"moving"`.

        A start has settled at a residual of 1e-9; it keeps moving if its residual has not fallen by a tenth within a
        window of time. `"slow"`: it was still falling when the time was up.
        """
        n = len(self.total_leak)
        u = np.repeat(inputs, STARTS, 0)
        s = rng.random((len(u), n)) if self.boxed else rng.uniform(-1.5, 1.5, (len(u), n))
        step = 0.3 / (np.abs(self.total_leak).max() + np.linalg.norm(self.weight, 2))
        ends, live = np.full(s.shape, np.nan), np.arange(len(s))
        for _ in range(windows):
            before = dict(zip(live.tolist(), self.residual(s, u), strict=True))
            for k in range(math.ceil(window / step)):
                s = self.step(s, u, step)
                if k % 25 < 24:
                    continue
                settled = self.residual(s, u) < 1e-9
                if not settled.any():
                    continue
                ends[live[settled]] = s[settled]
                s, u, live = s[~settled], u[~settled], live[~settled]
                if _apart(ends.reshape(INPUTS, STARTS, n)):
                    return "apart"
                if not len(live):
                    return "one"
            now = self.residual(s, u)
            if any(r > 0.9 * before[k] for k, r in zip(live.tolist(), now, strict=True)):
                return "moving"
        return "slow"


def _apart(ends: np.ndarray) -> bool:
    there = np.isfinite(ends)
    width = np.where(there, ends, -np.inf).max(1) - np.where(there, ends, np.inf).min(1)
    return bool((width > 1e-3).any())


# What is proved


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


def judge(ensemble: Ensemble, graph: direp.Graph, scale: float, edge: float, seed: int) -> Verdicts:
    rng = np.random.default_rng((0, seed))
    weight = scale * edge * ensemble.draw(rng)
    # Every unit has an input of its own: whatever current could tell two equilibria apart can be given.
    network = direp.Network(graph, ensemble.neuron, np.concatenate([np.eye(ensemble.units), weight]), leak=1.0)
    system = System.of(network)
    attempts = {criterion.name: criterion.attempt(system) for criterion in CASCADE}
    proved = {name: attempt.rate for name, attempt in attempts.items() if attempt.proof is not None}
    inputs = Dynamics.of(ensemble, weight).inputs(rng)
    outcome = Dynamics.of(ensemble, weight).outcome(inputs, rng)
    refuted = helped = False
    if "local leak" not in proved:  # the search looks at proved networks too: a test of both
        cheap = (direp.LocalLeak(),)
        refuted = direp.certify(network, criteria=cheap, starts=STARTS).verdict == "refuted"
        if not refuted and outcome in ("apart", "moving"):
            helped = direp.certify(network, criteria=cheap, x=inputs, starts=STARTS).verdict == "refuted"

    where = f"{ensemble}, weights {scale} times the edge, seed {seed}"
    if proved and (refuted or helped or outcome in ("apart", "moving")):
        raise AssertionError(f"proved ({proved}) but {outcome}, refuted: {refuted or helped}. {where}")
    for coarse in ("local leak", "rows"):
        if coarse in proved and "Perron" not in proved:
            raise AssertionError(f"Perron fails where {coarse} proves. {where}")
    return Verdicts(scale, proved, outcome, refuted, helped)


def sample(ensemble: Ensemble, networks: int, progress: "Progress") -> tuple[float, list[Verdicts]]:
    """An ensemble's edge, and its networks; their weights take every value of `TIMES_EDGE` equally often."""
    graph = direp.Graph.complete(ensemble.units, ensemble.units - 1, 1, bias=False)
    edge = ensemble.edge()
    if not math.isfinite(edge):  # nothing makes it unstable: weights as without outflow
        edge = dataclasses.replace(ensemble, outflow="none").edge()
    verdicts = []
    for k, scale in enumerate(np.resize(TIMES_EDGE, networks)):
        verdicts.append(judge(ensemble, graph, float(scale), edge, k))
        progress.advance(cost(ensemble))
    return edge, verdicts


def cost(ensemble: Ensemble) -> float:
    """Rough seconds a network takes, for the remaining time."""
    return {5: 0.1, 10: 0.25, 20: 0.8}[ensemble.units] * (2 if ensemble.kind == "Rate" and ensemble.units > 10 else 1)


class Progress:
    """Share done and time left, on standard error."""

    def __init__(self, total: float):
        self.total, self.done, self.begin, self.label, self.shown = total, 0.0, time.monotonic(), "", 0.0

    def advance(self, amount: float) -> None:
        self.done += amount
        now = time.monotonic()
        if now - self.shown > (0.2 if sys.stderr.isatty() else 15):
            self.shown = now
            left = (now - self.begin) * (self.total / self.done - 1)
            line = f"{self.done / self.total:4.0%}, {left:4.0f} s left: {self.label}"
            line = f"\r{line:<79.79}" if sys.stderr.isatty() else f"{line}\n"
            print(line, end="", file=sys.stderr, flush=True)


# What is reported


def wilson(hits: int, count: int, z: float = 1.96) -> tuple[float, float]:
    share, scale = hits / count, 1 + z**2 / count
    centre = (share + z**2 / (2 * count)) / scale
    half = z * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / scale
    return max(centre - half, 0.0), min(centre + half, 1.0)


def row(ensemble: Ensemble, edge: float, networks: list[Verdicts]) -> str:
    count = len(networks)
    shares = [sum(name in each.proved for each in networks) / count for name in CRITERIA]
    shares += [np.mean([bool(each.proved) for each in networks]), np.mean([each.settles for each in networks])]
    settling = [each for each in networks if each.settles]
    proved = sum(bool(each.proved) for each in settling)
    low, high = wilson(proved, len(settling)) if settling else (0.0, 1.0)
    of_these = f"{proved} of {len(settling)} ({low:.0%} to {high:.0%})"
    refuted = np.mean([each.refuted for each in networks])
    numbers = " | ".join(f"{share:.0%}" for share in shares)
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
        f"LMI proves {ties} that Perron does not.",
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


def excitatory(networks: int) -> list[str]:
    """Any positive leak is enough where excitatory networks lose what they send."""
    ensembles = [Ensemble("Projected", "signed", n, density, 0.0) for n in (5, 10, 20) for density in (0.2, 1.0)]
    lines = ["| leak | networks | proved | criteria | rate over leak |", "|---|---|---|---|---|"]
    for leak in (1e-1, 1e-3, 1e-6, 1e-9):
        found = []
        for ensemble in ensembles:
            graph = direp.Graph.complete(ensemble.units, ensemble.units - 1, 1, bias=False)
            for k in range(networks):
                weight = np.concatenate([np.eye(ensemble.units), ensemble.draw(np.random.default_rng((2, k)))])
                network = direp.Network(graph, ensemble.neuron, weight, leak=leak)
                found.append(direp.certify(network, starts=0))
        if not all(found):
            raise AssertionError(f"an excitatory network with signed outflow and leak {leak} is not proved")
        criteria = ", ".join(f"{name} {count}" for name, count in Counter(c.criterion for c in found).items())
        rates = [certificate.rate / leak for certificate in found]
        lines.append(
            f"| {leak:.0e} | {len(found)} | {np.mean([bool(c) for c in found]):.0%} | {criteria} "
            f"| {min(rates):.6f} to {max(rates):.6f} |"
        )
    return lines


_SINGULAR = "Leaks are zero, and with signed outflow the Jacobian is then singular whatever the weights."


def deep(seeds: int) -> list[str]:
    """DEEP 2020 has no leak: nothing can prove it."""
    settings = dataclasses.replace(preset("xor", "deep-2020"), seeds=f"0..{seeds - 1}")
    task = load_task(settings)
    parts = arguments(settings, task)
    trained = direp.fit(task=task, **parts).networks
    lines, reasons = ["| networks | proved | refuted | undecided | by |", "|---|---|---|---|---|"], []
    for label, networks in (("before training", parts["network"]), ("trained on XOR", trained)):
        found = [direp.certify(network, x=np.asarray(task.train.x)) for network in networks]
        if any(found):
            raise AssertionError("a network without leak is proved")
        counts = Counter(certificate.verdict for certificate in found)
        kinds = Counter(certificate.criterion for certificate in found if certificate.verdict == "refuted")
        by = ", ".join(f"{kind} {count}" for kind, count in kinds.items())
        lines.append(f"| {len(found)} {label} | 0 | {counts['refuted']} | {counts['undecided']} | {by} |")
        named = sum(certificate.reason.startswith(_SINGULAR) for certificate in found)
        reasons.append(f"{named} of {len(found)} {label}")
    return [*lines, "", f"The reason begins with \u201c{_SINGULAR}\u201d for {' and '.join(reasons)}."]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=50, help="an ensemble; four times as many for the figure's")
    parser.add_argument("--quick", action="store_true", help="10 networks an ensemble, 20 for the figure's")
    parser.add_argument("--figure", type=Path, help="where the figure goes; by default docs/images/sharpness.png")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    few = 10 if options.quick else options.networks
    sizes = {ensemble: few * ((2 if options.quick else 4) if ensemble.panel else 1) for ensemble in ENSEMBLES}
    place = options.figure
    if place is None and not options.quick:
        place = Path(__file__).parent.parent / "docs" / "images" / "sharpness.png"

    begin = time.monotonic()
    columns = [
        "neuron", "units", "density", "inhibitory", "edge", "networks", *CRITERIA, "any", "seen to settle",
        "proved of these (95 %)", "refuted",
    ]  # fmt: skip
    print("| " + " | ".join(columns) + " |")
    print("|---" * len(columns) + "|")
    progress = Progress(sum(cost(ensemble) * count for ensemble, count in sizes.items()))
    results: dict[Ensemble, list[Verdicts]] = {}
    for ensemble, count in sizes.items():
        progress.label = f"{ensemble.label}, {ensemble.units} units"
        edge, results[ensemble] = sample(ensemble, count, progress)
        print(row(ensemble, edge, results[ensemble]), flush=True)
    print("", *remarks(results), sep="\n")
    if place is not None:
        draw(results).savefig(place, dpi=130)
    print("", *excitatory(5 if options.quick else 20), sep="\n")
    print("", *deep(5 if options.quick else 30), sep="\n")
    print(f"\n{time.monotonic() - begin:.0f} s, `{' '.join(['python', 'benchmarks/sharpness.py', *sys.argv[1:]])}`")


if __name__ == "__main__":
    main()
