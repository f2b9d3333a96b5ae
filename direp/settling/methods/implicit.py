import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...model import AbstractField
from ..linear import square
from .base import AbstractMethod

_NEWTON = 8  # Newton steps in which all units may change sides at once


class Implicit(AbstractMethod):
    r"""Implicit Euler: $s^+=\mathrm{clip}(s+h\,F(s^+))$, the resolvent of the field.

    Wherever a network contracts at a rate $c$, in whatever norm, such a step shrinks distances by $1/(1+hc)$ or more:
    no $h$ is too long. The equation of a step is solved by semi-smooth Newton, a dense linear system for every sample,
    up to a tenth of the step or to rounding. Then $h$ becomes ten times as long; if Newton does not solve it, the step
    is taken back and $h$ becomes a tenth.

    For up to about 200 units. With long steps it also reaches equilibria that do not attract.

    Source: Rockafellar (1976) for resolvents, Qi & Sun (1993) and Murty (1974) for the solver; the control of the step
    is ours.
    """

    def begin(self, prepared, field, state):
        stiffness = jnp.abs(field.stiffness()).max() + jnp.finfo(state.dtype).tiny
        return jnp.full(state.shape[0], 1 / stiffness, state.dtype)

    def step(self, prepared, memory, field, state, flow):
        h = memory[:, None]
        low, high = (field.clip(jnp.full_like(state, end)) for end in (-jnp.inf, jnp.inf))
        order = jnp.arange(state.shape[-1])
        most = _NEWTON + max(200, 3 * state.shape[-1]) if field.network.neuron.bounded else 4 * _NEWTON

        def doubt(at: Array) -> Array:
            numbers = jnp.finfo(at.dtype)
            least = numbers.tiny / numbers.eps  # the digits of what is smaller are lost to underflow
            spacing = 4 * numbers.eps * jnp.abs(at) + least
            return rounding(field, at) + spacing / h + least * (1 + jnp.abs(field.stiffness()))

        def measured(at: Array, side: Array) -> tuple[Array, Array, Array, Array]:
            """States, the side on which each unit is held (0: none), that on which it should be, and what is left of
            the equation (rate/time) with the former."""
            moves = field.flow(at, field.drive(at))
            aim, slack = state + h * moves, h * doubt(at)
            face = jnp.where(side < 0, low, high)
            # A free unit belongs to the face beyond which it is; one at a face stays, unless it is led away for sure.
            away = jnp.where(side < 0, aim > low + slack, aim < high - slack)
            led = jnp.where(side == 0, at, jnp.where(away, aim, jnp.where(side < 0, -jnp.inf, jnp.inf)))
            should = jnp.sign(led - field.clip(led)).astype(jnp.int32)
            return at, side, should, jnp.where(side == 0, moves - (at - state) / h, (face - at) / h)

        def open_(at: Array, side: Array, should: Array, left: Array) -> Array:
            """What is left, in units of what may be: above 1 where the equation is not solved."""
            share = jnp.abs(left) / jnp.maximum(0.1 * jnp.abs(at - state) / h, doubt(at))
            share = jnp.where(side == should, jnp.where(left == 0, 0, share), jnp.inf).max(-1)
            return jnp.where(jnp.isnan(share), jnp.inf, share)

        def solved(at: Array, side: Array, should: Array, left: Array) -> Array:
            return open_(at, side, should, left) <= 1

        def unsolved(carry) -> Array:
            count, found = carry
            return (count < most) & ((count == 0) | ~solved(*found).all())

        def improve(carry):
            count, (at, side, should, left) = carry
            done = (count > 0) & solved(at, side, should, left)[:, None]
            # All units that are on a wrong side change it at once; if that goes round, the last of them alone, and
            # from a face to none, which ends wherever every principal minor of 1/h - J is positive (Murty 1974).
            last = jnp.where(side != should, order, -1).max(-1, keepdims=True)
            alone = jnp.where(order != last, side, jnp.where(side == 0, should, 0))
            side = jnp.where(done, side, jnp.where(count >= _NEWTON, alone, should))
            moves, along = jax.linearize(lambda s: field.flow(s, field.drive(s)), at)
            # Held units go to their face exactly, apart from the system: others may multiply their rounding by much.
            loose, face = side == 0, jnp.where(side < 0, low, high)
            onto = jnp.where(loose, 0, face - at)
            left = jnp.where(loose, moves + along(onto) - (at - state) / h, 0)
            eye = jnp.eye(at.shape[-1], dtype=at.dtype) / h[..., None]
            matrix = jnp.where(loose[..., None] & loose[..., None, :], eye - square(along, at), eye)
            change = _solved(matrix, left)
            there = jnp.where(loose, at + change, face)
            whole = measured(jnp.where(done, at, there), side)
            if field.network.neuron.bounded:
                return count + 1, whole
            # Where the field is curved, a whole Newton step may lead away, again and again.
            best = whole
            for share in (0.3, 0.03):
                part = measured(jnp.where(done, at, at + share * change), side)
                better = (count >= 2 * _NEWTON) & (open_(*part) < open_(*best))
                best = jax.tree.map(lambda a, b: jnp.where(better[:, None], a, b), part, best)  # noqa: B023
            return count + 1, best

        held = field.held(state, flow)
        first = jnp.array(0, jnp.int32), measured(state, jnp.where(held, jnp.sign(flow), 0).astype(jnp.int32))
        _, found = jax.lax.while_loop(unsolved, improve, first)
        fine = solved(*found) & jnp.isfinite(found[0]).all(-1)
        at, side, *_ = found
        at = jnp.where(side == 0, field.clip(at), jnp.where(side < 0, low, high))
        return jnp.where(fine[:, None], at, state), jnp.where(fine, 10 * memory, memory / 10)


