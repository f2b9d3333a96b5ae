r"""Every corner of the slopes in one norm: the sharpest criterion with a fixed Euclidean norm, for a few units.

$J=-\Lambda+AD$ depends on each slope by itself and linearly, so $PJ+J^\top P\preceq-2cP$ for all slopes in
$[d_1,d_2]$ if and only if it holds at their $2^n$ corners. The Lur'e inequality only suffices: this one contains it.
A semidefinite programme over a few corners proposes $P$; the corners that it violates most join, until none is left.

Source: common quadratic Lyapunov functions of polytopes of matrices (Boyd et al. 1994, section 5.1).
"""

import importlib.util
import itertools
import math
from typing import Any, ClassVar

import equinox as eqx
import numpy as np

from ...arithmetic import around_zero, exact, positive_definite
from .certificate import Attempt
from .criterion import AbstractCriterion
from .euclidean import Inequality, curved, full_norm_refusal, stretch
from .norm import Euclidean
from .spectral import proved_in, refusal
from .system import System

_SLACK = 1e-6


class Vertices(AbstractCriterion):
    """One norm for every corner of the slopes (`Hopfield` and `Rate`), proposed by clarabel (extra `certify`).

    **Arguments:**

    - `up_to`: free units up to which it is tried: their corners are counted.
    """

    name: ClassVar[str] = "vertices"
    up_to: int = eqx.field(static=True, default=8)

    def attempt(self, system):
        if note := refusal(system, self.up_to) or full_norm_refusal(system):
            return Attempt(self.name, note=note)
        if system.neuron.bounded:
            return Attempt(self.name, note="in a box the criterion spectral is as sharp")
        if system.strengths:
            return Attempt(self.name, note="covers the free phase alone")
        if importlib.util.find_spec("clarabel") is None:
            return Attempt(self.name, note="not tried: install direp[certify] for its solver")
        corners = np.array(list(itertools.product(*curved(system).T)))
        jacobians = _jacobians(system, corners, np.asarray)
        most = float(np.linalg.eigvals(np.asarray(jacobians)).real.max())
        if most > 1e-9:
            return Attempt(self.name, note=f"at a corner the Jacobian is unstable by {most:.3g}: no norm would do")
        norm = _propose(jacobians)
        if norm is None:
            return Attempt(self.name, note="the solver found no norm")
        found = float(_rates(jacobians, norm).min())
        if found <= 0:
            return Attempt(self.name, None, found, f"falls short by {-found:.3g}")
        rate = found * (1 - _SLACK)
        if not _holds(system, corners, norm, rate):
            return Attempt(self.name, None, -math.inf, "its inequalities did not survive rounding")
        metric = Euclidean(norm, inverse=not system.neuron.transfer.linear)
        check = "positive definite at every corner of the slopes in 128-bit ball arithmetic"
        return proved_in(self.name, metric, dict.fromkeys(system.phases, rate), stretch(system, metric), check)


def _jacobians(system: System, corners: np.ndarray, lift: Any) -> Any:
    """The Jacobian at every corner, as `Hopfield` has it."""
    free = Inequality(system, 0.0, lift)
    if lift is exact:
        free.leak = free.leak + around_zero(np.broadcast_to(system.doubt, system.size))
    own = np.diag(free.leak)
    return [free.coupling * lift(corner) - own for corner in corners]


def _rates(jacobians: Any, norm: np.ndarray) -> np.ndarray:
    half = np.linalg.inv(np.linalg.cholesky(norm))
    pulled = half @ (norm @ np.asarray(jacobians)) @ half.T
    return -np.linalg.eigvalsh(pulled + np.swapaxes(pulled, -1, -2))[:, -1] / 2


def _propose(jacobians: list[np.ndarray]) -> np.ndarray | None:
    from .semidefinite import solve

    size = len(jacobians[0])
    chosen, rate, best = [0, len(jacobians) - 1], 0.0, None
    for _ in range(20):
        blocks = [_Block(jacobians[k], rate) for k in chosen]
        solution = solve(blocks, size, False)
        if solution is None:
            return best
        norm = solution[0]
        if np.linalg.eigvalsh(norm)[0] <= 0:
            return best
        found = _rates(jacobians, norm)
        worst = float(found.min())
        if worst > rate:
            enough, best, rate = worst - rate <= 1e-3 * worst, norm, worst
            if enough:
                return best
        more = [int(k) for k in np.argsort(found)[:4] if k not in chosen]
        if not more and worst <= rate:
            return best
        chosen += more
    return best


class _Block:
    """$-PJ-J^\\top P-2cP$ at one corner; Q plays no part."""

    def __init__(self, jacobian: np.ndarray, rate: float):
        self.jacobian, self.shift = jacobian, rate

    def __call__(self, p: np.ndarray, q: np.ndarray) -> np.ndarray:
        pulled = p @ self.jacobian
        return -pulled - pulled.T - 2 * self.shift * p


def _holds(system: System, corners: np.ndarray, norm: np.ndarray, rate: float) -> bool:
    p, c = exact(norm), exact(rate)[()]
    if not positive_definite(p):
        return False
    for jacobian in _jacobians(system, corners, exact):
        pulled = p @ jacobian
        if not positive_definite(-pulled - pulled.T - 2 * c * p):
            return False
    return True
