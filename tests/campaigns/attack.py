"""Do verdicts hold for what runs? The seams between mathematics and execution, drawn and judged.

A seam is one network at one input and start, in one precision, settled by one method to one tolerance (or one nudged
phase of a rule, or one batch with mates that are not numbers). The judge, `attack_judge.py`, shares no code with the
library: it finds the true equilibria in extended precision from the stored numbers. What counts as a violation:

- wrong proof: a proved network with two equilibria, or two states that approach each other more slowly than proved
- not settled: a proved network that the default method does not settle
- outside its bar: a state further from the true equilibrium than its error bar
- too early: reported converged although the residual of some unit exceeds that unit's own tolerance
- lost response: a sample that is used although its nudged phases say nothing of the true response
- mates: a sample that comes out differently when the others in its batch are not numbers
- left its set: a constraint that does not keep the margin it promises

    python tests/campaigns/attack.py --seams 1000000 --seed 0 --jobs 2

Two kinds of complaint are counted and are no violation: a tolerance below what the precision can resolve, and an
equilibrium that the judge itself could not find.
"""

import argparse
import collections
import inspect
import json
import math
import multiprocessing
import os
import pathlib
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

# Programs compile twice as fast with these.
if __name__ == "__main__" or multiprocessing.parent_process() is not None:
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1")

import jax
import numpy as np
from attack_judge import (
    ACTIVATIONS,
    OUTFLOWS,
    WIDE,
    Correction,
    Net,
    Nudge,
    Truth,
    equilibria,
    in_reach,
    least_margin,
    step_too_long,
    too_slow,
    unsettled,
)
from threadpoolctl import threadpool_limits

import direp

ROWS = 32  # inputs and starts of one network, side by side
NETWORKS = 8  # of one chunk, all of one neuron and graph
PRECISIONS = np.float64, np.float32
KEPT = 20  # violations of one kind that are saved with all their numbers
LONGEST = 5000  # the library's own limit of steps

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
VIOLATIONS = (
    "wrong proof", "not settled", "outside its bar", "too early", "lost response", "mates", "left its set"
)  # fmt: skip
# What the library can take: bars and methods from a certificate may be missing in an older version.
_TAKES = {name: "certificate" in inspect.signature(getattr(direp, name)).parameters for name in ("settle", "estimate")}
_UNMOVED = getattr(direp.settling, "UNMOVED", -1)


@lru_cache(None)
def _graph(name: str) -> direp.Graph:
    return GRAPHS[name]()


@lru_cache(None)
def _neuron(kind: str, activation: str, outflow: str, box: tuple[float, float] | None) -> Any:
    if box is not None:
        return direp.Projected(outflow=outflow, low=box[0], high=box[1])
    known = next(a for a in direp.activation.ACTIVATIONS.values() if a.name == activation)
    return {"hopfield": direp.Hopfield, "rate": direp.Rate}[kind](known, outflow=outflow)


# What is drawn


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
            _graph(self.graph), _neuron(*self.neuron), self.weight, leak=self.leak, bias=self.bias, dtype=dtype
        )

    def net(self, network: direp.Network, x: np.ndarray) -> Net:
        """The judge's own, from the numbers that the library stores."""
        numbers = (np.asarray(a) for a in (network.matrix, network.leak, network.bias))
        box = self.neuron[3] and tuple(float(np.asarray(face, network.dtype)) for face in self.neuron[3])
        return Net(*self.neuron[:3], box, _graph(self.graph).hidden, *numbers, x)


class Pencil:
    """Draws networks of one neuron and graph."""

    def __init__(self, rng: np.random.Generator, neuron: Any, graph: str):
        self.rng, self.neuron, self.graph = rng, neuron, graph
        shape = _graph(graph)
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


# What is found


