"""Ball arithmetic (python-flint) on NumPy arrays of objects: sums and products that hold the exact result."""

from typing import Any

import flint
import numpy as np


def precise() -> Any:
    """A context in which balls carry 128 bits."""
    return flint.ctx.workprec(128)


def exact(values: Any) -> np.ndarray:
    """An array of balls of radius zero: the numbers as stored."""
    values = np.asarray(values, np.float64)
    balls = np.empty(values.shape, object)
    for place in np.ndindex(values.shape):
        balls[place] = flint.arb(float(values[place]))
    return balls


def around_zero(radii: Any) -> np.ndarray:
    """An array of balls about zero."""
    return np.array([flint.arb(0, float(radius)) for radius in np.ravel(radii)], object).reshape(np.shape(radii))


def matrix(balls: np.ndarray) -> flint.arb_mat:
    balls = balls if balls.ndim == 2 else balls[:, None]
    return flint.arb_mat(balls.tolist())


def positive_definite(balls: np.ndarray) -> bool:
    """Whether every symmetric matrix within the balls is certainly positive definite.

    With C near the inverse of a Cholesky factor of M, C M C^T is near the identity; if it is strictly diagonally
    dominant it is positive definite, then C is regular and M is positive definite too.
    """
    held = matrix(balls)
    middle = np.array([[float(entry.mid()) for entry in row] for row in held.tolist()])
    try:
        factor = np.linalg.inv(np.linalg.cholesky((middle + middle.T) / 2))
    except np.linalg.LinAlgError:
        return False
    congruence = matrix(exact(factor))
    product = (congruence * held * congruence.transpose()).tolist()
    for i, row in enumerate(product):
        others = sum((abs(entry) for j, entry in enumerate(row) if j != i), flint.arb(0))
        if not row[i] > others:
            return False
    return True
