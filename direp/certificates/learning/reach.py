r"""How far along a stored gradient the cost is proved to fall: steps $\theta-\eta g$, with $\eta$ cut into pieces.

On a piece everything is a first-order form in $\eta$: weights, biases, leaks (those that follow included), the
equilibria, and how they move. An equilibrium solves $\Lambda s=\mathrm{clip}(\varphi(u),\Lambda\,\mathrm{low},
\Lambda\,\mathrm{high})$, whose slopes lie between those on either side of a corner or a face, so a piece may pass one.
Krawczyk's test around a guess that moves with $\eta$ proves one equilibrium for every $\eta$, and that it is the one of
the piece before. With $g_i=\theta_i\varphi_i'$, $\theta_i\in[0,1]$ the slope of the clipping,

$$(\Lambda-gW^\top\psi')\,s'=g\,\partial_\eta u-\theta\Lambda's,\qquad \partial_\eta C=\sum_n\partial_rC^\top\psi's',$$

which are integrated: all of a piece is covered if the cost at each of its $\eta$ is certainly below that at zero.
"""

from dataclasses import dataclass
from typing import Any

import flint
import jax
import numpy as np

from ...arithmetic import Affine, Interval, apply, constant, contract, exact, inverse, placed, solve, transform
from ...model import ACTIVATIONS, Activation, Network
from ...rules import AbstractCost, SquaredError
from .stored import Stored

_ROUNDS = 4  # of pieces that are bounded together
_PIECES = 32
_GROWTH = 1.08  # of their lengths, one after the other
_SIZE = 80_000  # entries of all Jacobians of a round
_NEAR = 0.98  # of the step found in floating point, where the search ends
_FLOATS = 2.0 ** np.arange(-26, 8)


def reach(network: Network, x: list, y: list, cost: AbstractCost, stored: Stored, states: list) -> float:
    """The largest step found up to which the cost is proved to be below where it was; 0 if there is none."""
    with np.errstate(all="ignore"):  # what overflows is not covered
        path = _Path(network, np.stack(x), np.stack(y), cost, stored)
        return path.follow(np.stack(states))


@dataclass(frozen=True)
class _Forms:
    """A network on a piece: weights between free units, what inputs and biases send, total leaks and how they move."""

    inner: Affine
    sent: Affine
    total: Affine
    total_moves: Affine


