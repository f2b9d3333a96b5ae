"""What `learning.py` draws: small networks, their inputs, targets and controls, and their numbers as stored."""

import itertools
from dataclasses import dataclass, replace
from typing import Any

import equinox as eqx
import numpy as np
from learning_oracle import Net

import direp
from direp.model.activation import hard_sigmoid, sigmoid, tanh

NEURONS = [*[("projected", "identity")] * 4, ("hopfield", "sigmoid"), ("hopfield", "hard-sigmoid"),
           ("hopfield", "tanh"), ("rate", "sigmoid"), ("rate", "tanh"), ("rate", "hard-sigmoid")]  # fmt: skip
OUTFLOWS = ("none", "none", "signed", "absolute")
LIBRARY = {"hard-sigmoid": hard_sigmoid, "sigmoid": sigmoid, "tanh": tanh}
GRAPHS = {
    "one hidden": lambda: direp.Graph.layered([2, 1, 1], skip=True),
    "one layer": lambda: direp.Graph.layered([2, 3, 1]),
    "one layer, skips": lambda: direp.Graph.layered([2, 4, 1], skip=True),
    "two outputs": lambda: direp.Graph.layered([3, 3, 2]),
    "two layers": lambda: direp.Graph.layered([2, 3, 2, 1]),
    "two hidden": lambda: direp.Graph.complete(2, 2, 1),
    "complete 4+1": lambda: direp.Graph.complete(1, 4, 1),
    "complete 5+3": lambda: direp.Graph.complete(2, 5, 3),
    "complete, no bias": lambda: direp.Graph.complete(3, 3, 1, bias=False),
    "random 7+1": lambda: direp.Graph.random(2, 7, 1, density=0.5, seed=1),
    "random 4+2": lambda: direp.Graph.random(3, 4, 2, density=0.6, seed=2),
    "complete 3+2": lambda: direp.Graph.complete(2, 3, 2),
    "no hidden": lambda: direp.Graph.complete(2, 0, 2),
}
SHAPES = ("plain", "plain", "symmetric", "nearly symmetric", "sign-symmetric", "balanced", "excitatory", "opposed",
          "opposed", "detailed balance")  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """What a chunk of networks has in common."""

    graph: str
    neuron: str
    activation: str
    outflow: str
    batch: int
    centred: bool
    control: str = "none"
    drowned: bool = False

    @property
    def family(self) -> str:
        return "drowned" if self.drowned else "controlled" if self.control != "none" else "plain"


CONTROLS: dict[str, Any] = {
    "none": None,
    "leak": direp.LeakController(0.1, floor=0.05),
    "leak, blind": direp.LeakController(0.1, floor=0.05, through_leak=False),
    "leak, rows": direp.LeakController(0.1, floor=0.05, criterion=direp.certificates.Rows()),
    "leak, rising": direp.LeakController(0.1, floor=0.05, follow=False),
    "weights": direp.WeightProjection(0.1),
}
DROWNED = Kind("complete 3+2", "rate", "tanh", "none", 4, centred=False, drowned=True)


def kinds(rng: np.random.Generator, count: int) -> list[Kind]:
    """Half plain, a quarter controlled, a quarter drowned."""
    graphs, controls = itertools.cycle(rng.permutation(list(GRAPHS)).tolist()), itertools.cycle(list(CONTROLS)[1:])

    def one(k: int) -> Kind:
        kind = Kind(next(graphs), *NEURONS[rng.integers(len(NEURONS))], OUTFLOWS[rng.integers(4)],
                    int(rng.choice([1, 2, 4])), bool(rng.random() < 0.4))  # fmt: skip
        return replace(DROWNED, centred=kind.centred) if k % 4 == 3 else (
            replace(kind, control=next(controls)) if k % 4 == 1 else kind
        )  # fmt: skip

    return [one(k) for k in range(count)]


