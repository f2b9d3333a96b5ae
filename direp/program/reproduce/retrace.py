"""One seed of a run trained once more, to see its weights and states on the way."""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ...rules import trajectory
from ...training import fit
from ..build import Parts
from ..run_folder import wide
from .trained import Trained

_POINTS = 20  # of the weights over epochs
_TIMES = 400  # of the states in a phase
_FIXED = 50.0  # time of a phase that settles by itself, at most


class Retraced(NamedTuple):
    """Weights (epochs x synapses, biases last), the epochs, states over both phases, and by how much the last weights
    differ from those of the run (largest difference)."""

    epochs: np.ndarray
    weights: np.ndarray
    paths: Any
    away: float


def retraced(run: Trained, seed: int) -> Retraced:
    """Follow one seed of a run whose network is that of its last epoch."""
    settings, task = replace(run.settings, seeds=str(seed)), run.loaded.task
    kept = run.loaded.networks[run.loaded.parts.seeds.index(seed)]
    with wide(settings.precision):
        parts = Parts(settings, task)
        arguments = parts.fit()
        total = arguments.pop("epochs")
        stride, state = max(total // _POINTS, 1), None
        epochs, weights = [0], [_flat(parts.begun(0)[0])]
        while epochs[-1] < total:
            some = min(stride, total - epochs[-1])
            trained = fit(task=task, epochs=some, state=state, evaluate=False, **arguments)
            state = trained.state
            epochs.append(epochs[-1] + some)
            weights.append(_flat(trained.network))
        away = float(np.abs(weights[-1] - _flat(kept)).max())
        x, y = task.train.x[-1:], task.train.y[-1:]
        end = settings.fixed_steps * settings.euler_step if settings.fixed_steps else _FIXED
        paths = trajectory(kept, x, np.linspace(0, end, _TIMES), y=y, rule=arguments["rule"], cost=arguments["cost"])
    return Retraced(np.array(epochs), np.array(weights), paths, away)


def _flat(network: Any) -> np.ndarray:
    synapses = np.asarray(network.matrix, float)[network.graph.adjacency()]
    return np.concatenate([synapses, np.asarray(network.bias, float)])