class _Path:
    def __init__(self, network: Network, x: np.ndarray, y: np.ndarray, cost: AbstractCost, stored: Stored):
        split = network.graph.inputs
        weight, way = np.asarray(network.matrix, np.float64), -stored.weight
        self.network, self.neuron, self.cost, self.y = network, network.neuron, cost, y
        self.hidden, self.free, self.batch = network.graph.hidden, network.graph.free, len(x)
        self.exists = network.graph.adjacency()[split:].astype(float)
        self.inner, self.way = weight[split:], way[split:]
        self.leak = np.asarray(network.leak, np.float64)
        bias, bias_way = np.asarray(network.bias, np.float64), -stored.bias
        self.sent = x @ constant(weight[:split], 1) + bias
        self.sent_way = x @ constant(way[:split], 1) + bias_way
        self.following, self.share = stored.following, stored.share
        neuron: Any = self.neuron
        ends = (neuron.low, neuron.high) if neuron.bounded else (-np.inf, np.inf)
        self.low, self.high = np.asarray(ends, network.dtype).astype(np.float64).tolist()
        size = [np.abs(part).max(initial=0) for part in (weight, bias, way, bias_way)]
        self.unit = max(size[:2]) / max(size[2:])  # a step that moves numbers by their own size
        if self.following is not None:
            ratio = np.array([[float(each.mid()) for each in row] for row in self.following.ratio])
            self.ratio = Affine(ratio, np.zeros((1, *ratio.shape)), np.where(ratio == 1, 0, 1e-15 * np.abs(ratio)))
            self.before = self._needed(constant(self.inner[None], 1))[0]

    # The network along the way.

    def forms(self, eta: Affine) -> _Forms:
        """`eta`: a form of shape (pieces, 1, 1)."""
        inner = eta * self.way + self.inner
        leak, leak_moves = self._leaks(inner)
        lost, lost_moves = self._outflow(inner)
        total, moves = (leak + lost)[:, None], (leak_moves + lost_moves)[:, None]
        return _Forms(inner, eta * self.sent_way + self.sent, total, moves)

    def _bent(self, inner: Affine, below: int, above: int) -> tuple[Affine, Affine]:
        """A function with a corner at zero, of every weight, and how it moves."""
        hull = inner.hull()
        right, left = hull.low >= 0, hull.high <= 0
        least, most = min(below, above), max(below, above)
        slope = Interval(
            np.where(right, above, np.where(left, below, least)), np.where(right, above, np.where(left, below, most))
        )
        ends = [np.where(end < 0, below * end, above * end) for end in (hull.low, hull.high)]
        across = Interval(np.minimum(np.minimum(*ends), 0), np.maximum(np.maximum(*ends), 0))
        value = _pick(right | left, inner * np.where(right, above, below), Affine.of(across, 1))
        return value, Affine.of(slope, 1) * (self.way * self.exists)

    def _outflow(self, inner: Affine) -> tuple[Affine, Affine]:
        outflow = self.neuron.outflow
        if not outflow.active:
            return constant(np.zeros((1, self.free)), 1), constant(np.zeros((1, self.free)), 1)
        value, moves = self._bent(inner, outflow.below, outflow.above)
        return (value * self.exists).sum(-1), moves.sum(-1)

    def _needed(self, inner: Affine) -> tuple[Affine, Affine]:
        """The leaks at the criterion, without its margin, and how they move."""
        assert self.following is not None
        axis = self.following.own - 2
        gain = self.neuron.gain
        spread, moves = ((part * self.ratio * gain).sum(axis) for part in self._bent(inner, -1, 1))
        lost, lost_moves = self._outflow(inner)
        return spread - lost, moves - lost_moves

    def _leaks(self, inner: Affine) -> tuple[Affine, Affine]:
        still = constant(self.leak[None], 1)
        if self.following is None or self.share is None:
            return still, constant(np.zeros((1, self.free)), 1)
        needed, moves = self._needed(inner)
        change, least = needed - self.before, self.following.least
        held, idle = self.share[:, 0] == 1, self.share[:, 1] == 0
        at, over = (change + self.leak).hull(), (needed + self.following.margin).hull()
        follows, stays = held & (at.low >= least), idle & (over.high <= self.leak)
        between = Affine.of(Interval(np.zeros(follows.shape), np.ones(follows.shape)), 1) * moves
        one, other = np.minimum(at.low, self.leak), np.maximum(at.high, self.leak)
        low = np.where(held, np.maximum(at.low, least), np.where(idle, self.leak, one))
        high = np.where(held, np.maximum(at.high, least), np.where(idle, np.maximum(over.high, self.leak), other))
        turning = Affine.of(Interval(low, high), 1)
        leak = _pick(follows, change + self.leak, _pick(stays, still, turning))
        return leak, _pick(follows, moves, _pick(stays, moves * 0.0, between))

    def _at(self, state: Affine, forms: _Forms):
        """Rates and their slopes, gains and gates of units, and the field; states: (pieces, batch, free)."""
        rate, rate_slope = _curve(self.neuron.rate, state)
        drive = rate @ forms.inner + forms.sent
        passed, slope = _curve(self.neuron.transfer, drive)
        gate = None
        if self.neuron.bounded:
            low, high = forms.total * self.low, forms.total * self.high
            below, above = (passed - low).hull(), (passed - high).hull()
            under, over = below.high < 0, above.low > 0
            active = (below.low > 0) & (above.high < 0)
            ends = [part.hull() for part in (passed, low, high)]
            cut = [np.minimum(np.maximum(getattr(ends[0], e), getattr(ends[1], e)), getattr(ends[2], e))
                   for e in ("low", "high")]  # fmt: skip
            clipped = _pick(under, low, _pick(over, high, Affine.of(Interval(*cut), 1)))
            passed = _pick(active, passed, clipped)
            gate = Affine.of(Interval(active.astype(float), 1.0 - (under | over)), 1)
            slope = gate if slope is None else slope * gate
        return rate, rate_slope, slope, gate, passed - forms.total * state

    def _square(self, rate_slope: Affine | None, gain: Affine | None, forms: _Forms) -> Affine:
        r"""$\Lambda-gW^\top\psi'$, minus the Jacobian."""
        coupling = forms.inner.swap()[:, None]
        coupling = coupling if rate_slope is None else coupling * rate_slope[..., None, :]
        coupling = coupling if gain is None else coupling * gain[..., :, None]
        return forms.total[..., :, None] * np.eye(self.free) - coupling

    # In floating point: where to look.

    def _settled(self, eta: np.ndarray, start: np.ndarray) -> np.ndarray:
        """Equilibria near a start, of shape (steps, batch, free); NaN where none was found."""
        forms = self.forms(constant(eta[:, None, None], 1))
        inner, sent, total = forms.inner.mid, forms.sent.mid, forms.total.mid
        state = np.broadcast_to(start, (len(eta), *start.shape[-2:])).copy()
        eye, field = np.eye(self.free), np.zeros_like(state)
        for _ in range(30):
            rate, rate_slope = _floats(self.neuron.rate, state)
            passed, slope = _floats(self.neuron.transfer, rate @ inner + sent)
            if self.neuron.bounded:
                low, high = total * self.low, total * self.high
                slope = slope * ((passed > low) & (passed < high))
                passed = np.clip(passed, low, high)
            field = passed - total * state
            if np.nanmax(np.abs(field), initial=0) < 1e-14 * (1 + np.nanmax(np.abs(passed), initial=0)):
                break
            square = (
                total[..., :, None] * eye
                - slope[..., :, None] * np.swapaxes(inner, -1, -2)[:, None] * (rate_slope[..., None, :])
            )
            square = np.where(np.isfinite(square).all((-1, -2), keepdims=True), square, eye)
            state = state + (inverse(square) @ field[..., None])[..., 0]
        fine = (np.abs(field) < 1e-9 * (1 + np.abs(state))).all(-1, keepdims=True)
        return np.where(fine, state, np.nan)

    def _costs(self, eta: np.ndarray, start: np.ndarray) -> np.ndarray:
        state = self._settled(eta, start)
        rate = _floats(self.neuron.rate, state)[0][..., self.hidden :]
        with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
            value = np.asarray(self.cost.value(placed(rate), placed(self.y)))
        return value.mean(-1)

    def _guess(self, start: np.ndarray) -> float:
        """Near the largest step up to which the cost is below where it was."""
        few = _FLOATS if self.batch * self.free**2 < 5_000 else _FLOATS[::4]
        tried = np.concatenate([[0.0], self.unit * few])
        value = self._costs(tried, start)
        fell = value - value[0]
        real = fell < -1e-13 * (abs(value[0]) + np.finfo(float).tiny)
        if not real.any():
            return float(self.unit * few[0])
        first = int(np.argmax(real))
        rest = np.flatnonzero(~real[first:])
        if not len(rest):
            return float(tried[-1])
        low, high = tried[first + rest[0] - 1], tried[first + rest[0]]
        for _ in range(2):
            tried = np.linspace(low, high, 7)
            value_ = self._costs(tried[1:-1], start)
            bad = np.append(~(value_ < value[0]), True)
            k = int(np.argmax(bad))
            low, high = tried[k], tried[k + 1]
        return float(low)

    # Proved.

    def follow(self, states: np.ndarray) -> float:
        """`states`: balls of the equilibria at the start, (batch, free)."""
        middle = np.array([[float(ball.mid()) for ball in row] for row in states])
        off = np.array([[float(ball.rad()) for ball in row] for row in states]) * (1 + 1e-9) + 1e-15 * np.abs(middle)
        edge, end, fallen = 0.0, (middle, off), 0.0
        most = self._guess(middle)
        count = int(np.clip(_SIZE // (self.batch * self.free**2), 2, _PIECES))
        first, growth = most * 2.0 ** (1 - count), 2.0
        for _ in range(_ROUNDS):
            ends = edge + first * (growth ** np.arange(1, count + 1) - 1) / (growth - 1)
            points = np.concatenate([[edge], ends[: int((ends < most).sum()) + 1]])
            points[-1] = min(points[-1], most)
            if not (np.diff(points) > 0).all():
                break
            covered, end, fallen = self._pieces(points, end, fallen)
            edge = float(points[covered])
            if edge >= _NEAR * most:
                break
            whole = covered == len(points) - 1
            first = float(np.diff(points)[min(covered, len(points) - 2)])
            if not edge:
                first *= 2.0**-count
                continue
            first, growth = first * (1 if whole else 0.3), _GROWTH
            if first < 1e-3 * edge:
                break
        return edge

    def _pieces(self, points: np.ndarray, end: tuple, fallen: float) -> tuple[int, tuple, float]:
        """How many pieces are covered, one after the other, and where the last of them ends: its states, and a bound on
        the change of the summed cost so far."""
        a, b = points[:-1], points[1:]
        middle, half = 0.5 * a + 0.5 * b, 0.5 * (b - a)
        eta = Affine(middle, half[None], 1e-15 * np.abs(b))[:, None, None]
        forms = self.forms(eta)
        start = constant(self._settled(middle, end[0]), 1)
        _, rate_slope, gain, _, field = self._at(start, forms)
        near = inverse(np.nan_to_num(self._square(rate_slope, gain, forms).mid))
        step = apply(near, field)
        guess = Affine(start.mid + step.mid, step.coef, np.zeros_like(step.mid))
        left = apply(near, self._at(guess, forms)[-1]).hull().size()
        first, last = guess.mid - guess.coef[0], guess.mid + guess.coef[0]
        slack = 1e-14 * (1 + np.abs(guess.mid) + np.abs(guess.coef[0]))
        gap = np.abs(first - np.concatenate([end[0][None], last[:-1]])) + slack
        come = np.concatenate([end[1][None], 2 * left[:-1]])
        room = 2 * (left + gap + come) + slack
        box = Affine(guess.mid, guess.coef, room)
        _, rate_slope, gain, _, _ = self._at(box, forms)
        excess = (np.eye(self.free) - near @ self._square(rate_slope, gain, forms)).hull().size()
        error = contract(left, excess, (left + (excess @ room[..., None])[..., 0]) * (1 + 1e-12) + slack * 1e-3)
        one = (left + (excess @ room[..., None])[..., 0]) * (1 + 1e-12) < room
        joined = gap + np.concatenate([end[1][None], error[:-1]]) < room
        fine = (one & joined & (forms.total.hull().low > 0)).all((-1, -2))
        slope = self._slope(Affine(guess.mid, guess.coef, error), forms)
        most = slope.mid + slope.err + 1e-14 * (np.abs(slope.mid) + np.abs(slope.coef[0]) + slope.err)
        for k in range(len(a)):
            fallen_, covered = _integrated(fallen, float(half[k]), float(most[k]), float(slope.coef[0, k]))
            if not (fine[k] and covered):
                return k, end, fallen
            fallen, end = fallen_, (last[k], error[k] + slack[k])
        return len(a), end, fallen

    def _slope(self, state: Affine, forms: _Forms) -> Affine:
        """How the summed cost moves, for every piece."""
        rate, rate_slope, gain, gate, _ = self._at(state, forms)
        moved = rate @ self.way + self.sent_way
        lost = forms.total_moves * state
        right = (moved if gain is None else moved * gain) - (lost if gate is None else lost * gate)
        change, _ = solve(self._square(rate_slope, gain, forms), right)
        change = change if rate_slope is None else change * rate_slope
        outputs = rate[..., self.hidden :]
        return (self._cost(outputs) * change[..., self.hidden :]).sum(-1).sum(-1)

    def _cost(self, rate: Affine) -> Affine:
        """The gradient of the cost, by its Hessian around the middle."""
        if isinstance(self.cost, SquaredError):  # whose own operations are those of forms
            return rate - self.y
        hull, shape = rate.hull(), rate.mid.shape
        gradient, hessian = np.empty(shape, object), np.empty((*shape, shape[-1]), object)
        points, boxes, enclose = exact(np.nan_to_num(rate.mid)), _balls(hull), self.cost.enclose
        for k in np.ndindex(shape[:-1]):
            gradient[k], hessian[k] = enclose(points[k], self.y[k[-1]])[0], enclose(boxes[k], self.y[k[-1]])[1]
        gradient, hessian = (Affine.of(_ends(balls), 1) for balls in (gradient, hessian))
        return gradient + apply(hessian, rate - rate.mid)


def _integrated(fallen: float, half: float, most: float, tilt: float) -> tuple[float, bool]:
    r"""A bound on the change of cost at the end of a piece, and whether the cost is below zero change on all of it.

    From the start of the piece on, with $t\in[0,2]$ and slopes up to $m+c(t-1)$, it changes by at most
    $ht(m+c(t/2-1))$; $m$ is `most`, $c$ the `tilt`.
    """
    if not (np.isfinite(most) and np.isfinite(tilt)):  # comparisons below would let a NaN pass
        return np.inf, False
    after = fallen + 2 * half * most
    after += 1e-14 * (abs(fallen) + abs(2 * half * most))
    if fallen == 0:
        return after, most - tilt < 0 and most < 0
    top = max(0.0, 2 * half * most)
    if tilt < 0 and -1 < -most / tilt < 1:
        top = max(top, -half * (most - tilt) ** 2 / (2 * tilt))
    return after, fallen + top * (1 + 1e-12) < 0


def _pick(where: np.ndarray, one: Affine, other: Affine) -> Affine:
    coef = np.where(where, one.coef, other.coef)
    return Affine(np.where(where, one.mid, other.mid), coef, np.where(where, one.err, other.err))


def _curve(activation: Activation, at: Affine) -> tuple[Affine, Affine | None]:
    """Values and slopes of an activation; no slopes where they are 1."""
    if activation == ACTIVATIONS["identity"]:
        return at, None
    hull, shape = at.hull(), activation.interval
    if shape is None:
        value, slope = (Affine.of(part, 1) for part in _enclosed(activation, Interval.of(at.mid)))
        over, slopes = _enclosed(activation, hull)
        slope = Affine.of(slopes, 1)
        return (value + (at - at.mid) * slope).narrowed(over), slope
    value = transform(shape, at).narrowed(shape.value(hull))
    bounds, bent = shape.slope(hull), shape.slope_of(value)
    return value, Affine.of(bounds, 1) if bent is None else bent.narrowed(bounds)


def _floats(activation: Activation, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if activation == ACTIVATIONS["identity"]:
        return at, np.ones_like(at)
    shape, points = activation.interval, Interval.of(at)
    value, slope = _enclosed(activation, points) if shape is None else (shape.value(points), shape.slope(points))
    return 0.5 * value.low + 0.5 * value.high, 0.5 * slope.low + 0.5 * slope.high


def _enclosed(activation: Activation, at: Interval) -> tuple[Interval, Interval]:
    """By the activation's enclosure over balls."""
    assert activation.enclose is not None
    pairs = [activation.enclose(ball) for ball in _balls(at).ravel()]
    both = np.empty((2, len(pairs)), object)
    for k, pair in enumerate(pairs):
        both[:, k] = pair
    value, slope = (_ends(part.reshape(at.low.shape)) for part in both)
    return value, slope


def _balls(at: Interval) -> np.ndarray:
    balls = np.empty(at.low.shape, object)
    for k in np.ndindex(balls.shape):
        ends = (float(at.low[k]), float(at.high[k]))
        balls[k] = flint.arb(ends[0]).union(flint.arb(ends[1])) if np.isfinite(ends).all() else flint.arb("nan")
    return balls


def _ends(balls: np.ndarray) -> Interval:
    flat = [flint.arb(ball) for ball in balls.ravel()]  # a user's enclosure may hold plain numbers
    middle, radius = (
        np.reshape([float(part) for part in parts], balls.shape)
        for parts in ([ball.mid() for ball in flat], [ball.rad() for ball in flat])
    )
    radius = np.nextafter(radius * (1 + 1e-15), np.inf) + np.abs(middle) * 2.0**-52
    return Interval(np.nextafter(middle - radius, -np.inf), np.nextafter(middle + radius, np.inf))
