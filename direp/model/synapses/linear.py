"""Layouts of a user's own: two products, and all else derived from them."""

from abc import abstractmethod
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jaxtyping import Array, Float

from ...arithmetic import placed, space
from .base import AbstractSynapses, Weight, arranged, row

_DIGIT = 1024  # numbers up to here are exact in every precision that devices multiply with
_ROWS = 256  # unit vectors that are tried together


class LinearMap(AbstractSynapses):
    r"""A layout given by its two products alone. Synapses may share strengths, as in a convolution.

    A subclass has a static field `graph` (and whatever else it needs, static too) and three methods:

    - `build(make)`: a `Weight` of arrays, each filled by `make(sources, targets)` with, for every number, the units of
      one of the synapses whose strength it is.
    - `input_drive(weight, x)` and `drive(weight, rate)`: the products, linear in both arguments, in operations that JAX
      can differentiate. Every synapse of the graph must have one of the numbers as its strength, and no others be.

    Transpose and outer product are the derivatives of these; sums of $f(w)$ are the products of $f(w)$ with ones. Which
    number belongs to which synapse is found once, by products with unit vectors, and what follows from it is compared
    with the products at random; a layout that does not fit its graph, or is not linear, is refused there.
    """

    def __check_init__(self):
        if jax.tree.leaves(self):
            raise ValueError(
                f"{type(self).__name__}: a LinearMap keeps all that it needs in static fields, eqx.field(static=True), "
                "as numbers and tuples"
            )

    @abstractmethod
    def input_drive(self, weight: Weight, x: Float[Array, "batch input"]) -> Float[Array, "batch free"]: ...

    @abstractmethod
    def drive(self, weight: Weight, rate: Float[Array, "batch free"]) -> Float[Array, "batch free"]: ...

    @property
    def place(self):
        return _found(self)[0]

    @property
    def shared(self):
        place = self.place
        return len(np.unique(place)) < len(place)

    def mask(self, weight):
        place, size = _found(self)
        keep = np.isin(np.arange(size), place)
        return weight if keep.all() else arranged(space(weight).where(keep, row(weight), 0), weight)

    def back(self, weight, post):
        return jax.vjp(lambda rate: self.drive(weight, rate), jnp.zeros_like(post))[1](post)[0]

    def outgoing(self, weight, fn):
        one = jnp.ones((1, self.graph.free), row(weight).dtype)
        return self.back(jax.tree.map(fn, weight), one)[0]

    def incoming(self, weight, fn):
        one = jnp.ones((1, self.graph.free), row(weight).dtype)
        return self.drive(jax.tree.map(fn, weight), one)[0]

    def outer(self, x, rate, post):
        zero = jax.tree.map(lambda leaf: leaf.astype(post.dtype), self.filled(0.0))
        product = jax.vjp(lambda weight: self.input_drive(weight, x) + self.drive(weight, rate), zero)[1]
        return self.mask(product(post)[0])

    def outgoing_gradient(self, weight, value, slope):
        none = jnp.zeros((1, self.graph.inputs), value.dtype)
        each = self.outer(none, value[None], jnp.ones_like(value)[None])
        return jax.tree.map(lambda w, v: slope(w) * v, weight, each)

    def scaled(self, weight, factor, *, incoming=False):
        graph, numbers = self.graph, row(weight)
        # Inputs stand before the free units.
        every = jnp.concatenate([jnp.ones(graph.inputs, factor.dtype), factor])
        each = every[graph.target if incoming else graph.source]
        least = jax.ops.segment_min(each, self.place, num_segments=numbers.size)
        return self.mask(arranged(jnp.where(jnp.isfinite(least), numbers * least, 0), weight))


def _strengths(layout: LinearMap, weight: Weight) -> np.ndarray:
    """The strength of every synapse, by products with unit vectors. Refuses others than those of the graph."""
    graph, name = layout.graph, type(layout).__name__
    dtype = row(weight).dtype
    found = []
    for product, first, count in ((layout.input_drive, 0, graph.inputs), (layout.drive, graph.inputs, graph.free)):
        for begin in range(0, count, _ROWS):
            rows = np.arange(begin, min(begin + _ROWS, count))
            drive = np.asarray(product(weight, placed(np.eye(count, dtype=dtype)[rows])))
            if drive.shape != (len(rows), graph.free):
                raise ValueError(
                    f"{name}.{product.__name__} gives shape {drive.shape} for {len(rows)} samples; this graph needs "
                    f"({len(rows)}, {graph.free}): a row for every sample, a column for every free unit"
                )
            low, high = np.searchsorted(graph.source, [first + rows[0], first + rows[-1] + 1])
            at = (graph.source[low:high] - first - begin, graph.target[low:high] - graph.inputs)
            wanted = np.zeros(drive.shape, bool)
            wanted[at] = True
            apart = np.argwhere((drive != 0) != wanted)
            if len(apart):
                (i, j), own = apart[0], ("the graph", f"{name}.{product.__name__}")
                has, lacks = own if wanted[i, j] else own[::-1]
                raise ValueError(
                    f"{name}: {has} has a synapse {graph.names[first + begin + i]} -> {graph.names[graph.inputs + j]} "
                    f"that {lacks} has not; the products and the graph must have the same synapses"
                )
            found.append(drive[at])
    return np.concatenate(found)


