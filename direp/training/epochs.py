"""Epochs of all seeds: compiled once, several to a call, and the plain loop around them. Seeds are lanes."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Bool, Float, Int

from ..model import Parameters
from ..settling import compiled
from ..tasks import Samples
from .metrics import Evaluation, Metrics, StepMetrics
from .plan import Plan
from .step import Epoch, Trainer, TrainState, choose

Callback = Callable[[int, dict[str, np.ndarray]], Any]
STOP = "stop"  # what a callback returns to end a training
_FEW = 20_000  # samples of all seeds up to which a call trains several epochs
_CALL = 0.25  # seconds of updates between two safe points


class Lanes(NamedTuple):
    """How seeds lie side by side: dealt out over the devices of a mesh, and, with `each`, with a trainer of its own for
    every one."""

    mesh: Mesh | None = None
    each: bool = False


def _orders(seeds: Sequence[int], epochs: Iterable[int], samples: int, size: int, room: int) -> np.ndarray:
    """The order of samples in every epoch of every seed: (seeds, epochs, updates, batch).

    Batches are filled up to the `room` for samples with the last one, which a mask leaves out.
    """
    place = np.minimum(np.arange(-(-room // size) * size), samples - 1)
    if size >= samples:
        return np.broadcast_to(place, (len(seeds), len(list(epochs)), 1, size))
    epochs = list(epochs)
    orders = [[np.random.default_rng((seed, k)).permutation(samples)[place] for k in epochs] for seed in seeds]
    return np.array(orders, np.int32).reshape(len(seeds), len(epochs), -1, size)


@compiled
def begin(
    trainer: Trainer, parameters: Parameters, seeds: Any, samples: int, each: bool = False
) -> tuple[TrainState, Array]:
    """The states of all seeds before the first update, and their keys. With `each`, every seed has a trainer of its
    own: its arrays have the seeds as first axis."""
    keys = jax.vmap(jax.random.key)(seeds)
    begun = eqx.filter_vmap(
        lambda trainer, parameters, key: trainer.begin(parameters, key, samples), in_axes=(_axes(each), 0, 0)
    )
    return begun(trainer, parameters, keys), keys


def _axes(each: bool) -> Any:
    return eqx.if_array(0) if each else None


@compiled
def _epochs(
    trainer: Trainer,
    state: TrainState,
    train: Samples,
    validation: Samples,
    orders: Int[Array, "seed epoch updates batch"],
    valid: Bool[Array, "updates batch"],
    numbers: Int[Array, " epoch"],
    last: Int[Array, ""],
    weight: Float[Array, " sample"] | None,
    lanes: Lanes,
) -> tuple[TrainState, Metrics]:
    """Several epochs of all seeds in one call; epochs after the `last` one change nothing."""

    def lane(trainer: Trainer, state: TrainState, orders: Array):
        def one(state: TrainState, epoch: tuple[Array, Array]):
            order, number = epoch
            after, metrics = trainer.epoch(state, train, validation, Epoch(number, order, valid, weight))
            return choose(number <= last, after, state), metrics

        return jax.lax.scan(one, state, (orders, numbers))

    return _lanes(lane, trainer, lanes)(state, orders)


@compiled
def _opened(
    trainer: Trainer, state: TrainState, train: Samples, orders: Array, valid: Array, number: Array, weight: Any,
    lanes: Lanes,
) -> tuple[TrainState, StepMetrics]:  # fmt: skip
    """An epoch of all seeds before its first update, and room for the figures of all."""

    def lane(trainer: Trainer, state: TrainState, order: Array):
        epoch = Epoch(number, order, valid, weight)
        return trainer.opened(state, epoch), trainer.no_steps(state, train, epoch)

    return _lanes(lane, trainer, lanes)(state, orders)


@compiled
def _updated(
    trainer: Trainer, now: tuple[TrainState, StepMetrics], train: Samples, orders: Array, valid: Array, number: Array,
    weight: Any, first: Int[Array, ""], last: Int[Array, ""], lanes: Lanes,
) -> tuple[TrainState, StepMetrics]:  # fmt: skip
    """After some updates of an epoch: one program, however many, so that it does not matter where one stops."""

    def lane(trainer: Trainer, now: tuple[TrainState, StepMetrics], order: Array):
        return trainer.updated(*now, train, Epoch(number, order, valid, weight), first, last)

    return _lanes(lane, trainer, lanes)(now, orders)


@compiled
def _closed(
    trainer: Trainer, before: TrainState, now: tuple[TrainState, StepMetrics], train: Samples, validation: Samples,
    orders: Array, valid: Array, number: Array, weight: Any, lanes: Lanes,
) -> tuple[TrainState, Metrics]:  # fmt: skip
    """The end of an epoch of all seeds, which began from `before`."""

    def lane(trainer: Trainer, before: TrainState, now: tuple[TrainState, StepMetrics], order: Array):
        return trainer.closed(before, *now, train, validation, Epoch(number, order, valid, weight))

    return _lanes(lane, trainer, lanes)(before, now, orders)


@compiled
def evaluate_all(trainer: Trainer, parameters: Parameters, samples: Samples, keys: Array, lanes: Lanes) -> Evaluation:
    lane = lambda trainer, parameters, key: trainer.evaluate(parameters, samples, key)  # noqa: E731
    return _lanes(lane, trainer, lanes)(parameters, keys)


def lanes_of(plan: Plan) -> Lanes:
    """As many devices as the seeds can be dealt to in equal parts; trainers of their own stay on one, whose program is
    the same wherever it runs."""
    chosen: Any = jax.config.jax_default_device  # pyright: ignore[reportAttributeAccessIssue]
    devices = jax.devices() if chosen is None else jax.devices(chosen.platform)
    count = max(k for k in range(1, len(devices) + 1) if len(plan.seeds) % k == 0)
    mesh = None if count == 1 or plan.each else Mesh(np.array(devices[:count]), ("seed",))
    return Lanes(mesh, plan.each)


def _lanes(lane: Callable, trainer: Trainer, lanes: Lanes) -> Callable:
    """The same for all seeds, every device at work on its own ones: none waits for another's slowest."""
    if lanes.each:
        return lambda *trees: eqx.filter_vmap(lane, in_axes=(_axes(True), *(0,) * len(trees)))(trainer, *trees)

    def side_by_side(*trees: Any) -> Any:
        if len(jax.tree.leaves(trees)[0]) > 1:
            return jax.vmap(lambda *own: lane(trainer, *own))(*trees)
        # A single seed needs no lane: branches and loops then do only what it asks for.
        own = jax.tree.map(lambda leaf: leaf[0], trees)
        return jax.tree.map(lambda leaf: leaf[None], lane(trainer, *own))

    if lanes.mesh is None:
        return side_by_side
    seed = PartitionSpec("seed")
    return jax.shard_map(side_by_side, mesh=lanes.mesh, in_specs=seed, out_specs=seed, check_vma=False)


