"""The judge of `never_wrong.py`: margins in exact fractions, and the three neurons again, from their equations.

A second implementation in plain NumPy, of many networks and many states side by side, with a bound on its own rounding.
From the library it takes only the classes of norms, to tell them apart.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from direp.certificates.convergence.norm import L2, Euclidean, LInf

if TYPE_CHECKING:
    from never_wrong_draw import Batch

EPS = float(np.finfo(np.float64).eps)
# name -> value, slope, the largest slope, and drives (or states) at which the slope is as large as it gets.
ACTIVATIONS: dict[str, tuple[Any, Any, float, tuple[float, float]]] = {
    "identity": (lambda z: z, np.ones_like, 1.0, (-1.0, 1.0)),
    "hard-sigmoid": (lambda z: np.clip(z, 0, 1), lambda z: ((z > 0) & (z < 1)).astype(float), 1.0, (0.3, 0.7)),
    "sigmoid": (lambda z: 0.5 + 0.5 * np.tanh(z / 2), lambda z: 0.25 - np.tanh(z / 2) ** 2 / 4, 0.25, (-1e-4, 1e-4)),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2, 1.0, (-1e-4, 1e-4)),
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(float), 1.0, (0.5, 2.0)),
    "softplus": (lambda z: np.logaddexp(0, z), lambda z: 0.5 + 0.5 * np.tanh(z / 2), 1.0, (20.0, 30.0)),
}


def outgoing(weight: np.ndarray, outflow: str) -> np.ndarray:
    if outflow == "none":
        return np.zeros(weight.shape[:-1])
    return (weight if outflow == "signed" else np.abs(weight)).sum(-1)


def times(vector: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return np.matmul(vector[:, None], weight)[:, 0]


def exact_margin(
    unit: int, weight: np.ndarray, leak: np.ndarray, outflow: str, gain: float, eta: np.ndarray, incoming: bool
) -> Fraction:
    """The margin of one unit, in rational numbers."""
    line, lost = (weight[:, unit] if incoming else weight[unit]).tolist(), weight[unit].tolist()
    margin = Fraction(float(leak[unit]))
    if outflow != "none":
        margin += sum(Fraction(abs(w) if outflow == "absolute" else w) for w in lost)
    pulled = sum(abs(Fraction(w)) * Fraction(e) for w, e in zip(line, eta.tolist(), strict=True) if w)
    return margin - Fraction(gain) * pulled / Fraction(float(eta[unit]))


def least_margin(
    weight: np.ndarray, leak: np.ndarray, outflow: str, gain: float, eta: np.ndarray, incoming: bool, claimed: float
) -> tuple[bool, bool, bool]:
    """Whether all margins are exactly positive; whether all reach `claimed`; whether that took fractions."""
    size = np.abs(weight)
    spread = gain * ((size.T if incoming else size) @ eta) / eta
    margin = leak + outgoing(weight, outflow) - spread
    error = 2 * (len(leak) + 8) * EPS * (leak + (size.sum(1) if outflow != "none" else 0) + spread)
    positive, reached, exact = True, True, False
    for unit in np.flatnonzero(margin - error <= max(claimed, 0.0)):
        if margin[unit] + error[unit] <= 0:
            return False, claimed <= 0, exact
        true = exact_margin(int(unit), weight, leak, outflow, gain, eta, incoming)
        exact, positive, reached = True, positive and true > 0, reached and true >= Fraction(claimed)
    return positive, reached, exact


class Oracle:
    """The dynamics of many networks at once, each in one phase; states are (network, start, unit)."""

    def __init__(self, batch: "Batch", rows: np.ndarray, beta: np.ndarray):
        self.batch, self.rows, self.beta = batch, rows, beta
        self.weight, self.size = batch.weight[rows], batch.size
        self.total = (batch.leak + outgoing(batch.weight, batch.outflow))[rows][:, None]
        self.current = (batch.entry * batch.x + batch.bias)[rows][:, None]
        self.target = batch.target[rows][:, None]
        self.value, self.slope, self.gain, _ = ACTIVATIONS[batch.activation]
        self.hidden = batch.size - batch.outputs
        self.nudged = bool(beta.any())

    def take(self, rows: np.ndarray) -> "Oracle":
        return Oracle(self.batch, self.rows[rows], self.beta[rows])

    def field(self, s: np.ndarray) -> np.ndarray:
        inner = self.batch.neuron == "hopfield"
        rate = self.value(s) if inner else s
        drive = np.matmul(rate, self.weight)
        drive += self.current
        if self.nudged:
            drive[..., self.hidden :] -= self.beta[:, None, None] * self._cost_gradient(rate[..., self.hidden :])
        if self.batch.neuron == "rate":
            drive = self.value(drive)
        drive -= self.total * s
        return drive

    def _cost_gradient(self, rate: np.ndarray) -> np.ndarray:
        if self.batch.cost == "squared error":
            return rate - self.target
        return self.batch.sharpness * (self._softmax(rate) - self.target)

    def _softmax(self, rate: np.ndarray) -> np.ndarray:
        z = self.batch.sharpness * (rate - rate.max(-1, keepdims=True))
        p = np.exp(z)
        return p / p.sum(-1, keepdims=True)

    def clip(self, s: np.ndarray) -> np.ndarray:
        return s if self.batch.box is None else np.clip(s, *self.batch.box)

    def step(self, s: np.ndarray, h: np.ndarray, flow: np.ndarray | None = None) -> np.ndarray:
        moved = self.field(s) if flow is None else flow.copy()
        moved *= h
        moved += s
        return moved if self.batch.box is None else np.clip(moved, *self.batch.box, out=moved)

    def held(self, s: np.ndarray, flow: np.ndarray) -> np.ndarray:
        if self.batch.box is None:
            return np.zeros(s.shape, bool)
        low, high = self.batch.box
        return ((s <= low) & (flow < 0)) | ((s >= high) & (flow > 0))

    def velocity(self, s: np.ndarray, flow: np.ndarray | None = None) -> np.ndarray:
        flow = self.field(s) if flow is None else flow
        return np.where(self.held(s, flow), 0, flow)

    def jacobian(self, s: np.ndarray) -> np.ndarray:
        r"""$\partial F_j/\partial s_i$ at [..., j, i], without regard to the box."""
        inner = self.batch.neuron == "hopfield"
        rate = self.value(s) if inner else s
        rise = self.slope(s) if inner else np.ones_like(s)
        coupling = np.broadcast_to(self.weight.swapaxes(1, 2)[:, None], (*s.shape, self.size)) * rise[..., None, :]
        drive = np.matmul(rate, self.weight) + self.current
        if self.nudged:
            outputs, o = rate[..., self.hidden :], np.arange(self.hidden, self.size)
            strength = self.beta[:, None, None]
            drive[..., self.hidden :] -= strength * self._cost_gradient(outputs)
            if self.batch.cost == "squared error":
                coupling[..., o, o] -= strength * rise[..., self.hidden :]
            else:
                p = self._softmax(outputs)
                bend = p[..., None] * (np.eye(len(o)) - p[..., None, :]) * self.batch.sharpness**2
                coupling[..., self.hidden :, self.hidden :] -= (
                    strength[..., None] * bend * rise[..., None, self.hidden :]
                )
        if self.batch.neuron == "rate":
            coupling = coupling * self.slope(drive)[..., None]
        unit = np.arange(self.size)
        coupling[..., unit, unit] -= self.total
        return coupling

    def rounding(self, s: np.ndarray) -> np.ndarray:
        """A bound on the error of every entry of `field`.

        Sums of n products err by at most n eps of the sum of their sizes; the activations of NumPy by a few eps of
        their value, and their argument's error is stretched by the gain at most.
        """
        inner = self.batch.neuron == "hopfield"
        rate = self.value(s) if inner else s
        size = np.matmul(np.abs(rate), np.abs(self.weight)) + np.abs(self.current)
        if self.nudged:
            many = 1.0 if self.batch.cost == "squared error" else self.batch.sharpness
            bent = (1 + np.abs(rate[..., self.hidden :])) * many**2
            size[..., self.hidden :] += np.abs(self.beta)[:, None, None] * (1 + bent)
        if self.batch.neuron == "rate":
            size = max(self.gain, 1.0) * size + 1
        leaks = (self.batch.leak + np.abs(self.batch.weight).sum(-1))[self.rows][:, None]
        return (self.size + 16) * EPS * (size + leaks * np.abs(s)) + 1e-300


@dataclass
class Norms:
    """One norm a network: sum of eta |v|, maximum of |v| / eta, or the length of v M."""

    kind: np.ndarray  # 0, 1, 2
    weights: np.ndarray
    root: np.ndarray
    stretch: np.ndarray  # how much longer than its Euclidean length a vector can be, for the third kind
    shake: np.ndarray  # relative rounding of a length

    @classmethod
    def of(cls, norms: Sequence[Any], size: int) -> "Norms":
        count = len(norms)
        kind, weights, root = np.zeros(count, int), np.ones((count, size)), np.zeros((count, size, size))
        stretch, shake = np.zeros(count), np.full(count, (2 * size + 8) * EPS)
        for k, norm in enumerate(norms):
            if isinstance(norm, Euclidean | L2):
                lower = np.linalg.cholesky(norm.matrix)
                kind[k], root[k] = 2, np.linalg.inv(lower).T if norm.inverse else lower
                spectrum = np.linalg.eigvalsh(norm.matrix)
                stretch[k] = 1.01 * math.sqrt(1 / spectrum[0] if norm.inverse else spectrum[-1])
                shake[k] = 4 * (size + 4) * EPS * spectrum[-1] / spectrum[0]
            else:
                kind[k] = int(isinstance(norm, LInf))
                weights[k] = norm.weights
        return cls(kind, weights, root, stretch, shake)

    def take(self, rows: np.ndarray) -> "Norms":
        return Norms(*(getattr(self, f.name)[rows] for f in dataclasses.fields(self)))

    def length(self, v: np.ndarray) -> np.ndarray:
        eta = self.weights[:, None]
        if not self.kind.any():
            return (np.abs(v) * eta).sum(-1)
        if (self.kind == 1).all():
            return (np.abs(v) / eta).max(-1)
        out = np.where(self.kind[:, None] == 0, (np.abs(v) * eta).sum(-1), (np.abs(v) / eta).max(-1))
        euclidean = self.kind == 2
        if euclidean.any():
            out[euclidean] = np.sqrt((np.matmul(v[euclidean], self.root[euclidean]) ** 2).sum(-1))
        return out

    def most(self, error: np.ndarray) -> np.ndarray:
        """The largest length of a vector with entries of at most these sizes."""
        out = self.length(error)
        euclidean = self.kind == 2
        if euclidean.any():
            out[euclidean] = self.stretch[euclidean, None] * np.sqrt((error[euclidean] ** 2).sum(-1))
        return out

    @property
    def reach(self) -> np.ndarray:
        """The largest entry of a vector of length 1."""
        out = np.where(self.kind == 0, 1 / self.weights.min(1), self.weights.max(1))
        for k in np.flatnonzero(self.kind == 2):
            out[k] = np.linalg.norm(np.linalg.inv(self.root[k]), axis=0).max()
        return out