def _check_linear(layout: LinearMap, like: Weight, place: np.ndarray) -> None:
    """Refuse products that are not those of the matrix, tried with strengths and rates of all signs and many sizes."""
    graph, rng, dtype = layout.graph, np.random.default_rng(1), row(like).dtype
    numbers = np.asarray(rng.normal(size=row(like).size) * np.exp(rng.normal(size=row(like).size)), dtype)
    for scale in (1e-3, 1.0, 1e3):
        weight = arranged(np.asarray(scale * numbers, dtype) * row(like), like)
        values, target = np.asarray(row(weight), np.float64)[place], graph.target - graph.inputs
        every = scipy.sparse.csr_array((values, (graph.source, target)), (graph.units, graph.free))
        for product, own in (
            (layout.input_drive, slice(graph.inputs)),
            (layout.drive, slice(graph.inputs, graph.units)),
        ):
            matrix = every[own]
            given = np.asarray(rng.normal(size=(6, matrix.shape[0])) * np.logspace(-3, 3, 6)[:, None], dtype)
            found, wanted = np.asarray(product(weight, placed(given)), np.float64), given @ matrix
            blur = 1e-4 * (abs(given) @ abs(matrix))
            apart = np.argwhere(~(np.abs(found - wanted) <= blur))
            if len(apart):
                n, j = apart[0]
                raise ValueError(
                    f"{type(layout).__name__}.{product.__name__} is not linear: for some strengths and rates it gives "
                    f"{graph.names[graph.inputs + j]} {found[n, j]:.6g}, and the sum over its synapses is "
                    f"{wanted[n, j]:.6g}; it must be linear in both, sample by sample"
                )


@lru_cache(maxsize=64)
def _found(layout: LinearMap) -> tuple[np.ndarray, int]:
    """The place of every synapse's strength, and how many numbers there are."""
    with jax.ensure_compile_time_eval(), jax.default_matmul_precision("highest"):
        like = layout.filled(1.0)
        exists = row(like)
        size = exists.size

        def strengths(numbers: np.ndarray) -> np.ndarray:
            return _strengths(layout, arranged(np.asarray(numbers, exists.dtype) * exists, like))

        place, scale, digits = np.zeros(layout.graph.synapses, np.int64), 1, np.arange(size)
        while scale < max(size, 2):
            place = place + scale * (strengths(digits // scale % _DIGIT + 1).astype(np.int64) - 1)
            scale *= _DIGIT
        tried = np.random.default_rng(0).uniform(1, 2, size)
        if not (np.all((place >= 0) & (place < size)) and np.allclose(strengths(tried), tried[place], rtol=1e-5)):
            raise ValueError(
                f"{type(layout).__name__}: some synapse's strength is not one of the numbers of its weight; each must "
                "be one of them, without a factor"
            )
        _check_linear(layout, like, place)
        units = layout.graph.units
        ends = [
            np.asarray(row(layout.build(lambda *pair, k=k: np.broadcast_arrays(*pair)[k])), np.int64) for k in (0, 1)
        ]
    synapses = layout.graph.source.astype(np.int64) * units + layout.graph.target
    made = ends[0] * units + ends[1]
    at = np.minimum(np.searchsorted(synapses, made), len(synapses) - 1)
    wrong = np.isin(np.arange(size), place) & ((synapses[at] != made) | (place[at] != np.arange(size)))
    if wrong.any():
        i, j = (int(end[np.argmax(wrong)]) for end in ends)
        raise ValueError(
            f"{type(layout).__name__}.build makes a number for unit {i} -> unit {j} that the products use elsewhere; "
            "call make(sources, targets) with units (inputs first) of a synapse whose strength the number is"
        )
    return place, size
