"""The three neurons and what their synapses learn, a second time, in plain NumPy; it shares no code with direp."""

from dataclasses import dataclass, replace

import numpy as np

__all__ = ["Net", "Unsettled"]

# name -> value, slope
ACTIVATIONS = {
    "identity": (lambda z: z, np.ones_like),
    "hard-sigmoid": (lambda z: np.clip(z, 0, 1), lambda z: ((z > 0) & (z < 1)).astype(float)),
    "sigmoid": (lambda z: 0.5 + 0.5 * np.tanh(z / 2), lambda z: _bell(z / 2) / 4),
    "tanh": (np.tanh, lambda z: _bell(z)),
    "softplus": (lambda z: np.logaddexp(0, z), lambda z: 0.5 + 0.5 * np.tanh(z / 2)),
}


def _bell(z: np.ndarray) -> np.ndarray:
    """The slope of tanh, which 1 - tanh^2 rounds to nothing where it is saturated."""
    return 1 / np.cosh(np.clip(z, -300, 300)) ** 2


class Unsettled(Exception):
    """A phase that the oracle could not bring to rest."""


@dataclass(frozen=True)
class Net:
    """`weight[i, j]` from unit i (inputs first) to free unit j; `exists` says which synapses there are."""

    neuron: str
    activation: str
    outflow: str
    inputs: int
    outputs: int
    weight: np.ndarray
    exists: np.ndarray
    bias: np.ndarray
    leak: np.ndarray
    biased: bool
    sharpness: float | None = None  # of a cross-entropy; `None`: the squared error

    def _cost_gradient(self, r: np.ndarray, y: np.ndarray) -> np.ndarray:
        return r - y if self.sharpness is None else self.sharpness * (self._softmax(r) - y)

    def _softmax(self, r: np.ndarray) -> np.ndarray:
        power = np.exp((self.sharpness or 1.0) * (r - r.max(-1, keepdims=True)))
        return power / power.sum(-1, keepdims=True)

    @property
    def inner(self) -> np.ndarray:
        return self.weight[self.inputs :]

    @property
    def size(self) -> int:
        return len(self.leak)

    @property
    def total(self) -> np.ndarray:
        lost = {"none": 0 * self.inner, "signed": self.inner, "absolute": np.abs(self.inner)}[self.outflow]
        return self.leak + lost.sum(1)

    @property
    def hidden(self) -> int:
        return self.size - self.outputs

    def _rho(self, z: np.ndarray, slope: bool) -> np.ndarray:
        return ACTIVATIONS[self.activation][slope](z)

    def rate(self, s: np.ndarray) -> np.ndarray:
        return self._rho(s, False) if self.neuron == "hopfield" else s

    def slopes(self, s: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Slope from state to rate, and from drive to velocity."""
        one = np.ones_like(s)
        return {
            "projected": lambda: (one, one), "hopfield": lambda: (self._rho(s, True), one),
            "rate": lambda: (one, self._rho(u, True)),
        }[self.neuron]()  # fmt: skip

    def drive(self, s: np.ndarray, x: np.ndarray, y: np.ndarray, beta: float) -> np.ndarray:
        r = self.rate(s)
        u = x @ self.weight[: self.inputs] + r @ self.inner + self.bias
        u[:, self.hidden :] -= beta * self._cost_gradient(r[:, self.hidden :], y)
        return u

    def flow(self, s: np.ndarray, u: np.ndarray) -> np.ndarray:
        return (self._rho(u, False) if self.neuron == "rate" else u) - self.total * s

    def held(self, s: np.ndarray, f: np.ndarray) -> np.ndarray:
        if self.neuron != "projected":
            return np.zeros(s.shape, bool)
        return ((s <= 0) & (f < 0)) | ((s >= 1) & (f > 0))

    def jacobian(self, s: np.ndarray, x: np.ndarray, y: np.ndarray, beta: float) -> np.ndarray:
        """`[n, j, i]`: of unit j's velocity by unit i's state."""
        before, after = self.slopes(s, self.drive(s, x, y, beta))
        coupling = np.repeat(self.inner.T[None], len(s), 0)
        bend = np.eye(self.outputs)
        if self.sharpness is not None:
            p = self._softmax(self.rate(s)[:, self.hidden :])
            bend = self.sharpness**2 * p[:, :, None] * (bend - p[:, None, :])
        coupling[:, self.hidden :, self.hidden :] -= beta * bend
        return after[:, :, None] * coupling * before[:, None, :] - np.diag(self.total)

    def settle(self, x: np.ndarray, y: np.ndarray, beta: float = 0.0, start: np.ndarray | None = None) -> np.ndarray:
        """Relaxation, then Newton's method on the units that no face holds."""
        s = np.zeros((len(x), self.size)) if start is None else start.copy()
        stiff = self.total + np.abs(self.inner).sum(1) + np.abs(self.inner).sum(0) + abs(beta)
        for step in range(3000):
            u = self.drive(s, x, y, beta)
            f = self.flow(s, u)
            left = np.where(self.held(s, f), 0, f)
            if np.abs(left).max() < 1e-13 * (1 + np.abs(u).max()):
                return s
            if step >= 30 and step % 10 == 0:
                s = self._newton(s, x, y, beta)
                continue
            s = s + f / stiff
            s = np.clip(s, 0, 1) if self.neuron == "projected" else s
            if not np.isfinite(s).all():
                break
        raise Unsettled

    def stable(self, x: np.ndarray, y: np.ndarray, s: np.ndarray, beta: float) -> bool:
        """Whether the dynamics would come to rest at these equilibria too: Newton's method finds others as well."""
        free = ~self.held(s, self.flow(s, self.drive(s, x, y, beta)))
        both = free[:, :, None] & free[:, None, :]
        square = np.where(both, self.jacobian(s, x, y, beta), -np.eye(self.size))
        return bool((np.linalg.eigvals(square).real < 0).all())

    def _newton(self, s: np.ndarray, x: np.ndarray, y: np.ndarray, beta: float) -> np.ndarray:
        f = self.flow(s, self.drive(s, x, y, beta))
        free = ~self.held(s, f)
        both = free[:, :, None] & free[:, None, :]
        square = np.where(both, self.jacobian(s, x, y, beta), -np.eye(self.size))
        try:
            moved = s - np.linalg.solve(square, np.where(free, f, 0)[..., None])[..., 0]
        except np.linalg.LinAlgError:
            return s
        moved = np.clip(moved, 0, 1) if self.neuron == "projected" else moved
        after = self.flow(moved, self.drive(moved, x, y, beta))
        better = np.abs(np.where(self.held(moved, after), 0, after)).max(1) < np.abs(np.where(free, f, 0)).max(1)
        return np.where(better[:, None], moved, s)

    def loss(self, x: np.ndarray, y: np.ndarray, start: np.ndarray) -> float:
        s = self.settle(x, y, start=start)
        r = self.rate(s)[:, self.hidden :]
        if self.sharpness is not None:
            return float(-(y * np.log(self._softmax(r))).sum(1).mean())
        return float(0.5 * ((r - y) ** 2).sum(1).mean())

    def vector(self, x: np.ndarray, s: np.ndarray, post: np.ndarray, back: np.ndarray) -> np.ndarray:
        """For every sample what each synapse, then each bias, makes of `post` and `back`: a row a sample."""
        sent = np.concatenate([x, self.rate(s)], 1)
        rows = sent[:, :, None] * post[:, None, :]
        kappa = {"none": 0, "signed": 1, "absolute": np.sign(self.inner)}[self.outflow]
        rows[:, self.inputs :] -= kappa * (s * back)[:, :, None]
        kept = rows[:, self.exists]
        return np.concatenate([kept, post], 1) if self.biased else kept

    def _active(self, s: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return ~self.held(s, self.flow(s, self.drive(s, x, y, 0.0)))

    def _solve(self, square: np.ndarray, right: np.ndarray, active: np.ndarray) -> np.ndarray:
        both = active[:, :, None] & active[:, None, :]
        square = np.where(both, square, -np.eye(self.size))
        return np.linalg.solve(square, np.where(active[..., None], right, 0))

    def adjoint(self, x: np.ndarray, y: np.ndarray, s: np.ndarray, current: np.ndarray) -> tuple:
        """`post` and `back` of the exact gradient; `current` is [sample, unit, column]."""
        before, after = self.slopes(s, self.drive(s, x, y, 0.0))
        square = self.jacobian(s, x, y, 0.0).transpose(0, 2, 1)
        a = self._solve(square, before[..., None] * current, self._active(s, x, y))
        return after[..., None] * a, a

    def limit(self, x: np.ndarray, y: np.ndarray, s: np.ndarray, current: np.ndarray) -> tuple:
        """`post` and `back` of the local rule for a vanishing nudge."""
        before, after = self.slopes(s, self.drive(s, x, y, 0.0))
        moved = self._solve(self.jacobian(s, x, y, 0.0), after[..., None] * current, self._active(s, x, y))
        d_rate = before[..., None] * moved
        d_drive = np.einsum("ij,nik->njk", self.inner, d_rate) - current
        return d_rate, d_drive / self.total[:, None] if self.neuron == "rate" else d_rate

    def error(self, s: np.ndarray, y: np.ndarray) -> np.ndarray:
        current = np.zeros((len(s), self.size, 1))
        current[:, self.hidden :, 0] = self._cost_gradient(self.rate(s)[:, self.hidden :], y)
        return current

    def gradient(self, x: np.ndarray, y: np.ndarray, s: np.ndarray) -> np.ndarray:
        post, back = self.adjoint(x, y, s, self.error(s, y))
        return self.vector(x, s, post[..., 0], back[..., 0])

    def leak_gradient(self, x: np.ndarray, y: np.ndarray, s: np.ndarray) -> np.ndarray:
        """For every sample what lowering its cost makes of each leak."""
        return -s * self.adjoint(x, y, s, self.error(s, y))[1][..., 0]

    def controlled(self, margin: float, floor: np.ndarray | float, rows: bool) -> "Net":
        """With the leaks of a controller: what is sent (or received), less what is lost, and a margin."""
        steepest = 0.25 if self.activation == "sigmoid" else 1.0
        needed = steepest * np.abs(self.inner).sum(0 if rows else 1) - (self.total - self.leak) + margin
        return replace(self, leak=np.maximum(needed, floor))

    def limit_rule(self, x: np.ndarray, y: np.ndarray, s: np.ndarray) -> np.ndarray:
        post, back = self.limit(x, y, s, self.error(s, y))
        return self.vector(x, s, post[..., 0], back[..., 0])

    def rule(self, x: np.ndarray, y: np.ndarray, s: np.ndarray, betas: tuple, begin: list | None = None) -> np.ndarray:
        """What the local rule says at a nudge of finite strength: a row a sample."""
        begin = [s] * len(betas) if begin is None else begin
        ends = [(0.0, s)] if len(betas) == 1 else []
        phases = [(beta, self.settle(x, y, beta, start)) for beta, start in zip(betas, begin, strict=True)]
        ends += phases[::-1]
        (_, low), (_, high) = ends
        scale = betas[0] if len(betas) == 1 else 2 * betas[0]
        d_rate = (self.rate(high) - self.rate(low)) / scale
        drives = [self.drive(state, x, y, beta) for beta, state in ends]
        d_drive = (drives[1] - drives[0]) / scale
        return self.vector(x, s, d_rate, d_drive / self.total if self.neuron == "rate" else d_rate)

    def moved(self, vector: np.ndarray, size: float) -> "Net":
        """After a step against a vector, laid out as in `vector`."""
        weight, count = self.weight.copy(), int(self.exists.sum())
        weight[self.exists] += size * vector[:count]
        bias = self.bias + size * vector[count:] if self.biased else self.bias
        return replace(self, weight=weight, bias=bias)
