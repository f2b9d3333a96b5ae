"""Epochs of all seeds: compiled once, several to a call, and the plain loop around them. Seeds are lanes."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Bool, Float, Int

from ..model import Parameters
from ..settling import compiled
from ..tasks import Samples
from .metrics import Evaluation, Metrics
from .step import Trainer, TrainState, choose

Callback = Callable[[int, dict[str, np.ndarray]], Any]
STOP = "stop"  # what a callback returns to end a training


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
def begin(trainer: Trainer, parameters: Parameters, seeds: Any, samples: int) -> tuple[TrainState, Array]:
    """The states of all seeds before the first update, and their keys."""
    keys = jax.vmap(jax.random.key)(seeds)
    return jax.vmap(lambda parameters, key: trainer.begin(parameters, key, samples))(parameters, keys), keys


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
    mesh: Mesh | None,
) -> tuple[TrainState, Metrics]:
    """Several epochs of all seeds in one call; epochs after the `last` one change nothing."""

    def lane(state: TrainState, orders: Array):
        def one(state: TrainState, epoch: tuple[Array, Array]):
            order, number = epoch
            after, metrics = trainer.epoch(state, train, validation, order, valid, number, weight)
            return choose(number <= last, after, state), metrics

        return jax.lax.scan(one, state, (orders, numbers))

    return _lanes(lane, mesh)(state, orders)


@compiled
def evaluate_all(
    trainer: Trainer, parameters: Parameters, samples: Samples, keys: Array, mesh: Mesh | None
) -> Evaluation:
    return _lanes(lambda parameters, key: trainer.evaluate(parameters, samples, key), mesh)(parameters, keys)


def mesh_of(seeds: int) -> Mesh | None:
    """As many devices as the seeds can be dealt to in equal parts; `None` for a single one."""
    chosen: Any = jax.config.jax_default_device  # pyright: ignore[reportAttributeAccessIssue]
    devices = jax.devices() if chosen is None else jax.devices(chosen.platform)
    count = max(k for k in range(1, len(devices) + 1) if seeds % k == 0)
    return None if count == 1 else Mesh(np.array(devices[:count]), ("seed",))


def _lanes(lane: Callable, mesh: Mesh | None) -> Callable:
    """The same for all seeds, every device at work on its own ones: none waits for another's slowest."""

    def side_by_side(*trees: Any) -> Any:
        if len(jax.tree.leaves(trees)[0]) > 1:
            return jax.vmap(lane)(*trees)
        # A single seed needs no lane: branches and loops then do only what it asks for.
        return jax.tree.map(lambda leaf: leaf[None], lane(*jax.tree.map(lambda leaf: leaf[0], trees)))

    if mesh is None:
        return side_by_side
    seed = PartitionSpec("seed")
    return jax.shard_map(side_by_side, mesh=mesh, in_specs=seed, out_specs=seed, check_vma=False)


def train_epochs(
    trainer: Trainer,
    state: TrainState,
    train: Samples,
    validation: Samples,
    epochs: range,
    callbacks: Sequence[Callback],
    *,
    seeds: tuple[int, ...],
    samples: int,
    size: int,
    weight: Any,
    mesh: Mesh | None,
) -> tuple[TrainState, list[dict[str, np.ndarray]], str]:
    """These epochs: the state after them, the figures of each, and how they ended. Of the rows of `train`, the first
    `samples` are some."""
    table = len(train.x)
    valid = (np.arange(-(-table // size) * size) < samples).reshape(-1, size)
    # Small tasks run several epochs a call, so that the round trip to the host does not count.
    together = max(1, min(10, len(epochs), 20_000 // (table * len(seeds))))
    last, rows, status = np.int32(epochs[-1]), [], "done"
    try:
        for first in epochs[::together]:
            numbers = range(first, first + together)
            orders = np.asarray(_orders(seeds, numbers, samples, size, table), np.int32)
            now: Any = (orders, valid, np.array(numbers, np.int32), last, weight, mesh)
            state, metrics = _epochs(trainer, state, train, validation, *now)
            metrics = jax.device_get(metrics)
            for k in range(min(together, epochs[-1] + 1 - first)):
                row = {name: values[:, k] for name, values in metrics._asdict().items()}
                rows.append(row)
                for callback in callbacks:
                    try:
                        if callback(first + k, row) is STOP:
                            status = "stopped" if status == "done" else status
                    except KeyboardInterrupt:  # epochs that are trained are recorded first
                        status = "interrupted"
            if status == "done" and rows[-1]["failed"].all():
                status = "failed"
            if status != "done":
                break
    except KeyboardInterrupt:
        status = "interrupted"
    return state, rows, status
