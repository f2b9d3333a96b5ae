"""From settings to objects: each part is made once, by its name in the catalogue, from what the settings know."""

from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .. import tasks
from ..certificates import AbstractDiagonal, Mismatch
from ..model import AbstractSynapses, Connectome, Given, Graph, Network
from ..rules import (
    AbstractRule,
    Fading,
    Homeostasis,
    Local,
    RuleRun,
    Safeguard,
    SharedFeedback,
    companions,
    feedback_of,
    parameters_of,
    phases_of,
    with_companions,
)  # fmt: skip
from ..runs import Unreadable, read_arrays
from ..settling import Steps, Tolerance
from ..tasks import Shift, Task
from ..training import (
    AbstractControl,
    AbstractLimits,
    Bounds,
    Dale,
    EuclideanLeaks,
    EuclideanProjection,
    FixedSynapses,
    LeakController,
    WeightProjection,
    drawn,
    prune,
    shrink,
)  # fmt: skip
from . import parts
from .catalogue import WrongUse
from .graph_file import is_graph_file, read_connectome
from .settings import Settings, is_file, parse_seeds, share_of


def load_task(settings: Settings) -> Task:
    """The task of some settings. Raises `Unreadable` for data that is missing or damaged."""
    if is_file(settings.task):
        task = _from_file(Path(settings.task), settings)
    else:
        known = lambda name: getattr(settings, name)  # noqa: E731
        try:
            task = parts.build("task", settings.task, known, "task")
        except (tasks.DataMissing, tasks.DataUnreadable) as error:
            raise Unreadable(str(error)) from None
    check_cost(settings, task.outputs)
    if settings.cost == "cross-entropy" and task.kind != "classification":
        raise WrongUse(f"--cost cross-entropy is of classes, and {settings.task} is a {task.kind}: use --cost squared")
    return task


def check_cost(settings: Settings, outputs: int) -> None:
    if settings.cost == "cross-entropy" and outputs < 2:
        raise WrongUse(
            f"--cost cross-entropy needs two outputs or more, and {settings.task} has {outputs}: use --cost squared"
        )


def _from_file(path: Path, settings: Settings) -> Task:
    how: Any = {"name": path.stem, "scale": settings.scale, "split": settings.split, "reach": reach_of(settings)}
    if path.suffix.lower() == ".npz":
        if settings.target or settings.drop:
            raise WrongUse(
                f"--target and --drop name columns of a table, and {path} holds arrays x and y: leave them out"
            )
        arrays, held = read_arrays(path, ("x", "y"))
        if len(arrays) < 2:
            raise Unreadable(f"{path} holds {', '.join(held) or 'nothing'}; needed are arrays named x and y")
        kind = tasks.kind_of(arrays["y"]) if settings.kind == "auto" else settings.kind
        return tasks.from_arrays(arrays["x"], arrays["y"], kind=kind, **how)
    table = read_table(path)
    if not settings.target:
        names = table.column_names
        more = f" and {len(names) - 12} more" if len(names) > 12 else ""
        raise WrongUse(f"--target is missing: name the column of {path} to predict, of {', '.join(names[:12])}{more}")
    return tasks.from_table(table, settings.target, kind=settings.kind, drop=settings.drop, **how)


def read_table(path: str | Path, **types: Any) -> Any:
    """An Arrow table out of a file, or from standard input (`-`)."""
    try:
        return tasks.read_table(path, **types)
    except tasks.DataUnreadable as error:
        raise Unreadable(str(error)) from None


def reach_of(settings: Settings) -> tuple[float, float]:
    """What outputs of the settings' neuron can reach: into this targets of a regression are scaled."""

    def known(name: str) -> Any:
        value = getattr(settings, name)
        return parts.build(name, value, lambda _: None) if name == "activation" else value

    return parts.build("neuron", settings.neuron, known).reach(settings.leak)


