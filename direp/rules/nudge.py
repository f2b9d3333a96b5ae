r"""The nudge: a current into the outputs that pulls a settled network towards its target."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..model import AbstractField, AbstractWrapper, Signal, declared
from .cost import AbstractCost


class Nudged(AbstractWrapper):
    r"""A field with the current $-\beta\,\partial C/\partial r_o$ into its outputs."""

    base: AbstractField
    cost: AbstractCost
    y: Float[Array, "batch output"]
    beta: Float[Array, ""]

    def drive(self, state, into=None):
        return self.added(self.base.drive(state, into), state)

    def added(self, drive: Float[Array, "batch free"], state: Float[Array, "batch free"]) -> Array:
        """The drive that is that of `base` plus the nudge."""
        current = -self.beta * self.cost.gradient(self.network.outputs(state), self.y)
        # Padded and not put in place: a scatter could not be merged with what comes before and after.
        return drive + jnp.pad(current, ((0, 0), (self.network.graph.hidden, 0)))

    def signal(self, state):
        return Signal(self.beta, self.cost.gradient(self.network.outputs(state), self.y))

    def sizes(self, state):
        rate = self.network.outputs(state)
        parts = self.cost.sizes(rate, self.y)
        parts = jnp.abs(self.cost.gradient(rate, self.y)) if parts is None else parts
        return self.base.sizes(state) + jnp.abs(self.beta) * jnp.pad(parts, ((0, 0), (self.network.graph.hidden, 0)))

    def flow(self, state, drive):
        return self.base.flow(state, drive)

    def take(self, rows):
        return Nudged(self.base.take(rows), self.cost, self.y[rows], self.beta)

    def stiffness(self):
        curvature = jnp.maximum(self.beta, 0) * self.cost.curvature * self.network.neuron.gain
        return self.base.stiffness().at[self.network.graph.hidden :].add(curvature)

    @property
    def coupling(self):
        base = declared(self.base)
        if isinstance(base, str) or base.cost is not None or base.jacobian != "network":
            return "it nudges a field other than the network's own"
        return base._replace(cost=self.cost, slope=self.network.neuron.slope)


class AbstractNudge(eqx.Module):
    r"""Which nudged phases to run, and how their equilibria give $\Delta q$."""

    beta: eqx.AbstractVar[float | Array]

    def __check_init__(self):
        if isinstance(self.beta, float | int) and not (self.beta != 0 and np.isfinite(self.beta)):
            raise ValueError(f"{type(self).__name__}(beta={self.beta}) must be finite and not 0")

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


def as_nudge(rule: str, nudge: Any, beta: Any, default: AbstractNudge) -> AbstractNudge:
    """The nudge of a rule, from its arguments: `nudge`, or `beta` for a one-sided one; the default without either."""
    if nudge is not None and beta is not None:
        raise ValueError(f"{rule}(nudge={nudge!r}, beta={beta!r}) must have one of the two: beta=1.0 is OneSided(1.0)")
    if nudge is None and beta is None:
        return default
    if isinstance(nudge, AbstractNudge):
        return nudge
    name, given = ("beta", beta) if nudge is None else ("nudge", nudge)
    if isinstance(given, bool) or not isinstance(given, float | int | np.number | Array):
        raise ValueError(f"{rule}({name}={given!r}): give a number, beta=1.0, or a nudge, nudge=Centred(0.1)")
    return OneSided(given)  # pyright: ignore[reportArgumentType]


def nudges_of(tree: Any) -> tuple[AbstractNudge, ...]:
    """Every nudge that a rule, or a rule within it, holds."""
    leaves = jax.tree.leaves(tree, is_leaf=lambda node: isinstance(node, AbstractNudge))
    return tuple(leaf for leaf in leaves if isinstance(leaf, AbstractNudge))


class OneSided(AbstractNudge):
    r"""One phase at $\beta$: $\Delta q=(q^\beta-q^0)/\beta$, an error of first order in $\beta$."""

    beta: float | Array = 1.0

    @property
    def strengths(self):
        return (self.beta,)

    def difference(self, free, nudged):
        return (nudged[0] - free) / self.beta


class Centred(AbstractNudge):
    r"""Two phases, at $\pm\beta$: $\Delta q=(q^{+\beta}-q^{-\beta})/2\beta$, an error of second order."""

    beta: float | Array = 0.1

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
        ends: list[Any] = [self.start, self.end]
        known = all(isinstance(end, float | int) for end in ends)
        if known and not (np.isfinite(ends).all() and self.start * self.end > 0):
            raise ValueError(f"Fading(start={self.start}, end={self.end}) must both be finite, not 0 and of one sign")
        if isinstance(self.updates, float | int) and not self.updates > 0:
            raise ValueError(f"Fading(updates={self.updates}) must be above 0")

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
        # Rounding must not carry it beyond its ends, up to which its phases are certified.
        beta = jnp.clip(start * (end / start) ** share, jnp.minimum(start, end), jnp.maximum(start, end))
        return self.kind(beta).now(update, key)
