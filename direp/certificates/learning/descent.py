"""Does a rule descend? The gradient that it returned is compared with the exact one, in ball arithmetic."""

from dataclasses import dataclass
from typing import Any

import flint
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Num, PRNGKeyArray

from ...arithmetic import exact, matrix, precise
from ...model import Network
from ...rules import AbstractCost, AbstractRule, CrossEntropy, Local, SquaredError, estimate, initialise, nudges_of
from ...settling import UNMOVED, AbstractStop
from ...settling.methods import AbstractMethod
from ..convergence import Verdict, certify, refuse_tracing
from .certificate import LearningCertificate, SampleVerdict, Step
from .directions import conditions
from .linear import Sample, shared
from .reach import reach
from .stored import Stored
from .structure import detailed_balance, pairs, structural

_CLAIM = "a small step of {rule} lowers the mean cost of this batch"
_LARGEST = 200  # free units whose equilibria are enclosed
_CHECK = "equilibria, adjoints and inner products enclosed in ball arithmetic, 128 bits; steps in first-order forms"
_SGD = "sgd"


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
    update: int = 0,
    key: PRNGKeyArray | None = None,
    control: Any = None,
    optimiser: Any = _SGD,
) -> LearningCertificate:
    r"""Prove that the gradient a rule returns descends the mean cost of a batch, or ascends it, or say what is missing.

    The verdict is on the gradient as stored: `estimate` runs once, with its precision and tolerance, and its numbers
    are taken as exact. The exact gradient of the mean cost over the samples that it used is enclosed in balls, and the
    sign of the inner product over all weights and biases that learn is certain or not. Any rule is covered. Beside it
    stand, for `Local`, the conditions T1 to T6 and the closed forms, most of them in the limit of a small nudge, some
    of them for more than this batch.

    Where it is proved, steps $\theta-\eta g$ are followed for growing $\eta$: `step_size` is the largest found up to
    which the cost is proved to lie below its value at $\theta$.

    **Arguments:**

    - `cost`, `method`, `stop`, `update`, `key`: as in `estimate`. Samples that do not settle are left out and named.
    - `control`: a control or a guarantee of the training. Leaks that follow the weights then are part of the cost's
      dependence on them, and the gradient is the one that the control makes of the rule's.
    - `optimiser`: the name of the training's. The verdict is on plain gradient steps (`"sgd"`); for another one it says
      that its steps are not covered.

    **Returns:**

    A [`LearningCertificate`][direp.LearningCertificate]. Raises `ValueError` for a rule that the network cannot have,
    for a cost that balls cannot read, and when traced.
    """
    refuse_tracing("certify_learning", network, x, y, rule, control)
    if not isinstance(optimiser, str):
        raise ValueError(f"certify_learning(optimiser={optimiser!r}) must be a name, such as 'sgd' or 'adam'")
    cost = SquaredError() if cost is None else cost
    # As the network sees them, in its own precision.
    x, y = (np.atleast_2d(np.asarray(table, np.float64)).astype(network.dtype).astype(np.float64) for table in (x, y))
    if isinstance(cost, CrossEntropy) and not np.allclose(y[np.isfinite(y).all(1)].sum(1), 1):
        raise ValueError(f"certify_learning(y=...): CrossEntropy needs targets that sum to one; they sum to {y.sum(1)}")
    rule = initialise(rule, network, jax.random.key(0) if key is None else key)
    run = estimate(network, x, y, rule, cost=cost, method=method, stop=stop, update=update, key=key)
    step = Stored.of(network, run.gradient, control, rule)
    name = type(rule).__name__ + ("" if control is None else f" with {type(control).__name__}")
    used = np.asarray(run.used)
    with precise():
        found = _judge(network, x, y, cost, np.asarray(run.free.state, np.float64), np.flatnonzero(used), step)
        conditions_ = _conditions(network, rule, cost, found)
    verdict, reason, size = found.verdict, found.reason, 0.0
    if verdict == "refuted":
        reason = "It moves against the gradient of this batch: use AsymEP, Safeguard(rule) or a smaller tolerance."
    if verdict == "proved" and not found.alone:
        reason = "No step size is proved: the network is not certified to have one equilibrium for each input."
    elif verdict == "proved":
        size = reach(network, [s.x for s in found.samples], [s.y for s in found.samples], cost, step, found.states)
        size = step.kept(size)
        if size is None:
            verdict, size = "undecided", 0.0
            reason = (
                f"{type(control).__name__} cuts even the smallest step, or moves its norm along it, and such a step is "
                "not covered."
            )
    left_out = tuple(int(n) for n in np.flatnonzero(~used))
    unmoved = ~used & np.any([np.asarray(phase.result) == UNMOVED for phase in run.nudged or [run.free]], axis=0)
    for what, which in (("did not settle", ~used & ~unmoved), (_WEAK.format(network.dtype), unmoved)):
        if which.any():
            reason = f"{reason} {which.sum()} of {len(x)} samples {what} and are left out.".strip()
    strengths = dict.fromkeys(float(beta) for nudge in nudges_of(rule) for beta in nudge.strengths)
    betas = f", beta={', '.join(f'{beta:+g}' for beta in strengths)}" if strengths else ""
    for_all = ["T6 detailed balance", "T3 output errors"]
    # Of more batches nothing is known where leaks follow: the conditions speak of leaks that stay.
    holds = [each for each in conditions_ if each.proved and each.criterion in for_all and step.following is None]
    blame, synapses = found.blame(network)
    return LearningCertificate(
        claim=_CLAIM.format(rule=name),
        verdict=verdict,
        criterion=f"as run ({type(rule).__name__}{betas}, {network.dtype})",
        scope="these inputs and targets"
        + (f"; beyond them, {holds[0].criterion}: {holds[0].scope}" if holds else ""),
        cosine=found.cosine,
        steps=tuple(conditions_),
        samples=found.each(),
        left_out=left_out,
        blame=blame,
        synapses=synapses,
        assumptions=tuple(_assumptions(optimiser, control, step, key, left_out, size)),
        check=_CHECK,
        reason=reason,
        step_size=size,
    )  # fmt: skip


