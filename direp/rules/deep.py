import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..model import Parameters, Weight
from ..settling import NON_FINITE
from .base import AbstractRule
from .nudge import AbstractNudge, OneSided, as_nudge


class Trajectory(AbstractRule):
    r"""The rule of DEEP, summed along the nudged phase and divided by its number of steps $T$:

    $$\Delta w_{ij}\propto\frac1T\sum_ts_i(t{+}1)\,\big[\beta_0s_j(t{+}1)+\beta_1(s_j(t{+}1)-s_j(t))\big]$$

    Nothing of the trajectory is stored. It has no term for the outflow, and no guarantee: it is the baseline. Every
    sample whose phases stay finite counts, settled or not, because the published algorithm runs for a fixed time.

    **Arguments:**

    - `nudge`, `beta`: as in `Local`, with one phase an update; by default `OneSided(10.0)`, as in the publication.
    - `hebbian`, `differential`: $\beta_0$ and $\beta_1$; 0 and 1 in the publication.

    Source: Farinha, Pequito, Santos & Figueiredo, ESANN 2020, arXiv:2006.08798.
    """

    nudge: AbstractNudge
    hebbian: float | Array = 0.0
    differential: float | Array = 1.0

    def __init__(
        self, nudge: AbstractNudge | float | None = None, *, beta: float | Array | None = None,
        hebbian: float = 0.0, differential: float = 1.0,
    ):  # fmt: skip
        self.nudge = as_nudge("Trajectory", nudge, beta, OneSided(10.0))
        if len(self.nudge.now(0, jax.random.key(0)).strengths) != 1:
            raise ValueError("Trajectory(nudge=...) must have one nudged phase: use OneSided(beta)")
        self.hebbian, self.differential = hebbian, differential

    def estimate(self, problem, key):
        network, synapses = problem.network, problem.network.synapses
        begun = (problem.free.result != NON_FINITE) & problem.valid
        x = problem.x_of(begun)

        def observe(observed, before, after, moved):
            between, changes, steps = observed
            change = self.hebbian * after + self.differential * (after - before)
            change = problem.weigh(jnp.where((moved & begun)[:, None], change, 0))
            # Clamped inputs do not change: their part is added at the end.
            now = synapses.outer(x, after, change).recurrent
            return jax.tree.map(jnp.add, between, now), changes + change, steps + 1

        between = jax.tree.map(jnp.zeros_like, network.weight.recurrent)
        first = between, jnp.zeros((len(x), network.graph.free), network.dtype), jnp.array(0, jnp.int32)
        response = problem.nudge(self.nudge, key, observe=observe, observed=first)
        between, changes, steps = response.observed[0]
        used = begun & (response.phases[0].result != NON_FINITE)
        weight = Weight(synapses.outer(x, jnp.zeros_like(changes), changes).input, between)
        bias = changes.sum(0)
        # The sum holds every sample up to the step at which it diverged, if it did: then none of it is to be trusted.
        trusted = used.any() & ~(begun & ~used & (response.phases[0].steps > 0)).any()
        count = jnp.maximum(steps, 1).astype(bias.dtype) * problem.count(used)
        scale = jnp.where(trusted, -1 / count, 0)
        weight = jax.tree.map(lambda total: scale * total, weight)
        bias = scale * bias if network.graph.bias else jnp.zeros_like(bias)
        gradient = Parameters(weight, bias, jnp.zeros_like(network.leak))
        return problem.estimate(gradient, used & trusted, response.phases)
