r"""Is a large symmetric matrix certainly positive definite? One Cholesky factorisation in 64 bits decides.

If the factorisation of $M$ runs to its end, $R^\top R=M+E$ with $|E|\le\gamma_{n+1}|R^\top||R|$ whatever the order of
the sums, blocks included (Higham 2002, theorem 10.3), so $\lVert E\rVert_2\le\gamma_{n+1}\lVert R\rVert_F^2$ and $M$ is
no more negative than $\gamma_{n+1}/(1-\gamma_{n+1})$ times its trace (Rump 2006). That, fourfold, is taken from the
diagonal before: what is left and factorises, is positive definite.
"""

import numpy as np
import scipy.linalg

_EPS = float(np.finfo(np.float64).eps)


def certainly_positive(middle: np.ndarray, doubt: np.ndarray) -> bool:
    r"""Whether every symmetric matrix is positive definite that differs from `middle` by at most an $E$ with
    $\sum_j|E_{ij}|\le$ `doubt` in every row, since then $E\succeq-\mathrm{diag}(\mathrm{doubt})$."""
    size = len(middle)
    diagonal = np.nextafter(np.diagonal(middle) - doubt, -np.inf)
    if not (np.isfinite(diagonal).all() and (diagonal > 0).all() and np.isfinite(middle).all()):
        return False
    # Powers of two scale the diagonal to about one, without rounding.
    scale = np.exp2(-np.round(np.log2(diagonal) / 2))
    scaled = middle * scale * scale[:, None]
    diagonal = diagonal * scale**2
    shift = 4 * (size + 8) * _EPS * float(diagonal.sum()) + 1e-250
    scaled[np.diag_indices(size)] = diagonal - 2 * shift
    if not (np.diagonal(scaled) > 0).all():
        return False
    (potrf,) = scipy.linalg.get_lapack_funcs(("potrf",), (scaled,))
    return potrf(scaled, lower=True, overwrite_a=True, clean=False)[1] == 0
