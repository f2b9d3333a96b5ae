"""How weights begin."""

from abc import abstractmethod

import equinox as eqx
import numpy as np

from .synapses import AbstractSynapses, Weight

__all__ = ["AbstractInitialiser", "FanIn", "Normal"]


class AbstractInitialiser(eqx.Module):
    """Draws weights for a layout, and biases for its free units."""

    @abstractmethod
    def draw(self, synapses: AbstractSynapses, rng: np.random.Generator) -> tuple[Weight, np.ndarray]: ...


class Normal(AbstractInitialiser):
    r"""$w_{ij}\sim N(0,\mathrm{std}^2)$ for all synapses, with a factor for those that start at an input.

    The bias unit's synapses are drawn alike (`bias_std`) around `hidden_bias` for hidden units and zero for outputs.
    """

    std: float = 0.5
    input_scale: float = 1.0
    hidden_bias: float = 0.0
    bias_std: float = 0.0

    def draw(self, synapses, rng):
        graph = synapses.graph

        def make(source, target):
            shape = np.broadcast_shapes(source.shape, target.shape)
            scale = np.where(source < graph.inputs, self.input_scale, 1.0)
            return scale * rng.normal(0, self.std, shape)

        weight = synapses.build(make)
        centre = np.where(np.arange(graph.free) < graph.hidden, self.hidden_bias, 0.0)
        return weight, centre + rng.normal(0, 1, graph.free) * self.bias_std


class FanIn(AbstractInitialiser):
    r"""$w_{ij}\sim N(0,g^2/n)$ with $n$ the number of sources of the same kind that $j$ has.

    Kinds are inputs, units before $j$ and units after it (feedback, whose gain is `feedback`). Forward and feedback
    weights are drawn independently: nothing is symmetric.
    """

    gain: float = 1.0
    feedback: float = 0.2
    hidden_bias: float = 0.0

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
