r"""The share of the machine's matrix products that training comes to: how much of an update is spent on what must be.

Counted are the products that an update cannot do without, for matrices of $N_{\mathrm{in}}$ and $N$ numbers (from the
inputs, and between free units) and a batch of $B$ samples:

$$\mathrm{flops}=2\Big(B\,N_{\mathrm{in}}+N\sum_{\mathrm{phases}}\sum_nk\,t_n+B\,(N_{\mathrm{in}}+N)\Big),$$

the inputs' drive once, $k$ products a step (`AbstractMethod.evaluations`) for the $t_n$ steps that sample $n$ itself
took in a phase, and the outer products of the rule. Not counted, though it takes time, is all else: samples that wait
for slower ones of their batch, the evaluation at the start of a phase, the rest of a step, control, optimiser. A dense
layout multiplies with all numbers of its matrix, those where the graph has no synapse too, and they are counted.

The share is that over the time of an update, divided by the rate of plain products of the same shapes, as many of each.
"""

import dataclasses
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..rules import estimate, parameters_of
from ..tasks import Task, from_arrays
from ..training import RecordedOptimiser, Trainer, fit
from .bench import Timing, compare
from .build import arguments
from .presets import preset

_CASES: dict[str, dict[str, Any]] = {
    "random graph of 512 units, density 0.1, no pairs": {"graph": "random", "density": 0.1, "reciprocity": 0.0},
    "784-512-512-512-10": {"hidden": (512, 512, 512)},
    "784-512-10": {},
}
_UPDATES = 10  # in a call


def images(samples: int) -> Task:
    """Random data of MNIST's size: ten patterns, and noise."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 10, samples)
    pattern = rng.random((10, 784)) < 0.2
    return from_arrays(np.where(rng.random((samples, 784)) < 0.8, pattern[label], rng.random((samples, 784))), label)


class Training(NamedTuple):
    """A training under way: its trainer, the state of its one seed, and batches to go on with."""

    trainer: Trainer
    state: Any
    x: jax.Array  # update x batch x input
    y: jax.Array

    @classmethod
    def begun(cls, own: dict[str, Any], updates: int) -> "Training":
        """After a short epoch with the settings of MNIST and `own` ones; images are not moved."""
        settings = dataclasses.replace(preset("mnist"), seeds="0", epochs=1, shift=0, scale="none", **own)
        size = settings.batch_size or 128
        task = images(100 * size)
        built = arguments(settings, task)
        run = fit(task=task, **built)
        network, rule = run.networks[0], run.rules[0]
        parameters = network.parameters._replace(rule=parameters_of(rule))
        optimiser = RecordedOptimiser.of(built["optimiser"], parameters)
        trainer = eqx.tree_at(lambda t: t.optimiser, run.trainer, optimiser, is_leaf=lambda leaf: leaf is None)
        state = eqx.filter_jit(lambda t, p: t.begin(p, jax.random.key(0), 1))(trainer, network.parameters)
        state = eqx.tree_at(lambda s: s.parameters, state, parameters)
        x, y = (jnp.asarray(t[: updates * size], network.dtype).reshape(updates, size, -1) for t in task.train)
        return cls(trainer, state, x, y)


@eqx.filter_jit
def _updates(training: Training) -> Any:
    """All updates of a call."""
    begin = training.trainer.network.rest(training.x.shape[1])
    valid = jnp.ones(training.x.shape[1], bool)
    step = lambda state, batch: (training.trainer.step(state, *batch, begin, valid)[0], None)  # noqa: E731
    return jax.lax.scan(step, training.state, (training.x, training.y))[0].parameters


@eqx.filter_jit
def _steps(training: Training) -> jax.Array:
    """The steps of every sample in every phase of these updates: update x phase x sample."""
    trainer = training.trainer
    begin, valid = trainer.network.rest(training.x.shape[1]), jnp.ones(training.x.shape[1], bool)

    def step(state: Any, batch: tuple[jax.Array, jax.Array]):
        network, rule = trainer._now(state)
        how = {"cost": trainer.cost, "method": trainer.method, "stop": trainer.stop}
        found = estimate(network, *batch, rule, state=begin, update=state.updates, key=trainer._draw(state), **how)
        steps = jnp.stack([phase.steps for phase in (found.free, *found.nudged)])
        return trainer.step(state, *batch, begin, valid)[0], steps

    return jax.lax.scan(step, training.state, (training.x, training.y))[1]


@eqx.filter_jit
def _products(matrices: list[tuple[jax.Array, int]], batch: int) -> list[jax.Array]:
    """`batch` rows forth and back through every matrix, so many times."""
    found = []
    for matrix, times in matrices:
        rows = jnp.ones((batch, len(matrix)), matrix.dtype)
        found.append(jax.lax.fori_loop(0, times, lambda _, r, w=matrix: (r @ w) @ w.T, rows))
    return found


def _plain(block: jax.Array) -> jax.Array:
    """A matrix of this shape, of norm 1: rows would soon be too small or too large for ordinary arithmetic."""
    normal = np.random.default_rng(0).normal(size=block.shape)
    return jnp.asarray(normal / np.sqrt(block.shape).sum(), block.dtype)


def train(repeats: int) -> list[Timing]:
    """An update of training beside plain products of the same shapes."""
    timings = []
    for name, own in _CASES.items():
        training = Training.begun(own, _UPDATES)
        trainer, batch = training.trainer, training.x.shape[1]
        steps = np.asarray(_steps(training))
        each = trainer.method.evaluations * steps.mean((0, 2)).sum()  # products of a sample in all phases
        inputs, free = (jax.tree.leaves(part) for part in trainer.network.weight)
        numbers = [sum(block.size for block in blocks) for blocks in (inputs, free)]
        flops = 2 * batch * (2 * numbers[0] + (each + 1) * numbers[1])
        times = max(1, round(float(each + 1) / 2))
        matrices = [(_plain(b), 1) for b in inputs] + [(_plain(b), times) for b in free]
        multiplied = 4 * batch * sum(matrix.size * k for matrix, k in matrices)
        product, update = f"matrix products, {name}", f"update, {name}"
        calls = {product: (lambda m=matrices, b=batch: _products(m, b), multiplied),
                 update: (lambda t=training: _updates(t), flops * _UPDATES)}  # fmt: skip
        first, second = compare("train", calls, product, repeats)
        layout = type(trainer.network.synapses).__name__
        most = trainer.method.evaluations * steps.max((0, 2)).sum()
        said = f"{each:.1f} products a sample, at most {most:.0f}; {type(trainer.method).__name__}, {layout}"
        notes = f"{1e-9 / first.seconds:.0f} GFLOP/s", f"{1e-9 / second.seconds:.0f} GFLOP/s; {said}"
        timings += [
            dataclasses.replace(t, note=note, **{k: getattr(t, k) * flops for k in ("seconds", "low", "high")})
            for t, note in zip((first, second), notes, strict=True)
        ]  # fmt: skip
    return timings
