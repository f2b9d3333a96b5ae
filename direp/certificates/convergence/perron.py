r"""Norm weights from the Perron vector of a Metzler matrix. They only propose: the criterion checks the inequality for
whatever positive weights come out."""

from collections.abc import Callable

import numpy as np
import scipy.linalg
from scipy.sparse.linalg import LinearOperator, bicgstab

from .system import DENSE_UP_TO, System, dense

_GAP = 1e-9
_DIES = 8  # times that the slowest die is looked for anew
_PATIENCE = 5  # steps without progress, where the linear systems are only solved approximately


def perron_weights(system: System, *, incoming: bool) -> np.ndarray:
    r"""Weights $\eta>0$ for which $\min_i(A\eta)_i/\eta_i$, $A=\Lambda-d_2|W|$, is nearly as large as it can be.

    With nudged phases, $\Lambda$ of the outputs is lowered by what the worst of them takes. With dies it is $A$ of the
    slowest: which that is depends on the weights, so both are found in turn.
    """
    if (key := ("perron", incoming)) in system.known:
        return system.known[key]
    raised = np.max([system.feedback(beta, np.ones(system.size)) for beta in system.phases.values()], axis=0)
    weights, best, highest = None, np.ones(system.size), -np.inf
    for _ in range(_DIES if system.share else 1):
        leak, size = system.slowest(weights, incoming)
        size = size.T if incoming else size
        matrix = dense(size) if system.size <= DENSE_UP_TO else None
        weights, _ = noda(leak - raised, lambda v, size=size: np.asarray(size @ v), matrix)
        lowest = float((system.margin(weights, incoming) - raised).min()) if system.share else np.inf
        if not lowest > highest:
            break
        best, highest = weights, lowest
    return system.known.setdefault(key, best)


def noda(
    leak: np.ndarray, spread: Callable[[np.ndarray], np.ndarray], matrix: np.ndarray | None, steps: int = 60
) -> tuple[np.ndarray, float]:
    r"""Positive $\eta$, and $c=\min_i(A\eta)_i/\eta_i$, nearly the largest possible, for $A$ = diag(`leak`) - B.

    $B\ge0$ is given by its product `spread`, and as `matrix` where that may be formed. With $c$ of the last step, $A-c$
    is an M-matrix, so $y=(A-c)^{-1}\eta$ is positive, and $c$ grows from that of equal weights to minus the spectral
    abscissa of $-A$; quadratically if every unit reaches every other. Source: Noda (1971), Elsner (1976).
    """
    weights = np.ones(len(leak))
    best, lowest, idle = weights, -np.inf, 0
    for _ in range(steps):
        ratio = leak - spread(weights) / weights
        low, high = float(ratio.min()), float(ratio.max())
        if not np.isfinite(ratio).all():
            break
        idle = 0 if low > lowest else idle + 1
        if low > lowest:
            best, lowest = weights, low
        # Further steps would change the rate by less than the gap.
        narrow = high - low <= _GAP * max(abs(low), 1e-3 * float(np.abs(leak).max()))
        if narrow or idle > (0 if matrix is not None else _PATIENCE):
            break
        shifted = leak - low
        found = _solve(shifted, matrix, weights) if matrix is not None else _iterate(shifted, spread, weights)
        largest = found.max(initial=0.0)
        if not 0 < largest < np.inf or not found.min() > 1e-150 * largest:
            break
        weights = found / largest
    return best, lowest


def _solve(diagonal: np.ndarray, matrix: np.ndarray, weights: np.ndarray) -> np.ndarray:
    shifted = -matrix
    shifted[np.diag_indices(len(matrix))] += diagonal
    # LAPACK itself: a singular matrix is an expected end here, not an exception or a warning.
    (gesv,) = scipy.linalg.get_lapack_funcs(("gesv",), (shifted,))
    *_, solution, info = gesv(shifted, weights, overwrite_a=True)
    return solution if info == 0 else np.zeros(0)


def _iterate(diagonal: np.ndarray, spread: Callable[[np.ndarray], np.ndarray], weights: np.ndarray) -> np.ndarray:
    diagonal = diagonal + 1e-12 * (1 + np.abs(diagonal).max())
    shape = (len(weights), len(weights))
    operator = LinearOperator(shape, matvec=lambda v: diagonal * np.ravel(v) - spread(np.ravel(v)), dtype=np.float64)
    inverse = LinearOperator(shape, matvec=lambda v: np.ravel(v) / diagonal, dtype=np.float64)
    solution, _ = bicgstab(operator, weights, rtol=1e-4, maxiter=200, M=inverse)
    return np.maximum(solution, 1e-12 * np.abs(solution).max())
