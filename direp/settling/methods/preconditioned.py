import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..checks import check_count
from .base import AbstractMethod


def check_products(name: str, products: int | None) -> None:
    """Raise `ValueError` unless it is `None` or a count."""
    if products is not None:
        check_count(f"{name}(products", products, 0)


class Preconditioned(AbstractMethod):
    r"""$s_j\leftarrow\mathrm{clip}(s_j+h\,F_j(s)/D_j)$ with $D$ the stiffness ($\Lambda$, plus a nudge's own).

    Every unit moves on its own time scale. The step comes from the network: with $m$ a bound on the spectral radius of
    $A_{ij}=d_2|w_{ij}|/D_j$, $h=2/(1+\max(1,m))$. It is 1 wherever a diagonal criterion certifies contraction, and then
    every step contracts by $m$ in the matching norm. $m$ is the least of the largest row sum, the largest column sum
    and, after every of a few products with $A$, of $\max_j(vA)_j/v_j$ (Collatz and Wielandt).

    **Arguments:**

    - `products`: how many such products sharpen $m$; each costs as much as a step of one sample. `None`: a diagonal
      criterion is known to hold, and $h=1$.
    """

    products: int | None = eqx.field(static=True, default=0)

    def __check_init__(self):
        check_products("Preconditioned", self.products)

    def contracting(self):
        return Preconditioned(None)

    def prepare(self, field):
        if self.products is None:
            return 1 / field.stiffness()
        network = field.network
        synapses, weight = network.synapses, network.weight
        stiffness = field.stiffness()
        gain = network.neuron.gain
        gain = gain if np.isfinite(gain) else 1.0
        into = gain * synapses.incoming(weight, jnp.abs)
        outof = gain * synapses.outgoing(weight, jnp.abs)
        # A unit without positive total leak has no time scale of its own; its synapses give one.
        floor = 1e-3 * (jnp.abs(stiffness) + into + outof) + jnp.finfo(stiffness.dtype).tiny
        stiffness = jnp.where(stiffness > floor, stiffness, floor * 1e3)
        coupling = jnp.minimum((into / stiffness).max(), (outof / stiffness).max())
        size = jax.tree.map(jnp.abs, weight)
        vector = jnp.ones_like(stiffness)
        for _ in range(self.products):
            after = gain * synapses.drive(size, vector[None])[0] / stiffness
            coupling = jnp.minimum(coupling, (after / vector).max())
            # Half of the old vector stays: between layers the products alone would swing to and fro for ever. A unit
            # into which nothing comes must keep a positive entry, or the quotient says nothing.
            largest = jnp.maximum(after.max(), jnp.finfo(after.dtype).tiny)  # zero where no free unit sends to another
            vector = after / largest + vector / vector.max() + 1e-6
        return 2 / ((1 + jnp.maximum(1, coupling)) * stiffness)

    def step(self, prepared, memory, field, state, flow):
        return field.clip(state + prepared * flow), None
