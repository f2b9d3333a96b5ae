import jax
import jax.numpy as jnp

from ..model import AbstractField, Parameters
from ..model.synapses import Weight
from .base import AbstractNudgedRule
from .nudge import AbstractNudge, OneSided

__all__ = ["SymmetricEP"]


class SymmetricEP(AbstractNudgedRule):
    r"""Equilibrium propagation as for an energy: both directions of a pair learn the same, from products of rates,

    $$\Delta w_{ij}\propto\tfrac12\Delta(r_ir_j)-\tfrac12\kappa_{ij}(s_i\hat a_i+s_j\hat a_j),\qquad
    \Delta b_j\propto\Delta r_j,\qquad\Delta\lambda_i\propto-s_i\hat a_i,$$

    and $x_i\,\Delta r_j$ on synapses from inputs; $\hat a$ as in `Local`. Symmetric weights stay symmetric, and then it
    is the projection of the exact gradient on symmetric weights, as $\beta\to0$. On directed weights it is a heuristic.

    Source: Scellier & Bengio (2017), arXiv:1602.05179; the term for the outflow is ours.
    """

    nudge: AbstractNudge

    def __init__(self, nudge: AbstractNudge | float = 1.0):
        self.nudge = nudge if isinstance(nudge, AbstractNudge) else OneSided(nudge)

    def fields(self, field, cost, y, free) -> tuple[AbstractField, ...]:
        return self.nudge.fields(field, cost, y)

    def estimate(self, phases):
        network, x, synapses = phases.network, phases.x, phases.network.synapses
        neuron, leak = network.neuron, phases.field.total_leak
        used = phases.used[:, None]
        count = jnp.maximum(phases.used.sum(), 1).astype(x.dtype)
        d_rate = self.difference("rate", phases)
        back = jnp.where(used, neuron.response(phases.free.state, d_rate, self.difference("drive", phases), leak), 0)

        def product(phase) -> Weight:
            rate = jnp.where(used, phase.rate, 0)
            both = synapses.outer(x, rate, rate)
            return Weight(both.input, jax.tree.map(lambda w: w / 2, both.recurrent))

        nudged = [product(phase) for phase in phases.nudged]
        said = jax.tree.map(
            lambda free, *phase: -self.nudge.difference(free, phase) / count, product(phases.free), *nudged
        )
        lost = (jnp.where(used, phases.free.state, 0) * back).sum(0) / count
        if neuron.outflow.active:
            kappa = synapses.per_source(network.weight, jnp.ones_like(lost), neuron.outflow.slope)
            none = jnp.zeros((1, network.graph.inputs), lost.dtype)
            into = synapses.outer(none, jnp.ones_like(lost)[None], lost[None])
            outof = synapses.outer(none, lost[None], jnp.ones_like(lost)[None])
            said = jax.tree.map(lambda w, k, i, o: w + k * (i + o) / 2, said, kappa, into, outof)
        bias = -jnp.where(used, d_rate, 0).sum(0) / count
        return Parameters(said, bias if network.graph.bias else jnp.zeros_like(bias), lost), phases.used
