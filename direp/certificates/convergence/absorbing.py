r"""Where every trajectory ends up, for inputs in a box: a smaller and smaller box of states, and how long that takes.

Let $x\in X$ and let a trajectory of $\dot s_i=-\Lambda_is_i+\varphi(u_i)$, $u=W^\top\psi(s)+b+W_{in}^\top x$, be in
the box $B$ from time $T$ on. Interval arithmetic gives $u\in U=b+W_{in}^\top X+W^\top\psi(B)$ and
$\varphi(u)\in V=\varphi(U)$ from then on. With $\Lambda_i>0$, comparison with the linear equation gives

$$s_i(T+t)-\max V_i/\Lambda_i\le e^{-\Lambda_it}\big(\max B_i-\max V_i/\Lambda_i\big),$$

so for any $\varepsilon>0$ the trajectory is below $\max V_i/\Lambda_i+\varepsilon_i$ after the time
$\Lambda_i^{-1}\log\big((\max B_i-\max V_i/\Lambda_i)/\varepsilon_i\big)$, and never again above it; likewise from
below. Where the neuron has a box, its projection keeps both inequalities, if the ends are clipped to the faces; and
where $\varphi(u_i)-\Lambda_is_i\ge\delta>0$ for all of $B$, the unit is at the upper face after the time
$(\mathrm{high}-\min B_i)/\delta$ and is held there from then on, whatever the sign of $\Lambda_i$. In each case the
next box is $B'\subset B$, entered in a known time. On every new face the flow points inwards for all states of $B'$,
and it does not point outwards on the old ones by induction, so every $B'$ is *forward invariant*: what is in it stays
in it.

The first $B$ is the neuron's box, or all of space (out of which a bounded activation leads in one step), or the least
box around the given starts that a growing iteration finds to be forward invariant: one with
$V_i/\Lambda_i\subset B_i$, so that the flow on its faces does not point outwards.

All numbers are those stored, and every operation rounds outwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse

from ...arithmetic import Interval, down, up
from ...model import Network
from .between import faces_of
from .enclosure import enclosure
from .system import System

_EPS = float(np.finfo(np.float64).eps)
_TINY = float(np.finfo(np.float64).tiny)
_SWEEPS, _GROWTHS = 200, 40
_ROOM, _STILL = 1e-4, 1e-3  # $\varepsilon$, and a narrowing that is not worth its time, as shares of a width


@dataclass(frozen=True)
class Absorbed:
    """Boxes that trajectories end up in, a row for each sample (or one for all inputs).

    - `box`: of states, forward invariant; infinite ends where nothing bounds a unit. `drive`: of $u$ over that box.
    - `first`: the box that `enters` counts from: that of the starts, or the first one with finite ends.
    - `enters`: after this time (one number a row) every trajectory from `first` is in `box` for good.
    - `held`: which units a face of the neuron's box holds for good, once the trajectory is there.
    """

    box: Interval
    drive: Interval
    first: Interval
    enters: np.ndarray
    held: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence["Absorbed"]) -> "Absorbed":
        """The rows of all."""

        def boxes(name: str) -> Interval:
            return Interval(
                *(np.concatenate([getattr(getattr(p, name), end) for p in parts]) for end in ("low", "high"))
            )

        enters, held = (np.concatenate([getattr(p, name) for p in parts]) for name in ("enters", "held"))
        return cls(boxes("box"), boxes("drive"), boxes("first"), enters, held)


class Field:
    """The field of a network over boxes of states and inputs."""

    def __init__(self, network: Network, system: System, x: Interval):
        self.rate, self.transfer = (enclosure(a, network.dtype) for a in (network.neuron.rate, network.neuron.transfer))
        self.weight = system.weight
        bias = np.asarray(network.bias, np.float64)
        self.fixed = sums(from_inputs(network), x) + Interval.of(bias)
        self.faces = faces_of(network.neuron, network.dtype)
        lost = 4 * (system.longest + 8) * _EPS * (system.leak + system.sent) if network.neuron.outflow.active else 0.0
        total = system.total_leak
        self.total = Interval(down(total - lost), up(total + lost)) if np.any(lost) else Interval.of(total)

    @cached_property
    def leaks(self) -> np.ndarray:
        """Which units have a total leak that is certainly above 0."""
        return self.total.low > 0

    def drive(self, box: Interval) -> Interval:
        """$U$ over boxes of states."""
        return self.fixed + sums(self.weight, self.rate(box)[0])

    def aims(self, drive: Interval) -> tuple[Interval, Interval]:
        r"""$V$ and $V/\Lambda$, whose ends are infinite where $\Lambda$ may be 0 or below, and are clipped to the
        faces."""
        passed, _ = self.transfer(drive)
        total = Interval(np.where(self.leaks, self.total.low, 1.0), np.where(self.leaks, self.total.high, 1.0))
        goal = passed / total
        goal = Interval(np.where(self.leaks, goal.low, -np.inf), np.where(self.leaks, goal.high, np.inf))
        return passed, goal if self.faces is None else goal.clip(*self.faces)


def absorb(network: Network, system: System, x: Interval, start: Interval | None) -> Absorbed:
    """The boxes that trajectories end up in for inputs in `x` (a row of intervals each), from everywhere or from
    `start` (one row)."""
    with np.errstate(all="ignore"):  # infinite ends
        field = Field(network, system, x)
        shape = (len(x.low), system.size)
        ends = (-np.inf, np.inf) if field.faces is None else field.faces
        box = Interval(np.full(shape, ends[0]), np.full(shape, ends[1]))
        if start is not None:
            box = _grown(field, Interval(*(np.broadcast_to(e, shape).copy() for e in (start.low, start.high))), box)
        return _narrowed(field, box)


def _grown(field: Field, box: Interval, whole: Interval) -> Interval:
    """The box of the starts, grown until the flow on its faces does not point outwards; `whole` in rows where that
    does not end."""
    for count in range(_GROWTHS):
        further = 1.1 if count < _GROWTHS // 2 else 2.0
        _, goal = field.aims(field.drive(box))
        below, above = goal.low < box.low, goal.high > box.high
        open_rows = (below | above).any(1)
        if not open_rows.any():
            return box
        # A little further than asked for, so that it ends.
        low = np.where(below, box.low - further * (box.low - goal.low), box.low)
        high = np.where(above, box.high + further * (goal.high - box.high), box.high)
        box = Interval(low, high) if field.faces is None else Interval(low, high).clip(*field.faces)
        box = Interval(np.where(np.isnan(box.low), -np.inf, box.low), np.where(np.isnan(box.high), np.inf, box.high))
    _, goal = field.aims(field.drive(box))
    closed = np.all((goal.low >= box.low) & (goal.high <= box.high), axis=1, keepdims=True)
    return Interval(np.where(closed, box.low, whole.low), np.where(closed, box.high, whole.high))


def _narrowed(field: Field, box: Interval) -> Absorbed:
    rows, size = box.low.shape
    enters, held, first = np.zeros(rows), np.zeros((rows, size), bool), box
    room = np.full((rows, size), np.nan)
    drive = field.drive(box)
    for _ in range(_SWEEPS):
        passed, goal = field.aims(drive)
        wide = np.where(np.isfinite(box.width()), np.maximum(box.width(), goal.width()), goal.width())
        fresh = np.isnan(room) & np.isfinite(wide) & np.isfinite(goal.size())
        room = np.where(fresh, _ROOM * wide + 1e-6 * goal.size() + 1e-12, room)
        least, most = down(goal.low - room), up(goal.high + room)
        if field.faces is not None:
            least, most = np.clip(least, *field.faces), np.clip(most, *field.faces)
        worth = np.maximum(_STILL * box.width(), room)
        rises = (least > box.low) & ((least - box.low > worth) | np.isinf(box.low))
        falls = (most < box.high) & ((box.high - most > worth) | np.isinf(box.high))
        new = Interval(np.where(rises, least, box.low), np.where(falls, most, box.high))
        gaps = np.where(rises, (goal.low - box.low) / room, 1.0), np.where(falls, (box.high - goal.high) / room, 1.0)
        time = np.log(np.maximum(np.maximum(*gaps), 1.0)) / field.total.low
        time = np.where(rises | falls, time, 0.0)
        new, faced, caught = _caught(field, box, new, passed, held)
        time, held = np.where(caught, faced, time), held | caught
        longest = time.max(1)
        if not (rises | falls | caught).any():
            break
        # From infinite ends it takes a time that depends on the start: what follows counts from here.
        finite = np.isfinite(new.low).all(1) & np.isfinite(new.high).all(1)
        now = np.asarray(finite & ~(np.isfinite(box.low).all(1) & np.isfinite(box.high).all(1)))
        first = Interval(*(np.where(now[:, None], a, b) for a, b in ((new.low, first.low), (new.high, first.high))))
        enters = np.where(now, 0.0, enters + np.where(np.isfinite(longest), longest, 0.0))
        box = new
        drive = drive.meet(field.drive(box))
    return Absorbed(box, drive, first, enters * (1 + 1e-9), held)


def _caught(
    field: Field, box: Interval, new: Interval, passed: Interval, held: np.ndarray
) -> tuple[Interval, np.ndarray, np.ndarray]:
    """Units that reach a face and stay there, the time it takes, and the box with them at it."""
    none = np.zeros(box.low.shape, bool)
    if field.faces is None:
        return new, np.zeros(box.low.shape), none
    lost, (low, high) = field.total * box, field.faces
    up_by, down_by = down(passed.low - lost.high), down(lost.low - passed.high)
    upper = (up_by > 0) & (box.high == high) & ~held
    lower = (down_by > 0) & (box.low == low) & ~held
    time = np.where(upper, (high - box.low) / up_by, np.where(lower, (box.high - low) / down_by, 0.0))
    caught = (upper | lower) & np.isfinite(time)
    at = np.where(upper, high, low)
    return Interval(np.where(caught, at, new.low), np.where(caught, at, new.high)), time, caught


def sums(weight: Any, at: Interval) -> Interval:
    r"""$\sum_iw_{ij}a_i$ for rows of intervals $a$; all numbers in rows that are not bounded.

    By middles and radii: two products of matrices. n terms err by at most n eps times the sum of their sizes (Higham
    2002, section 4.2); the factor 4 covers the rest.
    """
    middle = 0.5 * at.low + 0.5 * at.high
    radius = up(np.maximum(up(at.high - middle), up(middle - at.low)))
    bounded = np.all(np.isfinite(middle) & np.isfinite(radius), axis=1, keepdims=True)
    middle, radius = (np.where(bounded, part, 0.0) for part in (middle, radius))
    size = abs(weight)
    centre, spread = (np.asarray((matrix.T @ part.T).T) for matrix, part in ((weight, middle), (size, radius)))
    reach = np.asarray((size.T @ np.abs(middle).T).T) + spread
    lost = 4 * (weight.shape[0] + 8) * (_EPS * reach + _TINY)
    low, high = down(centre - (spread + lost)), up(centre + (spread + lost))
    return Interval(np.where(bounded, low, -np.inf), np.where(bounded, high, np.inf))


def from_inputs(network: Network) -> Any:
    """The weights from inputs to free units, in 64 bits: inputs x free."""
    graph, values = network.graph, np.asarray(network.strengths(), np.float64)
    many = np.searchsorted(graph.source, graph.inputs)
    places = graph.source[:many], graph.target[:many] - graph.inputs
    return scipy.sparse.csr_array((values[:many], places), shape=(graph.inputs, graph.free))