@dataclass
class Report:
    seams: collections.Counter = field(default_factory=collections.Counter)
    counts: collections.Counter = field(default_factory=collections.Counter)
    violated: collections.Counter = field(default_factory=collections.Counter)
    ratios: list[float] = field(default_factory=list)
    saved: list[dict[str, Any]] = field(default_factory=list)

    def add(self, other: "Report") -> None:
        for mine, theirs in ((self.seams, other.seams), (self.counts, other.counts), (self.violated, other.violated)):
            mine.update(theirs)
        self.ratios += other.ratios
        kept = collections.Counter(v["what"] for v in self.saved)
        for each in other.saved:
            if kept[each["what"]] < KEPT:
                kept[each["what"]] += 1
                self.saved.append(each)

    @property
    def total(self) -> int:
        return sum(self.seams.values())

    def violations(self, what: str) -> int:
        return sum(count for (_, name), count in self.violated.items() if name == what)

    def table(self) -> str:
        lines = [f"{'':12}{'seams':>12}" + "".join(f"{name:>17}" for name in VIOLATIONS)]
        for kind in sorted(self.seams):
            row = "".join(f"{self.violated[kind, name]:>17,}" for name in VIOLATIONS)
            lines.append(f"{kind:12}{self.seams[kind]:>12,}{row}")
        row = "".join(f"{self.violations(name):>17,}" for name in VIOLATIONS)
        lines.append(f"{'all':12}{self.total:>12,}{row}")
        count = self.counts
        share = count["proved"] / max(count["networks"], 1)
        bars = f"{statistics.median(self.ratios):.3g}" if self.ratios else "no bars"
        lines += [
            "",
            f"{count['networks']:,} networks, {share:.1%} proved; {count['converged']:,} seams converged; "
            f"median of bar / true error {bars} ({count['bars']:,} bars, {count['no bar']:,} infinite or missing)",
            f"{count['unmoved']:,} nudged phases said that their tolerance does not let them move; "
            f"{count['responses']:,} responses were compared with the true ones, "
            f"{count['nothing left']:,} samples had no error left (below the root of the precision)",
            f"not judged: {count['below rounding']:,} seams whose tolerance is below rounding, "
            f"{count['not found']:,} whose equilibrium the judge did not find",
        ]
        return "\n".join(lines)


@dataclass
class Judge:
    """The verdicts on one network in one precision, and its report."""

    report: Report
    place: dict[str, Any]
    drawn: Draw
    network: direp.Network
    x: np.ndarray
    net: Net
    certificate: Any
    eps: float
    tiny: float
    truth: Truth | None = None

    def violation(self, what: str, rows: np.ndarray, **values: Any) -> None:
        kind = self.drawn.family if self.place["kind"] == "settle" else self.place["kind"]
        rows = np.atleast_1d(rows)
        self.report.violated[kind, what] += len(rows)
        for row in rows[:1]:
            numbers = {name: np.asarray(getattr(self.drawn, name)).tolist() for name in ("weight", "leak", "bias")}
            numbers |= {name: getattr(self.drawn, name) for name in ("neuron", "graph", "family")}
            shown = {name: _shown(value, int(row)) for name, value in values.items()}
            each = {"x": self.x[row].tolist(), "start": self.drawn.state[row].tolist(), "row": int(row)}
            self.report.saved.append({"what": what, **self.place, **numbers, **each, **shown})

    @property
    def proved(self) -> bool:
        return bool(self.certificate)

    def judge(
        self, settled: Any, net: Net, truth: Truth | None, rtol: float, atol: float, must: bool, how: str
    ) -> None:
        """One settled batch: (too early), (outside its bar) and, if it `must` converge, (not settled).

        A nudged phase that its tolerance does not let move says so, and its sample is not used: that is allowed.
        """
        state = np.asarray(settled.state, np.float64)
        converged = np.asarray(settled.converged)
        self.report.counts["converged"] += int(converged.sum())
        about = {
            "how": how,
            "rtol": rtol,
            "atol": atol,
            "state": state,
            "result": settled.result,
            "steps": settled.steps,
        }
        over = unsettled(net, state, rtol, atol, self.eps, self.tiny)
        early = converged & ~(over <= 0).all(-1)
        if early.any():
            self.violation(
                "too early", np.flatnonzero(early), over=over, velocity=net.velocity(state.astype(WIDE)), **about
            )
        if truth is None:
            return
        self.report.counts["not found"] += int((~truth.found).sum())
        reach = truth.found & in_reach(net, truth.state, rtol, atol, self.eps, self.tiny)
        self.report.counts["below rounding"] += int((truth.found & ~reach).sum())
        unmoved = (np.asarray(settled.result) == _UNMOVED) & (net.current is not None)
        self.report.counts["unmoved"] += int(unmoved.sum())
        late = reach & ~converged & ~unmoved & np.isfinite(self.x).all(-1)
        if must and late.any():
            self.violation("not settled", np.flatnonzero(late), truth=truth.state, residual=settled.residual, **about)
        self.bars(settled, state, truth, about)

    def bars(self, settled: Any, state: np.ndarray, truth: Truth, about: dict[str, Any]) -> None:
        error = getattr(settled, "error", None)
        if error is None:
            return
        error = np.asarray(error, WIDE)
        off = np.abs(state.astype(WIDE) - truth.state)
        out = truth.found & ~(off <= error + truth.error).all(-1)
        if out.any():
            self.violation("outside its bar", np.flatnonzero(out), error=error, off=off, truth=truth.state, **about)
        told = np.isfinite(error).all(-1)
        self.report.counts["bars"] += int(told.sum())
        self.report.counts["no bar"] += int((~told).sum())
        clear = told & truth.found & (off.max(-1) > 10 * truth.error.max(-1))
        worst = off[clear].max(-1)
        self.report.ratios += (error[clear].max(-1) / worst).astype(float).tolist()


