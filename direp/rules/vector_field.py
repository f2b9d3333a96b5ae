from ..model import AbstractField
from .base import AbstractNudgedRule, needs_derivative
from .nudge import AbstractNudge, OneSided

__all__ = ["VectorField"]


class VectorField(AbstractNudgedRule):
    r"""Equilibrium propagation for vector fields: the displacement stands in for the adjoint,
    $-\partial\theta=\Delta s^\top\partial_\theta F$, so that with $\Delta s=(s^\beta-s^0)/\beta$

    $$\Delta w_{ij}\propto r_i\,\varphi'(u_j)\,\Delta s_j-\kappa_{ij}s_i\,\Delta s_i,\qquad
    \Delta b_j\propto\varphi'(u_j)\,\Delta s_j.$$

    The same as `Local` for `Projected`. A `Hopfield` unit is not gated by its own slope here, and a `Rate` unit twice
    (the nudge is a current), so even with symmetric weights it is no exact gradient there: use `Local`.

    Source: Scellier, Goyal, Binas, Mesnard & Bengio (2018), arXiv:1808.04873.
    """

    nudge: AbstractNudge

    def __init__(self, nudge: AbstractNudge | float = 1.0):
        self.nudge = nudge if isinstance(nudge, AbstractNudge) else OneSided(nudge)

    def check(self, network):
        needs_derivative(self, network)

    def fields(self, field, cost, y, free) -> tuple[AbstractField, ...]:
        return self.nudge.fields(field, cost, y)

    def estimate(self, phases):
        moved = self.difference("state", phases)
        slope = phases.network.neuron.transfer_slope(phases.free.drive)
        return phases.mean(post=slope * moved, back=moved), phases.used
