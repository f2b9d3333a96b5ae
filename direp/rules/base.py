"""The one interface of all rules, and `estimate`, which settles the free phase of a batch and asks a rule."""

import dataclasses
from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Int, Num, PRNGKeyArray

from ..model import Network
from ..settling import (
    CONVERGED,
    UNMOVED,
    AbstractMethod,
    AbstractStop,
    ContractionProof,
    Settled,
    check_kind,
    compiled,
    how_to_settle,
    persist,
    run,
    unless_it_repels,
    within_trace,
)
from .cost import AbstractCost, SquaredError
from .feedback import alike
from .learned import initialise, parameters_of
from .nudge import Nudged, nudges_of
from .problem import Estimate, Problem, keep_field


class AbstractRule(eqx.Module):
    """How synapses estimate the gradient of the mean cost of a batch.

    A new rule is one class with this method. It gets a `Problem`: the batch, the settled free phase, and the means to
    run further phases (`problem.nudge`, `problem.settle`), which may be watched step by step. It answers with
    `problem.estimate(gradient, used, phases)`. A network that it cannot work on it refuses there, with a `ValueError`
    that says the way out: the method runs when a program is traced.

    A rule may hold other rules and ask them, and may hold `Learned` arrays of its own.
    """

    @abstractmethod
    def estimate(self, problem: Problem, key: PRNGKeyArray | None) -> Estimate:
        """The gradient estimate of a batch. `key` is for random choices; `None` if the caller gave none."""


def needs_derivative(rule: AbstractRule, network: Network) -> None:
    """Refuse an activation without derivative, for the rules that use it."""
    for activation in (network.neuron.transfer, network.neuron.rate):
        if not activation.differentiable:
            raise ValueError(
                f"{type(rule).__name__} needs the derivative of the activation, and {activation.name!r} has none: use "
                "Local(), which needs responses alone, or a smooth activation such as sigmoid"
            )


def estimate(
    network: Network,
    x: Num[ArrayLike, "batch input"],
    y: Num[ArrayLike, "batch output"],
    rule: AbstractRule,
    *,
    cost: AbstractCost | None = None,
    method: AbstractMethod | None = None,
    stop: AbstractStop | None = None,
    state: Num[ArrayLike, "batch free"] | None = None,
    valid: Bool[Array, " batch"] | None = None,
    weight: Num[ArrayLike, " batch"] | None = None,
    update: Int[Array, ""] | int = 0,
    key: PRNGKeyArray | None = None,
    certificate: ContractionProof | None = None,
) -> Estimate:
    """Settle the free phase of a batch, and ask a rule for the gradient of its mean cost.

    **Arguments:**

    - `rule`: any rule of `direp.rules`. What it learns itself is drawn from `key` unless it has been.
    - `cost`: by default `SquaredError()`.
    - `method`, `stop`: how to settle, as in `settle`; the same for all phases.
    - `state`: where the free phase starts; by default at rest.
    - `valid`: samples to leave out are `False` (padding of a last batch).
    - `weight`: how much each sample counts in the mean cost, 0 or above; by default all alike. Such a mean is that of a
      batch in which every sample stands as often.
    - `update`, `key`: the number of the update and a JAX random key, for rules with a schedule or random choices.
    - `certificate`: as in `settle`; the free phase and those of nudges that it names get their `error`. A
      sample with an error left whose response is below these bars is not used, and its phases say `UNMOVED`. Where
      JAX traces the call there are no bars, and no sample is left out for them.

    Compiled on the first call for each shape of the arguments, and kept.
    """
    for name, value, kind, instead in (
        ("network", network, Network, "a network such as direp.Network(graph, direp.Projected(), key=...)"),
        ("rule", rule, AbstractRule, "a rule object such as direp.Local(beta=2.0)"),
        ("cost", SquaredError() if cost is None else cost, AbstractCost, "a cost object such as direp.CrossEntropy()"),
    ):
        check_kind(f"estimate({name}=...)", value, kind, instead)
    cost = SquaredError() if cost is None else cost
    chosen, stop = how_to_settle("estimate", network, method, stop, certificate)
    inputs, targets = _table(x, network.dtype), _table(y, network.dtype)
    if inputs.ndim != 2 or targets.shape != (inputs.shape[0], network.graph.outputs):
        raise ValueError(
            f"estimate: y has shape {targets.shape} and x {inputs.shape}; needed are {network.graph.outputs} targets "
            f"for each row of {network.graph.inputs} inputs"
        )
    start = None if state is None else _table(state, network.dtype)
    if start is not None and start.shape != (len(inputs), network.graph.free):
        needed = (len(inputs), network.graph.free)
        raise ValueError(f"estimate(state=...) has shape {start.shape}; needed is {needed}")
    counted: Any = np.ones(len(inputs), bool) if valid is None else valid
    number: Any = np.asarray(update, np.int32) if isinstance(update, int) else update
    if parameters_of(rule):
        rule = initialise(rule, network, jax.random.key(0) if key is None else key)
    weights = None if weight is None else _table(weight, network.dtype)
    if weights is not None and weights.shape != (len(inputs),):
        raise ValueError(f"estimate(weight=...) has shape {weights.shape}; needed is ({len(inputs)},): one a sample")
    parts = [network, inputs, targets, rule, cost, chosen, stop, start, counted, number, key, weights]
    if within_trace(parts):
        return _estimate(*parts, False)
    found = _compiled(*parts, certificate is not None)
    if method is None:
        persistent = persist(network, chosen, stop, _results(found, inputs, targets, counted))
        if persistent is not None:
            parts[5], first = persistent, found.free
            found = _compiled(*parts, certificate is not None)
            free = unless_it_repels(network, inputs, *(_replace_error(each, None) for each in (first, found.free)))
            repels = np.asarray(found.free.converged) & ~np.asarray(free.converged)
            if repels.any():
                parts[8] = np.asarray(counted) & ~repels
                again = _compiled(*parts, certificate is not None)
                phases = tuple(_with_result(phase, repels, free.result) for phase in again.nudged)
                free, loss = _replace_error(free, again.free.error), cost.value(network.outputs(free.state), targets)
                found = dataclasses.replace(again, free=free, nudged=phases, loss=jnp.where(repels, loss, again.loss))
    if certificate is None:
        return found
    found = _with_bars(found, certificate)
    hidden = _hidden(network, cost, targets, found)
    if not hidden.any():
        return found
    parts[8] = np.asarray(counted) & ~hidden
    found = _with_bars(_compiled(*parts, True), certificate)
    results = [np.where(hidden, UNMOVED, phase.result) for phase in found.nudged]
    return eqx.tree_at(lambda e: [phase.result for phase in e.nudged], found, results)


