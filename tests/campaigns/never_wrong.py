"""Are the convergence certificates ever wrong? Random and adversarial networks against an oracle in plain NumPy.

The certificates come from the library. What they claim is then tried out by a second implementation of the three
neurons, written from their equations: every pair of states that is tried must approach in the certified norm at the
certified rate, residuals must shrink step by step, and all starts must end in one place within the certified number of
steps. Near the edge, where an inequality is decided by the last digit, exact fractions judge the verdicts.

    python tests/campaigns/never_wrong.py --networks 1000000 --seed 0 --workers 2
"""

import argparse
import collections
import dataclasses
import json
import math
import multiprocessing
import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Any

import jax
import numpy as np
from threadpoolctl import threadpool_limits

import direp
from direp.certificates.convergence.certificate import Certificate, Proof
from direp.certificates.convergence.norm import L1, Euclidean, LInf
from direp.certificates.convergence.refute import search
from direp.certificates.convergence.system import System
from direp.model.activation import hard_sigmoid, identity, relu, sigmoid, softplus, tanh

CHUNK = 64  # networks that are drawn and simulated together: one size, one neuron
STARTS = 32
LONGEST = 1500  # steps up to which settling is followed to its certified end
TOLERANCE = 1e-6
EPS = float(np.finfo(np.float64).eps)

LIBRARY = {a.name: a for a in (hard_sigmoid, sigmoid, tanh, relu, softplus, identity)}
OUTFLOWS = ("none", "signed", "absolute")
NAMES = ["local leak", "rows", "Perron", "compartmental", "symmetric", "LMI"]
# name -> value, slope, the largest slope, and drives (or states) at which the slope is as large as it gets.
ACTIVATIONS: dict[str, tuple[Any, Any, float, tuple[float, float]]] = {
    "identity": (lambda z: z, np.ones_like, 1.0, (-1.0, 1.0)),
    "hard-sigmoid": (lambda z: np.clip(z, 0, 1), lambda z: ((z > 0) & (z < 1)).astype(float), 1.0, (0.3, 0.7)),
    "sigmoid": (lambda z: 0.5 + 0.5 * np.tanh(z / 2), lambda z: 0.25 - np.tanh(z / 2) ** 2 / 4, 0.25, (-1e-4, 1e-4)),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2, 1.0, (-1e-4, 1e-4)),
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(float), 1.0, (0.5, 2.0)),
    "softplus": (lambda z: np.logaddexp(0, z), lambda z: 0.5 + 0.5 * np.tanh(z / 2), 1.0, (20.0, 30.0)),
}
COMBINATIONS = [
    (neuron, activation, outflow)
    for neuron, activations in (("projected", ["identity"] * 3), ("hopfield", ACTIVATIONS), ("rate", ACTIVATIONS))
    for activation in activations
    for outflow in OUTFLOWS
]


# What is drawn


@dataclass
class Batch:
    """Networks of one size and one neuron, at one input each. `weight[b, i, j]` is from i to j, both free."""

    neuron: str
    activation: str
    outflow: str
    box: tuple[float, float] | None
    outputs: int
    cost: str
    sharpness: float
    weight: np.ndarray
    leak: np.ndarray
    entry: np.ndarray  # weights from the one input
    bias: np.ndarray
    x: np.ndarray
    anchor: np.ndarray  # states where slopes are largest; an equilibrium of many of the networks
    target: np.ndarray
    strengths: list[tuple[float, ...]]
    criteria: list[str]

    @property
    def size(self) -> int:
        return self.leak.shape[1]

    def network(self, b: int) -> direp.Network:
        matrix = np.concatenate([self.entry[b][None], self.weight[b]])
        graph, neuron = _graph(self.size, self.outputs), _neuron(self.neuron, self.activation, self.outflow, self.box)
        return direp.Network(graph, neuron, matrix, leak=self.leak[b], bias=self.bias[b], dtype=np.float64)

    def nudging(self, b: int) -> dict[str, Any]:
        strengths = self.strengths[b]
        if not strengths:
            return {}
        nudge = direp.OneSided(strengths[0]) if len(strengths) == 1 else direp.Centred(strengths[0])
        cost = direp.SquaredError() if self.cost == "squared error" else direp.CrossEntropy(self.sharpness)
        return {"nudge": nudge, "cost": cost}

    def to_dict(self, b: int) -> dict[str, Any]:
        """One network, every number exactly (JSON keeps 64-bit floats)."""
        whole = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        several = ("weight", "leak", "entry", "bias", "x", "anchor", "target", "strengths", "criteria")
        return {name: (np.asarray(value[b]).tolist() if name in several else value) for name, value in whole.items()}


@lru_cache(None)
def _graph(free: int, outputs: int) -> direp.Graph:
    return direp.Graph.complete(1, free - outputs, outputs)


@lru_cache(None)
def _neuron(kind: str, activation: str, outflow: Any, box: tuple[float, float] | None) -> Any:
    if box is not None:
        return direp.Projected(outflow=outflow, low=box[0], high=box[1])
    return {"hopfield": direp.Hopfield, "rate": direp.Rate}[kind](LIBRARY[activation], outflow=outflow)


def draw(rng: np.random.Generator, combination: tuple[str, str, str], size: int, count: int = CHUNK) -> Batch:
    """Networks of one size and neuron, most of them near the edge of some criterion."""
    neuron, activation, outflow = combination
    outputs = int(rng.integers(1, min(3, size) + 1))
    nudged = rng.random() < 0.3
    cost = "cross-entropy" if outputs > 1 and rng.random() < 0.5 else "squared error"
    sharpness = float(rng.choice([1.0, 2.0, 4.0]))
    box = None if neuron != "projected" else (0.0, 1.0) if rng.random() < 0.7 else (-1.0, 2.0)
    strengths: list[tuple[float, ...]] = []
    for _ in range(count):
        beta = float(np.exp(rng.uniform(-4, 2))) * (1 if rng.random() < 0.5 else -1)
        both = (beta, -beta) if rng.random() < 0.5 else (beta,)
        strengths.append(both if nudged and rng.random() < 0.7 else ())
    criteria = [_criterion(rng, size, outflow) for _ in range(count)]
    weight = np.stack([_weights(rng, size, criterion) for criterion in criteria])
    target = rng.dirichlet(np.ones(outputs), count)
    batch = Batch(
        neuron, activation, outflow, box, outputs, cost, sharpness, weight, np.zeros((count, size)),
        rng.normal(size=(count, size)), np.zeros((count, size)), rng.random((count, 1)), np.zeros((count, size)),
        target, strengths, criteria,
    )  # fmt: skip
    for b in range(count):
        batch.leak[b] = _leak(rng, batch, b)
    _settle_currents(rng, batch)
    return batch


def _criterion(rng: np.random.Generator, size: int, outflow: str) -> str:
    """What proves: the whole cascade of diagonal criteria, or one criterion alone."""
    share = rng.random()
    if share < 0.13 and size <= 20:
        return "symmetric"
    if share < 0.17 and size <= 8:
        return "LMI"
    if share < 0.22 and outflow != "none":
        return "compartmental"
    return str(rng.choice(["cascade", "cascade", "cascade", "local leak", "rows", "Perron"]))


