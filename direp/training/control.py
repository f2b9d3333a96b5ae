r"""Controls keep a network certified while it learns; here those in a diagonally weighted norm."""

import functools
from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..arithmetic import opened, placed, space
from ..certificates.convergence import AbstractCriterion, AbstractDiagonal, LocalLeak, Mismatch
from ..certificates.learning import Following
from ..model import Network, Parameters
from ..model.synapses import Weight
from ..rules import beside
from ..settling import check_number
from .constraint import AbstractCertified
from .dies import gradient_of_dies, taken_by_dies


class Confirmed(NamedTuple):
    """What an epoch of updates has left, once it has been looked at: parameters, the control's state, the strengths of
    a rule's feedback, the least margin after any update, the margin at its end, and whether all of it is proved."""

    parameters: Parameters
    state: Any
    feedback: tuple[Any, ...]
    lowest: Array
    margin: Array
    certified: Array


class AbstractControl(AbstractCertified):
    r"""Keeps the rate of contraction at $c_0$ or above, after every update, in the norm of its `criterion`."""

    criterion: eqx.AbstractVar[AbstractCriterion]
    """What proves the networks, after training too."""
    mismatch: eqx.AbstractVar[Mismatch]
    """What dies of these networks may differ by: the rate is that of the slowest."""
    scales: ClassVar[bool] = True
    """Whether weights between free units are scaled towards zero; else they stay as they are."""

    def __check_init__(self):
        check_number(f"{type(self).__name__}(margin", self.margin, above=0)
        if not isinstance(self.mismatch, Mismatch):
            raise ValueError(f"{type(self).__name__}(mismatch={self.mismatch!r}) must be a Mismatch, as Mismatch(0.05)")

    def begin(self, network):
        return self.begin_with(network, ())[0]

    def check(self, network: Network) -> None:
        """Raise `ValueError` if no margin is known."""
        if not np.isfinite(network.neuron.gain):
            activation = next(a for a in (network.neuron.transfer, network.neuron.rate) if a.slope is None)
            raise ValueError(
                f"{type(self).__name__}: activation {activation.name!r} has no slope bounds; give it slope=(d1, d2)"
            )

    @abstractmethod
    def margin_of(self, network: Network, state: Any, feedback: tuple[Any, ...] = ()) -> Array:
        """What each unit has to spare, in the free phase and in those of a feedback."""

    @abstractmethod
    def rounding_of(self, network: Network, state: Any, feedback: tuple[Any, ...] = ()) -> Array:
        """A bound on the error of every `margin_of`."""

    @abstractmethod
    def confirm(
        self, network: Network, state: Any, feedback: tuple[Any, ...], margins: Array, rounding: Array
    ) -> Confirmed:
        """After an epoch, with the margins after each of its updates and the bounds on their rounding."""


