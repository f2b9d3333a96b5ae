r"""The derivative of an equilibrium, forward and in reverse, without the steps that led to it.

At an equilibrium $F_A(s,\theta)=0$ on the units $A$ that no bound holds, so $J_{AA}\,ds_A=-d_\theta F_A$; held units
do not move. In reverse the same system is solved with $J_{AA}^\top$: its solution is the adjoint.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..model import AbstractField
from .linear import square
from .loop import run
from .methods import AbstractMethod
from .result import Settled
from .stop import AbstractStop

_DENSE = 128  # free units up to which the system is solved directly, sample by sample


def equilibrium(
    field: AbstractField, start: Float[Array, "batch free"], method: AbstractMethod, stop: AbstractStop
) -> Settled:
    """Settle; `state`, `rate` and `drive` can be differentiated with respect to everything in the field."""
    return Settled(*_found(field, start, method, stop))


@eqx.filter_custom_jvp
def _found(field, start, method, stop) -> tuple[Array, ...]:
    settled, _ = run(field, start, method, stop)
    return settled.state, settled.rate, settled.drive, settled.residual, settled.steps, settled.result


@_found.def_jvp
def _(primals, tangents):
    field, (moved, *_) = primals[0], tangents  # the equilibrium does not depend on where, how and until when it began
    found = _found(*primals)
    settled = Settled(*found)
    state = settled.state
    active = ~field.held(state, field.flow(state, settled.drive))

    def flow(field: AbstractField, state: Array) -> Array:
        return field.flow(state, field.drive(state))

    def jacobian(change: Array) -> Array:
        return jnp.where(active, along(jnp.where(active, change, 0)), -change)

    def solve(matrix, right: Array) -> Array:
        small = right.shape[-1] <= _DENSE
        directly = lambda: jnp.linalg.solve(square(matrix, right), right[..., None])[..., 0]  # noqa: E731
        change = directly() if small else _by_steps(matrix, right, field.stiffness())
        largest = jnp.abs(right).max(-1)
        left = jnp.abs(matrix(change) - right).max(-1)
        solved = settled.converged & (left <= jnp.sqrt(jnp.finfo(right.dtype).eps) * largest)
        # A sample without equilibrium, or with a singular Jacobian there, has no derivative.
        missing = jnp.where(largest == 0, 0, jnp.nan)
        return jnp.where(solved[:, None], change, missing[:, None])

    _, along = jax.linearize(lambda state: flow(field, state), state)
    _, forced = eqx.filter_jvp(lambda field: flow(field, state), (field,), (moved,))
    d_state = jax.lax.custom_linear_solve(jacobian, jnp.where(active, -forced, 0), solve, transpose_solve=solve)
    read = lambda field, state: (field.rate(state), field.drive(state))  # noqa: E731
    _, (d_rate, d_drive) = eqx.filter_jvp(read, (field, state), (moved, d_state))
    none = np.zeros(settled.steps.shape, jax.dtypes.float0)
    return found, (d_state, d_rate, d_drive, jnp.zeros_like(settled.residual), none, none)


def _by_steps(matrix, right: Float[Array, "batch free"], scale: Float[Array, " free"]) -> Float[Array, "batch free"]:
    """BiCGStab for every sample by itself, without forming the matrix, whose diagonal is about `-scale`.

    Source: van der Vorst (1992).
    """
    tiny = jnp.finfo(right.dtype).tiny
    goal = 10 * jnp.finfo(right.dtype).eps * jnp.linalg.norm(right, axis=-1, keepdims=True)

    def dot(a: Array, b: Array) -> Array:
        return (a * b).sum(-1, keepdims=True)

    def ratio(a: Array, b: Array) -> Array:
        return a / jnp.where(jnp.abs(b) > tiny, b, jnp.inf)

    def product(v: Array) -> Array:
        return matrix(-v / scale)

    def unsolved(carry) -> Array:
        count, _, rest, *_ = carry
        return (count < 10 * right.shape[-1]) & (jnp.linalg.norm(rest, axis=-1, keepdims=True) > goal).any()

    def step(carry):
        count, found, rest, way, rho = carry
        open_ = jnp.linalg.norm(rest, axis=-1, keepdims=True) > goal
        moved = product(way)
        length = ratio(rho, dot(right, moved))
        half = rest - length * moved
        turned = product(half)
        weight = ratio(dot(turned, half), dot(turned, turned))
        after = half - weight * turned
        fresh = dot(right, after)
        towards = after + ratio(fresh * length, rho * weight) * (way - weight * moved)
        keep = lambda new, old: jnp.where(open_, new, old)  # noqa: E731
        return (
            count + 1,
            keep(found + length * way + weight * half, found),
            keep(after, rest),
            keep(towards, way),
            keep(fresh, rho),
        )

    first = (jnp.array(0, jnp.int32), jnp.zeros_like(right), right, right, dot(right, right))
    return -jax.lax.while_loop(unsolved, step, first)[1] / scale
