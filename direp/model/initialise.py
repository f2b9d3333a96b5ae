"""How weights begin."""

from abc import abstractmethod

import equinox as eqx
import jax
import numpy as np

from .synapses import AbstractSynapses, Weight


class AbstractInitialiser(eqx.Module):
    """Draws weights for a layout, and biases for its free units."""

    @abstractmethod
    def draw(self, synapses: AbstractSynapses, rng: np.random.Generator) -> tuple[Weight, np.ndarray]: ...


class Normal(AbstractInitialiser):
    r"""$w_{ij}\sim N(0,\mathrm{std}^2)$ between free units, $N(0,\mathrm{input\_std}^2)$ from inputs, and
    $b_j\sim N(\mathrm{bias}-m\sum_{i\in\text{inputs}}w_{ij},\mathrm{bias\_std}^2)$ with $m$ the `input_mean`.

    At inputs of mean $m$ every unit then begins with a drive around `bias`, whatever its weights.
    """

    std: float = 0.25
    input_std: float = 1.0
    bias: float = 0.5
    bias_std: float = 0.0
    input_mean: float = 0.0

    def __check_init__(self):
        _check(self, ("std", "input_std", "bias_std"), ("bias", "input_mean"))

    def draw(self, synapses, rng):
        graph = synapses.graph

        def make(source, target):
            shape = np.broadcast_shapes(source.shape, target.shape)
            return np.where(source < graph.inputs, self.input_std, self.std) * rng.normal(0, 1, shape)

        weight = synapses.build(make)
        mean = jax.device_put(np.full((1, graph.inputs), self.input_mean))
        moved = np.asarray(synapses.input_drive(weight, mean))[0] if self.input_mean else np.zeros((), mean.dtype)
        return weight, self.bias - moved + self.bias_std * rng.normal(0, 1, graph.free)


class FanIn(AbstractInitialiser):
    r"""$w_{ij}\sim N(0,g^2/n)$ with $n$ the number of sources of the same kind that $j$ has.

    Kinds are inputs, units before $j$ and units after it (feedback, whose gain is `feedback`). Forward and feedback
    weights are drawn independently: nothing is symmetric.
    """

    gain: float = 1.0
    feedback: float = 0.2
    hidden_bias: float = 0.0

    def __check_init__(self):
        _check(self, ("gain", "feedback"), ("hidden_bias",))

    def draw(self, synapses, rng):
        graph = synapses.graph
        kind = np.where(graph.source < graph.inputs, 0, np.where(graph.source < graph.target, 1, 2))
        count = np.zeros((3, graph.units))
        np.add.at(count, (kind, graph.target), 1)

        def make(source, target):
            shape = np.broadcast_shapes(source.shape, target.shape)
            kind = np.where(source < graph.inputs, 0, np.where(source < target, 1, 2))
            gain = np.where(kind == 2, self.feedback, self.gain)
            return gain / np.sqrt(np.maximum(count[kind, target], 1)) * rng.normal(0, 1, shape)

        bias = np.where(np.arange(graph.free) < graph.hidden, self.hidden_bias, 0.0)
        return synapses.build(make), bias


class Given(AbstractInitialiser):
    r"""Strengths that are known, times a gain, $w_{ij}=g\,w^0_{ij}$, and biases.

    - `strength`: one a synapse, in the order of the graph, such as `connectome.strength`.
    - `bias`: a number, or one a free unit.
    """

    strength: np.ndarray
    gain: float = 1.0
    bias: float | np.ndarray = 0.0

    def draw(self, synapses, rng):
        return synapses.from_strengths(self.gain * self.strength), np.broadcast_to(self.bias, (synapses.graph.free,))


def _check(initialiser: AbstractInitialiser, positive: tuple[str, ...], finite: tuple[str, ...]) -> None:
    for name in (*positive, *finite):
        value = getattr(initialiser, name)
        if not np.isfinite(value) or (name in positive and value < 0):
            kind = "a finite number, 0 or above" if name in positive else "a finite number"
            raise ValueError(f"{type(initialiser).__name__}({name}={value}) must be {kind}")
