from jaxtyping import Array

from .base import AbstractRule
from .nudge import AbstractNudge, OneSided, as_nudge


class Local(AbstractRule):
    r"""The two-phase rule: a synapse learns from the rate and the response of its own two neurons.

    $$\Delta w_{ij}\propto r_i\,\Delta r_j-\kappa_{ij}s_i\,\hat a_i,\qquad\Delta b_j\propto\Delta r_j,\qquad
    \Delta\lambda_i\propto-s_i\,\hat a_i$$

    with $\hat a=\Delta r$ (`Projected`, `Hopfield`) or $\Delta u/\Lambda$ (`Rate`). The second term is the part of the
    gradient that flows through the outflow ($\kappa_{ij}=\partial\,\mathrm{out}_i/\partial w_{ij}$).

    Equals the exact gradient as $\beta\to0$ if the weights are symmetric; otherwise it is a descent direction only
    under conditions. A tolerance of settling must be well below $\beta$ times the error to be learned from.

    **Arguments:**

    - `nudge`: `OneSided(beta)`, `Centred(beta)`, `RandomSign(beta)` or `Fading(start, end, updates)`; a number means
      one-sided. By default `OneSided(1.0)`.
    - `beta`: the strength of a one-sided nudge, in place of `nudge`. Every rule with a nudge takes these two.

    Source: derived from the claims of Costa & Santos (2025), whose equations were not at hand; for symmetric weights
    it is that of Scellier & Bengio (2017) and, centred, Laborieux et al. (2021).
    """

    nudge: AbstractNudge

    def __init__(self, nudge: AbstractNudge | float | None = None, *, beta: float | Array | None = None):
        self.nudge = as_nudge("Local", nudge, beta, OneSided(1.0))

    def estimate(self, problem, key):
        response = problem.nudge(self.nudge, key)
        used = response.settled & problem.valid
        d_rate, d_drive = response.difference("rate"), response.difference("drive")
        back = problem.network.neuron.response(problem.free.state, d_rate, d_drive, problem.field.total_leak)
        return problem.estimate(problem.gradient(d_rate, back, used), used, response.phases)
