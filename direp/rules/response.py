r"""What the neurons answer to a nudge so small that only its first order counts: $\Delta q$ as $\beta\to0$, densely."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..model import NetworkField
from ..settling import Settled

__all__ = ["jacobian", "limit_response"]


def jacobian(field: NetworkField, free: Settled) -> Float[Array, "batch free free"]:
    r"""$J=\partial F/\partial s$ at the free equilibrium of every sample, `[n, j, i]` $=\partial F_j/\partial s_i$.

    Rows and columns of units that a bound holds are those of $-I$.
    """
    network, neuron = field.network, field.network.neuron
    recurrent = network.matrix[network.graph.inputs :]
    gain, slope = neuron.transfer_slope(free.drive), neuron.rate_slope(free.state)
    square = gain[:, :, None] * recurrent.T * slope[:, None, :] - jnp.diag(field.total_leak)
    active = ~field.held(free.state, field.flow(free.state, free.drive))
    both = active[:, :, None] & active[:, None, :]
    return jnp.where(both, square, -jnp.eye(network.graph.free, dtype=square.dtype))


def limit_response(
    field: NetworkField, free: Settled, current: Float[Array, "batch output"]
) -> tuple[Float[Array, "batch free"], Float[Array, "batch free"]]:
    r"""`post` and `back` of the rule `Local` as $\beta\to0$, for $\partial C/\partial r_o$ = `current`:
    $J\Delta s=\varphi'\odot\partial_rC$, $\Delta r=\psi'\Delta s$, $\Delta u=W^\top\Delta r-\partial_rC$.
    """
    network, neuron = field.network, field.network.neuron
    active = ~field.held(free.state, field.flow(free.state, free.drive))
    pull = jnp.zeros_like(free.state).at[:, network.graph.hidden :].set(current)
    right = jnp.where(active, neuron.transfer_slope(free.drive) * pull, 0)
    moved = jnp.linalg.solve(jacobian(field, free), right[..., None])[..., 0]
    d_rate = neuron.rate_slope(free.state) * moved
    d_drive = network.synapses.drive(network.weight, d_rate) - pull
    return d_rate, neuron.response(free.state, d_rate, d_drive, field.total_leak)
