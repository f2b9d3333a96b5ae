r"""Rules for directed weights, without a Jacobian: what units deviate by travels back along synapses."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..model import AbstractWrapper, Coupling, NetworkField, Signal, declared
from ..settling import Linearisation, linearise
from .adjoint import AdjointField, OwnTerms, state_gradient
from .base import AbstractRule, needs_derivative
from .cost import AbstractCost
from .feedback import AbstractFeedback, SharedFeedback, as_feedback
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

    - `nudge`, `beta`: as in `Local`; by default `Centred(0.1)`. In 32 bits a much weaker one drowns in the tolerance of
      settling; in 64 bits `Centred(1e-3)` with a tight tolerance equals the adjoint to $10^{-6}$.
    - `feedback`: what carries deviations back, in the place of $J^\top$: `SharedFeedback()` (the synapses themselves),
      `LearnedFeedback()` or `FixedFeedback()` (companions of their own: then the rule is local).

    Source: Scurria, Vanden Abeele, Mognetti & Massar (2026), arXiv:2602.03670; feedback of its own is derived here.
    """

    nudge: AbstractNudge
    feedback: AbstractFeedback

    def __init__(
        self,
        nudge: AbstractNudge | float | None = None,
        *,
        beta: float | Array | None = None,
        feedback: AbstractFeedback = SharedFeedback(),  # noqa: B008
    ):
        self.nudge = as_nudge("AsymEP", nudge, beta, Centred(0.1))
        self.feedback = as_feedback("AsymEP", feedback)

    def estimate(self, problem, key):
        needs_derivative(self, problem.network)
        free, cost, y = problem.free, problem.cost, problem.y
        linear = linearise(problem.field, free.state, free.drive, self.feedback.weight(problem.network))
        make = lambda beta: AsymField(problem.field, free.state, free.drive, linear, cost, y, beta)  # noqa: E731
        response = problem.nudge(self.nudge, key, make=make, drive=free.drive)
        a, used = response.difference("state"), response.settled & problem.valid
        post = problem.network.neuron.transfer_slope(free.drive) * a
        gradient = self.feedback.gradient(problem.gradient(post, a, used))
        return problem.estimate(gradient, used, response.phases)


class AsymField(AbstractWrapper):
    r"""$F(s)-\beta\,\partial_sC+(J^\top-J)(s_0)\,(s-s_0)$.

    With feedback, $J^\top$ has its strengths. The Jacobian, without the nudge, is $J(s)-J(s_0)+J(s_0)^\top$. Where
    slopes are 1 everywhere that is $J^\top$, in a box too; the network's own terms then stay what they are at $s_0$,
    and a step takes one product. With a curved `transfer`, entries of $J(s)-J(s_0)$ are within $(d_2-d_1)|w_{ik}|$.
    With a curved `rate` the nudge has the derivative $\psi''\partial_rC$ too, and nothing is claimed.
    """

    base: NetworkField
    free: Float[Array, "batch free"]
    free_drive: Float[Array, "batch free"]
    linear: Linearisation
    cost: AbstractCost
    y: Float[Array, "batch output"]
    beta: Float[Array, ""]

    @property
    def _straight(self) -> bool:
        """Whether slopes are 1 everywhere."""
        return self.network.neuron.transfer.linear and self.network.neuron.rate.linear

    def drive(self, state, into=None):
        if self._straight:
            return self.free_drive + self.linear.send_back(state - self.free, into)
        return self.base.drive(state, into)

    def flow(self, state, drive):
        flow = self.base.flow(state, drive) - self.beta * state_gradient(self.network, self.cost, self.y, state)
        if self._straight:
            return flow
        moved = state - self.free
        return flow + (self.linear.send_back(moved) - self.linear.send(moved))

    def signal(self, state):
        error = state_gradient(self.network, self.cost, self.y, state)
        return Signal(self.beta, error[:, self.network.graph.hidden :])

    def sizes(self, state):
        moved, size = jnp.abs(state - self.free), self.linear.absolute
        nudge = self.beta * state_gradient(self.network, self.cost, self.y, state)
        return self.base.sizes(state) + size.send(moved) + size.send_back(moved) + jnp.abs(nudge)

    def take(self, rows):
        linear = self.linear.take(rows)
        free, drive = self.free[rows], self.free_drive[rows]
        return AsymField(self.base.take(rows), free, drive, linear, self.cost, self.y[rows], self.beta)

    @property
    def coupling(self):
        neuron, one = self.network.neuron, (1.0, 1.0)
        if declared(self.base) != Coupling("network"):
            return "it corrects a field other than the network's own"
        if neuron.slope is None:
            return "an activation has no slope bounds"
        if not neuron.rate.linear:
            return f"nothing bounds how the slope of {neuron.rate.name!r} changes, which multiplies its nudge"
        feedback = self.linear.feedback is not None
        if neuron.transfer.linear:
            return Coupling("transposed", cost=self.cost, slope=one, feedback=feedback)
        low, high = neuron.slope
        return Coupling("bounded", high - low, neuron.gain, self.cost, one, feedback)

    def stiffness(self):
        # The nudge is added to the velocity, past the transfer, and has a factor of psi' that moves with the state.
        gain = self.network.neuron.rate.gain
        curvature = jnp.maximum(self.beta, 0) * self.cost.curvature * max(gain, gain**2)
        return self.base.stiffness().at[self.network.graph.hidden :].add(curvature)


class Dyadic(AbstractRule):
    r"""Every unit has a mean $m$ and a difference $d$ of two compartments:

    $$\dot m=F(m),\qquad\dot d=J(m)^\top d-\partial_sC(m).$$

    $m$ settles in the free phase, $d$ in the second; then $d=a$ and the gradient is exact, without a nudge that would
    have to be small: $d$ is linear in the error, which is scaled to 1 while it settles. One product back a step.

    **Arguments:**

    - `feedback`: as in `AsymEP`.
    - `lift`: an output that a face of its box holds counts as free where its own error pulls it off the face, as a
      strong enough nudge would pull it. The gradient is zero there: without this such an output never learns, and with
      it $d$ is the adjoint wherever no output is at a face on the wrong side.

    Source: Scurria et al. (2026), arXiv:2602.03670; two compartments as in dual propagation, Høier, Staudt & Zach
    (2023). Lifting is derived here.
    """

    feedback: AbstractFeedback = SharedFeedback()
    lift: bool = eqx.field(static=True, default=False)

    def __check_init__(self):
        as_feedback("Dyadic", self.feedback)

    def estimate(self, problem, key):
        needs_derivative(self, problem.network)
        network, free = problem.network, problem.free
        error = state_gradient(network, problem.cost, problem.y, free.state)
        size = jnp.abs(error).max(-1, keepdims=True)
        size = jnp.where(size > 0, size, 1)
        linear = AdjointField.at(problem.field, free, error / size, self.feedback.weight(network), self.lift)
        stop = problem.stop
        stop = OwnTerms(other=stop, max_steps=stop.max_steps) if stop.early else stop
        difference, _ = problem.settle(linear, jnp.zeros_like(free.state), stop=stop)
        a = size * difference.state
        used = all_settled(free, difference) & problem.valid
        post = network.neuron.transfer_slope(free.drive) * a
        gradient = self.feedback.gradient(problem.gradient(post, a, used))
        return problem.estimate(gradient, used, (difference,))
