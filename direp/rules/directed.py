r"""How directed a network is, and how far its feedback is from its weights: measured, layout by layout, not assumed."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..model import Network
from ..model.synapses import Weight


def antisymmetry(network: Network) -> Float[Array, ""]:
    r"""$\lVert W_A\rVert_F/\lVert W\rVert_F$ of the weights between free units: 0 if symmetric, $\sqrt{1/2}$ if no
    synapse has a partner or partners are unrelated, 1 if skew; NaN without weights."""
    synapses, weight = network.synapses, network.weight
    if synapses.shared:
        return _by_products(network)
    weight = Weight(jax.tree.map(jnp.zeros_like, weight.input), weight.recurrent)
    back = synapses.reverse(weight)
    # Entries of the transpose that have no synapse are as large as those of the synapses without a partner.
    has = synapses.reverse(synapses.mask(jax.tree.map(jnp.ones_like, weight)))
    apart = _squares(jax.tree.map(lambda w, b, h: jnp.where(h > 0, w - b, jnp.sqrt(2.0) * w), weight, back, has))
    size = _squares(weight)
    return jnp.sqrt(apart / jnp.where(size > 0, size, jnp.nan)) / 2


def _by_products(network: Network) -> Array:
    r"""The same, unit by unit: $4\lVert W_A\rVert^2=\sum_i\lVert W^\top e_i-We_i\rVert^2$."""
    synapses, weight, free = network.synapses, network.weight, network.graph.free

    def one(unit: Array) -> tuple[Array, Array]:
        at = (jnp.arange(free) == unit)[None].astype(network.dtype)
        sent, got = synapses.drive(weight, at), synapses.back(weight, at)
        return (sent * sent).sum(), ((sent - got) ** 2).sum()

    size, apart = (each.sum() for each in jax.lax.map(one, jnp.arange(free), batch_size=64))
    return jnp.sqrt(apart / jnp.where(size > 0, size, jnp.nan)) / 2


def agreement(network: Network, recurrent: Any) -> Float[Array, ""]:
    """The cosine of the angle between weights and strengths of feedback, arranged like `Weight.recurrent`."""
    pairs = zip(jax.tree.leaves(network.weight.recurrent), jax.tree.leaves(recurrent), strict=True)
    inner = jnp.stack([(w * m).sum() for w, m in pairs]).sum()
    size = jnp.sqrt(_squares(network.weight.recurrent)) * jnp.sqrt(_squares(recurrent))
    return inner / jnp.where(size > 0, size, jnp.nan)


def _squares(tree: Any) -> Float[Array, ""]:
    return jnp.stack([(leaf * leaf).sum() for leaf in jax.tree.leaves(tree)]).sum()
