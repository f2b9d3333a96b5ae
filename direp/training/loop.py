"""Training: what is asked for is planned, its epochs are trained, and what they have come to is told."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
import optax

from ..model import Network
from ..rules import AbstractCost, AbstractRule, with_parameters
from ..runs import RunFolder, listening
from ..settling import AbstractMethod, AbstractStop
from ..tasks import AbstractAugmentation, Task
from .checkpoint import Keeper
from .control import AbstractControl
from .described import folder_of
from .epochs import Callback, Standing, begin, evaluate_all, lanes_of, train_epochs
from .guarantee import AbstractGuarantee
from .limits import AbstractLimits
from .metrics import Evaluation
from .plan import Plan, planned
from .progress import epochs_shown
from .run import Run
from .step import TrainState
from .together import cut, side_by_side, widened
from .tracking import AbstractCallback, Audience


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
    callbacks: Sequence[Callback | AbstractCallback] = (),
    progress: bool | str = False,
    state: TrainState | None = None,
    room: int | None = None,
    evaluate: bool = True,
    lanes: int | None = None,
    folder: str | Path | RunFolder | None = None,
    checkpoint: float = 30.0,
) -> Run:
    """Train a network, or several of the same kind at once, on a task.

    What it runs is compiled once for every structure and shape, and kept, on disk too: other keys, learning rates,
    weight decays, schedules, nudges and margins are no other program; other decays of moments (Adam's `b1`, `b2`) are.

    **Arguments:**

    - `rule`, `optimiser`: any rule of `direp.rules`, any optax transformation. Biases are learned if the graph has a
      bias unit, leaks only with `learn_leak` (never below 0). With `outputs_only` hidden units stay as they are, as a
      control.
    - `control`: a `LeakController` or a `WeightProjection` keeps the network certified from before the first update to
      the last; `EuclideanLeaks` and `EuclideanProjection` do in a norm that knows signs, proved after every epoch.
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
      returns `direp.training.STOP` ends the training there (small tasks finish up to ten epochs first). An
      `AbstractCallback`, such as `direp.training.TensorBoard`, is told of its beginning and end too.
    - `progress`: show a bar on standard error, with the time that is left and the figures of the epoch; a text is its
      name. In files it is a line now and then.
    - `state`: that of a run that is to go on, `Run.state`, with the same networks, rule, optimiser and control; epochs
      are counted on from it.
    - `room`: fill the table of training samples up to so many rows, which have no part in the training: data sets of
      nearby sizes then share a program. A `batch_size` of none takes all samples at once all the same.
    - `evaluate`: settle all parts of the task once more with the networks chosen; `False` leaves `Run.train`,
      `Run.validation` and `Run.test` without samples.
    - `lanes`: train in a program of so many lanes, in which others might be trained beside: a training comes to the
      same bits whatever they hold, which it does not in programs of other sizes.
    - `folder`: a run folder that keeps the figures of every epoch and, every `checkpoint` seconds, where the training
      stands. Called again with the same folder and arguments, `fit` goes on there, after whatever ended it, and comes
      to the same bits; `epochs` may be raised.

    Raises `ValueError` for arguments that cannot be, and for a `folder` that holds another training, naming what
    differs, or that another process writes in, naming that.

    Seeds are dealt out evenly to all devices that JAX has.

    A sample whose phases do not settle, or which a nudge does not move, is left out of the update and counted. Seeds
    whose parameters stop being finite, or all of whose samples are left out in an epoch, stop with their last good
    state and are marked `failed`.
    """
    if state is not None and folder is not None:
        raise ValueError(
            "fit(state=..., folder=...) both say where to go on: leave out state, which the folder keeps by itself"
        )
    plan = planned(
        network, task, rule=rule, optimiser=optimiser, epochs=epochs, batch_size=batch_size, cost=cost, control=control,
        guarantee=guarantee, constraints=constraints, learn_leak=learn_leak, outputs_only=outputs_only, method=method,
        stop=stop, start=start, warm=warm, keep=keep, probe=probe, augment=augment, seeds=seeds, room=room,
    )  # fmt: skip
    wide, count = plan if lanes is None else side_by_side([plan], lanes), len(plan.seeds)
    own = (lambda now: now) if wide is plan else (lambda now: cut(now, 0, count))
    with folder_of(plan, folder, lanes) as place, listening(leaves=False) as asked:
        begun, keys = begin(wide.trainer, wide.parameters, np.asarray(wide.seeds), wide.rows, wide.each)
        parts = jax.device_put(plan.parts)
        now, keeper = own(Standing(begun, [])), None
        if place is not None:
            keeper = Keeper(place, plan, now.state, checkpoint)
            now = keeper.standing()
            callbacks = (keeper.epoch, *callbacks)
        elif state is not None:
            state = _going_on(state, now.state)
            now = Standing(state, [], first=int(np.max(np.asarray(state.epoch))))
        with epochs_shown(task, max(epochs, len(now.rows)), progress) as shown:

            def safe(now: Standing) -> bool:
                """Save where it is time to; whether somebody asked to end."""
                ends = asked.take()
                if keeper is not None:
                    if ends or asked.take_save() or keeper.due():
                        keeper.save(own(now))
                    asked.late = lambda number, keeper=keeper: keeper.leave(own(now))
                return ends

            last = epochs + (0 if keeper is not None else now.epoch)
            for number, row in enumerate(now.rows, 1):  # those of a training that goes on
                for show in shown:
                    show(number, row)
            audience = Audience((*callbacks, *shown), plan, now.epoch)
            now = now if wide is plan else widened(now, len(wide.seeds))
            try:
                now, status = train_epochs(wide, now, *parts[:2], last, audience.epoch, safe, lanes_of(wide))
            except BaseException:
                audience.end("error")
                raise
            now = own(now)
            if keeper is not None:
                keeper.save(now)
            audience.end(status)
        evaluate = evaluate and not (status == "interrupted" and asked.leaves)  # a process that is to end
        run = conclude(plan, now, status, parts, keys[:count], evaluate=evaluate)
        if asked.received is not None and not asked.leaves:  # the last epoch, or the evaluation, was the step
            run.status = "interrupted"
        if keeper is not None and (place is not folder or status == "interrupted"):
            keeper.end(now, run.status)
        return run


def run_of(plan: Plan, now: Standing) -> Run:
    """What a training that `train_together` has trained has come to."""
    status = "failed" if now.rows and now.rows[-1]["failed"].all() else "done"
    keys = jax.vmap(jax.random.key)(np.asarray(plan.seeds))
    return conclude(plan, now, status, jax.device_put(plan.parts), keys)


def conclude(plan: Plan, now: Standing, status: str, parts: Any, keys: Any, *, evaluate: bool = True) -> Run:
    """What a training has come to: how the networks that are kept do on all parts of the task."""
    task, seeds, state = plan.task, plan.seeds, now.state
    if evaluate and plan.rows > plan.samples:
        parts = [jax.tree.map(lambda table: table[: plan.samples], parts[0]), *parts[1:]]
    empty = jax.tree.map(lambda leaf: np.repeat(leaf[None], len(seeds), 0), Evaluation.empty(task.outputs, float))
    evaluations = [
        evaluate_all(plan.evaluator, state.best, part, keys, lanes_of(plan)) if evaluate and len(part.x) else empty
        for part in parts[: 1 if task.whole else 3]
    ]
    history = {name: np.stack([row[name] for row in now.rows]) for name in now.rows[0]} if now.rows else {}
    evaluations, best, best_epoch, failed = jax.device_get((evaluations, state.best, state.best_epoch, state.failed))
    chosen = jax.device_put([jax.tree.map(lambda leaf, k=k: leaf[k], best) for k in range(len(seeds))])
    return Run(
        task,
        seeds,
        [plan.network.replace(own) for own in chosen],
        history,
        *(evaluations * 3)[:3],
        best_epoch,
        failed,
        status,
        eqx.tree_at(lambda t: t.optimiser, plan.trainer, None),
        [with_parameters(plan.rule, own.rule) for own in chosen],
        plan.assumptions,
        state if now.under is None else now.under[0],
        plan.phases,
    )


def _going_on(state: TrainState, begun: TrainState) -> TrainState:
    """A state to go on from. Where the samples are others, phases start from rest again."""
    if state.states.shape[:1] == begun.states.shape[:1] and state.states.shape != begun.states.shape:
        state = eqx.tree_at(lambda s: s.states, state, begun.states)
    shapes = [[(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(tree)] for tree in (state, begun)]
    if jax.tree.structure(state) != jax.tree.structure(begun) or shapes[0] != shapes[1]:
        raise ValueError(
            "fit(state=...) is of another training: give the networks, rule, optimiser, control and seeds that it had"
        )
    return state
