"""The gradient that a run would descend, as the numbers it stores, and what a step along it does to a network."""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ...model import Network, Parameters
from ...rules import AbstractRule, Companions, companions, parameters_of
from .following import Following, refusal
from .linear import shared

_PARTS = ("init", "gradient", "project", "following", "moves")
_WITH_COMPANIONS = "The control sets leaks by companions of synapses too, and leaks that follow those are not covered."


@eqx.filter_jit
def _controlled(
    network: Network, gradient: Parameters, control: Any, beside: tuple[Companions, ...]
) -> tuple[Any, Parameters]:
    """The state of a control, and what it makes of a gradient."""
    state = control.init(network)
    return state, control.gradient(network, state, gradient, beside)


@dataclass(frozen=True, eq=False)
class Stored:
    """A gradient, and the control that stands between it and the network (or none).

    - `gradient`: what the control makes of the rule's; of leaks nothing. `state`: the control's.
    - `numbers`: every strength that learns once, then every bias. `weight`, `bias`: the same as a matrix (units x free)
      and a vector.
    - `following`: how leaks follow the weights; `share`: how far each certainly does. `refusal`: what is not covered.
    - `companions`: of synapses, which a rule's feedback has and a control keeps certified beside the weights.
    """

    network: Network
    gradient: Parameters
    control: Any
    state: Any
    numbers: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    following: Following | None
    share: np.ndarray | None
    refusal: str
    companions: tuple[Companions, ...] = ()

    @classmethod
    def of(cls, network: Network, gradient: Parameters, control: Any, rule: AbstractRule | None = None) -> "Stored":
        beside = companions(parameters_of(rule))
        state = following = share = None
        reason = ""
        if control is not None:
            if not all(hasattr(control, name) for name in _PARTS):
                raise ValueError(
                    f"certify_learning(control=...) is a {type(control).__name__}; it must be a control or a guarantee "
                    "of training, such as LeakController()"
                )
            state, gradient = _controlled(network, gradient, control, beside)
            following = control.following(network, state)
        if following is not None:
            reason = _WITH_COMPANIONS if beside else refusal(following, network)
            share = None if reason else following.share(network)
        graph, synapses = network.graph, network.synapses
        leak = jnp.zeros_like(gradient.leak)
        gradient = gradient._replace(weight=synapses.mask(gradient.weight), leak=leak, rule=())
        strengths = np.asarray(synapses.strengths(gradient.weight), np.float64)
        bias = np.asarray(gradient.bias, np.float64) * graph.bias
        weight = np.zeros((graph.units, graph.free))
        weight[graph.source, graph.target - graph.inputs] = strengths
        group = shared(network)
        each = strengths if group is None else strengths[np.unique(group, return_index=True)[1]]
        numbers = np.concatenate([each, bias]) if graph.bias else each
        return cls(network, gradient, control, state, numbers, weight, bias, following, share, reason, beside)

    def leak_slopes(self) -> tuple[np.ndarray, np.ndarray] | None:
        """As `Following.slopes`, along this step; `None` where leaks stay."""
        if self.following is None or self.share is None:
            return None
        return self.following.slopes(self.network, self.share, -self.weight[self.network.graph.inputs :])

    def kept(self, size: float) -> float | None:
        """A step, shortened until the control changes nothing of it; `None` where it changes even small ones, or that
        is not known.

        The set of the control is convex, up to where a weight changes its sign if outflow has a corner there: where it
        holds a network and a step's end, it holds all between.
        """
        if self.control is None or self.following is not None:
            return size
        if self.control.moves:
            return None  # its norm moves along the step, and its set need not be convex
        parameters = self.network.parameters
        largest = max(float(jnp.abs(leaf).max(initial=0)) for leaf in jax.tree.leaves(parameters))
        tried = size or 1e-3 * largest / float(np.abs(self.numbers).max())
        if self.network.neuron.outflow.corner:
            tried = min(tried, self._turn())
        if not self._unchanged(0.0):
            return None
        for _ in range(12):
            if self._unchanged(tried):
                return tried if size else 0.0
            tried /= 4
        return None

    def _turn(self) -> float:
        """The size at which the first weight between free units changes its sign; infinite if none does."""
        inputs = self.network.graph.inputs
        weight, change = np.asarray(self.network.matrix, np.float64)[inputs:], self.weight[inputs:]
        falling = weight * change > 0
        return 0.999 * float(np.min(weight[falling] / change[falling], initial=np.inf))

    def _unchanged(self, size: float) -> bool:
        step = lambda p, g: p - size * g  # noqa: E731
        moved = jax.tree.map(step, self.network.parameters, self.gradient)
        beside = tuple(
            jax.tree.map(step, each.recurrent, self.gradient.weight.recurrent) if each.learned else each.recurrent
            for each in self.companions
        )
        after, _, kept = self.control.project(self.network.replace(moved), self.state, beside)
        pairs = zip(jax.tree.leaves((after._replace(rule=()), kept)), jax.tree.leaves((moved, beside)), strict=True)
        return all(np.array_equal(a, b) for a, b in pairs)
