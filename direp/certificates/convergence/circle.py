r"""The circle criterion with a full norm: sharper than one weight a unit, for `Hopfield` and `Rate`.

For fixed multipliers $Q$ there is a norm $P$ that solves the Lur'e inequality (see `euclidean`) if and only if, at
every frequency, $Q(1-d_2(i\omega+\Gamma)^{-1}A)$ has a positive definite Hermitian part (slopes in $[0,d_2]$). For
equal $\Gamma=\gamma$ this says that the field of values of $d_2Q^{1/2}AQ^{-1/2}$ lies in the parabola
$x<\gamma-y^2/(4\gamma)$: symmetric matrices pass up to $\gamma$, whatever their negative eigenvalues, and skew ones up
to $2\gamma$, with the same $Q$. At $\omega=0$ it is the inequality of states in a box,
$P'\Gamma/d_2-\tfrac12(P'A+A^\top P')\succ0$ with $P'=d_2Q\Gamma^{-1}$, whose best diagonal $P'$ are known how to find:
so $Q$ comes from there. Where another frequency is the narrowest, small networks move $Q$ to the centre of what a grid
of frequencies allows: each asks for a matrix to be positive that is linear in $Q$. $P$ comes from the Riccati equation

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
_ALL_FREQUENCIES_UP_TO = 64  # free units up to which multipliers are moved to suit other frequencies than zero
_ROUNDS = 6
_INSIDE = 0.999  # share of the rate at which the centre is taken
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
        for _ in range(_ROUNDS if best is not None and system.size <= _ALL_FREQUENCIES_UP_TO else 0):
            assert best is not None
            moved = _at_all_frequencies(hull, low, high, *best)
            if moved is None or moved[0] <= best[0]:
                break
            enough, best = moved[0] - best[0] <= 1e-3 * moved[0], moved
            if enough:
                break
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


def _at_all_frequencies(
    hull: Inequality, low: np.ndarray, high: np.ndarray, rate: float, norm: np.ndarray, q: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray] | None:
    """Multipliers in the centre of what all frequencies allow a little below a rate, and the rate that they give."""

    def loops(rate: float) -> np.ndarray:
        gamma = hull.leak - rate
        fastest = float(np.abs(gamma).max() + np.abs(hull.coupling * high).sum(1).max())
        grid = np.concatenate([[0.0], fastest * np.logspace(-2.5, 0, 24)])
        return np.eye(len(q)) - (high / (1j * grid[:, None] + gamma))[:, :, None] * hull.coupling

    moved = _centre(loops(_INSIDE * rate), q)
    least, most = _INSIDE * rate, float(hull.leak.min())
    for _ in range(20):
        middle = (least + most) / 2
        least, most = (middle, most) if _hermitian(loops(middle), moved) is not None else (least, middle)
    return _largest(hull, low, high, lambda rate: moved, least)


def _hermitian(loops: np.ndarray, q: np.ndarray) -> np.ndarray | None:
    """The Hermitian part of $Q$ times every loop, if all of them are positive definite."""
    pulled = q[:, None] * loops
    both = (pulled + np.conj(np.swapaxes(pulled, 1, 2))) / 2
    try:
        np.linalg.cholesky(both)
    except np.linalg.LinAlgError:
        return None
    return both


def _centre(loops: np.ndarray, q: np.ndarray, steps: int = 20) -> np.ndarray:
    r"""Newton's method in $\log q$ for the least $-\sum\log\det\mathrm{He}(QG)$ over the loops $G$ and the signs of
    $q$, with a fixed product of all $q$ (the matrices grow in proportion to them)."""
    many, size = loops.shape[:2]
    t = np.log(q) - np.log(q).mean()

    def cost(t: np.ndarray) -> float:
        both = _hermitian(loops, np.exp(t - t.mean()))
        return math.inf if both is None else -float(np.linalg.slogdet(both)[1].sum())

    now = cost(t)
    for _ in range(steps):
        both = _hermitian(loops, np.exp(t))
        if both is None:
            return q
        inverse = np.linalg.inv(both)
        right = np.exp(t)[:, None] * loops @ inverse
        outer = right @ np.conj(np.swapaxes(np.exp(t)[:, None] * loops, 1, 2))
        slope = -np.einsum("kii->i", right).real
        bend = (right * np.swapaxes(right, 1, 2) + outer * np.swapaxes(inverse, 1, 2)).real.sum(0) / 2
        bend = bend + np.diag(slope) + many * np.ones((size, size)) / size  # in log q; scale alone changes nothing
        values, vectors = np.linalg.eigh(bend)
        step = -vectors @ ((vectors.T @ (slope - slope.mean())) / np.maximum(np.abs(values), 1e-9 * values.max()))
        length = 1.0
        while length > 1e-4 and not (new := cost(t + length * step)) < now:
            length /= 2
        if length <= 1e-4:
            break
        done, now = now - new < 1e-3 * many, new
        t = t + length * step
        t = t - t.mean()
        if done:
            break
    return np.exp(t)


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
