"""What is claimed of the rules: exactness for symmetric weights, order in beta, closed forms."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import (
    NEURONS,
    OUTFLOWS,
    SOME,
    TIGHT,
    data,
    estimate,
    flat,
    gradients,
    mean_cost,
    network,
    problems,
    relative,
)
from hypothesis import given
from hypothesis import strategies as st

import direp

PAIRS = [(neuron, outflow) for neuron in NEURONS for outflow in OUTFLOWS]
COSTS = {"squared": direp.SquaredError(), "cross-entropy": direp.CrossEntropy(1.5)}


def unsaturated(neuron, outflow, symmetric, seed=0):
    """A network whose units are well inside their range, so that nothing switches for small nudges."""
    net = network(neuron, outflow, seed=seed, scale=0.15, symmetric=symmetric)
    x, y = map(jnp.asarray, data(net.graph, seed=seed + 1))
    if neuron == "projected" or "hard" in neuron:
        middle = np.full((1, net.graph.free), 0.5)
        drive = net.synapses.drive(net.weight, jnp.asarray(middle)) + net.synapses.input_drive(
            net.weight, jnp.asarray(x)
        ).mean(0)
        # Rate neurons are linear between drives of 0 and 1, the others between states of 0 and 1.
        wanted = middle if neuron.startswith("rate") else middle * net.total_leak()
        net = net.replace(net.parameters._replace(bias=(wanted - drive)[0]))
        state = np.asarray(direp.settle(net, x, stop=TIGHT).state)
        assert state.min() > 0.2
        assert state.max() < 0.8
    return net, x, y


BETAS = (0.01, 0.02, 1e-3, 2e-3)


@eqx.filter_jit
def laws(net, x, y):
    """One program for all laws of a neuron: `Local` and `Adjoint` under both costs, and `Local` at several betas."""
    squared, other = problems(net, x, y, COSTS.values())
    ask = lambda problem, rule: rule.estimate(problem, None).gradient  # noqa: E731
    at = lambda beta: [ask(squared, direp.Local(kind(beta))) for kind in (direp.OneSided, direp.Centred)]  # noqa: E731
    several = jax.lax.map(at, jnp.array(BETAS))
    centred = (
        jax.tree.map(lambda leaf: leaf[BETAS.index(1e-3)], several[1]),
        ask(other, direp.Local(direp.Centred(1e-3))),
    )
    exact = [ask(problem, direp.Adjoint()) for problem in (squared, other)]
    return list(zip(centred, exact, strict=True)), several


@pytest.mark.parametrize(("neuron", "outflow"), PAIRS)
def test_exact_with_symmetric_weights_and_of_the_right_order_in_beta(neuron, outflow):
    (both, _), (net, x, y) = laws(*unsaturated(neuron, outflow, symmetric=True)), unsaturated(neuron, outflow, False)
    for local, exact in both:
        assert relative(local, exact) < 1e-5
    both, told = laws(net, x, y)
    found = [np.stack([flat(jax.tree.map(lambda leaf, k=k: leaf[k], one)) for k in range(4)]) for one in told]
    limit = (4 * found[1][2] - found[1][3]) / 3
    for gradient, order in zip(found, (1, 2), strict=True):
        errors = np.linalg.norm(gradient[:2] - limit, axis=1)
        assert errors.min() > 1e-8 * np.linalg.norm(limit)  # there is an error to measure
        assert abs(np.diff(np.log(errors))[0] / np.log(2) - order) < 0.1
    check_finite_differences(net, x, y, both[1][1], COSTS["cross-entropy"])


def check_finite_differences(net, x, y, exact, cost):
    leaves, shape = jax.tree.flatten(net.parameters)
    rng = np.random.default_rng(0)
    for _ in range(4):
        step = jax.tree.unflatten(shape, [jnp.asarray(rng.normal(size=leaf.shape)) for leaf in leaves])
        step = step._replace(weight=net.synapses.mask(step.weight))
        up, down = (
            mean_cost(net.replace(jax.tree.map(lambda p, d, s=s: p + s * 1e-5 * d, net.parameters, step)), x, y, cost)
            for s in (1, -1)
        )
        assert abs(flat(exact) @ flat(step) - (up - down) / 2e-5) < 1e-6 * np.linalg.norm(flat(exact))


@pytest.mark.parametrize(
    ("neuron", "outflow"), [("projected", "signed"), ("rate-tanh", "absolute"), ("hopfield-sigmoid", "none")]
)
def test_the_matrix_free_adjoint_equals_the_dense_one(neuron, outflow):
    net, x, y = unsaturated(neuron, outflow, symmetric=False)
    dense, free = gradients(net, x, y, (direp.Adjoint(), direp.Adjoint(dense_up_to=0, rtol=1e-12)))
    assert relative(free, dense) < 1e-9


def test_saturated_units_have_no_exact_gradient():
    graph = direp.Graph.layered([1, 2, 1])
    matrix = np.zeros((4, 3))
    matrix[0, :2] = 5.0, -5.0  # one hidden unit at the upper face, one at the lower
    matrix[1:3, 2] = 0.4
    matrix[3, :2] = 0.3
    net = direp.Network(graph, direp.Projected(), matrix, leak=1.0)
    x, y = np.ones((1, 1)), np.ones((1, 1))
    exact = estimate(net, x, y, direp.Adjoint()).gradient
    into_hidden = np.asarray(net.synapses.matrix(exact.weight))[0]
    assert (into_hidden == 0).all()
    assert float(exact.bias[2]) != 0
    # A strong enough nudge lifts the unit that rests at the lower face, where calculus sees nothing.
    weak = matrix.copy()
    weak[0, 1] = -0.4
    weak[3, 1] = 1.0
    net = direp.Network(graph, direp.Projected(), weak, leak=2.0)
    assert float(estimate(net, x, y, direp.Adjoint()).gradient.bias[1]) == 0
    assert float(estimate(net, x, y, direp.Local(beta=3.0)).gradient.bias[1]) < 0


@given(st.integers(0, 10_000), st.sampled_from([pair for pair in SOME if "hard" not in pair[0]]))
def test_what_did_not_settle_gets_no_say(seed, pair):
    net = network(*pair, seed=seed)
    x, y = data(net.graph, batch=3, seed=seed)
    stop = direp.Tolerance(1e-12, 1e-12, max_steps=400)
    start = np.zeros((3, net.graph.free))
    two = estimate(net, x[:2], y[:2], direp.Local(beta=0.5), stop=stop, state=start[:2])
    masked = estimate(net, x, y, direp.Local(beta=0.5), stop=stop, state=start, valid=np.array([True, True, False]))
    assert relative(masked.gradient, two.gradient) < 1e-9
    assert masked.used.tolist() == [True, True, False]


def test_unsettled_samples_are_left_out_and_reported():
    graph = direp.Graph.layered([1, 2, 1])
    growing = direp.Network(
        graph, direp.Rate(direp.activation.relu), np.full((4, 3), 3.0) * graph.adjacency(), leak=1.0
    )
    x, y = np.array([[-1.0], [1.0]]), np.zeros((2, 1))
    said = estimate(growing, x, y, direp.Local(beta=0.1))
    assert said.used.tolist() == [True, False]
    assert np.isfinite(flat(said.gradient)).all()
    assert not said.free.converged[1]


def test_trajectory_against_a_plain_sum():
    net = network("projected", "signed")
    x, y = data(net.graph)
    rule = direp.Trajectory(2.0, hebbian=0.3, differential=0.7)
    steps, h = 40, 0.05
    said = estimate(net, x, y, rule, method=direp.Euler(h), stop=direp.Steps(steps))
    weight, inputs, hidden = np.asarray(net.matrix), net.graph.inputs, net.graph.hidden
    leak, drive = np.asarray(net.total_leak()), x @ weight[:inputs] + np.asarray(net.bias)
    state, total = np.zeros((3, net.graph.free)), 0
    for phase in (0, 1):
        for _ in range(steps):
            flow = drive + state @ weight[inputs:] - leak * state
            flow[:, hidden:] += phase * 2.0 * (y - state[:, hidden:])
            after = np.clip(state + h * flow, 0, 1)
            if phase:
                change = 0.3 * after + 0.7 * (after - state)
                total = total + np.concatenate([x, after], 1).T @ change
            state = after
    expected = np.where(net.graph.adjacency(), -total / (3 * steps), 0)
    assert np.abs(np.asarray(net.synapses.matrix(said.gradient.weight)) - expected).max() < 1e-13


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: direp.OneSided(0.0), "beta=0.0"),
        (lambda: direp.Centred(float("nan")), "beta=nan"),
        (lambda: direp.Trajectory(direp.Centred(0.1)), "one nudged phase"),
        (lambda: direp.CrossEntropy(-1.0), "sharpness"),
        (lambda: direp.Projected(outflow="both"), "outflow"),
        (lambda: direp.Projected(low=1.0, high=0.0), "low < high"),
        (lambda: direp.Activation("odd", jnp.tanh, (1.0, -1.0), None), "range"),
    ],
)
def test_wrong_values_are_refused_in_words(make, message):
    with pytest.raises(Exception, match=message):
        make()


def test_padding_has_no_part_in_the_trajectory_rule():
    net = network("projected", "signed")
    x, y = data(net.graph)
    settings = {"method": direp.Euler(0.05), "stop": direp.Steps(30)}
    two = estimate(net, x[:2], y[:2], direp.Trajectory(2.0), **settings)
    padded = estimate(net, x, y, direp.Trajectory(2.0), valid=np.array([True, True, False]), **settings)
    assert relative(padded.gradient, two.gradient) < 1e-12


def test_an_adjoint_that_is_not_solved_is_left_out():
    net = network("projected", "signed")
    x, y = data(net.graph)
    assert not estimate(net, x, y, direp.Adjoint(dense_up_to=0, max_steps=1)).used.any()
    graph = direp.Graph.complete(2, 2, 1)
    flat_net = direp.Network(graph, direp.Projected("signed"), 0.01 * graph.adjacency(), leak=0.0)
    state = np.full((3, 3), 0.5)
    singular = estimate(flat_net, np.zeros((3, 2)), np.ones((3, 1)), direp.Adjoint(), state=state)
    assert singular.free.converged.all()
    assert not singular.used.any()


def test_an_estimate_is_shown_in_a_line():
    net = network("rate-tanh", "none")
    found = direp.estimate(net, *data(net.graph), direp.Local(0.1))
    assert repr(found).startswith(f"Estimate({len(found.used)} samples, free phase and 1 nudged: ")
    assert len(repr(found)) < 100
    shown, (x, y) = [], data(net.graph)
    jax.jit(lambda y: shown.append(repr(direp.estimate(net, x, y, direp.Local(0.1)))))(y)
    assert shown[0].endswith("being traced)")
