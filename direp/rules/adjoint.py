import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..model import AbstractField, Network, NetworkField
from ..settling import Preconditioned, Settled, Tolerance, run
from .base import AbstractRule, needs_derivative
from .cost import AbstractCost

__all__ = ["Adjoint", "AdjointField", "state_gradient"]


class Adjoint(AbstractRule):
    r"""The exact gradient at the equilibrium reached: $-\partial C/\partial\theta=a^\top\partial_\theta F$ with
    $J^\top a=\partial_sC$ over the units that no bound holds back. Not local: it is the oracle.

    **Arguments:**

    - `dense_up_to`: free units up to which the system is solved directly, sample by sample. Larger networks settle
      $\dot a=J^\top a-\partial_sC$ instead, without forming $J$, to a residual of `rtol` relative to the adjoint; a
      sample whose adjoint does not settle is left out.

    Source: Almeida (1987), Pineda (1987), recurrent backpropagation.
    """

    dense_up_to: int = eqx.field(static=True, default=128)
    rtol: float | Array = 1e-8
    max_steps: int = eqx.field(static=True, default=20_000)

    def estimate(self, problem, key):
        needs_derivative(self, problem.network)
        network, free = problem.network, problem.free
        pull = state_gradient(network, problem.cost, problem.y, free.state)
        linear = AdjointField.at(problem.field, free, pull)
        if network.graph.free <= self.dense_up_to:
            a = linear.solve()
            left = jnp.abs(linear.velocity(a, linear.drive(a))).max(-1)
            # A singular or nearly singular Jacobian has no gradient to speak of.
            solved = left <= jnp.sqrt(jnp.finfo(a.dtype).eps) * jnp.abs(pull).max(-1)
            bound = jnp.abs(pull).max(-1) / jnp.finfo(a.dtype).eps ** 0.75
            solved = solved & (jnp.abs(a).max(-1) <= bound) & jnp.isfinite(a).all(-1)
        else:
            rtol = jnp.maximum(self.rtol, 10 * jnp.finfo(pull.dtype).eps)
            stop = Tolerance(rtol, 0.0, max_steps=self.max_steps)
            settled, _ = run(linear, jnp.zeros_like(pull), Preconditioned(), stop, observer=None, observed=None)
            a, solved = settled.state, settled.converged
        used = problem.used & solved
        return problem.estimate(problem.gradient(network.neuron.transfer_slope(free.drive) * a, a, used), used)


class AdjointField(AbstractField):
    r"""$\dot a=J^\top a-\partial_sC$ on the active units.

    $J^\top a=-\Lambda\odot a+\psi'\odot W(\varphi'\odot a)$: one product with the weights, no Jacobian.
    """

    base: NetworkField
    free: Settled
    pull: Float[Array, "batch free"]
    mask: Bool[Array, "batch free"]

    @classmethod
    def at(cls, field: NetworkField, free: Settled, pull: Float[Array, "batch free"]) -> "AdjointField":
        r"""At the free equilibrium, with $\partial_sC$ given."""
        active = ~field.held(free.state, field.flow(free.state, free.drive))
        return cls(field, free, jnp.where(active, pull, 0), active)

    @property
    def network(self):
        return self.base.network

    @property
    def total_leak(self):
        return self.base.total_leak

    def drive(self, state, into=None):
        network, neuron = self.network, self.network.neuron
        sent_back = network.synapses.back(network.weight, neuron.transfer_slope(self.free.drive) * state)
        return neuron.rate_slope(self.free.state) * sent_back - self.pull

    def flow(self, state, drive):
        return jnp.where(self.mask, drive - self.total_leak * state, 0)

    def stiffness(self):
        return self.base.stiffness()

    def clip(self, state):
        return state

    def held(self, state, flow):
        return ~self.mask

    def rate(self, state):
        return state

    def take(self, rows):
        free = jax.tree.map(lambda leaf: leaf[rows], self.free)
        return AdjointField(self.base.take(rows), free, self.pull[rows], self.mask[rows])

    def solve(self) -> Float[Array, "batch free"]:
        """The equilibrium, by a dense solve for every sample."""
        network, neuron = self.network, self.network.neuron
        size = network.graph.free
        recurrent = network.matrix[network.graph.inputs :]
        coupling = neuron.rate_slope(self.free.state)[:, :, None] * recurrent
        transposed = coupling * neuron.transfer_slope(self.free.drive)[:, None, :] - jnp.diag(self.total_leak)
        both = self.mask[:, :, None] & self.mask[:, None, :]
        transposed = jnp.where(both, transposed, -jnp.eye(size, dtype=transposed.dtype))
        return jnp.linalg.solve(transposed, self.pull[..., None])[..., 0]


def state_gradient(
    network: Network, cost: AbstractCost, y: Float[Array, "batch output"], state: Float[Array, "batch free"]
) -> Float[Array, "batch free"]:
    r"""$\partial_sC=\psi'(s)\odot\partial C/\partial r$, non-zero at outputs."""
    at_outputs = cost.gradient(network.outputs(state), y)
    slope = network.neuron.rate_slope(state)
    return jnp.zeros_like(state).at[:, network.graph.hidden :].set(at_outputs) * slope
