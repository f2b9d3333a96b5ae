"""One number a synapse."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.sparse import BCSR
from jaxtyping import Array, Float, Int

from ...arithmetic import opened, placed
from ..graph import Graph
from .base import AbstractSynapses, Weight, flattened


class Sparse(AbstractSynapses):
    """One number a synapse, in the order of `Graph.source` and `Graph.target`; no matrix is formed.

    The right choice for large graphs with few synapses; a small or a denser one is faster as `Dense`.
    """

    graph: Graph = eqx.field(static=True)
    _input: "_Edges"
    _recurrent: "_Edges"

    def __init__(self, graph: Graph):
        self.graph = graph
        source, target = graph.source, graph.target - graph.inputs
        split = np.searchsorted(source, graph.inputs)
        self._input = _Edges(source[:split], target[:split], graph.inputs, graph.free)
        self._recurrent = _Edges(source[split:] - graph.inputs, target[split:], graph.free, graph.free)

    @property
    def place(self):
        return np.arange(self.graph.synapses)

    def build(self, make):
        source, target = self.graph.source, self.graph.target
        every = np.array(np.broadcast_to(make(source, target), source.shape))
        split = len(self._input.source)
        return Weight(placed(every[:split]), placed(every[split:]))

    def mask(self, weight):
        return weight

    def input_drive(self, weight, x):
        return self._input.forth(weight.input, x)

    def drive(self, weight, rate):
        return self._recurrent.forth(weight.recurrent, rate)

    def back(self, weight, post):
        return self._recurrent.back(weight.recurrent, post)

    def outgoing(self, weight, fn):
        return jax.ops.segment_sum(
            fn(weight.recurrent), self._recurrent.source, num_segments=self.graph.free, indices_are_sorted=True
        )

    def incoming(self, weight, fn):
        return jax.ops.segment_sum(fn(weight.recurrent), self._recurrent.target, num_segments=self.graph.free)

    def outer(self, x, rate, post):
        return Weight(self._input.outer(x, post), self._recurrent.outer(rate, post))

    def outgoing_gradient(self, weight, value, slope):
        return Weight(jnp.zeros_like(weight.input), slope(weight.recurrent) * value[self._recurrent.source])

    @np.errstate(all="ignore")
    def scaled(self, weight, factor, *, incoming=False):
        _, (given, weight), factor, edges = opened(weight, factor, (self._input, self._recurrent))
        if not incoming:
            return Weight(placed(given), placed(weight * factor[edges[1].source]))
        return Weight(placed(given * factor[edges[0].target]), placed(weight * factor[edges[1].target]))

    def strengths(self, weight):
        return flattened(weight)


class _Edges(eqx.Module):
    """Synapses from one population to another, sorted by source and by target.

    The numbers of units are arrays of the tree and not constants of the graph: then every compiled program is handed
    them, where it would hold copies of its own.
    """

    source: Int[Array, " synapse"]
    target: Int[Array, " synapse"]
    leave: Int[Array, " sources_and_1"]  # where each source's synapses begin
    order: Int[Array, " synapse"]  # the synapses sorted by target,
    sender: Int[Array, " synapse"]  # their sources,
    enter: Int[Array, " targets_and_1"]  # and where each target's begin

    def __init__(self, source: np.ndarray, target: np.ndarray, sources: int, targets: int):
        order = np.argsort(target, kind="stable")
        leave, enter = (
            np.searchsorted(source, np.arange(sources + 1)),
            np.searchsorted(target[order], np.arange(targets + 1)),
        )
        numbers = (source, target, leave, order, source[order], enter)
        self.source, self.target, self.leave, self.order, self.sender, self.enter = (
            placed(array.astype(np.int32)) for array in numbers
        )

    def forth(self, weight: Float[Array, " synapse"], rate: Float[Array, "batch source"]) -> Array:
        return _compressed(weight[self.order], self.sender, self.enter, rate)

    def back(self, weight: Float[Array, " synapse"], post: Float[Array, "batch target"]) -> Array:
        return _compressed(weight, self.target, self.leave, post)

    def outer(self, rate: Float[Array, "batch source"], post: Float[Array, "batch target"]) -> Array:
        # Sample by sample: all at once would hold batch x synapses numbers, and takes longer.
        def add(total: Array, sample: tuple[Array, Array]):
            return total + sample[0][self.source] * sample[1][self.target], None

        return jax.lax.scan(add, jnp.zeros(len(self.source), rate.dtype), (rate, post))[0]


def _plain(entries: Array, column: Array, start: Array, rows: Array) -> Array:
    matrix = BCSR((entries, column, start), shape=(len(start) - 1, rows.shape[-1]))
    return (matrix @ rows.T).T


# Measured: the product of all seeds at once takes 10 to 40 times longer than one seed after the other.
_one_by_one = jax.custom_batching.sequential_vmap(_plain)


@jax.custom_jvp
def _compressed(entries: Array, column: Array, start: Array, rows: Array) -> Array:
    """A matrix in compressed sparse rows times every one of `rows`."""
    return _one_by_one(entries, column, start, rows)


@_compressed.defjvp
def _(primals, tangents):
    return _compressed(*primals), jax.jvp(_plain, primals, tangents)[1]
