r"""Large quadratic forms in 64 bits: $\mathrm{Sym}(AB^\top)$ of matrices that are known up to a radius, and its sign.

$A$ and $B$ come a few columns at a time; of their entries only row norms are kept, for they bound what radii and
rounding may change: $|\langle a,b\rangle-\langle\tilde a,\tilde b\rangle|\le\lVert\tilde a\rVert\lVert r_b\rVert+\lVert
r_a\rVert(\lVert\tilde b\rVert+\lVert r_b\rVert)$, and a sum of $n$ products is wrong by at most
$\gamma_n\lVert\tilde a\rVert\lVert\tilde b\rVert$ in any order. A matrix is positive definite if Cholesky's
factorisation of it runs through after all of this, and what the factorisation itself may be wrong by, is taken from
the diagonal.

Source: Rump, Verification of positive definiteness (BIT 46, 2006); Higham (2002), sections 3.1 and 10.1.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

_EPS = 2.0**-52  # twice the largest relative error of one operation
_TINY = 1e-300  # far above what underflow can lose
_LOOSE = 1 + 1e-8  # above the relative error of any sum of radii or squares here


@dataclass(frozen=True)
class Near:
    """Arrays of numbers within `rad` of `mid`."""

    mid: np.ndarray
    rad: np.ndarray

    __array_ufunc__ = None

    @classmethod
    def of(cls, balls: Any) -> "Near":
        """Balls of python-flint, rounded to 64 bits."""
        balls = np.asarray(balls, object)
        ends = [(float(ball.mid()), float(ball.rad()), bool(ball == 0)) for ball in balls.ravel()]
        mid, rad, none = np.array(ends, np.float64).reshape(-1, 3).T.reshape(3, *balls.shape)
        return cls(mid, _rounded(mid, rad, none > 0))

    @property
    def none(self) -> np.ndarray:
        """What is exactly zero."""
        return (self.mid == 0) & (self.rad == 0)

    def __getitem__(self, index: Any) -> "Near":
        return Near(self.mid[index], self.rad[index])

    def __mul__(self, other: "Near") -> "Near":
        mid = self.mid * other.mid
        rad = np.abs(self.mid) * other.rad + self.rad * (np.abs(other.mid) + other.rad)
        return Near(mid, _rounded(mid, rad, self.none | other.none))

    def __sub__(self, other: "Near") -> "Near":
        mid, rad = self.mid - other.mid, self.rad + other.rad
        return Near(mid, _rounded(mid, rad, (mid == 0) & (rad == 0)))

    def sums(self, starts: np.ndarray) -> "Near":
        """Sums of neighbouring columns, from each of `starts` to the next."""
        if len(starts) == self.mid.shape[1]:
            return self
        mid, rad, size = (np.add.reduceat(part, starts, 1) for part in (self.mid, self.rad, np.abs(self.mid)))
        return Near(mid, _rounded(mid, rad + self.mid.shape[1] * _EPS * size, (size == 0) & (rad == 0)))


def _rounded(mid: np.ndarray, rad: np.ndarray, none: np.ndarray) -> np.ndarray:
    """A radius after one more rounding; what is exactly zero stays so."""
    return np.where(none, 0.0, rad + _EPS * np.abs(mid) + _TINY)


class Form:
    r"""$\mathrm{Sym}(AB^\top)$, added up over columns."""

    def __init__(self, rows: int):
        self._middle = np.zeros((rows, rows))
        self._squares = np.zeros((4, rows))  # of A and B: middles and radii
        self._terms = 0
        self.silent = np.ones(rows, bool)
        """The rows of which nothing is left in A and in B."""

    def add(self, one: Near, other: Near) -> None:
        """Some more columns of A and of B."""
        self._middle += one.mid @ other.mid.T
        self._squares += [np.square(part).sum(1) for part in (one.mid, one.rad, other.mid, other.rad)]
        self._terms += one.mid.shape[1] + 1
        self.silent &= (one.none & other.none).all(1)

    def sign(self) -> int:
        """1: certainly positive definite, without silent rows; -1: certainly negative along some direction; 0: open."""
        loud = np.flatnonzero(~self.silent)
        middle = self._middle[np.ix_(loud, loud)]
        middle = (middle + middle.T) / 2
        diagonal = np.diagonal(middle)
        if not len(loud) or not np.isfinite(middle).all() or not (np.abs(diagonal) > 1e-200).all():
            return 0
        scale = 2.0 ** -np.round(np.log2(np.abs(diagonal)) / 2)  # powers of two: nothing is rounded
        scaled = scale[:, None] * middle * scale
        error = self._error(loud, scale) + 4 * _EPS * float(np.linalg.norm(scaled)) * _LOOSE
        return 1 if _definite(scaled, error) else -1 if _negative(scaled, error) else 0

    def _error(self, rows: np.ndarray, scale: np.ndarray) -> float:
        """How far the scaled form can be off, as a spectral norm."""
        sizes = np.sqrt(self._squares[:, rows] + self._terms * _TINY) * scale
        a, r_a, b, r_b = (float(np.linalg.norm(size)) * _LOOSE for size in sizes)
        gamma = (self._terms + 2) * _EPS
        return (a * (gamma * b + r_b) + r_a * (b + r_b)) * _LOOSE + 1e-90


def _definite(middle: np.ndarray, error: float) -> bool:
    """Whether every symmetric matrix within a spectral distance of `error` is positive definite."""
    size, diagonal = len(middle), np.diagonal(middle)
    if not (diagonal > 0).all():
        return False
    own = 2 * (size + 4) * _EPS * float(diagonal.sum()) + size * _TINY  # twice the factorisation's own error
    shift = (error + own) * (1 + 1e-6)
    try:
        factor = np.linalg.cholesky(middle - shift * np.eye(size))
    except np.linalg.LinAlgError:
        return False
    return bool(np.isfinite(factor).all())


def _negative(middle: np.ndarray, error: float) -> bool:
    """Whether every matrix within a distance is negative along one and the same direction."""
    direction = np.linalg.eigh(middle)[1][:, 0]
    size = np.abs(direction)
    blur = (2 * len(size) + 4) * _EPS * float(size @ np.abs(middle) @ size) + error * float(size @ size)
    return float(direction @ middle @ direction) + blur * _LOOSE < 0