_WEAK = "were not moved (the nudge is too weak for the tolerance of settling and {}: raise beta, or compute in 64 bits)"


def _assumptions(optimiser: str, control: Any, step: Stored, key: Any, left_out: tuple, size: float) -> list[str]:
    said = ["the gradient is the one that estimate returned, its free phase started at rest"]
    if key is not None:
        said.append("its random choices and schedules are those of the key and the update given")
    if optimiser == _SGD:
        said.append("steps are plain, the gradient times a number, and weights after them are not rounded")
    else:
        said.append(
            f"it speaks of plain gradient steps, with weights that are not rounded: those of {optimiser} are not along "
            "this gradient, and the verdict does not cover them"
        )
    if control is None:
        said.append("weights and biases learn, leaks stay")
    elif step.following is None:
        said.append(f"weights and biases learn, leaks stay, and {type(control).__name__} cuts no step that is covered")
    else:
        said.append(
            f"weights and biases learn, and {type(control).__name__} sets the leaks after every step, exactly at its "
            "criterion; the conditions of descent (T1 to T6) speak of leaks that stay"
        )
    if size and step.following is None:
        said.append(
            "after a step, states go on from the equilibrium they are at: from rest they may reach another one, where "
            "the network on the way is not certified to have one alone"
        )
    if left_out:
        named = "sample {} has" if len(left_out) == 1 else "samples {} have"
        said.append(f"{named.format(', '.join(map(str, left_out)))} no part in the cost")
    return said


def _conditions(network: Network, rule: AbstractRule, cost: AbstractCost, found: "_Judged") -> list[Step]:
    """What is known of `Local` beside the step that was run: with leaks that stay."""
    if not isinstance(rule, Local):
        return []
    steps = [_structural(network, cost), detailed_balance(network), pairs(network)]
    return steps + conditions(found.samples) if found.samples else steps


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