def _weights(rng: np.random.Generator, n: int, criterion: str) -> np.ndarray:
    heavy = rng.random() < 0.3
    size = rng.normal(size=(n, n)) * (np.exp(rng.normal(0, 1.5, (n, n))) if heavy else 1)
    structure = rng.choice(["full", "full", "sparse", "chain", "layers", "blocks"])
    unit = np.arange(n)
    keep = np.ones((n, n), bool)
    if structure == "sparse":
        keep = rng.random((n, n)) < rng.uniform(0.1, 1)
    elif structure == "chain":
        keep = unit[None] == unit[:, None] + 1
        keep[-1, 0] = rng.random() < 0.5  # a ring
    elif structure == "layers":
        layer = np.sort(rng.integers(0, 3, n))
        keep = layer[None] == layer[:, None] + 1
    elif structure == "blocks":
        half = unit < rng.integers(0, n + 1)
        keep = (half[:, None] == half[None]) | (half[:, None] & (rng.random((n, n)) < 0.2))
    signs = "excitatory" if criterion == "compartmental" else str(rng.choice(SIGNS))
    if criterion == "symmetric" and rng.random() < 0.7:
        signs = "symmetric"
    weight = np.where(keep & (unit[None] != unit[:, None]), size, 0) * 10 ** rng.uniform(-2, 2)
    if signs == "excitatory":
        return np.abs(weight)
    if signs == "inhibitory":
        return -np.abs(weight)
    if signs == "one sign a source":
        return np.abs(weight) * rng.choice([-1.0, 1.0], (n, 1))
    if signs == "mixed":
        return weight
    return (weight - weight.T) / 2 if signs == "antisymmetric" else (weight + weight.T) / 2


SIGNS = ("excitatory", "inhibitory", "mixed", "one sign a source", "antisymmetric", "symmetric")


def _out(weight: np.ndarray, outflow: str) -> np.ndarray:
    if outflow == "none":
        return np.zeros(weight.shape[:-1])
    return (weight if outflow == "signed" else np.abs(weight)).sum(-1)


def _leak(rng: np.random.Generator, batch: Batch, b: int) -> np.ndarray:
    """Leaks that miss or meet what a criterion needs by a share of all that is added up in it, tiny or not."""
    weight, criterion, n = batch.weight[b], batch.criteria[b], batch.size
    gain = ACTIVATIONS[batch.activation][2]
    size, out = np.abs(weight), _out(weight, batch.outflow)
    if criterion == "compartmental":
        return np.where(rng.random(n) < rng.uniform(0, 0.7), 0.0, 10 ** rng.uniform(-9, 1, n)) * (1e-3 + size.mean())
    if criterion == "cascade":
        criterion = str(rng.choice(["local leak", "rows", "Perron"]))
    raised = np.zeros(n)
    for beta in batch.strengths[b]:
        raised[n - batch.outputs :] = np.maximum(raised[n - batch.outputs :], _raised(batch, beta, np.ones(n)))
    incoming = criterion == "rows"
    if criterion in ("local leak", "rows") and rng.random() < 0.2 and not raised.any() and n <= 25:
        return _within_an_ulp(rng, batch, weight, incoming)
    if criterion in ("symmetric", "LMI"):
        half = gain * (weight + weight.T) / 2 - np.diag(out)
        need = np.full(n, np.linalg.eigvalsh(half)[-1]) + raised
        if criterion == "LMI":
            need = need * rng.uniform(0.7, 1.5)
    else:
        eta = np.exp(rng.normal(0, 1, n)) if criterion == "Perron" else np.ones(n)
        need = gain * ((size.T if incoming else size) @ eta) / eta - out + raised
    scale = gain * (size.sum(0) if incoming else size.sum(1)) + np.abs(out) + raised + 1e-3 * size.max(initial=1e-3)
    if criterion in ("symmetric", "LMI"):
        scale = np.full(n, scale.max())
    excess = 10 ** (rng.uniform(-2, 0.3) if rng.random() < 0.6 else rng.uniform(-12, -2))
    if rng.random() < 0.4:
        excess = -excess
    spread = np.exp(rng.uniform(0, 1.5, n)) if rng.random() < 0.5 else np.ones(n)
    if excess < 0 and rng.random() < 0.5:
        spread *= -1  # one unit falls short, the others have more than enough
        spread[rng.integers(n)] *= -1
    return np.maximum(need + excess * spread * scale, 0)


def _within_an_ulp(rng: np.random.Generator, batch: Batch, weight: np.ndarray, incoming: bool) -> np.ndarray:
    """The next float above what is exactly needed, or (for one unit) the one that is not above it."""
    gain, ones = ACTIVATIONS[batch.activation][2], np.ones(batch.size)
    zero = np.zeros(batch.size)
    leak = np.zeros(batch.size)
    short = int(rng.integers(batch.size)) if rng.random() < 0.5 else -1
    for unit in range(batch.size):
        need = -exact_margin(unit, weight, zero, batch.outflow, gain, ones, incoming)
        near = float(need)
        above = near if Fraction(near) > need else float(np.nextafter(near, np.inf))
        above = max(above, 1e-30)  # leaks near the smallest number there is only test overflow
        below = float(np.nextafter(above, -np.inf))
        leak[unit] = max(below if unit == short else above, 0.0)
    return leak


def _settle_currents(rng: np.random.Generator, batch: Batch) -> None:
    """Anchors where all slopes are largest, and for most networks a bias that makes its anchor an equilibrium."""
    count, n = batch.leak.shape
    value, _, _, steep = ACTIVATIONS[batch.activation]
    total = batch.leak + _out(batch.weight, batch.outflow)
    drive = rng.uniform(*steep, (count, n))
    if batch.neuron == "projected":
        low, high = batch.box or (0.0, 1.0)
        batch.anchor = low + (high - low) * rng.uniform(0.3, 0.7, (count, n))
        current = total * batch.anchor - _times(batch.anchor, batch.weight)
    elif batch.neuron == "hopfield":
        batch.anchor = drive
        current = total * drive - _times(value(drive), batch.weight)
    else:
        far = np.abs(total) < 1e-6 * np.abs(total).max(1, keepdims=True) + 1e-300
        batch.anchor = value(drive) / np.where(far, 1.0, total)
        current = drive - _times(batch.anchor, batch.weight)
    loose = rng.normal(0, 1, (count, n)) * np.abs(batch.weight).mean((1, 2))[:, None] * n
    current = np.where(rng.random((count, 1)) < 0.6, current, loose)
    batch.bias = current - batch.entry * batch.x


