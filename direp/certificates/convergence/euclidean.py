r"""Criteria in weighted Euclidean norms: the symmetric case in closed form, and the Lur'e matrix inequality.

With $A=W^\top$, slopes in $[d_1,d_2]$ and $J=-\Lambda+AD$ (a `transfer` of slope 1, as `Hopfield` has),
$PJ+J^\top P\preceq-2cP$ for every such $D$ if

$$\begin{pmatrix}\Lambda P+P\Lambda-2cP+2d_1d_2Q&-PA-(d_1+d_2)Q\\\cdot&2Q\end{pmatrix}\succeq0,\qquad P\succ0,\
Q\succeq0\text{ diagonal.}$$

A `rate` of slope 1 (such as `Rate`) has $J=-\Lambda+DA$, the transpose of such a Jacobian with $A^\top$: whatever $P$
proves there, $P^{-1}$ proves here. Where both have slope 1 in a box (`Projected`), $J=-\Lambda+A$ on the units that no
face holds; $P$ must be diagonal, so that the projection on the box cannot lengthen a difference, and
$\Lambda P+P\Lambda-PA-A^\top P-2cP\succeq0$ suffices. Slopes on both sides of $A$, and in a box, are not covered.

Whoever proposes $P$, $Q$ and $c$, a Cholesky factorisation less its rounding decides; what that leaves open in small
networks, ball arithmetic.

Sources: the multiplier is that of classical absolute stability (Lur'e); Centorrino et al. (arXiv:2302.13452) for
symmetric weights with equal leaks. The forms for the three neurons, unequal leaks and outflow are derived here.
"""

import functools
import importlib.util
import math
from abc import abstractmethod
from typing import Any, ClassVar

import equinox as eqx
import numpy as np

from ...arithmetic import around_zero, certainly_positive, exact, positive_definite
from ...rules import SquaredError
from .certificate import Attempt
from .criterion import AbstractCriterion
from .norm import Euclidean
from .spectral import CHECK, hopeless, norm_bound, proved_in, refusal, straight
from .system import System

_BALLS_UP_TO = 100  # free units
_EPS = float(np.finfo(np.float64).eps)
_SLACK = 1e-6  # share of the rate that is given away, so that the inequality is strict and survives rounding


class Inequality:
    """The matrix inequality of one phase, in floats or (with `lift=exact`) in balls around the numbers as stored."""

    def __init__(self, system: System, beta: float, lift: Any = np.asarray):
        weight, neuron, self.beta = lift(system.dense()), system.neuron, beta
        self.leak = lift(system.leak) + neuron.outflow.value(weight).sum(1)
        self.coupling = (weight.T if neuron.transfer.linear else weight).copy()
        outputs = np.arange(system.hidden, system.size)
        # The nudge of the squared error is a synapse of weight -beta from each output to itself.
        self.coupling[outputs, outputs] = self.coupling[outputs, outputs] - lift(beta)
        self.linear = neuron.bounded
        self.slope = tuple(map(lift, curved(system)))

    def matrix(self, p: np.ndarray, q: np.ndarray, rate: Any = 0) -> np.ndarray:
        """What must be positive definite, from P (square) and the diagonal of Q."""
        corner = self.leak[:, None] * p + p * self.leak - 2 * rate * p
        pulled = p @ self.coupling
        if self.linear:
            return corner - pulled - pulled.T
        low, high = self.slope
        cross = -pulled - np.diag((low + high) * q)
        return np.block([[corner + np.diag(2 * low * high * q), cross], [cross.T, np.diag(2 * q)]])

    def rate(self, p: np.ndarray, q: np.ndarray) -> float:
        """The largest rate that P and Q give, in floating point (Schur complement); -inf if they give none."""
        whole, n = self.matrix(p, q), len(p)
        if not self.linear:
            if q.min() <= 0:
                return -math.inf
            whole = whole[:n, :n] - (whole[:n, n:] / np.diagonal(whole)[n:]) @ whole[n:, :n]
        try:
            half = np.linalg.inv(np.linalg.cholesky(p))
        except np.linalg.LinAlgError:
            return -math.inf
        return float(np.linalg.eigvalsh(half @ whole @ half.T)[0]) / 2


def curved(system: System) -> np.ndarray:
    """The least and the largest slope of every unit (2 x free), on the side of the matrix where they are not 1."""
    return system.rate_slope if system.neuron.transfer.linear else system.transfer_slope


