"""Graphs, and layouts of one number a synapse and of numbers that synapses share."""

import equinox as eqx
import extending.layout as example
import numpy as np

import direp

LAYERED = direp.Graph.layered([3, 4, 2, 2], skip=True, lateral=True)
LARGE = direp.Graph.complete(3, 25, 2)  # beyond the size up to which products are written out
RING = example.Convolution(inputs=4, hidden=2, outputs=2, width=2)


class Plain(direp.LinearMap):
    """One strength a synapse, by the two products alone: what is derived must be what `Dense` computes."""

    graph: direp.Graph = eqx.field(static=True)

    def build(self, make):
        return direp.Dense(self.graph).build(make)

    def input_drive(self, weight, x):
        return x @ weight.input

    def drive(self, weight, rate):
        return rate @ weight.recurrent


def random_weight(layout, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    return layout.mask(layout.build(lambda i, j: rng.normal(0, scale, np.broadcast_shapes(i.shape, j.shape))))
