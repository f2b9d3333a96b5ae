"""Which layout suits a graph."""

from ..graph import Graph
from .base import AbstractSynapses
from .dense import Dense
from .layered import Layered
from .sparse import Sparse

# Measured, 32 samples on a CPU: from 500 units on and up to this share, a sparse product takes at most 0.6 of the time
# of a dense one. Smaller networks stay dense all the same: their matrix costs little and every tool takes it.
_LARGE, _SPARSE = 2000, 0.03
_MATRIX = 2**23  # entries: 64 MB


def lay_out(graph: Graph) -> AbstractSynapses:
    """The layout that suits a graph: blocks if it is layered, edges if it is large and sparse, else dense."""
    if graph.layers is not None:
        return Layered(graph)
    large = graph.free > _LARGE or graph.units * graph.free > _MATRIX
    large = large and graph.synapses < _SPARSE * graph.units * graph.free
    return Sparse(graph) if large else Dense(graph)
