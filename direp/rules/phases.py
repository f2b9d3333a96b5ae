"""Which phases a rule runs, found by asking it, and what is known of each for certificates of convergence."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from ..model import AbstractField, Coupling, Network, NetworkField, declared
from ..model.synapses import Weight
from ..settling import CONVERGED, Settled, Tolerance, choose_method
from .base import AbstractRule
from .cost import AbstractCost, SquaredError
from .feedback import feedback_of
from .learned import initialise, parameters_of, with_parameters
from .nudge import AbstractNudge
from .problem import Problem


class FieldPhase(NamedTuple):
    """Phases of a field that is not the network's own, but whose class says what a certificate needs to know of it.

    `strengths`: of the nudge within, one a phase; empty for a single phase without one.
    """

    name: str
    coupling: Coupling
    strengths: tuple[float, ...]


class RuleRun(NamedTuple):
    """What a rule runs after the free phase.

    - `nudges`: those whose phases are the network with a current into its outputs and nothing else.
    - `fields`: the other phases of which enough is known for a certificate.
    - `others`: names of all else that it settles, and of nudges whose strength is learned or computed from the batch,
      each with why no certificate of a network covers it.
    - `watched`: whether it looks at the steps of a phase, and not only at its end.
    - `feedback`: the strengths by which the fields of a coupling with `feedback` send back.
    """

    nudges: tuple[AbstractNudge, ...]
    fields: tuple[FieldPhase, ...]
    others: dict[str, str]
    watched: bool
    feedback: Weight | None = None

    @property
    def strengths(self) -> tuple[float, ...]:
        r"""Every $\beta$ of the nudged phases, once."""
        return _strengths(*self.nudges)

    def of(self, rule: AbstractRule, network: Network) -> "RuleRun":
        """The same for another network of its kind, and its rule: with the strengths of that one's feedback, where it
        has them already."""
        if not any(field.coupling.feedback for field in self.fields):
            return self
        drawn = () if None in parameters_of(rule) else feedback_of(rule)
        apart = [weight for each in drawn if (weight := each.weight(network)) is not None]
        return self._replace(feedback=apart[0] if len(apart) == 1 else None)

    @property
    def uncovered(self) -> tuple[str, ...]:
        """The phases of which no certificate of a network speaks, each with why."""
        unknown = () if self.feedback is not None else dict.fromkeys(f.name for f in self.fields if f.coupling.feedback)
        return (*(f"{name}: {why}" for name, why in self.others.items()), *(f"{name}: {_UNKNOWN}" for name in unknown))


_UNKNOWN = (
    "the strengths of the feedback by which it sends back are not known: take the rule of a training, or draw them by "
    "direp.rules.initialise(rule, network, key); of several feedbacks in one rule nothing is known"
)


def _strengths(*nudges: AbstractNudge) -> tuple[float, ...]:
    return tuple(dict.fromkeys(float(np.asarray(beta)) for nudge in nudges for beta in nudge.strengths))


def named(label: str, strengths: Sequence[Any], dtype: Any) -> dict[str, float]:
    """Phases by name, each with its strength as a network of this precision has it; of a label alone, if it has none.

    `beta=+0.5`: six digits where they mean this number in this precision, else every digit that tells it from others.
    """
    phases = {}
    for given in strengths:
        with np.errstate(over="ignore"):
            beta = np.asarray(given, np.float64).astype(dtype)[()]
        if not np.isfinite(beta):
            raise ValueError(f"a nudge has beta={float(given):g}, which {np.dtype(dtype).name} cannot hold")
        short = f"{float(beta):+g}"
        digits = short if np.asarray(float(short), dtype) == beta else f"{'' if beta < 0 else '+'}{beta!s}"
        phases[f"{label} beta={digits}".strip()] = float(beta)
    return phases if strengths or not label else {label: 0.0}


class _Record:
    """Stands in for the settling of phases: notes them, and answers with the free state.

    `field` and `cost` are those of the network that is asked about: a rule may pose other problems to rules within it.
    """

    field: NetworkField
    cost: AbstractCost

    def __init__(self):
        self.run: list[tuple[str, Coupling, AbstractNudge | None]] = []
        self.others: dict[str, str] = {}
        self.watched = False

    def settled(self, field: AbstractField, start: Any) -> Settled:
        self._note(field, None)
        return _at_rest(field, start)

    def nudged(self, nudge: AbstractNudge, fields: Sequence[AbstractField]) -> None:
        for field in fields:
            self._note(field, nudge)

    def _note(self, field: AbstractField, nudge: AbstractNudge | None) -> None:
        """What is known of a field, if it is one of this network, at any inputs, with the nudge of this cost."""
        name, own, coupling = type(field).__name__, self.field, declared(field)
        networks = jax.tree.leaves(field, is_leaf=lambda node: isinstance(node, Network))
        same = all(_same(own.network, node) for node in networks if isinstance(node, Network))
        if isinstance(coupling, str):
            self.others[name] = coupling
        elif not same or field.total_leak is not own.total_leak:
            self.others[name] = "it is a field of another network, or made anew"
        elif coupling.cost is not None and not _same(coupling.cost, self.cost):
            self.others[name] = "its nudge is that of another cost"
        elif coupling.cost is not None and nudge is None:
            self.others[name] = "the strength of its nudge is not known before it runs: problem.nudge runs it"
        elif (
            coupling.cost is not None and coupling.jacobian != "bounded" and coupling.slope != own.network.neuron.slope
        ):
            self.others[name] = "its nudge is not that of the network"
        else:
            nudge = None if coupling.cost is None else nudge
            self.run.append((name, coupling._replace(cost=None), nudge))


def _same(one: Any, other: Any) -> bool:
    """Whether two objects hold the very same arrays, traced or not, in one structure."""
    mine, theirs = jax.tree.flatten(one), jax.tree.flatten(other)
    return mine[1] == theirs[1] and all(a is b for a, b in zip(mine[0], theirs[0], strict=True))


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
        record.field, record.cost = field, cost or SquaredError()
        problem = Problem(field, y, record.cost, method, stop, free, valid, jnp.array(0, jnp.int32), record=record)
        with_parameters(rule, own).estimate(problem, key)

    # What a rule learns has no fixed value: it is traced, and so is whatever is computed from it.
    jax.eval_shape(ask, jax.eval_shape(lambda: parameters_of(initialise(rule, network, jax.random.key(0)))))
    nudges, fields, others = [], [], record.others
    for name, coupling, nudge in record.run:
        if nudge is not None and any(isinstance(beta, Tracer) for beta in nudge.strengths):
            others[type(nudge).__name__] = "its strength is learned, or computed from the batch"
        elif coupling.jacobian != "network":
            fields.append(FieldPhase(name, coupling, () if nudge is None else _strengths(nudge)))
        elif nudge is not None and not any(nudge is known for known in nudges):
            nudges.append(nudge)
    run = RuleRun(tuple(nudges), tuple(dict.fromkeys(fields)), others, record.watched)
    return run.of(rule, network)


def with_nudge(rule: AbstractRule, nudge: AbstractNudge) -> AbstractRule:
    """The same rule with this nudge in place of every one that it holds."""
    is_nudge = lambda node: isinstance(node, AbstractNudge)  # noqa: E731
    return jax.tree.map(lambda node: nudge if is_nudge(node) else node, rule, is_leaf=is_nudge)
