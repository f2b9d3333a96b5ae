"""A network: graph, neuron and layout, with weights, leaks and biases."""

from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, PRNGKeyArray
from scipy.sparse import csr_array, sparray, spmatrix

from ..arithmetic import opened, placed, space
from .field import NetworkField
from .graph import Graph
from .initialise import AbstractInitialiser, Normal
from .neuron import AbstractNeuron
from .synapses import AbstractSynapses, Weight, lay_out
from .wiring import Wiring, to_dataframe, to_networkx, to_scipy, write_csv, write_graphml


class Parameters(NamedTuple):
    r"""All that learning may change: weights $w_{ij}$, biases $b_j$, leaks $\lambda_j$, and what a rule learns.

    Gradients and updates have the same structure. `rule` is a pytree of the rule's own parameters, such as feedback
    weights; `()` for most rules.
    """

    weight: Weight
    bias: Float[Array, "*lanes free"]
    leak: Float[Array, "*lanes free"]
    rule: Any = ()


class Network(eqx.Module):
    r"""A recurrent network of leaky neurons, $\dot s=-\Lambda\odot s+\varphi(W^\top\psi(s)+b)$.

    **Arguments:**

    - `graph`: a [`Graph`][direp.Graph].
    - `neuron`: `Projected`, `Hopfield` or `Rate`.
    - `weight`: an initialiser, a matrix (units x free, or units x units; SciPy's sparse ones too), or a
      `Weight` of the layout.
    - `leak`: $\lambda$, 1/time: a number, or one for each free unit (hidden first).
    - `bias`: $b$: a number or one for each free unit. Fixed at zero if the graph has no bias unit.
    - `key`: a JAX random key, for the initialiser.
    - `layout`: `Dense(graph)`, `Layered(graph)`, `Sparse(graph)` or a [`LinearMap`][direp.LinearMap] of your own; by
      default what suits the graph.
    - `dtype`: of all arrays, by default JAX's default float.

    Made on the host: inside `jit`, take a network that exists and `network.replace(parameters)`.
    """

    graph: Graph = eqx.field(static=True)
    neuron: AbstractNeuron
    synapses: AbstractSynapses
    weight: Weight
    bias: Array
    leak: Array

    def __init__(
        self,
        graph: Graph,
        neuron: AbstractNeuron,
        weight: AbstractInitialiser | np.ndarray | Array | sparray | spmatrix | Weight | None = None,
        *,
        leak: Any = 1.0,
        bias: Any = None,
        key: PRNGKeyArray | None = None,
        layout: AbstractSynapses | None = None,
        dtype: Any = None,
    ):
        if not isinstance(graph, Graph):
            raise ValueError(f"Network(graph={graph!r}) must be a Graph, such as Graph.complete(2, 5, 1)")
        if not isinstance(neuron, AbstractNeuron):
            raise ValueError(f"Network(neuron={neuron!r}) must be a neuron, such as Projected(), Hopfield() or Rate()")
        self.graph, self.neuron = graph, neuron
        self.synapses = lay_out(graph) if layout is None else layout
        if not isinstance(self.synapses, AbstractSynapses):
            raise ValueError(f"Network(layout={layout!r}) must be a layout of the graph, such as Dense(graph)")
        if self.synapses.graph != graph:
            raise ValueError(
                f"Network(layout={type(layout).__name__}(...)) was made for {self.synapses.graph}, not for {graph}; "
                "make both from one graph"
            )
        _ = self.synapses.shared  # a layout of the user's own is tried here
        if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((jnp.zeros(()), weight, leak, bias, key))):
            raise ValueError(
                "Network(...) is made inside jit, vmap or grad, where numbers are not known yet; make it outside, and "
                "take network.replace(parameters) inside"
            )
        for name, given in (("weight", weight), ("leak", leak), ("bias", bias)):
            if any(np.iscomplexobj(leaf) for leaf in jax.tree.leaves(given)):
                raise ValueError(f"Network({name}=...) holds complex numbers; give real ones")
        dtype = jnp.result_type(float) if dtype is None else dtype
        drawn_bias = 0.0
        if weight is None or isinstance(weight, AbstractInitialiser):
            if key is None:
                raise ValueError("Network(key=...) is missing: random weights need one, e.g. key=jax.random.key(0)")
            rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
            weight, drawn_bias = (weight or Normal()).draw(self.synapses, rng)
        elif not isinstance(weight, Weight):
            weight = self.synapses.from_matrix(weight)
        self.weight = jax.tree.map(lambda w: _cast(w, dtype), weight)
        self.leak = _per_unit("leak", leak, graph, dtype)
        if (np.asarray(self.leak) < 0).any():
            raise ValueError(f"Network(leak=...) has a leak of {np.asarray(self.leak).min():g}; leaks are 0 or above")
        self.bias = _per_unit("bias", drawn_bias if bias is None else bias, graph, dtype)
        if not graph.bias:
            if bias is not None and np.any(np.asarray(bias)):
                raise ValueError("Network(bias=...) is given, but the graph has no bias unit: Graph(..., bias=True)")
            self.bias = _cast(np.zeros(graph.free), dtype)
        if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(self.weight)):
            raise ValueError("Network(weight=...) holds NaN or infinite entries")

    def __repr__(self) -> str:
        graph, synapses, neuron = self.graph, self.synapses, self.neuron
        numbers = len(np.unique(synapses.place)) if synapses.shared else 0
        share = f" that share {numbers} strengths" if numbers else ""
        outflow = neuron.outflow.name if neuron.outflow.active else "no"
        return (
            f"Network({graph.kinds}; {graph.synapses:,} synapses{share}, {type(synapses).__name__}; "
            f"{type(neuron).__name__}, {outflow} outflow; {self.dtype})"
        )

    @property
    def parameters(self) -> Parameters:
        return Parameters(self.weight, self.bias, self.leak)

    def replace(self, parameters: Parameters) -> "Network":
        """The same network with other parameters."""
        where = lambda n: (n.weight, n.bias, n.leak)  # noqa: E731
        return eqx.tree_at(where, self, tuple(parameters[:3]))

    def astype(self, dtype: Any) -> "Network":
        """The same network with numbers of another precision."""
        return self.replace(jax.tree.map(lambda leaf: _cast(leaf, dtype), self.parameters))

    @property
    def dtype(self) -> jnp.dtype:
        return self.bias.dtype

    @property
    def matrix(self) -> Float[Array, "unit free"]:
        """`weight[i, j]` for every unit i (inputs first) and free unit j; dense, for small networks."""
        return self.synapses.matrix(self.weight)

    def strengths(self) -> Float[Array, " synapse"]:
        """One weight a synapse, in the order of the graph."""
        return self.synapses.strengths(self.weight)

    def wiring(self, weights: bool = True) -> Wiring:
        """Units and synapses by name, for writers: roles, leaks and biases, and weights unless they are left out."""
        plain = self.graph.wiring()
        if weights:
            numbers = zip(
                np.asarray(self.leak, np.float64).tolist(), np.asarray(self.bias, np.float64).tolist(), strict=True
            )
            for name, (leak, bias) in zip(self.graph.names[self.graph.inputs :], numbers, strict=True):
                plain.units[name].update(leak=leak, bias=bias)
            for own, strength in zip(plain.synapses.values(), np.asarray(self.strengths()).tolist(), strict=True):
                own["weight"] = strength
        return plain

    def to_networkx(self, weights: bool = True) -> nx.DiGraph:
        """Nodes with `role`, `leak` and `bias`, edges with `weight`; `Connectome.from_networkx` reads them back."""
        return to_networkx(self.wiring(weights))

    def to_scipy(self) -> csr_array:
        """Weights from row to column, units x units, in the order of `graph.names`."""
        return to_scipy(self.wiring())

    def to_dataframe(self) -> Any:
        """A pandas table with a row for each synapse: source, target and weight."""
        return to_dataframe(self.wiring())

    def to_graphml(self, path: str | Path) -> None:
        """A GraphML file that `Connectome.from_graphml` reads back, every number equal."""
        write_graphml(path, self.wiring())

    def to_csv(self, path: str | Path) -> None:
        """A CSV file that `Connectome.from_csv` reads back, every number equal."""
        write_csv(path, self.wiring())

    def outflow(self) -> Float[Array, " free"]:
        r"""$\mathrm{out}_j(W)$, zero for a neuron without outflow."""
        if not self.neuron.outflow.active:
            return placed(space(self.leak).zeros(self.leak.shape, self.leak.dtype))
        return self.synapses.outgoing(self.weight, self.neuron.outflow.value)

    @np.errstate(all="ignore")
    def total_leak(self) -> Float[Array, " free"]:
        r"""$\Lambda_j=\lambda_j+\kappa\,\mathrm{out}_j(W)$."""
        _, leak, outflow = opened(self.leak, self.outflow())
        return placed(leak + outflow)

    def field(self, x: Float[Array, "batch input"]) -> "NetworkField":
        """The dynamics with inputs clamped to `x`."""
        if x.ndim != 2 or x.shape[1] != self.graph.inputs:
            raise ValueError(
                f"x has shape {x.shape}; this network needs (batch, {self.graph.inputs}): a row for every sample"
            )
        drive = self.synapses.input_drive(self.weight, x) + self.bias
        return NetworkField(self, x, drive, self.total_leak())

    def rest(self, batch: int) -> Float[Array, "{batch} free"]:
        """All free units at zero (or the nearest allowed state)."""
        return self.neuron.clip(jnp.zeros((batch, self.graph.free), self.dtype))

    def outputs(self, state: Float[Array, "*batch free"]) -> Float[Array, "*batch output"]:
        """Rates of the output units."""
        _, rate = opened(self.neuron.rate(state))
        return placed(rate[..., self.graph.hidden :])

    def local_gradient(
        self,
        x: Float[Array, "batch input"],
        state: Float[Array, "batch free"],
        post: Float[Array, "batch free"],
        back: Float[Array, "batch free"],
    ) -> Parameters:
        r"""The gradient estimate of a two-factor rule, to descend, summed over the batch.

        $-\partial w_{ij}=\sum_n r_i\,\mathrm{post}_j-\kappa_{ij}s_i\,\mathrm{back}_i$, $-\partial b_j=\sum_n
        \mathrm{post}_j$, $-\partial\lambda_i=-\sum_n s_i\,\mathrm{back}_i$. With $\mathrm{back}=a$ and
        $\mathrm{post}=\varphi'(u)\,a$ this is the exact gradient; with responses it is the local rule.
        """
        rate = self.neuron.rate(state)
        lost = (state * back).sum(0)
        weight = self.synapses.outer(x, rate, -post)
        outflow = self.neuron.outflow
        if outflow.active:
            more = self.synapses.outgoing_gradient(self.weight, lost, outflow.slope)
            weight = jax.tree.map(jnp.add, weight, more)
        bias = -post.sum(0) if self.graph.bias else jnp.zeros_like(self.bias)
        return Parameters(weight, bias, lost)


def _per_unit(name: str, value: Any, graph: Graph, dtype: Any) -> Array:
    value = np.asarray(value)
    if value.shape not in ((), (graph.free,)):
        raise ValueError(
            f"Network({name}=...) has shape {value.shape}; give one number, or {graph.free}: one for each hidden and "
            "output unit"
        )
    if not np.isfinite(value).all():
        raise ValueError(f"Network({name}=...) holds NaN or infinite entries")
    return _cast(np.broadcast_to(value, (graph.free,)), dtype)


@np.errstate(all="ignore")
def _cast(numbers: Any, dtype: Any) -> Array:
    """An array of JAX. NumPy casts: JAX would compile that for every shape. What is too large becomes infinite."""
    return jnp.asarray(np.asarray(numbers, dtype), dtype)
