"""What in fact happens to the networks of `sharpness.py`: simulation without the library."""

import math
from dataclasses import dataclass

import numpy as np
from sharpness_networks import Ensemble

STARTS, INPUTS = 32, 8


@dataclass(frozen=True)
class Dynamics:
    """The flow of a network with leak 1, in plain NumPy; a row a trajectory, `u` its input current."""

    weight: np.ndarray
    total_leak: np.ndarray
    boxed: bool

    @classmethod
    def of(cls, ensemble: Ensemble, weight: np.ndarray) -> "Dynamics":
        lost = weight.sum(1) if ensemble.outflow == "signed" else 0.0
        return cls(weight, np.ones(len(weight)) + lost, ensemble.kind == "Projected")

    def flow(self, s: np.ndarray, u: np.ndarray) -> np.ndarray:
        drive = s @ self.weight + u
        return (drive if self.boxed else np.tanh(drive)) - self.total_leak * s

    def clip(self, s: np.ndarray) -> np.ndarray:
        return np.clip(s, 0.0, 1.0) if self.boxed else s

    def residual(self, s: np.ndarray, u: np.ndarray) -> np.ndarray:
        """The largest entry of every trajectory's flow, without what the faces of the box hold back."""
        flow = self.flow(s, u)
        if self.boxed:
            flow = np.where(((s <= 0) & (flow < 0)) | ((s >= 1) & (flow > 0)), 0.0, flow)
        return np.abs(flow).max(1)

    def step(self, s: np.ndarray, u: np.ndarray, h: float) -> np.ndarray:
        """Runge-Kutta of order 4: Euler would need tiny steps to tell a slow spiral from a cycle."""
        k1 = self.flow(s, u)
        k2 = self.flow(self.clip(s + h / 2 * k1), u)
        k3 = self.flow(self.clip(s + h / 2 * k2), u)
        k4 = self.flow(self.clip(s + h * k3), u)
        return self.clip(s + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4))

    def inputs(self, rng: np.random.Generator) -> np.ndarray:
        """Currents: none, halves, two random, three that make the middle or a random state an equilibrium, and the
        worst: one that saturates some units for good, so that the others have an equilibrium as unstable as can be."""
        n = len(self.total_leak)
        drawn = [np.zeros(n), np.full(n, 0.5), *rng.random((2, n))]
        for spread in (0.0, 0.3, 0.8):
            s = spread * (rng.random(n) - 0.5) + 0.5 if self.boxed else spread * (2 * rng.random(n) - 1)
            wanted = self.total_leak * s
            drawn.append((wanted if self.boxed else np.arctanh(wanted)) - s @ self.weight)
        free, side = self.worst_block(), np.where(rng.random(n) < 0.5, -1.0, 1.0)
        current = np.where(free, 0.0, side * (6 + np.abs(self.weight).sum(0) + np.abs(self.total_leak)))
        s = np.where(free, 0.0, side) * (0.5 if self.boxed else 1.0) + (0.5 if self.boxed else 0.0)
        drawn.append(current + (self.total_leak * s if self.boxed else 0.0) - s @ self.weight)
        return np.stack(drawn)

    def worst_block(self) -> np.ndarray:
        """The units, the others saturated, whose Jacobian grows fastest; found by adding and removing one at a time."""
        jacobian = self.weight.T - np.diag(self.total_leak)

        def growth(free: np.ndarray) -> float:
            return float(np.linalg.eigvals(jacobian[np.ix_(free, free)]).real.max()) if free.any() else -math.inf

        best = np.ones(len(jacobian), bool)
        while True:
            near = best ^ np.eye(len(jacobian), dtype=bool)
            rates = [growth(free) for free in near]
            if max(rates) <= growth(best) + 1e-9:
                return best
            best = near[int(np.argmax(rates))]

    def outcome(self, inputs: np.ndarray, rng: np.random.Generator, window: float = 100.0, windows: int = 10) -> str:
        """`"one"` equilibrium at every input, two ends `"apart"` at one input, or a start that keeps `"moving"`.

        A start has settled at a residual of 1e-9; it keeps moving if its residual has not fallen by a tenth within a
        window of time. `"slow"`: it was still falling when the time was up.
        """
        n = len(self.total_leak)
        u = np.repeat(inputs, STARTS, 0)
        s = rng.random((len(u), n)) if self.boxed else rng.uniform(-1.5, 1.5, (len(u), n))
        step = 0.3 / (np.abs(self.total_leak).max() + np.linalg.norm(self.weight, 2))
        ends, live = np.full(s.shape, np.nan), np.arange(len(s))
        for _ in range(windows):
            before = dict(zip(live.tolist(), self.residual(s, u), strict=True))
            for k in range(math.ceil(window / step)):
                s = self.step(s, u, step)
                if k % 25 < 24:
                    continue
                settled = self.residual(s, u) < 1e-9
                if not settled.any():
                    continue
                ends[live[settled]] = s[settled]
                s, u, live = s[~settled], u[~settled], live[~settled]
                if _apart(ends.reshape(INPUTS, STARTS, n)):
                    return "apart"
                if not len(live):
                    return "one"
            now = self.residual(s, u)
            if any(r > 0.9 * before[k] for k, r in zip(live.tolist(), now, strict=True)):
                return "moving"
        return "slow"


def _apart(ends: np.ndarray) -> bool:
    there = np.isfinite(ends)
    width = np.where(there, ends, -np.inf).max(1) - np.where(there, ends, np.inf).min(1)
    return bool((width > 1e-3).any())
