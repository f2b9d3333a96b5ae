"""The interface of all layouts.

Rules, updates and certificates are written against `AbstractSynapses` alone. A layout is a linear map from rates to
drives, whose strengths are a `Weight`: two pytrees of numbers that optax can transform. One number may be the strength
of several synapses (`shared`); gradients then are sums over these. The split into `input` (from clamped units) and
`recurrent` (between free units) follows the dynamics: the first acts once in a settling, the second at every step, and
only the second has a part in stability.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import numpy as np
import scipy.sparse
from jaxtyping import Array, Float, Int

from ...arithmetic import opened, placed, put, space
from ..graph import Graph


class Weight(NamedTuple):
    r"""Strengths $w_{ij}$ of all synapses from $i$ to $j$, in the arrangement of some layout."""

    input: Any
    recurrent: Any


class AbstractSynapses(eqx.Module):
    """A layout. `batch` stands for any number of samples; free units are numbered from the first hidden one.

    To add one, take [`LinearMap`][direp.LinearMap], which derives from two products all that is abstract here.
    """

    graph: eqx.AbstractVar[Graph]
    by_layer: ClassVar[bool] = False
    """Whether `drive` and `back` take `into`, the numbers of the layers for which the product is needed."""

    @property
    @abstractmethod
    def place(self) -> Int[np.ndarray, " synapse"]:
        """For each synapse of the graph, in its order, the number of its strength among `flattened(weight)`."""

    @property
    def shared(self) -> bool:
        """Whether some number is the strength of several synapses."""
        return False

    @abstractmethod
    def build(self, make: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Weight:
        """Weights from `make(sources, targets)`, called with arrays of unit numbers that broadcast together.

        Places without a synapse are zero.
        """

    @abstractmethod
    def mask(self, weight: Weight) -> Weight:
        """`weight` with zero for every number that is the strength of no synapse."""

    @abstractmethod
    def input_drive(self, weight: Weight, x: Float[Array, "batch input"]) -> Float[Array, "batch free"]:
        r"""$\sum_{i\in\text{inputs}}w_{ij}x_i$."""

    @abstractmethod
    def drive(self, weight: Weight, rate: Float[Array, "batch free"]) -> Float[Array, "batch free"]:
        r"""$\sum_{i\in\text{free}}w_{ij}r_i$."""

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
        self, x: Float[Array, "batch input"], rate: Float[Array, "batch free"], post: Float[Array, "batch free"]
    ) -> Weight:
        r"""$\sum_nr^n_iv^n_j$ on every synapse, with the clamped $x$ as rate of the inputs.

        The derivative of $\sum_nv^n\cdot\mathrm{drive}$ by the numbers: a shared one gets the sum over its synapses.
        """

    @abstractmethod
    def outgoing_gradient(
        self, weight: Weight, value: Float[Array, " free"], slope: Callable[[Array], Array]
    ) -> Weight:
        r"""$f'(w_{ij})v_i$ on every synapse between free units, 0 on those from inputs.

        The derivative of $\sum_iv_i\,\mathrm{outgoing}_i$ by the numbers: a shared one gets the sum over its synapses.
        """

    @abstractmethod
    def scaled(self, weight: Weight, factor: Float[Array, " free"], *, incoming: bool = False) -> Weight:
        r"""$f_iw_{ij}$ for synapses from free units; with `incoming` $w_{ij}f_j$ for all synapses.

        A shared number gets the smallest factor of its synapses.
        """

    def refuse_shared(self, who: str) -> None:
        """Raise `ValueError` if synapses share strengths, for `who` reads or moves each by itself."""
        if self.shared:
            raise ValueError(
                f"{who} needs a strength for every synapse, and {type(self).__name__} shares them: use Dense(graph) or "
                "Sparse(graph)"
            )

    def numbers(self, weight: Weight) -> Float[Array, " number"]:
        """All strengths that learn, a shared one once: in the order of the first synapse of each."""
        return placed(row(weight)[self.place[np.sort(np.unique(self.place, return_index=True)[1])]])

    def strengths(self, weight: Weight) -> Float[Array, " synapse"]:
        """One number a synapse, in the order of the graph."""
        return placed(row(weight)[self.place])

    def with_strengths(self, weight: Weight, values: Float[Array, " synapse"]) -> Weight:
        """`weight` with other numbers, one a synapse in the order of the graph; where synapses share one, that of the
        last."""
        return arranged(put(space(weight, values).asarray(row(weight)), self.place, values), weight)

    def reverse(self, weight: Weight) -> Weight:
        r"""$w_{ji}$ in the place of $w_{ij}$, for synapses between free units; zero where there is none."""
        self.refuse_shared("reverse")
        place, partner, numbers = self.place, self.graph.partner, row(weight)
        found = partner >= 0
        none = space(weight).zeros(numbers.shape, numbers.dtype)
        return arranged(put(none, place[found], numbers[place[partner[found]]]), weight)

    def matrix(self, weight: Weight) -> Float[Array, "unit free"]:
        """The weights as one dense matrix. For small networks, figures and tests."""
        graph, values = self.graph, row(weight)[self.place]
        none = space(weight).zeros((graph.units, graph.free), values.dtype)
        return placed(put(none, (graph.source, graph.target - graph.inputs), values))

    def host(self, weight: Weight) -> np.ndarray | scipy.sparse.csr_array:
        """The weights between free units in 64 bits on the host: entry (i, j) is that from free unit i to j."""
        graph, values = self.graph, np.asarray(self.strengths(weight), np.float64)
        first = np.searchsorted(graph.source, graph.inputs)
        enter = np.searchsorted(graph.source, np.arange(graph.inputs, graph.units + 1)) - first
        shape = (graph.free, graph.free)
        return scipy.sparse.csr_array((values[first:], graph.target[first:] - graph.inputs, enter), shape=shape)

    def filled(self, value: float) -> Weight:
        """Weights all of whose numbers are one value (0 where `build` makes no synapse)."""
        return self.build(lambda i, j: np.full(np.broadcast_shapes(np.shape(i), np.shape(j)), value))

    def from_strengths(self, values: np.ndarray) -> Weight:
        """Weights from one number a synapse, in the order of the graph."""
        values, place = np.asarray(values), self.place
        if values.shape != place.shape:
            raise ValueError(f"weight has {values.shape} strengths; this graph has {len(place)} synapses")
        like = self.filled(0.0)
        numbers = np.zeros(sum(leaf.size for leaf in jax.tree.leaves(like)), values.dtype)
        numbers[place] = values
        apart = (numbers[place] != values) & ~np.isnan(values)
        if apart.any():
            k = int(np.argmax(apart))
            name = self.graph.names
            raise ValueError(
                f"{type(self).__name__}: synapse {name[self.graph.source[k]]} -> {name[self.graph.target[k]]} shares "
                f"its strength with another, but weight has {values[k]:g} here and {numbers[place[k]]:g} there; give "
                "them one value, or use Dense(graph)"
            )
        return arranged(numbers, like)

    def from_matrix(self, matrix: np.ndarray | Array | scipy.sparse.sparray | scipy.sparse.spmatrix) -> Weight:
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
        values = given[graph.source, graph.target - graph.inputs]
        values = values.toarray().ravel() if scipy.sparse.issparse(values) else np.asarray(values)
        # Counted rather than looked up: the places without a synapse may be too many to list.
        if (values != 0).sum() != (given != 0).sum():
            raise ValueError("weight is non-zero where the graph has no synapse; set it to zero or add the synapse")
        return self.from_strengths(values)


def row(weight: Weight) -> Any:
    """All numbers of a weight in one row, of NumPy where they are known."""
    xp, leaves = opened(jax.tree.leaves(weight))
    return xp.concatenate([xp.ravel(leaf) for leaf in leaves])


def flattened(weight: Weight) -> Array:
    """All numbers of a weight in one row."""
    return placed(row(weight))


def arranged(numbers: Any, like: Weight) -> Weight:
    """`flattened` undone."""
    numbers = space(numbers).asarray(numbers)
    leaves, shape = jax.tree.flatten(like)
    ends = np.cumsum([0, *(leaf.size for leaf in leaves)])
    parts = [numbers[a:b].reshape(leaf.shape) for a, b, leaf in zip(ends, ends[1:], leaves, strict=False)]
    return jax.tree.unflatten(shape, [placed(part) for part in parts])