def _times(vector: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return np.matmul(vector[:, None], weight)[:, 0]


def _raised(batch: Batch, beta: float, weights: np.ndarray) -> np.ndarray:
    """What a nudge can add to the log-norm at every output, with these norm weights."""
    gain, at = ACTIVATIONS[batch.activation][2], weights[batch.size - batch.outputs :]
    if batch.cost == "squared error":
        # A falling slope does not exist here; the identity's is 1 everywhere, so a positive nudge only helps.
        return np.full(batch.outputs, max(-beta, 0.0) * gain)
    others = np.array([np.delete(at, k).max(initial=0) for k in range(len(at))])
    return abs(beta) * batch.sharpness**2 / 4 * gain * (others / at + (0 if beta > 0 else 1))


# Exact margins


def exact_margin(
    unit: int, weight: np.ndarray, leak: np.ndarray, outflow: str, gain: float, eta: np.ndarray, incoming: bool
) -> Fraction:
    """The margin of one unit, in rational numbers."""
    line, lost = (weight[:, unit] if incoming else weight[unit]).tolist(), weight[unit].tolist()
    margin = Fraction(float(leak[unit]))
    if outflow != "none":
        margin += sum(Fraction(abs(w) if outflow == "absolute" else w) for w in lost)
    pulled = sum(abs(Fraction(w)) * Fraction(e) for w, e in zip(line, eta.tolist(), strict=True) if w)
    return margin - Fraction(gain) * pulled / Fraction(float(eta[unit]))


def least_margin(
    weight: np.ndarray, leak: np.ndarray, outflow: str, gain: float, eta: np.ndarray, incoming: bool, claimed: float
) -> tuple[bool, bool, bool]:
    """Whether all margins are exactly positive; whether all reach `claimed`; whether that took fractions."""
    size = np.abs(weight)
    spread = gain * ((size.T if incoming else size) @ eta) / eta
    margin = leak + _out(weight, outflow) - spread
    error = 2 * (len(leak) + 8) * EPS * (leak + (size.sum(1) if outflow != "none" else 0) + spread)
    positive, reached, exact = True, True, False
    for unit in np.flatnonzero(margin - error <= max(claimed, 0.0)):
        if margin[unit] + error[unit] <= 0:
            return False, claimed <= 0, exact
        true = exact_margin(int(unit), weight, leak, outflow, gain, eta, incoming)
        exact, positive, reached = True, positive and true > 0, reached and true >= Fraction(claimed)
    return positive, reached, exact


# The oracle


class Oracle:
    """The dynamics of many networks at once, each in one phase; states are (network, start, unit)."""

    def __init__(self, batch: Batch, rows: np.ndarray, beta: np.ndarray):
        self.batch, self.rows, self.beta = batch, rows, beta
        self.weight, self.size = batch.weight[rows], batch.size
        self.total = (batch.leak + _out(batch.weight, batch.outflow))[rows][:, None]
        self.current = (batch.entry * batch.x + batch.bias)[rows][:, None]
        self.target = batch.target[rows][:, None]
        self.value, self.slope, self.gain, _ = ACTIVATIONS[batch.activation]
        self.hidden = batch.size - batch.outputs
        self.nudged = bool(beta.any())

    def take(self, rows: np.ndarray) -> "Oracle":
        return Oracle(self.batch, self.rows[rows], self.beta[rows])

    def field(self, s: np.ndarray) -> np.ndarray:
        inner = self.batch.neuron == "hopfield"
        rate = self.value(s) if inner else s
        drive = np.matmul(rate, self.weight)
        drive += self.current
        if self.nudged:
            drive[..., self.hidden :] -= self.beta[:, None, None] * self._cost_gradient(rate[..., self.hidden :])
        if self.batch.neuron == "rate":
            drive = self.value(drive)
        drive -= self.total * s
        return drive

    def _cost_gradient(self, rate: np.ndarray) -> np.ndarray:
        if self.batch.cost == "squared error":
            return rate - self.target
        return self.batch.sharpness * (self._softmax(rate) - self.target)

    def _softmax(self, rate: np.ndarray) -> np.ndarray:
        z = self.batch.sharpness * (rate - rate.max(-1, keepdims=True))
        p = np.exp(z)
        return p / p.sum(-1, keepdims=True)

    def clip(self, s: np.ndarray) -> np.ndarray:
        return s if self.batch.box is None else np.clip(s, *self.batch.box)

    def step(self, s: np.ndarray, h: np.ndarray, flow: np.ndarray | None = None) -> np.ndarray:
        moved = self.field(s) if flow is None else flow.copy()
        moved *= h
        moved += s
        return moved if self.batch.box is None else np.clip(moved, *self.batch.box, out=moved)

    def held(self, s: np.ndarray, flow: np.ndarray) -> np.ndarray:
        if self.batch.box is None:
            return np.zeros(s.shape, bool)
        low, high = self.batch.box
        return ((s <= low) & (flow < 0)) | ((s >= high) & (flow > 0))

    def velocity(self, s: np.ndarray, flow: np.ndarray | None = None) -> np.ndarray:
        flow = self.field(s) if flow is None else flow
        return np.where(self.held(s, flow), 0, flow)

    def jacobian(self, s: np.ndarray) -> np.ndarray:
        r"""$\partial F_j/\partial s_i$ at [..., j, i], without regard to the box."""
        inner = self.batch.neuron == "hopfield"
        rate = self.value(s) if inner else s
        rise = self.slope(s) if inner else np.ones_like(s)
        coupling = np.broadcast_to(self.weight.swapaxes(1, 2)[:, None], (*s.shape, self.size)) * rise[..., None, :]
        drive = np.matmul(rate, self.weight) + self.current
        if self.nudged:
            outputs, o = rate[..., self.hidden :], np.arange(self.hidden, self.size)
            strength = self.beta[:, None, None]
            drive[..., self.hidden :] -= strength * self._cost_gradient(outputs)
            if self.batch.cost == "squared error":
                coupling[..., o, o] -= strength * rise[..., self.hidden :]
            else:
                p = self._softmax(outputs)
                bend = p[..., None] * (np.eye(len(o)) - p[..., None, :]) * self.batch.sharpness**2
                coupling[..., self.hidden :, self.hidden :] -= (
                    strength[..., None] * bend * rise[..., None, self.hidden :]
                )
        if self.batch.neuron == "rate":
            coupling = coupling * self.slope(drive)[..., None]
        unit = np.arange(self.size)
        coupling[..., unit, unit] -= self.total
        return coupling

    def rounding(self, s: np.ndarray) -> np.ndarray:
        """A bound on the error of every entry of `field`.

        Sums of n products err by at most n eps of the sum of their sizes; the activations of NumPy by a few eps of
        their value, and their argument's error is stretched by the gain at most.
        """
        inner = self.batch.neuron == "hopfield"
        rate = self.value(s) if inner else s
        size = np.matmul(np.abs(rate), np.abs(self.weight)) + np.abs(self.current)
        if self.nudged:
            many = 1.0 if self.batch.cost == "squared error" else self.batch.sharpness
            bent = (1 + np.abs(rate[..., self.hidden :])) * many**2
            size[..., self.hidden :] += np.abs(self.beta)[:, None, None] * (1 + bent)
        if self.batch.neuron == "rate":
            size = max(self.gain, 1.0) * size + 1
        leaks = (self.batch.leak + np.abs(self.batch.weight).sum(-1))[self.rows][:, None]
        return (self.size + 16) * EPS * (size + leaks * np.abs(s)) + 1e-300


@dataclass
class Norms:
    """One norm a network: sum of eta |v|, maximum of |v| / eta, or the length of v M."""

    kind: np.ndarray  # 0, 1, 2
    weights: np.ndarray
    root: np.ndarray
    stretch: np.ndarray  # how much longer than its Euclidean length a vector can be, for the third kind
    shake: np.ndarray  # relative rounding of a length

    @classmethod
    def of(cls, norms: Sequence[Any], size: int) -> "Norms":
        count = len(norms)
        kind, weights, root = np.zeros(count, int), np.ones((count, size)), np.zeros((count, size, size))
        stretch, shake = np.zeros(count), np.full(count, (2 * size + 8) * EPS)
        for k, norm in enumerate(norms):
            if isinstance(norm, Euclidean):
                lower = np.linalg.cholesky(norm.matrix)
                kind[k], root[k] = 2, np.linalg.inv(lower).T if norm.inverse else lower
                spectrum = np.linalg.eigvalsh(norm.matrix)
                stretch[k] = 1.01 * math.sqrt(1 / spectrum[0] if norm.inverse else spectrum[-1])
                shake[k] = 4 * (size + 4) * EPS * spectrum[-1] / spectrum[0]
            else:
                kind[k] = int(isinstance(norm, LInf))
                weights[k] = norm.weights
        return cls(kind, weights, root, stretch, shake)

    def take(self, rows: np.ndarray) -> "Norms":
        return Norms(*(getattr(self, f.name)[rows] for f in dataclasses.fields(self)))

    def length(self, v: np.ndarray) -> np.ndarray:
        eta = self.weights[:, None]
        if not self.kind.any():
            return (np.abs(v) * eta).sum(-1)
        if (self.kind == 1).all():
            return (np.abs(v) / eta).max(-1)
        out = np.where(self.kind[:, None] == 0, (np.abs(v) * eta).sum(-1), (np.abs(v) / eta).max(-1))
        euclidean = self.kind == 2
        if euclidean.any():
            out[euclidean] = np.sqrt((np.matmul(v[euclidean], self.root[euclidean]) ** 2).sum(-1))
        return out

    def most(self, error: np.ndarray) -> np.ndarray:
        """The largest length of a vector with entries of at most these sizes."""
        out = self.length(error)
        euclidean = self.kind == 2
        if euclidean.any():
            out[euclidean] = self.stretch[euclidean, None] * np.sqrt((error[euclidean] ** 2).sum(-1))
        return out

    @property
    def reach(self) -> np.ndarray:
        """The largest entry of a vector of length 1."""
        out = np.where(self.kind == 0, 1 / self.weights.min(1), self.weights.max(1))
        for k in np.flatnonzero(self.kind == 2):
            out[k] = np.linalg.norm(np.linalg.inv(self.root[k]), axis=0).max()
        return out


# What is counted


@dataclass
class Report:
    """Counts that add up over chunks, by neuron and outflow, and the violations in full."""

    counts: dict[tuple[str, str], collections.Counter] = field(default_factory=dict)
    tightest: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)
    violations: list[dict[str, Any]] = field(default_factory=list)

    def count(self, place: tuple[str, str], what: str, many: int = 1) -> None:
        self.counts.setdefault(place, collections.Counter())[what] += int(many)

    def tight(self, place: tuple[str, str], factor: float, loss: float) -> None:
        before = self.tightest.get(place, (0.0, 0.0))
        self.tightest[place] = (max(before[0], factor), max(before[1], loss))

    def add(self, other: "Report") -> None:
        for place, counter in other.counts.items():
            self.counts.setdefault(place, collections.Counter()).update(counter)
        for place, pair in other.tightest.items():
            self.tight(place, *pair)
        self.violations += other.violations

    def total(self, what: str) -> int:
        return sum(counter[what] for counter in self.counts.values())

    def table(self) -> str:
        """Markdown."""
        names = NAMES
        head = [
            "neuron", "outflow", "networks", *(f"proved: {name}" for name in names), "refuted", "undecided",
            "followed to the end", "one place by Newton", "observed / certified factor", "certified / observed loss",
            "violations",
        ]  # fmt: skip
        lines = ["| " + " | ".join(head) + " |", "|" + "---|" * 2 + "---:|" * (len(head) - 2)]
        everywhere = collections.Counter()
        for place in sorted(self.counts):
            everywhere.update(self.counts[place])
            lines.append(self._line(*place, self.counts[place], self.tightest.get(place, (0.0, 0.0)), names))
        largest = tuple(max((pair[k] for pair in self.tightest.values()), default=0.0) for k in (0, 1))
        return "\n".join([*lines, self._line("all", "all", everywhere, largest, names)])

    @staticmethod
    def _line(neuron: str, outflow: str, counter: Any, tight: Sequence[float], names: list[str]) -> str:
        cells = [
            neuron, outflow, counter["networks"], *(counter[name] for name in names), counter["refuted"],
            counter["undecided"], counter["followed"], counter["one place"], f"{tight[0]:.9f}", f"{tight[1]:.6f}",
            counter["violations"],
        ]  # fmt: skip
        return "| " + " | ".join(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in cells) + " |"


