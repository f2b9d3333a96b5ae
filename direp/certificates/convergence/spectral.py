r"""A Euclidean criterion with one weight a unit, for networks of thousands of units: it knows the signs of the weights.

With $A=W^\top$, $\Gamma=\Lambda-c$ and slopes in $[d_1,d_2]$, the inequality of [`euclidean`][direp.certificates] holds
for diagonal $P$ and $Q$ if

$$2\Gamma P+2d_1d_2Q\succeq\tfrac12(PA+(d_1+d_2)Q)\,Q^{-1}(PA+(d_1+d_2)Q)^\top.$$

For slopes in $[0,d_2]$, equal $\Gamma=\gamma$, $P=1$ and $Q=\gamma/d_2^2$ it reads $\lVert d_2A+\gamma\rVert_2\le
2\gamma$: one singular value. Symmetric $d_2A$ pass between $-3\gamma$ and $\gamma$, skew ones up to
$\sqrt3\gamma$, and up to $2\gamma$ with $Q=\lVert A\rVert/d_2$.
With Perron's weights ($p_i=l_i/r_i$ from the left and the right vector of $d_2\Gamma^{-1}|A|$, $Q=\Gamma P/d_2^2$) it
holds wherever `Perron` proves, since the norm of a nonnegative matrix so scaled is its spectral radius. States in a box
(`Projected`) need $\Lambda P-\tfrac12(PA+A^\top P)\succeq cP$ with diagonal $P$ alone, which keeps the projection from
lengthening a difference.

A nudge is a change of the diagonal blocks of the outputs: for weights $u=\sqrt p$ what it adds to the symmetric part is
at most the mean of what it takes in the $\ell_1$ and the $\ell_\infty$ norm with these weights (Gershgorin), so that
every cost that bounds one is covered, and a positive nudge of the squared error takes nothing.

Source: the multiplier is that of classical absolute stability (Lur'e, circle criterion); the forms here are derived.
"""

import math
from typing import Any, ClassVar

import equinox as eqx
import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh

from ...arithmetic import certainly_positive
from ...rules import SquaredError
from .certificate import Attempt, Proof
from .criterion import AbstractCriterion
from .multipliers import Multiplied, balanced, centred, steps_for
from .norm import L2, AbstractNorm
from .perron import perron_weights
from .system import DENSE_UP_TO, System

_EPS = float(np.finfo(np.float64).eps)
_NARROWEST = 0.01  # width of an interval of slopes, as a share of their size
_BACK = (1e-7, 1e-5, 1e-4, 1e-3, 1e-2)  # shares of the rate that are given away until the proof survives rounding
CHECK = "positive definite by a Cholesky factorisation in 64 bits, less its worst rounding error"


def not_covered(system: System) -> str:
    """Why the Euclidean inequalities say nothing of a neuron, or nothing."""
    linear = system.neuron.transfer.linear, system.neuron.rate.linear
    return "" if any(linear) else "needs transfer or rate to be the identity"


def straight(system: System) -> bool:
    """Whether states live in a box, and have slope 1 within: the inequality is then that of the matrix itself."""
    return system.neuron.bounded and system.neuron.transfer.linear and system.neuron.rate.linear


def multiplied(system: System) -> Multiplied:
    """The inequality of the free phase, as `Hopfield` has it: `Rate` is the transpose of that."""
    hopfield = system.neuron.transfer.linear
    matrix = system.dense()
    low, high = system.rate_slope if hopfield else system.transfer_slope
    # Slopes that hardly vary would need multipliers so large that rounding hides the rest: take an interval about them.
    wide = np.minimum(low, high - _NARROWEST * np.maximum(np.abs(low), np.abs(high)))
    low = None if straight(system) else wide
    return Multiplied(matrix.T if hopfield else matrix, system.total_leak, low, high, np.ones(system.size))


