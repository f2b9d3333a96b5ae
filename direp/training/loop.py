"""Training: what is asked for, checked and made ready; the epochs; what they have come to."""

from collections.abc import Iterable, Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np
import optax

from ..model import Network
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
from ..settling import AbstractMethod, AbstractStop, check_count, check_kind, how_to_settle, traced, within_trace
from ..tasks import AbstractAugmentation, Samples, Task
from .assumptions import of_constraint, of_guarantee
from .constraint import check_nudges
from .control import AbstractControl, LeakController
from .epochs import Callback, begin, evaluate_all, mesh_of, train_epochs
from .guarantee import AbstractGuarantee
from .limits import AbstractLimits, check_limits
from .memory import check_memory
from .metrics import Evaluation
from .progress import epochs_shown
from .recorded import RecordedOptimiser
from .run import Run
from .step import Trainer, TrainState


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
    progress: bool | str = False,
    state: TrainState | None = None,
    room: int | None = None,
    evaluate: bool = True,
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
    - `callbacks`: called after every epoch with its number (from 1) and its figures, an array over seeds each. One that
      returns `direp.training.STOP` ends the training there (small tasks finish up to ten epochs first).
    - `progress`: show a bar on standard error, with the time that is left and the figures of the epoch; a text is its
      name. In files it is a line now and then.
    - `state`: that of a run that is to go on, `Run.state`, with the same networks, rule, optimiser and control; epochs
      are counted on from it.
    - `room`: fill the table of training samples up to so many rows, which have no part in the training: data sets of
      nearby sizes then share a program. A `batch_size` of none takes all samples at once all the same.
    - `evaluate`: settle all parts of the task once more with the networks chosen; `False` leaves `Run.train`,
      `Run.validation` and `Run.test` without samples.

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
    if control is not None:  # seeds begin side by side, where JAX traces them and their numbers are not known
        for each in networks:
            control.check(each)
    template = networks[0]
    chosen, stop = how_to_settle("fit", template, method, stop)
    if control is not None or guarantee is not None:
        chosen = chosen.contracting()  # in the norm that keeps it certified
    samples = len(task.train.x)
    rows_kept = max(samples, room or 0)
    size = rows_kept if batch_size is None or batch_size >= samples else batch_size
    common = {
        "network": template,
        "cost": cost or SquaredError(),
        "method": traced(chosen, template.dtype),
        "stop": stop,
        "start": start,
        "by_unit": task.by_unit,
        "classify": task.kind != "regression",
    }
    evaluator = Trainer(**common)
    recorded = RecordedOptimiser.of(optimiser, template.parameters._replace(rule=_learned(rule, template)))
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
        known = by_companions(rule, template)
        assumptions = of_constraint(control, phases, common["cost"], template, known)
    if guarantee is not None:
        assumptions = of_guarantee(guarantee, rule, phases, template, recorded)
        assumptions += of_constraint(guarantee, phases, common["cost"], template)
    parts = [_cast(task, name, template.dtype) for name in ("train", "validation", "test")]
    check_memory(template, len(seeds), size, [len(part.x) for part in (task.train, task.validation, task.test)])
    parameters = jax.tree.map(lambda *leaves: np.stack(leaves), *(n.parameters for n in networks))
    with epochs_shown(task, epochs, progress) as shown:
        begun, keys = begin(trainer, parameters, np.asarray(seeds), rows_kept)
        now, done = (begun, 0) if state is None else _going_on(state, begun)
        weight = None if task.weight is None else _filled(_relative(task.weight).astype(template.dtype), rows_kept)
        parts[0] = Samples(*(_filled(table, rows_kept) for table in parts[0]))
        parts, mesh = jax.device_put(parts), mesh_of(len(seeds))
        how = {"seeds": seeds, "samples": samples, "size": size, "weight": weight, "mesh": mesh}
        epochs_to_come = range(done + 1, done + epochs + 1)
        now, rows, status = train_epochs(trainer, now, *parts[:2], epochs_to_come, (*callbacks, *shown), **how)

    if evaluate and rows_kept > samples:
        parts[0] = jax.tree.map(lambda table: table[:samples], parts[0])
    empty = jax.tree.map(lambda leaf: np.repeat(leaf[None], len(seeds), 0), Evaluation.empty(task.outputs, float))
    evaluations = [
        evaluate_all(evaluator, now.best, part, keys, mesh) if evaluate and len(part.x) else empty
        for part in parts[: 1 if task.whole else 3]
    ]
    history = {name: np.stack([row[name] for row in rows]) for name in rows[0]} if rows else {}
    evaluations, best, best_epoch, failed = jax.device_get((evaluations, now.best, now.best_epoch, now.failed))
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
        now,
        phases,
    )


def _going_on(state: TrainState, begun: TrainState) -> tuple[TrainState, int]:
    """A state to go on from, and its epoch. Where the samples are others, phases start from rest again."""
    if state.states.shape[:1] == begun.states.shape[:1] and state.states.shape != begun.states.shape:
        state = eqx.tree_at(lambda s: s.states, state, begun.states)
    shapes = [[(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(tree)] for tree in (state, begun)]
    if jax.tree.structure(state) != jax.tree.structure(begun) or shapes[0] != shapes[1]:
        raise ValueError(
            "fit(state=...) is of another training: give the networks, rule, optimiser, control and seeds that it had"
        )
    return state, int(np.max(np.asarray(state.epoch)))


def _relative(weight: Any) -> np.ndarray:
    """Weights of mean 1 over the samples that count: light samples make small steps, and no precision overflows."""
    weight = np.asarray(weight, np.float64)
    weight = np.ldexp(weight, -int(np.frexp(weight.max())[1]))
    return weight / weight[weight > 0].mean()


def _filled(table: np.ndarray, rows: int) -> np.ndarray:
    """With rows of zeros below."""
    return np.concatenate([table, np.zeros((rows - len(table), *table.shape[1:]), table.dtype)])


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
    if keep == "best" and not len(task.validation.x):
        raise ValueError(f"fit(keep='best') needs validation samples, and task {task.name!r} has none: keep='last'")
