"""Refutation: a search for two equilibria at one input, an unstable one, a cycle, or growth. It can only refute.

Settling from many starts proposes; nothing counts that ball arithmetic does not prove.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import equinox as eqx
import flint
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from scipy.optimize import linprog, root

from ...arithmetic import exact, placed, precise
from ...model import ACTIVATIONS, AbstractNeuron, Network
from ...settling import Settled, Tolerance, linearise, settle
from ...settling.methods import Euler
from .equilibria import Equilibrium, enclose
from .system import System

_IDENTITY = ACTIVATIONS["identity"]
PROVED_UP_TO = 150  # free units up to which a single equilibrium is proved


@dataclass(frozen=True, eq=False)
class Counterexample:
    """What refutes that a network settles to one equilibrium from every start.

    - `kind`: `"two equilibria"`, `"unstable equilibrium"`, `"cycle"` (the unstable equilibrium is proved; that a start
      beside it goes round for ever is only seen) or `"growth"`.
    - `x`: the clamped inputs. `states`: for two equilibria, both; for an unstable one, it; for a cycle, the unstable
      equilibrium within it and a state on it; for growth, a start.
    - `direction`: for growth, weights $v$ of a quantity $v\\cdot s$ that grows without bound.
    """

    kind: str
    x: np.ndarray
    states: np.ndarray
    direction: np.ndarray | None = None

    KINDS: ClassVar[dict[str, str]] = {
        "two equilibria": "it has two different equilibria for one input",
        "unstable equilibrium": "it has an unstable equilibrium: a start beside it moves away for ever",
        "cycle": "it has an unstable equilibrium, and a start beside it was seen neither to settle nor to grow",
        "growth": "its activity grows without bound",
    }

    def check(self, network: Network) -> bool:
        """Prove it again, from the stored numbers alone."""
        with precise():
            return self._check(network)

    def _check(self, network: Network) -> bool:
        if self.kind == "growth":
            assert self.direction is not None
            return _grows(System.of(network), network, self.x, self.states[0], self.direction)
        found = [enclose(network, self.x, state) for state in self.states[: 2 if self.kind == "two equilibria" else 1]]
        first = found[0]
        if first is None:
            return False
        if self.kind == "two equilibria":
            return found[1] is not None and first.differs(found[1])
        return first.unstable()

    def __str__(self) -> str:
        return self.KINDS[self.kind]


@dataclass(frozen=True)
class Findings:
    """What a search saw: a counter-example, or how many starts settled, in how many places."""

    counterexample: Counterexample | None
    starts: int
    settled: int
    places: int
    slowest: float
    """Largest real part of the Jacobian's eigenvalues at the equilibria reached, 1/time (local stability only)."""

    def describe(self) -> str:
        lost = self.starts - self.settled
        parts = [f"{self.settled} of {self.starts} starts settled"]
        if self.places > 1:
            parts.append(f"in places that seem {self.places} for one input, which could not be proved")
        if lost:
            parts.append(f"{lost} did not, which proves nothing")
        if np.isfinite(self.slowest) and not lost and self.places <= 1:
            parts.append(f"to one equilibrium an input, where the largest eigenvalue has real part {self.slowest:.3g}")
        return "Search: " + ", ".join(parts) + "."


def search(network: Network, x: np.ndarray | None = None, *, starts: int = 32, seed: int = 0) -> Findings:
    """Look for a counter-example, first at the inputs `x`, then at inputs of its own choice.

    Its own are zeros, random ones in [0, 1], and inputs that make a random state an equilibrium (as nearly as the
    input weights can). Raises nothing: what cannot be proved is only described.
    """
    if network.graph.free > PROVED_UP_TO or not System.of(network).representable:
        return Findings(None, 0, 0, 0, -np.inf)
    with jax.enable_x64(True), precise():
        return _search(network, x, starts, np.random.default_rng(seed))


