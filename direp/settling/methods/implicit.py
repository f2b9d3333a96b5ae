import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ...model import AbstractField
from ..linear import square
from .base import AbstractMethod

_NEWTON = 8  # Newton steps for the equation of one implicit step


class Implicit(AbstractMethod):
    r"""Implicit Euler: $s^+=\mathrm{clip}(s+h\,F(s^+))$, the resolvent of the field.

    Wherever a network contracts at a rate $c$, in whatever norm, such a step shrinks distances by $1/(1+hc)$ or more:
    no $h$ is too long. The equation of a step is solved by semi-smooth Newton, a dense linear system for every sample,
    up to a tenth of the step or to rounding. Then $h$ becomes ten times as long; if 8 Newton steps do not solve it, the
    step is taken back and $h$ becomes a tenth.

    For up to about 200 units. With long steps it also reaches equilibria that do not attract.

    Source: Rockafellar (1976) for resolvents, Qi & Sun (1993) for the solver; the control of the step is ours.
    """

    def begin(self, prepared, field, state):
        stiffness = jnp.abs(field.stiffness()).max() + jnp.finfo(state.dtype).tiny
        return jnp.full(state.shape[0], 1 / stiffness, state.dtype)

    def step(self, prepared, memory, field, state, flow):
        h = memory[:, None]
        noise = rounding(field, state)

        def rest(at: Array) -> tuple[Array, Array, Array]:
            """What is left of the equation (rate/time), which units no bound holds in it, and whether it is solved."""
            moves = field.flow(at, field.drive(at))
            aim = state + h * moves
            inside = field.clip(aim) == aim
            left = jnp.where(inside, moves - (at - state) / h, (field.clip(aim) - at) / h)
            doubt = noise + 4 * jnp.finfo(state.dtype).eps * jnp.abs(at) / h  # no state lies between two floats
            fine = jnp.abs(left) <= jnp.maximum(0.1 * jnp.abs(at - state) / h, doubt)
            return left, inside, fine.all(-1)

        def unsolved(carry) -> Array:
            count, _, (_, _, fine) = carry
            return (count < _NEWTON) & ~fine.all()

        def improve(carry):
            count, at, (left, inside, fine) = carry
            _, along = jax.linearize(lambda s: field.flow(s, field.drive(s)), at)
            eye = jnp.eye(at.shape[-1], dtype=at.dtype) / h[..., None]
            matrix = jnp.where(inside[..., None], eye - square(along, at), eye)
            size = jnp.abs(matrix).max(-1)  # leaks and weights may differ by many powers of ten
            change = jnp.linalg.solve(matrix / size[..., None], (left / size)[..., None])[..., 0]
            at = jnp.where(fine[:, None], at, at + change)
            return count + 1, at, rest(at)

        _, at, (_, _, fine) = jax.lax.while_loop(unsolved, improve, (jnp.array(0, jnp.int32), state, rest(state)))
        fine = fine & jnp.isfinite(at).all(-1)
        return jnp.where(fine[:, None], field.clip(at), state), jnp.where(fine, 10 * memory, memory / 10)


def rounding(field: AbstractField, state: Float[Array, "batch free"]) -> Float[Array, "batch free"]:
    """About how far rounding moves the field (rate/time), from the sizes of the terms of its sums."""
    network = field.network
    size = jax.tree.map(jnp.abs, network.weight)
    drive = jnp.abs(field.drive(state))
    terms = network.synapses.drive(size, jnp.abs(field.rate(state))) + drive
    gain = network.neuron.transfer.gain
    gain = gain if np.isfinite(gain) else 1.0
    return 4 * jnp.finfo(state.dtype).eps * (gain * terms + jnp.abs(field.total_leak * state))


def attracts(field: AbstractField, state: Float[Array, "batch free"]) -> Bool[Array, " batch"]:
    r"""Whether the field, to first order around equilibria, leads back to them: all eigenvalues of $J$ on the units
    that no bound holds have negative real parts, up to about $10^{-4}$ of the largest.

    From the powers $2^k$ of the Cayley transform $(1-\tau J)^{-1}(1+\tau J)$, whose eigenvalues then lie in the unit
    disc.
    """
    _, along = jax.linearize(lambda s: field.flow(s, field.drive(s)), state)
    active = ~field.held(state, field.flow(state, field.drive(state)))
    eye = jnp.eye(state.shape[-1], dtype=state.dtype)
    jacobian = jnp.where(active[:, :, None] & active[:, None, :], square(along, state), -eye)
    jacobian = _balanced(jacobian)
    jacobian = jacobian / jnp.abs(jacobian).sum(-1).max(-1)[:, None, None]
    power = jnp.linalg.solve(eye - jacobian, eye + jacobian)

    def twice(_, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        power, logarithm = carry
        size = jnp.maximum(jnp.abs(power).max((-1, -2)), jnp.finfo(power.dtype).tiny)
        power = power / size[:, None, None]
        return power @ power, 2 * (logarithm + jnp.log(size))

    def size(carry: tuple[Array, Array]) -> Array:
        power, logarithm = carry
        return logarithm + jnp.log(jnp.abs(power).max((-1, -2)) + jnp.finfo(power.dtype).tiny)

    half = jax.lax.fori_loop(0, 15, twice, (power, jnp.zeros(state.shape[0], state.dtype)))
    # From one power to the next: their sizes by themselves also hold how uneven the units are.
    return (size(twice(0, half)) - size(half)) / 2**15 <= 1e-4


def _balanced(square: Float[Array, "batch free free"]) -> Float[Array, "batch free free"]:
    """The same matrix in units of the states in which, off the diagonal, rows are about as large as columns.

    Source: Osborne (1960).
    """
    besides = jnp.abs(square) * (1 - jnp.eye(square.shape[-1], dtype=square.dtype))

    def sweep(_, scale: Array) -> Array:
        size = scale[:, :, None] * besides / scale[:, None, :]
        row, column = size.sum(2), size.sum(1)
        linked = (row > 0) & (column > 0)
        return scale * jnp.where(linked, column / jnp.where(linked, row, 1), 1) ** 0.25

    scale = jax.lax.fori_loop(0, 60, sweep, jnp.ones(square.shape[:2], square.dtype))
    return scale[:, :, None] * square / scale[:, None, :]
