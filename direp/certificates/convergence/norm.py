"""Norms in which a network contracts: weighted l1, weighted l-infinity, weighted Euclidean."""

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

_EPS = float(np.finfo(np.float64).eps)


def _largest(sizes: np.ndarray) -> np.ndarray:
    """The largest entry of every vector, by which to divide so that no square is too small or too large; else 1."""
    largest = np.max(sizes, axis=-1, keepdims=True)
    return np.where((largest > 0) & np.isfinite(largest), largest, 1.0)


def _above(length: np.ndarray) -> np.ndarray:
    """The next number, but for zero, which is exact."""
    return np.where(length == 0, length, np.nextafter(length, np.inf))


class AbstractNorm:
    """A norm of differences of states; the last axis runs over the free units."""

    @abstractmethod
    def length(self, v: np.ndarray) -> np.ndarray:
        """The norm of every vector along the last axis."""

    @abstractmethod
    def upper(self, v: np.ndarray, doubt: np.ndarray) -> np.ndarray:
        """A bound of the length of every vector whose entries differ from `v` by `doubt` at most, rounded up."""

    @property
    def entrywise(self) -> bool:
        """Whether it sees the size of every entry by itself, as sums and maxima do: full steps contract in it."""
        return True

    @property
    @abstractmethod
    def entries(self) -> np.ndarray:
        """Every entry of a vector is at most its length times this one, rounded up."""

    @property
    def reach(self) -> float:
        """The largest entry of a vector is at most its length times this."""
        return float(self.entries.max())

    @property
    @abstractmethod
    def dual(self) -> "AbstractNorm":
        r"""The norm in which $J^\top$ contracts if $J$ does in this one: $\mu(J)=\mu^*(J^\top)$."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]: ...


@dataclass(frozen=True, eq=False)
class L1(AbstractNorm):
    r"""$\lVert v\rVert=\sum_i\eta_i|v_i|$."""

    weights: np.ndarray

    def length(self, v):
        return np.abs(v) @ self.weights

    def upper(self, v, doubt):
        return self.length(np.abs(v) + doubt) * (1 + 4 * (len(self.weights) + 2) * _EPS)

    @property
    def entries(self):
        return np.nextafter(1 / self.weights, np.inf)

    @property
    def dual(self):
        return LInf(self.weights)

    def __str__(self) -> str:
        return "l1" if (self.weights == 1).all() else "weighted l1"

    def to_dict(self):
        return {"name": str(self), "weights": self.weights.tolist()}


@dataclass(frozen=True, eq=False)
class LInf(AbstractNorm):
    r"""$\lVert v\rVert=\max_i|v_i|/\eta_i$."""

    weights: np.ndarray

    def length(self, v):
        return np.max(np.abs(v) / self.weights, axis=-1)

    def upper(self, v, doubt):
        return self.length(np.abs(v) + doubt) * (1 + 4 * _EPS)

    @property
    def entries(self):
        return self.weights

    @property
    def dual(self):
        return L1(self.weights)

    def __str__(self) -> str:
        return "l-infinity" if (self.weights == 1).all() else "weighted l-infinity"

    def to_dict(self):
        return {"name": str(self), "weights": self.weights.tolist()}


@dataclass(frozen=True, eq=False)
class L2(AbstractNorm):
    r"""$\lVert v\rVert=\sqrt{\sum_ip_iv_i^2}$, or $\sqrt{\sum_iv_i^2/p_i}$ if `inverse`."""

    weights: np.ndarray
    inverse: bool = False

    @property
    def entrywise(self):
        return False

    @property
    def matrix(self) -> np.ndarray:
        """$P$ as a matrix."""
        return np.diag(self.weights)

    @cached_property
    def _root(self) -> np.ndarray:
        root = np.sqrt(self.weights)
        return 1 / root if self.inverse else root

    def length(self, v):
        scaled = np.abs(v) * self._root
        largest = _largest(scaled)
        return largest[..., 0] * np.sqrt(((scaled / largest) ** 2).sum(-1))

    def upper(self, v, doubt):
        return _above(self.length(np.abs(v) + doubt) * (1 + 4 * (len(self.weights) + 4) * _EPS))

    @property
    def entries(self):
        return 1 / self._root * (1 + 8 * _EPS)

    @property
    def dual(self):
        return L2(self.weights, not self.inverse)

    def __str__(self) -> str:
        return "the Euclidean norm" if (self.weights == 1).all() else "a weighted Euclidean norm"

    def to_dict(self):
        return {"name": str(self), "weights": self.weights.tolist(), "inverse": self.inverse}


@dataclass(frozen=True, eq=False)
class Euclidean(AbstractNorm):
    r"""$\lVert v\rVert=\sqrt{v^\top Pv}$, or $\sqrt{v^\top P^{-1}v}$ if `inverse`."""

    matrix: np.ndarray
    inverse: bool = False

    @property
    def entrywise(self):
        return False

    def length(self, v):
        largest = _largest(np.abs(v))
        v = np.asarray(v) / largest
        other = np.linalg.solve(self.matrix, v[..., None])[..., 0] if self.inverse else v @ self.matrix
        return largest[..., 0] * np.sqrt(np.maximum((v * other).sum(-1), 0))

    def upper(self, v, doubt):
        metric, lost = self._inverse if self.inverse else (self.matrix, 0.0)
        largest = _largest(np.abs(v) + doubt)
        v, doubt = v / largest, doubt / largest
        size, tables = np.abs(v), np.abs(metric)
        square = np.maximum((v * (v @ metric)).sum(-1), 0) + lost * size.sum(-1) ** 2
        square = square + 4 * (len(metric) + 2) * _EPS * (size * (size @ tables)).sum(-1)
        beside = (doubt * (doubt @ (tables + lost))).sum(-1)
        return _above(largest[..., 0] * (np.sqrt(square) + np.sqrt(beside)) * (1 + 4 * (len(metric) + 3) * _EPS))

    @property
    def entries(self):
        r"""$\sqrt{(P^{-1})_{ii}}$."""
        dual, lost = (self.matrix, 0.0) if self.inverse else self._inverse
        return np.sqrt(np.diagonal(dual) + lost) * (1 + 4 * _EPS)

    @cached_property
    def _inverse(self) -> tuple[np.ndarray, float]:
        """$P^{-1}$, and a bound on the error of every entry: with $R=1-PX$, $P^{-1}-X=X\\sum_{k\\ge1}R^k$."""
        inverse, size = np.linalg.inv(self.matrix), len(self.matrix)
        wrong = np.abs(np.eye(size) - self.matrix @ inverse)
        wrong = wrong + 4 * (size + 2) * _EPS * (np.abs(self.matrix) @ np.abs(inverse) + np.eye(size))
        share = float(wrong.sum(1).max())
        return inverse, float(np.abs(inverse).sum(1).max()) * share / (1 - share) if share < 1 else np.inf

    @property
    def dual(self):
        return Euclidean(self.matrix, not self.inverse)

    def __str__(self) -> str:
        plain = np.array_equal(self.matrix, np.eye(len(self.matrix)))
        return "the Euclidean norm" if plain else "a weighted Euclidean norm"

    def to_dict(self):
        return {"name": str(self), "matrix": self.matrix.tolist(), "inverse": self.inverse}
