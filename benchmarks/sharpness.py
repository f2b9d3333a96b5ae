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
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from matplotlib.figure import Figure
from tables import wilson_bounds

import direp
from direp.certificates import CASCADE
from direp.certificates.system import System
from direp.presets import preset

TIMES_EDGE = np.round(np.arange(0.15, 1.51, 0.15), 2)  # weights, in units of the ensemble's edge
CRITERIA = ("local leak", "rows", "Perron", "symmetric", "LMI")
STARTS, INPUTS = 32, 7


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
        """Currents: none, halves, two random, and three that make the middle or a random state an equilibrium."""
        n = len(self.total_leak)
        drawn = [np.zeros(n), np.full(n, 0.5), *rng.random((2, n))]
        for spread in (0.0, 0.3, 0.8):
            s = spread * (rng.random(n) - 0.5) + 0.5 if self.boxed else spread * (2 * rng.random(n) - 1)
            wanted = self.total_leak * s
            drawn.append((wanted if self.boxed else np.arctanh(wanted)) - s @ self.weight)
        return np.stack(drawn)

    def outcome(self, rng: np.random.Generator, window: float = 100.0, windows: int = 10) -> str:
        """`"one"` equilibrium at every input, two ends `"apart"` at one input, or a start that keeps `"moving"`.

        A start has settled at a residual of 1e-9; it keeps moving if its residual has not fallen by a tenth within a
        window of time. `"slow"`: it was still falling when the time was up.
        """
        n = len(self.total_leak)
        u = np.repeat(self.inputs(rng), STARTS, 0)
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
    refuted: bool

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
    outcome = Dynamics.of(ensemble, weight).outcome(rng)
    refuted = False
    if "local leak" not in proved:  # the search looks at proved networks too: a test of both
        refuted = direp.certify(network, criteria=(direp.LocalLeak(),), starts=STARTS).verdict == "refuted"

    where = f"{ensemble}, weights {scale} times the edge, seed {seed}"
    if proved and (refuted or outcome in ("apart", "moving")):
        raise AssertionError(f"proved ({proved}) but {outcome}, refuted: {refuted}. {where}")
    for coarse in ("local leak", "rows"):
        if coarse in proved and "Perron" not in proved:
            raise AssertionError(f"Perron fails where {coarse} proves. {where}")
    return Verdicts(scale, proved, outcome, refuted)


def sample(ensemble: Ensemble, networks: int) -> tuple[float, list[Verdicts]]:
    """An ensemble's edge, and its networks; their weights take every value of `TIMES_EDGE` equally often."""
    graph = direp.Graph.complete(ensemble.units, ensemble.units - 1, 1, bias=False)
    edge = ensemble.edge()
    if not math.isfinite(edge):  # nothing makes it unstable: weights as without outflow
        edge = dataclasses.replace(ensemble, outflow="none").edge()
    scales = np.resize(TIMES_EDGE, networks)
    return edge, [judge(ensemble, graph, float(g), edge, k) for k, g in enumerate(scales)]