def _solved(matrix: Float[Array, "batch free free"], right: Float[Array, "batch free"]) -> Float[Array, "batch free"]:
    """A linear system whose unknowns may differ by many powers of ten: balanced first, so that its diagonal dominates
    if it does in any weights."""
    size = jnp.abs(jnp.diagonal(matrix, axis1=-2, axis2=-1))
    size = jnp.where(size > 0, size, jnp.abs(matrix).max(-1))
    scaled = matrix / size[..., None]
    off = jnp.where(jnp.eye(matrix.shape[-1], dtype=bool), 0, jnp.abs(scaled))
    least = jnp.finfo(matrix.dtype).tiny ** 0.25  # units run away where no circle of unknowns ties them together

    def balance(_, unit: Array) -> Array:
        # Osborne (1960), damped; where a row or a column has its diagonal alone, the other sums to 1.
        into, out = (off * unit[:, None, :]).sum(-1), (off / unit[:, :, None]).sum(-2)
        both = jnp.sqrt(jnp.where(into > 0, into, 1)) / jnp.sqrt(jnp.where(out > 0, out, 1))
        even = jnp.where(into > 0, jnp.where(out > 0, both, into), jnp.where(out > 0, 1 / out, unit))
        even = jnp.clip(jnp.sqrt(unit) * jnp.sqrt(even), least, 1 / least)
        return jnp.where(jnp.isfinite(even) & (even > 0), even, unit)

    unit = jax.lax.fori_loop(0, 20, balance, jnp.ones_like(right))
    balanced = scaled * unit[:, None, :] / unit[:, :, None]
    return unit * jnp.linalg.solve(balanced, (right / size / unit)[..., None])[..., 0]


def rounding(field: AbstractField, state: Float[Array, "batch free"]) -> Float[Array, "batch free"]:
    """About how far rounding moves the field (rate/time), from the sizes of the terms of its sums."""
    eps, drive = 4 * jnp.finfo(state.dtype).eps, field.drive(state)
    doubt = eps * field.sizes(state)
    spread = jnp.abs(field.flow(state, drive + doubt) - field.flow(state, drive - doubt))
    passed = jnp.abs(field.flow(state, drive) + field.total_leak * state)
    return spread + eps * (passed + jnp.abs(field.stiffness() * state))
