"""Training: a plain loop around the compiled epochs. Seeds are lanes of one program."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np
import optax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Bool, Int

from ..model import Network, Parameters
from ..rules import (
    AbstractCost,
    AbstractRule,
    CrossEntropy,
    SquaredError,
    by_companions,
    initialise,
    parameters_of,
    phases_of,
    with_parameters,
)
from ..settling import (
    AbstractMethod,
    AbstractStop,
    check_count,
    check_kind,
    compiled,
    how_to_settle,
    traced,
    within_trace,
)
from ..tasks import AbstractAugmentation, Samples, Task
from .assumptions import of_constraint, of_guarantee
from .constraint import check_nudges
from .control import AbstractControl, LeakController
from .guarantee import AbstractGuarantee
from .limits import AbstractLimits, check_limits
from .memory import check_memory
from .recorded import RecordedOptimiser
from .run import Run
from .step import Evaluation, Metrics, Trainer, TrainState, choose


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


@compiled
def _begin(trainer: Trainer, parameters: Parameters, seeds: Any, samples: int) -> tuple[TrainState, Array]:
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
    mesh: Mesh | None,
) -> tuple[TrainState, Metrics]:
    """Several epochs of all seeds in one call; epochs after the `last` one change nothing."""

    def lane(state: TrainState, orders: Array):
        def one(state: TrainState, epoch: tuple[Array, Array]):
            order, number = epoch
            after, metrics = trainer.epoch(state, train, validation, order, valid, number)
            return choose(number <= last, after, state), metrics

        return jax.lax.scan(one, state, (orders, numbers))

    return _lanes(lane, mesh)(state, orders)


@compiled
def _evaluate(trainer: Trainer, parameters: Parameters, samples: Samples, keys: Array, mesh: Mesh | None) -> Evaluation:
    return _lanes(lambda parameters, key: trainer.evaluate(parameters, samples, key), mesh)(parameters, keys)


def _mesh(seeds: int) -> Mesh | None:
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
    control: AbstractControl | None = None,
    guarantee: AbstractGuarantee | None = None,
    constraints: Sequence[AbstractLimits] = (),
    learn_leak: bool = False,
    outputs_only: bool = False,
    method: AbstractMethod | None = None,
    stop: AbstractStop | None = None,
    start: tuple[float, float] = (0.0, 0.0),
    warm: bool = True,
    keep: str = "best",
    probe: int = 0,
    augment: AbstractAugmentation | None = None,
    seeds: Iterable[int] | None = None,
    callbacks: Sequence[Callback] = (),
) -> Run:
    """Train a network, or several of the same kind at once, on a task.

    What it runs is compiled once for every structure and shape, and kept, on disk too: other keys, learning rates,
    weight decays, schedules, nudges and margins are no other program; other decays of moments (Adam's `b1`, `b2`) are.

    **Arguments:**

    - `rule`, `optimiser`: any rule of `direp.rules`, any optax transformation. Biases are learned if the graph has a
      bias unit, leaks only with `learn_leak` (never below 0). With `outputs_only` hidden units stay as they are, as a
      control.
    - `control`: a `LeakController` or a `WeightProjection` keeps the network certified from before the first update to
      the last.
    - `guarantee`: `SignSymmetric`, `Balanced` or `Pairs` keep the weights where the local rule is proved to descend.
    - `constraints`: `Dale`, `Bounds`, `FixedSynapses`: kept beside any control from before the first update to the
      last, each in turn and then the control.
    - `batch_size`: by default all samples at once.
    - `cost`: by default `SquaredError()`. `method`, `stop`: as in `settle`.
    - `start`: free units begin a settling uniformly in this range; by default at rest.
    - `warm`: start the free phase of a sample where it settled in the last epoch.
    - `keep`: `"best"` keeps the epoch with the best validation accuracy (then loss), `"last"` the last one.
    - `probe`: after every epoch, measure the angle between the rule and the exact gradient (`Adjoint`) on so many
      training samples; 0 does not.
    - `augment`: changes the training inputs at random whenever they are used, such as `Shift`.
    - `seeds`: one a network, for the order of the samples; by default 0, 1, ...
    - `callbacks`: called after every epoch with its number (from 1) and its figures, an array over seeds each.

    Seeds are dealt out evenly to all devices that JAX has.

    A sample whose phases do not settle, or which a nudge does not move, is left out of the update and counted. Seeds
    whose parameters stop being finite, or all of whose samples are left out in an epoch, stop with their last good
    state and are marked `failed`.
    """
    networks: list[Any] = list(network) if isinstance(network, list | tuple) else [network]
    seeds = tuple(range(len(networks))) if seeds is None else tuple(seeds)
    if within_trace(networks, rule, control, guarantee, constraints):
        raise ValueError("fit cannot be traced by jit, vmap or grad: call it outside; what it runs is compiled already")
    for what, value, kind, instead in (
        ("rule", rule, AbstractRule, "a rule object such as direp.Local(beta=2.0)"),
        ("optimiser", optimiser, optax.GradientTransformation, "an optax transformation such as optax.adam(0.05)"),
        ("cost", cost, AbstractCost, "a cost object such as direp.CrossEntropy()"),
        ("control", control, AbstractControl, "a control object such as direp.LeakController()"),
        ("guarantee", guarantee, AbstractGuarantee, "an object such as direp.SignSymmetric()"),
        ("augment", augment, AbstractAugmentation, "an object such as direp.Shift()"),
    ):
        if value is not None or what in ("rule", "optimiser"):
            check_kind(f"fit({what}=...)", value, kind, instead)
    _check(networks, task, cost, seeds, epochs, batch_size, keep, probe, start)
    phases = phases_of(rule, networks[0], cost)
    if augment is not None:
        augment.check(task.inputs)
    for constraint in (control, guarantee):
        if constraint is not None:
            check_nudges(constraint, phases.nudges, cost or SquaredError(), networks[0])
    if isinstance(control, LeakController) and learn_leak and control.follow:
        raise ValueError(
            "fit(learn_leak=True): a controller that follows would undo it; use LeakController(follow=False)"
        )
    if guarantee is not None and (control is not None or learn_leak):
        raise ValueError(
            "fit(guarantee=...) keeps the network certified by itself, with the leaks it has: leave out control and "
            "learn_leak"
        )
    constraints = tuple(constraints)
    for each in constraints:
        check_kind("fit(constraints=...)", each, AbstractLimits, "limits such as (direp.Dale(signs),)")
    if constraints and guarantee is not None:
        raise ValueError("fit(guarantee=...) keeps signs and sizes by itself: leave out constraints, or take a control")
    if constraints:
        networks = [check_limits(constraints, control, network) for network in networks]
    if guarantee is not None:
        networks = [guarantee.begin(network) for network in networks]
    template = networks[0]
    chosen, stop = how_to_settle("fit", template, method, stop)
    if control is not None or guarantee is not None:
        chosen = chosen.contracting()  # in the norm that keeps it certified
    samples = len(task.train.x)
    size = min(batch_size or samples, samples)
    common = {
        "network": template,
        "cost": cost or SquaredError(),
        "method": traced(chosen, template.dtype),
        "stop": stop,
        "start": start,
        "one_unit": task.one_unit,
        "classify": task.kind == "classification",
    }
    evaluator = Trainer(**common)
    learned = _learned(rule, template)
    recorded = RecordedOptimiser.of(optimiser, template.parameters._replace(rule=learned))
    trainer = Trainer(
        **common,
        rule=traced(rule, template.dtype),
        optimiser=recorded,
        control=traced(control, template.dtype),
        guarantee=traced(guarantee, template.dtype),
        constraints=constraints,
        warm=warm,
        keep_last=keep == "last",
        learn_leak=learn_leak,
        outputs_only=outputs_only,
        probe=min(probe, samples),
        augment=augment,
    )
    assumptions = ()
    if control is not None:
        known = by_companions(rule, learned)
        assumptions = of_constraint(control, phases, common["cost"], template, known)
    if guarantee is not None:
        assumptions = of_guarantee(guarantee, rule, phases, template, recorded)
        assumptions += of_constraint(guarantee, phases, common["cost"], template)
    parts = [_cast(task, name, template.dtype) for name in ("train", "validation", "test")]
    check_memory(template, len(seeds), size, [len(part.x) for part in (task.train, task.validation, task.test)])
    parameters = jax.tree.map(lambda *leaves: np.stack(leaves), *(n.parameters for n in networks))
    state, keys = _begin(trainer, parameters, np.asarray(seeds), samples)
    parts = jax.device_put(parts)

    valid = (np.arange(-(-samples // size) * size) < samples).reshape(-1, size)
    last = np.int32(epochs)
    mesh = _mesh(len(seeds))
    # Small tasks run several epochs a call, so that the round trip to the host does not count.
    together = max(1, min(10, epochs, 20_000 // (samples * len(seeds))))
    rows, status = [], "done"
    try:
        for first in range(1, epochs + 1, together):
            numbers = range(first, first + together)
            orders = np.asarray(_orders(seeds, numbers, samples, size), np.int32)
            state, metrics = _epochs(trainer, state, *parts[:2], orders, valid, np.array(numbers, np.int32), last, mesh)
            metrics = jax.device_get(metrics)
            for k in range(min(together, epochs + 1 - first)):
                row = {name: values[:, k] for name, values in metrics._asdict().items()}
                rows.append(row)
                for callback in callbacks:
                    try:
                        callback(first + k, row)
                    except KeyboardInterrupt:  # epochs that are trained are recorded first
                        status = "interrupted"
            if status == "done" and rows[-1]["failed"].all():
                status = "failed"
            if status != "done":
                break
    except KeyboardInterrupt:
        status = "interrupted"

    evaluations = [_evaluate(evaluator, state.best, part, keys, mesh) for part in parts[: 1 if task.whole else 3]]
    history = {name: np.stack([row[name] for row in rows]) for name in rows[0]} if rows else {}
    evaluations, best, best_epoch, failed = jax.device_get((evaluations, state.best, state.best_epoch, state.failed))
    chosen = jax.device_put([jax.tree.map(lambda leaf, k=k: leaf[k], best) for k in range(len(seeds))])
    return Run(
        task,
        seeds,
        [template.replace(own) for own in chosen],
        history,
        *(evaluations * 3)[:3],
        best_epoch,
        failed,
        status,
        eqx.tree_at(lambda t: t.optimiser, trainer, None),
        [with_parameters(rule, own.rule) for own in chosen],
        assumptions,
    )


def _cast(task: Task, part: str, dtype: Any) -> Samples:
    """The samples of a part in the precision of the networks."""
    with np.errstate(over="ignore"):
        samples = Samples(*(np.asarray(table, dtype) for table in getattr(task, part)))
    for name, table in samples._asdict().items():
        if not np.isfinite(table).all():
            row, column = np.argwhere(~np.isfinite(table))[0]
            value = getattr(getattr(task, part), name)[row, column]
            raise ValueError(
                f"fit: {name}[{row}, {column}] of {part} in task {task.name!r} is {value:g}, which {dtype} cannot "
                "hold; scale the data, or use networks of 64 bits"
            )
    return samples


def _learned(rule: AbstractRule, network: Network) -> Any:
    """The shapes of what a rule learns itself."""
    return jax.eval_shape(lambda: parameters_of(initialise(rule, network, jax.random.key(0))))


def _check(networks, task: Task, cost, seeds, epochs, batch_size, keep, probe, start) -> None:
    for network in networks or [None]:
        check_kind("fit(network=...)", network, Network, "a Network, or several in a list")
    needed = "a task such as direp.tasks.xor(); direp.tasks.from_arrays(x, y) makes one of arrays"
    check_kind("fit(task=...)", task, Task, needed)
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
    if np.shape(start) != (2,) or not np.isfinite(start).all() or start[0] > start[1]:
        raise ValueError(
            f"fit(start={start}) must be two finite numbers, the lower one first, between which free units begin"
        )
    check_count("fit(probe", probe, 0)
    check_count("fit(epochs", epochs)
    check_count("fit(batch_size", 1 if batch_size is None else batch_size)
    if keep not in ("best", "last"):
        raise ValueError(f"fit(keep={keep!r}) must be 'best' or 'last'")
