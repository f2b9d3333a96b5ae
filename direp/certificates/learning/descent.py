"""Does a rule descend? Its phases are enclosed and its step is compared with the exact gradient, in ball arithmetic."""

from collections.abc import Sequence
from typing import Any

import flint
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Num

from ...arithmetic import exact, precise
from ...model import Network
from ...rules import (
    AbstractCost,
    AbstractRule,
    Adjoint,
    CrossEntropy,
    Dyadic,
    Estimate,
    Fading,
    Local,
    RandomSign,
    Safeguard,
    SquaredError,
    estimate,
    phases_of,
)  # fmt: skip
from ...settling import AbstractStop, Tolerance
from ...settling.methods import AbstractMethod
from ..convergence import Verdict, refuse_tracing
from .certificate import LearningCertificate, SampleVerdict, Step
from .directions import conditions
from .linear import PostBack, Sample, shared
from .structure import detailed_balance, pairs, structural

_CLAIM = "a small step of {rule} lowers the mean cost of this batch"
_LARGEST = 200  # free units whose phases are enclosed
_CHECK = "equilibria, adjoints and inner products enclosed in ball arithmetic, 128 bits"
_EXACT = (Adjoint, Dyadic)


@np.errstate(over="ignore", invalid="ignore", divide="ignore")  # what overflows is not proved
def certify_learning(
    network: Network,
    x: Num[ArrayLike, "batch input"],
    y: Num[ArrayLike, "batch output"],
    rule: AbstractRule,
    *,
    cost: AbstractCost | None = None,
    method: AbstractMethod | None = None,
    stop: AbstractStop | None = None,
) -> LearningCertificate:
    r"""Prove that a rule descends the mean cost of a batch, or that it ascends, or say what is missing.

    The verdict is on the rule as run, with its own nudge: the equilibria of all its phases are enclosed in balls, with
    them the rule's estimate and the exact gradient, and the sign of their inner product over all weights and biases
    that learn is certain or not. Beside it stand the conditions T1 to T6 and the closed forms, most of them in the
    limit of a small nudge, some of them for more than this batch.

    **Arguments:**

    - `rule`: `Local` is covered in full; `Adjoint` and `Dyadic` are exact, so only the gradient is. Other rules
      are undecided; `direp gradient` measures them.
    - `cost`, `method`, `stop`: as in `estimate`. Samples that do not settle are left out and named.

    **Returns:**

    A [`LearningCertificate`][direp.LearningCertificate]. Raises `ValueError` for a rule that the network cannot have,
    for a nudge or a cost that balls cannot read, and when traced.
    """
    refuse_tracing("certify_learning", network, x, y, rule)
    cost = SquaredError() if cost is None else cost
    # As the network sees them, in its own precision.
    x, y = (np.atleast_2d(np.asarray(table, np.float64)).astype(network.dtype).astype(np.float64) for table in (x, y))
    phases_of(rule, network, cost)  # raises where the rule refuses the network
    nudge = getattr(rule, "nudge", None)
    if isinstance(nudge, Fading | RandomSign) or isinstance(rule, Safeguard):
        raise ValueError(
            f"certify_learning({type(rule).__name__}) changes from update to update: name the rule of one update, such "
            "as Local(Centred(0.1))"
        )
    if isinstance(cost, CrossEntropy) and not np.allclose(y.sum(1), 1):
        raise ValueError(f"certify_learning(y=...): CrossEntropy needs targets that sum to one; they sum to {y.sum(1)}")
    stop = stop or Tolerance(max_steps=50_000)
    phases = estimate(network, x, y, rule, cost=cost, method=method, stop=stop)
    used = np.asarray(phases.used)
    left_out = tuple(int(n) for n in np.flatnonzero(~used))
    with precise():
        return _certify(network, x, y, rule, cost, phases, np.flatnonzero(used), left_out)


