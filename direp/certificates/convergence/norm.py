"""Norms in which a network contracts: weighted l1, weighted l-infinity, weighted Euclidean."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np


class AbstractNorm:
    """A norm of differences of states; the last axis runs over the free units."""

    @abstractmethod
    def length(self, v: np.ndarray) -> np.ndarray:
        """The norm of every vector along the last axis."""

    @property
    @abstractmethod
    def reach(self) -> float:
        """The largest entry of a vector is at most its length times this."""

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

    @property
    def reach(self):
        return 1 / float(self.weights.min())

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

    @property
    def reach(self):
        return float(self.weights.max())

    @property
    def dual(self):
        return L1(self.weights)

    def __str__(self) -> str:
        return "l-infinity" if (self.weights == 1).all() else "weighted l-infinity"

    def to_dict(self):
        return {"name": str(self), "weights": self.weights.tolist()}


@dataclass(frozen=True, eq=False)
class Euclidean(AbstractNorm):
    r"""$\lVert v\rVert=\sqrt{v^\top Pv}$, or $\sqrt{v^\top P^{-1}v}$ if `inverse`."""

    matrix: np.ndarray
    inverse: bool = False

    def length(self, v):
        other = np.linalg.solve(self.matrix, np.asarray(v)[..., None])[..., 0] if self.inverse else v @ self.matrix
        return np.sqrt(np.maximum((v * other).sum(-1), 0))

    @property
    def reach(self):
        """$\\max_i\\sqrt{(P^{-1})_{ii}}$."""
        dual = self.matrix if self.inverse else np.linalg.inv(self.matrix)
        return float(np.sqrt(np.diagonal(dual).max()))

    @property
    def dual(self):
        return Euclidean(self.matrix, not self.inverse)

    def __str__(self) -> str:
        plain = np.array_equal(self.matrix, np.eye(len(self.matrix)))
        return "the Euclidean norm" if plain else "a weighted Euclidean norm"

    def to_dict(self):
        return {"name": str(self), "matrix": self.matrix.tolist(), "inverse": self.inverse}