def taken(system: System, beta: float, p: np.ndarray) -> np.ndarray:
    r"""What a nudge takes from the leak of every unit, in the norm with these weights, rounded up."""
    if beta == 0:
        return np.zeros(system.size)
    root = np.sqrt(p)
    both = system.feedback(beta, root) + system.feedback(beta, 1 / root)
    return both / 2 * (1 + 16 * _EPS)


class Spectral(AbstractCriterion):
    r"""$\lVert d_2W+\gamma\rVert_2\le2\gamma$ and its sharper forms, with one norm weight a unit; at any size that a
    dense matrix allows. `Projected`: the symmetric part of the weights.

    **Arguments:**

    - `up_to`: free units up to which it is tried. - `sharpen_up_to`: those up to which the multipliers are improved by
      a method of centres; above, equal and balanced weights and those of Perron are tried alone.
    """

    name: ClassVar[str] = "spectral"
    mismatch: ClassVar[bool] = True
    up_to: int = eqx.field(static=True, default=DENSE_UP_TO)
    sharpen_up_to: int = eqx.field(static=True, default=2_000)

    def attempt(self, system):
        if note := refusal(system, self.up_to):
            return Attempt(self.name, note=note + (_guess(system) if system.size > self.up_to else ""))
        if note := hopeless(system):
            return Attempt(self.name, note=note)
        problem = multiplied(system)
        p, q = self.propose(system, problem)
        return prove(self.name, system, problem, p, q)

    def propose(self, system: System, problem: Multiplied) -> tuple[np.ndarray, np.ndarray]:
        """The best multipliers that were found, for the free phase."""
        pairs = [(p, partner(problem, p)) for p in (np.ones(system.size), balanced(_steepest(problem)))]
        if system.size <= DENSE_UP_TO:
            pairs.append(_of_perron(system, problem))
        rates = [problem.rate(p, q) for p, q in pairs]
        best = int(np.argmax(rates))
        if system.size > self.sharpen_up_to:
            return pairs[best]
        return centred(problem, *pairs[best], steps_for(system.size))


def _of_perron(system: System, problem: Multiplied) -> tuple[np.ndarray, np.ndarray]:
    """Multipliers that prove what `Perron` proves, nearly at its rate."""
    left, right = (perron_weights(system, incoming=incoming) for incoming in (False, True))
    rate = min(float(system.margin(left, False).min()), float(system.margin(right, True).min()))
    p = np.clip(left / right if system.neuron.transfer.linear else right / left, 1e-150, 1e150)
    p /= p.max()
    if problem.low is None:
        return p, p
    least = 1e-3 * float(np.abs(problem.leak).max())
    return p, np.maximum(problem.leak - rate, least) * p / _gain(problem) ** 2


def _steepest(problem: Multiplied) -> np.ndarray:
    """The matrix with the largest slopes, where units differ in them."""
    if problem.low is None or np.ptp(gain := _gain(problem)) == 0:
        return problem.matrix
    return problem.matrix * gain


def _gain(problem: Multiplied) -> np.ndarray:
    """The largest size of every slope, or nearly none where it is none."""
    assert problem.low is not None
    gain = np.maximum(np.abs(problem.low), np.abs(problem.high))
    return np.maximum(gain, 1e-6 * max(float(gain.max()), 1e-300))


_SEEN_UP_TO = 1_000  # free units up to which eigenvalues are looked at before the effort
_CERTAIN = 1e-4  # share of the largest row sum above which an eigenvalue is taken for unstable


def hopeless(system: System) -> str:
    """Why no fixed norm at all can prove contraction, where the eigenvalues of one matrix tell, as floating point has
    them; or nothing."""
    if system.size > _SEEN_UP_TO:
        return ""
    if "unstable" not in system.known:
        problem = multiplied(system)
        slope = 1.0 if problem.low is None else problem.high
        steepest = problem.matrix * slope - np.diag(problem.leak)
        most, size = float(np.linalg.eigvals(steepest).real.max()), float(np.abs(steepest).sum(1).max())
        system.known["unstable"] = most if most > _CERTAIN * size else 0.0
    most = system.known["unstable"]
    return f"with the steepest slopes the Jacobian looks unstable by {most:.3g}: no norm will do" if most else ""


