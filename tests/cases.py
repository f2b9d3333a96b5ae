"""Named constructors that the laws range over, and small tools for tests."""

from contextlib import contextmanager
from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from campaigns.learning_oracle import Net

import direp
from direp.model.activation import hard_sigmoid, sigmoid, softplus, tanh
from direp.rules import feedback_of, initialise
from direp.training import constrain

OUTFLOWS = ("none", "signed", "absolute")
NEURONS = {
    "projected": lambda outflow: direp.Projected(outflow=outflow),
    "hopfield-sigmoid": lambda outflow: direp.Hopfield(sigmoid, outflow=outflow),
    "hopfield-hard": lambda outflow: direp.Hopfield(hard_sigmoid, outflow=outflow),
    "rate-tanh": lambda outflow: direp.Rate(tanh, outflow=outflow),
    "rate-softplus": lambda outflow: direp.Rate(softplus, outflow=outflow),
}
# Every neuron and every outflow, without all of their products: for laws that compile much.
SOME = [(neuron, OUTFLOWS[k % 3]) for k, neuron in enumerate(NEURONS)]
GRAPHS = {
    "complete": lambda: direp.Graph.complete(2, 4, 2),
    "layered": lambda: direp.Graph.layered([2, 3, 3, 2], skip=True, lateral=True),
    "random": lambda: direp.Graph.random(2, 5, 2, density=0.7, seed=3),
}
LAYOUTS = {
    "dense": lambda: None,
    "sparse": lambda: direp.Sparse(direp.Graph.random(2, 5, 2, density=0.7, seed=3)),
    "layered": lambda: direp.Layered(direp.Graph.layered([2, 3, 3, 2], skip=True, lateral=True)),
}
TIGHT = direp.Tolerance(1e-13, 1e-14, max_steps=20_000)


def network(neuron, outflow, graph="complete", *, seed=0, scale=0.3, symmetric=False, leak=None, layout=None):
    """A random network with enough leak to settle; leaks differ from unit to unit."""
    graph = GRAPHS[graph]() if isinstance(graph, str) else graph
    rng = np.random.default_rng(seed)
    matrix = rng.normal(0, scale, (graph.units, graph.free))
    if symmetric:
        square = matrix[graph.inputs :]
        matrix[graph.inputs :] = (square + square.T) / 2
    matrix = np.where(graph.adjacency(), matrix, 0)
    leak = 1.5 + rng.random(graph.free) if leak is None else leak
    made = direp.Network(
        graph, NEURONS[neuron](outflow), matrix, leak=leak, bias=rng.normal(0.4, 0.2, graph.free), layout=layout
    )
    return direp.LeakController(0.3, follow=False).begin(made)


def data(graph, batch=3, seed=1):
    """Inputs, and targets that are shares of one, so that they suit every cost."""
    rng = np.random.default_rng(seed)
    y = rng.random((batch, graph.outputs))
    return rng.random((batch, graph.inputs)), y / y.sum(1, keepdims=True)


@eqx.filter_jit
def estimate(*arguments, **settings):
    return direp.estimate(*arguments, **settings)


def problems(net, x, y, costs, stop=TIGHT, method=None):
    """For each cost what a rule is asked, after one and the same free phase."""
    field = net.field(jnp.asarray(x))
    method = method or direp.choose_method(net)
    free = direp.settle(field, state=net.rest(len(x)), stop=stop, method=method)
    every = jnp.ones(len(x), bool)
    return [direp.rules.Problem(field, jnp.asarray(y), cost, method, stop, free, every, 0) for cost in costs]


@eqx.filter_jit
def gradients(net, x, y, rules, cost=None, stop=TIGHT, method=None, key=None):
    """The gradients of several rules from one and the same free phase, compiled as one program."""
    (problem,) = problems(net, x, y, [cost or direp.SquaredError()], stop, method)
    return [rule.estimate(problem, key).gradient for rule in rules]


@eqx.filter_jit
def settle(*arguments, **settings):
    return direp.settle(*arguments, **settings)


@contextmanager
def compilations():
    """Every program that is compiled (or read from disk) within, by its duration."""
    found = []

    def note(event, duration, **_):
        if event.endswith("backend_compile_duration"):
            found.append(duration)

    jax.monitoring.register_event_duration_secs_listener(note)
    try:
        yield found
    finally:
        jax.monitoring.unregister_event_duration_listener(note)


def flat(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def relative(a, b):
    """Largest difference over the largest entry of b."""
    a, b = flat(a), flat(b)
    return np.abs(a - b).max() / np.abs(b).max()


def mean_cost(network, x, y, cost=None, **settings):
    """The mean cost at equilibrium: what the rules claim to descend."""
    settled = settle(network, jnp.asarray(x), stop=TIGHT, **settings)
    assert settled.converged.all()
    cost = direp.SquaredError() if cost is None else cost
    return float(cost.value(network.outputs(settled.state), jnp.asarray(y)).mean())


def oracle(net, sharpness=None):
    """The same network in plain NumPy."""
    graph, neuron = net.graph, net.neuron
    kind = "projected" if neuron.bounded else "rate" if neuron.rate == direp.activation.identity else "hopfield"
    name = (neuron.transfer if kind == "rate" else neuron.rate).name
    numbers = (np.asarray(each) for each in (net.bias, net.leak))
    return Net(
        kind, name, neuron.outflow.name, graph.inputs, graph.outputs, np.asarray(net.matrix), graph.adjacency(),
        *numbers, graph.bias, sharpness,
    )  # fmt: skip


def step(certificate, name):
    return next(s for s in certificate.steps if s.criterion == name)


def updated(control, net, seed, size=1.0):
    """The network after one wild update, before its projection and after."""
    wrapped = constrain(optax.identity(), control, net)
    rng = np.random.default_rng(seed)
    updates = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0, size, leaf.shape)), net.parameters)
    updates = updates._replace(weight=net.synapses.mask(updates.weight), leak=jnp.zeros_like(net.leak))
    moved, state = wrapped.update(updates, wrapped.init(net.parameters), net.parameters)
    before, after = (net.replace(optax.apply_updates(net.parameters, each)) for each in (updates, moved))
    return before, after, state.constraint


def with_feedback(rule, net, seed=0):
    """The rule with feedback drawn, and the companions as a matrix (from free unit i to j, like the weights)."""
    rule = initialise(rule, net, jax.random.key(seed))
    weight = feedback_of(rule)[0].weight(net)
    return rule, np.asarray(net.synapses.matrix(weight))[net.graph.inputs :]


def noise(graph):
    x, y = data(graph, 40)
    return direp.tasks.from_arrays(x, y.argmax(1), name="noise")


def certificate(norm, rate=0.5):
    """What figures read of one."""
    return SimpleNamespace(phases={"free": rate}, norms={}, norm=norm)


def column():
    """Axes as wide as a column of a paper."""
    from matplotlib.figure import Figure

    return Figure(figsize=(3.4, 2.6), layout="constrained").subplots()


def within(figure):
    """Draw, as a file would be, and tell whether all text and every legend lie inside."""
    figure.draw_without_rendering()  # which lays it out
    edges = figure.bbox
    for axis in figure.axes:
        box = axis.get_tightbbox()
        assert box.x0 >= edges.x0 - 2, axis
        assert box.x1 <= edges.x1 + 2, axis
        assert box.y0 >= edges.y0 - 2, axis
        assert box.y1 <= edges.y1 + 2, axis
    for legend in figure.legends:
        box = legend.get_window_extent()
        assert box.x0 >= edges.x0 - 1
        assert box.x1 <= edges.x1 + 1
        assert box.y0 >= edges.y0 - 1
