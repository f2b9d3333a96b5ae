import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from .adjoint import AdjointField, limit_response, state_gradient
from .alignment import inner
from .asymmetric import AsymEP
from .base import AbstractRule
from .problem import Problem

_LARGEST = 128  # free units: the test solves dense systems


class Safeguard(AbstractRule):
    r"""`rule` on the batches where it is known to descend, `fallback` elsewhere; `Estimate.fell_back` says which.

    The test is that of the rule `Local` in the limit of a small nudge, for the errors of the batch and with its cross
    terms: $\sum_{nm}a_n^\top K_{nm}\hat a_m>0$, from the Jacobian at the free phase (up to 128 free units). Phases that
    are not needed take no step.

    **Arguments:**

    - `rule`: such as `Local()`. Its own nudge may be strong, which the test does not see.
    - `fallback`: by default `AsymEP()`.
    """

    rule: AbstractRule
    fallback: AbstractRule = AsymEP()

    def estimate(self, problem, key):
        if problem.network.graph.free > _LARGEST:
            raise ValueError(
                f"Safeguard tests networks of up to {_LARGEST} free units, this one has {problem.network.graph.free}: "
                "use AsymEP() throughout"
            )
        keys = (None, None) if key is None else jax.random.split(key)
        fine = _descends(problem)
        one = self.rule.estimate(problem.only_if(fine), keys[0])
        other = self.fallback.estimate(problem.only_if(~fine), keys[1])

        def either(a, b):
            return jax.tree.map(lambda a, b: jnp.where(fine, a, b), a, b)

        # What each of the two learns itself stands still while the other is asked; `estimate` lets companions follow.
        own = jax.tree.map(lambda g: jnp.where(fine, g, 0), one.gradient.rule)
        own += jax.tree.map(lambda g: jnp.where(fine, 0, g), other.gradient.rule)
        gradient = either(one.gradient._replace(rule=()), other.gradient._replace(rule=()))._replace(rule=own)
        fell_back = jnp.where(fine, one.fell_back, True)
        return problem.estimate(gradient, either(one.used, other.used), (*one.nudged, *other.nudged), fell_back)


def _descends(problem: Problem) -> Bool[Array, ""]:
    """Whether `Local`, in the limit of a small nudge, descends the cost of the settled samples of a batch."""
    network, field, cost, y, free = problem.network, problem.field, problem.cost, problem.y, problem.free
    linear = AdjointField.at(field, free, state_gradient(network, cost, y, free.state))
    exact = linear.solve()
    local = limit_response(field, free, cost.gradient(network.outputs(free.state), y))
    true = (network.neuron.transfer_slope(free.drive) * exact, exact)

    def gradient(post: Array, back: Array):
        state, post, back = (jnp.where(problem.used[:, None], v, 0) for v in (free.state, post, back))
        post, back = problem.weigh(post), problem.weigh(back)
        return network.local_gradient(problem.x_of(problem.used), state, post, back)

    # Where nothing has a gradient, there is nothing that the rule could ascend.
    return inner(network, gradient(*local), gradient(*true)) >= 0
