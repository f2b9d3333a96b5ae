from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..model import AbstractField, Coupling, Network, NetworkField, declared
from ..model.synapses import Weight
from ..settling import AbstractStop, Linearisation, Preconditioned, Settled, linearise
from .base import AbstractRule, needs_derivative
from .cost import AbstractCost


class Adjoint(AbstractRule):
    r"""The exact gradient at the equilibrium reached: $-\partial C/\partial\theta=a^\top\partial_\theta F$ with
    $J^\top a=\partial_sC$ over the units that no bound holds back. Not local: it is the oracle.

    **Arguments:**

    - `dense_up_to`: free units up to which the system is solved directly, sample by sample. Larger networks settle
      $\dot a=J^\top a-\partial_sC$ instead, without forming $J$, to a residual of `rtol` relative to the adjoint; a
      sample whose adjoint does not settle is left out.
    - `lift`: an output that a face of its box holds counts as free where its own error pulls it off the face. That is
      no gradient any more: the true one is zero there, and such an output never learns.

    Source: Almeida (1987), Pineda (1987), recurrent backpropagation.
    """

    dense_up_to: int = eqx.field(static=True, default=128)
    rtol: float | Array = 1e-8
    max_steps: int = eqx.field(static=True, default=20_000)
    lift: bool = eqx.field(static=True, default=False)

    def estimate(self, problem, key):
        needs_derivative(self, problem.network)
        network, free = problem.network, problem.free
        error = state_gradient(network, problem.cost, problem.y, free.state)
        linear = AdjointField.at(problem.field, free, error, lift=self.lift)
        if network.graph.free <= self.dense_up_to:
            a = linear.solve()
            left = jnp.abs(linear.velocity(a, linear.drive(a))).max(-1)
            # A singular or nearly singular Jacobian has no gradient to speak of.
            solved = left <= jnp.sqrt(jnp.finfo(a.dtype).eps) * jnp.abs(error).max(-1)
            bound = jnp.abs(error).max(-1) / jnp.finfo(a.dtype).eps ** 0.75
            solved = solved & (jnp.abs(a).max(-1) <= bound) & jnp.isfinite(a).all(-1)
        else:
            rtol = jnp.maximum(self.rtol, 10 * jnp.finfo(error.dtype).eps)
            stop = _Relative(rtol=rtol, max_steps=self.max_steps)
            settled, _ = problem.settle(linear, jnp.zeros_like(error), method=Preconditioned(), stop=stop)
            a, solved = settled.state, settled.converged
        used = problem.used & solved
        return problem.estimate(problem.gradient(network.neuron.transfer_slope(free.drive) * a, a, used), used)


class _Relative(AbstractStop):
    """A residual relative to the largest term of the sample: the adjoints of all units are of one kind."""

    early: ClassVar[bool] = True
    rtol: Array
    max_steps: int = eqx.field(static=True)

    def allowed(self, terms, leak):
        return self.rtol * terms.max(-1, keepdims=True)


class OwnTerms(AbstractStop):
    """Another stop without what it allows beside the terms of a unit, as adjoints may be of any size; down to rounding
    of the largest term of the sample."""

    early: ClassVar[bool] = True
    other: AbstractStop
    max_steps: int = eqx.field(static=True)

    def allowed(self, terms, leak):
        numbers = jnp.finfo(terms.dtype)
        rounding = 8 * numbers.eps * terms.max(-1, keepdims=True)
        return rounding + self.other.allowed(terms, jnp.full_like(leak, numbers.tiny))


class AdjointField(AbstractField):
    r"""$\dot a=J^\top a-\partial_sC$ on the units that no bound holds: one product with the weights, no Jacobian."""

    base: NetworkField
    linear: Linearisation
    error: Float[Array, "batch free"]

    @classmethod
    def at(
        cls,
        field: NetworkField,
        free: Settled,
        error: Float[Array, "batch free"],
        feedback: Weight | None = None,
        lift: bool = False,
    ) -> "AdjointField":
        r"""At the free equilibrium, with $\partial_sC$ given. `lift`: a unit that is held at a face counts as free
        where its own error pulls it off."""
        linear = linearise(field, free.state, free.drive, feedback)
        if lift:
            pulled = (error != 0) & ~field.held(free.state, -error)
            linear = eqx.tree_at(lambda linear: linear.active, linear, linear.active | pulled)
        return cls(field, linear, jnp.where(linear.active, error, 0))

    @property
    def network(self):
        return self.base.network

    @property
    def total_leak(self):
        return self.base.total_leak

    def drive(self, state, into=None):
        return self.linear.send_back(state, into) - self.error

    def flow(self, state, drive):
        return jnp.where(self.linear.active, drive - self.total_leak * state, 0)

    def stiffness(self):
        return self.base.stiffness()

    def sizes(self, state):
        return self.linear.absolute.send_back(jnp.abs(state)) + jnp.abs(self.error)

    def clip(self, state):
        return state

    def held(self, state, flow):
        return ~self.linear.active

    def rate(self, state):
        return state

    def take(self, rows):
        return AdjointField(self.base.take(rows), self.linear.take(rows), self.error[rows])

    @property
    def coupling(self):
        if declared(self.base) != Coupling("network"):
            return "it is the adjoint of a field other than the network's own"
        return Coupling("transposed", feedback=self.linear.feedback is not None)

    def solve(self) -> Float[Array, "batch free"]:
        """The equilibrium, by a dense solve for every sample."""
        return jnp.linalg.solve(self.linear.jacobian().swapaxes(1, 2), self.error[..., None])[..., 0]


def limit_response(
    field: NetworkField, free: Settled, current: Float[Array, "batch output"]
) -> tuple[Float[Array, "batch free"], Float[Array, "batch free"]]:
    r"""`post` and `back` of the rule `Local` as $\beta\to0$, densely, for $\partial C/\partial r_o$ = `current`:
    $J\Delta s=\varphi'\odot\partial_rC$, $\Delta r=\psi'\Delta s$, $\Delta u=W^\top\Delta r-\partial_rC$.
    """
    network, linear = field.network, linearise(field, free.state, free.drive)
    at_units = jnp.zeros_like(free.state).at[:, network.graph.hidden :].set(current)
    right = jnp.where(linear.active, linear.transfer_slope * at_units, 0)
    d_rate = linear.rate_slope * jnp.linalg.solve(linear.jacobian(), right[..., None])[..., 0]
    d_drive = network.synapses.drive(network.weight, d_rate) - at_units
    return d_rate, network.neuron.response(free.state, d_rate, d_drive, field.total_leak)


def state_gradient(
    network: Network, cost: AbstractCost, y: Float[Array, "batch output"], state: Float[Array, "batch free"]
) -> Float[Array, "batch free"]:
    r"""$\partial_sC=\psi'(s)\odot\partial C/\partial r$, non-zero at outputs."""
    at_outputs = cost.gradient(network.outputs(state), y)
    slope = network.neuron.rate_slope(state)
    return jnp.zeros_like(state).at[:, network.graph.hidden :].set(at_outputs) * slope
