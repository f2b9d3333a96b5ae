"""Training: a pure step, an epoch compiled once, and a plain loop around it. Seeds are lanes of one program."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from .certificates import contraction_margin
from .network import Network, Parameters
from .nudge import AbstractCost, CrossEntropy, SquaredError
from .rules import AbstractRule, estimate
from .settling import AbstractMethod, AbstractStop, Preconditioned, Tolerance, settle
from .tasks import Samples, Task
from .update import LeakController, trainable

__all__ = ["Evaluation", "Metrics", "Run", "TrainState", "Trainer", "fit"]


class TrainState(eqx.Module):
    """What the next step needs, of one seed."""

    parameters: Parameters
    optimiser: Any
    key: PRNGKeyArray
    states: Float[Array, "sample free"]  # free equilibria of the last epoch, where the next one starts
    best: Parameters
    best_score: Float[Array, "2"]  # validation accuracy and negative loss, compared in this order
    best_epoch: Int[Array, ""]
    failed: Bool[Array, ""]


class Evaluation(NamedTuple):
    """How a network does on a set of samples. `unconverged` counts samples whose free phase did not settle."""

    loss: Array
    accuracy: Array
    unconverged: Array
    steps: Array  # of every sample


class Metrics(NamedTuple):
    """One epoch of one seed, for people: training figures are those of the samples as they passed by.

    `unsettled` is the share of phases that did not settle, `left_out` the share of samples kept out of the updates,
    `steps_mean` is over free phases, `steps_max` over all. `margin` is the contraction margin after the epoch
    (positive: certified) and `lowest_margin` its least value after any update of the epoch.
    """

    loss: Array
    accuracy: Array
    validation_loss: Array
    validation_accuracy: Array
    unsettled: Array
    left_out: Array
    validation_unsettled: Array
    steps_mean: Array
    steps_max: Array
    margin: Array
    lowest_margin: Array
    failed: Array


class _StepMetrics(NamedTuple):
    loss: Array
    correct: Array
    unsettled: Array
    phases: Array
    used: Array
    steps: Array
    steps_max: Array
    margin: Array


class Trainer(eqx.Module):
    """How one network learns one task: everything but the state. All methods are pure and can be vmapped over seeds."""

    network: Network
    rule: AbstractRule
    cost: AbstractCost
    optimiser: optax.GradientTransformation = eqx.field(static=True)
    method: AbstractMethod
    stop: AbstractStop
    start: tuple[float, float] = eqx.field(static=True, default=(0.0, 0.0))
    warm: bool = eqx.field(static=True, default=True)
    one_unit: bool = eqx.field(static=True, default=False)
    classify: bool = eqx.field(static=True, default=True)
    keep_last: bool = eqx.field(static=True, default=False)

    def init(self, parameters: Parameters, key: PRNGKeyArray, samples: int) -> TrainState:
        score = jnp.full(2, -jnp.inf, parameters.bias.dtype)
        return TrainState(
            parameters=parameters,
            optimiser=self.optimiser.init(parameters),  # pyright: ignore[reportArgumentType]
            key=key,
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
        if self.one_unit:
            return ((outputs > 0.5) == (y > 0.5)).all(-1)
        return outputs.argmax(-1) == y.argmax(-1)

    def step(
        self,
        state: TrainState,
        x: Float[Array, "batch input"],
        y: Float[Array, "batch output"],
        begin: Float[Array, "batch free"],
        valid: Bool[Array, " batch"],
    ) -> tuple[TrainState, Array, _StepMetrics]:
        """One update from one batch; also the batch's free states. Without a settled sample nothing changes."""
        network = self.network.replace(state.parameters)
        said = estimate(
            network,
            x,
            y,
            self.rule,
            cost=self.cost,
            method=self.method,
            stop=self.stop,
            state=begin,
            valid=valid,
        )
        updates, optimiser = self.optimiser.update(said.gradient, state.optimiser, state.parameters)
        parameters = optax.apply_updates(state.parameters, updates)
        changed = eqx.tree_at(lambda s: (s.parameters, s.optimiser), state, (parameters, optimiser))
        state = _where(said.used.any(), changed, state)

        phases = (said.free, *said.nudged)
        unsettled = sum(((~phase.converged) & valid).sum() for phase in phases)
        margin = contraction_margin(self.network.replace(state.parameters)).min()
        metrics = _StepMetrics(
            loss=jnp.where(valid, said.loss, 0).sum(),
            correct=(self._correct(network.outputs(said.free.state), y) & valid).sum(),
            unsettled=jnp.asarray(unsettled),
            phases=valid.sum() * len(phases),
            used=said.used.sum(),
            steps=jnp.where(valid, said.free.steps, 0).sum(),
            steps_max=jnp.stack([jnp.where(valid, phase.steps, 0).max() for phase in phases]).max(),
            margin=margin,
        )
        return state, said.free.state, metrics

    def epoch(
        self,
        state: TrainState,
        train: Samples,
        validation: Samples,
        order: Int[Array, "updates batch"],
        valid: Bool[Array, "updates batch"],
        number: Int[Array, ""],
    ) -> tuple[TrainState, Metrics]:
        """All batches once, in the given order, then validation. A seed whose parameters stop being finite goes back to
        where it was before the epoch and stays there."""
        before = state
        samples = train.x.shape[0]
        key = jax.random.fold_in(state.key, number)
        if not self.warm:
            state = eqx.tree_at(lambda s: s.states, state, self._start(key, samples))

        def one(state: TrainState, batch):
            index, valid = batch
            state, free, metrics = self.step(state, train.x[index], train.y[index], state.states[index], valid)
            kept = jnp.where((valid & jnp.isfinite(free).all(-1))[:, None], free, state.states[index])
            return eqx.tree_at(lambda s: s.states, state, state.states.at[index].set(kept)), metrics

        state, steps = jax.lax.scan(one, state, (order, valid))
        after = self.evaluate(state.parameters, validation, jax.random.fold_in(key, 1))
        score = jnp.stack([after.accuracy if self.classify else jnp.zeros_like(after.loss), -after.loss])
        score = jnp.where(jnp.isnan(score), -jnp.inf, score)
        better = (score[0] > state.best_score[0]) | (
            (score[0] == state.best_score[0]) & (score[1] > state.best_score[1])
        )
        if self.keep_last:
            better = jnp.array(True)
        best = _where(better, (state.parameters, score, number), (state.best, state.best_score, state.best_epoch))
        state = eqx.tree_at(lambda s: (s.best, s.best_score, s.best_epoch), state, best)

        finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(state.parameters)]).all()
        fine = finite & (steps.used.sum() > 0) & ~before.failed
        stopped = eqx.tree_at(lambda s: s.failed, before, jnp.array(True))
        state = _where(fine, state, stopped)
        counted = jnp.array(samples, train.x.dtype)
        metrics = Metrics(
            loss=steps.loss.sum() / counted,
            accuracy=steps.correct.sum().astype(counted.dtype) / counted if self.classify else jnp.nan * counted,
            validation_loss=after.loss,
            validation_accuracy=after.accuracy,
            unsettled=steps.unsettled.sum().astype(counted.dtype) / steps.phases.sum().astype(counted.dtype),
            left_out=1 - steps.used.sum().astype(counted.dtype) / counted,
            validation_unsettled=after.unconverged,
            steps_mean=steps.steps.sum().astype(counted.dtype) / counted,
            steps_max=jnp.maximum(steps.steps_max.max(), after.steps.max()),
            margin=steps.margin[-1],
            lowest_margin=steps.margin.min(),
            failed=state.failed,
        )
        return state, metrics

    def evaluate(self, parameters: Parameters, samples: Samples, key: PRNGKeyArray) -> Evaluation:
        """Settle every sample and compare its outputs with its targets. Unsettled samples are judged where they
        stand, and counted."""
        network = self.network.replace(parameters)
        count = samples.x.shape[0]
        begin = self._start(key, count)

        settled = settle(network, samples.x, method=self.method, stop=self.stop, state=begin)
        outputs = network.outputs(settled.state)
        total = jnp.array(count, samples.x.dtype)
        correct = self._correct(outputs, samples.y).sum()
        return Evaluation(
            loss=self.cost.value(outputs, samples.y).sum() / total,
            accuracy=correct.astype(total.dtype) / total if self.classify else jnp.nan * total,
            unconverged=(~settled.converged).sum(),
            steps=settled.steps,
        )