@dataclass
class _Judged:
    """The sign of the inner product between the stored gradient and the enclosed exact one, sample by sample."""

    verdict: Verdict = "undecided"
    reason: str = ""
    samples: tuple[Sample, ...] = ()
    index: tuple[int, ...] = ()
    exact: tuple[flint.arb_mat, ...] = ()
    stored: flint.arb_mat | None = None
    alone: bool = True

    @property
    def states(self) -> list[np.ndarray]:
        return [sample.free.state for sample in self.samples]

    @property
    def total(self) -> flint.arb_mat:
        return sum(self.exact[1:], self.exact[0])

    @property
    def cosine(self) -> tuple[float, float] | None:
        return None if self.stored is None else _cosine(self.total, self.stored)

    def each(self) -> tuple[SampleVerdict, ...]:
        stored = self.stored
        if stored is None:
            return ()
        return tuple(
            SampleVerdict(int(n), _sign(_inner(row, stored)), _cosine(row, stored))
            for n, row in zip(self.index, self.exact, strict=True)
        )

    def blame(self, network: Network) -> tuple[tuple[str, ...], tuple[tuple[str, str, float], ...]]:
        """Units and synapses that move against the gradient, by the middles of the balls.

        Of synapses that share a strength the first stands for all; their part belongs to no single unit.
        """
        if self.stored is None:
            return (), ()
        graph = network.graph
        exact, stored = (np.array([float(e.mid()) for e in row.entries()]) for row in (self.total, self.stored))
        part = exact * stored
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


def _judge(network: Network, x, y, cost: AbstractCost, states: np.ndarray, used: np.ndarray, step: Stored) -> _Judged:
    if not len(used):
        return _Judged(reason="No sample counts.")
    if network.graph.free > _LARGEST:
        free = network.graph.free
        return _Judged(reason=f"Equilibria are enclosed for up to {_LARGEST} free units; this network has {free}.")
    if closed := [a.name for a in (network.neuron.rate, network.neuron.transfer) if a.enclose is None]:
        return _Judged(reason=f"Activation {closed[0]!r} has no enclosure over balls: give it enclose=...")
    if not np.isfinite(step.numbers).all():
        return _Judged(reason="The gradient that was returned is not finite.")
    if step.refusal:
        return _Judged(reason=step.refusal)
    graph = network.graph
    weight = np.asarray(network.matrix, np.float64)
    inner = weight[graph.source, graph.target - graph.inputs][graph.source >= graph.inputs]
    if network.neuron.outflow.corner and (inner == 0).any():
        return _Judged(
            reason=f"A synapse between free units has a weight of exactly 0, where {network.neuron.outflow.name} "
            "outflow has a kink and the cost no gradient: move it, or take the synapse out of the graph."
        )
    alone = bool(certify(network, starts=0))
    leaks, samples, rows = step.leak_slopes(), [], []
    for n in used.tolist():
        sample = Sample.at(network, x[n], y[n], states[n], weight)
        if sample is None:
            return _Judged(
                reason=f"The free equilibrium of sample {n} cannot be enclosed: it lies at a corner of the activation, "
                "or is nearly singular."
            )
        if not (alone or sample.free.attracts()):
            return _Judged(
                reason=f"The equilibrium at which sample {n} rests is not proved to attract, so that after a step its "
                "state may leave it: raise the leaks until certify proves the network."
            )
        if not samples and not isinstance(cost, SquaredError | CrossEntropy):  # a test tries those
            _check_cost(cost, sample)
        try:
            rows.append(sample.synapses(sample.adjoint(sample.gradient(cost)), leaks))
        except ZeroDivisionError:
            return _Judged(reason="The Jacobian at an equilibrium is singular: raise the leaks.")
        samples.append(sample)
    stored = matrix(exact(-step.numbers)).transpose()  # samples give what descends
    found = _Judged("undecided", "", tuple(samples), tuple(used.tolist()), tuple(rows), stored, alone)
    some = any(not entry.contains(0) for entry in found.total.entries())
    verdict, reason = _sign(_inner(found.total, stored)), ""
    if not some:
        # A sum of products may be certain where no factor is; then there is nothing to be certain of.
        verdict, reason = (
            "undecided",
            (
                "Nothing is left to learn: the exact gradient of this batch is zero, or below what balls resolve. Its "
                "outputs have no error, or rest at a face of the box."
            ),
        )
    elif not step.numbers.any():
        reason = (
            "The gradient that was returned is exactly 0, and the exact one is not: the nudge is too weak for the "
            f"tolerance of settling and {network.dtype}. Raise beta, give stop=Tolerance(...) a smaller tolerance, or "
            "compute in 64 bits."
        )
    elif verdict == "undecided":
        reason = "The inner product is too close to zero for its sign to be certain."
    found.verdict, found.reason = verdict, reason
    return found


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
