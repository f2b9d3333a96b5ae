"""What `attack.py` draws: networks of every neuron, on some graphs, from families that strain what runs."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from attack_judge import ACTIVATIONS, OUTFLOWS, Net

import direp

ROWS = 32  # inputs and starts of one network, side by side
NETWORKS = 8  # of one chunk, all of one neuron and graph
PRECISIONS = np.float64, np.float32
NEURONS = [
    *(("projected", "identity", outflow, (0.0, 1.0)) for outflow in OUTFLOWS),
    ("projected", "identity", "none", (-0.3, 0.7)),  # faces that no float holds
    *((neuron, name, outflow, None) for neuron in ("hopfield", "rate") for name in ACTIVATIONS for outflow in OUTFLOWS),
]
GRAPHS: dict[str, Callable[[], direp.Graph]] = {
    "pair": lambda: direp.Graph.complete(2, 1, 1),
    "four": lambda: direp.Graph.complete(2, 3, 1),
    "layers": lambda: direp.Graph.layered([2, 3, 3, 2]),
    "six": lambda: direp.Graph.complete(2, 4, 2),
    "forty": lambda: direp.Graph.complete(2, 36, 4),
    "star": lambda: direp.Graph.layered([2, 6, 1]),
    "flat": lambda: direp.Graph.layered([2, 3]),  # no free unit sends to another
}


@dataclass(frozen=True)
class Chunk:
    """Some networks, the same ones whoever judges them."""

    seed: int
    number: int
    families: tuple[str, ...]
    networks: int = NETWORKS
    precisions: tuple[Any, ...] = PRECISIONS

    def place(self, kind: str, network: int) -> dict[str, Any]:
        """What a report says of one of them."""
        return {"kind": kind, "seed": self.seed, "chunk": self.number, "network": network}


@lru_cache(None)
def graph_of(name: str) -> direp.Graph:
    return GRAPHS[name]()


@lru_cache(None)
def _neuron(kind: str, activation: str, outflow: str, box: tuple[float, float] | None) -> Any:
    if box is not None:
        return direp.Projected(outflow=outflow, low=box[0], high=box[1])
    known = next(a for a in direp.activation.ACTIVATIONS.values() if a.name == activation)
    return {"hopfield": direp.Hopfield, "rate": direp.Rate}[kind](known, outflow=outflow)


@dataclass
class Draw:
    """One network with inputs and starts; `weight[i, j]` is from unit i (inputs first) to free unit j."""

    neuron: tuple[str, str, str, tuple[float, float] | None]
    graph: str
    family: str
    weight: np.ndarray
    leak: np.ndarray
    bias: np.ndarray
    x: np.ndarray
    state: np.ndarray

    def network(self, dtype: Any) -> direp.Network:
        return direp.Network(
            graph_of(self.graph), _neuron(*self.neuron), self.weight, leak=self.leak, bias=self.bias, dtype=dtype
        )

    def net(self, network: direp.Network, x: np.ndarray) -> Net:
        """The judge's own, from the numbers that the library stores."""
        numbers = (np.asarray(a) for a in (network.matrix, network.leak, network.bias))
        box = self.neuron[3] and tuple(float(np.asarray(face, network.dtype)) for face in self.neuron[3])
        return Net(*self.neuron[:3], box, graph_of(self.graph).hidden, *numbers, x)