class AbstractDiagonalControl(AbstractControl):
    r"""A control in a diagonally weighted norm: every unit's margin stays at $c_0$ or above.

    Up to rounding: in 32 bits, about $10^{-6}$ of the largest sum of weights. The metrics of training and the final
    certificate count it in. Its state are the weights of the norm.
    """

    criterion: eqx.AbstractVar[AbstractDiagonal]

    @abstractmethod
    def inside(
        self, network: Network, norm: Float[Array, " free"], feedback: tuple[Any, ...] = ()
    ) -> tuple[Parameters, tuple[Any, ...]]:
        """Parameters of a network near this one that is certified in this norm, and so is each feedback of a rule (in
        the dual norm), whose strengths are arranged like `Weight.recurrent`; these too."""

    @property
    def moves(self):
        return self.criterion.moves

    def even(self, network):
        return not self.moves and bool((np.asarray(self.init(network)) == 1).all())

    def begin_with(self, network: Network, feedback: tuple[Any, ...]) -> tuple[Network, tuple[Any, ...]]:
        self.check(network)
        parameters, feedback = self.inside(network, self.init(network), feedback)
        return network.replace(parameters), feedback

    def margin_of(self, network, state, feedback=()):
        others = [network.total_leak() - self.criterion.spread(beside(network, each), state) for each in feedback]
        margins = [self.criterion.margin(network, state), *others]
        if self.mismatch.share:
            margins = [m - taken for m, taken in zip(margins, self._taken(network, state, feedback), strict=True)]
        return functools.reduce(jnp.minimum, margins)

    def _taken(self, network: Network, norm: Any, feedback: tuple[Any, ...]) -> list[Array]:
        """By dies, of the margin of the network and of each feedback."""
        return [
            taken_by_dies(self.criterion, network, norm, self.mismatch, None if each is network else each)
            for each in beside_each(network, feedback)
        ]

    def rounding_of(self, network, state, feedback=()):
        several = [self.criterion.rounding(each, state) for each in beside_each(network, feedback)]
        rounding = functools.reduce(jnp.maximum, several) + (several[0] if feedback else 0)
        return rounding * (1 + 4 * self.mismatch.share) if self.mismatch.share else rounding

    def confirm(self, network, state, feedback, margins, rounding):
        proved = (margins > rounding).all()
        return Confirmed(network.parameters, state, feedback, margins.min(), margins[-1], proved)

    def spread(self, network: Network, norm: Float[Array, " free"], feedback: tuple[Any, ...] = ()) -> Array:
        """The most that a unit's synapses, or their companions, take from its margin, and what dies do beyond a share
        of its leak."""
        several = [self.criterion.spread(each, norm) for each in beside_each(network, feedback)]
        if self.mismatch.share:
            dies = zip(several, self._taken(network, norm, feedback), strict=True)
            several = [spread + taken - self.mismatch.share * network.leak for spread, taken in dies]
        return functools.reduce(jnp.maximum, several)

    def init(self, network, feedback=()):
        return self.criterion.initial(network)

    def project(self, network, state, feedback=()):
        norm = self.criterion.refresh(network, state)
        parameters, feedback = self.inside(network, norm, feedback)
        return parameters, norm, feedback


def beside_each(network: Network, feedback: tuple[Any, ...]) -> list[Network]:
    """The network, and one with each feedback in the place of its weights."""
    return [network, *(beside(network, recurrent) for recurrent in feedback)]


class LeakController(AbstractDiagonalControl):
    r"""Every neuron holds its own leak at the criterion,
    $\lambda_i=\max(\mathrm{floor},\ d_2\sum_k|w_{ik}|\eta_k/\eta_i-\kappa\,\mathrm{out}_i(W)+c_0)$.

    The network is certified to contract at rate $c_0$ or faster at every step. A leak that is held there moves with the
    weights, and that part of the gradient, $\partial_{\lambda_i}C\,(d_2\,\mathrm{sgn}(w_{ij})\,\eta_j/\eta_i-
    \kappa_{ij})$, belongs to the synapse too (norm weights count as constant). Local for the criterion `LocalLeak`;
    `Rows` needs a unit's incoming weights, `Perron` a few exchanges with its neighbours. Where it is the companions of
    a learned feedback that hold a leak, that part goes by their signs, and synapse and companion both get it.

    **Arguments:**

    - `margin`: $c_0$ (1/time), the rate that stays certified.
    - `floor`: the least leak that a unit keeps.
    - `criterion`: `LocalLeak()`, `Rows()` or `Perron()`.
    - `follow`: leaks come down again when the weights allow it. `False` only raises them (and suits learned leaks).
    - `through_leak`: leave the second part out with `False`; learning is then blind to what its own control does.
    - `mismatch`: keep $c_0$ in every die too, `Mismatch(0.05)` for devices that are within 5 % of what is stored:
      $\lambda_i$ is then $(1-x)^{-1}$ times what its network needs and what its dies [take][direp.training] beyond.
    """

    scales: ClassVar[bool] = False
    margin: float | Array = 0.1
    floor: float | Array = 1.0
    criterion: AbstractDiagonal = LocalLeak()
    follow: bool = eqx.field(static=True, default=True)
    through_leak: bool = eqx.field(static=True, default=True)
    mismatch: Mismatch = eqx.field(static=True, default=Mismatch(0.0))

    def __check_init__(self):
        check_number("LeakController(floor", self.floor, least=0)

    @np.errstate(all="ignore")
    def needed(self, network: Network, norm: Float[Array, " free"], feedback: tuple[Any, ...] = ()) -> Array:
        """The least leak of every unit that meets the criterion with the margin."""
        _, leak, spare = opened(network.leak, self.margin_of(network, norm, feedback))
        return placed(
            leak + (self.margin - spare) / (1 - self.mismatch.share)
            if self.mismatch.share
            else leak - spare + self.margin
        )

    def _least(self, network: Network) -> Array:
        xp, leak = space(network.leak, self.floor), network.leak
        return placed(xp.maximum(xp.maximum(xp.zeros_like(leak) if self.follow else xp.asarray(leak), self.floor), 0))

    def inside(self, network, norm, feedback=()):
        xp, needed, least = opened(self.needed(network, norm, feedback), self._least(network))
        return network.parameters._replace(leak=placed(xp.maximum(needed, least))), feedback

    def following(self, network, state):
        reason = "Leaks with room for dies are not covered." if self.mismatch.share else ""
        least = np.broadcast_to(np.asarray(self._least(network), np.float64), network.leak.shape)
        return Following(self.criterion, np.asarray(state, np.float64), float(self.margin), least, self.follow, reason)

    def gradient(self, network, state, gradient, feedback=()):
        if not self.through_leak:
            return gradient
        share = self.mismatch.share
        weight, free = gradient.weight, jnp.ones(network.leak.shape, bool)
        still = jax.tree.map(jnp.zeros_like, network.weight)
        learns = [True, *(each.learned for each in feedback)]
        for each, learned in zip(beside_each(network, tuple(each.recurrent for each in feedback)), learns, strict=True):
            spare = network.total_leak() - self.criterion.spread(each, state)
            if share:
                other = None if each is network else each
                spare = spare - taken_by_dies(self.criterion, network, state, self.mismatch, other)
            # A leak that the last projection set differs from the criterion by rounding.
            held = free & (spare - self.margin <= self.criterion.rounding(each, state) * (1 + 4 * share))
            own = jnp.where(held, gradient.leak, 0) / (1 - share)
            by = each.weight if learned else still
            extra = self.criterion.weight_gradient(network, state, own, by)
            weight, free = jax.tree.map(jnp.add, weight, extra), free & ~held
            if share:
                by = None if each is network else by
                dies = gradient_of_dies(self.criterion, network, state, own, self.mismatch, by)
                weight = jax.tree.map(jnp.add, weight, dies)
        return gradient._replace(weight=weight)