def _search(network: Network, x: np.ndarray | None, starts: int, rng: np.random.Generator) -> Findings:
    system = System.of(network)
    grown = _growth(system, network, np.zeros(network.graph.inputs) if x is None else np.asarray(x, np.float64)[0])
    if grown is not None:
        return Findings(grown, 0, 0, 0, np.inf)
    network = network.astype(np.float64)
    inputs, guesses = _inputs(network, x, rng)
    many = np.repeat(inputs, starts, 0)
    begin = _starts(network, len(many), rng)
    settled = _settle(network, placed(many), placed(begin))
    states = np.asarray(settled.state).reshape(len(inputs), starts, -1)
    arrived = np.asarray(settled.converged).reshape(len(inputs), starts)

    places, slowest, counterexample = 1, -np.inf, None
    for each, reached, fine, guess in zip(inputs, states, arrived, guesses, strict=True):
        distinct = _distinct(reached[fine])
        places = max(places, len(distinct))
        proved = [found for found in (enclose(network, each, state) for state in distinct[:4]) if found is not None]
        if len(proved) > 1 and proved[0].differs(proved[1]):
            counterexample = Counterexample("two equilibria", each, np.stack([proved[0].middle, proved[1].middle]))
        else:
            suspects = [] if guess is None else [guess]
            suspects += [reached[~fine].mean(0)] if not fine.all() else []
            counterexample = _beside(network, each, suspects, proved)
        if counterexample is not None:
            break
        if len(distinct):
            slowest = max(slowest, _abscissa(network, each, distinct[0]))
    return Findings(counterexample, len(many), int(arrived.sum()), places, slowest)


@eqx.filter_jit
def _settle(network: Network, x: Array, state: Array) -> Settled:
    return settle(network, x, state=state, stop=Tolerance(1e-11, 1e-12, max_steps=3000))


def _inputs(network: Network, x: np.ndarray | None, rng: np.random.Generator) -> tuple[np.ndarray, list]:
    """Inputs to search at, and for each a state that may be an equilibrium there (or `None`)."""
    graph = network.graph
    given = [] if x is None else list(np.unique(np.asarray(x, np.float64), axis=0)[:16])
    drawn = [*given, np.zeros(graph.inputs), np.full(graph.inputs, 0.5), *rng.random((2, graph.inputs))]
    guesses: list[np.ndarray | None] = [None] * len(drawn)
    neuron: Any = network.neuron
    low, high = (neuron.low, neuron.high) if neuron.bounded else (-1.0, 1.0)
    weight = np.asarray(network.matrix, np.float64)
    total, inner = np.asarray(network.total_leak()), weight[graph.inputs :]
    for spread in (0.0, 0.3, 0.8):
        state = (low + high) / 2 + spread * (rng.random(graph.free) - 0.5) * (high - low)
        wanted = total * state  # what the drive must come to, where the transfer function is the identity
        missing = wanted - np.asarray(neuron.rate(placed(state))) @ inner - np.asarray(network.bias)
        drawn.append(np.linalg.lstsq(weight[: graph.inputs].T, missing, rcond=None)[0])
        guesses.append(state)
    if neuron.rate == _IDENTITY:
        state, current = _saturating(neuron, inner, total, rng)
        drawn.append(np.linalg.lstsq(weight[: graph.inputs].T, current - np.asarray(network.bias), rcond=None)[0])
        guesses.append(state)
    return np.stack(drawn), guesses


def _saturating(neuron: Any, inner: np.ndarray, total: np.ndarray, rng: np.random.Generator) -> tuple:
    """A state, and currents that hold it: some units saturated for good, so that the others are as unstable as can be.

    Which ones is found by freeing or saturating one unit at a time. Outside a box the free ones are at drive zero.
    """
    jacobian = neuron.gain * inner.T - np.diag(total)

    def growth(free: np.ndarray) -> float:
        return float(np.linalg.eigvals(jacobian[np.ix_(free, free)]).real.max()) if free.any() else -np.inf

    free, best = np.ones(len(total), bool), growth(np.ones(len(total), bool))
    for _ in range(len(total) if len(total) <= 40 else 0):
        near = free ^ np.eye(len(total), dtype=bool)
        rates = [growth(each) for each in near]
        if max(rates) <= best + 1e-9:
            break
        free, best = near[int(np.argmax(rates))], max(rates)
    side = np.where(rng.random(len(total)) < 0.5, -1.0, 1.0)
    current = np.where(free, 0.0, side * (6 + np.abs(inner).sum(0) + np.abs(total)))
    if neuron.bounded:
        middle = (neuron.low + neuron.high) / 2
        state = np.where(free, middle, np.where(side > 0, neuron.high, neuron.low))
        return state, current + total * state - state @ inner
    low, high = (bound if np.isfinite(bound) else 0.0 for bound in neuron.transfer.range)
    at_zero = float(np.asarray(neuron.transfer(jnp.zeros(1)))[0])
    state = np.where(free, at_zero, np.where(side > 0, high, low)) / np.where(np.abs(total) > 1e-9, total, 1.0)
    return state, current - state @ inner


