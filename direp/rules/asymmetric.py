r"""Rules that are exact on directed weights, without a Jacobian: products with the weights, forth and back."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..model import AbstractWrapper, NetworkField, Signal
from ..settling import Linearisation, linearise
from .adjoint import AdjointField, state_gradient
from .base import AbstractRule, needs_derivative
from .cost import AbstractCost
from .nudge import AbstractNudge, Centred, as_nudge
from .problem import all_settled


class AsymEP(AbstractRule):
    r"""Two-phase learning whose nudged field is corrected for the asymmetry of the weights:

    $$\dot s=F(s)-\beta\,\partial_sC-2J_A(s_0)(s-s_0),\qquad J_A=\tfrac12(J-J^\top),$$

    which is $J^\top$ in linear order, so that $\Delta s\to a$: the exact gradient as $\beta\to0$, an error of order
    $\beta$ one-sided and $\beta^2$ centred. The outflow lies on the diagonal of $J$ and drops out of $J_A$, so a pair
    needs $w_{ji}-w_{ij}$ alone: every synapse is used in both directions, and nothing else. One product forth and one
    back a step, memory for states and synapses only.

    **Arguments:**

    - `nudge`: by default `Centred(0.1)`. In 32 bits a much weaker one drowns in the tolerance of settling; in 64 bits
      `Centred(1e-3)` with a tight tolerance equals the adjoint to $10^{-6}$.

    Source: derived here; the idea of cancelling the antisymmetric part is that of the literature on asymmetric
    equilibrium propagation.
    """

    nudge: AbstractNudge

    def __init__(self, nudge: AbstractNudge | float = Centred(0.1)):  # noqa: B008
        self.nudge = as_nudge("AsymEP", nudge)

    def estimate(self, problem, key):
        needs_derivative(self, problem.network)
        free, cost, y = problem.free, problem.cost, problem.y
        nudge, linear = self.nudge.now(problem.update, key), linearise(problem.field, free.state, free.drive)
        phases = tuple(
            problem.settle(AsymField(problem.field, free.state, linear, cost, y, jnp.asarray(beta, y.dtype)))[0]
            for beta in nudge.strengths
        )
        a = nudge.difference(free.state, [phase.state for phase in phases])
        used = all_settled(free, *phases) & problem.valid
        post = problem.network.neuron.transfer_slope(free.drive) * a
        return problem.estimate(problem.gradient(post, a, used), used, phases)


class AsymField(AbstractWrapper):
    r"""$F(s)-\beta\,\partial_sC+(J^\top-J)(s_0)\,(s-s_0)$."""

    base: NetworkField
    free: Float[Array, "batch free"]
    linear: Linearisation
    cost: AbstractCost
    y: Float[Array, "batch output"]
    beta: Float[Array, ""]

    def drive(self, state, into=None):
        return self.base.drive(state, into)

    def flow(self, state, drive):
        moved = state - self.free
        nudge = self.beta * state_gradient(self.network, self.cost, self.y, state)
        return self.base.flow(state, drive) + (self.linear.send_back(moved) - self.linear.send(moved)) - nudge

    def signal(self, state):
        error = jnp.abs(state_gradient(self.network, self.cost, self.y, state))
        return Signal(jnp.abs(self.beta), error[:, self.network.graph.hidden :])

    def take(self, rows):
        linear = self.linear.take(rows)
        return AsymField(self.base.take(rows), self.free[rows], linear, self.cost, self.y[rows], self.beta)

    def stiffness(self):
        curvature = jnp.maximum(self.beta, 0) * self.cost.curvature * self.network.neuron.gain
        return self.base.stiffness().at[self.network.graph.hidden :].add(curvature)


class Dyadic(AbstractRule):
    r"""Every unit has a mean $m$ and a difference $d$ of two compartments:

    $$\dot m=F(m),\qquad\dot d=J(m)^\top d-\partial_sC(m).$$

    $m$ settles in the free phase, $d$ in the second; then $d=a$ and the gradient is exact, without a nudge that would
    have to be small: $d$ is linear in the error, which is scaled to 1 while it settles. One product back a step.

    Source: derived here; two-compartment units are those of dual propagation, Høier, Staudt & Zach (2023).
    """

    def estimate(self, problem, key):
        needs_derivative(self, problem.network)
        network, free = problem.network, problem.free
        error = state_gradient(network, problem.cost, problem.y, free.state)
        size = jnp.abs(error).max(-1, keepdims=True)
        size = jnp.where(size > 0, size, 1)
        linear = AdjointField.at(problem.field, free, error / size)
        difference, _ = problem.settle(linear, jnp.zeros_like(free.state))
        a = size * difference.state
        used = all_settled(free, difference) & problem.valid
        post = network.neuron.transfer_slope(free.drive) * a
        return problem.estimate(problem.gradient(post, a, used), used, (difference,))
