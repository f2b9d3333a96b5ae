import jax
import jax.numpy as jnp

from ..linear import square
from .accelerated import AbstractAccelerated


class Newton(AbstractAccelerated):
    r"""Semi-smooth Newton: $J_{AA}\,\delta=-F_A$ on the units $A$ that no bound holds, then clip.

    For networks of up to about 64 units: a dense solve for every sample and step. A `Projected` network is linear
    wherever the same units are held, so once these are found a single step is exact. A step that does not lead closer
    is taken back in favour of `Preconditioned`'s.
    """

    def blank(self, state):
        return jnp.zeros(state.shape[0], bool)

    def leap(self, own, field, state, flow, plain):
        free = state.shape[-1]
        _, along = jax.linearize(lambda s: field.flow(s, field.drive(s)), state)
        active = ~field.held(state, flow)
        both = active[:, :, None] & active[:, None, :]
        jacobian = jnp.where(both, square(along, state), -jnp.eye(free, dtype=state.dtype))
        change = jnp.linalg.solve(jacobian, jnp.where(active, -flow, 0)[..., None])[..., 0]
        return state + change, own