class Pencil:
    """Draws networks of one neuron and graph."""

    def __init__(self, rng: np.random.Generator, neuron: Any, graph: str):
        self.rng, self.neuron, self.graph = rng, neuron, graph
        shape = graph_of(graph)
        self.inputs, self.free, self.hidden = shape.inputs, shape.free, shape.hidden
        self.exists = shape.adjacency()
        self.gain = ACTIVATIONS[neuron[1]][2]

    def power(self, low: float, high: float, *shape: int) -> np.ndarray:
        return 10 ** self.rng.uniform(low, high, shape)

    def draw(self, family: str) -> Draw:
        drawn = FAMILIES[family](self)
        drawn.weight = np.where(self.exists, drawn.weight, 0)
        drawn.leak = np.maximum(drawn.leak, 0)
        return drawn

    def made(self, family: str, weight: Any, leak: Any, bias: Any, x: Any, spread: float = 1.0) -> Draw:
        """With starts at rest, near, and far away."""
        state = self.rng.normal(0, spread, (ROWS, self.free)) * self.power(-1, 2, ROWS, 1)
        state[: ROWS // 2] = 0
        if (box := self.neuron[3]) is not None:
            state = np.clip(state, *box)
        return Draw(self.neuron, self.graph, family, weight, leak, bias, x, state)

    def weights(self, scale: float = 1.0) -> np.ndarray:
        sign = self.rng.choice(["mixed", "mixed", "excitatory", "inhibitory"])
        weight = self.rng.normal(0, scale, (self.inputs + self.free, self.free)) / math.sqrt(self.free)
        weight = {"mixed": weight, "excitatory": np.abs(weight), "inhibitory": -np.abs(weight)}[sign]
        return np.where(self.exists, weight, 0)

    def excess(self) -> float:
        """The share of all that is added up by which a criterion is met, from a hair to plenty."""
        return float(self.power(-0.5, 0.5)[()] if self.rng.random() < 0.6 else self.power(-7, -0.5)[()])

    def leak(self, weight: np.ndarray, eta: np.ndarray, incoming: bool, excess: float) -> np.ndarray:
        """The leak that meets a diagonal criterion with these norm weights, and a little more."""
        w = weight[self.inputs :]
        size, out = np.abs(w), np.asarray(OUTFLOWS[self.neuron[2]](w), float).sum(1)
        spread = self.gain * ((size.T if incoming else size) @ eta) / eta
        return spread - out + excess * (spread + np.abs(out) + 1e-3)

    def plain(self) -> Draw:
        weight = self.weights(float(self.power(-1, 1)[()]))
        leak = self.leak(weight, np.ones(self.free), self.rng.random() < 0.5, self.excess())
        bias = self.rng.normal(0.3, 1, self.free) * leak.mean()
        return self.made("plain", weight, leak, bias, self.rng.normal(size=(ROWS, self.inputs)))

    def scales(self) -> Draw:
        """Units in units of their own, fast and slow, at inputs of all sizes."""
        reach = self.rng.choice([1.0, 2.0, 4.0, 6.0])
        size, speed = self.power(-reach, reach, self.free), self.power(-reach, reach, self.free)
        weight = self.weights() * size * speed
        weight[self.inputs :] /= size[:, None]
        leak = self.leak(weight, size, True, 0.1) + speed * self.rng.random()
        bias = self.rng.normal(size=self.free) * size * speed
        x = self.rng.normal(size=(ROWS, self.inputs)) * self.power(-reach, reach, ROWS, 1)
        return self.made("scales", weight, leak, bias, x)

    def uneven(self) -> Draw:
        """Certified in a norm with uneven weights only."""
        reach = self.rng.uniform(0.5, 4)
        eta = self.power(-reach, reach, self.free)
        weight = self.weights(float(self.power(-0.5, 0.5)[()]))
        weight[self.inputs :] *= eta / eta[:, None]
        incoming = self.rng.random() < 0.5
        if not incoming:  # columns rather than rows
            eta = 1 / eta
        leak = self.leak(weight, eta, incoming, self.excess())
        leak = np.full_like(leak, leak.max()) if self.rng.random() < 0.5 else leak
        return self.made(
            "uneven", weight, leak, self.rng.normal(size=self.free), self.rng.normal(size=(ROWS, self.inputs))
        )

    def cancel(self) -> Draw:
        """Large terms that cancel: inputs against inputs, inputs against biases."""
        drawn = self.plain()
        large = self.power(0, 12, ROWS)
        drawn.weight[1] = -drawn.weight[0] * (1 + (self.rng.random(self.free) < 0.5) * self.power(-9, -1, self.free))
        drawn.x[:, 0], drawn.x[:, 1] = large, large * (1 + self.rng.choice([0, 1e-6, 1e-3], ROWS))
        drawn.family = "cancel"
        return drawn

    def held(self) -> Draw:
        """Some units held at a face, or saturated, by huge drives; others fast or slow."""
        drawn = self.plain()
        speed = self.power(-3, 3, self.free) if self.rng.random() < 0.5 else np.ones(self.free)
        drawn.weight, drawn.leak, drawn.bias = drawn.weight * speed, drawn.leak * speed, drawn.bias * speed
        drawn.leak = np.maximum(drawn.leak, self.leak(drawn.weight, np.ones(self.free), True, 0.05))
        huge = self.rng.random(self.free) < 0.4
        drawn.bias = np.where(huge, self.rng.choice([-1, 1], self.free) * self.power(1, 12, self.free), drawn.bias)
        drawn.x = drawn.x * self.power(0, 4, ROWS, 1)
        drawn.family = "held"
        return drawn

    def rotation(self) -> Draw:
        """Skew-symmetric weights: what they turn, they do not stretch."""
        size = float(self.power(-1, 1.5)[()])
        weight = self.weights(size)
        w = weight[self.inputs :]
        weight[self.inputs :] = np.where(self.exists[self.inputs :] & self.exists[self.inputs :].T, (w - w.T) / 2, 0)
        leak = np.full(self.free, size * self.power(-1.3, 0)[()])
        leak *= 1 + (self.rng.random() < 0.5) * self.rng.random(self.free)
        return self.made(
            "rotation", weight, leak, self.rng.normal(size=self.free), self.rng.normal(size=(ROWS, self.inputs))
        )

    def symmetric(self) -> Draw:
        weight = self.weights(float(self.power(-1, 1)[()]))
        w = weight[self.inputs :]
        half = np.where(self.exists[self.inputs :] & self.exists[self.inputs :].T, (w + w.T) / 2, 0)
        weight[self.inputs :] = half
        out = np.asarray(OUTFLOWS[self.neuron[2]](half), float).sum(1)
        top = float(np.linalg.eigvalsh(self.gain * half - np.diag(out))[-1])
        leak = np.full(self.free, max(top, 0.0) + self.excess() * (abs(top) + 0.1))
        return self.made(
            "symmetric", weight, leak, self.rng.normal(size=self.free), self.rng.normal(size=(ROWS, self.inputs))
        )

    def corner(self) -> Draw:
        """Small fractions, so that drives and states meet corners and faces exactly."""
        weight = np.where(self.exists, self.rng.choice([-0.5, -0.25, 0, 0.25, 0.5], self.exists.shape), 0)
        leak = self.leak(weight, np.ones(self.free), False, 0.0)
        leak = 2.0 ** np.ceil(np.log2(np.maximum(leak, 0.25)) + 0.5)
        bias = self.rng.choice([-1, -0.5, 0, 0.5, 1], self.free) * leak
        return self.made("corner", weight, leak, bias, self.rng.choice([-1.0, 0, 0.5, 1, 2], (ROWS, self.inputs)))

    def loose(self) -> Draw:
        """Not certified: what is reported must be right all the same."""
        weight = self.weights(float(self.power(-0.5, 1)[()])) * self.power(-1, 1, self.free)
        bias, leak = self.rng.normal(size=self.free) * self.power(-2, 4, self.free), self.power(-3, 2, self.free)
        return self.made(
            "loose", weight, leak, bias, self.rng.normal(size=(ROWS, self.inputs)) * self.power(-2, 4, ROWS, 1)
        )


FAMILIES: dict[str, Callable[[Pencil], Draw]] = {
    "plain": Pencil.plain, "scales": Pencil.scales, "uneven": Pencil.uneven, "cancel": Pencil.cancel,
    "held": Pencil.held, "rotation": Pencil.rotation, "symmetric": Pencil.symmetric, "corner": Pencil.corner,
    "loose": Pencil.loose,
}  # fmt: skip
