"""Constraints keep the parameters of a network in a set while it learns: a pure projection, and one wrap for all."""

from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from ..certificates.learning import Following
from ..model import Network, Parameters
from ..rules import AbstractCost, AbstractNudge, Companions, alike, companions, named, with_companions
from .update import Bound


class AbstractConstraint(eqx.Module):
    """A set of parameters, and the way back into it after every update.

    A new one says what it needs to know (`init`), how parameters return to the set (`project`) and how a network enters
    it (`begin`). `constrain` applies it.
    """

    @property
    def moves(self) -> bool:
        """Whether a norm moves with the parameters, so that the set need not be convex."""
        return False

    @abstractmethod
    def begin(self, network: Network) -> Network:
        """A network of the set near this one, before training. Raises `ValueError`, with the way out, if there is none
        for such a network."""

    def begin_with(self, network: Network, feedback: tuple[Any, ...]) -> tuple[Network, tuple[Any, ...]]:
        """The same where a rule's feedback has strengths of its own (each arranged like `Weight.recurrent`); by default
        as `project`, from what the network becomes."""
        begun = self.begin(network)
        return begun, self.project(begun, self.init(begun, feedback), feedback)[2]

    @abstractmethod
    def init(self, network: Network, feedback: tuple[Any, ...] = ()) -> Any:
        """What travels with the parameters, for a network of the set and the strengths that a rule's feedback has
        beside it."""

    def gradient(
        self, network: Network, state: Any, gradient: Parameters, feedback: tuple[Companions, ...] = ()
    ) -> Parameters:
        """The gradient of the cost as a function of the parameters before projection, with the companions that a rule's
        feedback has; those that learn get the gradient of their partners."""
        return gradient

    def following(self, network: Network, state: Any) -> Following | None:
        """How leaks follow the weights, where they do: for certificates of learning. `None`: projection alone moves
        parameters, back into their set, and none that lie in it."""
        return None

    @abstractmethod
    def project(
        self, network: Network, state: Any, feedback: tuple[Any, ...] = ()
    ) -> tuple[Parameters, Any, tuple[Any, ...]]:
        """Parameters of the set near those of the network, what travels with them, and what becomes of the strengths
        that a rule's feedback has beside them (each arranged like `Weight.recurrent`). A pure function."""


class AbstractCertified(AbstractConstraint):
    """A constraint all of whose networks are certified to contract."""

    margin: eqx.AbstractVar[float | Array]
    """The rate (1/time) at which they do."""
    full_steps: ClassVar[bool] = True
    """Whether they do in a norm that sees entries alone (l1 or l-infinity), where steps of the length 1/leak settle."""

    def even(self, network: Network) -> bool:
        """Whether all units weigh the same in that norm, and always will."""
        return True


class ConstrainedState(NamedTuple):
    """The state of the constraint, and that of the optimiser within."""

    constraint: Any
    inner: Any


def constrain(
    optimiser: optax.GradientTransformation, constraint: AbstractConstraint, network: Network
) -> optax.GradientTransformation:
    """The optimiser, with the constraint's gradient before it and the projection after it.

    `network` lends all but its parameters. A pytree: arrays of constraint and network are its leaves. Of what a rule
    learns itself (`Parameters.rule`) it sees the `Companions` of synapses, which get the gradient of their partners;
    the rest is the optimiser's alone.
    """
    held = (optimiser, constraint, network)
    return optax.GradientTransformation(Bound(_init, *held), Bound(_update, *held))  # pyright: ignore[reportArgumentType]


def _init(optimiser, constraint: AbstractConstraint, network: Network, params: Any) -> ConstrainedState:
    feedback = tuple(node.recurrent for node in companions(params.rule))
    return ConstrainedState(constraint.init(network.replace(params), feedback), optimiser.init(params))


def _update(
    optimiser, constraint: AbstractConstraint, network: Network, updates: Any, state: ConstrainedState,
    params: Any = None,
) -> tuple[Any, ConstrainedState]:  # fmt: skip
    if params is None:
        raise ValueError(f"{type(constraint).__name__} needs the parameters: call update(updates, state, params)")
    feedback = companions(params.rule)
    updates = alike(constraint.gradient(network.replace(params), state.constraint, updates, feedback))
    updates, inner = optimiser.update(updates, state.inner, params)
    wanted: Any = optax.apply_updates(params, updates)
    feedback, before = (tuple(node.recurrent for node in companions(tree.rule)) for tree in (wanted, params))
    kept, own, feedback = constraint.project(network.replace(wanted), state.constraint, feedback)
    moved = jax.tree.map(jnp.subtract, kept._replace(rule=feedback), params._replace(rule=before))
    return moved._replace(rule=with_companions(updates.rule, moved.rule)), ConstrainedState(own, inner)


def taken(constraint: AbstractCertified, beta: float, cost: AbstractCost, network: Network) -> float:
    """What a nudge can take from the margin that a constraint keeps; infinite if that is not known."""
    slope, one = network.neuron.slope, np.ones(1)
    if slope is None:
        return np.inf
    # Norm weights that are not all one, or need not stay so, make the other outputs count more, by no known factor.
    return float(cost.feedback(beta, slope, one if constraint.even(network) else np.inf * one)[0])


def check_nudges(
    constraint: AbstractCertified, nudges: tuple[AbstractNudge, ...], cost: AbstractCost, network: Network
) -> None:
    """Refuse a nudge that takes more than the margin that the constraint keeps: its phase would not be certified."""
    slope = network.neuron.slope
    if slope is None:
        return
    margin = float(constraint.margin)
    for nudge in nudges:
        strengths = list(named("", nudge.strengths, network.dtype).values())
        positive = "OneSided" if max(strengths) > 0 else "a positive beta"
        for beta in (beta for beta in strengths if beta < 0):
            loss = float(cost.feedback(beta, slope, np.ones(1))[0])
            if loss == np.inf:
                raise ValueError(
                    f"{type(cost).__name__} does not bound what the phase at beta={beta:g} takes from the margin of "
                    f"{type(constraint).__name__}: give it feedback(beta, slope, ratio), or use {positive}"
                )
            if loss >= margin:
                raise ValueError(
                    f"{type(nudge).__name__}: the phase at beta={beta:g} can take {loss:.3g} from the margin "
                    f"{margin:g} that {type(constraint).__name__} keeps, and need not settle; use a beta below "
                    f"{margin * abs(beta) / loss:.3g}, a margin above {loss:.3g}, or {positive}"
                )