def partner(problem: Multiplied, p: np.ndarray) -> np.ndarray:
    r"""Multipliers that go with $p$, of the form $Q=(\Lambda-c)P/d_2^2$: with the $c$ that proves most."""
    if problem.low is None:
        return p
    gain = _gain(problem)
    best, found = None, -math.inf
    least, most = float(problem.leak.min()), float(np.abs(problem.leak).max())
    for share in (0.02, 0.06, 0.12, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 0.9, 1.1, 1.5):
        q = (problem.leak - least + share * most) * p / gain**2
        rate = problem.rate(p, q)
        if best is None or rate > found:
            best, found = q, rate
    assert best is not None
    return best


def _guess(system: System, steps: int = 60) -> str:
    r"""What equal weights would give, by power steps on $d_2A+\gamma$: an estimate, of networks too large for a proof.

    A vector $v$ of length one allows $\gamma$ from $(a+\sqrt{a^2+3b^2})/3$ on, $a=d_2v^\top Av$, $b=d_2\lVert
    Av\rVert$; for states in a box from $a$ on."""
    if not system.representable or not_covered(system) or not np.isfinite(system.gain):
        return ""
    gain, v = system.gain, np.random.default_rng(0).standard_normal(system.size)
    matrix = system.weight.T if system.neuron.transfer.linear else system.weight
    shift = gamma = float(np.abs(system.leak).max())
    for _ in range(steps):
        v = v / np.linalg.norm(v)
        ahead = gain * (matrix @ v)
        a, b = float(v @ ahead), float(np.linalg.norm(ahead))
        gamma = a if straight(system) else (a + math.sqrt(a * a + 3 * b * b)) / 3
        if straight(system):
            v = (ahead + gain * (matrix.T @ v)) / 2 + shift * v
        else:
            both = ahead + gamma * v
            v = gain * (matrix.T @ both) + gamma * both
    return f"; an estimate that proves nothing: a rate of {float(system.total_leak.min()) - gamma:.3g}"


def refusal(system: System, up_to: int) -> str:
    """Why no Euclidean criterion is tried, or nothing."""
    if system.size > up_to:
        return f"not tried above {up_to} units"
    if not system.representable:
        return "the numbers are too large or too small for 64 bits"
    if note := not_covered(system):
        return note
    if not all(np.isfinite(system.feedback(beta, np.ones(system.size))).all() for beta in system.phases.values()):
        return f"needs {type(system.cost).__name__}.feedback, which bounds what a nudge does"
    return ""


def prove(name: str, system: System, problem: Multiplied, p: np.ndarray, q: np.ndarray) -> Attempt:
    """What multipliers prove, rounding included."""
    closest, rates = math.inf, {}
    by_strength: dict[float, float] = {}
    for phase, beta in system.phases.items():
        if beta not in by_strength:
            left = problem.rate(p, q) if beta == 0 else _less(problem, taken(system, beta, p)).rate(p, q)
            closest = min(closest, left)
            by_strength[beta] = _proved_rate(system, problem, p, q, left, beta)
        rates[phase] = by_strength[beta]
    free = rates["free"] > 0 if "free" in rates else False
    if not min(rates.values()) > 0:
        lost = "does not hold for every die" if system.share else "its inequality did not survive rounding"
        short = f"falls short by {-closest:.3g}" if closest <= 0 else lost
        worst = min(rates, key=lambda phase: rates[phase])
        note = f"the free phase contracts, but phase {worst} {short}" if free else short
        return Attempt(name, None, min(closest, 0.0), note, free=free)
    norm = L2(p, inverse=not system.neuron.transfer.linear)
    return proved_in(name, norm, rates, _stretch(system, problem, p), CHECK)


