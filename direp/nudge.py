r"""Costs, and the nudge: a current into the outputs that pulls a settled network towards its target."""

from abc import abstractmethod
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .network import AbstractField, AbstractWrapper

__all__ = [
    "AbstractCost", "AbstractNudge", "Centred", "CrossEntropy", "Fading", "Nudged", "OneSided", "RandomSign",
    "SquaredError",
]  # fmt: skip


class AbstractCost(eqx.Module):
    """A cost of the output rates of one sample; `output` is the number of output units."""

    curvature: eqx.AbstractVar[float]
    """The largest second derivative along one output, used for step sizes and the certificate of a phase."""

    @abstractmethod
    def value(self, rate: Float[Array, "*batch output"], y: Float[Array, "*batch output"]) -> Float[Array, "*batch"]:
        """$C$, sample by sample."""

    @abstractmethod
    def gradient(self, rate: Float[Array, "*batch output"], y: Float[Array, "*batch output"]) -> Array:
        r"""$\partial C/\partial r_o$."""

    @abstractmethod
    def enclose(self, rate: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gradient and Hessian for one sample, over balls of python-flint."""

    @abstractmethod
    def feedback(self, beta: float, slope: tuple[float, float], ratio: np.ndarray) -> np.ndarray:
        r"""How far a nudge of strength `beta` can push $\mu_1$ or $\mu_\infty$ of the Jacobian up, at every output.

        `slope` bounds the slope between the state of an output and its rate, or between its drive and its velocity.
        `ratio` is, for every output, the largest norm weight of another output over its own. 0: not at all.
        """


class SquaredError(AbstractCost):
    r"""$C=\tfrac12\lVert y-r_o\rVert^2$; the nudge is the current $\beta(y-r_o)$."""

    @property
    def curvature(self):
        return 1.0

    def value(self, rate, y):
        return 0.5 * jnp.square(y - rate).sum(-1)

    def gradient(self, rate, y):
        return rate - y

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
        if not self.sharpness > 0:
            raise ValueError(f"CrossEntropy(sharpness={self.sharpness}) must be above 0")

    @property
    def curvature(self):
        return self.sharpness**2 / 4

    def value(self, rate, y):
        return -(y * jax.nn.log_softmax(self.sharpness * rate)).sum(-1)

    def gradient(self, rate, y):
        return self.sharpness * (jax.nn.softmax(self.sharpness * rate) - y)

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


class Nudged(AbstractWrapper):
    r"""A field with the current $-\beta\,\partial C/\partial r_o$ into its outputs."""

    base: AbstractField
    cost: AbstractCost
    y: Float[Array, "batch output"]
    beta: Float[Array, ""]

    def drive(self, state, into=None):
        outputs = self.network.outputs(state)
        current = -self.beta * self.cost.gradient(outputs, self.y)
        # Padded and not put in place: a scatter could not be merged with what comes before and after.
        return self.base.drive(state, into) + jnp.pad(current, ((0, 0), (self.network.graph.hidden, 0)))

    def flow(self, state, drive):
        return self.base.flow(state, drive)

    def take(self, rows):
        return Nudged(self.base.take(rows), self.cost, self.y[rows], self.beta)

    def stiffness(self):
        pull = jnp.maximum(self.beta, 0) * self.cost.curvature * self.network.neuron.activation.gain
        return self.base.stiffness().at[self.network.graph.hidden :].add(pull)


class AbstractNudge(eqx.Module):
    r"""Which nudged phases to run, and how their equilibria give $\Delta q$."""

    beta: eqx.AbstractVar[float | Array]

    @property
    @abstractmethod
    def strengths(self) -> tuple[float | Array, ...]:
        r"""$\beta$ of every nudged phase."""

    @abstractmethod
    def difference(self, free: Array, nudged: Sequence[Array]) -> Array:
        r"""$\Delta q$ from $q$ in the free phase and in each nudged one."""

    def now(self, update: Array | int, key: PRNGKeyArray | None) -> "AbstractNudge":
        """The nudge of one update: schedules read, random choices made. Itself, if it has neither."""
        return self

    def fields(self, field: AbstractField, cost: AbstractCost, y: Array) -> tuple[Nudged, ...]:
        return tuple(Nudged(field, cost, y, jnp.asarray(beta, y.dtype)) for beta in self.strengths)


def _check_beta(nudge: AbstractNudge) -> None:
    if isinstance(nudge.beta, float | int) and not (nudge.beta != 0 and np.isfinite(nudge.beta)):
        raise ValueError(f"{type(nudge).__name__}(beta={nudge.beta}) must be finite and not 0")


class OneSided(AbstractNudge):
    r"""One phase at $\beta$: $\Delta q=(q^\beta-q^0)/\beta$, an error of first order in $\beta$."""

    beta: float | Array = 1.0

    def __check_init__(self):
        _check_beta(self)

    @property
    def strengths(self):
        return (self.beta,)

    def difference(self, free, nudged):
        return (nudged[0] - free) / self.beta


class Centred(AbstractNudge):
    r"""Two phases, at $\pm\beta$: $\Delta q=(q^{+\beta}-q^{-\beta})/2\beta$, an error of second order."""

    beta: float | Array = 0.1

    def __check_init__(self):
        _check_beta(self)

    @property
    def strengths(self):
        return (self.beta, -self.beta)

    def difference(self, free, nudged):
        return (nudged[0] - nudged[1]) / (2 * self.beta)


class RandomSign(AbstractNudge):
    r"""One phase at $\pm\beta$, the sign drawn anew for every update: errors of first order cancel in the mean.

    Source: Scellier & Bengio (2017). Half of the phases have a negative nudge, which must stay below the margin of
    the outputs.
    """

    beta: float | Array = 0.1

    def __check_init__(self):
        _check_beta(self)

    @property
    def strengths(self):
        return (self.beta, -self.beta)

    def difference(self, free, nudged):
        raise ValueError("RandomSign has no sign yet: take the nudge of one update, RandomSign.now(update, key)")

    def now(self, update, key):
        if key is None:
            raise ValueError("RandomSign draws its sign: give estimate(key=...) a JAX random key")
        return OneSided(jax.random.rademacher(key, (), jnp.asarray(self.beta).dtype) * self.beta)


class Fading(AbstractNudge):
    r"""A nudge whose $\beta$ goes from `start` to `end` geometrically over `updates`, and stays there.

    A strong nudge frees saturated units early on, a weak one follows the gradient closely later.

    **Arguments:**

    - `kind`: `OneSided`, `Centred` or `RandomSign`.
    """

    start: float | Array
    end: float | Array
    updates: int | Array
    kind: type[AbstractNudge] = eqx.field(static=True, default=OneSided)

    def __check_init__(self):
        if isinstance(self.start, float | int) and isinstance(self.end, float | int):
            fine = np.isfinite([self.start, self.end]).all() and self.start * self.end > 0
            if not fine:
                raise ValueError(
                    f"Fading(start={self.start}, end={self.end}) must both be finite, not 0 and of one sign"
                )

    @property
    def beta(self):
        return self.start

    @property
    def strengths(self):
        return (*self.kind(self.start).strengths, *self.kind(self.end).strengths)

    def difference(self, free, nudged):
        raise ValueError("Fading has no strength yet: take the nudge of one update, Fading.now(update, key)")

    def now(self, update, key):
        start, end = jnp.asarray(self.start), jnp.asarray(self.end)
        share = jnp.clip(jnp.asarray(update, start.dtype) / jnp.asarray(self.updates, start.dtype), 0, 1)
        return self.kind(start * (end / start) ** share).now(update, key)
