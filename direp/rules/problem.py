"""What a rule is asked, what it may do to find out, and what it answers."""

import math
import operator
from collections.abc import Callable
from functools import reduce
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from ..model import AbstractField, AbstractWrapper, Network, NetworkField, Parameters
from ..settling import UNMOVED, AbstractMethod, AbstractStop, Observer, Settled, run
from .cost import AbstractCost
from .nudge import AbstractNudge, Nudged


class Estimate(eqx.Module):
    """What a rule makes of a batch.

    - `gradient`: of the mean cost over the samples that count, as the rule estimates it; descend it.
    - `loss`: the cost of every sample at its free state.
    - `free`, `nudged`: how every phase settled.
    - `used`: the samples that entered the gradient.
    - `fell_back`: whether a `Safeguard` left the batch to its fallback.
    """

    gradient: Parameters
    loss: Float[Array, " batch"]
    free: Settled
    nudged: tuple[Settled, ...]
    used: Bool[Array, " batch"]
    fell_back: Bool[Array, ""]

    def __repr__(self) -> str:
        shown = f"Estimate({math.prod(self.used.shape)} samples, free phase and {len(self.nudged)} nudged"
        if isinstance(self.used, Tracer):
            return f"{shown}, being traced)"
        mean = float(np.asarray(self.loss).mean()) if self.loss.size else math.nan
        return f"{shown}: {np.asarray(self.used).sum()} used, mean cost {mean:.3g})"


class Response(eqx.Module):
    """How a network answers a nudge: its nudged phases beside the free one, and what was observed along each."""

    nudge: AbstractNudge
    free: Settled
    phases: tuple[Settled, ...]
    observed: tuple[Any, ...]

    def difference(self, name: str) -> Float[Array, "batch free"]:
        r"""$\Delta q$ of the `state`, `rate` or `drive`."""
        return self.nudge.difference(getattr(self.free, name), [getattr(phase, name) for phase in self.phases])

    @property
    def settled(self) -> Bool[Array, " batch"]:
        """The samples all of whose phases settled, the free one included."""
        return all_settled(self.free, *self.phases)


_DIGITS = 32  # a response of less than so many units in the last place of its state is none


