"""The interface of all layouts.

Rules, updates and certificates are written against `AbstractSynapses` alone. A layout says *where* synapses
are; the strengths are a `Weight`, a pair of pytrees that optax can transform. The split into `input` (from
clamped units) and `recurrent` (between free units) follows the dynamics: the first acts once in a settling,
the second at every step, and only the second has a part in stability.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np
import scipy.sparse
from jaxtyping import Array, Float

from ..graph import Graph

__all__ = ["AbstractSynapses", "Weight"]


class Weight(NamedTuple):
    r"""Strengths $w_{ij}$ of all synapses from $i$ to $j$, in the arrangement of some layout."""

    input: Any
    recurrent: Any


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