def _starts(network: Network, count: int, rng: np.random.Generator) -> np.ndarray:
    neuron: Any = network.neuron
    if neuron.bounded:
        return rng.uniform(neuron.low, neuron.high, (count, network.graph.free))
    return rng.normal(0, np.where(np.arange(count) % 2, 1.0, 6.0)[:, None], (count, network.graph.free))


def _distinct(states: np.ndarray) -> list[np.ndarray]:
    """One state for each place, those farthest apart first."""
    left, kept = list(states), []
    while left:
        far = max(left, key=lambda s: min((np.abs(s - k).max() for k in kept), default=0.0)) if kept else left[0]
        if kept and min(np.abs(far - k).max() for k in kept) < 1e-6 * (1 + np.abs(far).max()):
            break
        kept.append(far)
        left = [s for s in left if s is not far]
    return kept


def _beside(
    network: Network, x: np.ndarray, suspects: list[np.ndarray], known: list[Equilibrium]
) -> Counterexample | None:
    """An equilibrium that settling does not find because it is unstable."""
    for suspect in suspects:
        found = enclose(network, x, _newton(network, x, suspect))
        if found is None:
            continue
        if known and found.differs(known[0]):
            return Counterexample("two equilibria", x, np.stack([known[0].middle, found.middle]))
        if found.unstable():
            return _followed(network, x, found)
    for found in known:
        if found.unstable():
            return _followed(network, x, found)
    return None


def _followed(network: Network, x: np.ndarray, found: Equilibrium) -> Counterexample:
    """Where does a start beside an unstable equilibrium go?"""
    step = 0.1 / (float(np.abs(np.asarray(network.total_leak())).max()) + float(np.abs(network.matrix).sum(0).max()))
    beside = found.middle + 1e-3 * np.random.default_rng(0).normal(size=len(found.middle))
    stop = Tolerance(1e-9, 1e-10, max_steps=20_000)
    end = eqx.filter_jit(settle)(network, x[None], state=beside[None], method=Euler(jnp.asarray(step)), stop=stop)
    last = np.asarray(end.state)[0]
    if np.asarray(end.converged)[0]:
        other = enclose(network, x, last)
        if other is not None and other.differs(found):
            return Counterexample("two equilibria", x, np.stack([found.middle, other.middle]))
        return Counterexample("unstable equilibrium", x, found.middle[None])
    if not np.abs(last).max() < 100 * (1 + np.abs(found.middle).max()):
        return Counterexample("unstable equilibrium", x, found.middle[None])
    return Counterexample("cycle", x, np.stack([found.middle, last]))


def _newton(network: Network, x: np.ndarray, state: np.ndarray) -> np.ndarray:
    def residual(s: np.ndarray) -> np.ndarray:
        return np.asarray(_residual(network, x[None], s[None]))[0]

    return np.asarray(network.neuron.clip(placed(root(residual, state, method="hybr").x)))


@eqx.filter_jit
def _residual(network: Network, x: Any, state: Any) -> Array:
    """What a step of Euler's method changes."""
    field = network.field(jnp.asarray(x))
    state = jnp.asarray(state)
    return state - field.clip(state + field.flow(state, field.drive(state)))


def _abscissa(network: Network, x: np.ndarray, state: np.ndarray) -> float:
    active, jacobian = (np.asarray(each)[0] for each in _first_order(network, x[None], state[None]))
    free = jacobian[np.ix_(active, active)]
    return float(np.linalg.eigvals(free).real.max()) if active.any() else -np.inf