def _shown(value: Any, row: int) -> Any:
    array = np.asarray(value)
    if not array.ndim or array.dtype.kind not in "fiub":
        return value if isinstance(value, str) else array.tolist()
    array = array[row] if len(array) == ROWS else array
    return np.asarray(array, np.float64 if array.dtype.kind == "f" else None).tolist()


# What is tried


def attack(seed: int, chunk: int, only: tuple[str, ...] = ()) -> Report:
    """Draw and judge one chunk; the same one whoever runs it."""
    kinds = [k for k in KINDS if not only or k in only or (k == "settle" and set(only) & FAMILIES.keys())]
    rng = np.random.default_rng([seed, chunk])
    weights = np.array([KINDS[k][1] for k in kinds], float)
    kind = kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))]
    with np.errstate(all="ignore"):
        return KINDS[kind][0](seed, chunk, rng, [f for f in FAMILIES if f in only] or list(FAMILIES))


def _judge(
    place: dict[str, Any], report: Report, drawn: Draw, dtype: Any, nudges: Any = None, certified: bool = True
) -> Judge | None:
    """A network in one precision, certified, with the true equilibria where it is proved."""
    info = np.finfo(dtype)
    stored = [np.abs(np.asarray(a, np.float64)).max() for a in (drawn.weight, drawn.leak, drawn.bias, drawn.x)]
    if not max(stored) < 0.01 * math.sqrt(float(info.max)):
        return None
    network = drawn.network(dtype)
    x = np.asarray(drawn.x, dtype)
    net = drawn.net(network, x)
    sure = certified and drawn.family != "loose"
    nudge, sharpness = nudges or (None, 0.0)
    certificate = direp.certify(network, starts=0, nudge=nudge, cost=_cost(sharpness)) if sure else None
    report.counts["networks"] += 1
    report.counts["proved"] += bool(certificate)
    place = place | {"precision": info.bits, "certificate": repr(certificate)}
    judge = Judge(report, place, drawn, network, x, net, certificate, float(info.eps), float(info.tiny))
    if certificate:
        judge.truth = equilibria(net, np.asarray(drawn.state, dtype))
    return judge


def _cost(sharpness: float) -> direp.AbstractCost:
    return direp.CrossEntropy(sharpness) if sharpness else direp.SquaredError()


def _contracts(judge: Judge, rng: np.random.Generator, nets: list[Net]) -> None:
    """Pairs of states, near and far, along single units and along signs that grow fastest."""
    certificate, truth = judge.certificate, judge.truth
    assert truth is not None
    norm = certificate.norm.to_dict()
    for net in nets:
        centre = np.where(np.isfinite(truth.state), truth.state, 0)
        if rng.random() < 0.5:
            centre = net.clip(centre * rng.choice([0, 0.5, 1, 2], (len(centre), 1)) + rng.normal(size=centre.shape))
        if net.box is not None:  # where no face holds, half of the time
            low, high = net.box
            inside = low + (high - low) * rng.uniform(0.1, 0.9, centre.shape)
            centre = np.where(rng.random((len(centre), 1)) < 0.5, inside, centre)
        apart = rng.normal(size=centre.shape) * 10 ** rng.uniform(-6, 1, (len(centre), 1))
        apart *= 1 + np.abs(centre).max(-1, keepdims=True).astype(float)
        if "weights" in norm:
            eta = np.asarray(norm["weights"])
            apart *= eta if "infinity" in norm["name"] else 1 / eta
        unit = rng.integers(net.free, size=len(centre))
        single = np.where(np.arange(net.free) == unit[:, None], apart, 0)
        with np.errstate(all="ignore"):
            pull = np.sign(net.jacobian(centre)[np.arange(len(centre)), unit])
        pull[np.arange(len(centre)), unit] = 1
        signs = np.abs(apart).max(-1, keepdims=True) * pull.astype(float)
        if "weights" in norm and "infinity" in norm["name"]:
            signs = pull.astype(float) * np.asarray(norm["weights"]) * 10 ** rng.uniform(-6, 0)
        for way in (apart, single, signs):
            other = net.clip(centre + way.astype(WIDE))
            slow = too_slow(net, norm, certificate.rate, centre, other)
            slow |= step_too_long(net, norm, certificate.largest_step, certificate.factor, centre, other)
            if slow.any():
                judge.violation(
                    "wrong proof", np.flatnonzero(slow), one=centre, two=other, rate=certificate.rate, norm=str(norm),
                    run_beta=net.current.beta if isinstance(net.current, Nudge) else 0.0,
                )  # fmt: skip
                return
    again = equilibria(judge.net, rng.normal(size=truth.state.shape) * (1 + np.abs(truth.state).astype(float)))
    two = again.found & truth.found & (np.abs(again.state - truth.state) > 4 * (again.error + truth.error)).any(-1)
    if two.any():
        judge.violation("wrong proof", np.flatnonzero(two), one=truth.state, two=again.state, norm="two equilibria")


