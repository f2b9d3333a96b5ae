"""Blocks between layers."""

from itertools import pairwise
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jaxtyping import Array

from ...arithmetic import opened, placed, put, space
from ..graph import Graph
from .base import AbstractSynapses, Weight


class Layered(AbstractSynapses):
    """One block for each pair of joined layers; the matrix of all units is never formed.

    `Weight.input` and `Weight.recurrent` are tuples of blocks, in the order of `Graph.blocks`.
    """

    graph: Graph = eqx.field(static=True)
    by_layer: ClassVar[bool] = True

    def __check_init__(self):
        if self.graph.layers is None:
            raise ValueError("Layered(graph=...) needs a graph made by Graph.layered; use Dense for this one")

    @property
    def _sizes(self) -> tuple[int, ...]:
        return self.graph.layers or ()

    @property
    def _input_blocks(self) -> list[tuple[int, int]]:
        return [block for block in self.graph.blocks if block[0] == 0]

    @property
    def _recurrent_blocks(self) -> list[tuple[int, int]]:
        return [block for block in self.graph.blocks if block[0] != 0]

    @property
    def _slices(self) -> list[slice]:
        """Where each layer lies among the free units; the inputs' entry is a placeholder."""
        ends = np.cumsum((0, *self._sizes[1:])).tolist()
        return [slice(0, 0), *(slice(a, b) for a, b in pairwise(ends))]

    def _zip(self, weight: Weight):
        return zip(self._recurrent_blocks, weight.recurrent, strict=True)

    def _join(self, parts: dict[int, Array], like: Array | np.ndarray) -> Array:
        """Layers side by side; a layer that nothing contributed to is zero."""
        lead = like.shape[:-1]
        xp, parts = opened(parts)
        none = {q: xp.zeros((*lead, size), like.dtype) for q, size in enumerate(self._sizes) if q and q not in parts}
        whole = none | parts
        return placed(xp.concatenate([whole[q] for q in range(1, len(self._sizes))], axis=-1))

    @staticmethod
    def _add(parts: dict[int, Array], layer: int, value: Array) -> None:
        parts[layer] = parts[layer] + value if layer in parts else value

    @property
    def place(self):
        graph, sizes = self.graph, self._sizes
        start, where = np.cumsum((0, *sizes)), np.zeros(len(graph.source), np.int64)
        p, q = (np.searchsorted(start, units, side="right") - 1 for units in (graph.source, graph.target))
        first = 0
        for a, b in (*self._input_blocks, *self._recurrent_blocks):
            own = (p == a) & (q == b)
            row, column = graph.source[own] - start[a], graph.target[own] - start[b]
            where[own] = first + row.astype(np.int64) * sizes[b] + column
            first += sizes[a] * sizes[b]
        return where

    def build(self, make):
        start = np.cumsum((0, *self._sizes))

        def block(p: int, q: int) -> Array:
            source, target = np.arange(start[p], start[p + 1])[:, None], np.arange(start[q], start[q + 1])[None]
            return placed(np.where(source == target, 0, make(source, target)))

        return Weight(
            tuple(block(p, q) for p, q in self._input_blocks), tuple(block(p, q) for p, q in self._recurrent_blocks)
        )

    def mask(self, weight):
        def hollow(p: int, q: int, block: Array) -> Array:
            return placed(space(block).where(np.eye(len(block), dtype=bool), 0, block)) if p == q else block

        return Weight(weight.input, tuple(hollow(p, q, block) for (p, q), block in self._zip(weight)))

    def input_drive(self, weight, x):
        parts = {q: x @ block for (_, q), block in zip(self._input_blocks, weight.input, strict=True)}
        return self._join(parts, x)

    def drive(self, weight, rate, into: tuple[int, ...] | None = None):
        """With `into`, only the drive of those layers need be right."""
        _, weight, rate = opened(weight, rate)
        at, parts = self._slices, {}
        for (p, q), block in self._zip(weight):
            if into is not None and q not in into:
                continue
            self._add(parts, q, placed(rate[..., at[p]]) @ placed(block))
        return self._join(parts, rate)

    def back(self, weight, post, into: tuple[int, ...] | None = None):
        """With `into`, only what comes back to those layers need be right."""
        _, weight, post = opened(weight, post)
        at, parts = self._slices, {}
        for (p, q), block in self._zip(weight):
            if into is not None and p not in into:
                continue
            self._add(parts, p, placed(post[..., at[q]]) @ placed(block.T))
        return self._join(parts, post)

    def _sums(self, weight: Weight, fn, axis: int) -> Array:
        parts = {}
        for (p, q), block in self._zip(weight):
            self._add(parts, p if axis == 1 else q, fn(block).sum(axis))
        return self._join(parts, weight.input[0][0])

    def outgoing(self, weight, fn):
        return self._sums(weight, fn, 1)

    def incoming(self, weight, fn):
        return self._sums(weight, fn, 0)

    def outer(self, x, rate, post):
        at = self._slices
        inputs = tuple(x.T @ post[:, at[q]] for _, q in self._input_blocks)
        recurrent = tuple(rate[:, at[p]].T @ post[:, at[q]] for p, q in self._recurrent_blocks)
        return self.mask(Weight(inputs, recurrent))

    def outgoing_gradient(self, weight, value, slope):
        at = self._slices
        recurrent = tuple(slope(block) * value[at[p], None] for (p, _), block in self._zip(weight))
        return self.mask(Weight(jax.tree.map(jnp.zeros_like, weight.input), recurrent))

    @np.errstate(all="ignore")
    def scaled(self, weight, factor, *, incoming=False):
        _, weight, factor = opened(weight, factor)
        at = self._slices
        if not incoming:
            recurrent = tuple(placed(block * factor[at[p], None]) for (p, _), block in self._zip(weight))
            return Weight(jax.tree.map(placed, weight.input), recurrent)
        inputs = zip(self._input_blocks, weight.input, strict=True)
        return Weight(
            tuple(placed(block * factor[at[q]]) for (_, q), block in inputs),
            tuple(placed(block * factor[at[q]]) for (_, q), block in self._zip(weight)),
        )

    def reverse(self, weight):
        xp, weight = opened(weight)
        blocks = {block: w.T for block, w in self._zip(weight)}
        swapped = tuple(blocks[q, p] if (q, p) in blocks else xp.zeros_like(w) for (p, q), w in self._zip(weight))
        return jax.tree.map(placed, Weight(jax.tree.map(xp.zeros_like, weight.input), swapped))

    def matrix(self, weight):
        graph, at = self.graph, self._slices
        full = space(weight).zeros((graph.units, graph.free), weight.input[0].dtype)
        for (_, q), block in zip(self._input_blocks, weight.input, strict=True):
            full = put(full, (slice(graph.inputs), at[q]), block)
        for (p, q), block in self._zip(weight):
            rows = slice(graph.inputs + at[p].start, graph.inputs + at[p].stop)
            full = put(full, (rows, at[q]), block)
        return placed(full)

    def host(self, weight):
        blocks = {block: scipy.sparse.coo_array(np.asarray(w, np.float64)) for block, w in self._zip(weight)}
        sizes = list(enumerate(self._sizes))[1:]
        # Layers that nothing joins still take up their place.
        table = [[blocks.get((p, q), scipy.sparse.coo_array((m, n))) for q, n in sizes] for p, m in sizes]
        return scipy.sparse.csr_array(scipy.sparse.block_array(table))