class Standing(NamedTuple):
    """Where a training stands: all that what follows depends on, beside what it was asked for.

    - `state`: of all seeds, after the last update. `rows`: the figures of every epoch that is over, seeds each, from
      the one after `first` on.
    - `under`: of the epoch under way, the state before it, the figures of its updates, and how many there were;
      `None` between epochs.
    """

    state: TrainState
    rows: list[dict[str, np.ndarray]]
    under: tuple[TrainState, StepMetrics, int] | None = None
    first: int = 0

    @property
    def epoch(self) -> int:
        """The last one that is over."""
        return self.first + len(self.rows)


def steps_of(plan: Plan, begun: TrainState) -> StepMetrics:
    """The shapes of the figures of an epoch's updates."""
    updates = -(-plan.rows // plan.size)
    order = jax.ShapeDtypeStruct((len(plan.seeds), updates, plan.size), np.int32)
    valid = np.ones((updates, plan.size), bool)
    more: Any = (valid, np.int32(1), plan.weight, Lanes(None, plan.each))
    return jax.eval_shape(lambda orders: _opened(plan.trainer, begun, plan.parts[0], orders, *more)[1], order)


def together_of(plan: Plan) -> int:
    """How many epochs a call trains.

    Small tasks run several, so that the round trip to the host does not count. Larger ones come to a safe point several
    times an epoch, in programs of their own, whose last digits are others: how long a training is has no say in which
    of both it is. A single epoch is the first one of two.
    """
    return max(1, min(10, max(plan.epochs, 2), _FEW // (plan.rows * len(plan.seeds))))


def rows_to_failure(rows: Sequence[Mapping[str, np.ndarray]], together: int, epochs: int) -> int | None:
    """How many epochs a training of some `epochs` has after which every seed has failed, so that it ends: those of the
    calls up to there. `None` if it goes on."""
    ends = [k for k in range(1, len(rows) + 1) if k % together == 0 or k == epochs]
    return next((k for k in ends if rows[k - 1]["failed"].all()), None)


# Where a training is at a safe point: it may be saved, or end, as the return value says.
SafePoint = Callable[[Standing], bool]


def train_epochs(
    plan: Plan,
    now: Standing,
    train: Samples,
    validation: Samples,
    epochs: int,
    callback: Callback,
    safe: SafePoint,
    lanes: Lanes,
) -> tuple[Standing, str]:
    """Train up to an epoch: where it stands then, and how that ended."""
    trainer, table, weight, status = plan.trainer, plan.rows, plan.weight, "done"
    valid = (np.arange(-(-table // plan.size) * plan.size) < plan.samples).reshape(-1, plan.size)
    together, pace = together_of(plan), Pace()
    if rows_to_failure(now.rows, together, epochs - now.first) is not None:  # before its last process could tell
        status = "failed"
    try:
        while status == "done" and now.epoch < epochs:
            first = now.epoch + 1
            numbers = range(first, first + together)
            last = min(epochs, now.epoch + together - len(now.rows) % together)  # calls end where they always would
            orders = np.asarray(_orders(plan.seeds, numbers, plan.samples, plan.size, table), np.int32)
            if together > 1 and now.under is None:
                more: Any = (orders, valid, np.array(numbers, np.int32), np.int32(last), weight, lanes)
                state, metrics = _epochs(trainer, now.state, train, validation, *more)
            else:
                how: Any = (orders[:, 0], valid, np.int32(first), weight)
                now = _up_to_its_end(trainer, now, train, how, lanes, pace, safe)
                if now.under is None or now.under[2] < len(valid):
                    status = "interrupted"
                    break
                before, steps, _ = now.under
                state, metrics = _closed(trainer, before, (now.state, steps), train, validation, *how, lanes)
                metrics = metrics._replace(**{name: leaf[:, None] for name, leaf in metrics._asdict().items()})
            metrics = jax.device_get(metrics)
            rows = now.rows
            for k in range(min(metrics.loss.shape[1], last + 1 - first)):
                rows = [*rows, {name: values[:, k] for name, values in metrics._asdict().items()}]
                try:
                    if callback(first + k, rows[-1]) is STOP:
                        status = "stopped" if status == "done" else status
                except KeyboardInterrupt:  # epochs that are trained are recorded first
                    status = "interrupted"
            now = Standing(state, rows, first=now.first)
            if status == "done" and rows[-1]["failed"].all():
                status = "failed"
            if safe(now) and status == "done" and now.epoch < epochs:
                status = "interrupted"
    except KeyboardInterrupt:
        status = "interrupted"
    return now, status


def _up_to_its_end(
    trainer: Trainer, now: Standing, train: Samples, how: Any, lanes: Lanes, pace: "Pace", safe: SafePoint
) -> Standing:
    """All updates of an epoch, or those up to a safe point at which the training is to end."""
    updates = len(how[1])
    if now.under is None:
        state, steps = _opened(trainer, now.state, train, *how, lanes)
        now = now._replace(state=state, under=(now.state, steps, 0))
    while now.under is not None and now.under[2] < updates:
        before, steps, first = now.under
        last = min(first + pace.updates, updates)
        with pace.timed(last - first):
            state, steps = jax.block_until_ready(
                _updated(trainer, (now.state, steps), train, *how, np.int32(first), np.int32(last), lanes)
            )
        now = now._replace(state=state, under=(before, steps, last))
        if last < updates and safe(now):
            break
    return now


class Pace:
    """How many updates to run at once: about as many as fill a quarter of a second, and no more than twice as many as
    the last time."""

    def __init__(self) -> None:
        self.updates, self._calls = 1, 0

    @contextlib.contextmanager
    def timed(self, updates: int) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        self._calls += 1
        if self._calls > 1:  # the first call compiles
            each = (time.perf_counter() - begun) / updates
            self.updates = max(1, min(2 * self.updates, int(_CALL / each)))