def proved_in(name: str, norm: AbstractNorm, rates: dict[str, float], stretch: float, check: str) -> Attempt:
    r"""A proof in a Euclidean norm in which no Jacobian stretches by more than $L$: a step of $h=c/L^2$ takes
    $1-\sqrt{1-c^2/L^2}$ from every distance."""
    rate = min(rates.values())
    share = (rate / stretch) ** 2
    shrink = share / (1 + math.sqrt(max(1 - share, 0.0))) * (1 - 1e-14)
    if not shrink > 0:
        return Attempt(name, None, -math.inf, "its norm is too uneven for a step in 64 bits")
    return Attempt(name, Proof(norm, rates, rate / stretch**2, shrink, check), rate, free=True)


def _less(problem: Multiplied, lost: np.ndarray) -> Multiplied:
    return Multiplied(problem.matrix, problem.leak - lost, problem.low, problem.high, problem.weight)


def _proved_rate(system: System, problem: Multiplied, p: np.ndarray, q: np.ndarray, rate: float, beta: float) -> float:
    """The largest rate near one in floating point that survives rounding; minus infinity if none does."""
    if not rate > 0:
        return -math.inf
    if system.share:
        return _varied_rate(system, problem, p, q, rate, beta)
    for back in _BACK:
        lower = rate * (1 - back)
        if lower > 0 and holds(system, problem, p, q, lower, taken(system, beta, p)):
            return lower
    return -math.inf


def _varied_rate(system: System, problem: Multiplied, p: np.ndarray, q: np.ndarray, rate: float, beta: float) -> float:
    """The largest rate, to a fraction of a percent, that every die is proved to have; minus infinity if none is."""
    lost, low, high = taken(system, beta, p), 1e-6 * rate, rate
    if not holds(system, problem, p, q, low, lost):
        return -math.inf
    for _ in range(9):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(system, problem, p, q, middle, lost) else (low, middle)
    return low


def _dies(system: System, pulled: np.ndarray, top: np.ndarray, bottom: np.ndarray | None) -> tuple[Any, Any]:
    r"""$x\,B\eta/\eta$ of what dies may add to the inequality, rounded up: $B=|PA|+|PA|^\top$, or that block beside
    itself; $\eta$ is near the Perron vector of $B$ as the diagonal scales it."""
    size, n = np.abs(pulled), len(pulled)
    top = np.maximum(top, 1e-300)
    eta, zeta = 1 / np.sqrt(top), None if bottom is None else 1 / np.sqrt(bottom)
    up = system.share * (1 + 8 * (n + 16) * _EPS)
    for _ in range(40):
        if zeta is None or bottom is None:
            eta = _mixed(eta, (size @ eta + size.T @ eta) / top)
        else:
            both = np.concatenate([(size @ zeta) / top, (size.T @ eta) / bottom])
            both = _mixed(np.concatenate([eta, zeta]), both)
            eta, zeta = both[:n], both[n:]
    if zeta is None:
        return up * (size @ eta + size.T @ eta) / eta, None
    return up * (size @ zeta) / eta, up * (size.T @ eta) / zeta


