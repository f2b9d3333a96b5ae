r"""First-order forms $m+\sum_kc_k\varepsilon_k+[-e,e]$, $\varepsilon\in[-1,1]^d$, on NumPy arrays.

Each $\varepsilon_k$ is one coordinate of a box of parameters, so a form knows how a quantity moves with it: what
cancels does, and the error $e$ is of second order in the box, where that of an interval is of first order. $c_k$ says
which coordinate matters. Rounding goes into $e$.

Source: de Figueiredo & Stolfi, Affine arithmetic: concepts and applications (Numerical Algorithms 37, 2004).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .interval import Interval, Shape, down, up

_EPS = 2.0**-52  # twice the largest relative error of one operation
_TINY = 1e-290  # far above what underflow can lose


@dataclass(frozen=True)
class Affine:
    """`mid` and `err` of one shape, `coef` of shape (coordinates, *shape). Operands may be arrays of numbers."""

    mid: np.ndarray
    coef: np.ndarray
    err: np.ndarray

    __array_ufunc__ = None

    @classmethod
    def of(cls, value: Interval, coordinates: int) -> "Affine":
        """A form that moves with no coordinate."""
        mid = 0.5 * value.low + 0.5 * value.high
        err = up(np.maximum(up(value.high - mid), up(mid - value.low)))
        return cls(mid, np.zeros((coordinates, *mid.shape)), err)

    @property
    def spread(self) -> np.ndarray:
        """How far the coordinates move it."""
        return np.abs(self.coef).sum(0) * self._slack

    @property
    def radius(self) -> np.ndarray:
        return up(self.spread + self.err)

    @property
    def _slack(self) -> float:
        return 1 + (len(self.coef) + 24) * _EPS

    def hull(self) -> Interval:
        radius = self.radius
        return Interval(down(self.mid - radius), up(self.mid + radius))

    def _rounded(self, mid: np.ndarray, coef: np.ndarray, err: np.ndarray, moved: np.ndarray) -> "Affine":
        """With what rounding may have moved, in units of `_EPS`, added to the error."""
        return Affine(mid, coef, err * self._slack + moved * (_EPS * self._slack) + _TINY)

    def __neg__(self) -> "Affine":
        return Affine(-self.mid, -self.coef, self.err)

    def __add__(self, other: Any) -> "Affine":
        if isinstance(other, Affine):
            mid, coef, err = self.mid + other.mid, self.coef + other.coef, self.err + other.err
        else:
            mid = self.mid + other
            coef, err = np.broadcast_to(self.coef, (len(self.coef), *mid.shape)), np.broadcast_to(self.err, mid.shape)
        return self._rounded(mid, coef, err, np.abs(mid) + np.abs(coef).sum(0))

    def __sub__(self, other: Any) -> "Affine":
        return self + -other

    def __rsub__(self, other: Any) -> "Affine":
        return -self + other

    def __mul__(self, other: Any) -> "Affine":
        r"""$\varepsilon_k^2=\frac12\pm\frac12$ goes half into the middle; other products of coordinates are error."""
        if not isinstance(other, Affine):
            mid, coef = self.mid * other, self.coef * other
            return self._rounded(mid, coef, self.err * np.abs(other), np.abs(mid) + np.abs(coef).sum(0))
        mine, yours = np.abs(self.mid), np.abs(other.mid)
        one, two = np.abs(self.coef).sum(0), np.abs(other.coef).sum(0)
        square = self.coef * other.coef
        same = np.abs(square).sum(0)
        mid = self.mid * other.mid + 0.5 * square.sum(0)
        coef = self.mid * other.coef + other.mid * self.coef
        cross = one * two * self._slack - 0.5 * same
        err = mine * other.err + yours * self.err + cross + self.err * (two + other.err) + one * other.err
        size = mine * yours + same + mine * two + yours * one
        return self._rounded(mid, coef, err, (len(self.coef) + 4) * (size + one * two))

    def __matmul__(self, other: Any) -> "Affine":
        """Sums of products by the platform's own routines, whose order of additions is not known: it does not matter.
        Both need two axes or more."""
        terms = self.mid.shape[-1] + len(self.coef) + 4
        mine = np.abs(self.coef).sum(0)
        if not isinstance(other, Affine):
            size = np.abs(other)
            moved = terms * ((np.abs(self.mid) + mine) @ size)
            err = self.err @ size * (1 + terms * _EPS)
            return self._rounded(self.mid @ other, self.coef @ other, err, moved)
        yours = np.abs(other.coef).sum(0)
        square = self.coef @ other.coef  # its square stands for a number between 0 and 1
        cross = mine @ yours - (np.abs(self.coef) @ np.abs(other.coef)).sum(0) + 0.5 * np.abs(square).sum(0)
        err = self.err @ (np.abs(other.mid) + yours + other.err) + (np.abs(self.mid) + mine) @ other.err
        moved = 2 * terms * ((np.abs(self.mid) + mine) @ (np.abs(other.mid) + yours))
        mid = self.mid @ other.mid + 0.5 * square.sum(0)
        err = (err + cross) * (1 + terms * _EPS)
        return self._rounded(mid, self.mid @ other.coef + self.coef @ other.mid, err, moved)

    def __rmatmul__(self, other: np.ndarray) -> "Affine":
        return (self.swap() @ np.swapaxes(other, -1, -2)).swap()

    __radd__, __rmul__ = __add__, __mul__

    def __getitem__(self, index: Any) -> "Affine":
        index = index if isinstance(index, tuple) else (index,)
        return Affine(self.mid[index], self.coef[(slice(None), *index)], self.err[index])

    def sum(self, axis: int) -> "Affine":
        """Along an axis, counted from the end (negative)."""
        terms = self.mid.shape[axis]
        moved = terms * (np.abs(self.mid).sum(axis) + np.abs(self.coef).sum(0).sum(axis))
        err = self.err.sum(axis) * (1 + terms * _EPS)
        return self._rounded(self.mid.sum(axis), self.coef.sum(axis), err, moved)

    def swap(self) -> "Affine":
        """The matrix transposed."""
        return Affine(np.swapaxes(self.mid, -1, -2), np.swapaxes(self.coef, -1, -2), np.swapaxes(self.err, -1, -2))

    def narrowed(self, bounds: Interval) -> "Affine":
        """Where an interval that holds the same is narrower than the form, that, without its coordinates."""
        other = Affine.of(bounds, len(self.coef))
        better = other.err < self.radius
        return Affine(
            np.where(better, other.mid, self.mid),
            np.where(better, 0.0, self.coef),
            np.where(better, other.err, self.err),
        )


def constant(values: np.ndarray, coordinates: int) -> Affine:
    """Numbers as a form that moves with nothing."""
    return Affine(values, np.zeros((coordinates, *values.shape)), np.zeros_like(values))


def apply(matrix: Any, vector: Any) -> Any:
    """Matrix times vector; one of the two, or both, are forms."""
    return (matrix @ vector[..., None])[..., 0]


def transform(shape: Shape, at: Affine) -> Affine:
    r"""$\rho(m)+\bar\rho'(u-m)$ with the middle slope over all values; the rest of the slope is error."""
    value = Affine.of(shape.value(Interval.of(at.mid)), len(at.coef))
    slope = Affine.of(shape.slope(at.hull()), len(at.coef))
    return value + (at - at.mid) * slope


