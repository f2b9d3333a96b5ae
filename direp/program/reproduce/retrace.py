"""One seed of a run trained once more, to see its weights and states on the way."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ...rules import Nudged, nudges_of, trajectory
from ...training import fit
from ..build import Parts
from ..run_folder import wide
from .trained import Trained

_POINTS = 20  # of the weights over epochs
_TIMES = 400  # of the states in a phase
_SETTLES = 50.0  # time of a phase that ends by itself, at most


class Retraced(NamedTuple):
    """Weights (epochs x synapses, biases last) and their epochs, states over both phases of the last pattern, and by
    how much the last weights differ from those of the run, at most."""

    epochs: np.ndarray
    weights: np.ndarray
    paths: Any
    away: float


def retraced(run: Trained, seed: int) -> Retraced:
    """Follow one seed of a run whose network is that of its last epoch."""
    settings, task, kept = replace(run.settings, seeds=str(seed)), run.loaded.task, run.network(seed)
    with wide(settings.precision):
        parts = Parts(settings, task)
        arguments = parts.fit()
        total, state = arguments.pop("epochs"), None
        epochs, weights = [0], [_flat(parts.begun(0)[0])]
        while epochs[-1] < total:
            some = min(max(total // _POINTS, 1), total - epochs[-1])
            trained = fit(task=task, epochs=some, state=state, evaluate=False, **arguments)
            state = trained.state
            epochs.append(epochs[-1] + some)
            weights.append(_flat(trained.network))
        away = float(np.abs(weights[-1] - _flat(kept)).max())
        return Retraced(np.array(epochs), np.array(weights), _phases(kept, parts, seed), away)


def _flat(network: Any) -> np.ndarray:
    synapses = np.asarray(network.matrix, float)[network.graph.adjacency()]
    return np.concatenate([synapses, np.asarray(network.bias, float)])


def _phases(network: Any, parts: Parts, seed: int) -> Any:
    """States over the free phase, from where training starts, and on over the nudged one."""
    settings, graph = parts.settings, network.graph
    x, y = (jnp.asarray(table[-1:], network.dtype) for table in parts.task.train)
    end = settings.fixed_steps * settings.euler_step if settings.fixed_steps else _SETTLES
    times = np.linspace(0, end, _TIMES)
    begin = np.random.default_rng(seed).uniform(*settings.start, (1, graph.free)).astype(network.dtype)
    free = np.asarray(trajectory(network, x, times, state=begin))
    beta = jnp.asarray(nudges_of(parts.rule)[0].strengths[0], network.dtype)
    nudged = Nudged(network.field(x), parts.cost, y, beta)
    paths = {"free": free, f"nudged, beta {beta:g}": np.asarray(trajectory(nudged, times=times, state=free[-1]))}
    phases = {name: SimpleNamespace(times=times, states=states) for name, states in paths.items()}
    return SimpleNamespace(phases=phases, units=graph.names[graph.inputs :], outputs=graph.outputs)
