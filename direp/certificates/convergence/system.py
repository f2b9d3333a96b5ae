"""What the criteria read of a network: numbers on the host, in 64 bits, exactly as they are stored."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from scipy.sparse import csr_array, sparray

from ...model import OUTFLOWS, AbstractNeuron, Activation, Network, Outflow, Projected
from ...rules import AbstractCost, AbstractNudge, FieldPhase, SquaredError, named

DENSE_UP_TO = 3000  # free units up to which a criterion may form a dense matrix
_EPS = float(np.finfo(np.float64).eps)


def refuse_tracing(who: str, *trees: Any) -> None:
    """Proofs take the numbers as stored, in exact arithmetic on the host: there are none inside a transformation."""
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(trees)):
        raise ValueError(f"{who} cannot be traced: call it outside jit, grad and vmap, with the numbers themselves")


class Bare(AbstractNeuron):
    """Any neuron, less its outflow."""

    transfer: Activation
    rate: Activation
    low: float | None
    high: float | None
    outflow: Outflow


@dataclass(frozen=True, eq=False)
class System:
    r"""The part of $\dot s=-\Lambda\odot s+\varphi(W^\top\psi(s)+b)$ that decides whether distances shrink.

    - `weight`: $W$ between free units, entry (i, j) from i to j: an array, or a SciPy CSR array. - `leak`: $\lambda$.
    - `phases`: name and $\beta$ of every phase that is to be covered, the free one first. - `transposed`: those whose
      Jacobians are transposes of the network's own.
    - `dtype`: the precision in which the network itself computes. - `nudge_slope`: of what a nudge is multiplied with,
      where it is not the neuron's.
    - `slopes`: bounds of $\varphi'$ and of $\psi'$ for every unit (each 2 x free: least, largest), where more is known
      than what the activations declare. - `doubt`: how far above `leak` the true one can be.
    """

    weight: Any
    leak: np.ndarray
    neuron: AbstractNeuron
    hidden: int
    cost: AbstractCost
    phases: dict[str, float]
    transposed: frozenset[str] = frozenset()
    dtype: Any = np.float64
    nudge_slope: tuple[float, float] | None = None
    slopes: tuple[np.ndarray, np.ndarray] | None = None
    doubt: np.ndarray | float = 0.0

    @classmethod
    def of(
        cls,
        network: Network,
        nudge: AbstractNudge | Sequence[AbstractNudge] | None = None,
        cost: AbstractCost | None = None,
        fields: Sequence[FieldPhase] = (),
    ) -> "System":
        """With the phases of nudges, and of those fields whose Jacobians are transposes.

        Raises `ValueError` if the network holds NaN or infinite numbers, or negative leaks, and when traced.
        """
        refuse_tracing("certify", network, nudge)
        for name, tree in (("weight", network.weight), ("bias", network.bias), ("leak", network.leak)):
            if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)):
                raise ValueError(
                    f"certify: the network's {name} holds NaN or infinite entries; nothing can be proved of it"
                )
        leak = np.asarray(network.leak, np.float64)
        if (leak < 0).any():
            raise ValueError(f"certify: the network has a leak of {leak.min():g}; leaks are 0 or above")
        nudges = () if nudge is None else (nudge,) if isinstance(nudge, AbstractNudge) else nudge
        phases = {"free": 0.0, **named("", [beta for each in nudges for beta in each.strengths], network.dtype)}
        transposed: dict[str, float] = {}
        for field in fields:
            if field.coupling.jacobian == "transposed" and not field.coupling.feedback:
                transposed |= named(field.name, field.strengths, network.dtype)
        return cls(
            network.synapses.host(network.weight), leak, network.neuron, network.graph.hidden, cost or SquaredError(),
            {**phases, **transposed}, frozenset(transposed), network.dtype,
        )  # fmt: skip

    def apart(self, field: FieldPhase, feedback: Any) -> "System":
        r"""That of a field whose matrix is not the network's: a network without outflow whose leak is $\Lambda$,
        rounded to the safe side.

        With a bounded coupling its weights are the largest entries of the Jacobian; else the Jacobian is the transpose
        of that of a network with the strengths of `feedback` (as `weight`)."""
        coupling, (neuron, slope) = field.coupling, (self.neuron, None)
        back = self.weight if not coupling.feedback else feedback
        if coupling.jacobian == "bounded":
            # Bounds are those of declared slopes, of which the network rounds each.
            share, other = (share + 4 * self.eps * self.gain for share in (coupling.forth, coupling.back))
            weight: Any = (share * abs(self.weight) + other * abs(back).T) * (1 + 16 * _EPS)
            weight = csr_array(weight) if isinstance(weight, sparray) else weight
            neuron, slope = Projected(), coupling.slope
        else:
            weight = back
            neuron = Bare(neuron.transfer, neuron.rate, neuron.low, neuron.high, OUTFLOWS["none"])
        lost = 4 * (self.longest + 8) * _EPS * (self.leak + self.sent)
        return replace(
            self, weight=weight, neuron=neuron, leak=np.nextafter(self.total_leak - lost, -math.inf),
            phases=named(field.name, field.strengths, self.dtype), transposed=frozenset(), nudge_slope=slope,
            slopes=None, doubt=2 * lost + 4 * _EPS * np.abs(self.total_leak),
        )  # fmt: skip

    @cached_property
    def known(self) -> dict[Any, Any]:
        """What one criterion has found of it, for those that come after."""
        return {}

    @property
    def share(self) -> float:
        """How far every weight and leak may be from what is stored, as a share of it."""
        return 0.0

    @property
    def eps(self) -> float:
        return float(jnp.finfo(self.dtype).eps)

    @property
    def strengths(self) -> tuple[float, ...]:
        r"""Every $\beta$ but 0, once."""
        return tuple(dict.fromkeys(beta for beta in self.phases.values() if beta))

    @cached_property
    def transfer_slope(self) -> np.ndarray:
        r"""The least and the largest $\varphi'$ of every unit (2 x free)."""
        return self._declared(self.neuron.transfer) if self.slopes is None else self.slopes[0]

    @cached_property
    def rate_slope(self) -> np.ndarray:
        r"""The least and the largest $\psi'$ of every unit (2 x free)."""
        return self._declared(self.neuron.rate) if self.slopes is None else self.slopes[1]

    def _declared(self, activation: Activation) -> np.ndarray:
        """The numbers in an activation are rounded too: outwards, in the network's precision."""
        ends = (-math.inf, math.inf) if activation.slope is None else outwards(activation.slope, self.dtype)
        return np.repeat(np.array(ends, np.float64)[:, None], self.size, 1)

    @cached_property
    def slope(self) -> tuple[float, float]:
        r"""Bounds of $\varphi'\psi'$, whichever two units they belong to."""
        return _products(self.transfer_slope, self.rate_slope)

    @cached_property
    def output_slope(self) -> tuple[float, float]:
        r"""Bounds of $\varphi'\psi'$, whichever two outputs they belong to."""
        return _products(self.transfer_slope[:, self.hidden :], self.rate_slope[:, self.hidden :])

    @cached_property
    def representable(self) -> bool:
        """Whether squares and quotients of the numbers stay far from the ends of 64 bits."""
        largest = max(float(self.leak.max()), self.gain * float(self.sent.max()))
        return 1e-100 < largest < 1e100

    @property
    def size(self) -> int:
        return len(self.leak)

    @property
    def gain(self) -> float:
        return max(map(abs, self.slope))

    @cached_property
    def steepest(self) -> tuple[np.ndarray, np.ndarray]:
        r"""The largest $|\varphi'|$ and the largest $|\psi'|$ of every unit."""
        return np.abs(self.transfer_slope).max(0), np.abs(self.rate_slope).max(0)

    @cached_property
    def magnitude(self) -> Any:
        r"""The largest $|\varphi_k'||w_{ik}||\psi_i'|$: how much of unit i can reach unit k."""
        size, (receive, send) = abs(self.weight), self.steepest
        if (receive == 1).all() and (send == 1).all():
            return size
        if isinstance(size, np.ndarray):
            return size * receive * send[:, None]
        return csr_array(size.multiply(receive[None]).multiply(send[:, None]))

    @cached_property
    def outflow(self) -> np.ndarray:
        r"""$\kappa\,\mathrm{out}_i$."""
        outflow = self.neuron.outflow
        return np.asarray(outflow.value(self.weight).sum(1), np.float64) if outflow.active else np.zeros(self.size)

    @cached_property
    def lost(self) -> np.ndarray:
        r"""$\sum_k|f(w_{ik})|$, the sizes of what a unit loses by sending."""
        outflow = self.neuron.outflow
        return np.asarray(abs(outflow.value(self.weight)).sum(1), float) if outflow.active else np.zeros(self.size)

    @property
    def total_leak(self) -> np.ndarray:
        return self.leak + self.outflow

    @cached_property
    def sent(self) -> np.ndarray:
        r"""$\sum_k|w_{ik}|$."""
        return np.asarray(abs(self.weight).sum(1))

    def spread(self, weights: np.ndarray, incoming: bool) -> np.ndarray:
        r"""$d_2\sum_k|w_{ik}|\eta_k$ over the targets of every unit, or $d_2\sum_i|w_{ij}|\eta_i$ over its sources,
        with the slopes of each."""
        matrix = self.magnitude.T if incoming else self.magnitude
        return np.asarray(matrix @ weights)

    def slowest(self, weights: np.ndarray | None, incoming: bool) -> tuple[np.ndarray, Any]:
        """Total leaks and `magnitude` of the die that has the least margins with these weights, or of one with leaks
        and magnitudes that none is worse than. Without dies: its own."""
        return self.total_leak, self.magnitude

    def dense(self) -> np.ndarray:
        return dense(self.weight)

    def couplings(self) -> np.ndarray:
        """`magnitude` as an array."""
        return dense(self.magnitude)

    def row(self, unit: int, incoming: bool) -> tuple[np.ndarray, np.ndarray]:
        """The partners of one unit, and the weights to (or from) them."""
        if isinstance(self.weight, sparray):
            matrix: Any = self._by_target if incoming else self.weight
            part = slice(matrix.indptr[unit], matrix.indptr[unit + 1])
            return matrix.indices[part], matrix.data[part]
        line = self.weight[:, unit] if incoming else self.weight[unit]
        partners = np.flatnonzero(line)
        return partners, line[partners]

    @cached_property
    def _by_target(self) -> csr_array:
        return csr_array(self.weight.T)

    @cached_property
    def longest(self) -> int:
        """The largest number of terms in a sum over the partners of a unit."""
        if not isinstance(self.weight, sparray):
            return self.size
        matrix: Any = self.weight
        return int(max(np.diff(matrix.indptr).max(initial=0), np.diff(self._by_target.indptr).max(initial=0)))

    # Phases

    def feedback(self, beta: float, weights: np.ndarray) -> np.ndarray:
        """How far a nudge can raise the log-norm with these weights, for every unit (zero but at outputs)."""
        raised = np.zeros(self.size)
        if beta != 0:
            at = weights[self.hidden :]
            ratio = _largest_other(at) / at if len(at) > 1 else np.ones(1)
            # One rounding up for each operation that went into it, and more: the network rounds the cost's numbers.
            feedback = np.asarray(self.cost.feedback(beta, self.nudge_slope or self.output_slope, ratio))
            raised[self.hidden :] = np.where(feedback > 0, np.nextafter(feedback * (1 + 8 * self.eps), math.inf), 0.0)
        return raised

    @property
    def largest_step(self) -> float:
        r"""$1/\max_i|J_{ii}|$ over all states and phases, rounded down."""
        stiffness = np.abs(self.total_leak) + self.doubt + self.rounding(np.ones(self.size), False)
        steepest = max((abs(beta) for beta in self.strengths), default=0.0) * self.cost.curvature
        stiffness[self.hidden :] += steepest * max(map(abs, self.nudge_slope or self.output_slope)) * (1 + 8 * self.eps)
        return float(np.nextafter(1 / stiffness.max(), 0)) * (1 - 4 * _EPS)

    # The decisive inequality

    def margin(self, weights: np.ndarray, incoming: bool) -> np.ndarray:
        r"""$\Lambda_i-d_2\sum_k|w_{ik}|\eta_k/\eta_i$ (or over its sources): plain floating point."""
        return self.total_leak - self.spread(weights, incoming) / weights

    def rounding(self, weights: np.ndarray, incoming: bool) -> np.ndarray:
        """A bound on the error of every `margin`, whatever the order of the sums.

        n terms err by at most n eps times the sum of their sizes (Higham 2002, section 4.2); the factor 4 covers the
        few products and the rounding of this bound itself.
        """
        outgoing = self.sent if self.neuron.outflow.active else 0.0
        size = self.leak + outgoing + self.spread(weights, incoming) / weights
        lost = np.finfo(np.float64).tiny * (self.longest + 8) * (1 + max(1.0, self.gain) / weights)  # to underflow
        return 4 * (self.longest + 8) * _EPS * size + lost

    def proved_margin(self, weights: np.ndarray, incoming: bool) -> np.ndarray:
        """A lower bound of every exact `margin`. Where rounding leaves its sign open, rational numbers decide it.

        Stops at the first unit whose exact margin is not positive: the others keep their first bound.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            value, error = self.margin(weights, incoming), self.rounding(weights, incoming)
            low = np.nextafter(value - error, -math.inf)
        low = np.where(np.isfinite(low), low, -math.inf)
        if (value + error < 0).any():
            return low  # some unit fails for certain
        for unit in np.flatnonzero((low <= 0) & np.isfinite(value)):
            exact = self._exact_margin(int(unit), weights, incoming)
            low[unit] = _below(exact)
            if exact <= 0:
                break
        return low

    def _exact_margin(self, unit: int, weights: np.ndarray, incoming: bool) -> Fraction:
        margin = Fraction(float(self.leak[unit]))
        outflow = self.neuron.outflow
        if outflow.active:
            margin += sum((outflow.value(Fraction(w)) for w in self.row(unit, False)[1].tolist()), Fraction(0))
        partners, row = self.row(unit, incoming)
        own, others = self.steepest if incoming else self.steepest[::-1]
        terms = zip(row.tolist(), weights[partners].tolist(), others[partners].tolist(), strict=True)
        spread = sum((Fraction(abs(w)) * Fraction(e) * Fraction(d) for w, e, d in terms), Fraction(0))
        return margin - Fraction(float(own[unit])) * spread / Fraction(float(weights[unit]))


def dense(matrix: Any) -> np.ndarray:
    """An array, or a SciPy CSR array, as an array."""
    return matrix if isinstance(matrix, np.ndarray) else matrix.toarray()


def outwards(bounds: tuple[float, float], dtype: Any) -> tuple[float, float]:
    """The nearest numbers of a precision that hold an interval."""
    ends = []
    for bound, side in zip(bounds, (-1, 1), strict=True):
        near = np.asarray(bound, np.float64).astype(dtype)[()]
        inside = side * (float(near) - bound) < 0
        ends.append(float(np.nextafter(near, np.asarray(side * np.inf, dtype)) if inside else near))
    return ends[0], ends[1]


def _products(*slopes: np.ndarray) -> tuple[float, float]:
    """Bounds of a product of one slope each (2 x units), rounded outwards; 0 of no units."""
    if slopes[0].size == 0:
        return 0.0, 0.0
    one, other = ((float(each[0].min()), float(each[1].max())) for each in slopes)
    if not np.isfinite((*one, *other)).all():
        return -math.inf, math.inf
    ends = [Fraction(a) * Fraction(b) for a in one for b in other]
    return _below(min(ends)), -_below(-max(ends))


def _below(exact: Fraction) -> float:
    """The nearest float that is not above an exact number."""
    near = float(exact)
    return near if Fraction(near) <= exact else float(np.nextafter(near, -math.inf))


def _largest_other(values: np.ndarray) -> np.ndarray:
    """For every entry, the largest of the others."""
    second, first = np.sort(values)[-2:]
    return np.where(values == first, second if (values == first).sum() == 1 else first, first)