class Judge:
    """Collects what one chunk shows."""

    def __init__(self, batch: Batch, seed: int, chunk: int):
        self.batch, self.seed, self.chunk, self.report = batch, seed, chunk, Report()
        self.place = (batch.neuron, batch.outflow)

    def violation(self, b: int, what: str) -> None:
        self.report.count(self.place, "violations")
        again = {"seed": self.seed, "chunk": self.chunk, "network": b, "what": what}
        self.report.violations.append({**again, **self.batch.to_dict(b)})

    def all(self, fine: np.ndarray, rows: np.ndarray, what: str, *detail: np.ndarray) -> None:
        """`fine`, one row for every case: a violation for each that is not."""
        bad = ~fine.reshape(len(fine), -1).all(1)
        for k in np.flatnonzero(bad):
            first = np.unravel_index(int(np.argmin(fine[k])), fine[k].shape)
            numbers = ", ".join(repr(float(np.broadcast_to(each, fine.shape)[k][first])) for each in detail)
            self.violation(int(rows[k]), f"{what} ({numbers})")


# The campaign


CRITERIA: dict[str, tuple[Any, ...]] = {
    "cascade": (direp.LocalLeak(), direp.Rows(), direp.Perron(), direp.Compartmental()),
    "local leak": (direp.LocalLeak(),),
    "rows": (direp.Rows(),),
    "Perron": (direp.Perron(),),
    "compartmental": (direp.Compartmental(),),
    "symmetric": (direp.Symmetric(),),
    "LMI": (direp.LMI(),),
}


@dataclass
class Case:
    """One certificate (or proof) of one network, in one phase."""

    b: int
    beta: float
    norm: Any
    rate: float  # of the phase
    least: float  # over all phases
    step: float
    shrink: float
    certificate: Certificate | None


def _cases(b: int, strengths: tuple[float, ...], given: Certificate | Proof) -> list[Case]:
    rates = given.phases if isinstance(given, Certificate) else given.rates
    step = given.largest_step if isinstance(given, Certificate) else given.step
    certificate = given if isinstance(given, Certificate) else None
    cases = []
    for beta, rate in zip((0.0, *strengths), rates.values(), strict=True):
        cases.append(Case(b, beta, given.norm, rate, min(rates.values()), step, given.shrink, certificate))
    return cases


