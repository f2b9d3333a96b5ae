from jaxtyping import Array

from .base import AbstractRule, needs_derivative
from .nudge import AbstractNudge, OneSided, as_nudge


class VectorField(AbstractRule):
    r"""Equilibrium propagation for vector fields: the displacement stands in for the adjoint,
    $-\partial\theta=\Delta s^\top\partial_\theta F$, so that with $\Delta s=(s^\beta-s^0)/\beta$

    $$\Delta w_{ij}\propto r_i\,\varphi'(u_j)\,\Delta s_j-\kappa_{ij}s_i\,\Delta s_i,\qquad
    \Delta b_j\propto\varphi'(u_j)\,\Delta s_j.$$

    The same as `Local` for `Projected`. A `Hopfield` unit is not gated by its own slope here, and a `Rate` unit twice
    (the nudge is a current), so even with symmetric weights it is no exact gradient there: use `Local`.

    Source: Scellier, Goyal, Binas, Mesnard & Bengio (2018), arXiv:1808.04873.
    """

    nudge: AbstractNudge

    def __init__(self, nudge: AbstractNudge | float | None = None, *, beta: float | Array | None = None):
        self.nudge = as_nudge("VectorField", nudge, beta, OneSided(1.0))

    def estimate(self, problem, key):
        needs_derivative(self, problem.network)
        response = problem.nudge(self.nudge, key)
        used = response.settled & problem.valid
        moved = response.difference("state")
        slope = problem.network.neuron.transfer_slope(problem.free.drive)
        return problem.estimate(problem.gradient(slope * moved, moved, used), used, response.phases)
