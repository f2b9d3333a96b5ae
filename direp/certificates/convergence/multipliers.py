r"""The best diagonal multipliers of the Euclidean criteria: a method of centres with exact second derivatives.

The inequality is $M(z;c)=\sum_kz_k(a_kb_k^\top+b_ka_k^\top)\succeq0$ with one $z_k>0$ for every entry of $P$ and $Q$.
With $N=M^{-1}$ the barrier $-\log\det M$ has the slopes $-2a_k^\top Nb_k$ and the second derivatives
$2(a_k^\top Na_l\,b_k^\top Nb_l+a_k^\top Nb_l\,b_k^\top Na_l)$: products of entries of a few matrices, so that a Newton
step costs about as much as factorising $M$. It only proposes: the criterion decides the inequality for what comes out.

Source of the method of centres: Boyd & El Ghaoui (1993); the derivatives for these multipliers are derived here.
"""

from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg
from scipy.sparse.linalg import ArpackError, ArpackNoConvergence, LinearOperator, eigsh

_potrf, _potri = scipy.linalg.get_lapack_funcs(("potrf", "potri"), dtype=np.float64)
_LANCZOS_FROM, _FORMED_BELOW = 300, 1_500
_CENTRED = 0.5  # the squared Newton decrement at which multipliers count as centred
_CLOSE = 0.5  # how much of the way to the largest rate of the last step is left
_FLOPS = 25.0  # times n^3, for one Newton step


@dataclass(frozen=True, eq=False)
class Multiplied:
    r"""The inequality of a matrix $A$ (free x free, entry (i, j) from j to i), total leaks $\Lambda$ and slopes in
    $[d_1,d_2]$ on its right, one pair for each unit; without slopes (`low` is None) that of states in a box.

    `weight`: how the rate counts, $\Gamma=\Lambda-c\,\mathrm{weight}$; one, but for other uses of the same inequality.
    """

    matrix: np.ndarray
    leak: np.ndarray
    low: np.ndarray | None
    high: np.ndarray
    weight: np.ndarray

    def scaled(self, p: np.ndarray, q: np.ndarray) -> "Multiplied":
        r"""The same in coordinates in which these multipliers are one: $P^{1/2}AQ^{-1/2}$ (or $P^{1/2}AP^{-1/2}$)."""
        right = p if self.low is None else q
        tilted = replace(self, matrix=np.sqrt(p)[:, None] * self.matrix / np.sqrt(right))
        if self.low is None:
            return tilted
        ratio = np.sqrt(q / p)
        return replace(tilted, low=self.low * ratio, high=self.high * ratio)

    def schur(self, p: np.ndarray, q: np.ndarray, rate: float) -> np.ndarray:
        """What must be positive definite once the rows and columns of Q are eliminated."""
        gamma = self.leak - rate * self.weight
        pulled = p[:, None] * self.matrix
        if self.low is None:
            return np.diag(2 * gamma * p) - pulled - pulled.T
        root = np.sqrt(2 * q)
        cross = pulled / root
        cross[np.diag_indices(len(p))] += (self.low + self.high) * root / 2
        return np.diag(2 * gamma * p + 2 * self.low * self.high * q) - cross @ cross.T

    def rate(self, p: np.ndarray, q: np.ndarray) -> float:
        """The largest rate for these multipliers, in floating point."""
        half = 1 / np.sqrt(p * self.weight)
        if len(p) >= _FORMED_BELOW:
            return self._rate_unformed(p, q, half)
        matrix = self.schur(p, q, 0.0) * half * half[:, None]
        if not np.isfinite(matrix).all():
            return -np.inf
        if len(p) < _LANCZOS_FROM:
            return float(scipy.linalg.eigvalsh(matrix, subset_by_index=(0, 0), check_finite=False)[0]) / 2
        try:
            start = np.random.default_rng(0).standard_normal(len(p))
            return float(eigsh(matrix, 1, which="SA", v0=start, tol=1e-4, maxiter=3000)[0][0]) / 2  # pyright: ignore[reportArgumentType]
        except ArpackError:
            return float(np.linalg.eigvalsh(matrix)[0]) / 2

    def _rate_unformed(self, p: np.ndarray, q: np.ndarray, half: np.ndarray) -> float:
        """The same by products with vectors alone."""
        left, right = half * p, half if self.low is None else 1 / np.sqrt(2 * q)
        own = 2 * self.leak / self.weight
        if self.low is None:

            def product(v: np.ndarray) -> np.ndarray:
                v = np.ravel(v)
                return own * v - left * (self.matrix @ (right * v)) - right * (self.matrix.T @ (left * v))
        else:
            both, root = (self.low + self.high) / 2 / right * half, half**2 * 2 * self.low * self.high * q

            def product(v: np.ndarray) -> np.ndarray:
                v = np.ravel(v)
                inner = right * (self.matrix.T @ (left * v)) + both * v
                return (own + root) * v - left * (self.matrix @ (right * inner)) - both * inner

        operator = LinearOperator((len(p), len(p)), matvec=product, dtype=np.float64)
        start = np.random.default_rng(0).standard_normal(len(p))
        try:
            found = eigsh(operator, 1, which="SA", v0=start, tol=1e-3, maxiter=300)  # pyright: ignore[reportArgumentType]
        except ArpackNoConvergence:
            return -np.inf
        return float(found[0][0]) / 2