def full_norm_refusal(system: System) -> str:
    """Why no norm with a full matrix is tried, or nothing."""
    curved_box = system.neuron.bounded and not straight(system)
    return "in a box of curved units the norm has one weight a unit, as in the criterion spectral" if curved_box else ""


class AbstractEuclidean(AbstractCriterion):
    """A criterion that proposes P and Q; the proof is the same for all."""

    up_to: eqx.AbstractVar[int]

    @abstractmethod
    def propose(self, system: System, phases: list[Inequality]) -> tuple[np.ndarray, np.ndarray] | str:
        """P and the diagonal of Q; or why there are none."""

    def attempt(self, system):
        if note := refusal(system, self.up_to) or full_norm_refusal(system):
            return Attempt(self.name, note=note)
        if system.strengths and type(system.cost) is not SquaredError:
            return Attempt(self.name, note=f"does not cover the nudge of {type(system.cost).__name__}")
        if note := hopeless(system):
            return Attempt(self.name, note=note)
        phases = [Inequality(system, beta) for beta in dict.fromkeys(system.phases.values())]
        proposed = self.propose(system, phases)
        if isinstance(proposed, str):
            return Attempt(self.name, note=proposed)
        p, q = proposed
        if phases[0].linear and np.count_nonzero(p - np.diag(np.diagonal(p))):
            raise ValueError(f"{type(self).__name__} proposed a norm that is not diagonal, in a box")
        found = [phase.rate(p, q) for phase in phases]
        if min(found) <= 0:
            return Attempt(self.name, None, min(found), f"falls short by {-min(found):.3g}")
        proved = {phase.beta: rate * (1 - _SLACK) for phase, rate in zip(phases, found, strict=True)}
        by_sums = certainly_positive(p, np.zeros(len(p))) and all(
            certainly_positive(*_doubted(system, phase, p, q, proved[phase.beta])) for phase in phases
        )
        if not by_sums and not (system.size <= _BALLS_UP_TO and _in_balls(system, p, q, proved)):
            return Attempt(self.name, None, -math.inf, "its inequality did not survive rounding")
        rates = {name: proved[beta] for name, beta in system.phases.items()}
        norm = Euclidean(p, inverse=not system.neuron.transfer.linear)
        check = CHECK if by_sums else "positive definite in 128-bit ball arithmetic"
        return proved_in(self.name, norm, rates, stretch(system, norm), check)


def _doubted(
    system: System, phase: Inequality, p: np.ndarray, q: np.ndarray, rate: float
) -> tuple[np.ndarray, np.ndarray]:
    """The inequality in floats, and a bound on the sum of every row of what rounding may have done to it."""
    size, pulled = np.abs(p), np.abs(p) @ np.abs(phase.coupling)
    leak = np.abs(phase.leak) + system.sent + abs(rate)
    many = 8 * (system.size + 16) * _EPS
    corner = many * (leak[:, None] * size + size * leak).sum(1)
    corner = corner + system.doubt * size.sum(1) + size @ np.broadcast_to(system.doubt, len(p)) * (1 + many)
    matrix = phase.matrix(p, q, rate)
    if phase.linear:
        return matrix, corner + many * (pulled.sum(1) + pulled.sum(0)) + 1e-290
    low, high = (np.abs(bound) for bound in phase.slope)
    cross = many * (pulled + np.diag((low + high) * q))
    doubt = np.concatenate([corner + many * low * high * q + cross.sum(1), cross.sum(0) + many * q])
    return matrix, doubt + 1e-290


def _in_balls(system: System, p: np.ndarray, q: np.ndarray, rates: dict[float, float]) -> bool:
    def holds(beta: float, rate: float) -> bool:
        inequality = Inequality(system, beta, exact)
        inequality.leak = inequality.leak + around_zero(np.broadcast_to(system.doubt, len(p)))
        return positive_definite(inequality.matrix(exact(p), exact(q), exact(rate)[()]))

    return positive_definite(exact(p)) and all(holds(*each) for each in rates.items())


