"""Are the certificates of learning ever wrong? Small random networks against an oracle in plain NumPy.

Every verdict is tried out: on the stored gradient by the oracle's own gradient and by steps up to the proved size
(exact ones, and those that the run takes in its own precision and with its controller), every condition by what it is
proved for, with other targets, other inputs and other nudges where it says so. T1 and the closed forms are equivalences
and are compared with the oracle's own eigenvalues both ways. A quarter is controlled, and a quarter drawn where nudges
drown in the tolerance: 32 bits, all defaults, targets close to what the network answers, nudges from 1e-5 to 1.

    python tests/campaigns/learning.py --networks 100000 --seed 0 --workers 2
"""

import argparse
import collections
import inspect
import itertools
import json
import multiprocessing
import pathlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import equinox as eqx
import jax
import numpy as np
import optax
from learning_oracle import Net, Unsettled

import direp
from direp.model.activation import hard_sigmoid, sigmoid, tanh

CHUNK = 400  # networks of one kind, for which direp compiles one program
NEURONS = [*[("projected", "identity")] * 4, ("hopfield", "sigmoid"), ("hopfield", "hard-sigmoid"),
           ("hopfield", "tanh"), ("rate", "sigmoid"), ("rate", "tanh"), ("rate", "hard-sigmoid")]  # fmt: skip
OUTFLOWS = ("none", "none", "signed", "absolute")
COST = direp.SquaredError()
STOP = direp.Tolerance(1e-11, 1e-12, max_steps=3000)


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
def stepped(network: direp.Network, gradient: Any, control: Any, sizes: Any) -> Any:
    """The parameters after a step of each size, as training takes it."""

    def one(size: Any) -> Any:
        optimiser = optax.chain(direp.trainable(network), optax.scale(-1.0))
        optimiser = optimiser if control is None else direp.training.constrain(optimiser, control, network)
        scaled = jax.tree.map(lambda g: g * size.astype(g.dtype), gradient)
        updates, _ = optimiser.update(scaled, optimiser.init(network.parameters), network.parameters)
        return optax.apply_updates(network.parameters, updates)

    return jax.vmap(one)(sizes)


# A version before certificates knew controls and step sizes has neither.
_CONTROLLED = "control" in inspect.signature(direp.certify_learning).parameters


def proved_step(said: direp.LearningCertificate) -> float:
    return getattr(said, "step_size", 0.0)