def balanced(matrix: np.ndarray, sweeps: int = 30) -> np.ndarray:
    r"""Weights $p$ for which row i and column i of $P^{1/2}AP^{-1/2}$ are nearly as long as each other (Osborne 1960):
    the least Frobenius norm, and a good first norm for networks in which activity flows one way."""
    square = np.abs(matrix) ** 2
    np.fill_diagonal(square, 0)
    p = np.ones(len(matrix))
    for _ in range(sweeps):
        rows, columns = p * (square @ (1 / p)), (square.T @ p) / p
        # A unit that nobody reaches, or that reaches nobody, keeps a finite weight.
        floor = 1e-6 * max(float(rows.max()), float(columns.max()), 1e-300)
        p = p * np.sqrt((columns + floor) / (rows + floor)) ** 0.9
        p /= p.max()
    return np.maximum(p, 1e-12)


def steps_for(size: int, flops: float = 1.2e12) -> int:
    """How many Newton steps to take: fewer for large networks, so that the time stays bounded."""
    return int(np.clip(flops / (_FLOPS * max(size, 1) ** 3), 4, 60 if size < 200 else 32))


def centred(
    problem: Multiplied, p: np.ndarray, q: np.ndarray, steps: int, gap: float = 5e-4
) -> tuple[np.ndarray, np.ndarray]:
    """Multipliers with a larger rate, from some that the inequality holds for at some rate.

    Stops after `steps` Newton steps, or once the rate grows by less than `gap` of itself."""
    first, problem = (p, q), problem.scaled(p, q)
    p = q = np.ones(len(p))
    best, highest = (p, q), problem.rate(p, q)
    span = float(np.abs(problem.leak / problem.weight).max())
    rate, last = highest - 0.01 * max(span, abs(highest)), -np.inf
    p, q = p / 2, q / 2
    for _ in range(steps):
        moved = _newton(problem, p, q, rate)
        if moved is None:
            break
        p, q, decrement = moved
        found = problem.rate(p, q)
        if found > highest:
            best, highest = (p, q), found
        if decrement < _CENTRED:  # else the centre first
            if found - last < gap * max(abs(found), 1e-3 * span):
                break
            last, rate = found, found - _CLOSE * (found - rate)
    return first[0] * best[0], first[1] * best[1]


