import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..model import Parameters, Weight
from .base import AbstractRule
from .nudge import AbstractNudge, OneSided, as_nudge


class SymmetricEP(AbstractRule):
    r"""Equilibrium propagation as for an energy: both directions of a pair learn the same, from products of rates,

    $$\Delta w_{ij}\propto\tfrac12\Delta(r_ir_j)-\tfrac12\kappa_{ij}(s_i\hat a_i+s_j\hat a_j),\qquad
    \Delta b_j\propto\Delta r_j,\qquad\Delta\lambda_i\propto-s_i\hat a_i,$$

    and $x_i\,\Delta r_j$ on synapses from inputs; $\hat a$ as in `Local`. Symmetric weights stay symmetric, and then it
    is the projection of the exact gradient on symmetric weights, as $\beta\to0$. On directed weights it is a heuristic.

    Source: Scellier & Bengio (2017), arXiv:1602.05179; the term for the outflow is ours.
    """

    nudge: AbstractNudge

    def __init__(self, nudge: AbstractNudge | float | None = None, *, beta: float | Array | None = None):
        self.nudge = as_nudge("SymmetricEP", nudge, beta, OneSided(1.0))

    def estimate(self, problem, key):
        network, synapses, free = problem.network, problem.network.synapses, problem.free
        neuron, leak = network.neuron, problem.field.total_leak
        response = problem.nudge(self.nudge, key)
        settled = response.settled & problem.valid
        used, count, x = settled[:, None], problem.count(settled), problem.x_of(settled)
        d_rate = response.difference("rate")
        back = jnp.where(used, neuron.response(free.state, d_rate, response.difference("drive"), leak), 0)

        def product(phase) -> Weight:
            rate = jnp.where(used, phase.rate, 0)
            both = synapses.outer(x, rate, problem.weigh(rate))
            return Weight(both.input, jax.tree.map(lambda w: w / 2, both.recurrent))

        nudged = [product(phase) for phase in response.phases]
        weight = jax.tree.map(
            lambda free, *phase: -response.nudge.difference(free, phase) / count, product(free), *nudged
        )
        lost = problem.weigh(jnp.where(used, free.state, 0) * back).sum(0) / count
        if neuron.outflow.active:
            kappa = jax.tree.map(neuron.outflow.slope, network.weight)
            none = jnp.zeros((1, network.graph.inputs), lost.dtype)
            into = synapses.outer(none, jnp.ones_like(lost)[None], lost[None])
            outof = synapses.outer(none, lost[None], jnp.ones_like(lost)[None])
            weight = jax.tree.map(lambda w, k, i, o: w + k * (i + o) / 2, weight, kappa, into, outof)
        bias = -problem.weigh(jnp.where(used, d_rate, 0)).sum(0) / count
        bias = bias if network.graph.bias else jnp.zeros_like(bias)
        return problem.estimate(Parameters(weight, bias, lost), settled, response.phases)