def _certify(network, x, y, rule, cost, phases: Estimate, used: np.ndarray, left_out) -> LearningCertificate:
    name = type(rule).__name__
    beta = _as_run(network, rule).strengths if isinstance(rule, Local) else ()
    as_run = f"as run ({name}" + (f", beta={', '.join(f'{b:+g}' for b in beta)})" if beta else ")")
    steps = [_structural(network, cost), detailed_balance(network), pairs(network)] if isinstance(rule, Local) else []
    enclosed: _Enclosed | None = None
    reason = ""
    if not len(used):
        reason = "No sample settled: raise the leaks or allow more steps."
    elif network.graph.free > _LARGEST:
        reason = f"Phases are enclosed for up to {_LARGEST} free units; this network has {network.graph.free}."
    elif not isinstance(rule, (Local, *_EXACT)):
        reason = f"{name} has no certificate: direp gradient measures it; Local, Adjoint and Dyadic have one."
    elif closed := [a.name for a in (network.neuron.rate, network.neuron.transfer) if a.enclose is None]:
        reason = f"Activation {closed[0]!r} has no enclosure over balls: give it enclose=..."
    else:
        try:
            enclosed = _Enclosed.of(network, x, y, rule, cost, phases, used)
        except _NotEnclosed as missing:
            reason = str(missing)
        except ZeroDivisionError:
            reason = "The Jacobian at an equilibrium is singular: raise the leaks."
    if enclosed is not None and isinstance(rule, Local):
        steps += conditions(enclosed.samples)
    verdict, cosine, reason = enclosed.judge(reason) if enclosed is not None else ("undecided", None, reason)
    for_all = ["T6 detailed balance", "T3 output errors"]
    holds = [step for step in steps if step.proved and step.criterion in for_all]
    scope = "these inputs and targets" + (f"; beyond them, {holds[0].criterion}: {holds[0].scope}" if holds else "")
    if left_out:
        reason = (reason + f" {len(left_out)} of {len(x)} samples did not settle and are left out.").strip()
    blame, synapses = enclosed.blame() if enclosed is not None else ((), ())
    return LearningCertificate(
        claim=_CLAIM.format(rule=name),
        verdict=verdict,
        criterion=as_run,
        scope=scope,
        cosine=cosine,
        steps=tuple(steps),
        samples=() if enclosed is None else enclosed.each(),
        left_out=left_out,
        blame=blame,
        synapses=synapses,
        assumptions=(
            "the phases settle at the enclosed equilibria, exactly",
            "weights and biases learn, leaks stay",
            *((f"samples {', '.join(map(str, left_out))} have no part in the cost",) if left_out else ()),
        ),
        check=_CHECK,
        reason=reason,
    )


def _structural(network: Network, cost: AbstractCost) -> Step:
    step = structural(network)
    if isinstance(cost, SquaredError | CrossEntropy):  # convex in the rate of every output, which its proof uses
        return step
    return Step(step.criterion, step.scope, note=f"it does not cover the cost {type(cost).__name__}")


def _check_cost(cost: AbstractCost, sample: Sample) -> None:
    """Raise `ValueError` where a cost's gradient or its enclosure is not the derivative of its value."""
    rate = np.array([float(ball.mid()) for ball in sample.rates[sample.field.hidden :]])
    y = np.asarray(sample.y, np.float64)
    name = type(cost).__name__
    try:
        enclosed = [float(ball.mid()) for ball in cost.enclose(exact(rate), y)[0]]
    except (NotImplementedError, TypeError) as error:
        raise ValueError(f"{name}.enclose cannot be read, so nothing is proved of this cost: {error}") from None
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        given = jnp.asarray(rate), jnp.asarray(y)
        for what, found in (("gradient", cost.gradient(*given)), ("enclose", enclosed)):
            true = np.asarray(jax.grad(lambda rate: cost.value(rate, given[1]))(given[0]))
            if np.abs(np.asarray(found, np.float64) - true).max() > 1e-6 * (1 + np.abs(true).max()):
                raise ValueError(f"{name}.{what} is not the derivative of {name}.value at {rate}: {found}, not {true}")


class _NotEnclosed(Exception):
    """Why the phases of a batch could not be enclosed."""


