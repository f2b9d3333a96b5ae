r"""What dies take from the margin that a control keeps: see [`Mismatch`][direp.certificates.Mismatch].

If every weight and leak may be off by a share $x$, what a unit has to spare in a diagonal norm falls by at most
$x(\lambda_i+T_i)$, with

| devices | $T_i$ |
|---|---|
| one for both, equal norm weights, outgoing sums | $\sum_k\lvert f(w_{ik})-d_2\lvert w_{ik}\rvert\rvert$ |
| else | $\sum_k\lvert f(w_{ik})\rvert+d_2\sum_k\lvert w_{ik}\rvert\eta_k/\eta_i$ |

The second bounds the first, so with norm weights that move a control keeps a little more than its criterion asks for.
In the Euclidean norm leaks and outflow count the same, $x(\lambda_i+\sum_k\lvert f(w_{ik})\rvert)$, and the matrix $B$
of the [inequality][direp.training] differs by one of norm at most $x\beta$, $\beta=\lVert\,\lvert B\rvert\,\rVert$:

| slopes | what $K$ gains at most |
|---|---|
| 1, in a box | $x\,\rho(\tfrac12(\lvert B\rvert+\lvert B\rvert^\top))$ |
| in $[0,d_2]$ | $(2\lVert B+\gamma\rVert x\beta+x^2\beta^2)/4\gamma$ |
| in $[-d_2,d_2]$ | $(2\lVert B\rVert x\beta+x^2\beta^2)/2\gamma$ |

as the difference of two squares. For a matrix without negative entries any $\eta>0$ bounds the norm:
$\max_i(\lvert B\rvert^\top\lvert B\rvert\eta)_i/\eta_i\ge\beta^2$.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..certificates.convergence import AbstractDiagonal, Mismatch
from ..model import Network
from ..model.synapses import Weight


def _together(criterion: AbstractDiagonal, network: Network, mismatch: Mismatch) -> bool:
    """Whether a synapse and its outflow, one device, are summed at one unit, with equal norm weights."""
    equal = type(criterion).initial is AbstractDiagonal.initial and not criterion.moves
    return network.neuron.outflow.active and mismatch.outflow == "shared" and equal and not criterion.incoming


def taken_by_dies(
    criterion: AbstractDiagonal,
    network: Network,
    norm: Float[Array, " free"],
    mismatch: Mismatch,
    feedback: Network | None = None,
) -> Float[Array, " free"]:
    """By how much the least margin of all dies is below that of the network; or below that of a phase which sends back
    by the weights of `feedback`, and in which units lose what they lose in the network."""
    outflow, gain = network.neuron.outflow, network.neuron.gain
    if feedback is None and _together(criterion, network, mismatch):
        apart = network.synapses.outgoing(network.weight, lambda w: jnp.abs(outflow.value(w) - gain * jnp.abs(w)))
    else:
        apart = criterion.spread(network if feedback is None else feedback, norm) + lost(network)
    return mismatch.share * (network.leak + apart)


def lost(network: Network) -> Float[Array, " free"]:
    r"""$\sum_k|f(w_{ik})|$: by how much the outflow of a unit's dies differs, a share."""
    outflow = network.neuron.outflow
    if not outflow.active:
        return jnp.zeros_like(network.leak)
    return network.synapses.outgoing(network.weight, lambda w: jnp.abs(outflow.value(w)))


def gradient_of_dies(
    criterion: AbstractDiagonal, network: Network, norm: Float[Array, " free"], leak: Float[Array, " free"],
    mismatch: Mismatch, held: Weight | None = None,
) -> Weight:  # fmt: skip
    r"""$x\sum_kg_k\,\partial T_k/\partial w_{ij}$ with $g$ = `leak`, as `AbstractDiagonal.weight_gradient`."""
    outflow, gain, leak = network.neuron.outflow, network.neuron.gain, mismatch.share * leak
    if held is None and _together(criterion, network, mismatch):

        def slope(w: Array) -> Array:
            apart = outflow.value(w) - gain * jnp.abs(w)
            return jnp.sign(apart) * (outflow.slope(w) - gain * jnp.sign(w))

        return network.synapses.outgoing_gradient(network.weight, leak, slope)
    spread = criterion.spread_gradient(network, norm, leak, held)
    if not outflow.active:
        return spread
    out = network.synapses.outgoing_gradient(
        network.weight, leak, lambda w: jnp.sign(outflow.value(w)) * outflow.slope(w)
    )
    return jax.tree.map(jnp.add, spread, out)


def norm_of_sizes(forth, back, like: Array, eps: float, steps: int = 3) -> Float[Array, ""]:
    r"""Above $\lVert A\rVert$ of a matrix without negative entries, given as products with it and its transpose."""
    eta = jnp.ones_like(like)
    for _ in range(steps):
        found = back(forth(eta))
        bound = (found / eta).max()
        eta = found + 1e-3 * found.mean() + jnp.finfo(like.dtype).tiny
        eta = eta / eta.mean()
    return jnp.sqrt(bound) * (1 + 8 * (like.shape[-1] + 8) * eps)