def _methods(judge: Judge) -> dict[str, direp.AbstractMethod]:
    methods: dict[str, Any] = {
        "Preconditioned": direp.Preconditioned(), "Anderson": direp.Anderson(), "Newton": direp.Newton(),
    }  # fmt: skip
    if direp.Coloured.suits(judge.network):
        methods["Coloured"] = direp.Coloured()
    if judge.proved:
        step = float(judge.certificate.largest_step)
        step = step if judge.network.dtype == np.float64 else float(np.nextafter(np.float32(step), np.float32(0)))
        if step > 0:
            methods["Euler"] = direp.Euler(step)
    return methods


def settling(seed: int, chunk: int, rng: np.random.Generator, families: list[str]) -> Report:
    """Networks settled by every method, to the default tolerance and to others, alone and beside what is no number."""
    report = Report()
    neuron = NEURONS[chunk % len(NEURONS)]
    names = list(GRAPHS)
    # Two small graphs for every neuron, and a large one for some: programs are compiled once for each.
    place = int(chunk % len(NEURONS) + rng.integers(2)) % 4
    rare = {0: "forty", 3: "flat"}.get(chunk % len(NEURONS) % 8)
    graph = rare if rare is not None and rng.random() < 0.15 else names[place]
    pencil = Pencil(rng, neuron, graph)
    for index in range(NETWORKS if graph != "forty" else 2):
        drawn = pencil.draw(str(rng.choice(families)))
        for dtype in PRECISIONS:
            place_ = {"kind": "settle", "seed": seed, "chunk": chunk, "network": index}
            judge = _judge(place_, report, drawn, dtype)
            if judge is not None:
                _settle_all(judge, rng)
    return report


def _settle_all(judge: Judge, rng: np.random.Generator) -> None:
    report, drawn, network, truth = judge.report, judge.drawn, judge.network, judge.truth
    x, start, family = judge.x, np.asarray(drawn.state, judge.x.dtype), drawn.family
    if judge.proved:
        _contracts(judge, rng, [judge.net])
    usual = 1e-9 if network.dtype == np.float64 else 1e-5
    first = jax.device_get(direp.settle(network, x, state=start))
    judge.judge(first, judge.net, truth, usual, usual, judge.proved, "default")
    report.seams[family] += ROWS
    if judge.proved and _TAKES["settle"]:
        told = jax.device_get(direp.settle(network, x, state=start, certificate=judge.certificate))  # pyright: ignore
        judge.judge(told, judge.net, truth, usual, usual, True, "certificate")
        report.seams[family] += ROWS
    methods = _methods(judge)
    for name in rng.permutation(list(methods))[:2]:
        floor = -12 if network.dtype == np.float64 else -6
        rtol, atol = (float(np.asarray(10 ** rng.uniform(floor, -2), network.dtype)) for _ in range(2))
        more = {"certificate": judge.certificate} if judge.proved and _TAKES["settle"] and rng.random() < 0.5 else {}
        settled = jax.device_get(
            direp.settle(network, x, state=start, method=methods[name], stop=direp.Tolerance(rtol, atol), **more)
        )
        judge.judge(settled, judge.net, truth, rtol, atol, False, str(name))
        if name == "Euler" and truth is not None:
            _in_time(judge, settled, truth, rtol, atol)
        report.seams[family] += ROWS
    if rng.random() < 0.5:
        _beside(judge, first, rng)
        report.seams[family] += ROWS


def _in_time(judge: Judge, settled: Any, truth: Truth, rtol: float, atol: float) -> None:
    """Euler with the certified step takes no more than the certified steps."""
    net = judge.net
    least = float(np.min(atol * net.total))
    if not least > 0:
        return
    velocity = net.velocity(net.clip(np.asarray(judge.drawn.state, WIDE)))
    reach = truth.found & in_reach(net, truth.state, 0.0, atol / 4, judge.eps, judge.tiny)
    for row in np.flatnonzero(reach & ~np.asarray(settled.converged)):
        bound = judge.certificate.steps_to(np.asarray(velocity[row : row + 1], np.float64), least)
        if bound is not None and bound < 0.9 * LONGEST:
            judge.violation(
                "not settled", np.array([row]), how="Euler(largest_step)", bound=bound, rtol=rtol, atol=atol
            )