def judge_verdicts(judge: Judge, b: int) -> list[Case]:
    """Certify one network; compare the verdicts with exact arithmetic; what is proved, case by case."""
    batch = judge.batch
    network, nudging, gain = batch.network(b), batch.nudging(b), ACTIVATIONS[batch.activation][2]
    system = System.of(network, **nudging)
    attempts = [criterion.attempt(system) for criterion in CRITERIA["cascade"][:3]]
    weight, leak, ones = batch.weight[b], batch.leak[b], np.ones(batch.size)
    judge.report.count(judge.place, "networks")
    asked, proofs = batch.criteria[b], []
    tried = [a for a, name in zip(attempts, NAMES, strict=False) if asked in ("cascade", name)]
    # To work out a remedy takes longer than all the rest, so most failures end here.
    if asked in ("cascade", *NAMES[3:]) or tried[0].proof is not None or b % 4 == 0:
        certificate = direp.certify(network, criteria=CRITERIA[asked], starts=0, **nudging)
        judge.report.count(judge.place, certificate.criterion if certificate else certificate.verdict)
        proofs = [certificate] if certificate else []
        if tried and any(a.proof is not None for a in tried) and not certificate:
            judge.violation(b, "certify does not prove what its criterion proves")
    else:
        judge.report.count(judge.place, "undecided")
    proofs += [attempt.proof for attempt in attempts if attempt.proof is not None]
    for attempt, incoming in zip(attempts[:2], (False, True), strict=True):
        found = attempt.proof is not None
        exactly, _, fractions = least_margin(weight, leak, batch.outflow, gain, ones, incoming, 0.0)
        judge.report.count(judge.place, "decided by fractions", fractions)
        if found and not exactly:
            judge.violation(b, f"{attempt.criterion} proves what is not exactly true")
        if exactly and not found and not batch.strengths[b]:
            judge.violation(b, f"{attempt.criterion} does not prove what is exactly true")
        if found and attempts[2].proof is None:
            judge.violation(b, f"Perron does not prove what {attempt.criterion} proves")
        elif found and attempts[2].proof.rate < attempt.proof.rate * (1 - 1e-6) - 1e-13 * np.abs(leak).max():
            judge.violation(b, f"the rate of Perron is below that of {attempt.criterion}")
    for proof in proofs:
        rates = proof.phases if isinstance(proof, Certificate) else proof.rates
        if not (min(rates.values()) > 0 and 0 < proof.shrink <= 1 and 1 - proof.shrink <= proof.factor <= 1):
            judge.violation(b, f"a proof with rates {rates}, shrink {proof.shrink} and factor {proof.factor}")
        if isinstance(proof.norm, L1 | LInf):
            norm = proof.norm.weights, isinstance(proof.norm, LInf)
            positive, reached, fractions = least_margin(weight, leak, batch.outflow, gain, *norm, rates["free"])
            judge.report.count(judge.place, "decided by fractions", fractions)
            if not (positive and reached):
                judge.violation(b, f"{proof.norm}: the exact margin is not {rates['free']!r}")
    kept: dict[int, Certificate | Proof] = {}
    for proof in proofs:  # of equal proofs only one
        if not any(_same(proof, other) for other in kept.values()):
            kept[id(proof)] = proof
    return [case for proof in kept.values() for case in _cases(b, batch.strengths[b], proof)]


def _same(one: Certificate | Proof, other: Certificate | Proof) -> bool:
    if type(one.norm) is not type(other.norm) or isinstance(one.norm, Euclidean) or one.norm is None:
        return False
    return one.rate == other.rate and np.array_equal(one.norm.weights, other.norm.weights)