def _with_result(phase: Settled, rows: np.ndarray, result: Any) -> Settled:
    return dataclasses.replace(phase, result=jnp.where(rows, result, phase.result))


def _replace_error(phase: Settled, error: Any) -> Settled:
    return dataclasses.replace(phase, error=error)


def _results(found: Estimate, x: Any, y: Any, counted: Any) -> np.ndarray:
    """How the phases of the samples that count ended."""
    ended = np.array([phase.result for phase in (found.free, *found.nudged)])
    if (ended == CONVERGED).all():
        return ended
    return ended[:, np.asarray(counted) & np.isfinite(x).all(-1) & np.isfinite(y).all(-1)]


def _hidden(network: Network, cost: AbstractCost, y: Any, found: Estimate) -> np.ndarray:
    """The samples with an error left whose response to a nudge is less than the error bars of its phases."""
    free, hidden = found.free, np.zeros(len(y), bool)
    error = np.abs(np.asarray(cost.gradient(network.outputs(free.state), jnp.asarray(y)))).max(-1)
    left = np.asarray(found.used) & (error > np.sqrt(np.finfo(error.dtype).eps))
    for phase in found.nudged if free.error is not None else ():
        if phase.error is not None:
            away = np.abs(np.asarray(phase.state, np.float64) - np.asarray(free.state, np.float64)).max(-1)
            hidden |= left & (away > 0) & (away < np.max(phase.error + free.error, -1))
    return hidden


def _with_bars(found: Estimate, certificate: ContractionProof) -> Estimate:
    """Bounds in place of the fields that phases have kept."""

    def bar(phase: Settled) -> Settled:
        field: Any = phase.error  # of a phase that a rule settles by itself there is none
        return phase if field is None else _replace_error(phase, certificate.error(field, np.asarray(phase.state)))

    phases = bar(found.free), tuple(bar(phase) for phase in found.nudged)
    return eqx.tree_at(lambda e: (e.free, e.nudged), found, phases)


def _table(values: Any, dtype: Any) -> Any:
    return jnp.asarray(values, dtype) if isinstance(values, jax.Array) else np.asarray(values, dtype)


def _estimate(network, x, y, rule, cost, method, stop, start, valid, update, key, weight, keep) -> Estimate:
    x, y, update = jnp.asarray(x), jnp.asarray(y), jnp.asarray(update)
    # A sample that is not all numbers has no part in anything.
    valid = jnp.asarray(valid) & jnp.isfinite(x).all(-1) & jnp.isfinite(y).all(-1)
    if weight is not None:
        weight = jnp.asarray(weight)
        valid &= weight > 0
    field = network.field(x)
    start = network.rest(x.shape[0]) if start is None else jnp.asarray(start)
    strengths = [jnp.abs(jnp.asarray(beta, y.dtype)) for nudge in nudges_of(rule) for beta in nudge.strengths]
    weakest = Nudged(field, cost, y, jnp.stack(strengths).min()) if strengths else None
    free, _ = run(field, start, method, stop, signals=weakest)
    free = keep_field(free, field) if keep else free
    found = rule.estimate(Problem(field, y, cost, method, stop, free, valid, update, keep=keep, weight=weight), key)
    wanted = jax.tree.structure(parameters_of(rule))
    if jax.tree.structure(found.gradient.rule) != wanted:
        raise ValueError(
            f"{type(rule).__name__} holds parameters that it learns itself, and its gradient must have an entry for "
            f"each: Parameters.rule is {jax.tree.structure(found.gradient.rule)}, needed is {wanted}"
        )
    return dataclasses.replace(found, gradient=alike(found.gradient))


_compiled = compiled(_estimate)
