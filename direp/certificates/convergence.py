r"""Does a network settle? Criteria on its weights that prove it contracts.

Whatever the state, $J_{ii}\le-\Lambda_i$ and $|J_{ki}|\le d_2|w_{ik}|$, so every column of the Jacobian has
$\mu_1$ at most $-\Lambda_i+d_2\sum_k|w_{ik}|$. If all are at most $-c<0$, then for each input there is one
equilibrium, and every two trajectories approach each other at least like $e^{-ct}$ in $\ell_1$.

Source: contraction theory in non-Euclidean norms (Davydov, Jafarpour, Proskurnikov & Bullo, arXiv:2110.08298); the
criterion with outflow is derived here.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..network import Network
from ..neuron import Projected
from ..nudge import AbstractCost, AbstractNudge, SquaredError
from .certificate import Certificate

__all__ = ["certify", "contraction_margin"]

_CLAIM = "contracts to one equilibrium for each input, from every start"


def contraction_margin(network: Network) -> Float[Array, " free"]:
    r"""$\lambda_i+\kappa\,\mathrm{out}_i-d_2\sum_k|w_{ik}|$ for every free unit: the local leak criterion ($\ell_1$).

    A neuron can compute its own from its own leak and outgoing synapses. The smallest is the certified rate, if it
    is positive. For `Projected` with signed outflow it reads $\lambda_i-2\sum_kw_{ik}^-$, twice the neuron's own
    outgoing inhibition. Plain floating point: `certify` is rounding-safe.
    """
    spread = network.synapses.outgoing(network.weight, jnp.abs)
    return network.total_leak() - network.neuron.activation.gain * spread


def certify(network: Network, *, nudge: AbstractNudge | None = None, cost: AbstractCost | None = None) -> Certificate:
    r"""Prove from the weights that a network settles, by the local leak criterion.

    **Arguments:**

    - `nudge`, `cost`: cover the nudged phases too. A positive nudge of the squared error changes nothing; a negative
      one, and cross-entropy with some neurons, eats into the margin of the outputs.

    A verdict `"proved"` holds for the weights as stored, not only up to rounding: sums are taken in 64 bits and their
    worst rounding error is subtracted. Raises `ValueError` if the network holds NaN or infinite numbers.
    """
    neuron, graph = network.neuron, network.graph
    for name, tree in (("weight", network.weight), ("bias", network.bias), ("leak", network.leak)):
        if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)):
            raise ValueError(
                f"certify: the network's {name} holds NaN or infinite entries; nothing can be proved of it"
            )
    criterion, norm = "local leak", "l1"
    gain = neuron.activation.gain
    if not math.isfinite(gain):
        reason = f"Activation {neuron.activation.name!r} carries no slope bounds: give it slope=(d1, d2)."
        return Certificate(_CLAIM, "undecided", criterion, norm, -math.inf, {}, 0.0, (), reason)

    slope = neuron.activation.slope
    assert slope is not None
    margin, stiffness = _margin_from_below(network)
    largest = float(stiffness.max())
    phases = {"free": float(margin.min())}
    cost = SquaredError() if cost is None else cost
    for beta in () if nudge is None else nudge.strengths:
        lowered = margin.copy()
        pushed = float(np.nextafter(cost.feedback(float(beta), slope), math.inf)) * (1 + 1e-12)
        lowered[graph.hidden :] -= max(pushed, 0.0) if pushed > 1e-300 else 0.0
        phases[f"beta={float(beta):+g}"] = float(lowered.min())
        steepened = float(stiffness[graph.hidden :].max()) + abs(float(beta)) * cost.curvature * gain * (1 + 1e-12)
        largest = max(largest, steepened)

    rate = min(phases.values())
    assumptions = (
        "the weights, biases and leaks stay as they are while it settles",
        f"slopes of {neuron.activation.name} stay within {neuron.activation.slope}",
        "the inputs are clamped",
    )
    if rate > 0:
        return Certificate(
            _CLAIM, "proved", criterion, norm, rate, phases, float(np.nextafter(1 / largest, 0)), assumptions
        )
    worst = np.argsort(margin)[: min(3, (margin <= 0).sum())]
    blame = tuple(graph.name(int(k)) for k in worst)
    if phases["free"] > 0:
        phase = min(phases, key=lambda name: phases[name])
        reason = (
            f"The free phase contracts, but phase {phase} is not covered: weaken the nudge or raise the outputs' leaks."
        )
    else:
        singular = isinstance(neuron, Projected) and neuron.outflow == "signed" and not np.any(np.asarray(network.leak))
        lead = "Leaks are zero, and with signed outflow the Jacobian is then singular whatever the weights. " * singular
        need = -float(margin.min())
        reason = f"{lead}Unit {blame[0]} needs {need:.3g} more leak than it has; sufficient, not necessary."
    return Certificate(_CLAIM, "undecided", criterion, norm, rate, phases, 0.0, assumptions, reason, blame)


def _margin_from_below(network: Network) -> tuple[np.ndarray, np.ndarray]:
    """A lower bound of every unit's exact margin, and an upper bound of its exact total leak."""
    with jax.enable_x64(True):
        wide = network.replace(jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf, np.float64)), network.parameters))
        margin, total = np.asarray(contraction_margin(wide)), np.asarray(wide.total_leak())
        spread = np.asarray(wide.synapses.outgoing(wide.weight, jnp.abs))
        size = np.asarray(wide.leak) + (1 + network.neuron.activation.gain) * spread
    # n terms summed in any order err by at most n eps times the sum of their sizes (Higham, 2002, section 4.2);
    # the factor 4 covers the few products and the rounding of this bound itself.
    error = 4 * (network.graph.free + 8) * np.finfo(np.float64).eps * size
    return margin - error, total + error