class Trial:
    """All cases of a chunk, side by side, and what is tried on them."""

    def __init__(self, judge: Judge, cases: list[Case], rng: np.random.Generator):
        self.judge, self.cases, self.rng = judge, cases, rng
        self.rows = np.array([case.b for case in cases])
        self.oracle = Oracle(judge.batch, self.rows, np.array([case.beta for case in cases]))
        self.norms = Norms.of([case.norm for case in cases], judge.batch.size)
        column = lambda name: np.array([getattr(case, name) for case in cases])[:, None]  # noqa: E731
        self.rate, self.least, self.h, self.shrink = map(column, ("rate", "least", "step", "shrink"))
        self.factor = 1 - self.shrink

    def starts(self) -> np.ndarray:
        """A mixture: the whole space at many scales, faces and corners of the box, and beside the anchor."""
        batch, rng = self.judge.batch, self.rng
        shape = (len(self.rows), STARTS, batch.size)
        anchor = batch.anchor[self.rows][:, None]
        if batch.box is not None:
            low, high = batch.box
            inside = rng.uniform(low, high, shape)
            corner = np.where(rng.random(shape) < 0.5, low, high)
            some = rng.random((*shape[:2], 1)) < 0.4
            return np.where(some & (rng.random(shape) < 0.5), corner, inside)
        scale = 10 ** rng.uniform(-1, 1, (*shape[:2], 1))
        centre = np.where(rng.random((*shape[:2], 1)) < 0.5, anchor, 0.0)
        return centre + scale * rng.normal(size=shape)

    def extremes(self) -> tuple[np.ndarray, np.ndarray]:
        """Pairs beside the anchor that approach as slowly as slopes allow: along units, or along signs of a row."""
        batch, rng, count = self.judge.batch, self.rng, 8
        anchor, n, weight = batch.anchor[self.rows], batch.size, self.oracle.weight
        size, eta = np.abs(weight), self.norms.weights
        incoming = (self.norms.kind == 1)[:, None]
        pulled = np.where(incoming, _times(eta, size), np.matmul(size, eta[..., None])[..., 0]) / eta
        margin = self.oracle.total[:, 0] - self.oracle.gain * pulled
        margin[:, n - batch.outputs :] += self.oracle.beta[:, None] * self.oracle.gain
        unit = np.argsort(margin, 1)[:, np.arange(count) % n]
        unit[:, count // 2 :] = rng.integers(n, size=(len(unit), count - count // 2))
        at = np.arange(len(unit))[:, None]
        along = np.zeros((len(unit), count, n))
        along[at, np.arange(count)[None], unit] = 1.0
        signs = np.sign(weight.swapaxes(1, 2)[at, unit])
        signs[at, np.arange(count)[None], unit] = 1.0
        difference = np.where(incoming[..., None], signs * eta[:, None], along)
        euclidean = self.norms.kind == 2
        if euclidean.any():
            difference[euclidean] = rng.normal(size=(int(euclidean.sum()), count, n))
        difference = self._within(difference)
        middle = np.broadcast_to(anchor[:, None], difference.shape)
        return self.oracle.clip(middle + difference / 2), self.oracle.clip(middle - difference / 2)

    def _within(self, difference: np.ndarray) -> np.ndarray:
        """Scaled so that slopes stay as large as they are at the anchor, or nearly."""
        batch = self.judge.batch
        difference = difference / np.maximum(np.abs(difference).max(-1, keepdims=True), 1e-300)
        reach = {"projected": 0.2, "sigmoid": 2e-3, "tanh": 1e-3, "hard-sigmoid": 0.2, "relu": 0.3}
        most = reach.get(batch.neuron, reach.get(batch.activation, 1.0))
        if batch.neuron == "rate":  # what counts is the difference of drives
            most = most / np.maximum(np.abs(np.matmul(difference, self.oracle.weight)).max(-1, keepdims=True), 1e-9)
            most = np.minimum(most, 1e3 * (1 + np.abs(batch.anchor[self.rows]).max(-1))[:, None, None])
        return difference * most

    def contraction(self, s: np.ndarray, t: np.ndarray, h: np.ndarray, factor: np.ndarray, what: str) -> np.ndarray:
        """One step of two states: judge how they approach. The observed ratio, less what rounding may have added."""
        oracle, norms = self.oracle, self.norms
        step = h[..., None]
        flows = oracle.field(s), oracle.field(t)
        ends = oracle.step(s, step, flows[0]), oracle.step(t, step, flows[1])
        before, after = norms.length(s - t), norms.length(ends[0] - ends[1])
        error = step * (oracle.rounding(s) + oracle.rounding(t)) + 8 * EPS * (
            np.abs(s) + np.abs(t) + step * (np.abs(flows[0]) + np.abs(flows[1]))
        )
        allowed = norms.most(error)
        bound = factor * before * (1 + norms.shake[:, None]) + norms.shake[:, None] * after + allowed
        self.judge.all(after <= bound, self.rows, what, after, bound, before)
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = (after - allowed - norms.shake[:, None] * (before + after)) / before
        return np.where(before > 0, ratio, -np.inf)

    def approach(self, starts: np.ndarray) -> np.ndarray:
        """(a) Pairs approach by the certified factor: random ones, extreme ones, and ones that a climb has found."""
        s, t = starts[:, : STARTS // 2], starts[:, STARTS // 2 :]
        beside = self.extremes()
        s, t = np.concatenate([s, beside[0]], 1), np.concatenate([t, beside[1]], 1)
        ratio = self.contraction(s, t, self.h, self.factor, "a pair approaches too slowly")
        shorter = self.h * self.rng.random((len(s), s.shape[1]))
        squared = 1 - 2 * shorter * self.rate + shorter**2 * self.least / self.h
        slow = np.where((self.norms.kind == 2)[:, None], np.sqrt(np.maximum(squared, 0)), 1 - shorter * self.rate)
        slow += 4 * EPS
        self.contraction(s, t, shorter, slow, "a pair approaches too slowly in a shorter step")
        best = ratio.max(1)
        at = np.arange(len(s))
        place = ratio.argmax(1)
        a, b = s[at, place][:, None], t[at, place][:, None]
        for _ in range(2):
            size = 0.3 * np.abs(a - b).max(-1, keepdims=True)
            shift = self.rng.normal(size=(2, len(s), 6, a.shape[-1])) * size
            sparse = self.rng.random(shift.shape) < 0.5
            s, t = self.oracle.clip(a + np.where(sparse, shift[0], 0)[0]), self.oracle.clip(b + shift[1] * sparse[1])
            ratio = self.contraction(s, t, self.h, self.factor, "a pair found by a climb approaches too slowly")
            place = ratio.argmax(1)
            better = ratio[at, place] > best
            best = np.maximum(best, ratio[at, place])
            a = np.where(better[:, None, None], s[at, place][:, None], a)
            b = np.where(better[:, None, None], t[at, place][:, None], b)
        for k, observed in enumerate(best):
            if self.norms.kind[k] < 2 and self.cases[k].rate == self.cases[k].least:
                certified, shrink = float(self.factor[k, 0]), float(self.shrink[k, 0])
                loss = shrink / (1 - observed) if shrink > 1e-5 else 0.0
                self.judge.report.tight(self.judge.place, float(observed / certified) if certified > 0.1 else 0.0, loss)
        return best

    def residuals(self, s: np.ndarray) -> None:
        """(b) The projected field shrinks by the certified factor in every step."""
        oracle, norms, h = self.oracle, self.norms, self.h[..., None]
        flow = oracle.field(s)
        lengths = norms.length(oracle.velocity(s, flow))
        for _ in range(3):
            after = oracle.step(s, h, flow)
            flow = oracle.field(after)
            now = norms.length(oracle.velocity(after, flow))
            # The new state's own rounding moves the field by at most the stiffness times it.
            moved = 8 * EPS * (np.abs(s) + np.abs(after)) + h * oracle.rounding(s)
            error = oracle.rounding(s) + oracle.rounding(after) + 2 * self._stretched(moved)
            shake = norms.shake[:, None]
            bound = self.factor * lengths * (1 + shake) + shake * now + norms.most(error)
            self.judge.all(now <= bound, self.rows, "a residual shrinks too slowly", now, bound, lengths)
            s, lengths = after, now

    def _stretched(self, moved: np.ndarray) -> np.ndarray:
        """How much entries of the field can change when states change by `moved`."""
        oracle = self.oracle
        nudge = np.abs(oracle.beta)[:, None, None] * max(1.0, self.judge.batch.sharpness**2)
        gain = max(oracle.gain, 1.0)
        own = (np.abs(oracle.total) + gain * nudge) * moved + gain * nudge * moved.sum(-1, keepdims=True)
        return own + gain * np.matmul(moved, np.abs(oracle.weight))

    def apart(self, s: np.ndarray, v: np.ndarray, rows: np.ndarray, what: str) -> np.ndarray:
        """Any two states are at most as far apart as (their velocities' lengths) / rate. The largest such bound."""
        norms, rate = self.norms.take(rows), self.rate[rows]
        speed = norms.length(v) + norms.most(self.oracle.take(rows).rounding(s))
        far = norms.length(s - s[:, :1])
        with np.errstate(over="ignore"):  # rates can be as small as numbers get
            bound = (speed + speed[:, :1]) / rate * (1 + 4 * norms.shake[:, None]) + norms.most(4 * EPS * np.abs(s))
        self.judge.all(far <= bound, self.rows[rows], what, far, bound)
        return bound.max(1) * norms.reach

    def settle(self, starts: np.ndarray) -> None:
        """(c) All starts arrive in one place within the certified number of steps, where that number allows it."""
        velocity = self.oracle.velocity(starts)
        self.apart(starts, velocity, np.arange(len(starts)), "two states are farther apart than their velocities allow")
        main = [k for k, case in enumerate(self.cases) if case.certificate is not None]
        chosen: dict[int, int] = {}
        for k in main:  # one phase of each certificate, any
            if self.cases[k].b not in chosen or self.rng.random() < 0.5:
                chosen[self.cases[k].b] = k
        steps: dict[int, int] = {}
        for k in chosen.values():
            certificate = self.cases[k].certificate
            assert certificate is not None
            needed = certificate.steps_to(velocity[k], TOLERANCE)
            assert needed is not None
            steps[k] = needed
        slow = np.array([k for k in chosen.values() if steps[k] > LONGEST], int)
        self.judge.report.count(self.judge.place, "followed", len(chosen) - len(slow))
        self._follow(starts, steps, dict.fromkeys(steps, TOLERANCE))
        self._newton(starts, slow)
        self._slowest(list(chosen.values()))

    def _slowest(self, rows: list[int]) -> None:
        """One start beside the anchor, along what decays most slowly there: its own number of steps to a thousandth."""
        anchor = self.judge.batch.anchor[self.rows][:, None]
        values, vectors = np.linalg.eig(self.oracle.jacobian(anchor)[:, 0])
        along = vectors[np.arange(len(values)), :, values.real.argmax(1)].real[:, None]
        starts = self.oracle.clip(anchor + self._within(along))
        velocity = self.oracle.velocity(starts)
        aim = {k: 1e-3 * float(np.abs(velocity[k]).max()) for k in rows}
        bound = {k: self.cases[k].certificate.steps_to(velocity[k], aim[k]) for k in rows if aim[k] > 1e-12}
        self._follow(starts, bound, aim)

    def _follow(self, starts: np.ndarray, steps: dict[int, int], aim: dict[int, float]) -> None:
        """Take the certified number of steps, where that is not too large; compare what is left with `aim`."""
        left = np.array(sorted((k for k in steps if steps[k] <= LONGEST), key=lambda k: steps[k]), int)
        done, s, oracle, h = 0, starts[left], self.oracle.take(left), self.h[left][..., None]
        for count in sorted({steps[k] for k in left}):
            for _ in range(count - done):
                s = oracle.step(s, h)
            done, over = count, sum(steps[k] == count for k in left)
            self._arrived(s[:over], left[:over], np.array([aim[k] for k in left[:over]])[:, None])
            left, s, h = left[over:], s[over:], h[over:]
            oracle = self.oracle.take(left)

    def _arrived(self, s: np.ndarray, rows: np.ndarray, aim: np.ndarray) -> None:
        oracle = self.oracle.take(rows)
        v = oracle.velocity(s)
        largest = np.abs(v).max(-1)
        # Rounding of one step may move the field; over all steps it adds up to at most 1 / shrink times that.
        noise = Trial._stretched(self._take(rows), 8 * EPS * np.abs(s)) + oracle.rounding(s)
        norms = self.norms.take(rows)
        grown = norms.most(noise) * norms.reach[:, None] / self.shrink[rows]
        self.judge.all(
            largest <= aim * (1 + 1e-9) + grown, self.rows[rows], "not settled in the certified steps", largest
        )
        self.apart(s, v, rows, "two starts end in different places")

    def _take(self, rows: np.ndarray) -> "Trial":
        return Trial(self.judge, [self.cases[k] for k in rows], self.rng)

    def _newton(self, starts: np.ndarray, rows: np.ndarray) -> None:
        """Equilibria found from four starts, by steps and Newton's method: they must be the same."""
        if not len(rows):
            return
        oracle, h, s = self.oracle.take(rows), self.h[rows][..., None], starts[rows][:, :4]
        for _ in range(40):
            s = oracle.step(s, h)
        unit = np.arange(self.judge.batch.size)
        for _ in range(8):
            flow = oracle.field(s)
            held = oracle.held(s, flow)
            v = np.where(held, 0, flow)
            jacobian = oracle.jacobian(s)
            jacobian[held] = 0
            jacobian[..., unit, unit] -= held
            try:
                moved = oracle.clip(s - np.linalg.solve(jacobian, v[..., None])[..., 0])
            except np.linalg.LinAlgError:
                break
            flow = oracle.field(moved)
            better = np.abs(oracle.velocity(moved, flow)).max(-1) < np.abs(v).max(-1)
            s = np.where(better[..., None], moved, oracle.step(s, h))
        v = oracle.velocity(s)
        bound = self.apart(s, v, rows, "two equilibria")
        self.judge.report.count(self.judge.place, "one place", int((bound < 1e-3).sum()))

    def logarithmic(self, s: np.ndarray) -> None:
        """For Euclidean norms, whose step is cautious: the Jacobian's own rate at states, the anchor among them."""
        rows = np.flatnonzero(self.norms.kind == 2)
        if not len(rows):
            return
        oracle, norms = self.oracle.take(rows), self.norms.take(rows)
        s = np.concatenate([s[rows][:, :12], self.judge.batch.anchor[self.rows[rows]][:, None]], 1)
        jacobian = oracle.jacobian(s)
        # Rows: states; v M is what is measured, so M^T J M^-T acts on it.
        root = norms.root.swapaxes(1, 2)[:, None]
        turned = root @ jacobian @ np.linalg.inv(root)
        largest = np.linalg.eigvalsh((turned + turned.swapaxes(-1, -2)) / 2)[..., -1]
        size = norms.shake[:, None] * np.linalg.norm(jacobian, axis=(-2, -1))
        rate = self.rate[rows]
        self.judge.all(largest <= size - rate, self.rows[rows], "the Jacobian's rate is too low", largest, rate)


def judge_chunk(seed: int, chunk: int) -> Report:
    """Draw, certify and try out the networks of one chunk; the same ones whoever runs it."""
    rng = np.random.default_rng([seed, chunk])
    if chunk % 16 == 15:
        return _climb(rng, seed, chunk)
    judge = Judge(draw(rng, COMBINATIONS[chunk % len(COMBINATIONS)], _size(rng)), seed, chunk)
    _try(judge, rng, range(CHUNK))
    return judge.report


def _size(rng: np.random.Generator) -> int:
    """1 to 60 units, mostly few."""
    return int(60.999 ** (rng.random() ** 1.5))


def _try(judge: Judge, rng: np.random.Generator, networks: Sequence[int]) -> np.ndarray:
    """The largest (observed less certified factor) of every network, -inf where nothing is proved."""
    gap = np.full(len(judge.batch.leak), -np.inf)
    cases = [case for b in networks for case in judge_verdicts(judge, b)]
    if not cases:
        return gap
    trial = Trial(judge, cases, rng)
    starts = trial.starts()
    best = trial.approach(starts) - trial.factor[:, 0]
    np.maximum.at(gap, trial.rows, best)
    trial.residuals(starts)
    trial.logarithmic(starts)
    trial.settle(starts)
    return gap


def _climb(rng: np.random.Generator, seed: int, chunk: int) -> Report:
    """Eight networks that are changed at random, eight times; a change stays if it brings a pair closer to the edge."""
    generations, chains = 8, CHUNK // 8
    parents = draw(rng, COMBINATIONS[chunk // 16 % len(COMBINATIONS)], _size(rng), chains)
    fields = ("weight", "leak", "entry", "bias", "x", "anchor", "target")

    def copy(batch: Batch) -> Batch:
        return dataclasses.replace(batch, **{name: getattr(batch, name).copy() for name in fields})

    batch, report, best = copy(parents), Report(), np.full(chains, -np.inf)
    for generation in range(generations):
        child = copy(batch)
        if generation:
            amount = 10 ** rng.uniform(-3, -0.3, (chains, 1, 1))
            child.weight = batch.weight * np.exp(amount * rng.normal(size=batch.weight.shape))
            # Leaks move as what the weights need does, and then some.
            gain = ACTIVATIONS[batch.activation][2]
            need = [gain * np.abs(w).sum(2) - _out(w, batch.outflow) for w in (batch.weight, child.weight)]
            shift = 1 + amount[..., 0] * rng.normal(size=batch.leak.shape)
            child.leak = np.maximum(batch.leak * shift + need[1] - need[0], 0)
            _settle_currents(rng, child)
        judge = Judge(child, seed, chunk)
        gap = _try(judge, rng, range(chains))
        report.add(judge.report)
        for k in np.flatnonzero(gap >= best):
            best[k] = gap[k]
            for name in fields:
                getattr(batch, name)[k] = getattr(child, name)[k]
    return report


# Refutations


# With absolute outflow and slopes up to 1 any leak certifies. One size each, so that compiled code is used again.
REFUTABLE = [(c, 2 + k % 3) for k, c in enumerate(sorted({c for c in COMBINATIONS if c[2] != "absolute"}))]
REFUTED_AT_ONCE = 16


def judge_refutations(seed: int, chunk: int) -> Report:
    """Small networks with too little leak: every counter-example must hold, and none exist where a proof does."""
    rng = np.random.default_rng([seed, 1, chunk])
    batch = draw(rng, *REFUTABLE[chunk % len(REFUTABLE)], REFUTED_AT_ONCE)
    batch.outputs, batch.strengths = 1, [()] * REFUTED_AT_ONCE
    batch.leak *= rng.choice([0.0, 1.0], batch.leak.shape, p=[0.1, 0.9]) * rng.uniform(0, 0.5, (REFUTED_AT_ONCE, 1))
    _settle_currents(rng, batch)
    judge = Judge(batch, seed, chunk)
    for b in range(REFUTED_AT_ONCE):
        network = batch.network(b)
        certificate = direp.certify(network, starts=16, seed=int(rng.integers(1000)))
        judge.report.count(judge.place, "networks")
        judge.report.count(judge.place, certificate.criterion if certificate else certificate.verdict)
        if certificate and b % 4 == 0 and search(network, starts=8).counterexample is not None:
            judge.violation(b, "a proved network is refuted")
        if certificate.verdict == "refuted":
            judge.report.count(judge.place, certificate.counterexample.kind)
            if not certificate.counterexample.check(network):
                judge.violation(b, "a counter-example does not check")
            for complaint in rerun(batch, b, certificate.counterexample):
                judge.violation(b, f"{certificate.counterexample.kind}: {complaint}")
    return judge.report


def rerun(batch: Batch, b: int, example: direp.Counterexample) -> list[str]:
    """What is wrong with a counter-example when its states are run again; nothing, if it holds."""
    at = dataclasses.replace(batch, x=np.broadcast_to(np.asarray(example.x, float), batch.x.shape))
    oracle = Oracle(at, np.array([b]), np.zeros(1))
    stiffness = np.abs(oracle.total).max() + oracle.gain * np.abs(oracle.weight).sum((1, 2)).max()
    if example.kind == "growth":
        s = np.asarray(example.states[0], float)[None, None]
        h, first = 0.5 / stiffness, np.linalg.norm(s)
        for _ in range(200_000):
            s = oracle.step(s, h)
            if np.linalg.norm(s) > 1e6 * first:
                return []
        return ["it does not grow"]
    equilibria = np.asarray(example.states, float)[: 2 if example.kind == "two equilibria" else 1]
    complaints = []
    for state in equilibria:
        s = state[None, None]
        scale = 1 + np.abs(oracle.total * s).max()
        if not np.abs(oracle.velocity(s)).max() < 1e-9 * scale:
            complaints.append(f"{np.abs(oracle.velocity(s)).max()} is left of the field at its equilibrium")
        inside = ~oracle.held(s, oracle.field(s))[0, 0]
        values = np.linalg.eigvals(oracle.jacobian(s)[0, 0][np.ix_(inside, inside)])
        fastest = values.real.max(initial=-np.inf)
        h = 0.1 / stiffness
        if fastest < 0:
            h = min(h, float((-values.real / np.abs(values) ** 2).min(initial=np.inf)))
            if not _leaves(oracle, s, h, 2000, 1e-6) < 1e-6:
                complaints.append("a start at its stable equilibrium leaves")
        elif example.kind != "two equilibria":
            beside = oracle.clip(s + 1e-6 * np.random.default_rng(0).normal(size=(1, 16, at.size)))
            if not _leaves(oracle, beside, h, 200_000, 1e-3, s) > 1e-3:
                complaints.append(f"starts beside its unstable equilibrium (rate {fastest}) stay")
    if example.kind == "two equilibria" and not np.abs(equilibria[0] - equilibria[1]).max() > 1e-6:
        complaints.append("its two equilibria are nearly one")
    return complaints


def _leaves(
    oracle: Oracle, s: np.ndarray, h: float, steps: int, enough: float, centre: np.ndarray | None = None
) -> float:
    """How far states get from the centre (the first of them) before it is `enough`."""
    centre, far = s if centre is None else centre, 0.0
    for _ in range(steps):
        s = oracle.step(s, np.asarray(h))
        far = max(far, float(np.abs(s - centre).max()))
        if far > enough:
            break
    return far


def campaign(networks: int, seed: int, *, refutations: int = 0, workers: int = 0, progress: bool = False) -> Report:
    """Judge this many networks, and search this many for refutations, both rounded up to whole chunks.

    In this process, unless there are `workers`.
    """
    jobs = [(judge_chunk, seed, chunk) for chunk in range(math.ceil(networks / CHUNK))]
    jobs += [(judge_refutations, seed, chunk) for chunk in range(math.ceil(refutations / REFUTED_AT_ONCE))]
    report = Report()
    with threadpool_limits(1):
        for part in _tracked(_parts(jobs, workers), len(jobs), progress):
            report.add(part)
    return report


Job = tuple[Callable[[int, int], Report], int, int]


def _parts(jobs: list[Job], workers: int) -> Iterator[Report]:
    if not workers:
        yield from map(_judge, jobs)
        return
    with multiprocessing.get_context("spawn").Pool(workers, _prepare) as pool:
        yield from pool.imap_unordered(_judge, jobs, chunksize=4)


def _judge(job: Job) -> Report:
    judge, seed, chunk = job
    return judge(seed, chunk)


def _prepare() -> None:
    jax.config.update("jax_enable_x64", True)
    threadpool_limits(1)  # for matrices this small, threads only wait for each other


def _tracked(parts: Iterator[Report], chunks: int, progress: bool) -> Iterator[Report]:
    if not progress:
        yield from parts
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(f"chunks of {CHUNK} networks", total=chunks)
        violations = 0
        for part in parts:
            violations += len(part.violations)
            bar.update(task, advance=1, description=f"{violations} violations in chunks of {CHUNK} networks")
            yield part


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=10_000)
    parser.add_argument("--refutations", type=int, default=2_000, help="small networks to look for counter-examples of")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=0, help="processes; 0: this one only")
    parser.add_argument("--chunk", type=int, help="judge one chunk again, such as one in a saved file")
    parser.add_argument("--refutation-chunk", type=int, help="the same for a chunk of refutations")
    parser.add_argument("--save", type=pathlib.Path, default=pathlib.Path("violations.json"))
    options = parser.parse_args()
    _prepare()
    began = time.perf_counter()
    if options.chunk is not None:
        report = judge_chunk(options.seed, options.chunk)
    elif options.refutation_chunk is not None:
        report = judge_refutations(options.seed, options.refutation_chunk)
    else:
        report = campaign(
            options.networks, options.seed, refutations=options.refutations, workers=options.workers, progress=True
        )
    print(report.table())
    seconds, count = time.perf_counter() - began, report.total("networks")
    print(
        f"\n{count:,} networks in {seconds:.0f} s ({1000 * seconds / count:.2f} ms each), seed {options.seed}; "
        f"{report.total('decided by fractions'):,} verdicts were close enough to need exact fractions."
    )
    if not report.violations:
        return 0
    options.save.write_text(json.dumps(report.violations, indent=1))
    for each in report.violations[:10]:
        print(f"violation in chunk {each['chunk']}, network {each['network']}: {each['what']}", file=sys.stderr)
    print(f"{len(report.violations)} violations, saved as {options.save}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
