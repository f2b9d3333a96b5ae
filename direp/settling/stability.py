"""Whether a field leads back to an equilibrium or away from it, to first order: by the eigenvalues of its Jacobian."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Array, Bool, Float

from ..model import AbstractField
from .linear import square


def _jacobian(field: AbstractField, state: Float[Array, "batch free"]) -> Float[Array, "batch free free"]:
    """That of the units that no bound holds; a unit that is held has row and column of -1."""
    _, along = jax.linearize(lambda s: field.flow(s, field.drive(s)), state)
    active = ~field.held(state, field.flow(state, field.drive(state)))
    eye = jnp.eye(state.shape[-1], dtype=state.dtype)
    return jnp.where(active[:, :, None] & active[:, None, :], square(along, state), -eye)


def attracts(field: AbstractField, state: Float[Array, "batch free"]) -> Bool[Array, " batch"]:
    r"""Whether the field, to first order around equilibria, leads back to them: all eigenvalues of $J$ on the units
    that no bound holds have negative real parts, up to rounding.

    From the powers $2^k$ of the Cayley transform $(1-\tau J)^{-1}(1+\tau J)$, whose eigenvalues then lie in the unit
    disc.
    """
    eye = jnp.eye(state.shape[-1], dtype=state.dtype)

    def balance(_, jacobian: Array) -> Array:
        """One sweep of Osborne's (1960), damped: uneven weights would drown in rounding."""
        size = jnp.abs(jacobian) + jnp.finfo(jacobian.dtype).tiny * eye
        ratio = (size.sum(-1) / size.sum(-2)) ** 0.25
        return jacobian * (ratio[:, None, :] / ratio[:, :, None])

    jacobian = jax.lax.fori_loop(0, 40, balance, _jacobian(field, state))
    jacobian = jacobian / jnp.abs(jacobian).sum(-1).max(-1)[:, None, None]
    power = jnp.linalg.solve(eye - jacobian, eye + jacobian)

    def twice(_, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        power, logarithm = carry
        size = jnp.maximum(jnp.abs(power).max((-1, -2)), jnp.finfo(power.dtype).tiny)
        power = power / size[:, None, None]
        return power @ power, 2 * (logarithm + jnp.log(size))

    power, logarithm = jax.lax.fori_loop(0, 16, twice, (power, jnp.zeros(state.shape[0], state.dtype)))
    growth = (logarithm + jnp.log(jnp.abs(power).max((-1, -2)) + jnp.finfo(power.dtype).tiny)) / 2**16
    return growth <= 64 * state.shape[-1] * jnp.finfo(state.dtype).eps


def repels(field: AbstractField, state: Float[Array, "batch free"]) -> np.ndarray:
    """On the host: at which equilibria an eigenvalue of the Jacobian has a positive real part, by more than rounding of
    the Jacobian's entries, each by itself, can explain."""
    jacobian, eps = np.asarray(_jacobian(field, state), np.float64), float(jnp.finfo(state.dtype).eps)
    found = []
    for square_ in jacobian:
        values, left, right = (np.asarray(part) for part in scipy.linalg.eig(square_, left=True))
        size = (np.abs(left) * (np.abs(square_) @ np.abs(right))).sum(0)
        doubt = 8 * eps * size / np.maximum(np.abs((left.conj() * right).sum(0)), np.finfo(np.float64).tiny)
        found.append((np.real(values) > doubt).any())
    return np.array(found, bool)