class _Enclosed:
    """The exact gradient and the rule's estimate of it, for every sample and strength, in balls."""

    def __init__(self, samples: Sequence[Sample], index: np.ndarray, gradients: list, estimates: list):
        self.samples, self.index, self.exact, self.estimated = samples, index, gradients, estimates

    @classmethod
    def of(cls, network, x, y, rule, cost, phases: Estimate, used: np.ndarray) -> "_Enclosed":
        samples, gradients, estimates = [], [], []
        graph = network.graph
        weight = np.asarray(network.matrix)[graph.source, graph.target - graph.inputs][graph.source >= graph.inputs]
        if network.neuron.outflow.corner and (weight == 0).any():
            raise _NotEnclosed(
                f"A synapse between free units has a weight of exactly 0, where {network.neuron.outflow.name} outflow "
                "has a kink and the cost no gradient: move it, or take the synapse out of the graph."
            )
        for n in used.tolist():
            sample = Sample.at(network, x[n], y[n], np.asarray(phases.free.state[n], np.float64))
            if sample is None:
                raise _NotEnclosed(
                    f"The free equilibrium of sample {n} cannot be enclosed: it lies at a corner of the activation, or "
                    "is nearly singular."
                )
            if not samples and not isinstance(cost, SquaredError | CrossEntropy):  # a test tries those
                _check_cost(cost, sample)
            adjoint = sample.adjoint(sample.gradient(cost))
            gradients.append(sample.synapses(adjoint))
            response = adjoint if isinstance(rule, _EXACT) else _response(sample, rule, cost, phases, n)
            estimates.append(sample.synapses(response))
            samples.append(sample)
        return cls(samples, used, gradients, estimates)

    def _total(self, rows: list) -> flint.arb_mat:
        return sum(rows[1:], rows[0])

    def judge(self, reason: str) -> tuple[Verdict, tuple[float, float], str]:
        exact, estimated = self._total(self.exact), self._total(self.estimated)
        verdict = _sign(_inner(exact, estimated))
        if verdict == "refuted":
            reason = "It moves against the gradient of this batch: use AsymEP, or Safeguard(rule)."
        elif verdict == "undecided":
            flat = all(entry == 0 for entry in exact.entries())
            reason = (
                "The gradient of this batch is zero: its outputs have no error, or rest at a face of the box."
                if flat
                else "The inner product is too close to zero for its sign to be certain."
            )
        return verdict, _cosine(exact, estimated), reason

    def each(self) -> tuple[SampleVerdict, ...]:
        return tuple(
            SampleVerdict(int(n), _sign(_inner(exact, estimated)), _cosine(exact, estimated))
            for n, exact, estimated in zip(self.index, self.exact, self.estimated, strict=True)
        )

    def blame(self) -> tuple[tuple[str, ...], tuple[tuple[str, str, float], ...]]:
        """Units and synapses that move against the gradient, by the middles of the balls.

        Of synapses that share a strength the first stands for all; their part belongs to no single unit.
        """
        network = self.samples[0].network
        graph = network.graph
        exact, estimated = (
            np.array([float(entry.mid()) for entry in self._total(rows).entries()])
            for rows in (self.exact, self.estimated)
        )
        part = exact * estimated
        total = np.abs(part).sum() or 1.0
        group, names = shared(network), graph.names
        source, target = graph.source, graph.target - graph.inputs
        if group is not None:
            first = np.unique(group, return_index=True)[1]
            source, target = source[first], target[first]
        unit = np.zeros(graph.free) if group is not None else np.bincount(target, part[: len(target)], graph.free)
        if graph.bias:
            unit = unit + part[len(target) :]
        worst = [int(k) for k in np.argsort(unit) if unit[k] < 0]
        wrong = [int(k) for k in np.argsort(part[: len(target)])[:10] if part[k] < 0]
        synapses = tuple((names[source[k]], names[graph.inputs + target[k]], float(part[k] / total)) for k in wrong)
        return tuple(names[graph.inputs + k] for k in worst), synapses


def _response(sample: Sample, rule: Local, cost: AbstractCost, run: Estimate, n: int) -> PostBack:
    """`post` and `back` of `Local` at the enclosed equilibria of its phases."""
    free = (sample.rates, sample.field.drives(sample.rates)[0])
    phases, nudge = [], _as_run(sample.network, rule)
    for beta, phase in zip(nudge.strengths, run.nudged, strict=True):
        found = sample.nudged(np.asarray(phase.state[n], np.float64), beta, cost)
        if found is None:
            raise _NotEnclosed(
                f"The phase at beta={beta:+g} of sample {n} cannot be enclosed: it ends at a corner of the "
                "activation or at a face that does not hold it; another beta may do."
            )
        phases.append(found)
    try:
        d_rate, d_drive = (
            np.asarray(nudge.difference(free[k], [phase[k] for phase in phases]))[:, None] for k in (0, 1)
        )
    except TypeError as error:
        name = type(nudge).__name__
        raise ValueError(f"{name}.difference cannot be read in balls, so nothing is proved of it: {error}") from None
    return d_rate, sample.back(d_rate, d_drive)


def _as_run(network: Network, rule: Local) -> Any:
    """The nudge with its numbers as the network sees them, in its own precision."""
    return jax.tree.map(lambda leaf: float(np.asarray(leaf, network.dtype)), rule.nudge)


def _inner(one: flint.arb_mat, other: flint.arb_mat) -> flint.arb:
    return (one * other.transpose())[0, 0]


def _sign(ball: flint.arb) -> Verdict:
    return "proved" if ball > 0 else "refuted" if ball < 0 else "undecided"


def _cosine(exact: flint.arb_mat, estimated: flint.arb_mat) -> tuple[float, float]:
    """Bounds of the cosine, rounded outwards."""
    size = (_inner(exact, exact) * _inner(estimated, estimated)).sqrt()
    if not size > 0:
        return -1.0, 1.0
    ball = _inner(exact, estimated) / size
    middle, radius = float(ball.mid()), float(ball.rad()) * (1 + 1e-9) + 1e-15
    return max(middle - radius, -1.0), min(middle + radius, 1.0)