class Parts:
    """What settings describe, for a task."""

    def __init__(self, settings: Settings, task: Task):
        self.settings, self.task = settings, task
        self.seeds = parse_seeds(settings.seeds)
        self.inputs, self.outputs = task.inputs, task.outputs
        self.units = sum(settings.hidden) if self.connectome is None else self.connectome.graph.hidden
        self.sizes = (task.inputs, *settings.hidden, task.outputs)
        self.input_mean = float(task.train.x.mean()) if settings.centred else 0.0
        size = min(settings.batch_size or len(task.train.x), len(task.train.x))
        self.updates = settings.epochs * -(-len(task.train.x) // size)
        self.key = jax.random.key(0)
        self.kept = 0.1 if settings.margin is None else settings.margin
        self.follow = not settings.learn_leak
        self.mismatch = Mismatch(share_of(settings.mismatch), settings.devices)  # pyright: ignore[reportArgumentType]

    def known(self, name: str) -> Any:
        """What a constructor gets for a parameter: a part or a number of these, else the setting of that name."""
        return getattr(self, name) if hasattr(type(self), name) or name in vars(self) else getattr(self.settings, name)

    def part(self, kind: str) -> Any:
        return parts.build(kind, getattr(self.settings, kind), self.known)

    # Made once, for several others ask for them.
    activation = cached_property(lambda self: self.part("activation"))
    criterion = cached_property(lambda self: self.part("norm"))
    cost = cached_property(lambda self: self.part("cost"))
    feedback = cached_property(lambda self: self.part("feedback"))
    guarantee = cached_property(lambda self: self.part("guarantee"))

    @cached_property
    def _graph(self) -> Any:
        if self.connectome is not None:
            return self.connectome.graph
        try:
            return self.part("graph")
        except ValueError as error:
            if self.settings.graph != "random" or "no input reaches" not in str(error):
                raise
            raise WrongUse(
                f"--density {self.settings.density} with --hidden {self.units} leaves an output that no input reaches: "
                "give a higher density, or more hidden units"
            ) from None

    @cached_property
    def connectome(self) -> Connectome | None:
        """That of the graph's file, if it is one."""
        if not is_graph_file(self.settings.graph):
            return None
        found = read_connectome(self.settings.graph)
        for what, has, needs in (
            ("input", found.graph.inputs, self.inputs),
            ("output", found.graph.outputs, self.outputs),
        ):
            if has != needs:
                raise WrongUse(
                    f"--graph {self.settings.graph} has {has} units of the role {what}, and {self.settings.task} needs "
                    f"{needs}"
                )
        return found

    @property
    def graph(self) -> Graph:
        return self._graph.graph if isinstance(self._graph, AbstractSynapses) else self._graph

    @cached_property
    def layout(self) -> AbstractSynapses:
        if not isinstance(self._graph, AbstractSynapses):
            return self.part("layout")
        if self.settings.layout != "auto":
            given = f"--layout {self.settings.layout}: {self.settings.graph}"
            raise WrongUse(f"{given} brings its own layout; leave --layout out")
        return self._graph

    @cached_property
    def nudge(self) -> Any:
        return nudge_of(self.settings, self.settings.beta, self.updates)

    @cached_property
    def rule(self) -> AbstractRule:
        rule, strength = self.part("rule"), self.settings.homeostasis
        if self.settings.feedback != "shared" and all(isinstance(own, SharedFeedback) for own in feedback_of(rule)):
            raise WrongUse(
                f"--feedback {self.settings.feedback} needs a rule that takes one, which {self.settings.rule} does "
                "not: use --rule asym-ep, or dyadic"
            )
        return Homeostasis(rule, strength) if strength else rule

    @cached_property
    def phases(self) -> RuleRun:
        """The phases that the rule runs: nudges, and other fields, with what is known of each."""
        return phases_of(self.rule, self.network, self.cost)

    @cached_property
    def networks(self) -> list[Network]:
        neuron, weights, dtype = self.part("neuron"), self.part("init"), jnp.dtype(self.settings.precision)
        leak: Any = self.settings.leak
        if self.connectome is not None:
            leak = self.connectome.folded(neuron, leak if self.connectome.leak is None else self.connectome.leak)
        return [
            Network(
                self.graph, neuron, weights, leak=leak, key=jax.random.key(seed), dtype=dtype,
                layout=self.layout,
            )
            for seed in self.seeds
        ]  # fmt: skip

    @property
    def network(self) -> Network:
        return self.networks[0]

    @cached_property
    def control(self) -> Any:
        if self.settings.margin is None or self.settings.guarantee != "none":
            return None
        control = self.part("control")
        if self.mismatch.share and control.mismatch != self.mismatch:
            raise WrongUse(
                f"--control {self.settings.control} takes no mismatch, and --mismatch {self.settings.mismatch} asks "
                "for room for dies: leave it out, or let its constructor take mismatch and keep it"
            )
        return control

    @cached_property
    def constraints(self) -> tuple[AbstractLimits, ...]:
        settings, signs = self.settings, None
        if self.connectome is not None:
            signs = np.sign(self.connectome.weight) if self.connectome.sign is None else self.connectome.sign
        found: list[AbstractLimits] = [Dale(signs)] if settings.dale else []
        if settings.weight_bounds is not None:
            found.append(Bounds(*settings.weight_bounds))
        if settings.fixed:
            fixed = None if self.connectome is None else self.connectome.fixed
            if fixed is None:
                raise WrongUse(f"--fixed: {settings.graph} marks no synapse: give synapses fixed = 1 where they stay")
            found.append(FixedSynapses(fixed))
        return tuple(found)

    def optimiser(self) -> optax.GradientTransformation:
        settings = self.settings
        decay = optax.add_decayed_weights(settings.decay, mask=_weights_alone)
        chain = [self.part("optimiser"), decay, optax.scale_by_learning_rate(self.part("schedule"))]
        if settings.sign_only:
            chain.insert(0, optax.scale_by_sign())
        if settings.shrink:
            chain.append(shrink(settings.shrink))
        if settings.prune:
            chain.append(prune(self.network, key=jax.random.key(0)))
        return optax.chain(*chain)

    def started(self) -> list[Network]:
        """The networks as training begins: with what the guarantee and the control make of them."""
        networks = self.networks
        for part in (*self.constraints, self.guarantee, self.control):
            networks = networks if part is None else [part.begin(network) for network in networks]
        return networks

    def begun(self, k: int) -> tuple[Network, tuple[Any, ...]]:
        """The network of a seed as training begins and what its rule has drawn, as limits and control leave both."""
        network = self.networks[k]
        for part in (*self.constraints, self.guarantee):
            network = network if part is None else part.begin(network)
        own = parameters_of(drawn(self.rule, network, jax.random.key(self.seeds[k])))
        feedback = tuple(each.recurrent for each in companions(own))
        for part in (*self.constraints, self.control):
            if part is not None:
                network, feedback = part.begin_with(network, feedback)
        return network, with_companions(own, feedback)

    def fit(self) -> dict[str, Any]:
        """The arguments of `direp.fit` that the settings describe, the task's excepted."""
        s = self.settings
        stop = Steps(s.fixed_steps) if s.fixed_steps else Tolerance(s.tolerance, s.tolerance, max_steps=s.max_steps)
        own = "learn_leak outputs_only start warm keep probe epochs batch_size lanes"
        return {
            "network": self.networks, "rule": self.rule, "optimiser": self.optimiser(), "cost": self.cost,
            "control": self.control, "guarantee": self.guarantee, "stop": stop,
            "constraints": self.constraints,
            "method": None if s.method == "auto" else self.part("method"),
            "augment": Shift(s.shift, fill=float(self.task.train.x.min())) if s.shift else None, "seeds": self.seeds,
            **{name: getattr(s, name) for name in own.split()},
        }  # fmt: skip


def arguments(settings: Settings, task: Task) -> dict[str, Any]:
    """The arguments of `direp.fit` that settings describe, the task's excepted."""
    return Parts(settings, task).fit()


def nudge_of(settings: Settings, beta: float, updates: int) -> Any:
    """The nudge of some settings at a strength; fading to `beta_end` where they say so."""
    fades, name = settings.beta_end is not None, settings.nudge
    known = {"beta": beta, "beta_end": settings.beta_end, "updates": updates}
    nudge = parts.build("nudge", name, known.__getitem__)
    return Fading(start=beta, end=settings.beta_end or beta, updates=updates, kind=type(nudge)) if fades else nudge


def given(connectome: Connectome | None, gain: float, hidden_bias: float) -> Given:
    assert connectome is not None
    bias = connectome.bias if connectome.bias is not None else np.zeros(connectome.graph.free)
    if connectome.bias is None:
        bias[: connectome.graph.hidden] = hidden_bias
    return Given(connectome.strength, gain, bias)


def safeguard(nudge: Any) -> Safeguard:
    return Safeguard(Local(nudge))


def leak_control(
    margin: float, floor: float, criterion: Any, follow: bool, through_leak: bool, mismatch: Mismatch
) -> AbstractControl:
    made: Any = LeakController if isinstance(criterion, AbstractDiagonal) else EuclideanLeaks
    how: Any = {"follow": follow, "through_leak": through_leak, "mismatch": mismatch}
    return made(margin=margin, floor=floor, criterion=criterion, **how)


def weight_control(margin: float, criterion: Any, mismatch: Mismatch) -> AbstractControl:
    made: Any = WeightProjection if isinstance(criterion, AbstractDiagonal) else EuclideanProjection
    return made(margin=margin, criterion=criterion, mismatch=mismatch)


def sgd(momentum: float) -> optax.GradientTransformation:
    return optax.trace(momentum) if momentum else optax.identity()


def constant(init_value: float) -> float:
    return init_value


def warm_cosine(init_value: float, decay_steps: int) -> optax.Schedule:
    """To `init_value` over the first tenth of the updates, and to zero over the others. Adam's first steps are as large
    as all others, and of one sign for a unit's synapses: in deep networks they can silence a layer for good."""
    return optax.warmup_cosine_decay_schedule(0.0, init_value, max(decay_steps // 10, 1), decay_steps)


def _weights_alone(params: Any) -> Any:
    """What decays: weights, and companions beside them."""
    found = companions(params.rule)
    decays = [jax.tree.map(lambda _, yes=node.learned: yes, node.recurrent) for node in found]
    rule = with_companions(jax.tree.map(lambda _: False, params.rule), decays)
    return params._replace(weight=True, bias=False, leak=False, rule=rule)
