"""The semidefinite programme behind the criterion `LMI`, handed to clarabel."""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.sparse import csc_array, vstack

clarabel: Any = importlib.import_module("clarabel")  # of the extra `certify`


def solve(
    blocks: list[Callable[[np.ndarray, np.ndarray], np.ndarray]], size: int, diagonal: bool
) -> tuple[np.ndarray, np.ndarray] | None:
    r"""P and the diagonal of Q with $M_k(P,Q)\succeq t\,\mathrm{diag}(1,0)$ for all k, $0\preceq P\preceq1$, for the
    largest $t$; `None` if that is not positive. $t/2$ is then a rate, since $P\preceq1$.

    `blocks` are the linear maps $M_k$; P is diagonal if asked for, and then Q is absent.
    """
    rows, columns = np.triu_indices(size)
    pairs = [(k, k) for k in range(size)] if diagonal else list(zip(rows.tolist(), columns.tolist(), strict=True))
    basis = []
    for i, j in pairs:
        p = np.zeros((size, size))
        p[i, j] = p[j, i] = 1
        basis.append((p, np.zeros(size)))
    if not diagonal:
        basis += [(np.zeros((size, size)), unit) for unit in np.eye(size)]
    margin = [np.diag((np.arange(len(block(*basis[0]))) < size).astype(float)) for block in blocks]

    # Every cone takes h - G v, with v = (entries of P, of Q, t).
    parts, right, cones = [], [], []
    for block, unit in zip(blocks, margin, strict=True):
        parts.append(np.stack([*(-_pack(block(p, q)) for p, q in basis), _pack(unit)], axis=1))
        right.append(np.zeros(len(parts[-1])))
        cones.append(clarabel.PSDTriangleConeT(len(unit)))
    of_p = np.stack([*(_pack(p) for p, _ in basis), np.zeros(len(rows))], axis=1)
    for sign, bound in ((1, np.eye(size)), (-1, np.zeros((size, size)))):
        parts.append(sign * of_p)
        right.append(_pack(bound))
        cones.append(clarabel.PSDTriangleConeT(size))
    if not diagonal:
        positive = np.zeros((size, len(basis) + 1))
        positive[:, len(pairs) : len(basis)] = -np.eye(size)
        parts.append(positive)
        right.append(np.zeros(size))
        cones.append(clarabel.NonnegativeConeT(size))

    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.max_iter = 60
    aim = np.zeros(len(basis) + 1)
    aim[-1] = -1
    table = vstack([csc_array(part) for part in parts]).tocsc()
    solver = clarabel.DefaultSolver(csc_array((len(aim), len(aim))), aim, table, np.concatenate(right), cones, settings)
    values = np.array(solver.solve().x)
    if not np.isfinite(values).all() or values[-1] <= 0:
        return None
    p = sum(value * base[0] for value, base in zip(values, basis, strict=False))
    return np.asarray(p), values[len(pairs) : len(basis)] if not diagonal else np.zeros(size)


def _pack(matrix: np.ndarray) -> np.ndarray:
    """The upper triangle, column by column, off-diagonal entries times the root of two: clarabel's order."""
    rows, columns = np.tril_indices(len(matrix))
    return np.where(rows == columns, 1.0, np.sqrt(2)) * matrix[columns, rows]