class Judge:
    """Tries out what one certificate claims. `wrong` lists what did not hold."""

    def __init__(self, net: Net, x: np.ndarray, y: np.ndarray, begin: np.ndarray, rng: Any, kind: Kind | None = None):
        self.net, self.x, self.y, self.rng = net, x, y, rng
        self.free = net.settle(x, y, start=begin)
        self.before = net.loss(x, y, self.free)
        self.kind = kind
        self.wrong: list[str] = []
        self.seen: collections.Counter = collections.Counter()

    def expect(self, holds: Any, what: str) -> None:
        if not holds:
            self.wrong.append(what)

    def everything(self, said: direp.LearningCertificate, way: np.ndarray) -> None:
        self.as_run(said, way)
        for step in said.steps:
            self.seen[f"{step.criterion}: {step.verdict}"] += 1
            check = {
                "T1 every direction": self.every, "T2 angle": self.angle, "T3 output errors": self.outputs,
                "T4 closed form": self.closed, "T5 structural balance": self.structural,
                "T6 detailed balance": self.detailed, "pairs of one hidden layer": self.pairs,
                "one hidden layer": self.form, "two hidden units": self.form,
            }[step.criterion]  # fmt: skip
            if step.verdict != "undecided":
                check(step)

    def leaks(self, net: Net) -> Net:
        """A network with the leaks that the control gives it."""
        control = None if self.kind is None else CONTROLS[self.kind.control]
        if not isinstance(control, direp.LeakController):
            return net
        floor = control.floor if control.follow else self.net.leak
        return net.controlled(control.margin, floor, rows=control.criterion.incoming)

    def loss(self, way: np.ndarray, size: float) -> float:
        return self.leaks(self.net.moved(way, size)).loss(self.x, self.y, self.free)

    def as_run(self, said: direp.LearningCertificate, way: np.ndarray) -> None:
        """`way`: the step of size one, minus the stored gradient."""
        family = "plain" if self.kind is None else self.kind.family
        self.seen[f"as run, {family}: {said.verdict}"] += 1
        if said.verdict == "undecided":
            return
        exact = self.net.gradient(self.x, self.y, self.free)
        length, sizes = float(np.linalg.norm(way)), np.linalg.norm(exact, axis=1)
        if not length:
            self.expect(False, f"{said.verdict}, but the gradient is zero")
            return
        # Leaks are piecewise linear in the weights: a small step tells how they move.
        small = 1e-7 / length
        moved = (self.leaks(self.net.moved(way, small)).leak - self.leaks(self.net).leak) / small
        falls = exact @ way + self.net.leak_gradient(self.x, self.y, self.free) @ moved
        # How far the oracle's own states can be off.
        stiff = float(np.abs(np.linalg.inv(self.net.jacobian(self.free, self.x, self.y, 0.0))).sum(-1).max())
        off = 1e-13 * (1 + np.abs(self.net.drive(self.free, self.x, self.y, 0.0)).max()) * (1 + stiff) ** 2
        total = exact.sum(0)
        blur = 1e-9 + 10 * off * (1 + 1 / max(np.linalg.norm(total), 1e-300))
        cosine = falls.sum() / length / max(np.linalg.norm(total), 1e-300)
        if family != "controlled":
            low, high = said.cosine or (-1, 1)
            self.expect(low - blur < cosine < high + blur, f"cosine {cosine} outside [{low}, {high}]")
            self.expect(np.cos(np.radians(said.angle)) < cosine + blur, f"the angle is above {said.angle}")
            for one, fall, size in zip(said.samples, falls, sizes, strict=True):
                near = 1e-9 + 10 * off * (1 + 1 / max(size, 1e-300))
                if one.verdict != "undecided" and size > 1e-13 and abs(fall) > 2 * near * length * size:
                    self.seen["samples by themselves"] += 1
                    self.expect(one.verdict == ("proved" if fall > 0 else "refuted"), f"a sample: {fall}, {one}")
        if abs(cosine) < 2 * blur:
            return
        self.expect((cosine > 0) == (said.verdict == "proved"), f"{said.verdict}, but the cosine is {cosine}")
        if abs(cosine) > 1e-3:
            self.seen["small steps"] += 1
            self.expect(self.step(way, falls.mean()) == (said.verdict == "proved"), f"{said.verdict}, not by a step")
        if most := proved_step(said):
            self.steps(most, way)

    def steps(self, most: float, way: np.ndarray) -> None:
        """All steps up to the size that is proved."""
        before = self.before
        for share in (1.0, 0.3, 0.02):
            change = self.loss(way, share * most) - before
            self.seen["steps up to eta*"] += 1
            self.expect(change < 1e-13 * before + 1e-20, f"{share} of eta*={most}: the cost changes by {change}")

    def reach(self, most: float, way: np.ndarray) -> None:
        """How eta* compares with the largest step that in fact descends; at most one of 128 times all numbers."""
        if not most:
            self.seen["reach 0.00"] += 1
            return
        before, size = self.before, max(np.abs(self.net.weight).max(), 1e-9)
        end = max(128 * size / np.abs(way).max(), most)
        tried = np.append(most * 1.1 ** np.arange(max(int(np.log(end / most) / np.log(1.1)), 0)), end)
        for low, high in itertools.pairwise(tried):
            try:
                if not self.loss(way, high) < before:
                    end = low
                    break
            except (Unsettled, np.linalg.LinAlgError):
                end = low
                break
        self.seen[f"reach {min(most / end, 1.0):.3f}"] += 1

    def own(self, network: direp.Network, run: Any, way: np.ndarray, most: float) -> None:
        """Steps as the run takes them: in its precision, with its control. Their true cost must fall, if by more than
        the rounding of its parameters can change it."""
        control = CONTROLS[self.kind.control] if self.kind is not None else None
        sizes = np.array([1.0, 0.1]) * most
        after = stepped(network, run.gradient, control, sizes)
        before = self.before
        slopes = np.abs(self.net.gradient(self.x, self.y, self.free)).mean(0)
        lost = np.abs(self.net.leak_gradient(self.x, self.y, self.free)).mean(0)
        ones = self.net.moved(np.ones_like(slopes), 0.0)
        size = np.concatenate([np.abs(ones.weight[ones.exists]), np.abs(ones.bias) if ones.biased else []])
        eps = 8 * np.finfo(network.dtype).eps
        for k in range(len(sizes)):
            moved = stored(network.replace(jax.tree.map(lambda leaf, k=k: leaf[k], after)), self.net)
            wanted = self.loss(way, float(sizes[k])) - before
            rounded = size + np.abs(sizes[k] * way)
            noise = eps * (rounded @ slopes + (moved.leak + np.abs(moved.inner).sum(1)) @ lost) + 1e-13 * before
            if wanted < -2 * noise:
                self.seen["steps of the run"] += 1
                change = moved.loss(self.x, self.y, self.free) - before
                self.expect(change < 0, f"the run's step {sizes[k]} changes the cost by {change}, not {wanted}")

    def step(self, way: np.ndarray, slope: float) -> bool:
        """Whether a small step lowers the cost: taken ever smaller until the change is that of the gradient."""
        before = self.before
        for size in 10.0 ** -np.arange(3, 9) / np.linalg.norm(way):
            change = self.loss(way, size) - before
            if abs(change + size * slope) < 0.5 * abs(size * slope):
                break
        return change < 0

    def _columns(self, units: np.ndarray, samples: slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """What the synapses make of unit errors: exact and estimated, [sample, unit, synapse]."""
        x, y, s = self.x[samples], self.y[samples], self.free[samples]
        current = np.zeros((len(x), self.net.size, len(units)))
        current[:, units, range(len(units))] = 1
        found = []
        if not len(units):
            none = np.zeros((len(x), 0, int(self.net.exists.sum()) + self.net.size * self.net.biased))
            return none, none
        for post, back in (self.net.adjoint(x, y, s, current), self.net.limit(x, y, s, current)):
            found.append(np.stack([self.net.vector(x, s, post[..., k], back[..., k]) for k in range(len(units))], 1))
        return found[0], found[1]

    def _lowest(self, exact: np.ndarray, estimated: np.ndarray) -> tuple[float, float]:
        """Lowest eigenvalue of the symmetric part, and the size of rounding."""
        form = exact @ estimated.T
        return float(np.linalg.eigvalsh((form + form.T) / 2)[0]), 1e-11 * float(np.abs(form).max())

    def _felt(self, n: int, units: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Which errors some synapse feels, of those at units that no face holds, and what the synapses make of them."""
        net, s = self.net, self.free[n : n + 1]
        held = net.held(s, net.flow(s, net.drive(s, self.x[n : n + 1], self.y[n : n + 1], 0.0)))[0]
        units = units[~held[units]]
        exact, estimated = (part[0] for part in self._columns(units, slice(n, n + 1)))
        kept = (np.abs(exact).max(1, initial=0) > 0) | (np.abs(estimated).max(1, initial=0) > 0)
        return units[kept], exact[kept], estimated[kept]

    def _answering(self, n: int) -> np.ndarray:
        net, s = self.net, self.free[n : n + 1]
        u = net.drive(s, self.x[n : n + 1], self.y[n : n + 1], 0.0)
        before, after = net.slopes(s, u)
        return np.flatnonzero((before * after > 0)[0] & ~net.held(s, net.flow(s, u))[0])

    def every(self, step: Any) -> None:
        lowest = []
        for n in range(len(self.x)):
            units, exact, estimated = self._felt(n, np.arange(self.net.size))
            if len(units):
                value, blur = self._lowest(exact, estimated)
                lowest.append((value / max(blur, 1e-300), value))
                if np.array_equal(units, self._answering(n)):
                    self._first_form(n, units, value, blur)
        if not lowest:
            self.expect(False, f"T1 {step.verdict}, but no error is felt")
            return
        worst = min(lowest)[0]
        if abs(worst) > 1:
            self.seen["T1 equivalence"] += 1
            self.expect((worst > 0) == step.proved, f"T1 {step.verdict}, lowest eigenvalue {min(lowest)}")

    def _first_form(self, n: int, units: np.ndarray, value: float, blur: float) -> None:
        r"""T1 as it is written: the norm of J_A J_S^-1 after scaling by K^(-1/2)."""
        net, s = self.net, self.free[n : n + 1]
        if net.neuron == "rate" and net.outflow != "none":
            return
        before, after = net.slopes(s, net.drive(s, self.x[n : n + 1], self.y[n : n + 1], 0.0))
        reduced = (net.inner.T - np.diag(net.total / np.where(before * after > 0, before * after, 1)[0]))[
            np.ix_(units, units)
        ]
        unit = np.zeros((1, net.size, len(units)))
        unit[0, units, range(len(units))] = 1
        rows = np.stack([net.vector(self.x[n : n + 1], s, unit[..., k], unit[..., k])[0] for k in range(len(units))])
        values, vectors = np.linalg.eigh(rows @ rows.T)
        if values[0] < 1e-6 * values[-1]:
            return
        root = vectors / np.sqrt(values) @ vectors.T
        scaled = root @ reduced @ root
        even, skew = (scaled + scaled.T) / 2, (scaled - scaled.T) / 2
        if np.linalg.cond(even) > 1e8:
            return
        norm = float(np.linalg.norm(skew @ np.linalg.inv(even), 2))
        if abs(norm - 1) > 1e-6 and abs(value) > blur:
            self.seen["T1 as a norm"] += 1
            self.expect((norm < 1) == (value > 0), f"T1 as a norm is {norm}, the lowest eigenvalue {value}")

    def outputs(self, step: Any) -> None:
        outputs = np.arange(self.net.hidden, self.net.size)
        parts = [self._felt(n, outputs) for n in range(len(self.x))]
        exact, estimated = (np.concatenate([part[k] for part in parts]) for k in (1, 2))
        if not len(exact):
            self.expect(False, f"T3 {step.verdict}, but no output's error is felt")
            return
        value, blur = self._lowest(exact, estimated)
        if abs(value) > blur:
            self.expect((value > 0) == step.proved, f"T3 {step.verdict}, lowest eigenvalue {value}")
        if step.proved:
            for _ in range(3):
                error = self.rng.normal(size=len(exact))
                self.expect(error @ exact @ (estimated.T @ error) > -blur, "T3 proved, but other targets ascend")

    def closed(self, step: Any) -> None:
        for n in range(len(self.x)):
            units = self._answering(n)
            if len(units):
                exact, estimated = self._columns(units, slice(n, n + 1))
                value, blur = self._lowest(exact[0], estimated[0])
                self.expect(value > -blur, f"T4 proved, but T1 fails with {value}")

    def angle(self, step: Any) -> None:
        net = self.net
        for n in range(len(self.x)):
            units, s = self._answering(n), self.free[n : n + 1]
            if not len(units):
                continue
            before, after = net.slopes(s, net.drive(s, self.x[n : n + 1], self.y[n : n + 1], 0.0))
            reduced = net.inner.T - np.diag(net.total / np.where(before * after > 0, before * after, 1)[0])
            reduced = reduced[np.ix_(units, units)]
            metric = -(reduced + reduced.T) / 2
            # The largest angle is that of an eigenvector, whose plane reaches the bound.
            root = np.linalg.inv(np.linalg.cholesky(metric))
            vector = np.linalg.eigh(1j * root @ (reduced - reduced.T) @ root.T)[1][:, -1]
            for c in [np.linalg.solve(root, vector.real), *self.rng.normal(size=(3, len(units)))]:
                p, q = np.linalg.solve(reduced.T, c), np.linalg.solve(reduced, c)
                cosine = p @ metric @ q / np.sqrt((p @ metric @ p) * (q @ metric @ q))
                self.expect(np.degrees(np.arccos(np.clip(cosine, -1, 1))) < step.value + 1e-5, "T2: a larger angle")

    def _elsewhere(self, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        x = self.rng.normal(0.4, 1, (count, self.net.inputs))
        y = self.rng.normal(0.5, 0.5, (count, self.net.outputs))
        return x, y, self.net.settle(x, y)

    def structural(self, step: Any) -> None:
        x, y, s = self._elsewhere(4)
        exact = self.net.gradient(x, y, s)
        for betas in ((1e-2,), (1.0,), (10.0,), (-0.05,), (0.1, -0.1)):
            try:
                phases = [self.net.settle(x, y, beta, s) for beta in betas]
            except Unsettled:  # a negative nudge may leave nothing to settle at
                phases = None
            if phases is None or not all(
                self.net.stable(x, y, phase, beta) for phase, beta in zip(phases, betas, strict=True)
            ):
                self.seen["nudges for T5 that did not settle"] += 1
                continue
            estimated = self.net.rule(x, y, s, betas, phases)
            product = estimated * exact
            # Where the exact gradient is zero, the oracle's is rounding, and a strong nudge makes it look large.
            blur = 1e-9 * np.abs(product).max(1, keepdims=True) + 1e-12 * (1 + np.abs(estimated).max(1, keepdims=True))
            fine = (product > -blur).all()
            self.expect(fine, f"T5 with nudges {betas}")

    def detailed(self, step: Any) -> None:
        x, y, s = self._elsewhere(5)
        estimated, exact = self.net.limit_rule(x, y, s).sum(0), self.net.gradient(x, y, s).sum(0)
        self.expect(
            estimated @ exact >= -1e-12 * (exact @ exact + estimated @ estimated),
            "T6 proved, but another batch ascends",
        )
        target = np.nonzero(self.net.exists)[1]
        for j in range(self.net.size):
            a, b = estimated[: len(target)][target == j], exact[: len(target)][target == j]
            if np.abs(b).max(initial=0) > 1e-9:
                gain = a @ b / (b @ b)
                self.expect(np.abs(a - gain * b).max() < 1e-7 * np.abs(a).max() + 1e-12, "T6: no common gain")
                self.expect(1 / step.value - 1e-6 < gain < step.value + 1e-6, f"T6: gain {gain} above {step.value}")

    def pairs(self, step: Any) -> None:
        if not step.proved:
            return
        x, y, s = self._elsewhere(5)
        product = (self.net.limit_rule(x, y, s) * self.net.gradient(x, y, s)).sum(1)
        self.expect((product > -1e-10).all(), f"pairs proved, but a sample has {product.min()}")

    def form(self, step: Any) -> None:
        """The number itself: the inner product for a unit error, over what reaches the output's own bias."""
        net, lowest, values = self.net, [], []
        output = np.array([net.hidden])
        square = net.inner.T - np.diag(net.total)
        scale = np.linalg.det(square[:2, :2]) ** 2 if step.criterion == "two hidden units" else 1.0
        current = np.zeros((1, net.size, 1))
        current[0, output] = 1
        for n in range(len(self.x)):
            exact, estimated = self._columns(output, slice(n, n + 1))
            lowest.append(float(exact[0, 0] @ estimated[0, 0]))
            at = (self.x[n : n + 1], self.y[n : n + 1], self.free[n : n + 1], current)
            own = [post[0, net.hidden, 0] for post, _ in (net.adjoint(*at), net.limit(*at))]
            values.append(scale * lowest[-1] / (own[0] * own[1]))
        near = abs(min(values) - step.value) < 1e-7 * max(1e-3, np.abs(values).max())
        self.expect(near, f"{step.criterion} is {step.value}, not {min(values)}")
        if abs(min(lowest)) > 1e-12 * max(np.abs(lowest)):
            self.expect((min(lowest) > 0) == step.proved, f"{step.criterion} {step.verdict}, T3 says {min(lowest)}")


def finite_differences(judge: Judge) -> None:
    """The oracle against itself: its gradient and that of its settled loss.

    An absolute outflow has a corner at a synapse of weight zero, so such synapses stay as they are.
    """
    net, x, y, s = judge.net, judge.x, judge.y, judge.free
    exact = net.gradient(x, y, judge.free).sum(0) / len(x)
    way = judge.rng.normal(size=len(exact))
    if net.outflow == "absolute":
        way[: int(net.exists.sum())][net.weight[net.exists] == 0] = 0
    way /= np.linalg.norm(way)
    slope = (net.moved(way, 1e-6).loss(x, y, s) - net.moved(way, -1e-6).loss(x, y, s)) / 2e-6
    judge.expect(abs(slope + exact @ way) < 1e-4 * (np.linalg.norm(exact) + 1e-3), f"oracle: {slope} {exact @ way}")


@eqx.filter_jit
def begun(network: direp.Network, control: Any) -> direp.Network:
    return control.begin(network)


@eqx.filter_jit
def through(network: direp.Network, gradient: Any, control: Any) -> Any:
    return control.gradient(network, control.init(network), gradient)


def descent(network: direp.Network, gradient: Any, control: Any) -> np.ndarray:
    """Minus the gradient that a run descends, laid out as the oracle does."""
    if control is not None:
        gradient = through(network, gradient, control)
    strengths = np.asarray(network.synapses.strengths(gradient.weight), np.float64)
    bias = np.asarray(gradient.bias, np.float64) if network.graph.bias else np.zeros(0)
    return -np.concatenate([strengths, bias])


def chunk(task: tuple[int, int, Kind, int]) -> tuple[collections.Counter, list[dict]]:
    """One kind of networks; returns counts and everything that was wrong."""
    seed, number, kind, count = task
    jax.config.update("jax_enable_x64", True)
    graph = GRAPHS[kind.graph]()
    counts: collections.Counter = collections.Counter()
    wrong = []
    for k in range(count):
        rng = np.random.default_rng((seed, number, k))
        network, net, x, y, beta = prepared(kind, graph, rng)
        counts["networks"] += 1
        rule = direp.Local(direp.Centred(beta) if kind.centred else direp.OneSided(beta))
        how = {"stop": None if kind.drowned else STOP}
        control = CONTROLS[kind.control]
        more = {"control": control} if _CONTROLLED else {}
        said = direp.certify_learning(network, x, y, rule, **more, **how)
        # The same numbers again; of several equilibria, the oracle judges the one that direp speaks of.
        run = direp.estimate(network, x, y, rule, **how)
        kept = np.setdiff1d(np.arange(len(x)), said.left_out)
        counts["samples left out"] += len(said.left_out)
        if not len(kept):
            counts["no sample settled"] += 1
            continue
        way = descent(network, run.gradient, control)
        if not np.isfinite(way).all():
            counts["no finite gradient"] += 1
            continue
        if not way.any():
            counts["gradients of exactly 0"] += 1
        try:
            judge = Judge(net, x[kept], y[kept], np.asarray(run.free.state, np.float64)[kept], rng, kind)
            judge.everything(said, way)
            if k % 20 == 0:
                finite_differences(judge)
            if said.verdict == "proved" and k % 10 == 0:
                judge.reach(proved_step(said), way)
            if most := proved_step(said):
                judge.own(network, run, way, most)
        except (Unsettled, np.linalg.LinAlgError):
            counts["not settled by the oracle"] += 1
            continue
        counts.update(judge.seen)
        wrong += [{"seed": [seed, number, k], "kind": kind.__dict__, "what": what} for what in judge.wrong]
    return counts, wrong


def campaign(
    networks: int, seed: int, workers: int, size: int, saved: pathlib.Path
) -> tuple[collections.Counter, list[dict]]:
    """All chunks; what is done is saved after each, and an interrupted campaign goes on from there."""
    size = min(size, networks)
    chosen = kinds(np.random.default_rng(seed), -(-networks // size))
    state: dict[str, Any] = json.loads(saved.read_text()) if saved.exists() else {"done": [], "counts": {}, "wrong": []}
    tasks = [(seed, n, kind, size) for n, kind in enumerate(chosen) if n not in state["done"]]
    counts, wrong = collections.Counter(state["counts"]), list(state["wrong"])
    begun = time.time()
    pool = multiprocessing.get_context("spawn").Pool(workers)
    for finished, (number, part, bad) in enumerate(pool.imap_unordered(numbered, tasks), 1):
        counts.update(part)
        wrong += bad
        state["done"].append(number)
        saved.write_text(json.dumps({"done": state["done"], "counts": counts, "wrong": wrong}))
        left = (time.time() - begun) / finished * (len(tasks) - finished)
        print(f"\r{counts['networks']:,} networks, {len(wrong)} wrong, {left:.0f} s left   ", end="", flush=True)
    return counts, wrong


def numbered(task: tuple[int, int, Kind, int]) -> tuple[int, collections.Counter, list[dict]]:
    done = chunk(task)
    jax.clear_caches()  # compiled programs of one kind are of no use to the next
    return task[1], *done


def shares_decided(counts: collections.Counter) -> Iterator[str]:
    for family in ("plain", "controlled", "drowned"):
        found = [counts[f"as run, {family}: {verdict}"] for verdict in ("proved", "refuted", "undecided")]
        if sum(found):
            yield f"{sum(found[:2]):,} of {sum(found):,} {family}"


def table(counts: collections.Counter) -> str:
    names = sorted({name.rpartition(": ")[0] for name in counts if ": " in name})
    lines = ["| verdict on | proved | refuted | undecided |", "|---|---:|---:|---:|"]
    lines += [
        f"| {name} | " + " | ".join(f"{counts[f'{name}: {v}']:,}" for v in ("proved", "refuted", "undecided")) + " |"
        for name in names
    ]
    reach = {float(name[6:]): count for name, count in counts.items() if name.startswith("reach ")}
    rest = [f"{name}: {count:,}" for name, count in counts.items() if ": " not in name and name[:6] != "reach "]
    shares = np.repeat(list(reach), list(reach.values())) if reach else np.zeros(1)
    names = "median, 10 %, 1 %, least"
    told = ", ".join(f"{q:.3f}" for q in np.quantile(shares, [0.5, 0.1, 0.01, 0]))
    decided = f"verdicts as run that are not undecided: {', '.join(shares_decided(counts))}"
    reached = f"eta* over the largest step that descends ({len(shares)}): {names}: {told}"
    return "\n".join([*lines, "", decided, "; ".join(rest), reached])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--chunk", type=int, default=CHUNK, help="networks of one kind")
    parser.add_argument("--saved", type=pathlib.Path, default=pathlib.Path("learning_campaign.json"))
    asked = parser.parse_args()
    begun = time.time()
    counts, wrong = campaign(asked.networks, asked.seed, asked.workers, asked.chunk, asked.saved)
    print(f"\n\n{table(counts)}\n\nviolations: {len(wrong)}; {time.time() - begun:.0f} s")
    if wrong:
        print(f"see {asked.saved}")
        raise SystemExit(1)


if __name__ == "__main__":
    main()
