r"""How two gradients of one network compare: inner product and cosine over what is learned."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..model import Network, Parameters


def inner(network: Network, g: Parameters, h: Parameters, *, leak: bool = False) -> Float[Array, ""]:
    """The inner product over synapses and biases, and over leaks if they are learned."""
    pairs = zip(jax.tree.leaves(network.synapses.mask(g.weight)), jax.tree.leaves(h.weight), strict=True)
    total = jnp.stack([(a * b).sum() for a, b in pairs]).sum()
    if network.graph.bias:
        total = total + (g.bias * h.bias).sum()
    return total + (g.leak * h.leak).sum() if leak else total


def cosine(network: Network, g: Parameters, h: Parameters, *, leak: bool = False) -> Float[Array, ""]:
    """The cosine of the angle between two gradients; NaN if one of them is zero."""
    size = jnp.sqrt(inner(network, g, g, leak=leak)) * jnp.sqrt(inner(network, h, h, leak=leak))
    return inner(network, g, h, leak=leak) / jnp.where(size > 0, size, jnp.nan)
