import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..model.synapses import Weight
from ..settling import check_count, check_number, linearise
from .base import AbstractRule
from .problem import Problem


class Homeostasis(AbstractRule):
    r"""Any rule, plus a penalty on the antisymmetric part of the Jacobian: the gradient of

    $$\tfrac12\,\mathrm{strength}\cdot\mathbb{E}_\varepsilon\big[\lVert J\varepsilon\rVert^2-\varepsilon^\top
    J^2\varepsilon\big]=\mathrm{strength}\cdot\lVert J_A\rVert_F^2$$

    at the free equilibrium, averaged over the samples; $\varepsilon$ are random signs, drawn anew for every update, and
    slopes count as constant. Two products with the weights a probe, no Jacobian. Where the weights of a pair differ
    less, two-phase rules come closer to the gradient; a synapse without partner is pulled towards zero.

    **Arguments:**

    - `rule`: to which the penalty is added.
    - `strength`: of the penalty, against the mean cost.
    - `probes`: random vectors $\varepsilon$ for every sample.

    Source: Laborieux & Zenke (2024), arXiv:2309.02214.
    """

    rule: AbstractRule
    strength: float | Array = 0.01
    probes: int = eqx.field(static=True, default=1)

    def __check_init__(self):
        check_number("Homeostasis(strength", self.strength, least=0)
        check_count("Homeostasis(probes", self.probes)

    def estimate(self, problem, key):
        if key is None:
            raise ValueError("Homeostasis draws random probes: give estimate(key=...) a JAX random key")
        inner, own = jax.random.split(key)
        found = self.rule.estimate(problem, inner)
        penalty = jax.grad(lambda weight: self.penalty(weight, problem, found.used, own))(problem.network.weight)
        penalty, strength = problem.network.synapses.mask(penalty), self.strength
        weight = jax.tree.map(lambda w, p: w + jnp.asarray(strength, w.dtype) * p, found.gradient.weight, penalty)
        return eqx.tree_at(lambda e: e.gradient.weight, found, weight)

    def penalty(self, weight: Weight, problem: Problem, used: Array, key: PRNGKeyArray) -> Float[Array, ""]:
        r"""$\tfrac12(\lVert J\varepsilon\rVert^2-\varepsilon^\top J^2\varepsilon)$, mean of probes and samples."""
        state, drive = (jnp.where(used[:, None], v, 0) for v in (problem.free.state, problem.free.drive))
        linear = jax.lax.stop_gradient(linearise(problem.field, state, drive))
        linear = eqx.tree_at(lambda linear: linear.network.weight, linear, weight)
        active = used[:, None] & linear.active

        def forth(vector: Array) -> Array:
            # The diagonal of J drops out of J_A.
            return jnp.where(active, linear.send(jnp.where(active, vector, 0)), 0)

        def one(key: Array) -> Array:
            probe = jax.random.rademacher(key, state.shape, state.dtype)
            once = forth(probe)
            return problem.weigh(once * once - jnp.where(active, probe, 0) * forth(once)).sum()

        total = jax.vmap(one)(jax.random.split(key, self.probes)).mean()
        return total / (2 * problem.count(used))


def without_penalty(rule: AbstractRule) -> AbstractRule:
    """The rule without what it, or a rule within it, adds to the estimate of the cost's gradient."""
    is_penalty = lambda node: isinstance(node, Homeostasis)  # noqa: E731
    bare = lambda node: without_penalty(node.rule) if is_penalty(node) else node  # noqa: E731
    return jax.tree.map(bare, rule, is_leaf=is_penalty)
