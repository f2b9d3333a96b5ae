from jaxtyping import Array

from ..model import AbstractField
from .base import AbstractNudgedRule
from .nudge import AbstractNudge, OneSided

__all__ = ["Local"]


class Local(AbstractNudgedRule):
    r"""The two-phase rule: every synapse learns from what its own two neurons did.

    $$\Delta w_{ij}\propto r_i\,\Delta r_j-\kappa_{ij}s_i\,\hat a_i,\qquad\Delta b_j\propto\Delta r_j,\qquad
    \Delta\lambda_i\propto-s_i\,\hat a_i$$

    with $\hat a=\Delta r$ (`Projected`, `Hopfield`) or $\Delta u/\Lambda$ (`Rate`). The second term is the part of the
    gradient that flows through the outflow ($\kappa_{ij}=\partial\,\mathrm{out}_i/\partial w_{ij}$).

    Equals the exact gradient as $\beta\to0$ if the weights are symmetric; otherwise it is a descent direction only
    under conditions. A tolerance of settling must be well below $\beta$ times the error to be learned from.

    **Arguments:**

    - `nudge`: `OneSided(beta)`, `Centred(beta)`, `RandomSign(beta)` or `Fading(start, end, updates)`; a number means
      one-sided.

    Source: derived from the claims of Costa & Santos (2025), whose equations were not at hand; for symmetric weights
    it is that of Scellier & Bengio (2017) and, centred, Laborieux et al. (2021).
    """

    nudge: AbstractNudge

    def __init__(self, nudge: AbstractNudge | float = 1.0, *, beta: float | Array | None = None):
        chosen = nudge if beta is None else beta
        self.nudge = chosen if isinstance(chosen, AbstractNudge) else OneSided(chosen)

    def fields(self, field, cost, y, free) -> tuple[AbstractField, ...]:
        return self.nudge.fields(field, cost, y)

    def estimate(self, phases):
        d_rate, d_drive = self.difference("rate", phases), self.difference("drive", phases)
        neuron, leak = phases.network.neuron, phases.field.total_leak
        return phases.mean(post=d_rate, back=neuron.response(phases.free.state, d_rate, d_drive, leak)), phases.used
