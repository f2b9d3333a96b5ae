"""The judge of `attack.py`: what a network does, in extended precision, from its stored numbers and its equations.

It knows nothing of the library. All arrays are `longdouble` (64 bits of mantissa or more), and every sum comes with a
bound on its own rounding error, so that a complaint is never the judge's own rounding.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

WIDE = np.longdouble
ULP = float(np.finfo(WIDE).eps)
if ULP > 1e-18:
    raise SystemExit("attack_judge.py needs a longdouble wider than 64 bits, which this machine does not have")


def _sigmoid(z: np.ndarray) -> np.ndarray:
    small = np.exp(-np.abs(z))
    return np.where(z < 0, small, 1) / (1 + small)


def _sigmoid_slope(z: np.ndarray) -> np.ndarray:
    small = np.exp(-np.abs(z))
    return small / (1 + small) ** 2


def _tanh_slope(z: np.ndarray) -> np.ndarray:
    small = np.exp(-2 * np.abs(z))
    return 4 * small / (1 + small) ** 2


Function = Callable[[np.ndarray], np.ndarray]
# name -> value, slope, the largest slope
ACTIVATIONS: dict[str, tuple[Function, Function, float]] = {
    "identity": (lambda z: z, np.ones_like, 1.0),
    "hard-sigmoid": (lambda z: np.clip(z, 0, 1), lambda z: ((z > 0) & (z < 1)).astype(WIDE), 1.0),
    "sigmoid": (_sigmoid, _sigmoid_slope, 0.25),
    "tanh": (np.tanh, _tanh_slope, 1.0),
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(WIDE), 1.0),
    "softplus": (lambda z: np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z))), _sigmoid, 1.0),
}
OUTFLOWS: dict[str, Function] = {"none": np.zeros_like, "signed": lambda w: w, "absolute": np.abs}


@dataclass(frozen=True)
class Nudge:
    """A current into the outputs: `-beta (r - y)`, that of half the squared error, or with a sharpness `g` that of the
    cross-entropy, `-beta g (softmax(g r) - y)`."""

    beta: float
    y: np.ndarray
    sharpness: float = 0.0

    def take(self, rows: np.ndarray) -> "Nudge":
        return Nudge(self.beta, self.y[rows], self.sharpness)

    def share(self, rate: np.ndarray) -> np.ndarray:
        power = np.exp(self.sharpness * (rate - rate.max(-1, keepdims=True)))
        return power / power.sum(-1, keepdims=True)

    def error(self, rate: np.ndarray) -> np.ndarray:
        return self.sharpness * (self.share(rate) - self.y) if self.sharpness else rate - self.y

    def curvature(self, rate: np.ndarray) -> np.ndarray:
        eye = np.eye(rate.shape[-1], dtype=WIDE)
        if not self.sharpness:
            return np.broadcast_to(eye, (*rate.shape, rate.shape[-1]))
        share = self.share(rate)
        return self.sharpness**2 * (share[..., :, None] * eye - share[..., :, None] * share[..., None, :])

    def size(self, rate: np.ndarray) -> np.ndarray:
        """The size of what is added up in an error."""
        g = self.sharpness
        return (
            g * (1 + np.abs(self.y)) + g**2 * np.abs(rate).max(-1, keepdims=True)
            if g
            else np.abs(rate) + np.abs(self.y)
        )


@dataclass(frozen=True)
class Correction:
    """What is added to the velocity, linear in the state: `matrix (s - s0) - beta psi'(s) (psi(s) - y)` at outputs."""

    matrix: np.ndarray  # samples x free x free
    state: np.ndarray
    beta: float
    y: np.ndarray

    def take(self, rows: np.ndarray) -> "Correction":
        return Correction(self.matrix[rows], self.state[rows], self.beta, self.y[rows])


class Net:
    """One network at one input a sample. `weight[i, j]` is from unit i (inputs first) to free unit j."""

    def __init__(
        self,
        neuron: str,
        activation: str,
        outflow: str,
        box: tuple[float, float] | None,
        hidden: int,
        weight: np.ndarray,
        leak: np.ndarray,
        bias: np.ndarray,
        x: np.ndarray,
        current: Nudge | Correction | None = None,
    ):
        """Numbers as the library stores them."""
        self.parts = (neuron, activation, outflow, box, hidden, weight, leak, bias)
        self.x, self.current, self.hidden, self.box = np.asarray(x, WIDE), current, hidden, box
        self.weight, self.leak, self.bias = (np.asarray(a, WIDE) for a in (weight, leak, bias))
        self.free = len(self.leak)
        self.recurrent = self.weight[len(self.weight) - self.free :]
        entry = self.weight[: len(self.weight) - self.free]
        self.entered, self.entering = self.x @ entry + self.bias, np.abs(self.x) @ np.abs(entry) + np.abs(self.bias)
        self.total = self.leak + OUTFLOWS[outflow](self.recurrent).sum(1)
        self.lost = self.leak + (np.abs(self.recurrent).sum(1) if outflow != "none" else 0)
        plain = ACTIVATIONS["identity"]
        own = ACTIVATIONS[activation]
        self.transfer, self.rate = (own, plain) if neuron == "rate" else (plain, own if neuron == "hopfield" else plain)
        self.terms = len(self.weight) + 12

    def take(self, rows: np.ndarray) -> "Net":
        return Net(*self.parts, self.x[rows], None if self.current is None else self.current.take(rows))

    def under(self, current: Nudge | Correction | None) -> "Net":
        return Net(*self.parts, self.x, current)

    def clip(self, s: np.ndarray) -> np.ndarray:
        return s if self.box is None else np.clip(s, *self.box)

    def drive(self, s: np.ndarray) -> np.ndarray:
        rate = self.rate[0](s)
        u = self.entered + rate @ self.recurrent
        if isinstance(self.current, Nudge):
            u[..., self.hidden :] -= WIDE(self.current.beta) * self.current.error(rate[..., self.hidden :])
        return u

    def field(self, s: np.ndarray) -> np.ndarray:
        flow = self.transfer[0](self.drive(s)) - self.total * s
        if isinstance(self.current, Correction):
            now = self.current
            flow = flow + np.einsum("sjk,sk->sj", now.matrix, s - now.state)
            out = s[..., self.hidden :]
            flow[..., self.hidden :] -= WIDE(now.beta) * self.rate[1](out) * (self.rate[0](out) - now.y)
        return flow

    def magnitude(self, s: np.ndarray) -> np.ndarray:
        """The size of all that is added up in the velocity of every unit."""
        rate = np.abs(self.rate[0](s))
        size = self.entering + rate @ np.abs(self.recurrent)
        if isinstance(self.current, Nudge):
            size[..., self.hidden :] += abs(self.current.beta) * self.current.size(rate[..., self.hidden :])
        size = self.transfer[2] * size + np.abs(self.transfer[0](self.drive(s))) + self.lost * np.abs(s)
        if isinstance(self.current, Correction):
            now = self.current
            size = size + np.einsum("sjk,sk->sj", np.abs(now.matrix), np.abs(s) + np.abs(now.state))
            size[..., self.hidden :] += abs(now.beta) * (rate[..., self.hidden :] + np.abs(now.y))
        return size

    def rounding(self, s: np.ndarray, eps: float = ULP, tiny: float = 0.0) -> np.ndarray:
        """A bound on the error of a velocity computed from `s` with this precision."""
        return self.terms * eps * self.magnitude(s) + self.terms * tiny

    def held(self, s: np.ndarray, flow: np.ndarray) -> np.ndarray:
        if self.box is None:
            return np.zeros(s.shape, bool)
        return ((s <= self.box[0]) & (flow < 0)) | ((s >= self.box[1]) & (flow > 0))

    def velocity(self, s: np.ndarray) -> np.ndarray:
        flow = self.field(s)
        return np.where(self.held(s, flow), 0, flow)

    def jacobian(self, s: np.ndarray) -> np.ndarray:
        """`[sample, j, i]`: how the velocity of j moves with state i, box aside."""
        own, up = self.rate[1](s), self.transfer[1](self.drive(s))
        square = up[..., :, None] * self.recurrent.T * own[..., None, :]
        unit, out = np.arange(self.free), np.arange(self.hidden, self.free)
        square[..., unit, unit] -= self.total
        if isinstance(self.current, Nudge):
            bent = self.current.curvature(self.rate[0](s)[..., self.hidden :])
            bent = up[..., out, None] * bent * own[..., None, out]
            square[..., self.hidden :, self.hidden :] -= WIDE(self.current.beta) * bent
        if isinstance(self.current, Correction):
            square = square + self.current.matrix
            square[..., out, out] -= WIDE(self.current.beta) * own[..., out] ** 2
        return square


@dataclass(frozen=True)
class Truth:
    """Equilibria, a bound on how far off the judge itself is, and where it found one at all."""

    state: np.ndarray
    error: np.ndarray
    found: np.ndarray


def _solve(square: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Linear systems in 64 bits, each row and column scaled to size one; iterating refines them."""
    with np.errstate(all="ignore"):
        row = np.abs(square).max(-1, keepdims=True)
        row = np.where(row > 0, row, 1)
        column = np.abs(square / row).max(-2, keepdims=True)
        column = np.where(column > 0, column, 1)
        scaled = (square / row / column).astype(np.float64)
        scaled = np.where(np.isfinite(scaled), scaled, 0)
        scaled_right = (right / row).astype(np.float64)
        while True:
            try:
                return np.linalg.solve(scaled, scaled_right) / column.swapaxes(-1, -2)
            except np.linalg.LinAlgError:
                scaled = scaled + 1e-14 * np.eye(scaled.shape[-1])