def draw(kind: Kind, graph: direp.Graph, rng: np.random.Generator) -> tuple[Net, np.ndarray, np.ndarray, float]:
    """One network, its inputs and targets, and the strength of the nudge."""
    exists, size = np.asarray(graph.adjacency()), graph.free
    scale = float(10 ** rng.uniform(-1.3, 0.5))
    weight = rng.normal(0, scale, exists.shape)
    inner, shape = weight[graph.inputs :], SHAPES[rng.integers(len(SHAPES))]
    if shape == "symmetric":
        inner[:] = np.triu(inner, 1) + np.triu(inner, 1).T
    elif shape == "nearly symmetric":
        inner[:] = np.triu(inner, 1) + np.triu(inner, 1).T + inner * 10 ** rng.uniform(-4, -0.5)
    elif shape in ("sign-symmetric", "opposed"):
        sign = np.sign(np.triu(inner, 1) + np.triu(inner, 1).T)
        inner[:] = np.abs(inner) * (sign if shape[0] == "s" else np.triu(sign, 1) - np.tril(sign, -1))
    elif shape == "balanced":
        sign = rng.choice([-1, 1], size)
        inner[:] = np.abs(inner) * sign[:, None] * sign
    elif shape == "excitatory":
        inner[:] = np.abs(inner)
    elif shape == "detailed balance":
        gain = 2.0 ** rng.integers(-2, 3, size)
        gain[graph.hidden :] = 1
        inner[:] = (np.triu(inner, 1) + np.triu(inner, 1).T) * gain  # t_i w_ji = t_j w_ij with t = 1 / gain
    weight[~exists] = 0
    apart = rng.spawn(1)[0]
    if kind.outflow == "absolute" and apart.random() < 0.1:
        # A synapse at the kink of |w|: nothing may be proved of it.
        inner[tuple(apart.choice(np.argwhere(exists[graph.inputs :])))] = 0
    steepest = 0.25 if kind.activation == "sigmoid" else 1.0
    needed = steepest * np.abs(inner).sum(1)
    lost = {"none": 0 * inner, "signed": inner, "absolute": np.abs(inner)}[kind.outflow].sum(1)
    leak = np.maximum(needed * rng.uniform(0.3, 1.5) + 10 ** rng.uniform(-1.5, 0.5) - lost, 0.02)
    if rng.random() < 0.3:
        leak = np.maximum(leak * rng.uniform(0.5, 2, size), 0.02)
    x = rng.uniform(0, 1, (kind.batch, graph.inputs))
    x = x if rng.random() < 0.7 else rng.normal(size=x.shape)
    x = x if rng.random() < 0.6 else x * 10 ** rng.uniform(0, 0.8)  # loud inputs, for which hidden synapses count most
    bias = np.zeros(size)
    if graph.bias:
        total = leak + lost
        # Most units in the middle of their range, some beyond it.
        goal = rng.uniform(-0.1, 1.1, size) if kind.neuron == "projected" else rng.normal(0.4, 0.5, size)
        centre = np.clip(goal, 0, 1)
        bias = goal * (total if kind.neuron != "rate" else 1) - centre @ inner - x.mean(0) @ weight[: graph.inputs]
    net = Net(
        kind.neuron, kind.activation, kind.outflow, graph.inputs, graph.outputs, weight, exists, bias, leak, graph.bias
    )
    y = rng.uniform(0, 1, (kind.batch, graph.outputs))
    return net, x, y, float(10 ** rng.uniform(-3, 0.5)) * (0.3 if kind.centred else 1.0)


def library(net: Net, graph: direp.Graph) -> direp.Network:
    neuron: Any = {
        "projected": lambda: direp.Projected(net.outflow),
        "hopfield": lambda: direp.Hopfield(LIBRARY[net.activation], net.outflow),
        "rate": lambda: direp.Rate(LIBRARY[net.activation], net.outflow),
    }[net.neuron]()
    bias = net.bias if graph.bias else None
    return direp.Network(graph, neuron, net.weight, leak=net.leak, bias=bias, layout=direp.Dense(graph))


def prepared(kind: Kind, graph: direp.Graph, rng: np.random.Generator) -> tuple[direp.Network, Net, Any, Any, float]:
    """A network of the library inside its control, the oracle's, inputs, targets, and the strength of the nudge."""
    if kind.drowned:
        exists = np.asarray(graph.adjacency())
        weight = rng.normal(0, 10 ** rng.uniform(-0.7, 0.2), exists.shape) * exists
        net = Net("rate", "tanh", "none", graph.inputs, graph.outputs, weight, exists, rng.normal(0, 0.3, graph.free),
                  np.full(graph.free, 0.1), True).controlled(0.1, 1.0, rows=False)  # fmt: skip
        network = library(net, graph).astype(np.float32)
        x = rng.uniform(0, 1, (kind.batch, graph.inputs)).astype(np.float32).astype(float)
        net = stored(network, net)
        answer = net.settle(x, np.zeros((kind.batch, graph.outputs)))[:, net.hidden :]
        y = answer + 10 ** rng.uniform(-4, 0) * rng.normal(size=answer.shape)
        return network, net, x, y.astype(np.float32).astype(float), float(10 ** rng.uniform(-5, 0))
    net, x, y, beta = draw(kind, graph, rng)
    network, control = library(net, graph), CONTROLS[kind.control]
    if control is not None:
        network = begun(network, control)
        net = stored(network, net)
    return network, net, x, y, beta


def stored(network: direp.Network, net: Net) -> Net:
    """The oracle's network with the numbers of the library's."""
    numbers = {name: np.asarray(getattr(network, name), np.float64) for name in ("bias", "leak")}
    return replace(net, weight=np.asarray(network.matrix, np.float64), **numbers)


@eqx.filter_jit
def begun(network: direp.Network, control: Any) -> direp.Network:
    return control.begin(network)
