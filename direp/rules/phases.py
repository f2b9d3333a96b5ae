"""Which phases a rule runs, found by asking it: certificates of convergence cover the nudged ones."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from ..model import AbstractField, Network
from ..settling import CONVERGED, Settled, Tolerance, choose_method
from .base import AbstractRule
from .cost import AbstractCost, SquaredError
from .learned import initialise, parameters_of, with_parameters
from .nudge import AbstractNudge
from .problem import Problem


class RuleRun(NamedTuple):
    """What a rule runs after the free phase.

    - `nudges`: those whose phases are the network with a current into its outputs and nothing else.
    - `others`: names of the other fields that it settles, and of nudges whose strength is learned or computed from the
      batch; no certificate of a network covers these.
    - `watched`: whether it looks at the steps of a phase, and not only at its end.
    """

    nudges: tuple[AbstractNudge, ...]
    others: tuple[str, ...]
    watched: bool

    @property
    def strengths(self) -> tuple[float, ...]:
        r"""Every $\beta$ of the nudged phases, once."""
        return tuple(dict.fromkeys(float(np.asarray(b)) for nudge in self.nudges for b in nudge.strengths))


class _Record:
    """Stands in for the settling of phases: notes them, and answers with the free state."""

    def __init__(self):
        self.nudges: list[AbstractNudge] = []
        self.others: list[str] = []
        self.watched = False

    def __call__(self, field: AbstractField, start: Any, observed: Any) -> tuple[Settled, Any]:
        self.others.append(type(field).__name__)
        return _at_rest(field, start), observed


def _at_rest(field: AbstractField, state: Any) -> Settled:
    drive = field.drive(state)
    none = jnp.zeros(state.shape[0], jnp.int32)
    return Settled(state, field.rate(state), drive, jnp.zeros_like(drive[:, 0]), none, none + CONVERGED)


def phases_of(rule: AbstractRule, network: Network, cost: AbstractCost | None = None) -> RuleRun:
    """The phases that a rule runs on a network, also those of rules within it. Nothing is computed.

    Raises the `ValueError` with which the rule refuses such a network.
    """
    record = _Record()

    def ask(own: tuple[Any, ...]) -> None:
        field = network.field(jnp.zeros((1, network.graph.inputs), network.dtype))
        y = jnp.full((1, network.graph.outputs), 1 / network.graph.outputs, network.dtype)
        free, key = _at_rest(field, network.rest(1)), jax.random.key(0)
        method, stop, valid = choose_method(network), Tolerance(), jnp.ones(1, bool)
        problem = Problem(
            field, y, cost or SquaredError(), method, stop, free, valid, jnp.array(0, jnp.int32), record=record
        )
        with_parameters(rule, own).estimate(problem, key)

    # What a rule learns has no fixed value: it is traced, and so is whatever is computed from it.
    jax.eval_shape(ask, jax.eval_shape(lambda: parameters_of(initialise(rule, network, jax.random.key(0)))))
    fixed, others = [], record.others
    for nudge in record.nudges:
        if any(isinstance(beta, Tracer) for beta in nudge.strengths):
            others.append(type(nudge).__name__)
        else:
            fixed.append(nudge)
    return RuleRun(tuple(fixed), tuple(dict.fromkeys(others)), record.watched)


def with_nudge(rule: AbstractRule, nudge: AbstractNudge) -> AbstractRule:
    """The same rule with this nudge in place of every one that it holds."""
    is_nudge = lambda node: isinstance(node, AbstractNudge)  # noqa: E731
    return jax.tree.map(lambda node: nudge if is_nudge(node) else node, rule, is_leaf=is_nudge)