def _beside(judge: Judge, alone: Any, rng: np.random.Generator) -> None:
    """The same batch, with every second sample replaced by one that is not a number or overflows."""
    x, start = judge.x.copy(), np.asarray(judge.drawn.state, judge.x.dtype).copy()
    bad = np.arange(ROWS) % 2 == 1
    x[bad] = rng.choice([np.nan, np.inf, -np.inf, 1e30, -1e30], (int(bad.sum()), x.shape[1]))
    if rng.random() < 0.3:
        start[bad] = np.nan
    settled = jax.device_get(direp.settle(judge.network, x, state=start))
    _same(judge, settled, alone, ~bad, "beside what is no number")


def _same(judge: Judge, one: Any, two: Any, rows: np.ndarray, how: str) -> None:
    """Whether some samples of two settled batches are the same, up to the rounding of sums in another order."""
    a, b = np.asarray(one.state, np.float64), np.asarray(two.state, np.float64)
    scale = np.abs(b).max(-1, keepdims=True)
    same = (a == b) | (np.abs(a - b) <= 100 * judge.eps * scale) | (np.isnan(a) & np.isnan(b))
    same = same.all(-1) & (np.asarray(one.result) == np.asarray(two.result))
    if (rows & ~same).any():
        judge.violation("mates", np.flatnonzero(rows & ~same), how=how, one=a, two=b, result=two.result)


# Nudged phases