def _orders(seeds: Sequence[int], epochs: Iterable[int], samples: int, size: int) -> np.ndarray:
    """The order of samples in every epoch of every seed: (seeds, epochs, updates, batch).

    The last batch is filled up with the last sample, which a mask leaves out.
    """
    place = np.minimum(np.arange(-(-samples // size) * size), samples - 1)
    if size == samples:
        return np.broadcast_to(place, (len(seeds), len(list(epochs)), 1, size))
    epochs = list(epochs)
    orders = [[np.random.default_rng((seed, k)).permutation(samples)[place] for k in epochs] for seed in seeds]
    return np.array(orders, np.int32).reshape(len(seeds), len(epochs), -1, size)


def _where(condition: Array, yes: Any, no: Any) -> Any:
    def pick(a, b):
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(jnp.where(condition, jax.random.key_data(a), jax.random.key_data(b)))
        return jnp.where(condition, a, b)

    return jax.tree.map(pick, yes, no)


@eqx.filter_jit
def _epochs(
    trainer: Trainer,
    state: TrainState,
    train: Samples,
    validation: Samples,
    orders: Int[Array, "seed epoch updates batch"],
    valid: Bool[Array, "updates batch"],
    numbers: Int[Array, " epoch"],
    last: Int[Array, ""],
) -> tuple[TrainState, Metrics]:
    """Several epochs of all seeds in one compiled call; epochs after the `last` one change nothing."""

    def lane(state: TrainState, orders: Array):
        def one(state: TrainState, epoch: tuple[Array, Array]):
            order, number = epoch
            after, metrics = trainer.epoch(state, train, validation, order, valid, number)
            return _where(number <= last, after, state), metrics

        return jax.lax.scan(one, state, (orders, numbers))

    return jax.vmap(lane)(state, orders)


@eqx.filter_jit
def _evaluate(trainer: Trainer, parameters: Parameters, samples: Samples, keys: Array) -> Evaluation:
    return jax.vmap(lambda parameters, key: trainer.evaluate(parameters, samples, key))(parameters, keys)


@dataclass
class Run:
    """The outcome of `fit`, for one seed or many.

    - `networks`: the trained network of every seed (best epoch by validation); `network` is the first.
    - `history`: figures of every epoch, each an array (epochs x seeds), named as in `Metrics`.
    - `train`, `validation`, `test`: how the chosen networks do, an array a figure.
    - `best_epoch`, `failed`: for every seed; `failed` seeds diverged or never settled and hold their last good state.
    - `status`: `"done"`, `"failed"` (every seed did) or `"interrupted"`.
    """

    task: Task
    seeds: tuple[int, ...]
    networks: list[Network]
    history: dict[str, np.ndarray]
    train: Evaluation
    validation: Evaluation
    test: Evaluation
    best_epoch: np.ndarray
    failed: np.ndarray
    status: str
    trainer: Trainer = field(repr=False)

    @property
    def network(self) -> Network:
        return self.networks[0]

    @property
    def solved(self) -> np.ndarray | None:
        """For every seed, whether the task counts as solved; `None` if it has no such notion."""
        if self.task.solved is None:
            return None
        return self.task.solved(np.asarray(self.test.loss), np.asarray(self.test.accuracy)) & ~self.failed


Callback = Callable[[int, dict[str, np.ndarray]], Any]


def fit(
    network: Network | Sequence[Network],
    task: Task,
    *,
    rule: AbstractRule,
    optimiser: optax.GradientTransformation,
    epochs: int = 1000,
    batch_size: int | None = None,
    cost: AbstractCost | None = None,
    control: LeakController | None = None,
    learn_leak: bool = False,
    method: AbstractMethod | None = None,
    stop: AbstractStop | None = None,
    start: tuple[float, float] = (0.0, 0.0),
    warm: bool = True,
    keep: str = "best",
    seeds: Iterable[int] | None = None,
    callbacks: Sequence[Callback] = (),
) -> Run:
    """Train a network, or several of the same kind at once, on a task.

    **Arguments:**

    - `rule`, `optimiser`: any rule of `direp.rules`, any optax transformation. Biases are learned if the graph has a
      bias unit, leaks only with `learn_leak`.
    - `control`: a `LeakController` keeps the network certified from before the first update to the last.
    - `batch_size`: by default all samples at once.
    - `cost`: by default `SquaredError()`. `method`, `stop`: as in `settle`.
    - `start`: free units begin a settling uniformly in this range; by default at rest.
    - `warm`: start the free phase of a sample where it settled in the last epoch.
    - `keep`: `"best"` keeps the epoch with the best validation accuracy (then loss), `"last"` the last one.
    - `seeds`: one a network, for the order of the samples; by default 0, 1, ...
    - `callbacks`: called after every epoch with its number (from 1) and its figures, an array over seeds each.

    A sample whose phases do not settle is left out of the update and counted. Seeds whose parameters stop being
    finite, or none of whose samples settle in an epoch, stop with their last good state and are marked `failed`.
    """
    networks = [network] if isinstance(network, Network) else list(network)
    seeds = tuple(range(len(networks))) if seeds is None else tuple(seeds)
    _check(networks, task, cost, seeds, epochs, batch_size, keep)
    if control is not None:
        networks = [control.start(network) for network in networks]
    template = networks[0]
    chain = [trainable(template, leak=learn_leak), optimiser]
    if control is not None:
        chain = [control.through(template), *chain, control.hold(template)]
    samples = len(task.train.x)
    size = min(batch_size or samples, samples)
    trainer = Trainer(
        network=template,
        rule=_traced(rule, template.dtype),
        cost=cost or SquaredError(),
        optimiser=optax.chain(*chain),
        method=_traced(method or Preconditioned(), template.dtype),
        stop=stop or Tolerance(),
        start=start,
        warm=warm,
        one_unit=task.one_unit,
        classify=task.kind == "classification",
        keep_last=keep == "last",
    )
    parts = [
        Samples(*(jnp.asarray(table, template.dtype) for table in part))
        for part in (task.train, task.validation, task.test)
    ]
    keys = jnp.stack([jax.random.key(seed) for seed in seeds])
    parameters = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(n.parameters for n in networks))
    state = jax.vmap(lambda parameters, key: trainer.init(parameters, key, samples))(parameters, keys)

    valid = jnp.asarray((np.arange(-(-samples // size) * size) < samples).reshape(-1, size))
    last = jnp.array(epochs, jnp.int32)
    # Small tasks run several epochs a call, so that the round trip to the host does not count.
    together = max(1, min(10, epochs, 20_000 // (samples * len(seeds))))
    rows, status = [], "done"
    try:
        for first in range(1, epochs + 1, together):
            numbers = range(first, first + together)
            orders = jnp.asarray(_orders(seeds, numbers, samples, size), jnp.int32)
            state, metrics = _epochs(trainer, state, *parts[:2], orders, valid, jnp.array(numbers, jnp.int32), last)
            metrics = jax.device_get(metrics)
            for k in range(min(together, epochs + 1 - first)):
                row = {name: values[:, k] for name, values in metrics._asdict().items()}
                rows.append(row)
                for callback in callbacks:
                    callback(first + k, row)
            if rows[-1]["failed"].all():
                status = "failed"
                break
    except KeyboardInterrupt:
        status = "interrupted"

    evaluations = [jax.device_get(_evaluate(trainer, state.best, part, keys)) for part in parts]
    history = {name: np.stack([row[name] for row in rows]) for name in rows[0]} if rows else {}
    chosen = [template.replace(jax.tree.map(lambda leaf, k=k: leaf[k], state.best)) for k in range(len(seeds))]
    return Run(
        task,
        seeds,
        chosen,
        history,
        *evaluations,
        np.asarray(state.best_epoch),
        np.asarray(state.failed),
        status,
        trainer,
    )


def _traced(tree: Any, dtype: Any) -> Any:
    """Numbers as arrays, so that another value of a hyper-parameter needs no other program."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype) if isinstance(leaf, float) else leaf, tree)


def _check(networks, task: Task, cost, seeds, epochs, batch_size, keep) -> None:
    graph = networks[0].graph
    if any(n.graph != graph or n.neuron != networks[0].neuron for n in networks):
        raise ValueError("fit: all networks must share one graph and one neuron")
    if len(seeds) != len(networks):
        raise ValueError(f"fit: {len(networks)} networks but {len(seeds)} seeds; give one for each")
    for what, has, needs in (("inputs", graph.inputs, task.inputs), ("outputs", graph.outputs, task.outputs)):
        if has != needs:
            raise ValueError(
                f"fit: task {task.name!r} has {needs} {what}, but the graph has {has}; make it with {what}={needs}"
            )
    if isinstance(cost, CrossEntropy) and (graph.outputs < 2 or not np.allclose(task.train.y.sum(1), 1)):
        raise ValueError(
            f"fit: cross-entropy needs two outputs or more and targets that sum to one; task {task.name!r} has "
            f"{graph.outputs} output(s): use SquaredError()"
        )
    if epochs < 1 or (batch_size is not None and batch_size < 1):
        raise ValueError(f"fit(epochs={epochs}, batch_size={batch_size}) must both be 1 or more")
    if keep not in ("best", "last"):
        raise ValueError(f"fit(keep={keep!r}) must be 'best' or 'last'")
