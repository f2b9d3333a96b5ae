"""The laws of a neuron, of a layout and of a criterion of convergence."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from ..certificates import AbstractCriterion, certify
from ..model import AbstractNeuron, AbstractSynapses, Dense, Network, Projected, Rate
from ..rules import Adjoint, Centred, Local, estimate
from ..settling import Tolerance, settle
from .example import batch, close, example, holds, in_64_bits

_STOP = Tolerance(1e-12, 1e-13, max_steps=50_000)


@in_64_bits
def check_neuron(neuron: AbstractNeuron) -> None:
    r"""A network of it settles where that is proved, to one place from every start and where its field is zero; with
    symmetric weights, and where no unit is at a face, the local rule is the exact gradient as $\beta\to0$.

    Raises `AssertionError`.
    """
    network = example(neuron)
    x, y = batch(network)
    certificate = certify(network, starts=0)
    rng = np.random.default_rng(0)
    starts = (None, 3 * rng.normal(size=(len(x), network.graph.free)))
    first, settled = (settle(network, x, stop=_STOP, state=start) for start in starts)
    if certificate:
        holds(bool((first.converged & settled.converged).all()), "it is proved to settle and does not")
        close(settled.state, first.state, "it settles in another place from another start", 1e-8)
    field = network.field(jnp.asarray(x))
    speed = np.abs(field.velocity(first.state, field.drive(first.state))).max(1)
    holds(bool((speed[first.converged] < 1e-10).all()), "its field is not zero where it is said to have settled")
    weight, square = network.weight, network.weight.recurrent
    symmetric = network.replace(network.parameters._replace(weight=weight._replace(recurrent=square + square.T)))
    other, field = settle(symmetric, x, stop=_STOP), symmetric.field(jnp.asarray(x))
    at_face = bool(field.held(other.state, field.flow(other.state, field.drive(other.state))).any())
    smooth = all(a.differentiable for a in (neuron.transfer, neuron.rate))
    if bool(other.converged.all()) and smooth and not at_face and not neuron.outflow.active:
        local, exact = (
            estimate(symmetric, x, y, rule, stop=_STOP).gradient for rule in (Local(Centred(1e-4)), Adjoint())
        )
        close(local, exact, "with symmetric weights the local rule is not the exact gradient", 1e-4)


@in_64_bits
def check_layout(layout: AbstractSynapses) -> None:
    """A layout agrees with the dense matrix that it stands for: products forth and back, sums, and gradients, where a
    number that several synapses share gets the sum over these.

    Raises `AssertionError`.
    """
    graph, rng = layout.graph, np.random.default_rng(0)
    weight = layout.build(lambda i, j: rng.normal(size=np.broadcast_shapes(np.shape(i), np.shape(j))))
    weight, dense = layout.mask(weight), Dense(graph)
    matrix = np.asarray(layout.matrix(weight))
    holds(not matrix[~graph.adjacency()].any(), "its matrix has entries where the graph has no synapse")
    plain = dense.from_matrix(matrix)
    x, rate, post = (jnp.asarray(rng.normal(size=(3, n))) for n in (graph.inputs, graph.free, graph.free))
    value = jnp.asarray(rng.normal(size=graph.free))
    for name, of in {
        "input_drive": lambda at, w: at.input_drive(w, x),
        "drive": lambda at, w: at.drive(w, rate),
        "back": lambda at, w: at.back(w, post),
        "outgoing": lambda at, w: at.outgoing(w, jnp.abs),
        "incoming": lambda at, w: at.incoming(w, jnp.abs),
    }.items():
        close(of(layout, weight), of(dense, plain), f"{name} is not that of its matrix")
    for name, gradient in {
        "outer": lambda at, w: at.outer(x, rate, post),
        "outgoing_gradient": lambda at, w: at.outgoing_gradient(w, value, jnp.sign),
    }.items():
        single = np.asarray(dense.strengths(gradient(dense, plain)))
        wanted = np.zeros(sum(leaf.size for leaf in jax.tree.leaves(weight)))
        np.add.at(wanted, np.asarray(layout.place), single)
        found = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(layout.mask(gradient(layout, weight)))])
        close(found, wanted, f"{name} is not the sum over the synapses of every number")
    check = Network(graph, Rate("tanh"), weight, layout=layout, leak=5.0 + np.abs(matrix).sum(), dtype=np.float64)
    holds(bool(settle(check, x, stop=_STOP).converged.all()), "a strongly leaking network of it does not settle")


@in_64_bits
def check_criterion(criterion: AbstractCriterion, networks: Callable[[int], Network] | None = None) -> None:
    """What it proves of random networks is so: from any two starts distances shrink, in the norm of the proof and by
    the factor that it names, at every Euler step of the length that it names. It must prove some, and not all.

    **Arguments:**

    - `networks`: from a number to a network; by default small random ones, from weakly to strongly coupled.

    Raises `AssertionError`.
    """
    proved, count = 0, 60
    for k in range(count):
        network = _coupled(k / count) if networks is None else networks(k)
        certificate = certify(network, criteria=(criterion,), starts=0)
        if not certificate or certificate.norm is None:
            continue
        proved += 1
        rng = np.random.default_rng(k)
        x = jnp.asarray(np.repeat(rng.normal(size=(1, network.graph.inputs)), 2, 0))
        field = network.field(x)
        state = field.clip(jnp.asarray(3 * rng.normal(size=(2, network.graph.free))))
        for _ in range(5):
            before = float(certificate.norm.length(np.asarray(state[0] - state[1])))
            state = field.clip(state + certificate.largest_step * field.flow(state, field.drive(state)))
            after = float(certificate.norm.length(np.asarray(state[0] - state[1])))
            shrinks = after <= certificate.factor * before * (1 + 1e-9) + 1e-12
            holds(shrinks, f"network {k} is proved, but a distance of {before:.4g} becomes {after:.4g}")
    holds(proved > 0, f"it proves none of {count} networks")
    holds(networks is not None or proved < count, f"it proves all of {count} networks, strongly coupled ones too")


def _coupled(strength: float) -> Network:
    """A random network between uncoupled and far from stable."""
    network = example(Projected() if strength < 0.5 else Rate("tanh"), seed=int(1000 * strength))
    weight = jax.tree.map(lambda w: w * 12 * strength**2, network.weight)
    return network.replace(network.parameters._replace(weight=weight))
