import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..model import AbstractField, Parameters
from ..model.synapses import Weight
from ..settling import NON_FINITE
from .base import AbstractNudgedRule
from .nudge import AbstractNudge, Centred, OneSided

__all__ = ["Trajectory"]


class Trajectory(AbstractNudgedRule):
    r"""The rule of DEEP, summed along the nudged phase and divided by its number of steps $T$:

    $$\Delta w_{ij}\propto\frac1T\sum_ts_i(t{+}1)\,\big[\beta_0s_j(t{+}1)+\beta_1(s_j(t{+}1)-s_j(t))\big]$$

    Nothing of the trajectory is stored. It has no term for the outflow, and no guarantee: it is the baseline. Every
    sample whose phases stay finite counts, settled or not, because the published algorithm runs for a fixed time.

    **Arguments:**

    - `nudge`: `OneSided(beta)`, or the number; 10 in the publication.
    - `hebbian`, `differential`: $\beta_0$ and $\beta_1$; 0 and 1 in the publication.

    Source: Farinha, Pequito, Santos & Figueiredo, ESANN 2020, arXiv:2006.08798.
    """

    nudge: AbstractNudge
    hebbian: float | Array = 0.0
    differential: float | Array = 1.0

    def __init__(self, nudge: AbstractNudge | float = 10.0, *, hebbian: float = 0.0, differential: float = 1.0):
        self.nudge = nudge if isinstance(nudge, AbstractNudge) else OneSided(nudge)
        if Centred in (type(self.nudge), getattr(self.nudge, "kind", None)):
            raise ValueError("Trajectory(nudge=...) must have one nudged phase: use OneSided(beta)")
        self.hebbian, self.differential = hebbian, differential

    def fields(self, field, cost, y, free) -> tuple[AbstractField, ...]:
        return self.nudge.fields(field, cost, y)

    def begin(self, network, x):
        between = jax.tree.map(jnp.zeros_like, network.weight.recurrent)
        return between, jnp.zeros((len(x), network.graph.free), network.dtype), jnp.array(0, jnp.int32)

    def observe(self, observed, network, x, before, after, moved):
        between, changes, steps = observed
        change = self.hebbian * after + self.differential * (after - before)
        change = jnp.where(moved[:, None], change, 0)
        # Clamped inputs do not change: what they saw is summed up in the end.
        now = network.synapses.outer(x, after, change).recurrent
        return jax.tree.map(jnp.add, between, now), changes + change, steps + 1

    def counts(self, free, nudged):
        return (free.result != NON_FINITE) & (nudged[0].result != NON_FINITE)

    def estimate(self, phases):
        between, changes, steps = phases.observed[0]
        synapses, x = phases.network.synapses, phases.x
        weight = Weight(synapses.outer(x, jnp.zeros_like(changes), changes).input, between)
        bias = changes.sum(0)
        # The sum holds every sample up to the step at which it diverged, if it did: then none of it is to be trusted.
        trusted = phases.used.any() & self.counts(phases.free, phases.nudged).all()
        count = jnp.maximum(steps, 1) * jnp.maximum(phases.used.sum(), 1).astype(jnp.int32)
        scale = jnp.where(trusted, -1 / count.astype(bias.dtype), 0)
        weight = jax.tree.map(lambda total: scale * total, weight)
        bias = scale * bias if phases.network.graph.bias else jnp.zeros_like(bias)
        return Parameters(weight, bias, jnp.zeros_like(phases.network.leak)), phases.used & trusted
