import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from ..model import AbstractField, AbstractWrapper, NetworkField
from ..settling import Settled
from .adjoint import AdjointField, state_gradient
from .alignment import inner
from .asymmetric import AsymEP
from .base import AbstractRule, Phases
from .cost import AbstractCost
from .response import limit_response

__all__ = ["Safeguard"]

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

    @property
    def plain_nudge(self):
        return self.rule.plain_nudge

    def check(self, network):
        self.rule.check(network)
        self.fallback.check(network)
        if network.graph.free > _LARGEST:
            raise ValueError(
                f"Safeguard tests networks of up to {_LARGEST} free units, this one has {network.graph.free}: "
                "use AsymEP() throughout"
            )

    def now(self, update, key):
        keys = (None, None) if key is None else jax.random.split(key)
        return Safeguard(self.rule.now(update, keys[0]), self.fallback.now(update, keys[1]))

    def fields(self, field, cost, y, free):
        fine = _descends(field, cost, y, free)
        phases = [Paused(phase, fine) for phase in self.rule.fields(field, cost, y, free)]
        return *phases, *(Paused(phase, ~fine) for phase in self.fallback.fields(field, cost, y, free))

    def estimate(self, phases):
        fine = ~self.fell_back(phases)
        first = len(self.rule.fields(phases.field, phases.cost, phases.y, phases.free))

        def part(which: slice) -> Phases:
            parts = (phases.nudged[which], phases.fields[which], phases.observed[which])
            return eqx.tree_at(lambda p: (p.nudged, p.fields, p.observed), phases, parts)

        one, one_used = self.rule.estimate(part(slice(0, first)))
        other, other_used = self.fallback.estimate(part(slice(first, None)))
        return jax.tree.map(lambda a, b: jnp.where(fine, a, b), one, other), jnp.where(fine, one_used, other_used)

    def fell_back(self, phases):
        last = phases.fields[-1]
        assert isinstance(last, Paused)  # one of the fallback's
        return last.on


class Paused(AbstractWrapper):
    """A field that stands still where it is not needed."""

    base: AbstractField
    on: Bool[Array, ""]

    def drive(self, state, into=None):
        return self.base.drive(state, into)

    def flow(self, state, drive):
        return jnp.where(self.on, self.base.flow(state, drive), 0)

    def take(self, rows):
        return Paused(self.base.take(rows), self.on)

    def stiffness(self):
        return self.base.stiffness()


def _descends(field: NetworkField, cost: AbstractCost, y: Array, free: Settled) -> Bool[Array, ""]:
    """Whether `Local`, in the limit of a small nudge, descends the cost of the settled samples of a batch."""
    network = field.network
    linear = AdjointField.at(field, free, state_gradient(network, cost, y, free.state))
    exact = linear.solve()
    told = limit_response(field, free, cost.gradient(network.outputs(free.state), y))
    true = (network.neuron.transfer_slope(free.drive) * exact, exact)

    def gradient(post: Array, back: Array):
        state, post, back = (jnp.where(free.converged[:, None], v, 0) for v in (free.state, post, back))
        return network.local_gradient(field.x, state, post, back)

    # Where nothing has a gradient, there is nothing that the rule could ascend.
    return inner(network, gradient(*told), gradient(*true)) >= 0