RULES = ("local", "centred", "asym", "dyadic")
LEARNERS = [n for k, n in enumerate(NEURONS) if n[1] not in ("relu", "softplus") and k % 3 == (k // 3) % 3] + [
    NEURONS[0]
]


def phases(seed: int, chunk: int, rng: np.random.Generator, families: list[str]) -> Report:
    """Rules whose nudges are as small as tolerances, and negative ones at the edge of what is proved."""
    report = Report()
    which = chunk % len(LEARNERS)
    neuron, graph = LEARNERS[which], ("four", "pair", "layers", "six")[which % 4]
    pencil = Pencil(rng, neuron, graph)
    for index in range(NETWORKS):
        drawn = pencil.draw(str(rng.choice(["plain", "plain", "uneven", "held", "symmetric", "corner"])))
        rule = str(rng.choice(RULES))
        beta = float(pencil.power(-6, 0)[()]) * (1 if rng.random() < 0.7 or rule != "local" else -1)
        if rng.random() < 0.3 and rule in ("local", "centred"):
            _at_the_edge(pencil, drawn, abs(beta), rng)
        nudge = direp.OneSided(beta) if rule == "local" else direp.Centred(beta)
        sharpness = 0.0
        if _graph(graph).outputs > 1 and rule in ("local", "centred") and rng.random() < 0.4:
            sharpness = float(rng.choice([1.0, 2.0, 8.0]))
        asked: Any = {"local": direp.Local, "centred": direp.Local, "asym": direp.AsymEP}.get(rule)
        asked = direp.Dyadic() if asked is None else asked(nudge)
        for dtype in PRECISIONS:
            place = {"kind": "phases", "seed": seed, "chunk": chunk, "network": index, "rule": rule, "beta": beta}
            place["sharpness"] = sharpness
            nudges = (nudge, sharpness) if rule in ("local", "centred") else None
            judge = _judge(place, report, drawn, dtype, nudges)
            if judge is not None:
                _phases(judge, rng, rule, asked, [float(np.asarray(b, dtype)) for b in nudge.strengths], sharpness)
    return report


def _at_the_edge(pencil: Pencil, drawn: Draw, beta: float, rng: np.random.Generator) -> None:
    """Outputs whose margin is the nudge and a hair: less than what rounding `beta` to 32 bits moves."""
    weight = np.where(pencil.exists, drawn.weight, 0)
    incoming = bool(rng.random() < 0.5)
    leak = pencil.leak(weight, np.ones(pencil.free), incoming, 0.0)
    leak = leak + beta * pencil.gain * (1 + 10 ** rng.uniform(-10, -2)) + 1e-9
    drawn.leak = np.maximum(leak, 0)


def _phases(
    judge: Judge, rng: np.random.Generator, rule: str, asked: Any, betas: list[float], sharpness: float
) -> None:
    report, network, net, drawn = judge.report, judge.network, judge.net, judge.drawn
    truth = judge.truth
    around = truth.state if truth is not None else np.zeros((ROWS, net.free), WIDE)
    out = net.rate[0](around[:, net.hidden :])
    out = np.clip(np.where(np.isfinite(out), out, 0), -1e6, 1e6)
    small = 10 ** rng.uniform(-5, 0.5, (ROWS, 1))  # how large the errors are
    y = np.asarray(out + rng.normal(size=out.shape) * small, network.dtype)
    if sharpness:
        small = np.minimum(small, 1)
        share = Nudge(0.0, out, sharpness).share(out)
        y = np.asarray((1 - small) * share + small * rng.dirichlet(np.ones(out.shape[1]), ROWS), network.dtype)
    start = np.asarray(drawn.state, network.dtype)
    more = {"certificate": judge.certificate} if judge.proved and _TAKES["estimate"] else {}
    more["cost"] = _cost(sharpness)
    found = jax.device_get(direp.estimate(network, judge.x, y, asked, state=start, **more))
    report.seams["phases"] += ROWS * (1 + len(found.nudged))
    usual = 1e-9 if network.dtype == np.float64 else 1e-5
    judge.judge(found.free, net, truth, usual, usual, judge.proved, f"{rule}: free")
    used = np.asarray(found.used)
    if rule in ("local", "centred"):
        nets = [net.under(Nudge(b, y.astype(WIDE), sharpness)) for b in betas]
        truths = [equilibria(n, around) for n in nets] if truth is not None else [None] * len(nets)
        if judge.proved:
            _contracts(judge, rng, [net, *nets])
        for each, at, phase, beta in zip(nets, truths, found.nudged, betas, strict=True):
            judge.judge(phase, each, at, usual, usual, judge.proved, f"{rule}: beta={beta:+g}")
        if truth is not None:
            left = np.abs(nets[0].current.error(out)).max(-1) > math.sqrt(
                judge.eps
            )  # less is nothing left to learn, and not reported
            report.counts["nothing left"] += int((used & ~left).sum())
            _responses(judge, used & left, found, truth, truths)  # pyright: ignore[reportArgumentType]
    elif rule == "asym":
        smooth = _away_from_corners(net, found.free)
        if smooth.any():
            correction = _correction(net, found.free)
            for phase, beta in zip(found.nudged, betas, strict=True):
                current = Correction(correction, np.asarray(found.free.state, WIDE), beta, y.astype(WIDE))
                each = net.under(current).take(np.flatnonzero(smooth))
                over = unsettled(each, phase.state[smooth], usual, usual, 8 * judge.eps, judge.tiny)
                early = np.asarray(phase.converged)[smooth] & ~(over <= 0).all(-1)
                if early.any():
                    judge.violation(
                        "too early", np.flatnonzero(smooth)[early], how="asym", run_beta=beta, y=y, state=phase.state
                    )
    _mates(judge, rng, asked, y, start, more)
    report.seams["phases"] += ROWS


def _responses(judge: Judge, used: np.ndarray, found: Any, free: Truth, nudged: list[Truth]) -> None:
    """What the rule reads: the difference between phases, against the true one."""
    ends = [(np.asarray(p.state, WIDE), t) for p, t in zip(found.nudged, nudged, strict=True)]
    ends = ends if len(ends) == 2 else [*ends, (np.asarray(found.free.state, WIDE), free)]
    (one, a), (two, b) = ends
    true, off = np.abs(a.state - b.state).max(-1), np.abs(one - two - (a.state - b.state)).max(-1)
    clear = a.found & b.found & free.found & (true > 100 * (a.error + b.error).max(-1))
    # Below the spacing of numbers at the states there is nothing to respond with.
    clear &= true > 64 * judge.eps * np.abs(a.state).max(-1)
    judge.report.counts["responses"] += int((clear & used).sum())
    lost = clear & used & (off > 0.5 * true)
    if lost.any():
        judge.violation(
            "lost response", np.flatnonzero(lost), true=a.state - b.state, run=one - two,
            steps=[np.asarray(p.steps)[lost].tolist() for p in found.nudged], state=found.free.state,
        )  # fmt: skip


def _away_from_corners(net: Net, free: Any) -> np.ndarray:
    """Samples at which no unit is near a corner of its activation or at a face, where slopes are a convention."""
    state = np.asarray(free.state, WIDE)
    fine = np.asarray(free.converged)
    for place, (_, slope, _) in ((state, net.rate), (net.drive(state), net.transfer)):
        near = 1e-4 * (1 + np.abs(place))
        fine = fine & (np.abs(slope(place - near) - slope(place + near)) < 0.1).all(-1)
    return fine


def _correction(net: Net, free: Any) -> np.ndarray:
    r"""$(J^\top-J)(s_0)$."""
    state = np.asarray(free.state, WIDE)
    square = net.under(None).jacobian(state)
    return square.swapaxes(-1, -2) - square


def _mates(judge: Judge, rng: np.random.Generator, asked: Any, y: np.ndarray, start: np.ndarray, more: Any) -> None:
    """The gradient of some samples, beside others that do not count and others that are not numbers."""
    x, y = judge.x, y.copy()
    bad = np.arange(ROWS) % 2 == 1
    alone = jax.device_get(direp.estimate(judge.network, x, y, asked, state=start, valid=~bad, **more))
    spoiled, target = x.copy(), y.copy()
    spoiled[bad & (rng.random(ROWS) < 0.7)] = rng.choice([np.nan, np.inf, -np.inf])
    target[bad & ~(np.isnan(spoiled) | np.isinf(spoiled)).any(-1)] = np.nan
    valid = np.ones(ROWS, bool) if rng.random() < 0.5 else ~bad
    beside = jax.device_get(direp.estimate(judge.network, spoiled, target, asked, state=start, valid=valid, **more))
    _same(judge, beside.free, alone.free, ~bad, "estimate beside what is no number")
    if (np.asarray(beside.used) != np.asarray(alone.used)).any():
        judge.violation("mates", np.flatnonzero(np.asarray(beside.used) != np.asarray(alone.used)), how="used")
        return
    for one, two in zip(jax.tree.leaves(beside.gradient), jax.tree.leaves(alone.gradient), strict=True):
        one, two = np.asarray(one, np.float64), np.asarray(two, np.float64)
        if not (np.abs(one - two) <= 1e3 * judge.eps * np.abs(two).max(initial=0)).all():
            judge.violation(
                "mates",
                np.array([0]),
                how="gradient",
                y=y,
                valid=valid.tolist(),
                off=float(np.nanmax(np.abs(one - two))),
            )
            return


# Constraints in the loop


def control(seed: int, chunk: int, rng: np.random.Generator, families: list[str]) -> Report:
    """Constraints keep the margin that they promise: where they begin, and after training."""
    report = Report()
    neuron = NEURONS[[0, 1, 2, 6, 10, 25][chunk % 6]]
    for index in range(NETWORKS):
        graph = str(rng.choice(["four", "layers", "six", "star", "star"]))
        pencil = Pencil(rng, neuron, graph)
        drawn = pencil.draw(str(rng.choice(["plain", "loose", "scales"])))
        drawn.leak = np.maximum(drawn.leak, 1e-3)
        place = {"kind": "control", "seed": seed, "chunk": chunk, "network": index}
        # Sometimes just below the lowest leak: a constraint with a floor must keep its margin all the same.
        near = float(drawn.leak.min() * (1 - pencil.power(-4, -0.3)[()]))
        margin = near if rng.random() < 0.5 else float(pencil.power(-3, 0)[()])
        for dtype in PRECISIONS:
            for name, constraint in _constraints(margin, drawn, rng):
                report.seams["control"] += 1
                judge = _judge(place | {"constraint": name, "margin": margin}, report, drawn, dtype, certified=False)
                if judge is None:
                    continue
                try:
                    network = constraint.begin(judge.network)
                except ValueError:
                    continue  # refused in words
                _keeps(judge, network, margin, "begin")
                if not index and dtype == np.float32 and chunk % 4 == 0 and not name.startswith(("S", "B")):
                    _keeps(judge, _trained(judge, network, constraint), margin, "fit")
    return report


def _constraints(margin: float, drawn: Draw, rng: np.random.Generator) -> Iterator[tuple[str, Any]]:
    yield "LeakController", direp.LeakController(margin, floor=0.0)
    yield "WeightProjection", direp.WeightProjection(margin)
    if drawn.neuron[2] == "none":
        floor = 10 ** rng.uniform(-3, -1)
        yield "Balanced", direp.Balanced(floor=floor, margin=margin)
        yield "SignSymmetric", direp.SignSymmetric(floor=floor, margin=margin)


def _trained(judge: Judge, network: direp.Network, constraint: Any) -> direp.Network:
    import optax

    x = np.clip(np.nan_to_num(judge.x), -10, 10)
    y = np.clip(x[:, :1], 0, 1) * np.ones((1, network.graph.outputs))
    part = direp.tasks.Samples(x, y)
    task = direp.tasks.Task("drawn", part, part, part, kind="regression")
    with jax.numpy_dtype_promotion("standard"):
        run = direp.fit(
            network, task, rule=direp.Local(0.5), optimiser=optax.sgd(0.1), epochs=3, control=constraint, keep="last"
        )
    return run.network


def _keeps(judge: Judge, network: direp.Network, margin: float, how: str) -> None:
    """The margin with equal norm weights, up to the rounding of one sum in the network's own precision."""
    graph = network.graph
    recurrent, leak = np.asarray(network.matrix, np.float64)[graph.inputs :], np.asarray(network.leak, np.float64)
    gain = ACTIVATIONS[judge.drawn.neuron[1]][2]
    ones = np.ones(graph.free)
    left = least_margin(recurrent, leak, judge.drawn.neuron[2], gain, ones, False)
    size = float((leak + 2 * np.abs(recurrent).sum(1)).max())
    if not left >= margin - 16 * (graph.free + 8) * judge.eps * (size + margin):
        judge.violation("left its set", np.array([0]), how=how, margin_left=left, weights=recurrent, leaks=leak)


KINDS: dict[str, tuple[Callable[..., Report], float]] = {
    "settle": (settling, 0.85), "phases": (phases, 0.13), "control": (control, 0.02),
}  # fmt: skip


# The campaign


def prepare(networks: int = NETWORKS) -> None:
    global NETWORKS
    NETWORKS = networks
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)  # what one process compiles, the others read
    threadpool_limits(1)  # for matrices this small, threads only wait for each other