def _mixed(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """A power step that keeps every entry positive, and settles on graphs of two halves too."""
    return 0.5 * new / max(float(new.max()), 1e-300) + 0.5 * old / old.max() + 1e-12


def holds(system: System, problem: Multiplied, p: np.ndarray, v: np.ndarray, rate: float, lost: np.ndarray) -> bool:
    """Whether the inequality certainly holds, for P and, with its root rounded, Q."""
    n, a = len(p), problem.matrix
    # Lower bounds of the total leak, less the rate and what a nudge takes, in exact arithmetic.
    doubt = 4 * (system.longest + 8) * _EPS * (system.leak + system.sent)
    lost = lost + system.share * (system.leak + system.lost) * (1 + 4 * (system.longest + 8) * _EPS)
    gamma = problem.leak - doubt - lost - rate
    gamma = gamma - 8 * _EPS * (np.abs(problem.leak) + doubt + lost + rate)
    corner = 2 * gamma * p
    pulled = p[:, None] * a
    if problem.low is None:
        matrix = -pulled - pulled.T
        wrong = 8 * _EPS * (np.abs(pulled).sum(1) + np.abs(pulled).sum(0))
        matrix[np.diag_indices(n)] += corner
        if system.share:
            wrong = wrong + _dies(system, pulled, corner, None)[0]
        return certainly_positive(matrix, wrong + 8 * _EPS * np.abs(corner) + 1e-290)
    off, under = _dies(system, pulled, corner, 2 * v) if system.share else (0.0, 0.0)
    if (2 * v <= under).any():
        return False
    # Without dies Q is the exact half of the square of this root; else that is the share of dies that is left out.
    root = np.sqrt(2 * v - under) * (1 - 8 * _EPS if system.share else 1.0)
    half = root / 2 if not system.share else v / root
    cross, size = pulled / root, np.abs(pulled) / root
    own = (np.abs(problem.low) + np.abs(problem.high)) * half
    cross[np.diag_indices(n)] += (problem.low + problem.high) * half
    size[np.diag_indices(n)] += own
    matrix = -(cross @ cross.T)
    both = problem.low * problem.high * (root**2 if not system.share else 2 * v)
    matrix[np.diag_indices(n)] += corner + both
    wrong = off + 4 * (n + 24) * _EPS * (size @ size.sum(0)) + 16 * _EPS * (np.abs(corner) + np.abs(both)) + 1e-290
    return certainly_positive(matrix, wrong * (1 + 4 * (n + 8) * _EPS))


def _stretch(system: System, problem: Multiplied, p: np.ndarray) -> float:
    r"""A bound of $\lVert J\rVert$ in the norm, in every phase: the largest total leak, what a nudge adds, and
    $d_2\lVert UAU^{-1}\rVert_2$, which a factorisation proves."""
    root = np.sqrt(p)
    matrix = root[:, None] * problem.matrix / root
    gain = np.ones(len(p)) if problem.low is None else _gain(problem)
    # A convex cost bends along no direction by more than along all outputs together.
    bend = system.cost.curvature * (1 if isinstance(system.cost, SquaredError) else system.size - system.hidden)
    steepest = max((abs(beta) for beta in system.strengths), default=0.0) * bend * system.gain
    own = np.abs(system.total_leak) + system.doubt + system.rounding(np.ones(system.size), False)
    uneven = float(root[system.hidden :].max() / root[system.hidden :].min()) if steepest else 1.0
    own[system.hidden :] += steepest * uneven
    own = own + system.share * (system.leak + system.lost)
    length = norm_bound(matrix * gain)
    if system.share:
        length += system.share * norm_bound(np.abs(matrix * gain))
    return (float(own.max()) + length) * (1 + 1e-9)


def norm_bound(matrix: np.ndarray) -> float:
    """An upper bound of the largest singular value, within a few percent of it."""
    size = np.abs(matrix)
    rough = math.sqrt(float(size.sum(0).max() * size.sum(1).max())) * (1 + 4 * (len(matrix) + 8) * _EPS)
    if len(matrix) < 3 or not 1e-100 < rough < 1e100:
        return rough
    gram = LinearOperator(matrix.shape, matvec=lambda v: matrix.T @ (matrix @ np.ravel(v)), dtype=np.float64)
    start = np.random.default_rng(0).standard_normal(len(matrix))
    square = float(eigsh(gram, 1, which="LA", v0=start, tol=1e-2, return_eigenvectors=False)[0])  # pyright: ignore[reportArgumentType]
    product = matrix @ matrix.T
    wrong = 4 * (len(matrix) + 16) * _EPS * (size @ size.sum(0))
    for more in (1.02, 1.1, 1.5):
        bound = square * more
        middle = -product
        middle[np.diag_indices(len(matrix))] += bound
        if certainly_positive(middle, wrong + 4 * _EPS * bound):
            return min(rough, math.sqrt(bound) * (1 + 4 * _EPS))
    return rough
