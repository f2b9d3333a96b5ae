"""Controls keep a network certified after any update, in every norm, and count their own reaction in."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import GRAPHS, NEURONS, OUTFLOWS, TIGHT, data, estimate, flat, mean_cost, network
from hypothesis import given, settings
from hypothesis import strategies as st

import direp

CRITERIA = {"local": direp.LocalLeak(), "rows": direp.Rows(), "perron": direp.Perron()}
CONTROLS = {
    "leaks follow": lambda margin, criterion: direp.LeakController(margin, 0.05, criterion=criterion),
    "leaks only rise": lambda margin, criterion: direp.LeakController(margin, criterion=criterion, follow=False),
    "weights": lambda margin, criterion: direp.WeightProjection(margin=margin, criterion=criterion),
}


def updated(control, net, seed, size=1.0):
    """The network after one wild update under a control, and the norm weights that certify it."""
    wrapped = control.wrap(net, optax.identity())
    rng = np.random.default_rng(seed)
    updates = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0, size, leaf.shape)), net.parameters)
    updates = updates._replace(weight=net.synapses.mask(updates.weight), leak=jnp.zeros_like(net.leak))
    updates, state = wrapped.update(updates, wrapped.init(net.parameters), net.parameters)
    return net.replace(optax.apply_updates(net.parameters, updates)), state.norm


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("criterion", CRITERIA)
@settings(max_examples=8)
@given(
    seed=st.integers(0, 100_000),
    neuron=st.sampled_from(list(NEURONS)),
    outflow=st.sampled_from(OUTFLOWS),
    graph=st.sampled_from(list(GRAPHS)),
    margin=st.floats(0.01, 1.0),
)
def test_every_control_certifies_after_any_update(control, criterion, seed, neuron, outflow, graph, margin):
    made, criterion = CONTROLS[control](margin, CRITERIA[criterion]), CRITERIA[criterion]
    net = network(neuron, outflow, graph, seed=seed)
    after, norm = updated(made, net, seed)
    assert (np.asarray(norm) > 0).all()
    assert float(criterion.margin(after, norm).min()) > margin - 1e-9
    certificate = direp.certify(after, criteria=(criterion,), starts=0)
    assert certificate.verdict == "proved"
    assert certificate.rate > margin - 1e-6
    if control == "leaks only rise":
        assert (np.asarray(after.leak) >= np.asarray(net.leak) - 1e-12).all()
    if control == "weights":
        moved, _ = updated(made, net, seed, size=0.0)  # inside already: nothing moves
        inside = made.begin(net)
        again, _ = updated(made, inside, seed, size=0.0)
        if criterion.name != "Perron":
            assert np.abs(flat(again.parameters) - flat(inside.parameters)).max() < 1e-9
        assert np.abs(flat(moved.weight.recurrent)).sum() <= np.abs(flat(net.weight.recurrent)).sum() + 1e-9


@pytest.mark.parametrize("criterion", ["local", "rows"])
@pytest.mark.parametrize(
    ("neuron", "outflow"), [("projected", "signed"), ("projected", "none"), ("rate-tanh", "absolute")]
)
def test_the_gradient_through_held_leaks_equals_finite_differences(neuron, outflow, criterion):
    """With leaks at the criterion, the cost as a function of the weights has the gradient that `through` gives."""
    control = direp.LeakController(0.5, criterion=CRITERIA[criterion])
    net = control.begin(network(neuron, outflow, scale=0.2))
    x, y = data(net.graph)
    gradient = estimate(net, x, y, direp.Adjoint(), stop=TIGHT).gradient
    gradient = control.through(net, control.criterion.start(net), gradient)
    rng = np.random.default_rng(0)
    step = net.synapses.mask(jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), net.weight))
    h = 1e-6

    def cost(sign):
        weight = jax.tree.map(lambda w, d: w + sign * h * d, net.weight, step)
        return mean_cost(control.begin(net.replace(net.parameters._replace(weight=weight))), x, y)

    slope = (cost(1) - cost(-1)) / (2 * h)
    assert abs(flat(gradient.weight) @ flat(step) - slope) < 1e-6 * np.linalg.norm(flat(gradient.weight))


@given(st.integers(0, 10_000), st.sampled_from(list(NEURONS)), st.sampled_from(OUTFLOWS))
@settings(max_examples=10)
def test_the_pull_of_leaks_on_weights_is_their_derivative_with_the_norm_fixed(seed, neuron, outflow):
    """The sum of held leaks, weighted by any pull, differentiated by JAX instead of by hand."""
    net = network(neuron, outflow, seed=seed)
    rng = np.random.default_rng(seed)
    norm, pull = jnp.asarray(0.5 + rng.random(net.graph.free)), jnp.asarray(rng.normal(size=net.graph.free))
    for criterion in CRITERIA.values():
        control = direp.LeakController(0.3, criterion=criterion)

        def held(weight, control=control):
            return (pull * control.needed(net.replace(net.parameters._replace(weight=weight)), norm)).sum()

        wanted = net.synapses.mask(jax.grad(held)(net.weight))
        assert np.abs(flat(criterion.through(net, norm, pull)) - flat(wanted)).max() < 1e-12


def test_perron_needs_no_more_leak_than_the_others():
    """With its own leaks at the criterion, the largest leak is least for Perron weights that have been refreshed."""
    net = network("projected", "none", scale=0.5, leak=1.0)
    most = {}
    for name, criterion in CRITERIA.items():
        control = direp.LeakController(0.1, 0.0, criterion=criterion)
        norm = (direp.Perron(iterations=400) if name == "perron" else criterion).refresh(net, criterion.start(net))
        most[name] = float(control.needed(net, norm).max())
    abscissa = np.linalg.eigvals(np.abs(np.asarray(net.matrix)[net.graph.inputs :])).real.max()
    assert most["perron"] < min(most["local"], most["rows"])
    assert abs(most["perron"] - 0.1 - abscissa) < 0.01 * abscissa


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda net: direp.LeakController(0.0), r"LeakController\(margin=0.0\)"),
        (lambda net: direp.WeightProjection(margin=-1.0), r"WeightProjection\(margin=-1.0\)"),
        (lambda net: direp.LeakController(0.1, floor=-1.0), "floor=-1.0"),
        (
            lambda net: direp.LeakController().wrap(net, optax.identity()).update(
                net.parameters, direp.LeakController().wrap(net, optax.identity()).init(net.parameters)
            ),
            "needs the parameters",
        ),
    ],
)  # fmt: skip
def test_wrong_use_is_refused_in_words(make, message):
    with pytest.raises(ValueError, match=message):
        make(network("projected", "signed"))
