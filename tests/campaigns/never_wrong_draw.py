"""What `never_wrong.py` draws: networks of every neuron and outflow, most of them near the edge of some criterion."""

import dataclasses
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from never_wrong_judge import ACTIVATIONS, exact_margin, outgoing, times

import direp
from direp.model import Parameters, Weight
from direp.model.activation import hard_sigmoid, identity, relu, sigmoid, softplus, tanh

CHUNK = 64  # networks that are drawn and simulated together: one size, one neuron
LIBRARY = {a.name: a for a in (hard_sigmoid, sigmoid, tanh, relu, softplus, identity)}
OUTFLOWS = ("none", "signed", "absolute")
COMBINATIONS = [
    (neuron, activation, outflow)
    for neuron, activations in (("projected", ["identity"] * 3), ("hopfield", ACTIVATIONS), ("rate", ACTIVATIONS))
    for activation in activations
    for outflow in OUTFLOWS
]


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
        """Its numbers stay on the host, where proofs are made: to place them takes longer than most proofs."""
        kind = (self.size, self.outputs, self.neuron, self.activation, self.outflow, self.box)
        weight = Weight(self.entry[b][None], self.weight[b])
        return _network(*kind).replace(Parameters(weight, self.bias[b], self.leak[b]))

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
def _network(
    size: int, outputs: int, kind: str, activation: str, outflow: Any, box: tuple[float, float] | None
) -> direp.Network:
    graph = direp.Graph.complete(1, size - outputs, outputs)
    if box is not None:
        neuron = direp.Projected(outflow=outflow, low=box[0], high=box[1])
    else:
        neuron = {"hopfield": direp.Hopfield, "rate": direp.Rate}[kind](LIBRARY[activation], outflow=outflow)
    return direp.Network(graph, neuron, np.zeros((graph.units, graph.free)), dtype=np.float64)


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
    settle_currents(rng, batch)
    return batch


def _criterion(rng: np.random.Generator, size: int, outflow: str) -> str:
    """What proves: the whole cascade of diagonal criteria, or one criterion alone."""
    share = rng.random()
    if share < 0.2 and size <= 20:
        return str(rng.choice(["symmetric", "spectral", "spectral", "circle"]))
    if share < 0.23 and size <= 8:
        return str(rng.choice(["LMI", "vertices"]))
    if share < 0.28 and outflow != "none":
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


EUCLIDEAN = ("symmetric", "spectral", "circle", "LMI", "vertices")
SIGNS = ("excitatory", "inhibitory", "mixed", "one sign a source", "antisymmetric", "symmetric")


def _leak(rng: np.random.Generator, batch: Batch, b: int) -> np.ndarray:
    """Leaks that miss or meet what a criterion needs by a share of all that is added up in it, tiny or not."""
    weight, criterion, n = batch.weight[b], batch.criteria[b], batch.size
    gain = ACTIVATIONS[batch.activation][2]
    size, out = np.abs(weight), outgoing(weight, batch.outflow)
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
    if criterion in EUCLIDEAN:
        half = gain * (weight + weight.T) / 2 - np.diag(out)
        need = np.full(n, np.linalg.eigvalsh(half)[-1]) + raised
        if criterion != "symmetric":
            need = need * rng.uniform(0.7, 1.5)
    else:
        eta = np.exp(rng.normal(0, 1, n)) if criterion == "Perron" else np.ones(n)
        need = gain * ((size.T if incoming else size) @ eta) / eta - out + raised
    scale = gain * (size.sum(0) if incoming else size.sum(1)) + np.abs(out) + raised + 1e-3 * size.max(initial=1e-3)
    if criterion in EUCLIDEAN:
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


def settle_currents(rng: np.random.Generator, batch: Batch) -> None:
    """Anchors where all slopes are largest, and for most networks a bias that makes its anchor an equilibrium."""
    count, n = batch.leak.shape
    value, _, _, steep = ACTIVATIONS[batch.activation]
    total = batch.leak + outgoing(batch.weight, batch.outflow)
    drive = rng.uniform(*steep, (count, n))
    if batch.neuron == "projected":
        low, high = batch.box or (0.0, 1.0)
        batch.anchor = low + (high - low) * rng.uniform(0.3, 0.7, (count, n))
        current = total * batch.anchor - times(batch.anchor, batch.weight)
    elif batch.neuron == "hopfield":
        batch.anchor = drive
        current = total * drive - times(value(drive), batch.weight)
    else:
        far = np.abs(total) < 1e-6 * np.abs(total).max(1, keepdims=True) + 1e-300
        batch.anchor = value(drive) / np.where(far, 1.0, total)
        current = drive - times(batch.anchor, batch.weight)
    loose = rng.normal(0, 1, (count, n)) * np.abs(batch.weight).mean((1, 2))[:, None] * n
    current = np.where(rng.random((count, 1)) < 0.6, current, loose)
    batch.bias = current - batch.entry * batch.x


def _raised(batch: Batch, beta: float, weights: np.ndarray) -> np.ndarray:
    """What a nudge can add to the log-norm at every output, with these norm weights."""
    gain, at = ACTIVATIONS[batch.activation][2], weights[batch.size - batch.outputs :]
    if batch.cost == "squared error":
        # A falling slope does not exist here; the identity's is 1 everywhere, so a positive nudge only helps.
        return np.full(batch.outputs, max(-beta, 0.0) * gain)
    others = np.array([np.delete(at, k).max(initial=0) for k in range(len(at))])
    return abs(beta) * batch.sharpness**2 / 4 * gain * (others / at + (0 if beta > 0 else 1))
