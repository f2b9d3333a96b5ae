"""One masked matrix."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ...arithmetic import opened, placed, space
from ..graph import Graph
from .base import AbstractSynapses, Weight

_WRITTEN_OUT = 20  # measured: 4 times faster at 6 units, over 1000 seeds at once


class Dense(AbstractSynapses):
    """One matrix from the inputs and one between free units, zero where the graph has no synapse.

    The right choice up to one or two thousand units, or above a few per cent of density.
    """

    graph: Graph = eqx.field(static=True)

    @property
    def place(self):
        graph = self.graph
        return graph.source.astype(np.int64) * graph.free + graph.target - graph.inputs

    def build(self, make):
        graph = self.graph
        unit, free = np.arange(graph.units), np.arange(graph.inputs, graph.units)
        full = np.where(graph.adjacency(), make(unit[:, None], free[None, :]), 0)
        return Weight(placed(full[: graph.inputs]), placed(full[graph.inputs :]))

    def mask(self, weight):
        keep, xp = self.graph.adjacency(), space(weight)
        return Weight(
            placed(xp.where(keep[: self.graph.inputs], weight.input, 0)),
            placed(xp.where(keep[self.graph.inputs :], weight.recurrent, 0)),
        )

    def input_drive(self, weight, x):
        return x @ weight.input

    def drive(self, weight, rate):
        return _product(rate, weight.recurrent)

    def back(self, weight, post):
        return _product(post, weight.recurrent.T)

    def outgoing(self, weight, fn):
        return fn(weight.recurrent).sum(1)

    def incoming(self, weight, fn):
        return fn(weight.recurrent).sum(0)

    def outer(self, x, rate, post):
        return self.mask(Weight(_product(x.T, post), _product(rate.T, post)))

    def outgoing_gradient(self, weight, value, slope):
        return self.mask(Weight(jnp.zeros_like(weight.input), slope(weight.recurrent) * value[:, None]))

    @np.errstate(all="ignore")
    def scaled(self, weight, factor, *, incoming=False):
        _, weight, factor = opened(weight, factor)
        if incoming:
            return Weight(placed(weight.input * factor), placed(weight.recurrent * factor))
        return Weight(placed(weight.input), placed(weight.recurrent * factor[:, None]))

    def reverse(self, weight):
        xp, weight = opened(weight)
        return self.mask(Weight(xp.zeros_like(weight.input), weight.recurrent.T))

    def matrix(self, weight):
        return placed(space(weight).concatenate([weight.input, weight.recurrent]))

    def host(self, weight):
        return np.asarray(weight.recurrent, np.float64)


@np.errstate(all="ignore")
def _product(rows: Array, matrix: Array) -> Array:
    """A matrix product, written out for very small matrices: a library call costs more than they do."""
    if max(matrix.shape) > _WRITTEN_OUT:
        return rows @ matrix
    _, rows, matrix = opened(rows, matrix)
    terms = (rows[..., k, None] * matrix[k] for k in range(1, len(matrix)))
    return placed(sum(terms, rows[..., 0, None] * matrix[0]))