def stretch(system: System, norm: Euclidean) -> float:
    """A bound on how far any Jacobian of any phase stretches in the norm, rounded up generously."""
    steepest = max((abs(beta) for beta in system.strengths), default=0.0) * system.gain
    own = np.abs(system.total_leak) + system.doubt + system.rounding(np.ones(system.size), False)
    own = own + np.where(np.arange(system.size) < system.hidden, 0.0, steepest)
    p, (receive, send) = norm.matrix, system.steepest
    matrix = (system.dense() * receive * send[:, None]).T
    diagonal = np.diagonal(p)
    if np.array_equal(p, np.diag(diagonal)):
        root = np.sqrt(1 / diagonal if norm.inverse else diagonal)
        matrix, twist = root[:, None] * matrix / root, 1.0
    else:
        spectrum = np.linalg.eigvalsh(p)
        least = spectrum[0] - 4 * len(p) * np.finfo(np.float64).eps * spectrum[-1]
        twist = math.sqrt(spectrum[-1] / least) * 1.01 if least > 0 else math.inf
    return twist * (float(own.max()) + norm_bound(matrix)) * (1 + 1e-9)


class Symmetric(AbstractEuclidean):
    r"""Closed forms that are exact for symmetric weights, and tried for the symmetric part of any others.

    `Projected`: $P=1$; the rate is the smallest eigenvalue of $\Lambda-(W+W^\top)/2$. Otherwise, with slopes in
    $[0,d_2]$ and $\Gamma=\Lambda-c$: $Q=1/d_2^2$ and $P=(2\Gamma-d_2W)^{-1}$ prove $c$ if
    $d_2(\Gamma W+W\Gamma)\preceq2\Gamma^2$; for equal leaks, if $d_2$ times the largest eigenvalue of $W$ is below
    $\Lambda-c$. Where units differ in $d_2$, the same in coordinates in which they do not: $d_2^{1/2}Wd_2^{1/2}$.
    """

    name: ClassVar[str] = "symmetric"
    up_to: int = eqx.field(static=True, default=200)

    def propose(self, system, phases):
        hull = min(phases, key=lambda phase: phase.beta)  # the most negative nudge
        size = system.size
        if hull.linear:
            return np.eye(size), np.zeros(size)
        low, high = curved(system)
        if low.min() < 0 or high.max() == 0:
            return "needs slopes of zero or above"
        slope = np.maximum(high, 1e-9 * high.max())
        root = np.sqrt(slope)
        coupling = root[:, None] * (hull.coupling + hull.coupling.T) / 2 * root

        def room(rate: float) -> float:
            gamma = hull.leak - rate
            half = gamma[:, None] * coupling
            return float(np.linalg.eigvalsh(np.diag(2 * gamma**2) - half - half.T)[0])

        least, most = 0.0, float(hull.leak.min())
        if most <= 0 or room(least) <= 0:
            return "the largest eigenvalue of the weights' symmetric part is too large for the leak"
        for _ in range(30):
            middle = (least + most) / 2
            least, most = (middle, most) if room(middle) > 0 else (least, middle)
        p = np.linalg.inv(2 * np.diag(hull.leak - least) - coupling)
        p = root[:, None] * (p + p.T) / 2 * root
        return (p + p.T) / 2, 1 / slope


class LMI(AbstractEuclidean):
    r"""The matrix inequality, with P and Q proposed by the semidefinite solver clarabel (extra `certify`).

    It finds the largest $t$ for which the inequality at a rate $c$ has $t$ to spare where $P\preceq1$; what P and Q
    then prove is the next $c$, until it stays (Dinkelbach 1967).

    **Arguments:**

    - `up_to`: free units up to which it is tried; the time grows with a high power of their number. - `rounds`: how
      many such programmes are solved at most.
    """

    name: ClassVar[str] = "LMI"
    up_to: int = eqx.field(static=True, default=24)
    rounds: int = eqx.field(static=True, default=2)

    def propose(self, system, phases):
        if importlib.util.find_spec("clarabel") is None:
            return "not tried: install direp[certify] for its solver"
        from .semidefinite import solve

        best, rate = None, 0.0
        for _ in range(self.rounds):
            blocks = [functools.partial(phase.matrix, rate=rate) for phase in phases]
            solution = solve(blocks, system.size, phases[0].linear)
            found = -math.inf if solution is None else min(phase.rate(*solution) for phase in phases)
            if found <= rate:
                break
            enough, best, rate = found - rate <= 1e-4 * found, solution, found
            if enough:
                break
        return best or "the solver found no norm"
