"""Costs of the output rates."""

from abc import abstractmethod
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..settling import check_number


class AbstractCost(eqx.Module):
    """A cost of the output rates of one sample; `output` is the number of output units.

    A new one needs `curvature`, `value` and `gradient` to train. `enclose` and `feedback` are for proofs, which refuse
    a cost without them by name.
    """

    curvature: eqx.AbstractVar[float]
    """The largest second derivative along one output, used for step sizes and the certificate of a phase."""

    @abstractmethod
    def value(self, rate: Float[Array, "*batch output"], y: Float[Array, "*batch output"]) -> Float[Array, "*batch"]:
        """$C$, sample by sample."""

    @abstractmethod
    def gradient(self, rate: Float[Array, "*batch output"], y: Float[Array, "*batch output"]) -> Array:
        r"""$\partial C/\partial r_o$."""

    def readout(self, rate: np.ndarray) -> np.ndarray:
        """How likely the outputs call each class, from 0 to 1: by default their rates, for a mean of targets that are 0
        or 1 is a probability."""
        return np.clip(rate, 0, 1)

    def sizes(self, rate: Float[Array, "*batch output"], y: Float[Array, "*batch output"]) -> Array | None:
        """What rounding of the gradient is relative to: the sizes of the terms that cancel in it, that of the rates
        included. `None`: unknown, so that no error bar holds for a nudged phase."""
        return None

    def enclose(self, rate: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gradient and Hessian for one sample, over balls of python-flint, for proofs of learning."""
        raise NotImplementedError("it has none")

    def feedback(self, beta: float, slope: tuple[float, float], ratio: np.ndarray) -> np.ndarray:
        r"""How far a nudge of strength `beta` can raise $\mu_1$ or $\mu_\infty$ of the Jacobian, at every output.

        `slope` bounds the slope between the state of an output and its rate, or between its drive and its velocity.
        `ratio` is, for every output, the largest norm weight of another output over its own. 0: not at all; infinite:
        unknown, so that no nudged phase is proved to settle.
        """
        return np.full_like(ratio, np.inf)


class SquaredError(AbstractCost):
    r"""$C=\tfrac12\lVert y-r_o\rVert^2$; the nudge is the current $\beta(y-r_o)$."""

    curvature: ClassVar[float] = 1.0

    def value(self, rate, y):
        return 0.5 * jnp.square(y - rate).sum(-1)

    def gradient(self, rate, y):
        return rate - y

    def sizes(self, rate, y):
        return jnp.abs(rate) + jnp.abs(y)

    def enclose(self, rate, y):
        return rate - np.asarray(y, np.float64), np.eye(len(rate)) + 0 * rate

    def feedback(self, beta, slope, ratio):
        return np.full_like(ratio, max(-beta * slope[0], -beta * slope[1], 0.0))


class CrossEntropy(AbstractCost):
    r"""$C=-\sum_oy_o\log\mathrm{softmax}(g\,r)_o$, with `sharpness` $g$. Needs two outputs or more, and
    targets that sum to one.

    Rates in [0, 1] cannot make a softmax certain by themselves; $g$ widens their range.
    """

    sharpness: float = eqx.field(static=True, default=1.0)

    def __check_init__(self):
        check_number("CrossEntropy(sharpness", self.sharpness, above=0)

    @property
    def curvature(self):
        return self.sharpness**2 / 4

    def value(self, rate, y):
        return -(y * jax.nn.log_softmax(self.sharpness * rate)).sum(-1)

    def gradient(self, rate, y):
        return self.sharpness * (jax.nn.softmax(self.sharpness * rate) - y)

    def readout(self, rate):
        power = np.exp(self.sharpness * (rate - rate.max(-1, keepdims=True)))
        return power / power.sum(-1, keepdims=True)

    def sizes(self, rate, y):
        # Each softmax is relative to itself what the largest exponent is absolutely.
        largest = jnp.abs(rate).max(-1, keepdims=True)
        return self.sharpness * (2 + 2 * self.sharpness * largest + jnp.abs(y))

    def enclose(self, rate, y):
        # Shifted by a number, which changes nothing, so that no exponential overflows.
        power = [((r - rate[0]) * self.sharpness).exp() for r in rate]
        share = np.array([p / sum(power) for p in power], object)
        hessian = self.sharpness**2 * (np.diag(share) - np.outer(share, share))
        return self.sharpness * (share - np.asarray(y, np.float64)), hessian

    def feedback(self, beta, slope, ratio):
        # The Hessian g^2(diag p - p p^T) has diagonal entries p(1 - p) and, beside them, entries that sum to the same;
        # times slopes, each part is at most |beta| g^2 d2/4. The diagonal only helps for beta > 0 and slopes above 0.
        helps = beta > 0 and slope[0] >= 0
        largest = abs(beta) * self.curvature * max(abs(slope[0]), abs(slope[1]))
        return largest * (ratio + (0 if helps else 1))