def _newton(
    problem: Multiplied, p: np.ndarray, q: np.ndarray, rate: float
) -> tuple[np.ndarray, np.ndarray, float] | None:
    """One step towards the analytic centre of the multipliers that prove this rate, and of P below one."""
    local, curved = problem.scaled(p, q), problem.low is not None
    gamma = problem.leak - rate * problem.weight
    found = (_curved if curved else _linear)(local, gamma)
    if found is None:
        return None
    slope, bend = found
    room = 1 / p - 1  # P stays below one: what is not bounded has no centre
    n = len(p)
    slope[:n] += 1 / room
    bend[np.arange(n), np.arange(n)] += 1 / room**2
    bend[np.diag_indices(len(bend))] += 1e-12 * np.diagonal(bend)
    try:
        step = -scipy.linalg.cho_solve(scipy.linalg.cho_factor(bend, check_finite=False), slope, check_finite=False)
    except np.linalg.LinAlgError:
        return None
    decrement = float(-slope @ step)

    def barrier(z: np.ndarray) -> float:
        top, bottom = z[:n], z[n:] if curved else np.ones(n)
        if (top <= 0).any() or (bottom <= 0).any() or (top >= 1 / p).any():
            return np.inf
        factor = _potrf(local.schur(top, bottom, rate), lower=True, overwrite_a=True, clean=False)
        if factor[1] != 0:
            return np.inf
        value = -2 * np.log(np.diagonal(factor[0])).sum() - np.log(1 / p - top).sum()
        return value - (np.log(2 * bottom).sum() if curved else 0.0)

    one = np.ones(len(slope))
    start, length = barrier(one), 1.0
    for _ in range(12):
        z = one + length * step
        if barrier(z) <= start - 0.1 * length * decrement + 1e-9 * abs(start):
            return p * z[:n], q * z[n:] if curved else q, decrement
        length /= 2
    return None


def _inverse(matrix: np.ndarray) -> np.ndarray | None:
    factor, fault = _potrf(matrix, lower=True, overwrite_a=True, clean=True)
    if fault:
        return None
    inverse, _ = _potri(factor, lower=True, overwrite_c=True)
    return np.tril(inverse) + np.tril(inverse, -1).T


def _linear(local: Multiplied, gamma: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """First and second derivatives at P = 1: of the states in a box."""
    one = np.ones(len(gamma))
    rows = np.diag(gamma) - local.matrix
    inverse = _inverse(rows + rows.T)
    if inverse is None:
        return None
    product = rows @ inverse
    return -2 * np.diagonal(product) * one, 2 * (inverse * (product @ rows.T) + product * product.T)


def _curved(local: Multiplied, gamma: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """First and second derivatives at P = Q = 1."""
    a, low, high = local.matrix, local.low, local.high
    assert low is not None
    n, one = len(gamma), np.ones(len(gamma))
    cross = -a.copy()
    cross[np.diag_indices(n)] -= low + high
    corner = -cross @ cross.T / 2
    # gamma belongs to unscaled coordinates as well: P scales rows and columns alike.
    corner[np.diag_indices(n)] += 2 * gamma + 2 * low * high
    n11 = _inverse(corner)
    if n11 is None:
        return None
    n12 = -n11 @ cross / 2
    n22 = -cross.T @ n12 / 2
    n22[np.diag_indices(n)] += 0.5
    u1, u2 = gamma[:, None] * n11 - a @ n12.T, gamma[:, None] * n12 - a @ n22
    pp = n11 * (u1 * gamma - u2 @ a.T) + u1.T * u1
    aa = n22 - low[:, None] * n12 - n12.T * low + low[:, None] * n11 * low
    bb = n22 - high[:, None] * n12 - n12.T * high + high[:, None] * n11 * high
    ab = n22 - low[:, None] * n12 - n12.T * high + low[:, None] * n11 * high
    qq = aa * bb + ab * ab.T
    pq = (n12 - n11 * low) * (u2 - u1 * high) + (n12 - n11 * high) * (u2 - u1 * low)
    bend = 2 * np.block([[pp, pq], [pq.T, qq]])
    return -2 * np.concatenate([np.diagonal(u1) * one, np.diagonal(ab) * one]), bend