@eqx.filter_jit
def _first_order(network: Network, x: Any, state: Any) -> tuple[Array, Array]:
    """The units that no bound holds, and the Jacobian."""
    field = network.field(jnp.asarray(x))
    state = jnp.asarray(state)
    linear = linearise(field, state, field.drive(state))
    return linear.active, linear.jacobian()


def _growth(system: System, network: Network, x: np.ndarray) -> Counterexample | None:
    if network.neuron.bounded:
        return None
    size, directions = system.size, []
    worst = int(np.argmin(system.total_leak))
    if system.total_leak[worst] < 0:
        directions.append(np.eye(size)[worst])
    elif _rises(network.neuron):
        # v >= 0, sum v = 1, with the slowest growth rate of v.s as large as half the leak allows.
        rate = 1e-3 * float(np.abs(system.total_leak).max() + 1e-9)
        gained = system.dense() - np.diag(system.total_leak + rate)
        answer = linprog(np.zeros(size), A_ub=-gained, b_ub=np.zeros(size), A_eq=np.ones((1, size)), b_eq=[1.0])
        if answer.status == 0:
            directions.append(np.where(answer.x > 1e-12, answer.x, 0.0))
    for direction in directions:
        state = np.full(size, 1.0) if direction.max() < 1 or size == 1 else direction.copy()
        for _ in range(80):
            if _grows(system, network, x, state, direction):
                return Counterexample("growth", x, state[None], direction)
            state = 2 * state
    return None


def _rises(neuron: AbstractNeuron) -> bool:
    r"""Whether $\varphi$ and $\psi$ are each the identity or above $\max(\cdot,0)$, and not both the identity."""
    both = neuron.transfer, neuron.rate
    return any(a.above_identity for a in both) and all(a.above_identity or a == _IDENTITY for a in both)


def _grows(system: System, network: Network, x: np.ndarray, state: np.ndarray, direction: np.ndarray) -> bool:
    r"""Whether $v\cdot s$ certainly grows without bound from a start.

    A unit whose total leak is negative grows once it is larger than what its bounded drive can take from it. With
    $\varphi,\psi\ge\max(\cdot,0)$, or one of them the identity, and $v\ge0$, $(W-\Lambda)v\ge\theta v$ gives
    $\frac{d}{dt}v\cdot s\ge\theta\,v\cdot s+v\cdot b$: where $\psi$ is the identity for $s\ge0$, which a
    $\varphi\ge0$ keeps; else if $\Lambda+\theta\ge0$ where $v>0$, for then $\psi(s)\ge s$ may take its place.
    """
    if network.neuron.bounded:
        return False
    weight = exact(system.dense())
    leak = exact(system.leak) + system.neuron.outflow.value(weight).sum(1)
    every = np.asarray(network.matrix, np.float64)
    current = exact(x) @ exact(every[: network.graph.inputs]) + exact(network.bias)
    neuron, v, s = network.neuron, exact(direction), exact(state)
    single, inner = np.flatnonzero(direction), neuron.rate != _IDENTITY
    after, before = (max(abs(end) for end in a.range) for a in (neuron.transfer, neuron.rate))
    if len(single) == 1 and (np.isfinite(after) or (neuron.transfer == _IDENTITY and np.isfinite(before))):
        unit = int(single[0])
        most = (
            flint.arb(after)
            if np.isfinite(after)
            else (flint.arb(before) * sum(abs(weight[:, unit]), flint.arb(0)) + abs(current[unit]))
        )
        return bool(leak[unit] < 0 and -leak[unit] * s[unit] > most)
    if not _rises(neuron) or (direction < 0).any():
        return False
    theta = flint.arb(2.0**-12) * max(abs(leak), key=lambda ball: float(ball.mid()))
    gained = weight @ v - (leak + theta) * v
    if not all(entry >= 0 for entry in gained):
        return False
    if inner and not all(leak[k] + theta >= 0 for k in single):
        return False
    if not inner and (state < 0).any():
        return False
    return bool(theta * (v @ s) + v @ current > 0 and v @ s > 0)
