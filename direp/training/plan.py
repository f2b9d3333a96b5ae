"""What a training is asked for, checked and made ready: the trainer, the samples, the networks as they begin."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import optax

from ..model import Network, Parameters
from ..rules import (
    AbstractCost,
    AbstractRule,
    CrossEntropy,
    RuleRun,
    SquaredError,
    by_companions,
    initialise,
    parameters_of,
    phases_of,
)
from ..settling import AbstractMethod, AbstractStop, check_count, check_kind, how_to_settle, traced, within_trace
from ..tasks import AbstractAugmentation, Samples, Task
from .assumptions import of_constraint, of_guarantee
from .constraint import check_nudges
from .control import AbstractControl, LeakController
from .euclidean import EuclideanLeaks
from .guarantee import AbstractGuarantee
from .limits import AbstractLimits, check_limits
from .memory import check_memory
from .recorded import RecordedOptimiser
from .step import Trainer


@dataclass(frozen=True)
class Plan:
    """A training before it begins.

    - `parameters`: of all networks, the seeds as first axis. `parts`: samples to train on, choose by and test on; those
      to train on are filled up to `rows` with rows that have no part in it, which `samples` leaves out.
    - `size`: samples an update. `weight`: how much every training sample counts.
    """

    task: Task
    seeds: tuple[int, ...]
    trainer: Trainer
    rule: AbstractRule
    parameters: Parameters
    parts: tuple[Samples, Samples, Samples]
    weight: np.ndarray | None
    samples: int
    rows: int
    size: int
    epochs: int
    phases: RuleRun
    assumptions: tuple[str, ...]
    each: bool = False  # every seed has a trainer of its own: the arrays of `trainer` have the seeds as first axis

    @property
    def network(self) -> Network:
        """The one whose parameters the trainer replaces."""
        return self.trainer.network

    @property
    def evaluator(self) -> Trainer:
        """What settles samples and compares outputs, whatever the rule."""
        same = "network cost method stop start by_unit classify"
        return Trainer(**{name: getattr(self.trainer, name) for name in same.split()})


def evaluator_of(
    network: Network, task: Task, cost: AbstractCost | None, method: AbstractMethod | None, stop: AbstractStop | None,
    who: str = "fit",
) -> Trainer:  # fmt: skip
    """What settles samples of a task in a network like this one and compares outputs."""
    chosen, stop = how_to_settle(who, network, method, stop)
    how: Any = {"method": traced(chosen, network.dtype), "stop": stop, "cost": cost or SquaredError()}
    return Trainer(network=network, by_unit=task.by_unit, classify=task.kind != "regression", **how)


def planned(
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
    room: int | None = None,
) -> Plan:
    """The training that the arguments of [`fit`][direp.fit] describe. Raises `ValueError` for what cannot be."""
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
    if isinstance(control, LeakController | EuclideanLeaks) and learn_leak and control.follow:
        raise ValueError(
            f"fit(learn_leak=True): a controller that follows would undo it; use {type(control).__name__}(follow=False)"
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
    kept = control if guarantee is None else guarantee
    if kept is not None and kept.full_steps:
        chosen = chosen.contracting()  # in the norm that keeps it certified
    samples = len(task.train.x)
    rows = max(samples, room or 0)
    size = rows if batch_size is None or batch_size >= samples else batch_size
    common = {
        "network": template,
        "cost": cost or SquaredError(),
        "method": traced(chosen, template.dtype),
        "stop": stop,
        "start": start,
        "by_unit": task.by_unit,
        "classify": task.kind != "regression",
    }
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
    check_memory(template, len(seeds), size, [rows, *(len(part.x) for part in parts[1:])])
    weight = None if task.weight is None else _filled(_relative(task.weight).astype(template.dtype), rows)
    parts[0] = Samples(*(_filled(table, rows) for table in parts[0]))
    parameters = jax.tree.map(lambda *leaves: np.stack(leaves), *(n.parameters for n in networks))
    own: Any = (trainer, rule, parameters, tuple(parts), weight)
    return Plan(task, seeds, *own, samples, rows, size, epochs, phases, assumptions)


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