def _inverse(square: np.ndarray) -> np.ndarray:
    return _solve(square, np.broadcast_to(np.eye(square.shape[-1], dtype=WIDE), square.shape))


def _active(net: Net, s: np.ndarray, flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Units that no face holds, and where the others stand: the guess of a primal-dual active set method."""
    if net.box is None:
        return np.ones(s.shape, bool), s
    scale = np.where(net.total > 0, net.total, 1)
    aim = s + flow / scale
    low, high = net.box
    return (aim > low) & (aim < high), np.clip(aim, low, high)


def equilibria(net: Net, start: np.ndarray, steps: int = 80) -> Truth:
    """Semi-smooth Newton steps, shortened to implicit Euler steps where they lead away; verified by their residual."""
    s = net.clip(np.asarray(start, WIDE)).copy()
    s = np.where(np.isfinite(s), s, net.clip(np.zeros_like(s)))
    eye = np.eye(net.free, dtype=WIDE)
    scale = np.where(net.total > 0, net.total, 1)
    pull = np.zeros(len(s), WIDE)  # one over the length of an implicit step, in units of the leaks
    with np.errstate(all="ignore"):
        flow = net.field(s)
        size = np.abs(np.where(net.held(s, flow), 0, flow) / scale).max(-1)
        best, best_size = s.copy(), size.copy()
        for k in range(steps):
            active, at = _active(net, s, flow)
            moved = np.where(active, 0, at - s)
            jacobian = net.jacobian(s)
            right = np.where(active, -flow - np.einsum("sji,si->sj", jacobian, moved), moved)
            square = np.where(active[:, :, None] & active[:, None, :], jacobian, 0)
            square = square - eye * (pull[:, None, None] * scale)
            square = np.where(active[:, :, None], square, eye)
            step = _solve(square, right[..., None])[..., 0]
            s = net.clip(s + np.where(active, step, moved))
            s = np.where(np.isfinite(s), s, best)
            flow = net.field(s)
            before, size = size, np.abs(np.where(net.held(s, flow), 0, flow) / scale).max(-1)
            better = size < best_size
            best, best_size = np.where(better[:, None], s, best), np.where(better, size, best_size)
            if k >= 12:
                worse = ~(size < before)
                pull = np.where(worse, np.maximum(pull * 4, 1), pull / 4)
                pull = np.where(pull < 1e-6, 0, pull)
            if k % 8 == 5 and _bound(net, best)[1].all():
                break
        error, found = _bound(net, best)
    return Truth(best, error, found)


def _bound(net: Net, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far an equilibrium can be from `s`, to first order, and whether what is left is rounding."""
    flow = net.field(s)
    noise = 4 * net.rounding(s)
    held = net.held(s, flow) & (np.abs(flow) > noise)
    left = np.where(held, 0, np.abs(net.velocity(s)) + noise)
    square = np.where(held[:, :, None] | held[:, None, :], 0, net.jacobian(s))
    square = square - np.eye(net.free, dtype=WIDE) * held[:, :, None]
    inverse = np.abs(_inverse(square))
    error = 2 * np.einsum("sji,si->sj", inverse, left) + 4 * ULP * np.abs(s)
    found = (np.abs(net.velocity(s)) <= noise).all(-1) & np.isfinite(error).all(-1)
    return np.where(np.isfinite(error), error, np.inf), found


# Contraction


def one_sided(norm: dict[str, Any], apart: np.ndarray, velocity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The norm of a difference of states, and how fast it changes when the difference changes with `velocity`."""
    name = norm["name"]
    if "Euclidean" in name:
        p = square(norm)
        if norm["inverse"]:
            p = refined_inverse(p)
        other = apart @ p
        length = np.sqrt(np.maximum((apart * other).sum(-1), 0))
        return length, (other * velocity).sum(-1) / np.where(length > 0, length, 1)
    eta = np.asarray(norm["weights"], WIDE)
    if "infinity" in name:
        scaled, along = np.abs(apart) / eta, np.sign(apart) * velocity / eta
        length = scaled.max(-1)
        return length, np.where(scaled == length[..., None], along, -np.inf).max(-1)
    grown = np.where(apart == 0, np.abs(velocity), np.sign(apart) * velocity)
    return np.abs(apart) @ eta, grown @ eta


def square(norm: dict[str, Any]) -> np.ndarray:
    """The matrix of a Euclidean norm, which one with a weight a unit does not write down."""
    return np.asarray(norm["matrix"] if "matrix" in norm else np.diag(norm["weights"]), WIDE)


def refined_inverse(p: np.ndarray) -> np.ndarray:
    """The inverse in extended precision, by Newton's iteration from that in 64 bits."""
    found = np.linalg.inv(np.asarray(p, np.float64)).astype(WIDE)
    for _ in range(4):
        found = found @ (2 * np.eye(len(p), dtype=WIDE) - p @ found)
    return found


def most(norm: dict[str, Any], noise: np.ndarray) -> np.ndarray:
    """The largest norm of a vector whose entries are at most `noise`."""
    if "Euclidean" in norm["name"]:
        p = square(norm)
        p = np.abs(refined_inverse(p) if norm["inverse"] else p)
        return np.sqrt(np.einsum("sj,jk,sk->s", noise, p, noise))
    eta = np.asarray(norm["weights"], WIDE)
    return (noise / eta).max(-1) if "infinity" in norm["name"] else noise @ eta


def too_slow(net: Net, norm: dict[str, Any], rate: float, s: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Which pairs of states approach each other more slowly than at a rate, by more than rounding explains."""
    with np.errstate(all="ignore"):
        length, growth = one_sided(norm, s - t, net.velocity(s) - net.velocity(t))
        noise = most(norm, 4 * (net.rounding(s) + net.rounding(t)))
        allowed = -WIDE(rate) * length * (1 - WIDE(1e-13)) + 4 * noise
        return (growth > allowed) & np.isfinite(growth) & np.isfinite(allowed) & (length > 0)


def step_too_long(net: Net, norm: dict[str, Any], h: float, factor: float, s: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Which pairs an Euler step of length `h` does not shrink by `factor`."""
    zero = np.zeros_like(s)
    with np.errstate(all="ignore"):
        one, two = (net.clip(a + WIDE(h) * net.field(a)) for a in (s, t))
        before, after = one_sided(norm, s - t, zero)[0], one_sided(norm, one - two, zero)[0]
        noise = WIDE(h) * most(norm, 4 * (net.rounding(s) + net.rounding(t))) + most(
            norm, 8 * ULP * (np.abs(one) + np.abs(two) + np.abs(s) + np.abs(t))
        )
        allowed = WIDE(factor) * before + 4 * noise
        return (after > allowed) & np.isfinite(after) & np.isfinite(allowed) & (before > 0)


# What a run may claim


def tolerated(net: Net, s: np.ndarray, rtol: float, atol: float) -> np.ndarray:
    """The residual up to which every unit counts as settled."""
    lost = net.total * s
    return atol * np.where(net.total > 0, net.total, 1) + rtol * np.maximum(np.abs(lost), np.abs(net.field(s) + lost))


def unsettled(net: Net, s: np.ndarray, rtol: float, atol: float, eps: float, tiny: float) -> np.ndarray:
    """By how much the residual of every unit exceeds its tolerance and what rounding explains; positive: it does."""
    s = np.asarray(s, WIDE)
    with np.errstate(all="ignore"):
        return np.abs(net.velocity(s)) - tolerated(net, s, rtol, atol) * (1 + 8 * eps) - net.rounding(s, eps, tiny)


def in_reach(net: Net, s: np.ndarray, rtol: float, atol: float, eps: float, tiny: float) -> np.ndarray:
    """The samples whose tolerance the arithmetic of a run can resolve, and whose terms do not overflow."""
    s = np.asarray(s, WIDE)
    with np.errstate(all="ignore"):
        fine = net.rounding(s, eps, tiny) <= tolerated(net, s, rtol, atol) / 2
        # The state itself is stored with this precision: its last digit moves every unit.
        stored = np.einsum("sji,si->sj", np.abs(net.jacobian(s)), eps * np.abs(s) + tiny)
        fine &= stored <= tolerated(net, s, rtol, atol) / 2
        return (fine & (net.magnitude(s) < 1e-6 / tiny)).all(-1)


def least_margin(
    weight: np.ndarray, leak: np.ndarray, outflow: str, gain: float, weights: np.ndarray, incoming: bool
) -> float:
    r"""The least of $\Lambda_i-d_2\sum_k|w_{ik}|\eta_k/\eta_i$ in extended precision; `weight` between free units."""
    w, leak, eta = (np.asarray(a, WIDE) for a in (weight, leak, weights))
    size = np.abs(w)
    spread = ((size.T if incoming else size) @ eta) / eta
    return float((leak + OUTFLOWS[outflow](w).sum(1) - gain * spread).min())