class WeightProjection(AbstractDiagonalControl):
    r"""Leaks stay as they are (or as they learn); weights between free units are scaled back until each margin is met,
    and the companions that a rule's feedback has beside them by the same factors.

    A unit scales its outgoing synapses by $f_i=\min(1,(\lambda_i-c_0)/(d_2\sum_k|w_{ik}|\eta_k/\eta_i-\kappa\,
    \mathrm{out}_i))$; for `Rows` its incoming ones, or, with outflow, all units share the smallest factor. A strength
    that several units share gets the smallest of their factors, or, with outflow, that of all units.

    **Arguments:**

    - `margin`: $c_0$ (1/time), the rate that stays certified. Leaks below 1.001 of it are raised to that.
    - `criterion`: `LocalLeak()`, `Rows()` or `Perron()`.
    - `mismatch`: keep $c_0$ in every die too, as in `LeakController`.
    """

    margin: float | Array = 0.1
    criterion: AbstractDiagonal = LocalLeak()
    mismatch: Mismatch = eqx.field(static=True, default=Mismatch(0.0))

    def inside(self, network, norm, feedback=()):
        kept = 1 - self.mismatch.share
        leak = jnp.maximum(network.leak, self.margin * 1.001 / kept)
        excess = self.spread(network, norm, feedback) - network.outflow()
        room = kept * leak - self.margin
        factor = jnp.where(excess > room, room / jnp.where(excess > 0, excess, 1), 1.0)
        weight, *others = (self._scaled(each, factor) for each in beside_each(network, feedback))
        return network.parameters._replace(weight=weight, leak=leak), tuple(other.recurrent for other in others)

    def _scaled(self, network: Network, factor: Array) -> Weight:
        synapses, weight = network.synapses, network.weight
        # Outflow is a sum over a unit's targets: it keeps its part only if all of these have one factor.
        if (self.criterion.incoming or synapses.shared) and network.neuron.outflow.active:
            scaled = jax.tree.map(lambda w: w * factor.min(), weight)
        else:
            scaled = synapses.scaled(weight, factor, incoming=self.criterion.incoming)
        return Weight(weight.input, scaled.recurrent)
