"""Settling: one loop that brings a batch of states to equilibrium and reports, sample by sample, how it went."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..model import AbstractField
from .methods import AbstractMethod, Fallback
from .methods.implicit import rounding
from .result import CONVERGED, CYCLING, MAX_STEPS, NON_FINITE, Settled
from .stability import attracts
from .stop import PATIENCE, AbstractStop


class _Carry(eqx.Module):
    count: Array
    state: Array
    drive: Array
    flow: Array
    residual: Array
    steps: Array
    result: Array
    running: Array
    memory: Any  # of the method
    mark: Array  # an earlier state, renewed at powers of two, to recognise cycles (Brent)
    near: Array | None  # for how many steps a sample has met what is allowed, and come no closer to what is wanted
    ratio: Array | None  # the least that its residual has been, in units of what is wanted
    observed: Any

    def take(self, rows: Array) -> "_Carry":
        """Some samples; rows beyond the last stand for none."""
        few = jax.tree.map(lambda a: a[rows] if a.ndim else a, self)
        return eqx.tree_at(lambda c: c.running, few, few.running & (rows < len(self.running)))

    def put(self, rows: Array, few: "_Carry") -> "_Carry":
        """All samples again, those of `rows` as they have become."""
        return jax.tree.map(lambda a, b: a.at[rows].set(b, mode="drop") if a.ndim else b, self, few)


Observer = Callable[[Any, Array, Array, Array], Any]


# Where a batch of states holds this many numbers, samples that are still on their way go on by themselves as soon as
# they fit into this share of it.
_WORTH, _SHARE = 2**16, 4


def run(
    field: AbstractField,
    start: Float[Array, "batch free"],
    method: AbstractMethod,
    stop: AbstractStop,
    *,
    observer: Observer | None = None,
    observed: Any = None,
    signals: AbstractField | None = None,
    drive: Float[Array, "batch free"] | None = None,
) -> tuple[Settled, Any]:
    """The loop behind `settle`. `observer(observed, before, after, moved)` sees every step and keeps no trajectory.

    `signals`: the nudged field whose `signal` the tolerance follows; by default the field itself. `drive`: that at the
    start, if it is known.
    """
    signals = field if signals is None else signals
    if not isinstance(method, Fallback) or not stop.early or observer is not None:
        return _run(field, signals, start, drive, method, stop, observer, observed)
    first = dataclasses.replace(stop, max_steps=min(method.patience, stop.max_steps))
    settled, _ = _run(field, signals, start, drive, method.first, first, None, None)
    return _finish(field, signals, start, settled, method, stop), observed


def _finish(
    field: AbstractField, signals: AbstractField, start: Array, settled: Settled, method: Fallback, stop: AbstractStop
) -> Settled:
    """The samples that are not settled, a few at a time, by the second method of a `Fallback`."""
    batch = start.shape[0]
    last = dataclasses.replace(stop, max_steps=_SECOND)

    def few(carry: tuple[Settled, Array]) -> tuple[Settled, Array]:
        settled, open_ = carry
        rows = jnp.nonzero(open_, size=min(batch, _FEW), fill_value=batch)[0]
        some = field.take(rows)
        before = jax.tree.map(lambda leaf: leaf[rows], settled)
        to = signals.take(rows) if signals is not field else some
        # From the start again, if where the first method has led is no closer.
        at = start[rows]
        closer = before.residual < _measure(some, to, last, at, some.flow(at, some.drive(at))).residual
        at = jnp.where(closer[:, None], before.state, at)
        found, _ = _run(some, to, at, None, method.second, last, None, None)
        # Where the terms of a drive cancel, no state may have a smaller residual than their rounding.
        flow = some.flow(found.state, found.drive)
        lost = some.total_leak * found.state
        terms = jnp.maximum(jnp.abs(lost), jnp.abs(flow + lost))
        doubt = rounding(some, found.state)
        if not some.network.neuron.transfer.linear:  # a drive of unknown sign is no rest
            doubt = jnp.minimum(doubt, 10 * jnp.sqrt(jnp.finfo(terms.dtype).eps) * terms)
        allowed = jnp.maximum(last.allowed(terms, some.total_leak), doubt)
        moved = jnp.where(some.held(found.state, flow), 0, flow)
        fine = found.converged | (jnp.abs(moved) <= allowed).all(-1)
        fine = fine & attracts(some, found.state)
        found = dataclasses.replace(
            found, result=jnp.full_like(found.result, CONVERGED), steps=before.steps + found.steps
        )
        found = jax.tree.map(lambda a, b: jnp.where(fine.reshape(-1, *[1] * (a.ndim - 1)), a, b), found, before)
        put = jax.tree.map(lambda a, b: a.at[rows].set(b, mode="drop"), settled, found)
        return put, open_.at[rows].set(False, mode="drop")

    return jax.lax.while_loop(lambda carry: carry[1].any(), few, (settled, ~settled.converged))[0]


_FEW, _SECOND = 16, 100  # samples at a time, and steps of the second method


def _run(
    field: AbstractField,
    signals: AbstractField,
    start: Float[Array, "batch free"],
    drive: Float[Array, "batch free"] | None,
    method: AbstractMethod,
    stop: AbstractStop,
    observer: Observer | None,
    observed: Any,
) -> tuple[Settled, Any]:
    # The barrier keeps the compiler from evaluating products with a constant start itself, which can take seconds.
    start = jax.lax.optimization_barrier(field.clip(start))
    prepared = method.prepare(field)
    drive = field.drive(start) if drive is None else drive
    flow = field.flow(start, drive)
    measured = _measure(field, signals, stop, start, flow)
    residual, finite, met = measured.residual, measured.finite, measured.met
    first = _Carry(
        jnp.array(0, jnp.int32),
        start,
        drive,
        flow,
        residual,
        jnp.zeros(start.shape[0], jnp.int32),
        jnp.where(finite, jnp.where(met, CONVERGED, MAX_STEPS), NON_FINITE).astype(jnp.int32),
        finite & ~met if stop.early else finite,
        method.begin(prepared, field, start),
        start,
        None if measured.near is None else measured.near.astype(jnp.int32),
        measured.ratio,
        observed,
    )

    def iterate(field: AbstractField, signals: AbstractField, carry: _Carry, least: int) -> _Carry:
        """Until at most `least` samples are on their way."""

        def unfinished(carry: _Carry) -> Array:
            more = carry.count < stop.max_steps
            # A fixed number of steps does not depend on the samples: seeds side by side then share one plain loop.
            return more & (carry.running.sum() > least) if stop.early else more

        step = lambda c: _advance(field, signals, method, prepared, stop, observer, c)  # noqa: E731
        return jax.lax.while_loop(unfinished, step, carry)

    def finish(field: AbstractField, signals: AbstractField, carry: _Carry) -> _Carry:
        batch = carry.state.shape[0]
        few = batch // _SHARE
        if observer is not None or not stop.early or carry.state.size < _WORTH or few < 1:
            return iterate(field, signals, carry, 0)
        carry = iterate(field, signals, carry, few)
        rows = jnp.nonzero(carry.running, size=few, fill_value=batch)[0]
        some = field.take(rows)
        rest = finish(some, some if signals is field else signals.take(rows), carry.take(rows))
        return carry.put(rows, rest)

    last = finish(field, signals, first)
    if not stop.early:
        measured = _measure(field, signals, stop, last.state, last.flow)
        result = jnp.where(last.result == NON_FINITE, NON_FINITE, jnp.where(measured.met, CONVERGED, MAX_STEPS))
        last = eqx.tree_at(lambda c: (c.residual, c.result), last, (measured.residual, result.astype(jnp.int32)))
    settled = Settled(last.state, field.rate(last.state), last.drive, last.residual, last.steps, last.result)
    return settled, last.observed


class _Measured(NamedTuple):
    residual: Array  # of every sample, the largest of its units
    finite: Array
    met: Array  # whether all that is wanted is met
    near: Array | None  # whether all that is allowed is met; `None` where nothing more is wanted
    ratio: Array | None  # the largest residual in units of what is wanted
    others: Any


def _measure(
    field: AbstractField, signals: AbstractField, stop: AbstractStop, state: Array, flow: Array, *others: Array
) -> _Measured:
    """How far every sample is from rest, and the largest entries of `others`."""
    leak = field.total_leak
    lost = leak * state
    terms = jnp.maximum(jnp.abs(lost), jnp.abs(flow + lost))
    moved = jnp.abs(jnp.where(field.held(state, flow), 0, flow))
    allowed = stop.allowed(terms, leak)
    signal = signals.signal(state)
    if signal is None or not stop.early:
        residual, above, *rest = _largest(moved, moved - allowed, *others)
        near = ratio = None
    else:
        wanted = stop.wanted(allowed, terms, leak, signal.size)
        share = moved / jnp.maximum(wanted, jnp.finfo(moved.dtype).tiny)
        residual, most, ratio, *rest = _largest(moved, moved - allowed, share, *others)
        near, above = most <= 0, ratio - 1
    finite = jnp.isfinite(residual)
    met = (above <= 0) & finite
    near = near if near is None else near & finite
    return _Measured(jnp.where(finite, residual, jnp.inf), finite, met, near, ratio, rest)


def _largest(*rows: Array) -> tuple[Array, ...]:
    """The largest entry of every row of several tables, in a single pass; NaN if there is one."""
    none = tuple(jnp.array(-jnp.inf, table.dtype) for table in rows)
    return jax.lax.reduce(rows, none, lambda a, b: tuple(map(jnp.maximum, a, b)), (1,))


def _advance(
    field: AbstractField,
    signals: AbstractField,
    method: AbstractMethod,
    prepared: Any,
    stop: AbstractStop,
    observer: Observer | None,
    carry: _Carry,
) -> _Carry:
    """One step of all samples that are on their way."""
    proposed, memory, *known = method.step(prepared, carry.memory, field, carry.state, carry.flow)
    # A sample that has stopped keeps its state, and so its drive and flow.
    proposed = jnp.where(carry.running[:, None], proposed, carry.state)
    drive = jnp.where(carry.running[:, None], known[0], carry.drive) if known else field.drive(proposed)
    flow = field.flow(proposed, drive)
    residual, mark, count, near, ratio = carry.residual, carry.mark, carry.count + 1, carry.near, carry.ratio
    met = cycling = jnp.zeros_like(carry.running)
    if not stop.early:
        finite = jnp.isfinite(flow).all(-1)
    else:
        away = jnp.abs(proposed - carry.state), jnp.abs(proposed - mark)
        # With a memory, a state that comes back may go on elsewhere: no proof of a cycle.
        measured = _measure(field, signals, stop, proposed, flow, *(away if memory is None else ()))
        residual, finite, met = measured.residual, measured.finite, measured.met
        if near is not None and ratio is not None and measured.near is not None and measured.ratio is not None:
            # Rounding ends what steps can do before what is wanted is reached.
            closer = measured.ratio < (1 - 1e-4) * ratio
            near = jnp.where(measured.near & ~closer, near + 1, 0)
            ratio = jnp.where(closer, measured.ratio, ratio)
            met = met | (near > PATIENCE)
        if memory is None:
            # A sample whose state returns to an earlier one closer than this share of its step can no longer converge
            # within max_steps: the loss of amplitude in a period is too small.
            length, back = measured.others
            cycling = ~met & (back <= 0.1 / stop.max_steps * length) & (length > 0) & (carry.count > 2)
            if near is not None and measured.near is not None:
                met, cycling = met | (cycling & measured.near), cycling & ~measured.near

    # A state that overflows in the very next products has diverged already.
    broken, moved = carry.running & ~finite, carry.running & finite
    state = jax.lax.cond(broken.any(), lambda: jnp.where(broken[:, None], carry.state, proposed), lambda: proposed)
    if stop.early and memory is None:
        mark = jnp.where((count & (count - 1)) == 0, state, mark)
    result = jnp.where(met, CONVERGED, jnp.where(cycling, CYCLING, MAX_STEPS)).astype(jnp.int32)
    result = jnp.where(moved, result, carry.result)
    observed = carry.observed
    if observer is not None:
        observed = observer(observed, carry.state, state, moved)
    return _Carry(
        count,
        state,
        drive,
        flow,
        jnp.where(moved, residual, carry.residual),
        carry.steps + moved.astype(jnp.int32),
        jnp.where(broken, NON_FINITE, result).astype(jnp.int32),
        moved & ~(met | cycling),
        memory,
        mark,
        near,
        ratio,
        observed,
    )
