"""One network learning one task: the state, the pure step, and the epoch that is compiled once."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from ..certificates.convergence import LocalLeak, sharpest_margin
from ..model import Network, Parameters
from ..rules import (
    AbstractCost,
    AbstractRule,
    Adjoint,
    agreement,
    antisymmetry,
    companions,
    cosine,
    estimate,
    initialise,
    parameters_of,
    with_companions,
    with_parameters,
    without_penalty,
)  # fmt: skip
from ..settling import UNMOVED, AbstractMethod, AbstractStop, Settled, movable, settle
from ..tasks import AbstractAugmentation, Samples
from .constraint import constrain
from .control import AbstractControl
from .guarantee import AbstractGuarantee
from .limits import AbstractLimits
from .metrics import Evaluation, Metrics, StepMetrics
from .recorded import RecordedOptimiser
from .update import own_keys, trainable

AT_ONCE = 5000  # samples that an evaluation settles together
_ERROR = 1e-3  # of an output, from which on it counts as wrong


class TrainState(eqx.Module):
    """What the next step needs, of one seed."""

    parameters: Parameters
    optimiser: Any
    key: PRNGKeyArray
    epoch: Int[Array, ""]  # the last one
    updates: Int[Array, ""]  # how many there were
    states: Float[Array, "sample free"]  # free equilibria of the last epoch, where the next one starts
    best: Parameters
    best_score: Float[Array, "2"]  # validation accuracy and negative loss, compared in this order
    best_epoch: Int[Array, ""]
    failed: Bool[Array, ""]


class Epoch(eqx.Module):
    """One pass through the training samples, of which `weight` counts every one; rows that `order` or `valid` leave out
    have no part."""

    number: Int[Array, ""]
    order: Int[Array, "updates batch"]
    valid: Bool[Array, "updates batch"]
    weight: Float[Array, " sample"] | None = None

    @property
    def counted(self) -> Bool[Array, "updates batch"]:
        """What counts nothing is not there: no figure tells of it."""
        return self.valid if self.weight is None else self.valid & (self.weight[self.order] > 0)


class Trainer(eqx.Module):
    """How one network learns one task: everything but the state. All methods are pure and can be vmapped over seeds.

    Evaluations need neither `rule` nor `optimiser`.
    """

    network: Network
    cost: AbstractCost
    method: AbstractMethod
    stop: AbstractStop
    rule: Any = None  # an AbstractRule
    optimiser: RecordedOptimiser | None = None
    control: AbstractControl | None = None
    guarantee: AbstractGuarantee | None = None
    constraints: tuple[AbstractLimits, ...] = ()
    start: tuple[float, float] = eqx.field(static=True, default=(0.0, 0.0))
    warm: bool = eqx.field(static=True, default=True)
    by_unit: bool = eqx.field(static=True, default=False)
    classify: bool = eqx.field(static=True, default=True)
    keep_last: bool = eqx.field(static=True, default=False)
    learn_leak: bool = eqx.field(static=True, default=False)
    outputs_only: bool = eqx.field(static=True, default=False)
    probe: int = eqx.field(static=True, default=0)
    augment: AbstractAugmentation | None = None

    @property
    def transformation(self) -> optax.GradientTransformation:
        """The user's optimiser between masks, and what keeps the parameters in their set around it."""
        network, inner = self.network, self.optimiser
        # The mask stands on both sides: optimisers with decay or noise would move what gets no gradient.
        mask = trainable(network, leak=self.learn_leak, outputs_only=self.outputs_only)
        whole = optax.chain(mask, optax.GradientTransformation(inner.init, inner.update), mask)  # pyright: ignore
        for constraint in (*self.constraints, self.guarantee, self.control):
            whole = whole if constraint is None else constrain(whole, constraint, network)
        return whole

    def begin(self, parameters: Parameters, key: PRNGKeyArray, samples: int) -> TrainState:
        """The state of a seed before its first update, whose parameters are those given, moved inside."""
        network = self.network.replace(parameters)
        own = parameters_of(drawn(self.rule, network, key))
        feedback = _feedback(own)
        for each in (*self.constraints, *([] if self.control is None else [self.control])):
            network, feedback = each.begin_with(network, feedback)
        parameters = network.parameters._replace(rule=with_companions(own, feedback))
        score = jnp.full(2, -jnp.inf, parameters.bias.dtype)
        return TrainState(
            parameters=parameters,
            optimiser=own_keys(self.transformation.init(parameters), key),  # pyright: ignore[reportArgumentType]
            key=key,
            epoch=jnp.array(0, jnp.int32),
            updates=jnp.array(0, jnp.int32),
            states=self._start(jax.random.fold_in(key, 0), samples),
            best=parameters,
            best_score=score,
            best_epoch=jnp.array(0, jnp.int32),
            failed=jnp.array(False),
        )

    def _start(self, key: PRNGKeyArray, batch: int) -> Float[Array, "batch free"]:
        network = self.network
        if self.start == (0.0, 0.0):
            return network.rest(batch)
        return jax.random.uniform(key, (batch, network.graph.free), network.dtype, *self.start)

    def _correct(self, outputs: Float[Array, "batch output"], y: Float[Array, "batch output"]) -> Bool[Array, " batch"]:
        if self.by_unit:
            return (jnp.round(outputs) == jnp.round(y)).all(-1)
        return outputs.argmax(-1) == y.argmax(-1)

    def step(
        self,
        state: TrainState,
        x: Float[Array, "batch input"],
        y: Float[Array, "batch output"],
        begin: Float[Array, "batch free"],
        valid: Bool[Array, " batch"],
        weight: Float[Array, " batch"] | None = None,
    ) -> tuple[TrainState, Settled, StepMetrics]:
        """One update from one batch; also how its free phase settled. Without a settled sample nothing changes."""
        network, rule = self._now(state)
        found = estimate(
            network,
            x,
            y,
            rule,
            cost=self.cost,
            method=self.method,
            stop=self.stop,
            state=begin,
            valid=valid,
            weight=weight,
            update=state.updates,
            key=self._draw(state),
        )
        gradient = found.gradient
        if weight is not None:  # of mean 1 over all samples: what a batch weighs is the size of its step
            counted = jnp.where(found.used, weight, 0).sum() / jnp.maximum(found.used.sum(), 1).astype(weight.dtype)
            gradient = jax.tree.map(lambda g: g * counted, gradient)
        updates, optimiser = self.transformation.update(gradient, state.optimiser, state.parameters)
        parameters: Any = optax.apply_updates(state.parameters, updates)
        if self.learn_leak:
            parameters = parameters._replace(leak=jnp.maximum(parameters.leak, 0))
        changed = (parameters, optimiser, state.updates + 1)
        changed = eqx.tree_at(lambda s: (s.parameters, s.optimiser, s.updates), state, changed)
        state = choose(found.used.any(), changed, state)

        phases = (found.free, *found.nudged)
        still = [phase.result == UNMOVED for phase in phases]
        unsettled = sum((~(phase.converged | own) & valid).sum() for phase, own in zip(phases, still, strict=True))
        unmoved = jnp.stack(still).any(0) & ~found.used & valid
        margin, rounding = self._margin(state)
        hidden, outputs = network.graph.hidden, network.outputs(found.free.state)
        error = self.cost.gradient(outputs, y)
        pulled = (jnp.abs(error) > _ERROR) & ~network.neuron.held(found.free.state[:, hidden:], -error)
        asked = valid[:, None] & jnp.pad(pulled, ((0, 0), (hidden, 0)), constant_values=True)
        metrics = StepMetrics(
            loss=jnp.where(valid, found.loss if weight is None else found.loss * weight, 0).sum(),
            correct=(self._correct(outputs, y) & valid).sum(),
            unsettled=jnp.asarray(unsettled),
            unmoved=unmoved.sum(),
            phases=valid.sum() * len(phases),
            used=found.used.sum(),
            steps=jnp.where(valid, found.free.steps, 0).sum(),
            steps_max=jnp.stack([jnp.where(valid, phase.steps, 0).max() for phase in phases]).max(),
            fell_back=found.fell_back,
            margin=margin,
            rounding=rounding,
            alive=(movable(network, found.free) & asked & found.free.converged[:, None]).any(0),
            wrong=(asked & found.free.converged[:, None])[:, hidden:].any(0),
        )
        return state, found.free, metrics

    def _now(self, state: TrainState) -> tuple[Network, AbstractRule]:
        """The network and the rule as they have become."""
        return self.network.replace(state.parameters), with_parameters(self.rule, state.parameters.rule)

    def _draw(self, state: TrainState) -> PRNGKeyArray:
        """The key of one update, apart from those of the epochs."""
        return jax.random.fold_in(jax.random.fold_in(state.key, jnp.iinfo(jnp.int32).max), state.updates)

    def _cosine(self, state: TrainState, train: Samples) -> Array:
        """The cosine between the rule and the exact gradient on the first `probe` training samples."""
        if not self.probe:
            return jnp.full((), jnp.nan, train.x.dtype)
        network, rule = self._now(state)
        x, y = train.x[: self.probe], train.y[: self.probe]
        settle = {"cost": self.cost, "method": self.method, "stop": self.stop, "update": state.updates}
        found = estimate(network, x, y, without_penalty(rule), key=self._draw(state), **settle)
        # The rule leaves out what did not settle, and so must the oracle.
        exact = estimate(network, x, y, Adjoint(), valid=found.used, **settle)
        return cosine(network, found.gradient, exact.gradient, leak=self.learn_leak)

    def _agreement(self, state: TrainState) -> Array:
        """The cosine between weights and what a rule's feedback has in their place."""
        network = self.network.replace(state.parameters)
        found = [agreement(network, recurrent) for recurrent in _feedback(state.parameters.rule)]
        return jnp.stack(found).mean() if found else jnp.full((), jnp.nan, network.dtype)

    def _margin(self, state: TrainState) -> tuple[Array, Array]:
        """The smallest margin of any unit, and a bound on its rounding."""
        network = self.network.replace(state.parameters)
        if self.control is None:
            criterion, norm = LocalLeak(), jnp.ones_like(network.leak)
            return criterion.margin(network, norm).min(), criterion.rounding(network, norm).max()
        held = network, state.optimiser.constraint, _feedback(state.parameters.rule)
        return self.control.margin_of(*held).min(), self.control.rounding_of(*held).max()

    def _confirmed(self, state: TrainState, steps: StepMetrics) -> tuple[TrainState, Array, Array, Array]:
        """What a control makes of an epoch: the least margin, the last one, and whether they are proved."""
        if self.control is None:
            margin = sharpest_margin(self.network.replace(state.parameters))
            return state, steps.margin.min(), margin, margin > 0
        parameters, own = state.parameters, state.optimiser
        held = self.network.replace(parameters), own.constraint, _feedback(parameters.rule)
        found = self.control.confirm(*held, steps.margin, steps.rounding)
        parameters = found.parameters._replace(rule=with_companions(parameters.rule, found.feedback))
        changed = parameters, own._replace(constraint=found.state)
        state = eqx.tree_at(lambda s: (s.parameters, s.optimiser), state, changed)
        return state, found.lowest, found.margin, found.certified

    def epoch(self, state: TrainState, train: Samples, validation: Samples, epoch: Epoch) -> tuple[TrainState, Metrics]:
        """All batches once, then validation. A seed whose parameters stop being finite goes back to where it was before
        the epoch and stays there."""
        places = jnp.arange(len(epoch.order))
        after, steps = jax.lax.scan(lambda s, k: self._update(s, train, epoch, k), self.opened(state, epoch), places)
        return self.closed(state, after, steps, train, validation, epoch)

    def opened(self, state: TrainState, epoch: Epoch) -> TrainState:
        """As the epoch begins."""
        if self.warm:
            return state
        key = jax.random.fold_in(state.key, epoch.number)
        return eqx.tree_at(lambda s: s.states, state, self._start(key, state.states.shape[0]))

    def no_steps(self, state: TrainState, train: Samples, epoch: Epoch) -> StepMetrics:
        """Room for the figures of all updates of an epoch."""
        shapes = jax.eval_shape(lambda: self._update(state, train, epoch, 0)[1])
        return jax.tree.map(lambda leaf: jnp.zeros((len(epoch.order), *leaf.shape), leaf.dtype), shapes)

    def updated(
        self, state: TrainState, steps: StepMetrics, train: Samples, epoch: Epoch, first: Any, last: Any
    ) -> tuple[TrainState, StepMetrics]:
        """After the updates of an epoch from `first` on, up to `last`; their figures in their places."""

        def one(k: Array, now: tuple[TrainState, StepMetrics]) -> tuple[TrainState, StepMetrics]:
            state, metrics = self._update(now[0], train, epoch, k)
            return state, jax.tree.map(lambda all_, own: all_.at[k].set(own), now[1], metrics)

        return jax.lax.fori_loop(first, last, one, (state, steps))

    def _update(self, state: TrainState, train: Samples, epoch: Epoch, k: Any) -> tuple[TrainState, StepMetrics]:
        """One batch of an epoch."""
        index, valid, weight = epoch.order[k], epoch.counted[k], epoch.weight
        x = train.x[index]
        if self.augment is not None:
            x = self.augment(x, jax.random.fold_in(self._draw(state), 1))
        counts = None if weight is None else weight[index]
        state, free, metrics = self.step(state, x, train.y[index], state.states[index], valid, counts)
        # From where a sample diverged there may be no way back: it starts from rest again.
        rest = self.network.rest(index.shape[0])
        kept = jnp.where(free.converged[:, None], free.state, rest)
        place = jnp.where(valid, index, state.states.shape[0])  # padding falls off the end
        return eqx.tree_at(lambda s: s.states, state, state.states.at[place].set(kept, mode="drop")), metrics

    def closed(
        self,
        before: TrainState,
        state: TrainState,
        steps: StepMetrics,
        train: Samples,
        validation: Samples,
        epoch: Epoch,
    ) -> tuple[TrainState, Metrics]:
        """As the epoch ends, which began from `before`: validation, and the figures of all its updates."""
        number, weight, valid = epoch.number, epoch.weight, epoch.counted
        state, lowest, margin, certified = self._confirmed(state, steps)
        key = jax.random.fold_in(state.key, number)
        after = self.evaluate(state.parameters, validation, jax.random.fold_in(key, 1))
        score = jnp.stack([after.accuracy if self.classify else jnp.zeros_like(after.loss), -after.loss])
        score = jnp.where(jnp.isnan(score), -jnp.inf, score)
        better = (score[0] > state.best_score[0]) | (
            (score[0] == state.best_score[0]) & (score[1] > state.best_score[1])
        )
        if self.keep_last:
            better = jnp.array(True)
        state = eqx.tree_at(lambda s: s.epoch, state, number)
        best = choose(better, (state.parameters, score, number), (state.best, state.best_score, state.best_epoch))
        state = eqx.tree_at(lambda s: (s.best, s.best_score, s.best_epoch), state, best)

        finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(state.parameters)]).all()
        fine = finite & (steps.used.sum() > 0) & ~before.failed
        stopped = eqx.tree_at(lambda s: s.failed, before, jnp.array(True))
        state = choose(fine, state, stopped)
        counted = valid.sum().astype(train.x.dtype)
        dead, hidden = (~steps.alive.any(0)).astype(counted.dtype), self.network.graph.hidden
        metrics = Metrics(
            loss=steps.loss.sum() / (counted if weight is None else weight.sum()),
            accuracy=steps.correct.sum().astype(counted.dtype) / counted if self.classify else jnp.nan * counted,
            validation_loss=after.loss,
            validation_accuracy=after.accuracy,
            unsettled=steps.unsettled.sum().astype(counted.dtype) / steps.phases.sum().astype(counted.dtype),
            unmoved=steps.unmoved.sum().astype(counted.dtype) / counted,
            left_out=(counted - steps.used.sum().astype(counted.dtype)) / counted,
            validation_unsettled=after.unconverged,
            steps_mean=steps.steps.sum().astype(counted.dtype) / counted,
            steps_max=jnp.maximum(steps.steps_max.max(), jnp.max(after.steps, initial=0)),
            margin=margin,
            lowest_margin=lowest,
            certified=certified,
            fell_back=steps.fell_back.mean(dtype=counted.dtype),
            cosine=self._cosine(state, train),
            antisymmetry=antisymmetry(self.network.replace(state.parameters)),
            agreement=self._agreement(state),
            dead=dead[:hidden].sum() / max(hidden, 1),
            dead_outputs=jnp.where(steps.wrong.any(0), dead[hidden:], 0).mean(),
            failed=state.failed,
        )
        return state, metrics

    def evaluate(self, parameters: Parameters, samples: Samples, key: PRNGKeyArray) -> Evaluation:
        """Settle every sample and compare its outputs with its targets. Unsettled samples are judged where they
        stand, and counted."""
        network = self.network.replace(parameters)
        count = samples.x.shape[0]
        if not count:
            return Evaluation.empty(network.graph.outputs, network.dtype)
        begin = self._start(key, count)

        def some(rows: Int[Array, " some"]) -> tuple[Array, Array, Array]:
            settled = settle(network, samples.x[rows], method=self.method, stop=self.stop, state=begin[rows])
            return network.outputs(settled.state), settled.converged, settled.steps

        if count > AT_ONCE:
            place = jnp.minimum(jnp.arange(-(-count // AT_ONCE) * AT_ONCE), count - 1)
            parts = jax.lax.map(some, place.reshape(-1, AT_ONCE))
            outputs, converged, steps = (part.reshape(-1, *part.shape[2:])[:count] for part in parts)
        else:
            outputs, converged, steps = some(jnp.arange(count))
        total = jnp.array(count, samples.x.dtype)
        correct = self._correct(outputs, samples.y).sum()
        return Evaluation(
            loss=self.cost.value(outputs, samples.y).sum() / total,
            accuracy=correct.astype(total.dtype) / total if self.classify else jnp.nan * total,
            unconverged=(~converged).sum(),
            steps=steps,
            outputs=outputs,
        )


def drawn(rule: Any, network: Network, key: PRNGKeyArray) -> Any:
    """The rule with what the seed of this key draws before its first update."""
    return initialise(rule, network, jax.random.fold_in(key, jnp.iinfo(jnp.int32).max - 1))


def _feedback(rule: Any) -> tuple[Any, ...]:
    """The strengths of a rule's feedback that a control keeps certified beside the weights."""
    return tuple(node.recurrent for node in companions(rule))


def choose(condition: Array, yes: Any, no: Any) -> Any:
    """One of two states of equal structure."""

    def pick(a, b):
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(jnp.where(condition, jax.random.key_data(a), jax.random.key_data(b)))
        return jnp.where(condition, a, b)

    return jax.tree.map(pick, yes, no)