class Problem(eqx.Module):
    """A batch, the network with clamped inputs, and how to settle it; the free phase is settled already.

    A rule calls for further phases with `nudge` or `settle`, as many as it likes, and answers with `estimate`.

    - `field`: the network with clamped inputs. `y`: the targets. `free`: the free phase.
    - `valid`: `False` for samples that are padding and have no part in anything.
    - `update`: the number of the update, for schedules.
    - `keep`: phases keep their fields and starts in `Settled.error`, for the bounds that a certificate makes of them,
      and to follow them in time.
    - `weight`: how much each sample counts in the mean cost; `None`: all alike.
    """

    field: NetworkField
    y: Float[Array, "batch output"]
    cost: AbstractCost
    method: AbstractMethod
    stop: AbstractStop
    free: Settled
    valid: Bool[Array, " batch"]
    update: Int[Array, ""] | int
    on: Bool[Array, ""] | None = None
    record: Any = eqx.field(static=True, default=None)
    keep: bool = eqx.field(static=True, default=False)
    weight: Float[Array, " batch"] | None = None

    @property
    def network(self) -> Network:
        return self.field.network

    @property
    def x(self) -> Float[Array, "batch input"]:
        return self.field.x

    @property
    def used(self) -> Bool[Array, " batch"]:
        """The samples that count and whose free phase settled."""
        return self.free.converged & self.valid

    def settle(
        self,
        field: AbstractField,
        start: Array | None = None,
        *,
        method: AbstractMethod | None = None,
        stop: AbstractStop | None = None,
        observe: Observer | None = None,
        observed: Any = None,
    ) -> tuple[Settled, Any]:
        """Run a phase: settle any field, by default from the free equilibrium, with the method and the stop of all.

        `observe(observed, before, after, moved)` sees the states before and after every step and which samples moved
        (padding never does), and returns what it keeps; nothing stores the trajectory. Returns how the phase settled,
        and the last `observed`.
        """
        start = self.free.state if start is None else start
        if self.record is not None:
            self.record.watched |= observe is not None
            return self.record.settled(field, start), observed
        return self._run(field, start, observe, observed, method or self.method, stop or self.stop)

    def _run(
        self, field: AbstractField, start: Array, observe: Observer | None, observed: Any, method: AbstractMethod,
        stop: AbstractStop, drive: Array | None = None,
    ) -> tuple[Settled, Any]:  # fmt: skip
        drive = field.drive(start) if drive is None else drive
        runs = field if self.on is None else Paused(field, self.on)
        observer = None if observe is None else eqx.Partial(_observe, observe, self.valid)
        settled, last = run(runs, start, method, stop, observer=observer, observed=observed, drive=drive)
        settled = keep_field(settled, field, start) if self.keep else settled
        signal = field.signal(start)
        if signal is None or not stop.early or start is not self.free.state:
            return settled, last
        # An output that could answer has an error and none of these has moved: tolerance or rounding hide the response.
        eps, hidden = jnp.finfo(signal.error.dtype).eps, self.network.graph.hidden
        left = self._answers(-signal.strength * signal.error) & (jnp.abs(signal.error) > jnp.sqrt(eps))
        away = jnp.abs(settled.state - start)[:, hidden:] > _DIGITS * eps * jnp.abs(start)[:, hidden:]
        unmoved = settled.converged & left.any(-1) & ((settled.steps == 0) | ~(left & away).any(-1))
        unmoved = unmoved if self.on is None else unmoved & self.on
        return eqx.tree_at(lambda s: s.result, settled, jnp.where(unmoved, UNMOVED, settled.result)), last

    def _answers(self, current: Float[Array, "batch output"]) -> Bool[Array, "batch output"]:
        """Which outputs a current of this sign moves in the free phase: no bound holds them, nor are they flat."""
        hidden, field, state = self.network.graph.hidden, self.field, self.free.state
        some = jnp.pad(jnp.sign(current), ((0, 0), (hidden, 0))) * 1e-3 * (1 + jnp.abs(self.free.drive))
        flow = field.flow(state, self.free.drive + some)
        moves = ~field.held(state, flow) & (flow != field.flow(state, self.free.drive))
        return moves[:, hidden:]

    def nudge(
        self,
        nudge: AbstractNudge,
        key: PRNGKeyArray | None,
        *,
        make: Callable[[Array], AbstractField] | None = None,
        drive: Float[Array, "batch free"] | None = None,
        observe: Observer | None = None,
        observed: Any = None,
    ) -> Response:
        """Run the phases of a nudge, each from the free equilibrium. The key is for nudges with random choices; `make`
        gives the field of each strength where it is not the network with a current into its outputs, and `drive` the
        drive at the free equilibrium in these fields, if it is known."""
        now = nudge.now(self.update, key)
        if make is None:
            fields = now.fields(self.field, self.cost, self.y)
        else:
            fields = tuple(make(jnp.asarray(beta, self.y.dtype)) for beta in now.strengths)
        if self.record is not None:
            self.record.nudged(nudge, fields)
            self.record.watched |= observe is not None
            return Response(now, self.free, (self.free,) * len(fields), (observed,) * len(fields))
        free, how = self.free, (self.method, self.stop)
        # The drive at the start is that of the free phase, with the current of a nudge.
        drives = [f.added(free.drive, free.state) if isinstance(f, Nudged) else drive for f in fields]
        settled = [
            self._run(f, free.state, observe, observed, *how, drive) for f, drive in zip(fields, drives, strict=True)
        ]
        return Response(now, self.free, tuple(p for p, _ in settled), tuple(o for _, o in settled))

    def only_if(self, on: Bool[Array, ""]) -> "Problem":
        """The same problem, whose further phases take no step where `on` is false."""
        both = on if self.on is None else self.on & on
        return eqx.tree_at(lambda p: p.on, self, both, is_leaf=lambda leaf: leaf is None)

    def gradient(
        self, post: Float[Array, "batch free"], back: Float[Array, "batch free"], used: Bool[Array, " batch"]
    ) -> Parameters:
        """`Network.local_gradient` averaged over the samples that count (zero if there are none)."""
        # An unused sample may hold anything, even NaN: it is replaced, not multiplied by zero.
        count = self.count(used)
        post, back = (self.weigh(jnp.where(used[:, None], value, 0)) / count for value in (post, back))
        return self.network.local_gradient(self.x_of(used), jnp.where(used[:, None], self.free.state, 0), post, back)

    def x_of(self, used: Bool[Array, " batch"]) -> Float[Array, "batch input"]:
        """The inputs of some samples, zeros for all others, which may hold anything."""
        return jnp.where(used[:, None], self.x, 0)

    def count(self, used: Bool[Array, " batch"]) -> Float[Array, ""]:
        """How many samples count, at least 1; or the sum of their weights, where samples have some."""
        if self.weight is None:
            return jnp.maximum(used.sum(), 1).astype(self.y.dtype)
        total = jnp.where(used, self.weight, 0).sum()
        return jnp.where(total > 0, total, 1)

    def weigh(self, values: Float[Array, "batch ..."]) -> Float[Array, "batch ..."]:
        """What samples contribute, each times its weight."""
        if self.weight is None:
            return values
        return values * self.weight.reshape(-1, *(1,) * (values.ndim - 1))

    def estimate(
        self,
        gradient: Parameters,
        used: Bool[Array, " batch"],
        phases: tuple[Settled, ...] = (),
        fell_back: Bool[Array, ""] | bool = False,
    ) -> Estimate:
        """A rule's answer: a gradient to descend, the samples that entered it, and the phases that were run."""
        loss = self.cost.value(self.network.outputs(self.free.state), self.y)
        gradient = jax.lax.stop_gradient(gradient)
        return Estimate(gradient, loss, self.free, tuple(phases), used, jnp.asarray(fell_back))


class Kept(eqx.Module):
    """The field of a phase and where it started, in the place of `Settled.error`."""

    field: AbstractField
    start: Float[Array, "batch free"]


def keep_field(settled: Settled, field: AbstractField, start: Float[Array, "batch free"]) -> Settled:
    return eqx.tree_at(lambda s: s.error, settled, Kept(field, start), is_leaf=lambda leaf: leaf is None)


def all_settled(*phases: Settled) -> Bool[Array, " batch"]:
    """The samples that settled in every one of some phases."""
    return reduce(operator.and_, [phase.converged for phase in phases])


def _observe(observe: Observer, valid: Array, observed: Any, before: Array, after: Array, moved: Array) -> Any:
    return observe(observed, before, after, moved & valid)


class Paused(AbstractWrapper):
    """A field that stands still where it is not needed."""

    base: AbstractField
    on: Bool[Array, ""]

    def drive(self, state, into=None):
        return self.base.drive(state, into)

    def flow(self, state, drive):
        return jnp.where(self.on, self.base.flow(state, drive), 0)

    def take(self, rows):
        return Paused(self.base.take(rows), self.on)

    def stiffness(self):
        return self.base.stiffness()