def contract(residual: np.ndarray, excess: np.ndarray, before: np.ndarray | None = None) -> np.ndarray:
    r"""$v$ of $v\le m+Ev$ for non-negative $m,E$ of shapes (..., units) and (..., units, units).

    Where $\lVert E\rVert_\infty<1$ there is a bound; elsewhere only what is known `before`, or infinity.
    """
    up_ = 1 + 64 * _EPS * residual.shape[-1]
    norm = excess.sum(-1).max(-1) * up_
    worst = residual.max(-1) / np.where(norm < 1, down(1 - norm), np.nan) * up_
    bound = np.broadcast_to(np.where(norm < 1, worst, np.inf)[..., None], residual.shape)
    bound = bound if before is None else np.minimum(bound, before)
    for _ in range(3):
        moved = (residual + np.where(excess > 0, excess * bound[..., None, :], 0.0).sum(-1)) * up_ + _TINY
        bound = np.minimum(bound, moved)
    return bound


def inverse(square: np.ndarray) -> np.ndarray:
    """Near the inverse; any matrix will do for a proof, a good one makes it succeed."""
    try:
        return np.linalg.inv(square)
    except np.linalg.LinAlgError:
        return np.linalg.inv(
            square + 1e-9 * np.eye(square.shape[-1]) * (1 + np.abs(square).max((-1, -2), keepdims=True))
        )


def solve(square: Affine, right: Any) -> tuple[Affine, Affine]:
    r"""$x$ with $Ax=b$ for every matrix of the form, and $1-CA$, $C\approx A^{-1}$, which says how it moved.

    $b$ is an array or a form too. $\hat x=Cb+C(b-ACb)$ is right to first order;
    $x-\hat x=C(b-A\hat x)+(1-CA)(x-\hat x)$ bounds the rest. Infinite error where $\lVert1-CA\rVert_\infty<1$
    cannot be shown: $A$ may be singular there.
    """
    near = inverse(square.mid)
    start = apply(near, right.mid if isinstance(right, Affine) else right)
    step = apply(near, right - apply(square, start))
    guess = Affine(start + step.mid, step.coef, np.zeros_like(step.mid))
    excess = np.eye(near.shape[-1]) - near @ square
    rest = apply(near, right - apply(square, guess)).hull().size()
    return Affine(guess.mid, guess.coef, contract(rest, excess.hull().size())), excess
