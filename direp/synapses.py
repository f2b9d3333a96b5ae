"""Where the weights lie in memory, behind one interface: dense with a mask, layered blocks, or sparse edges.

Rules, updates and certificates are written against `AbstractSynapses` alone. A layout says *where* synapses
are; the strengths are a `Weight`, a pair of pytrees that optax can transform. The split into `input` (from
clamped units) and `recurrent` (between free units) follows the dynamics: the first acts once in a settling,
the second at every step, and only the second has a part in stability.
"""

from abc import abstractmethod
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jax.experimental.sparse import BCSR
from jaxtyping import Array, Float, Int

from .graph import Graph

__all__ = ["AbstractSynapses", "Dense", "Layered", "Sparse", "Weight", "lay_out"]


class Weight(NamedTuple):
    r"""Strengths $w_{ij}$ of all synapses from $i$ to $j$, in the arrangement of some layout."""

    input: Any
    recurrent: Any


_WRITTEN_OUT = 20  # measured: 4 times faster at 6 units, over 1000 seeds at once


class AbstractSynapses(eqx.Module):
    """A layout. `batch` stands for any number of samples; free units are numbered from the first hidden one."""

    graph: eqx.AbstractVar[Graph]

    @abstractmethod
    def build(self, make: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Weight:
        """Weights from `make(sources, targets)`, called with arrays of unit numbers that broadcast together.

        Places without a synapse are zero.
        """

    @abstractmethod
    def mask(self, weight: Weight) -> Weight:
        """`weight` with everything that is no synapse set to zero."""

    @abstractmethod
    def input_drive(self, weight: Weight, x: Float[Array, "batch input"]) -> Float[Array, "batch free"]:
        r"""$\sum_{i\in\text{inputs}}w_{ij}x_i$."""

    @abstractmethod
    def drive(
        self, weight: Weight, rate: Float[Array, "batch free"], into: tuple[int, ...] | None = None
    ) -> Float[Array, "batch free"]:
        r"""$\sum_{i\in\text{free}}w_{ij}r_i$; with `into`, only that of those layers need be right."""

    @abstractmethod
    def back(self, weight: Weight, post: Float[Array, "batch free"]) -> Float[Array, "batch free"]:
        r"""$\sum_{j\in\text{free}}w_{ij}v_j$, the transpose of `drive`."""

    @abstractmethod
    def outgoing(self, weight: Weight, fn: Callable[[Array], Array]) -> Float[Array, " free"]:
        r"""$\sum_kf(w_{ik})$ over the free targets of each free unit; `fn` must map 0 to 0."""

    @abstractmethod
    def incoming(self, weight: Weight, fn: Callable[[Array], Array]) -> Float[Array, " free"]:
        r"""$\sum_if(w_{ij})$ over the free sources of each free unit; `fn` must map 0 to 0."""

    @abstractmethod
    def outer(
        self,
        x: Float[Array, "batch input"],
        rate: Float[Array, "batch free"],
        post: Float[Array, "batch free"],
    ) -> Weight:
        r"""$\sum_nr^n_iv^n_j$ on every synapse, with the clamped $x$ as rate of the inputs."""

    @abstractmethod
    def per_source(self, weight: Weight, value: Float[Array, " free"], fn: Callable[[Array], Array]) -> Weight:
        r"""$f(w_{ij})v_i$ on every synapse between free units, 0 on those from inputs."""

    @abstractmethod
    def reverse(self, weight: Weight) -> Weight:
        r"""$w_{ji}$ in the place of $w_{ij}$, for synapses between free units; zero where there is none."""

    @abstractmethod
    def matrix(self, weight: Weight) -> Float[Array, "unit free"]:
        """The weights as one dense matrix. For small networks, figures and tests."""

    @abstractmethod
    def host(self, weight: Weight) -> np.ndarray | scipy.sparse.csr_array:
        """The weights between free units in 64 bits on the host: entry (i, j) is that from free unit i to j."""

    def from_matrix(self, matrix: np.ndarray | scipy.sparse.sparray | scipy.sparse.spmatrix) -> Weight:
        """Weights read off a matrix, dense or SciPy's sparse, units x free, or units x units."""
        graph = self.graph
        given: Any = scipy.sparse.csr_array(matrix) if scipy.sparse.issparse(matrix) else np.asarray(matrix)
        if given.shape == (graph.units, graph.units):
            given = given[:, graph.inputs :]
        if given.shape != (graph.units, graph.free):
            raise ValueError(
                f"weight has shape {given.shape}; this graph needs ({graph.units}, {graph.free}): a row for every "
                "unit (inputs first), a column for every free unit"
            )

        def read(i: np.ndarray, j: np.ndarray) -> np.ndarray:
            found = given[i, j - graph.inputs]
            return found.toarray() if scipy.sparse.issparse(found) else found

        # Counted rather than looked up: the places without a synapse may be too many to list.
        if (read(graph.source, graph.target) != 0).sum() != (given != 0).sum():
            raise ValueError("weight is non-zero where the graph has no synapse; set it to zero or add the synapse")
        return self.build(read)


class Dense(AbstractSynapses):
    """One matrix from the inputs and one between free units, zero where the graph has no synapse.

    The right choice up to one or two thousand units, or above a few per cent of density.
    """

    graph: Graph = eqx.field(static=True)

    def build(self, make):
        graph = self.graph
        unit, free = np.arange(graph.units), np.arange(graph.inputs, graph.units)
        full = np.where(graph.adjacency(), make(unit[:, None], free[None, :]), 0)
        return Weight(jnp.asarray(full[: graph.inputs]), jnp.asarray(full[graph.inputs :]))

    def mask(self, weight):
        keep = self.graph.adjacency()
        return Weight(
            jnp.where(keep[: self.graph.inputs], weight.input, 0),
            jnp.where(keep[self.graph.inputs :], weight.recurrent, 0),
        )

    def input_drive(self, weight, x):
        return x @ weight.input

    def drive(self, weight, rate, into=None):
        return _product(rate, weight.recurrent)

    def back(self, weight, post):
        return _product(post, weight.recurrent.T)

    def outgoing(self, weight, fn):
        return fn(weight.recurrent).sum(1)

    def incoming(self, weight, fn):
        return fn(weight.recurrent).sum(0)

    def outer(self, x, rate, post):
        return self.mask(Weight(_product(x.T, post), _product(rate.T, post)))

    def per_source(self, weight, value, fn):
        return self.mask(Weight(jnp.zeros_like(weight.input), fn(weight.recurrent) * value[:, None]))

    def reverse(self, weight):
        return self.mask(Weight(jnp.zeros_like(weight.input), weight.recurrent.T))

    def matrix(self, weight):
        return jnp.concatenate([weight.input, weight.recurrent])

    def host(self, weight):
        return np.asarray(weight.recurrent, np.float64)


def _product(rows: Array, matrix: Array) -> Array:
    """A matrix product, written out for very small matrices: a library call costs more than they do."""
    if max(matrix.shape) > _WRITTEN_OUT:
        return rows @ matrix
    return sum((rows[..., k, None] * matrix[k] for k in range(1, len(matrix))), rows[..., 0, None] * matrix[0])


class Layered(AbstractSynapses):
    """One block for each pair of joined layers; the matrix of all units is never formed.

    `Weight.input` and `Weight.recurrent` are tuples of blocks, in the order of `Graph.blocks`.
    """

    graph: Graph = eqx.field(static=True)

    def __check_init__(self):
        if self.graph.layers is None:
            raise ValueError("Layered(graph=...) needs a graph made by Graph.layered; use Dense for this one")

    @property
    def _input_blocks(self) -> list[tuple[int, int]]:
        return [block for block in self.graph.blocks if block[0] == 0]

    @property
    def _recurrent_blocks(self) -> list[tuple[int, int]]:
        return [block for block in self.graph.blocks if block[0] != 0]

    @property
    def _slices(self) -> list[slice]:
        """Where each layer lies among the free units; the inputs' entry is a placeholder."""
        assert self.graph.layers is not None
        ends = np.cumsum((0, *self.graph.layers[1:])).tolist()
        return [slice(0, 0), *(slice(a, b) for a, b in pairwise(ends))]

    def _zip(self, weight: Weight):
        return zip(self._recurrent_blocks, weight.recurrent, strict=True)

    def _join(self, parts: dict[int, Array], like: Array) -> Array:
        """Layers side by side; a layer that nothing contributed to is zero."""
        layers = self.graph.layers
        assert layers is not None
        lead = like.shape[:-1]
        whole = [parts.get(q, jnp.zeros((*lead, size), like.dtype)) for q, size in enumerate(layers) if q]
        return jnp.concatenate(whole, axis=-1)

    @staticmethod
    def _add(parts: dict[int, Array], layer: int, value: Array) -> None:
        parts[layer] = parts[layer] + value if layer in parts else value

    def build(self, make):
        assert self.graph.layers is not None
        start = np.cumsum((0, *self.graph.layers))

        def block(p: int, q: int) -> Array:
            source, target = (
                np.arange(start[p], start[p + 1])[:, None],
                np.arange(start[q], start[q + 1])[None, :],
            )
            return jnp.asarray(np.where(source == target, 0, make(source, target)))

        return Weight(
            tuple(block(p, q) for p, q in self._input_blocks),
            tuple(block(p, q) for p, q in self._recurrent_blocks),
        )

    def mask(self, weight):
        def hollow(p: int, q: int, block: Array) -> Array:
            return jnp.where(np.eye(len(block), dtype=bool), 0, block) if p == q else block

        return Weight(weight.input, tuple(hollow(p, q, block) for (p, q), block in self._zip(weight)))

    def input_drive(self, weight, x):
        parts = {q: x @ block for (_, q), block in zip(self._input_blocks, weight.input, strict=True)}
        return self._join(parts, x)

    def drive(self, weight, rate, into=None):
        at, parts = self._slices, {}
        for (p, q), block in self._zip(weight):
            if into is not None and q not in into:
                continue
            self._add(parts, q, rate[..., at[p]] @ block)
        return self._join(parts, rate)

    def back(self, weight, post):
        at, parts = self._slices, {}
        for (p, q), block in self._zip(weight):
            self._add(parts, p, post[..., at[q]] @ block.T)
        return self._join(parts, post)

    def _sums(self, weight: Weight, fn, axis: int) -> Array:
        parts = {}
        for (p, q), block in self._zip(weight):
            self._add(parts, p if axis == 1 else q, fn(block).sum(axis))
        like = weight.input[0][0]
        return self._join(parts, like)

    def outgoing(self, weight, fn):
        return self._sums(weight, fn, 1)

    def incoming(self, weight, fn):
        return self._sums(weight, fn, 0)

    def outer(self, x, rate, post):
        at = self._slices
        inputs = tuple(x.T @ post[:, at[q]] for _, q in self._input_blocks)
        recurrent = tuple(rate[:, at[p]].T @ post[:, at[q]] for p, q in self._recurrent_blocks)
        return self.mask(Weight(inputs, recurrent))

    def per_source(self, weight, value, fn):
        at = self._slices
        recurrent = tuple(fn(block) * value[at[p], None] for (p, _), block in self._zip(weight))
        return self.mask(Weight(jax.tree.map(jnp.zeros_like, weight.input), recurrent))

    def reverse(self, weight):
        blocks = {block: w.T for block, w in self._zip(weight)}
        swapped = tuple(blocks.get((q, p), jnp.zeros_like(w)) for (p, q), w in self._zip(weight))
        return Weight(jax.tree.map(jnp.zeros_like, weight.input), swapped)

    def matrix(self, weight):
        graph, at = self.graph, self._slices
        full = jnp.zeros((graph.units, graph.free), weight.input[0].dtype)
        for (_, q), block in zip(self._input_blocks, weight.input, strict=True):
            full = full.at[: graph.inputs, at[q]].set(block)
        for (p, q), block in self._zip(weight):
            rows = slice(graph.inputs + at[p].start, graph.inputs + at[p].stop)
            full = full.at[rows, at[q]].set(block)
        return full

    def host(self, weight):
        assert self.graph.layers is not None
        blocks = {block: scipy.sparse.coo_array(np.asarray(w, np.float64)) for block, w in self._zip(weight)}
        sizes = list(enumerate(self.graph.layers))[1:]
        # Layers that nothing joins still take up their place.
        table = [[blocks.get((p, q), scipy.sparse.coo_array((m, n))) for q, n in sizes] for p, m in sizes]
        return scipy.sparse.csr_array(scipy.sparse.block_array(table))


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

    def build(self, make):
        source, target = self.graph.source, self.graph.target
        every = np.broadcast_to(make(source, target), source.shape)
        split = len(self._input.source)
        return Weight(jnp.asarray(every[:split]), jnp.asarray(every[split:]))

    def mask(self, weight):
        return weight

    def input_drive(self, weight, x):
        return self._input.forth(weight.input, x)

    def drive(self, weight, rate, into=None):
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

    def per_source(self, weight, value, fn):
        return Weight(jnp.zeros_like(weight.input), fn(weight.recurrent) * value[self._recurrent.source])

    def reverse(self, weight):
        edges, free = self._recurrent, self.graph.free
        own = np.asarray(edges.source, np.int64) * free + np.asarray(edges.target)
        partner = np.asarray(edges.target, np.int64) * free + np.asarray(edges.source)
        place = np.minimum(np.searchsorted(own, partner), len(own) - 1)
        found = jnp.where(own[place] == partner, weight.recurrent[place], 0) if len(own) else weight.recurrent
        return Weight(jnp.zeros_like(weight.input), found)

    def matrix(self, weight):
        graph = self.graph
        full = jnp.zeros((graph.units, graph.free), weight.recurrent.dtype)
        return full.at[graph.source, graph.target - graph.inputs].set(jnp.concatenate(weight))

    def host(self, weight):
        edges, free = self._recurrent, self.graph.free
        values = np.array(weight.recurrent, np.float64)
        return scipy.sparse.csr_array((values, np.array(edges.target), np.array(edges.leave)), shape=(free, free))


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
        numbers = (
            source,
            target,
            np.searchsorted(source, np.arange(sources + 1)),
            order,
            source[order],
            np.searchsorted(target[order], np.arange(targets + 1)),
        )
        self.source, self.target, self.leave, self.order, self.sender, self.enter = (
            jnp.asarray(array, jnp.int32) for array in numbers
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


# Measured, 32 samples on a CPU: from 500 units on and up to this share, a sparse product takes at most 0.6 of the time
# of a dense one. Smaller networks stay dense all the same: their matrix costs little and every tool takes it.
_LARGE, _SPARSE = 2000, 0.03


def lay_out(graph: Graph) -> AbstractSynapses:
    """The layout that suits a graph: blocks if it is layered, edges if it is large and sparse, else dense."""
    if graph.layers is not None:
        return Layered(graph)
    large = graph.free > _LARGE and graph.synapses < _SPARSE * graph.units * graph.free
    return Sparse(graph) if large else Dense(graph)