def _one(job: tuple[int, int, tuple[str, ...]]) -> Report:
    return attack(*job)


def campaign(
    seams: int, seed: int, only: tuple[str, ...] = (), jobs: int = 0, save: pathlib.Path | None = None
) -> Report:
    """Judge at least this many seams, in this process unless there are `jobs`; tell how far it is if there is a file to
    save violations in, as they come."""
    report, began = Report(), time.perf_counter()

    def work() -> Iterator[tuple[int, int, tuple[str, ...]]]:
        chunk = 0
        while report.total < seams:
            yield seed, chunk, only
            chunk += 1

    def parts() -> Iterator[Report]:
        if not jobs:
            yield from map(_one, work())
            return
        with multiprocessing.get_context("spawn").Pool(jobs, prepare, (NETWORKS,)) as pool:
            waiting, source = collections.deque(), work()
            while True:
                while len(waiting) < 2 * jobs and (job := next(source, None)) is not None:
                    waiting.append(pool.apply_async(_one, (job,)))
                if not waiting:
                    return
                yield waiting.popleft().get()

    shown = 0.0
    for part in parts():
        report.add(part)
        passed = time.perf_counter() - began
        if save is not None and part.saved:
            save.write_text(json.dumps(report.saved, indent=1))
        if save is not None and passed - shown > 5:
            shown, left = passed, passed * (seams / max(report.total, 1) - 1)
            print(
                f"{report.total:,} of {seams:,} seams, {sum(report.violated.values()):,} violations, "
                f"{passed / 60:.1f} min, {max(left, 0) / 60:.1f} min left", file=sys.stderr, flush=True,
            )  # fmt: skip
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seams", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=0, help="processes; 0: this one only")
    parser.add_argument("--only", default="", help=f"of {', '.join([*KINDS, *FAMILIES])}, with commas between")
    parser.add_argument("--networks", type=int, default=NETWORKS, help="of one chunk: more share compiled programs")
    parser.add_argument("--chunk", type=int, help="judge one chunk again, with the same --only and --networks")
    parser.add_argument("--save", type=pathlib.Path, default=pathlib.Path("attack-violations.json"))
    options = parser.parse_args()
    only = tuple(name for name in options.only.split(",") if name)
    if unknown := set(only) - KINDS.keys() - FAMILIES.keys():
        parser.error(f"--only {', '.join(sorted(unknown))}: choose from {', '.join([*KINDS, *FAMILIES])}")
    prepare(options.networks)
    began = time.perf_counter()
    if options.chunk is not None:
        report = attack(options.seed, options.chunk, only)
    else:
        report = campaign(options.seams, options.seed, only, options.jobs, options.save)
    print(report.table())
    seconds = time.perf_counter() - began
    print(f"{report.total:,} seams in {seconds:.0f} s, seed {options.seed}")
    count = sum(report.violated.values())
    if not count:
        return 0
    options.save.write_text(json.dumps(report.saved, indent=1))
    for each in report.saved[:20]:
        print(json.dumps(each), file=sys.stderr)
    print(
        f"{count:,} violations; {len(report.saved)} of them with all their numbers in {options.save}", file=sys.stderr
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
