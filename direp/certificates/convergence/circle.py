r"""The circle criterion with a full norm: sharper than one weight a unit, for `Hopfield` and `Rate`.

For fixed multipliers $Q$ there is a norm $P$ that solves the Lur'e inequality (see `euclidean`) if and only if, at
every frequency, $Q(1-d_2(i\omega+\Gamma)^{-1}A)$ has a positive definite Hermitian part (slopes in $[0,d_2]$). For
equal $\Gamma=\gamma$ this says that the field of values of $d_2Q^{1/2}AQ^{-1/2}$ lies in the parabola
$x<\gamma-y^2/(4\gamma)$: symmetric matrices pass up to $\gamma$, whatever their negative eigenvalues, and skew ones up
to $2\gamma$, with the same $Q$. At $\omega=0$ it is the inequality of states in a box,
$P'\Gamma/d_2-\tfrac12(P'A+A^\top P')\succ0$ with $P'=d_2Q\Gamma^{-1}$, whose best diagonal $P'$ are known how to find:
so $Q$ comes from there, and $P$ from the Riccati equation

$$PK+K^\top P+\tfrac12PAQ^{-1}A^\top P+\tfrac12(d_2-d_1)^2Q+\varepsilon=0,\qquad K=\tfrac12A(d_1+d_2)-\Gamma,$$

by the sign function of its Hamiltonian matrix.

Sources: the multivariable circle criterion and the positive real lemma (Zames 1966; Willems 1971); Roberts (1971, 1980)
for the sign function. The reduction to the problem of the box, and the parabola, are derived here.
"""

import math
from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import numpy as np

from .euclidean import AbstractEuclidean, Inequality, curved
from .multipliers import Multiplied, balanced, centred, steps_for
from .spectral import partner

_BOTH_UP_TO = 200  # free units up to which the multipliers of the criterion spectral are tried too
_HALVINGS = 6
_SHORT = (1e-3, 0.01, 0.03, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9, 0.97, 0.995)  # shares of the box's rate that are given away


class Circle(AbstractEuclidean):
    r"""The Lur'e inequality with a full norm, up to hundreds of units: diagonal multipliers by a method of centres,
    the norm by a Riccati equation."""

    name: ClassVar[str] = "circle"
    up_to: int = eqx.field(static=True, default=1_000)

    def propose(self, system, phases):
        hull = min(phases, key=lambda phase: phase.beta)
        if hull.linear:
            return "in a box the norm has one weight a unit, as in the criterion spectral"
        low, high = curved(system)
        if low.min() < 0 or high.max() <= 0:
            return "needs slopes of zero or above"
        best = None
        for shape, most in self._shapes(system, hull, low, high):
            found = _largest(hull, low, high, shape, most)
            if found is not None and (best is None or found[0] > best[0]):
                best = found
        return best[1:] if best is not None else "no norm was found that goes with the multipliers of frequency zero"

    def _shapes(self, system, hull, low, high) -> list[tuple[Callable[[float], np.ndarray], float]]:
        """Multipliers for every rate, and the rate above which there are none."""
        gain = np.maximum(high, 1e-6 * high.max())
        box = Multiplied(hull.coupling, hull.leak / gain, None, gain, 1 / gain)
        start = balanced(hull.coupling)
        p, _ = centred(box, start, start, steps_for(system.size))
        most = box.rate(p, p)
        shapes = [(lambda rate: (hull.leak - rate) * p / gain, most)] if most > 0 else []
        if system.size <= _BOTH_UP_TO:
            other = Multiplied(hull.coupling, hull.leak, low, high, np.ones(system.size))
            _, q = centred(other, start, partner(other, start), steps_for(system.size))
            shapes.append((lambda rate: q, float(hull.leak.min())))
        return shapes


def _largest(
    hull: Inequality, low: np.ndarray, high: np.ndarray, shape: Callable[[float], np.ndarray], most: float
) -> tuple[float, np.ndarray, np.ndarray] | None:
    """The largest rate that was found for multipliers of one shape, with norm and multipliers."""
    best, above = None, most
    for short in _SHORT:
        found = _at(hull, low, high, shape, most * (1 - short))
        if found is not None:
            best = found
            break
        above = most * (1 - short)
    for _ in range(_HALVINGS if best is not None and len(low) <= _BOTH_UP_TO else 0):
        assert best is not None
        found = _at(hull, low, high, shape, (above + best[0]) / 2)
        if found is None or found[0] <= best[0]:
            above = (above + best[0]) / 2
        else:
            best = found
    return best


def _at(
    hull: Inequality, low: np.ndarray, high: np.ndarray, shape: Callable[[float], np.ndarray], rate: float
) -> tuple[float, np.ndarray, np.ndarray] | None:
    q = shape(rate)
    norm = riccati(hull.coupling, hull.leak - rate, low, high, q) if q.min() > 0 else None
    found = -math.inf if norm is None else hull.rate(norm, q)
    return (found, norm, q) if norm is not None and found > 0 else None


def riccati(a: np.ndarray, gamma: np.ndarray, low: np.ndarray, high: np.ndarray, q: np.ndarray) -> np.ndarray | None:
    """The least P that solves the Riccati equation, if the sign iteration finds one."""
    n = len(gamma)
    k = a * (low + high) / 2 - np.diag(gamma)
    drift = (a / q) @ a.T / 2
    own = (high - low) ** 2 * q / 2
    hamiltonian = np.block([[k, drift], [-np.diag(own + 1e-6 * own.max()), -k.T]])
    sign = hamiltonian
    for step in range(40):
        try:
            inverse = np.linalg.inv(sign)
        except np.linalg.LinAlgError:
            return None
        scale = math.sqrt(np.linalg.norm(inverse) / np.linalg.norm(sign)) if step < 8 else 1.0
        new = (scale * sign + inverse / scale) / 2
        if not np.isfinite(new).all():
            return None
        done = np.abs(new - sign).max() <= 1e-10 * np.abs(new).max()
        sign = new
        if done:
            break
    else:
        return None
    left = np.concatenate([sign[:n, n:], sign[n:, n:] + np.eye(n)])
    right = -np.concatenate([sign[:n, :n] + np.eye(n), sign[n:, :n]])
    found, *_ = np.linalg.lstsq(left, right, rcond=None)
    norm = (found + found.T) / 2
    return norm if np.isfinite(norm).all() else None
